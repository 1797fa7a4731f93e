"""Hyperpixels: features of several layers at every cell, compared without ever being enlarged.

Min et al., "Hyperpixel flow" (ICCV 2019): a picture keeps its aspect ratio, and the features of
some layers are enlarged to the finest of them and concatenated. SCOT reads pictures the same way.

The published programs enlarge, then multiply: with ResNet-101, 5,625 cells by 7,232 channels of
each picture, more than 10^11 products a pair. Enlarging is linear, so here products of the features
as they are get enlarged instead, a fiftieth of the work; and that a row of cells at a time, so that
no table of all pairs of cells is needed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spairc.types import Points, Size
from spairc_models.hough import Cells

LONGEST = 300  # pixels of the longer side, in both programs
_AT_ONCE = 256  # channels that are enlarged at the same time, for their lengths


@dataclass(frozen=True)
class Sizing:
    """How a picture is brought to the size at which it is read."""

    longest: int = LONGEST  # pixels of the longer side
    enlarge: bool = False  # whether smaller pictures are brought to that size as well

    def ratio(self, size: Size) -> float:
        """Return pixels of the input per original pixel, rounded to float32 as in the programs."""
        longer = max(size)
        if longer <= self.longest and not self.enlarge:
            return 1.0
        return float(np.float32(self.longest) / np.float32(longer))

    def inner(self, size: Size) -> Size:
        """Return the size of the input: cut to whole pixels, which points are not."""
        ratio = np.float32(self.ratio(size))
        width, height = (max(1, int(np.float32(each) * ratio)) for each in size)
        return Size(width, height)


@dataclass(frozen=True)
class Boxes:
    """The cells of a picture as boxes around their centres, the outer ones perhaps left out."""

    step: int  # pixels from one centre to the next; the first is at 0
    reach: int  # pixels from a centre to the border of its box
    prune: bool = False  # whether boxes that leave the picture by more than a step are left out

    def kept(self, count: int, length: int) -> range:
        """Return which of the cells along an axis are kept; all, where none would be.

        Args:
            count: Cells along the axis.
            length: Pixels along the axis.
        """
        if not self.prune:
            return range(count)
        beyond = self.reach - self.step  # how far a box may leave the picture
        inside = [i for i in range(count) if beyond <= self.step * i < length - beyond]
        return range(inside[0], inside[-1] + 1) if inside else range(count)

    def covering(self, points: Points, cells: Cells) -> list[list[int]]:
        """Return, per point, the cells whose boxes cover it; the nearest where none does.

        Args:
            points: (N, 2) in pixels of the input.
            cells: Those that are kept; they are counted row by row.
        """
        columns = self.step * (cells.left + np.arange(cells.columns))
        rows = self.step * (cells.top + np.arange(cells.rows))
        return [
            [y * cells.columns + x for y in self._near(rows, py) for x in self._near(columns, px)]
            for px, py in points.astype(np.float32).tolist()
        ]

    def _near(self, centres: NDArray[np.int64], place: float) -> list[int]:
        """Return which of the centres along an axis are within reach; at least the nearest."""
        distances = np.abs(centres - place)
        within = np.flatnonzero(distances <= self.reach)
        return [int(i) for i in within] if len(within) else [int(distances.argmin())]


@dataclass(frozen=True, eq=False)
class Level:
    """Features that are coarser than the cells, and how they are enlarged to them."""

    features: Tensor  # (C, h, w)
    down: Tensor  # (rows, h), linear weights; the outer centres of both grids coincide
    across: Tensor  # (columns, w)

    def enlarged(self) -> Iterator[Tensor]:
        """Yield (some channels, rows, columns)."""
        for some in torch.split(self.features, _AT_ONCE):
            yield self.down @ some @ self.across.T


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture's hyperpixels."""

    fine: Tensor  # (C, rows, columns), of the layers that have a feature for every cell
    coarse: tuple[Level, ...]  # the others
    shares: Tensor  # (rows, columns), 1 / length of all features of a cell; 0 where that is 0
    cells: Cells


def picture_of(maps: Sequence[Tensor], size: Size, boxes: Boxes) -> Picture:
    """Return the hyperpixels of a picture.

    Args:
        maps: (C, h, w) of each resolution, the finest first.
        size: Of the input that they were made of.
        boxes: Where its cells lie.
    """
    finest, *others = (each.float() for each in maps)
    rows = boxes.kept(finest.shape[1], size.height)
    columns = boxes.kept(finest.shape[2], size.width)
    fine = finest[:, rows.start : rows.stop, columns.start : columns.stop].contiguous()
    coarse = tuple(
        Level(
            each,
            enlargement(each.shape[1], finest.shape[1], each)[rows.start : rows.stop],
            enlargement(each.shape[2], finest.shape[2], each)[columns.start : columns.stop],
        )
        for each in others
    )
    squares = fine.square().sum(dim=0)
    for level in coarse:
        for some in level.enlarged():
            squares += some.square().sum(dim=0)
    shares = torch.where(squares > 0, squares.rsqrt(), 0)
    cells = Cells(len(rows), len(columns), size, boxes.step, top=rows.start, left=columns.start)
    return Picture(fine, coarse, shares, cells)


def cosine_rows(first: Picture, second: Picture) -> Iterator[Tensor]:
    """Yield (w1, h2, w2) cosine similarities for each row of the first picture's cells, in turn.

    What is yielded is the caller's, to be written to at will.

    Args:
        first: With h1 x w1 cells.
        second: With h2 x w2 cells, of the same network and layers.
    """
    pairs = list(zip(first.coarse, second.coarse, strict=True))
    products = [torch.tensordot(one.features, other.features, ([0], [0])) for one, other in pairs]
    fine = second.fine.flatten(1)
    for y in range(first.cells.rows):
        shares = first.shares[y]
        row = torch.unflatten((first.fine[:, y] * shares).T @ fine, 1, second.shares.shape)
        for (one, other), product in zip(pairs, products, strict=True):
            here = torch.tensordot(one.down[y], product, 1)  # (w, h', w')
            there = torch.tensordot(one.across * shares[:, None], here, 1)  # (w1, h', w')
            row += other.down @ (there @ other.across.T)
        yield row.mul_(second.shares)


def enlargement(given: int, wanted: int, like: Tensor) -> Tensor:
    """Return (wanted, given) linear weights along an axis; the outer centres coincide."""
    lines = torch.eye(given, dtype=like.dtype, device=like.device)[None]
    return functional.interpolate(lines, wanted, mode="linear", align_corners=True)[0].T


def moved(
    points: Points,
    covering: Sequence[Sequence[int]],
    best: Mapping[int, int],
    first: Cells,
    second: Cells,
) -> Points:
    """Return where points are in the second picture: each moves as its cells do, on average.

    Args:
        points: (N, 2) in pixels of the first picture's input.
        covering: Per point, cells of the first picture.
        best: The second picture's cell for each of those.
        first: The first picture's cells.
        second: The second's.
    """
    moves = [
        np.mean([_centre(best[cell], second) - _centre(cell, first) for cell in cells], axis=0)
        for cells in covering
    ]
    return np.asarray(points + np.array(moves).reshape(-1, 2))


def _centre(cell: int, cells: Cells) -> Points:
    """Return x and y of a cell's centre."""
    row, column = divmod(cell, cells.columns)
    return cells.step * np.array([cells.left + column, cells.top + row], dtype=np.float64)
