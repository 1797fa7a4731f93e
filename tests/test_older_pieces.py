"""What the older networks are made of, against loops and closed forms."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from spairc.types import Size
from spairc_models import dhpf, ncnet, windows
from spairc_models.conv4d_spectral import Layer, convolve
from spairc_models.corner_aligned import CornerAligned
from spairc_models.geometric import warp_pictures, warp_points
from spairc_models.ncnet import Consensus
from spairc_models.windows import Block


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Four-dimensional convolution


def slow_convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One group: x (I, H, W, h, w), weight (O, I, k, k, k, k)."""
    length = weight.shape[-1]
    padded = functional.pad(x, (length // 2,) * 8)
    found = bias.view(-1, 1, 1, 1, 1).repeat(1, *x.shape[1:])
    for place in itertools.product(range(length), repeat=4):
        there = tuple(
            slice(start, start + side) for start, side in zip(place, x.shape[1:], strict=True)
        )
        here: Any = (..., *place)
        found += torch.einsum("oi,iabcd->oabcd", weight[here], padded[:, *there])
    return found


@pytest.mark.parametrize(("length", "outputs"), [(3, 4), (5, 4), (5, 1)])
def test_a_convolution_by_fourier_is_one_over_four_axes(length: int, outputs: int) -> None:
    x = drawn(2, 2, 3, 4, 6, 5, 7)  # B, groups, inputs, two planes that have nothing in common
    layer = Layer(drawn(2, outputs, 3, *[length] * 4, seed=1), drawn(2, outputs, seed=2))
    found = convolve(x, layer)
    for pair, group in itertools.product(range(2), repeat=2):
        expected = slow_convolution(x[pair, group], layer.weight[group], layer.bias[group])
        assert torch.allclose(found[pair, group], expected, atol=1e-3)


def test_the_consensus_is_the_sum_of_what_both_sides_answer() -> None:
    torch.manual_seed(0)
    consensus, x = Consensus((3, 3), (2, 1)), drawn(1, 4, 5, 3, 6).abs()

    def one_side(scores: Tensor) -> Tensor:
        layers: list[Any] = [consensus.conv[0], consensus.conv[2]]
        for layer in layers:
            kernel = layer.weight.permute(1, 2, 0, 3, 4, 5)
            scores = slow_convolution(scores, kernel, layer.bias).relu()
        return scores[0]

    exchanged = one_side(x.permute(0, 3, 4, 1, 2)).permute(2, 3, 0, 1)
    assert torch.allclose(consensus(x)[0], one_side(x) + exchanged, atol=1e-5)


# NC-Net's and DHPF's points


@pytest.mark.parametrize("point", [(0.1, -0.37), (-1.2, 0.5), (1.0, -1.0), (1.1, 3.0), (-0.5, 0.0)])
def test_ncnet_mixes_the_answers_of_the_four_cells_around_a_point(
    point: tuple[float, float],
) -> None:
    scores, side = drawn(1, 25, 9), 5
    found = ncnet.read_matches(scores, torch.tensor([[point]]))[0, 0]
    best = scores[0].argmax(dim=1).tolist()
    line = [2 * cell / (side - 1) - 1 for cell in range(side)]
    low = [max(0, min(side - 2, sum(place < at for place in line) - 1)) for at in point]
    expected, total = np.zeros(2), 0.0
    for right, down in itertools.product((0, 1), repeat=2):
        share = math.prod(
            abs(at - line[start + 1 - step])
            for at, start, step in zip(point, low, (right, down), strict=True)
        )
        match = best[(low[1] + down) * side + low[0] + right]
        expected += share * np.array([match % 3 - 1, match // 3 - 1])
        total += share
    assert found.tolist() == pytest.approx((expected / total).tolist(), abs=1e-5)


@pytest.mark.parametrize("point", [(7.0, 11.0), (0.0, 16.0), (13.4, 2.6), (-40.0, 9.0), (99.0, -9)])
def test_dhpf_moves_a_point_as_the_cells_do_that_cover_it(point: tuple[float, float]) -> None:
    scores, side = drawn(1, 25, 25).abs(), 5
    found = dhpf.read_matches(scores, torch.tensor([[point]]))[0, 0]
    rows, columns = scores[0].amax(dim=1), scores[0].amax(dim=0)
    mutual = scores[0] * (scores[0] / rows[:, None]) * (scores[0] / columns)

    def near(at: float) -> list[int]:
        distances = [abs(at - 4 * cell) for cell in range(side)]
        within = [cell for cell in range(side) if distances[cell] <= 5]
        return within or [distances.index(min(distances))]

    moves = []
    for x, y in itertools.product(near(point[0]), near(point[1])):
        match = int(mutual[y * side + x].argmax())
        moves.append((4 * (match % side - x), 4 * (match // side - y)))
    expected = np.array(point) + np.mean(moves, axis=0)
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-4)


# Warps


def test_an_affine_warp_is_its_matrix() -> None:
    warp = torch.tensor([[1.1, 0.2, -0.3, 0.05, 0.9, 0.4]])
    found = warp_points(warp, torch.tensor([[[0.5, -1.0]]]))[0, 0]
    assert found.tolist() == pytest.approx([0.55 - 0.2 - 0.3, 0.025 - 0.9 + 0.4])


def test_a_thin_plate_takes_its_control_points_where_it_says() -> None:
    controls = [(x, y) for x in (-1.0, 0, 1) for y in (-1.0, 0, 1)]
    there = 0.3 * drawn(9, 2) + torch.tensor(controls)
    warp = there.T.reshape(1, 18)  # nine x, then nine y
    found = warp_points(warp, torch.tensor([controls]))[0]
    assert torch.allclose(found, there, atol=1e-5)


def test_a_thin_plate_that_moves_one_control_bends_least() -> None:
    # Between the controls it is r^2 log r^2, solved here in another way.
    controls = np.array([(x, y) for x in (-1.0, 0, 1) for y in (-1.0, 0, 1)])
    there = controls.copy()
    there[4] += (0.4, -0.2)
    squared = ((controls[:, None] - controls) ** 2).sum(axis=2)
    kernel = np.where(squared > 0, squared * np.log(np.where(squared > 0, squared, 1)), 0)
    plane = np.column_stack([np.ones(9), controls])
    # Coefficients that are orthogonal to every plane, and a plane.
    null = np.linalg.svd(plane.T)[2][3:].T
    bent = null @ np.linalg.solve(null.T @ kernel @ null, null.T @ there)
    flat = np.linalg.lstsq(plane, there - kernel @ bent, rcond=None)[0]
    point = np.array([0.3, -0.6])
    away = ((point - controls) ** 2).sum(axis=1)
    expected = (away * np.log(away)) @ bent + np.array([1, *point]) @ flat
    warp = torch.from_numpy(there.T.reshape(1, 18))
    found = warp_points(warp, torch.from_numpy(point).view(1, 1, 2))[0, 0]
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-9)


def test_a_warped_picture_shows_at_each_place_what_lies_where_the_place_goes() -> None:
    picture = torch.arange(5.0).expand(1, 1, 5, 5)  # its values are its columns
    shifted = warp_pictures(picture, torch.tensor([[1, 0, 0.5, 0, 1, 0.0]]))  # a column
    assert torch.allclose(shifted[0, 0, 2], torch.tensor([1, 2, 3, 4, 0.0]), atol=1e-5)


# Windows


@pytest.mark.parametrize(
    ("sides", "window", "moved"),
    [((6, 4), 2, True), ((6, 4), 2, False), ((4, 8), 4, True), ((2, 4, 4, 2), 2, True)],
)
@pytest.mark.parametrize("at_once", [1, 1 << 20])
def test_a_token_sees_those_of_its_window_and_of_its_own_part_of_it(
    sides: tuple[int, ...],
    window: int,
    *,
    moved: bool,
    at_once: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(windows, "TOKENS_AT_ONCE", at_once)
    torch.manual_seed(0)
    block = Block(8, sides, window, moved=moved)
    x = drawn(2, math.prod(sides), 8)
    places = torch.cartesian_prod(*[torch.arange(side) for side in sides])
    shift = window // 2 if moved and min(sides) > window else 0
    # Moved windows begin at `shift`; what is before the first and after the last is cut off there.
    cut = (places - shift).div(window, rounding_mode="floor")
    together = (cut[:, None] == cut[None]).all(dim=-1)
    offsets = places[:, None] - places[None] + window - 1
    inside = ((offsets >= 0) & (offsets <= 2 * window - 2)).all(dim=-1)
    weights = torch.tensor([(2 * window - 1) ** n for n in reversed(range(len(sides)))])
    table = block.attn.relative_position_bias_table[:, 0]
    bias = table[torch.where(inside, (offsets * weights).sum(dim=-1), 0)]
    query, key, value = block.attn.qkv(block.norm1(x)).chunk(3, dim=-1)
    scores = query @ key.mT / 8**0.5 + bias
    seen = scores.masked_fill(~together, -torch.inf).softmax(dim=-1) @ value
    half = x + block.attn.proj(seen)
    expected = half + block.mlp.fc2(functional.gelu(block.mlp.fc1(block.norm2(half))))
    assert torch.allclose(block(x), expected, atol=1e-5)
    with torch.inference_mode():
        assert torch.allclose(block(x.clone()), expected, atol=1e-5)


# The input


@pytest.mark.parametrize("size", [(7, 5), (33, 18), (1, 6)])
def test_the_input_is_sampled_with_its_outer_pixels_in_place(size: tuple[int, int]) -> None:
    draws = np.random.default_rng(0)
    image = draws.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    values = torch.from_numpy(image).double().permute(2, 0, 1).unsqueeze(0) / 255
    identity = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]], dtype=torch.float64)
    grid = functional.affine_grid(identity, [1, 3, 12, 12], align_corners=True)
    sampled = functional.grid_sample(values, grid, align_corners=True)[0].permute(1, 2, 0)
    expected = (sampled.numpy() - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    found = CornerAligned(12).normalised(image)
    np.testing.assert_allclose(found.transpose(1, 2, 0), expected, atol=1e-5)


def test_pixels_are_counted_from_one() -> None:
    frame = CornerAligned(240).frame(Size(101, 51))
    found = frame.from_original(np.array([[1.0, 1], [101, 51], [51, 26]]))
    np.testing.assert_allclose(found, [[0.0, 0.0], [239.0, 239.0], [119.5, 119.5]])
    np.testing.assert_allclose(frame.to_original(found)[1], [101, 51])


def test_points_may_be_scaled_to_a_square_before_they_are_counted() -> None:
    frame = CornerAligned(240, measured=224).frame(Size(448, 112))
    # In the square of 224 these are 1 and 224.
    found = frame.from_original(np.array([[2.0, 0.5], [448, 112]]))
    np.testing.assert_allclose(found, [[0, 0], [239, 239]], atol=1e-9)
