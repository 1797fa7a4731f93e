"""The published networks: stored answers of their programs, and what holds of any weights."""

import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spairc.types import BadInput
from spairc_models import load_network
from spairc_models.cats import PRESETS, CATs, Settings, settings_of
from spairc_models.catspp import CATsPlusPlus
from spairc_models.catspp import Settings as PlusSettings
from spairc_models.chm import CHM
from spairc_models.cnngeo import CNNGeo
from spairc_models.dhpf import DHPF
from spairc_models.flow import flow_to_points
from spairc_models.ncnet import NCNet
from spairc_models.networks import NETWORKS
from spairc_models.resnet import ResNet
from spairc_models.scorrsan import SCorrSAN, SpatialContext
from spairc_models.transformatcher import FastAttention, Rotation, TransforMatcher
from spairc_models.vat import VAT
from spairc_models.vat import Settings as VATSettings
from spairc_models.weakalign import WeakAlign

slow = pytest.mark.slow
Published: TypeAlias = tuple[Any, list[tuple[Tensor, ...]], Mapping[str, NDArray[Any]]]

PUBLISHED = ["cats", "scorrsan", "transformatcher", "chm", pytest.param("catspp", marks=slow)]

# Networks with the published wiring and few channels, and the side of their pictures.
TINY = (1, 1, 2, 1)  # bottlenecks of each stage: 5 layers in all
SMALL: Mapping[str, tuple[Callable[[], nn.Module], int]] = {
    "cats": (
        lambda: CATs(
            Settings(hyperpixels=(0, 2, 4), cells=4, projection=8, depth=2, heads=2),
            ResNet(TINY, width=8),
        ),
        64,
    ),
    "scorrsan": (
        lambda: SCorrSAN(outputs=16, reach=3, backbone=ResNet(TINY, width=8), layer=4),
        64,
    ),
    "catspp": (
        lambda: CATsPlusPlus(
            PlusSettings(cells=8, heads=2, affinity=4, width=8), blocks=TINY, width=8
        ),
        128,
    ),
    "transformatcher": (lambda: TransforMatcher(TINY, width=8, coarse=3), 48),
    "chm": (lambda: CHM(TINY, width=8), 64),
    "cnngeo": (lambda: settled(CNNGeo(cells=12, blocks=TINY, width=8)), 192),
    "weakalign": (lambda: settled(WeakAlign(cells=12, blocks=TINY, width=8)), 192),
    "ncnet": (lambda: NCNet((3, 3), (4, 1), blocks=TINY, width=8), 80),
    "dhpf": (lambda: opened(DHPF(TINY, width=8)), 64),
    "vat": (lambda: VAT(SMALL_VAT, blocks=TINY, width=8), 256),
}
SMALL_VAT: VATSettings = VATSettings(
    cells=16,
    channels=((8, 16), (8, 16), (4, 8, 16)),
    groups=((2, 4), (2, 4), (1, 2, 4)),
    depths=(2, 2, 2),
    window=2,
    features=(8, 6, 4),
    decoded=(10, 8),
    decoder_window=4,
    hidden=6,
)
# Parameters that the answer does not depend on; the official files hold them all the same.
UNREAD: Mapping[str, tuple[str, ...]] = {
    "cats": ("backbone.layer4.", "backbone.fc.", "decoder.norm."),
    "scorrsan": ("backbone.layer4.", "backbone.fc."),
    "catspp": ("backbone.fc.",),
    "transformatcher": ("backbone.fc.", "match2match.posenc"),
    "chm": ("backbone.layer4.", "backbone.fc."),
    "cnngeo": (),
    "weakalign": (),
    "ncnet": (),
    "dhpf": ("fc.weight", "fc.bias"),
    "vat": ("backbone.fc.", *(f"ours.transformer.{n}.transformer.norm." for n in range(3))),
}


def opened(network: DHPF) -> DHPF:
    """With every gate open: a gate that is shut keeps gradients from what lies behind it."""
    gates: Any = network.gumbel_ffns
    for gate in gates:
        weight = gate[-1].weight.data
        weight.copy_(weight.abs() * torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1))
    return network


def settled(network: nn.Module) -> nn.Module:
    """With the statistics of some pictures: without them all warps are nearly the same."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # an average, not a moving one
    with torch.no_grad():
        network.train()(drawn(4, 3, 192, 192, seed=7), drawn(4, 3, 192, 192, seed=8))
    return network


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def small(name: str) -> Any:
    """The same weights every time; norms and positions are moved away from their first values."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SMALL[name][0]().eval()
    for number, (key, value) in enumerate(network.named_parameters()):
        if value.ndim == 1 and "freqs" not in key:
            value.data += 0.1 * drawn(*value.shape, seed=number)
    return network


