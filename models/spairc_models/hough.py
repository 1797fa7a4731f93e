"""Regularised Hough matching: every match votes for its offset, and popular offsets count more.

Cho et al., "Unsupervised object discovery and localization in the wild" (CVPR 2015), as Min et al.,
"Hyperpixel flow" (ICCV 2019, section 4.2) use it; SCOT and DHPF share it. A vote is what the
appearance says of a cell of the first picture and one of the second.

The published programs give every cell of the first picture a Hough space of its own, add those
up, and keep the number of the bin that each pair of cells falls into: two tables as large as the
votes. But the bin depends on the offset between the two cells alone, and its column and row are
independent, so sums along diagonals are enough: every table here has one entry an offset.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spairc.types import Size

BINS = 8192  # of a Hough space, about; the same in all three programs
_KERNEL = 7  # bins a side of the Gaussian by which a bin's neighbours count
_DEVIATION = _KERNEL / 2 / 2.354  # bins; 2.354 deviations are a Gaussian's width at half height


@dataclass(frozen=True)
class Cells:
    """Where the cells of a picture lie; both pictures of a pair have the same step."""

    rows: int
    columns: int
    size: Size  # of the picture, in the pixels that `step` counts
    step: int  # pixels from one cell to the next, in both directions
    top: int = 0  # the row, counted from the picture's border, that the first cell stands in
    left: int = 0  # and the column, where cells near the border are left out


def hough_matching(votes: Tensor, first: Cells, second: Cells) -> Tensor:
    """Return (K, L): each vote times what all votes say of its offset.

    Args:
        votes: (K, L), not negative: K = rows x columns cells of the first picture, counted row by
            row, against L cells of the second.
        first: The first picture's cells.
        second: The second's.
    """
    planes = votes.view(first.rows, first.columns, second.rows, second.columns)
    scores = offset_scores(offset_sums(planes), first, second)
    # The window of (y1, x1) begins at row h1 - 1 - y1, which walks backwards: hence the flips.
    there = scores.unfold(0, second.rows, 1).unfold(1, second.columns, 1).flip(0, 1)
    return (planes * there).view_as(votes)


def offset_sums(rows: Iterable[Tensor]) -> Tensor:
    """Return (h1 + h2 - 1, w1 + w2 - 1): the sum of the votes for each offset in cells.

    The offset from (y1, x1) to (y2, x2) stands at row y2 - y1 + h1 - 1, column x2 - x1 + w1 - 1.

    Args:
        rows: h1 tensors (w1, h2, w2), the votes of each row of the first picture's cells. They may
            be made one after another; a tensor (h1, w1, h2, w2) is such a sequence as well.
    """
    by_column = torch.stack([_diagonal_sums(row) for row in rows])  # (h1, h2, w1 + w2 - 1)
    return _diagonal_sums(by_column.transpose(1, 2)).T


def offset_scores(sums: Tensor, first: Cells, second: Cells) -> Tensor:
    """Return what the smoothed Hough space holds at each offset, of the shape of `sums`.

    Args:
        sums: Votes by offset, as `offset_sums` gives them.
        first: The first picture's cells.
        second: The second's.
    """
    width, height = first.size.width + second.size.width, first.size.height + second.size.height
    side = math.sqrt(width * height / BINS)  # pixels of a bin
    right = _offsets(first.columns, second.columns, sums) + (second.left - first.left)
    down = _offsets(first.rows, second.rows, sums) + (second.top - first.top)
    columns = _bins(first.size.width + first.step * right, side)
    rows = _bins(first.size.height + first.step * down, side)
    space = sums.new_zeros(len(sums), int(width / side) + 1).index_add_(1, columns, sums)
    space = sums.new_zeros(int(height / side) + 1, space.shape[1]).index_add_(0, rows, space)
    smooth = functional.conv2d(space[None, None], _gaussian(sums)[None, None], padding=_KERNEL // 2)
    return smooth[0, 0, rows][:, columns]


def _diagonal_sums(pairs: Tensor) -> Tensor:
    """Return (K, n1 + n2 - 1): sums of (n1, K, n2) over all that have the same j - i.

    Here i counts along the first axis and j along the last.
    """
    first, lines, second = pairs.shape
    sums = pairs.new_zeros(lines, first + second - 1)
    for i, each in enumerate(pairs):
        sums[:, first - 1 - i : first - 1 - i + second] += each
    return sums


def _offsets(first: int, second: int, like: Tensor) -> Tensor:
    """Return (first + second - 1,) offsets in cells along one axis, in ascending order."""
    return torch.arange(1 - first, second, device=like.device)


def _bins(places: Tensor, side: float) -> Tensor:
    """Return which bin each place falls into along one axis.

    In float32, as published: where a place lies on the edge of two bins, that decides.

    Args:
        places: In pixels; not negative.
        side: Pixels of a bin.
    """
    return (places.float() / side).long()


def _gaussian(like: Tensor) -> Tensor:
    """Return the (7, 7) weights of a bin's neighbours, which sum to 1."""
    line = torch.arange(_KERNEL, dtype=like.dtype, device=like.device) - _KERNEL // 2
    squares = line.square() / (2 * _DEVIATION**2)
    weights = torch.exp(-(squares[:, None] + squares[None, :]))
    return weights / weights.sum()
