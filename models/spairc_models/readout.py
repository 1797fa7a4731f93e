"""Nearest descriptors on a grid: where a cell lies, how a point is read, how an answer is chosen.

Numpy only: the classical descriptors and the features of networks share it, and only what is heavy
(gathering descriptors and comparing them) is done by the matcher that owns the array.

Coordinates: cell i of a grid of n cells across a frame of S pixels covers [i * S/n, (i + 1) * S/n).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from spairc.lookup import lookup
from spairc.types import BadInput, Features, Points, Query
from spairc_models.preprocessing import Preprocessing

Shape: TypeAlias = tuple[int, int]  # rows, columns of a grid
Corners: TypeAlias = NDArray[np.int64]  # (N, 4) cells around each point, row by row
Weights: TypeAlias = NDArray[np.float32]  # (N, 4) bilinear weights of those cells, sum 1
Scores: TypeAlias = NDArray[np.float32]  # (N, rows, columns) similarity with every target cell
# (source features, corners, weights, target features) -> (N, rows * columns) similarities
Compare: TypeAlias = Callable[[Features, Corners, Weights, Features], NDArray[np.float32]]

READOUTS = {
    "argmax": "the centre of the most similar cell",
    "window": "soft-argmax in a window around the most similar cell, as in GeoAware-SC",
}


@dataclass(frozen=True)
class Readout:
    """How an answer is chosen among the cells of the target.

    GeoAware-SC's window of 7 is a radius: 15 of its 60 cells, a quarter of the grid, as our 5 of
    16 to 20. Its temperature is 0.02; between 0.02 and 0.1 the PCK of MobileNetV2 moves by less
    than a point.

    Raises:
        BadInput: If there is no such kind, or the window is even, or the temperature not positive.
    """

    kind: str = "window"  # a key of READOUTS
    window: int = 5  # cells a side, odd
    temperature: float = 0.04  # of the softmax over cosine similarities

    def __post_init__(self) -> None:
        lookup(READOUTS, self.kind, "readout")
        if self.window < 1 or self.window % 2 == 0:
            raise BadInput(f"window {self.window}: give an odd number of cells, such as 5")
        if not self.temperature > 0:
            raise BadInput(f"temperature {self.temperature}: give a positive number, such as 0.04")

    def details(self) -> dict[str, str | int | float]:
        """Return what a run's record says of the readout: no settings that have no effect."""
        if self.kind == "argmax":
            return {"readout": self.kind}
        return {"readout": self.kind, "window": self.window, "temperature": self.temperature}

    def __call__(self, scores: Scores) -> Points:
        """Return (N, 2) fractional column and row, the centre of the first cell being (0, 0)."""
        rows, columns = np.divmod(scores.reshape(len(scores), -1).argmax(1), scores.shape[2])
        if self.kind == "argmax":
            return np.stack([columns, rows], axis=1).astype(np.float64)
        return self._soft(scores, rows, columns)

    def _soft(self, scores: Scores, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Points:
        """Return the expected cell under a softmax over the window; cells outside have no part."""
        reach = self.window // 2
        steps = np.arange(-reach, reach + 1)
        around = np.pad(
            scores.astype(np.float64),
            ((0, 0), (reach, reach), (reach, reach)),
            constant_values=-np.inf,
        )
        window = around[
            np.arange(len(scores))[:, None, None],
            (rows[:, None] + reach + steps)[:, :, None],
            (columns[:, None] + reach + steps)[:, None, :],
        ]
        weights = np.exp((window - window.max(axis=(1, 2), keepdims=True)) / self.temperature)
        weights /= weights.sum(axis=(1, 2), keepdims=True)
        return np.stack(
            [columns + weights.sum(axis=1) @ steps, rows + weights.sum(axis=2) @ steps], axis=1
        )


def nearest_points(
    query: Query, preprocessing: Preprocessing, shape: Shape, readout: Readout, compare: Compare
) -> Points:
    """Return where a query's points are in the target's frame, inside the picture.

    Args:
        query: Its points are in the source's frame.
        preprocessing: Makes the frames.
        shape: Rows and columns of every picture's grid.
        readout: Chooses the answer.
        compare: Reads the source at fractional cells, compares with all cells of the target.
    """
    per_pixel = np.array([shape[1], shape[0]]) / preprocessing.side
    cells = query.points * per_pixel - 0.5
    corners, weights = cell_corners(cells, shape)
    similar = compare(query.source, corners, weights, query.target).reshape(-1, *shape)
    found = (readout(_masked(similar, query, preprocessing)) + 0.5) / per_pixel
    frame = preprocessing.frame(query.target_size)
    edge = np.array([[0.0, 0.0], [query.target_size.width - 1, query.target_size.height - 1]])
    first, last = frame.from_original(edge)
    return np.clip(found, first, last)


def cell_corners(cells: Points, shape: Shape) -> tuple[Corners, Weights]:
    """Return which four cells surround each point and with which bilinear weights.

    Beyond the centres of the outermost cells the outermost cells are read.

    Args:
        cells: (N, 2) fractional column and row.
        shape: Rows and columns of the grid.
    """
    last = np.array([shape[1], shape[0]]) - 1
    inside = cells.clip(0, last)
    low = np.floor(inside).astype(np.int64)
    high = np.minimum(low + 1, last)
    right, down = (inside - low).T
    corners = np.stack(
        [y * shape[1] + x for y in (low[:, 1], high[:, 1]) for x in (low[:, 0], high[:, 0])], axis=1
    )
    weights = np.stack([y * x for y in (1 - down, down) for x in (1 - right, right)], axis=1)
    return corners, weights.astype(np.float32)


def _masked(scores: Scores, query: Query, preprocessing: Preprocessing) -> Scores:
    """Return the scores, minus infinity at the cells in the bars of a padded input."""
    if preprocessing.mode == "squash":
        return scores
    frame = preprocessing.frame(query.target_size)
    corners = frame.from_original(np.array([[0.0, 0.0], query.target_size]))
    (left, top), (right, bottom) = corners
    ys, xs = ((np.arange(n) + 0.5) * preprocessing.side / n for n in scores.shape[1:])
    # A picture thinner than a cell may hold no centre: then its nearest row or column stays.
    rows = _within(ys, top, bottom)
    columns = _within(xs, left, right)
    return np.where(rows[:, None] & columns, scores, np.float32(-np.inf))


def _within(centres: Points, low: float, high: float) -> NDArray[np.bool_]:
    """Return which centres lie in [low, high), at least the one nearest to its middle."""
    nearest = np.abs(centres - (low + high) / 2).argmin()
    inside: NDArray[np.bool_] = (centres >= low) & (centres < high)
    inside[nearest] = True
    return inside
