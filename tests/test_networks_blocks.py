"""Four-dimensional convolutions against loops, their blocks against the plain form, transfers."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from spairc_models import conv4d_blocks
from spairc_models.chm import Hough4d, Hough6d
from spairc_models.conv4d import Conv4d, Planes, transposed
from spairc_models.conv4d_blocks import Padded, convolve, convolve_sparsely, convolve_twice
from spairc_models.hypercorrelation import by_phase, by_row, rectified_cosines, squeeze
from spairc_models.transfer import Transfer
from spairc_models.workspace import Workspace

SHAPE = (2, 8, 6, 5, 7)  # channels, then two planes that have nothing in common
BLOCKS = pytest.mark.parametrize("block", [1, 3 * 6 * 5 * 7, 1 << 20])


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def without_gradients() -> None:
    torch.manual_seed(3)


def over_first(convolution: nn.Module, x: Tensor) -> Tensor:
    """One flat convolution for every cell of the second plane."""
    rows, columns = (range(side) for side in x.shape[-2:])
    return torch.stack(
        [torch.stack([convolution(x[..., r, c]) for c in columns], dim=-1) for r in rows], dim=-2
    )


def over_second(convolution: nn.Module, x: Tensor) -> Tensor:
    """One flat convolution for every cell of the first plane."""
    rows, columns = (range(side) for side in x.shape[2:4])
    return torch.stack(
        [torch.stack([convolution(x[:, :, r, c]) for c in columns], dim=2) for r in rows], dim=2
    )


def padded(x: Tensor, layer: Conv4d, memory: Workspace) -> Padded:
    """A correlation in the two buffers that the blocks are cut from."""
    room = Padded.room("x", tuple(x.shape), conv4d_blocks.lengths(layer), memory, x)
    for part in room.inside:
        part.copy_(x)
    return room


def test_a_four_dimensional_convolution_is_the_sum_of_two_flat_ones() -> None:
    layer, x = Conv4d(2, 3, Planes(5, 3)), drawn(2, *SHAPE)
    expected = over_first(layer.query_conv, x) + over_second(layer.supp_conv, x)
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_where_the_first_plane_has_a_stride_the_second_sees_its_largest_values() -> None:
    layer, x = Conv4d(2, 3, Planes(3, 3), Planes(2, 1)), drawn(1, *SHAPE)
    largest = x.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(-2, -1))
    expected = over_first(layer.query_conv, x) + over_second(layer.supp_conv, largest)
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_where_the_second_plane_has_a_stride_the_first_sees_its_largest_values() -> None:
    layer, x = Conv4d(2, 3, Planes(3, 3), Planes(1, 2)), drawn(1, 2, 3, 5, 4, 6)
    largest = x.unfold(4, 2, 2).unfold(5, 2, 2).amax(dim=(-2, -1))
    expected = over_first(layer.query_conv, largest) + over_second(layer.supp_conv, x)
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_exchanging_both_planes_and_kernels_exchanges_the_answer() -> None:
    layer, swapped, x = Conv4d(2, 3, Planes(5, 3)), Conv4d(2, 3, Planes(3, 5)), drawn(1, *SHAPE)
    swapped.query_conv.load_state_dict(layer.supp_conv.state_dict())
    swapped.supp_conv.load_state_dict(layer.query_conv.state_dict())
    assert torch.allclose(transposed(swapped(transposed(x))), layer(x), atol=1e-5)


@BLOCKS
@torch.no_grad()
def test_blocks_give_what_the_plain_convolution_gives(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(conv4d_blocks.BLOCK, "cpu", block)
    layer, x, memory = Conv4d(2, 3, Planes(5, 3)), drawn(*SHAPE), Workspace()
    found = convolve(padded(x, layer, memory), layer, memory, name="found")
    assert torch.allclose(found, layer(x.unsqueeze(0))[0], atol=1e-5)


@BLOCKS
@torch.no_grad()
def test_blocks_give_what_the_plain_strided_convolution_gives(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(conv4d_blocks.BLOCK, "cpu", block)
    layer, x, memory = Conv4d(2, 3, Planes(5, 3), Planes(2, 1)), drawn(*SHAPE), Workspace()
    found = convolve_sparsely(padded(x, layer, memory), layer, memory, name="found")
    assert torch.allclose(found, layer(x.unsqueeze(0))[0], atol=1e-5)


@BLOCKS
@torch.no_grad()
def test_blocks_give_what_two_plain_convolutions_give(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(conv4d_blocks.BLOCK, "cpu", block)
    inner, outer = Conv4d(2, 7, Planes(5, 3)), Conv4d(7, 3, Planes(3, 5))
    x, memory = drawn(*SHAPE), Workspace()
    for _ in range(2):  # the second time in memory that has been used
        sums = convolve_twice(padded(x, inner, memory), inner, outer, memory)
        found = sum(sums.inside) + outer.bias().view(-1, 1, 1, 1, 1)
        expected = outer(functional.gelu(inner(x.unsqueeze(0))))[0]
        assert torch.allclose(found, expected, atol=1e-5)


def test_cells_by_phase_stand_in_four_blocks_and_can_be_put_back() -> None:
    maps = drawn(2, 3, 4, 6)
    found = by_phase(maps)
    assert torch.equal(found[:, :6], maps[:, :, ::2, ::2].flatten(2).transpose(1, 2))
    assert torch.equal(found[:, 6:12], maps[:, :, ::2, 1::2].flatten(2).transpose(1, 2))
    square = drawn(2, 3, 6, 6)
    assert torch.equal(by_row(by_phase(square)), square.flatten(2).transpose(1, 2))


@BLOCKS
@torch.no_grad()
def test_levels_squeezed_in_blocks_are_the_plain_convolution_of_their_cosines(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(conv4d_blocks.BLOCK, "cpu", block)
    layer, memory = Conv4d(3, 4, Planes(3, 3), Planes(2, 2)), Workspace()
    first = [by_phase(drawn(2, 9, 6, 6, seed=level)) for level in range(3)]
    second = [by_phase(drawn(2, 9, 8, 8, seed=10 + level)) for level in range(3)]
    expected = layer(rectified_cosines(first, second))
    for pair in range(2):
        source, target = ([level[pair] for level in side] for side in (first, second))
        found = squeeze(source, target, layer, memory, "found")
        assert torch.allclose(found, expected[pair], atol=1e-5)


def test_a_buffer_keeps_its_memory_under_its_name() -> None:
    memory, like = Workspace(), drawn(1)
    first = memory.take("a", 3, 4, like=like)
    assert memory.take("a", 2, 5, like=like).data_ptr() == first.data_ptr()
    assert memory.take("b", 3, 4, like=like).data_ptr() != first.data_ptr()
    assert memory.take("a", 5, 4, like=like).shape == (5, 4)
    assert memory.take("a", 3, 4, like=like.double()).dtype == torch.float64


def test_margins_are_zero_even_in_memory_that_was_used() -> None:
    memory, like = Workspace(), drawn(1)
    for name in ("x first", "x second"):
        memory.take(name, 4000, like=like).fill_(7)
    room = Padded.room("x", (2, 3, 4, 5, 6), Planes(5, 2), memory, like)
    for part in room.inside:
        part.fill_(1)
    assert room.first.shape == (2, 7, 8, 5, 6)
    assert room.second.shape == (2, 3, 4, 6, 7)
    assert room.first.sum() == room.second.sum() == 2 * 3 * 4 * 5 * 6


# CHM's votes and the readout that it shares with TransforMatcher

SIDE = 4  # cells along a side of the correlations that vote


def test_a_vote_is_a_convolution_over_four_axes_with_a_tied_kernel() -> None:
    layer, x = Hough4d(), drawn(1, SIDE, SIDE, SIDE, SIDE)
    sizes = torch.bincount(layer.groups.flatten())
    expected = torch.zeros_like(x)
    for cell in itertools.product(range(SIDE), repeat=4):
        for offset in itertools.product(range(-2, 3), repeat=4):
            place = tuple(at + by for at, by in zip(cell, offset, strict=True))
            if all(0 <= at < SIDE for at in place):
                group = layer.groups[tuple(by + 2 for by in offset)]
                expected[0][cell] += x[0][place] * layer.weight[group].item() / sizes[group]
    assert torch.allclose(layer(x), expected + layer.bias, atol=1e-5)


def test_a_kernel_has_55_values_and_those_of_exchanged_pictures_are_the_same() -> None:
    groups = Hough4d().groups
    assert groups.max() + 1 == 55
    assert torch.equal(groups, groups.permute(2, 3, 0, 1))
    assert torch.equal(groups, groups.flip(0, 2))


def test_votes_over_scales_are_sums_of_votes_with_the_kernel_of_their_offset() -> None:
    layer, x = Hough6d(), drawn(1, 3, 3, SIDE, SIDE, SIDE, SIDE)
    kinds = {0: 0, 1: 3, 2: 3}  # by how far the offset is from the middle, unless both are
    single = Hough4d()
    single.bias.data.zero_()
    expected = torch.zeros_like(x)
    for here in itertools.product(range(3), repeat=2):
        for by in itertools.product((-1, 0, 1), repeat=2):
            there = (here[0] + by[0], here[1] + by[1])
            kind = (1 if by[0] == by[1] else 2) if all(by) else kinds[abs(by[0]) + abs(by[1])]
            if all(0 <= at < 3 for at in there):
                single.weight.data = layer.param[kind].data / (1, 2, 2, 4)[kind]
                expected[:, here[0], here[1]] += single(x[:, there[0], there[1]])
    assert torch.allclose(layer(x), expected + layer.bias, atol=1e-5)


def slow_transfer(
    rule: Transfer, scores: Tensor, point: tuple[float, float], side: int
) -> list[float]:
    """One point, from the programs' rule, all cells of the first picture included."""
    cells = math.isqrt(len(scores))
    line = [2 * cell / (cells - 1) - 1 for cell in range(cells)]
    x, y = (coordinate / (side // 2) - 1 for coordinate in point)
    axes: list[Callable[[int], float]] = [lambda k: line[k % cells], lambda k: line[k // cells]]
    total, found = rule.guard, [0.0, 0.0]
    for number, row in enumerate(scores.double()):
        squared = (line[number % cells] - x) ** 2 + (line[number // cells] - y) ** 2
        weight = max(0.0, rule.reach - math.sqrt(squared + 1e-5))
        best = int(row.argmax())
        exponentials = [
            math.exp(
                score
                * math.exp(
                    -((k // cells - best // cells) ** 2 + (k % cells - best % cells) ** 2)
                    / (2 * rule.sigma**2)
                )
            )
            for k, score in enumerate(row.tolist())
        ]
        total += weight
        for axis, of in enumerate(axes):
            mean = sum(e * of(k) for k, e in enumerate(exponentials)) / sum(exponentials)
            found[axis] += weight * mean
    return [coordinate / total * (side // 2) + side // 2 for coordinate in found]


RULES: dict[str, Transfer] = {
    "sharp": Transfer(sigma=1.5, reach=0.9, guard=0.0),
    "guarded": Transfer(sigma=10, reach=0.6, guard=1e-2),
}
EDGES: dict[str, Callable[[int], tuple[float, float]]] = {
    "inside": lambda side: (0.3 * side, 0.61 * side),
    "border": lambda side: (float(side), 0.0),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("edge", EDGES)
def test_a_point_is_the_mean_of_the_answers_of_the_cells_near_it(rule: str, edge: str) -> None:
    scores, point = 4 * drawn(1, 16, 16), EDGES[edge](240)
    found = RULES[rule].points(scores, torch.tensor([[point]]), 240)
    expected = slow_transfer(RULES[rule], scores[0], point, 240)
    assert found[0, 0].tolist() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("guard", [0.0, 1e-5])
def test_a_point_that_no_cell_is_near_is_answered_as_the_nearest_cell_is(guard: float) -> None:
    rule = Transfer(sigma=5, reach=0.3, guard=guard)  # the 5 cells of a line are 0.5 apart
    asked = torch.tensor([[[-900.0, 80.0], [0.0, 75.0], [38.0, 62.0]]])
    found = rule.points(drawn(1, 25, 25), asked, 100)[0]
    assert found.isfinite().all()
    assert torch.allclose(found[0], found[1], atol=1e-2)


def test_points_of_one_picture_do_not_change_those_of_another() -> None:
    rule, scores = RULES["sharp"], drawn(2, 16, 16)
    points = 100 * torch.rand(2, 6, 2, generator=torch.Generator().manual_seed(4))
    both = rule.points(scores, points, 100)
    alone = rule.points(scores[1:], points[1:, :1], 100)
    assert torch.allclose(both[1, :1], alone[0], atol=1e-4)