def pictures(name: str, count: int, seed: int = 0) -> Tensor:
    side = SMALL[name][1]
    return drawn(count, 3, side, side, seed=seed)


# Stored answers


@pytest.fixture(scope="module")
def named_weights(shared: Path) -> ModuleType:
    """What draws a network's weights from the names of its tensors."""
    path = shared / "golden" / "named_weights.py"
    spec = importlib.util.spec_from_file_location("named_weights", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def filled(named_weights: ModuleType, name: str) -> Any:
    """A network with weights drawn from the names of its tensors."""
    network = load_network(name)
    named_weights.fill(network)
    return network


@pytest.fixture(scope="module", params=PUBLISHED)
def published(request: pytest.FixtureRequest, shared: Path, named_weights: ModuleType) -> Published:
    """A network, what it makes of two pictures, and what its program answers."""
    network = filled(named_weights, request.param)
    with torch.no_grad():
        both = [network.encode_features(x) for x in synthetic(named_weights, request.param)]
    return network, both, np.load(shared / "golden" / "matchers" / f"{request.param}.npz")


def synthetic(named_weights: ModuleType, name: str) -> list[Tensor]:
    side = NETWORKS[name].side
    return [named_weights.normalised(named_weights.image(seed, side)) for seed in (1, 2)]


@pytest.mark.parametrize("name", ["cats", "scorrsan", "catspp", "transformatcher", "chm"])
def test_tensors_have_the_official_names_and_shapes(shared: Path, name: str) -> None:
    official = json.loads((shared / "golden" / "matchers" / f"{name}.keys.json").read_text())
    own = {key: list(value.shape) for key, value in load_network(name).state_dict().items()}
    assert own == official
    assert list(own) == list(official)


@torch.inference_mode()
def test_the_answer_is_the_published_programs(published: Published) -> None:
    network, pictures, expected = published
    found = network.match_features(*pictures)[0].numpy()
    if "flow" in expected:
        assert np.abs(found - expected["flow"]).max() < 1e-3  # cells
    else:
        assert found.shape == (900, 900)
        sample = expected["correlation"]
        assert (np.abs(found[::37, ::37] - sample) / np.abs(sample)).max() < 1e-4


@torch.inference_mode()
def test_points_are_found_where_the_published_program_finds_them(published: Published) -> None:
    network, pictures, expected = published
    points = torch.from_numpy(expected["points"]).unsqueeze(0)
    found = network.match_points(*pictures, points)[0].numpy()
    assert np.abs(found - expected["found"]).max() < 0.05


@slow
@pytest.mark.parametrize("name", ["cats", "scorrsan", "catspp"])
def test_the_gradient_is_the_published_programs(
    shared: Path, named_weights: ModuleType, name: str
) -> None:
    training = np.load(shared / "golden" / "training.npz")
    network = filled(named_weights, name)
    target = torch.from_numpy(training[f"{name}_target_flow"][:1])
    errors = torch.linalg.vector_norm(network(*synthetic(named_weights, name)) - target, dim=1)
    loss = errors[(target != 0).any(dim=1)].mean()
    loss.backward()
    assert loss.item() == pytest.approx(training[f"{name}_gradient_loss"].item(), rel=1e-5)
    own = dict(network.named_parameters())
    # The programs themselves move by up to 3e-3 when their sums are ordered otherwise.
    for parameter, norm, first in zip(
        training[f"{name}_gradient_names"],
        training[f"{name}_gradient_norms"],
        training[f"{name}_gradient_first"],
        strict=True,
    ):
        gradient = own[str(parameter)].grad
        assert gradient.norm().item() == pytest.approx(norm.item(), rel=1e-3), parameter
        largest = max(np.abs(first).max(), norm.item() / gradient.numel() ** 0.5)
        found = gradient.flatten()[:8].numpy()
        assert np.abs(found - first).max() < 5e-3 * largest, parameter
    without = {key for key, value in own.items() if value.grad is None}
    outside = {key for key in without if ".layer4." not in key and ".fc." not in key}
    assert outside == set(training[f"{name}_parameters_without_gradient"].tolist())


# What holds of any weights


@pytest.mark.parametrize("name", SMALL)
def test_matching_what_was_encoded_once_equals_the_whole_network(name: str) -> None:
    network = small(name)
    first, second = pictures(name, 2), pictures(name, 2, seed=1)
    with torch.no_grad():
        encoded = [network.encode_features(each) for each in (first, second)]
        whole = network(first, second)
        assert torch.allclose(network.match_features(*encoded), whole, atol=1e-4)


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_neither_batch_nor_order_changes_an_answer(name: str) -> None:
    network = small(name)
    first, second = pictures(name, 3), pictures(name, 3, seed=1)
    together = network(first, second)
    alone = torch.cat([network(first[i : i + 1], second[i : i + 1]) for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-3 * float(alone.abs().max()))
    backwards = network(first.flip(0), second.flip(0)).flip(0)
    assert torch.allclose(together, backwards, atol=1e-3 * float(alone.abs().max()))


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_a_point_is_answered_alike_alone_and_among_others(name: str) -> None:
    network = small(name)
    encoded = [network.encode_features(pictures(name, 2, seed)) for seed in (0, 1)]
    points = 230 * torch.rand(2, 40, 2, generator=torch.Generator().manual_seed(0))
    points[0, 0] = 0
    points[0, 1] = 240  # the far border, or past it
    among = network.match_points(*encoded, points)
    assert among.shape == (2, 40, 2)
    assert among.isfinite().all()
    single = network.match_points(*encoded, points[:, 3:4])
    assert torch.allclose(among[:, 3:4], single, atol=1e-2)


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_the_two_pictures_have_different_roles(name: str) -> None:
    network = small(name)
    first, second = pictures(name, 1), pictures(name, 1, seed=1)
    there, back = network(first, second), network(second, first)
    assert not torch.allclose(there, back, atol=1e-2 * float(there.std()))


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_that_is_read_gets_a_gradient(name: str) -> None:
    network = small(name)
    network(pictures(name, 2), pictures(name, 2, seed=1)).square().mean().backward()
    for key, value in network.named_parameters():
        if any(part in key for part in UNREAD[name]):
            assert value.grad is None, key
        else:
            assert value.grad is not None, key
            assert value.grad.isfinite().all(), key
            assert value.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", SMALL)
def test_gradients_change_no_answer(name: str) -> None:
    network = small(name)
    first, second = pictures(name, 2), pictures(name, 2, seed=1)
    differentiable = network(first, second)
    assert differentiable.requires_grad
    with torch.inference_mode():
        found = network(first, second)
    scale = float(found.abs().max())
    assert torch.allclose(found, differentiable.detach(), atol=1e-4 * scale)


@pytest.mark.parametrize("name", ["cats", "scorrsan", "catspp"])
@torch.no_grad()
def test_places_of_cells_are_read_from_the_network_and_not_computed(name: str) -> None:
    network = small(name)
    first, second = pictures(name, 1), pictures(name, 1, seed=1)
    before = network(first, second)
    holder = network.hpn_learner if name == "catspp" else network
    assert holder.x_normal.requires_grad
    holder.x_normal.mul_(0.5)
    after = network(first, second)
    assert torch.allclose(after[:, 1], before[:, 1], atol=1e-5)
    assert not torch.allclose(after[:, 0], before[:, 0], atol=1e-2)


@torch.no_grad()
def test_scorrsan_answers_points_as_its_whole_flow_does() -> None:
    network = small("scorrsan")
    encoded = [network.encode_features(pictures("scorrsan", 2, seed)) for seed in (0, 1)]
    points = 256 * torch.rand(2, 7, 2, generator=torch.Generator().manual_seed(0))
    expected = flow_to_points(network.match_features(*encoded), points, 256)
    assert torch.allclose(network.match_points(*encoded, points), expected, atol=1e-2)


@torch.no_grad()
def test_spatial_context_compares_each_cell_with_its_neighbours_in_four_lines() -> None:
    layer = SpatialContext(3, 5, 3)
    features = drawn(1, 3, 4, 6)
    lengths = features.norm(dim=1, keepdim=True)
    directions = (features / lengths)[0]
    likeness = torch.zeros(12, 4, 6)
    lines = ((1, 1), (1, 0), (1, -1), (0, 1))  # rows and columns per step
    for line, (down, right) in enumerate(lines):
        for place, step in enumerate((-1, 0, 1)):
            for row in range(4):
                for column in range(6):
                    there = (row + step * down, column + step * right)
                    if 0 <= there[0] < 4 and 0 <= there[1] < 6:
                        both = directions[:, row, column] @ directions[:, *there]
                        likeness[3 * line + place, row, column] = both
    expected = layer.conv(torch.cat([features, likeness.unsqueeze(0)], dim=1)).relu()
    assert torch.allclose(layer(features), expected, atol=1e-5)


def published_attention(layer: FastAttention, tokens: Tensor) -> Tensor:
    """Token by token, as the paper has it: queries, keys and values are all written out."""

    def rotated(vectors: Tensor) -> Tensor:
        cosine, sine = (
            part.repeat_interleave(2, dim=1) for part in layer.pos_emb(vectors.shape[2])
        )
        across = torch.stack([-vectors[..., 1::2], vectors[..., ::2]], dim=-1).flatten(-2)
        turned: Tensor = vectors * cosine + across * sine
        return turned

    def pooled(vectors: Tensor, logits: Tensor) -> Tensor:
        return (logits.softmax(dim=2) * vectors).sum(dim=2, keepdim=True)

    def in_twos(vectors: Tensor) -> Tensor:
        return vectors[..., ::2] + vectors[..., 1::2]

    batch, count = tokens.shape[:2]
    parts = layer.to_qkv(tokens).chunk(3, dim=-1)
    query, key, value = (part.view(batch, count, layer.heads, -1).transpose(1, 2) for part in parts)
    scale = query.shape[-1] ** -0.5
    all_queries = pooled(rotated(query), scale * layer.to_q_attn_logits(query))
    logits = scale * layer.to_k_attn_logits(in_twos(key * all_queries))
    all_keys = pooled(rotated(key), logits)
    answer = layer.to_r(in_twos(value * all_keys)) + query
    found: Tensor = layer.to_out(answer.transpose(1, 2).flatten(2))
    return found


def test_attention_by_one_matrix_equals_attention_token_by_token() -> None:
    layer = FastAttention(6, 3, 4, Rotation(4))
    tokens = drawn(2, 11, 6)
    assert torch.allclose(layer(tokens), published_attention(layer, tokens), atol=1e-5)


# By name


def test_weights_come_from_the_seed_and_leave_torchs_own_stream_alone() -> None:
    before = torch.random.get_rng_state()
    one, same, other = (load_network("scorrsan", seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    first, again, differs = (
        each.get_parameter("SCEs.0.conv.weight") for each in (one, same, other)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, differs)
    assert not one.training


def test_an_unknown_network_is_named_with_its_nearest_neighbour() -> None:
    with pytest.raises(BadInput, match="no network is called 'catsp'; did you mean 'cats"):
        load_network("catsp")


def test_the_pf_pascal_cats_has_672_tensors_and_one_level_less() -> None:
    own = {
        key: tuple(value.shape) for key, value in load_network("cats-pfpascal").state_dict().items()
    }
    assert len(own) == 672
    assert own["decoder.pos_embed_x"] == (1, 7, 1, 16, 192)
    assert [own[f"proj.{level}.weight"][1] for level in range(7)] == [256, *[1024] * 6]
    assert settings_of(own) == PRESETS["pfpascal"]


def shapes(**settings: Any) -> dict[str, tuple[int, ...]]:
    network = load_network("cats", settings=replace(PRESETS["spair"], **settings))
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


@pytest.mark.parametrize(
    "settings",
    [{}, {"depth": 3, "expansion": 2}, {"projection": 32}, {"cells": 8, "heads": 3}],
)
def test_what_a_cats_is_made_of_is_told_by_its_shapes(settings: Mapping[str, Any]) -> None:
    expected = replace(PRESETS["spair"], **settings)
    assert settings_of(shapes(**settings), heads=settings.get("heads")) == expected


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"heads": 5}, "heads=5: choose a divisor of this CATs' 384 channels"),
        ({"hyperpixels": (0, 3, 3)}, "in ascending order"),
        ({"hyperpixels": (0, 34)}, "name layers from 0 to 33"),
    ],
)
def test_what_cannot_be_is_refused(known: Mapping[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        settings_of(shapes(), **known)


def test_layers_of_no_preset_must_be_named() -> None:
    other = shapes(hyperpixels=(0, 4, 9))
    with pytest.raises(BadInput, match="layers of 64, 512, 1024 channels"):
        settings_of(other)
    assert settings_of(other, hyperpixels=(0, 4, 9)).hyperpixels == (0, 4, 9)
