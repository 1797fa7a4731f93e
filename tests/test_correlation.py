"""The pieces that the published networks share, each against a slow or an independent form."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor
from torch.nn import functional

from spairc_models.attention import Attention
from spairc_models.correlation import (
    correlate,
    enlargement,
    in_cells,
    in_planes,
    mutual_nearest,
    resize_2d,
    resize_4d,
    unit,
)
from spairc_models.flow import confidence, coordinates, flow_of, flow_to_points, soft_argmax
from spairc_models.resnet import ResNet, channels

SMALL = (1, 1, 2, 1)  # bottlenecks of a trunk for tests


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Correlation


def test_unit_features_have_length_1_at_every_place() -> None:
    lengths = unit(drawn(2, 5, 3, 4)).square().sum(dim=1).sqrt()
    assert torch.allclose(lengths, torch.ones(2, 3, 4))


@pytest.mark.parametrize(
    ("guards", "length"),
    [({}, 1.0), ({"inside": 7.0}, math.sqrt(9 / 16)), ({"outside": 1.0}, 3 / 4)],
)
def test_guards_against_zero_lengthen_as_their_programs_do(
    guards: dict[str, float], length: float
) -> None:
    found = unit(torch.tensor([1.0, 2.0, 2.0]).view(1, 3, 1), **guards)
    assert found.norm().item() == pytest.approx(length)


@pytest.mark.parametrize("guards", [{"inside": 1e-6}, {"outside": 1e-5}])
def test_a_feature_of_zeros_has_a_gradient(guards: dict[str, float]) -> None:
    features = torch.zeros(1, 3, 2, requires_grad=True)
    unit(features, **guards).sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_correlation_is_the_scalar_product_of_every_two_places() -> None:
    one, other = drawn(1, 3, 2, 4), drawn(1, 3, 5, 2, seed=1)
    found = correlate(one, other)
    for row, column, r, c in itertools.product(range(2), range(4), range(5), range(2)):
        expected = sum((one[0, k, row, column] * other[0, k, r, c]).item() for k in range(3))
        assert found[0, 4 * row + column, 2 * r + c].item() == pytest.approx(expected, abs=1e-5)


def test_mutual_nearest_scores_stay_and_others_shrink_by_both_ratios() -> None:
    scores = torch.tensor([[0.8, 0.4], [0.2, 0.1]])
    expected = [[0.8, 0.4 * (0.4 / 0.8) * 1], [0.2 * 1 * (0.2 / 0.8), 0.1 * (0.1 / 0.2) * 0.25]]
    assert torch.allclose(mutual_nearest(scores), torch.tensor(expected))


def test_mutual_nearest_of_a_row_of_zeros_is_zero() -> None:
    scores = torch.tensor([[0.0, 0.0], [0.5, 0.3]])
    found = mutual_nearest(scores)
    assert torch.equal(found[0], torch.zeros(2))
    assert found[1, 0] == 0.5


@pytest.mark.parametrize("side", [3, 7])
def test_resizing_four_axes_equals_resizing_two_and_then_two(side: int) -> None:
    scores = drawn(2, 16, 25)
    planes = functional.interpolate(
        scores.view(2, 16, 5, 5), (side, side), mode="bilinear", align_corners=True
    ).flatten(2)
    both = functional.interpolate(
        planes.transpose(1, 2).reshape(2, side**2, 4, 4),
        (side, side),
        mode="bilinear",
        align_corners=True,
    ).flatten(2)
    assert torch.allclose(resize_4d(scores, side), both.transpose(1, 2), atol=1e-6)


def test_resizing_to_the_same_side_changes_nothing() -> None:
    scores, maps = drawn(1, 9, 9), drawn(1, 2, 3, 3)
    assert torch.equal(resize_4d(scores, 3), scores)
    assert resize_2d(maps, 3) is maps


def test_each_cell_of_an_enlargement_is_mixed_from_shares_that_sum_to_1() -> None:
    mixed = enlargement(4, 9, drawn(1))
    assert torch.allclose(mixed.sum(dim=0), torch.ones(81))
    assert mixed[0, 0] == 1  # the outer centres stay where they are
    assert mixed[-1, -1] == 1


def test_planes_and_cells_are_two_views_of_one_correlation() -> None:
    scores = drawn(2, 3, 4, 25)
    assert in_planes(scores).shape == (2, 3, 2, 2, 5, 5)
    assert torch.equal(in_cells(in_planes(scores)), scores)
    assert in_planes(scores)[1, 2, 1, 0, 3, 4] == scores[1, 2, 2, 19]


# Flow


def slow_soft_argmax(scores: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """From the definition, one cell at a time, in float64."""
    found = torch.zeros(2, scores.shape[1], dtype=torch.float64)
    for cell in range(scores.shape[1]):
        column = scores[:, cell].double() / 0.02
        shares = (column - column.max()).exp()
        shares /= shares.sum()
        for number, share in enumerate(shares):
            found[0, cell] += share * x[number % len(x)]
            found[1, cell] += share * y[number // len(x)]
    return found


def test_soft_argmax_is_the_mean_place_under_a_softmax() -> None:
    scores, x, y = 0.1 * drawn(1, 12, 5), drawn(4, seed=1), drawn(3, seed=2)
    expected = slow_soft_argmax(scores[0], x, y)
    assert torch.allclose(soft_argmax(scores, x, y)[0].double(), expected, atol=1e-6)


def test_soft_argmax_of_large_scores_keeps_its_digits() -> None:
    scores, x = 40 + 0.05 * drawn(1, 9, 4), coordinates(3).detach()
    expected = slow_soft_argmax(scores[0], x, x)
    assert torch.allclose(soft_argmax(scores, x, x)[0].double(), expected, atol=1e-5)


def test_confidence_is_the_largest_share() -> None:
    scores = 0.05 * drawn(2, 6, 3)
    expected = (scores / 0.02).softmax(dim=1).amax(dim=1)
    assert torch.allclose(confidence(scores), expected)


def test_a_picture_matched_with_itself_does_not_flow() -> None:
    places = coordinates(4).detach()
    mapping = soft_argmax(torch.eye(16).unsqueeze(0), places, places)
    assert flow_of(mapping, 4).abs().max() < 1e-5


def test_flow_counts_cells_to_the_right_and_down() -> None:
    places = coordinates(3).detach()
    scores = torch.zeros(1, 9, 9)
    scores[0, 5] = 1  # every cell is answered by row 1, column 2
    flow = flow_of(soft_argmax(scores, places, places), 3)
    assert flow[0, :, 0, 0].tolist() == pytest.approx([2, 1], abs=1e-5)
    assert flow[0, :, 2, 1].tolist() == pytest.approx([1, -1], abs=1e-5)


def enlarged_reading(flow: Tensor, points: Tensor, side: int) -> Tensor:
    """As the programs do it: enlarge the flow to the picture, then look at whole pixels."""
    wide = functional.interpolate(flow, (side, side), mode="bilinear") * (side / flow.shape[-1])
    whole = points.long().clamp(0, side - 1)
    found = [
        pixel + wide[sample, :, pixel[1], pixel[0]]
        for sample in range(len(flow))
        for pixel in whole[sample]
    ]
    return torch.stack(found).view(points.shape)


@pytest.mark.parametrize(("side", "cells"), [(256, 16), (60, 4), (50, 7)])
def test_flow_is_read_as_if_it_were_enlarged(side: int, cells: int) -> None:
    flow = drawn(2, 2, cells, cells)
    points = side * torch.rand(2, 30, 2, generator=torch.Generator().manual_seed(1))
    points[0, :4] = torch.tensor([[0.0, 0.0], [side - 1, 0], [side, side], [-3, side / 2]])
    expected = enlarged_reading(flow, points, side)
    assert torch.allclose(flow_to_points(flow, points, side), expected, atol=1e-4)


def test_the_fraction_of_a_given_point_is_lost() -> None:
    flow = drawn(1, 2, 4, 4)
    points = torch.tensor([[[10.0, 20.0], [10.99, 20.5], [-0.4, -0.6], [0.0, 0.0]]])
    found = flow_to_points(flow, points, 64)[0]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[2], found[3])


@pytest.mark.parametrize(("network", "side"), [("cats", 256), ("catspp", 512), ("scorrsan", 256)])
def test_published_points_are_read_from_a_flow(shared: Path, network: str, side: int) -> None:
    stored = np.load(shared / "golden" / "training.npz")
    flow = torch.from_numpy(stored[f"{network}_predicted_flow"][:1].astype(np.float32))
    points = torch.from_numpy(stored[f"{network}_transfer_points"]).unsqueeze(0)
    found = flow_to_points(flow, points, side)[0].numpy()
    assert np.abs(found - stored[f"{network}_transfer_found"]).max() < 1e-4


# Attention and trunk


def test_attention_mixes_values_by_the_softmax_of_scaled_products() -> None:
    layer = Attention(6, 2)
    tokens = drawn(3, 5, 6)
    query, key, value = layer.qkv(tokens).view(3, 5, 3, 2, 3).permute(2, 0, 3, 1, 4)
    share = (query @ key.transpose(2, 3) / math.sqrt(3)).softmax(dim=-1)
    expected = layer.proj((share @ value).transpose(1, 2).reshape(3, 5, 6))
    assert torch.allclose(layer(tokens), expected, atol=1e-6)


@pytest.fixture(scope="module")
def reference() -> torchvision.models.ResNet:
    blocks = torchvision.models.resnet.Bottleneck
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torchvision.models.ResNet(blocks, list(SMALL))
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                torch.nn.init.uniform_(module.running_mean, -1, 1)
                torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


def test_the_trunk_has_the_names_and_features_of_torchvision(
    reference: torchvision.models.ResNet,
) -> None:
    trunk = ResNet(SMALL).eval()
    trunk.load_state_dict(reference.state_dict(), strict=True)
    picture = drawn(1, 3, 70, 90)
    x = reference.maxpool(reference.relu(reference.bn1(reference.conv1(picture))))
    expected = [x]
    for stage in (reference.layer1, reference.layer2, reference.layer3, reference.layer4):
        for block in stage:
            x = block(x)
            expected.append(x)
    found = trunk(picture, range(6), rectified=True)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-4)
    assert tuple(each.shape[1] for each in found) == trunk.channels == channels(SMALL)


def test_features_are_read_before_the_last_relu_where_that_is_asked() -> None:
    trunk = ResNet(SMALL, width=8).eval()
    picture = drawn(2, 3, 40, 50)
    for before, after in zip(
        trunk(picture, [2, 4], rectified=False),
        trunk(picture, [2, 4], rectified=True),
        strict=True,
    ):
        assert before.min() < 0
        assert torch.equal(before.relu(), after)


def test_nothing_behind_the_last_layer_is_computed() -> None:
    trunk = ResNet(SMALL, width=8).eval()
    last = trunk.get_submodule("layer4")
    last.register_forward_hook(lambda *_: pytest.fail("the fourth stage ran"))
    next(last.children()).register_forward_hook(lambda *_: pytest.fail("its block ran"))
    assert len(trunk(drawn(1, 3, 32, 32), [0, 4], rectified=False)) == 2


def test_two_copies_are_two_networks_side_by_side() -> None:
    both, single = ResNet(SMALL, width=8, copies=2).eval(), ResNet(SMALL, width=8).eval()
    pictures = drawn(1, 6, 40, 50)
    found = both(pictures, [0, 3, 5], rectified=True)
    for half in range(2):
        state = {
            key: value if key.startswith("fc") or not value.ndim else value.chunk(2)[half]
            for key, value in both.state_dict().items()
        }
        single.load_state_dict(state)
        alone = single(pictures.chunk(2, dim=1)[half], [0, 3, 5], rectified=True)
        for one, other in zip(found, alone, strict=True):
            assert torch.allclose(one.chunk(2, dim=1)[half], other, atol=1e-5)


def test_a_gradient_means_the_same_however_it_lies_in_memory() -> None:
    # Layers behind the trunk leave channels innermost, which batch norm misreads (torch 2.15).
    trunk = ResNet(SMALL, width=8).eval()
    gradient = drawn(1, trunk.channels[4], 4, 4)
    channels_innermost = gradient.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1)
    assert torch.equal(channels_innermost, gradient)
    assert channels_innermost.stride() != gradient.stride()
    found = []
    for each in (gradient, channels_innermost):
        trunk.zero_grad()
        (features,) = trunk(drawn(1, 3, 64, 64, seed=1), [4], rectified=False)
        features.backward(each)
        assert trunk.conv1.weight.grad is not None
        found.append(trunk.conv1.weight.grad.clone())
    assert torch.allclose(found[0], found[1], atol=1e-3 * float(found[0].abs().max()))
