"""Hough matching against a Hough space that is filled vote by vote."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from spairc.types import Size
from spairc_models.hough import Cells, hough_matching, offset_sums

FIRST = Cells(rows=3, columns=5, size=Size(21, 13), step=4)
SECOND = Cells(rows=4, columns=2, size=Size(9, 17), step=4)
INNER = Cells(rows=2, columns=3, size=Size(21, 17), step=4, top=2, left=1)


def votes_of(seed: int, first: Cells = FIRST, second: Cells = SECOND) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (first.rows * first.columns, second.rows * second.columns)
    return torch.rand(shape, generator=generator)


def centres(cells: Cells) -> list[tuple[int, int]]:
    return [
        (cells.step * (cells.left + x), cells.step * (cells.top + y))
        for y in range(cells.rows)
        for x in range(cells.columns)
    ]


def slow_matching(votes: Tensor, first: Cells, second: Cells) -> NDArray[np.float64]:
    """Return the votes times their bin's sum; one vote, one bin and one neighbour at a time."""
    width, height = first.size.width + second.size.width, first.size.height + second.size.height
    side = math.sqrt(width * height / 8192)
    space = np.zeros((int(height / side) + 1, int(width / side) + 1))
    bins: dict[tuple[int, int], tuple[int, int]] = {}
    for i, (x1, y1) in enumerate(centres(first)):
        for j, (x2, y2) in enumerate(centres(second)):
            place = (first.size.height - y1 + y2, first.size.width - x1 + x2)
            row, column = (int(np.float32(each) / np.float32(side)) for each in place)
            bins[i, j] = row, column
            space[bins[i, j]] += float(votes[i, j])
    line = np.arange(-3, 4) / (7 / 2 / 2.354)
    kernel = np.exp(-(line[:, None] ** 2 + line**2) / 2)
    kernel /= kernel.sum()
    padded = np.pad(space, 3)
    found = np.zeros(votes.shape)
    for (i, j), (row, column) in bins.items():
        around = padded[row : row + 7, column : column + 7]
        found[i, j] = float(votes[i, j]) * (around * kernel).sum()
    return found


@pytest.mark.parametrize(("first", "second"), [(FIRST, SECOND), (SECOND, FIRST), (FIRST, INNER)])
def test_equals_a_hough_space_that_is_filled_vote_by_vote(first: Cells, second: Cells) -> None:
    votes = votes_of(1, first, second)
    found = hough_matching(votes, first, second)
    assert np.allclose(found.numpy(), slow_matching(votes, first, second), rtol=1e-5, atol=0)


def test_bins_wider_than_the_step_join_offsets() -> None:
    first = Cells(rows=2, columns=40, size=Size(300, 200), step=4)
    second = Cells(rows=3, columns=30, size=Size(250, 300), step=4, top=2, left=1)
    votes = votes_of(2, first, second)
    found = hough_matching(votes, first, second)
    assert np.allclose(found.numpy(), slow_matching(votes, first, second), rtol=1e-5, atol=0)


def test_sums_stand_at_their_offset() -> None:
    votes = torch.zeros(FIRST.rows, FIRST.columns, SECOND.rows, SECOND.columns)
    votes[2, 4, 0, 1] = 3  # two rows up, three columns to the left
    votes[0, 0, 3, 1] = 2  # three rows down, one column to the right
    sums = offset_sums(votes)
    assert sums.shape == (3 + 4 - 1, 5 + 2 - 1)
    assert {tuple(place): float(sums[tuple(place)]) for place in sums.nonzero().tolist()} == {
        (-2 + 2, -3 + 4): 3,
        (3 + 2, 1 + 4): 2,
    }


def test_rows_may_come_one_after_another() -> None:
    planes = votes_of(3).view(FIRST.rows, FIRST.columns, SECOND.rows, SECOND.columns)
    assert torch.equal(offset_sums(planes), offset_sums(row for row in planes))


def test_one_cell_each_is_its_own_offset() -> None:
    cell = Cells(rows=1, columns=1, size=Size(4, 4), step=4)
    found = hough_matching(torch.tensor([[0.5]]), cell, cell)
    assert found.item() == pytest.approx(slow_matching(torch.tensor([[0.5]]), cell, cell).item())
