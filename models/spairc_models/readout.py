"""Nearest descriptors on a grid: where a cell lies, how a point is read, how an answer is chosen.

Numpy only: the classical descriptors and the features of networks share it, and only what is heavy
(gathering descriptors and comparing them) is done by the matcher that owns the array.

Coordinates: cell i of a grid of n cells across a frame of S pixels covers [i * S/n, (i + 1) * S/n).

To add a readout: a line in `READOUTS`, its own settings in `_SETTINGS` if it has any, a branch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from spairc.geometry import Frame
from spairc.lookup import lookup
from spairc.types import BadInput, Features, Points, Query, Size
from spairc_models.preprocessing import Preprocessing

Shape: TypeAlias = tuple[int, int]  # rows, columns of a grid
Corners: TypeAlias = NDArray[np.int64]  # (N, 4) cells around each point, row by row
Weights: TypeAlias = NDArray[np.float32]  # (N, 4) bilinear weights of those cells, sum 1
Scores: TypeAlias = NDArray[np.float32]  # (N, rows, columns) similarity with every target cell
# (source features, corners, weights, target features) -> (N, rows * columns) similarities
Compare: TypeAlias = Callable[[Features, Corners, Weights, Features], NDArray[np.float32]]

READOUTS = {
    "argmax": "the centre of the most similar cell",
    "window": "soft-argmax in a window around the most similar cell",
    "full": "the most similar pixel, features enlarged to the original picture, as in DIFT",
    "sd-dino": "argmax, for the cell that holds the point instead of the point, as in SD+DINO",
    "geoaware": "window, for the cell that holds the point, as in GeoAware-SC",
}
# Window and temperature where the user gives none. GeoAware-SC's window of 7 is a radius; its
# zero-shot tables have 5, which is a window of 11.
_SETTINGS: Mapping[str, tuple[int, float]] = {"window": (5, 0.04), "geoaware": (15, 0.02)}
_WHOLE_CELLS = ("sd-dino", "geoaware")
_TINY = 1e-12  # in place of a length of 0


@dataclass(frozen=True)
class Readout:
    """How a point is read, and how an answer is chosen among the cells of the target.

    GeoAware-SC's window is 15 of its 60 cells, a quarter of the grid, as our 5 of 16 to 20. Its
    temperature is 0.02; between 0.02 and 0.1 the PCK of MobileNetV2 moves by less than a point.

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
        if self.kind not in _SETTINGS:
            return {"readout": self.kind}
        return {"readout": self.kind, "window": self.window, "temperature": self.temperature}

    def cells(self, points: Points) -> Points:
        """Return (N, 2) fractional cells to read for points in cells, edges at whole numbers."""
        return np.floor(points) if self.kind in _WHOLE_CELLS else points - 0.5

    def __call__(self, scores: Scores) -> Points:
        """Return (N, 2) fractional column and row, the centre of the first cell being (0, 0)."""
        rows, columns = np.divmod(scores.reshape(len(scores), -1).argmax(1), scores.shape[2])
        if self.kind not in _SETTINGS:
            return np.stack([columns, rows], axis=1).astype(np.float64)
        if self.kind == "geoaware":
            return self._damped(scores, rows, columns)
        return self._soft(scores, rows, columns)

    def _damped(
        self, scores: Scores, rows: NDArray[np.int64], columns: NDArray[np.int64]
    ) -> Points:
        """Return the expected cell of the grid, similarities outside the window being 0.

        So does GeoAware-SC's program: where even the best similarity is low, the many cells
        outside draw the answer towards the middle of the picture.
        """
        reach = self.window // 2
        ys, xs = (np.arange(count) for count in scores.shape[1:])
        near = (abs(ys - rows[:, None]) <= reach)[:, :, None] & (
            abs(xs - columns[:, None]) <= reach
        )[:, None, :]
        damped = np.where(near | np.isneginf(scores), scores, 0).astype(np.float64)
        weights = np.exp((damped - damped.max(axis=(1, 2), keepdims=True)) / self.temperature)
        weights /= weights.sum(axis=(1, 2), keepdims=True)
        return np.stack([weights.sum(axis=1) @ xs, weights.sum(axis=2) @ ys], axis=1)

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


def readout_of(
    kind: str = "window", window: int | None = None, temperature: float | None = None
) -> Readout:
    """Return a readout with its own settings where none are given.

    Raises:
        BadInput: As `Readout`, or if it has no such setting.
    """
    lookup(READOUTS, kind, "readout")
    given = {"window": window, "temperature": temperature}
    unused = [name for name, value in given.items() if value is not None]
    if unused and kind not in _SETTINGS:
        raise BadInput(f"readout {kind!r} has no {', '.join(unused)}; {', '.join(_SETTINGS)} have")
    own = _SETTINGS.get(kind, _SETTINGS["window"])
    return Readout(
        kind,
        own[0] if window is None else window,
        own[1] if temperature is None else temperature,
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
        compare: Reads the source at fractional cells, compares with all cells of the target. For
            the readout "full" it multiplies with the target's features, whatever their lengths.
    """
    per_pixel = np.array([shape[1], shape[0]]) / preprocessing.side
    if readout.kind == "full":
        return _full_points(query, preprocessing, shape, compare)
    corners, weights = cell_corners(readout.cells(query.points * per_pixel), shape)
    similar = compare(query.source, corners, weights, query.target).reshape(-1, *shape)
    found = (readout(_masked(similar, query, preprocessing)) + 0.5) / per_pixel
    frame = preprocessing.frame(query.target_size)
    edge = np.array([[0.0, 0.0], [query.target_size.width - 1, query.target_size.height - 1]])
    first, last = frame.from_original(edge)
    return np.clip(found, first, last)


def _full_points(
    query: Query, preprocessing: Preprocessing, shape: Shape, compare: Compare
) -> Points:
    """Return the most similar pixel of the original target, in the target's frame.

    Features are enlarged bilinearly to the original size, of both pictures; then the source is
    read at the nearest pixel and compared with every pixel by the cosine, as DIFT does (Tang et
    al., NeurIPS 2023). The enlarged features themselves are never made: enlarging is linear, so
    products with the source can be enlarged instead, and the length of an enlarged feature
    follows from the products of neighbouring cells. One map of a picture's size per point, one
    point at a time, gives the same cosines.
    """
    source, target = (preprocessing.frame(s) for s in (query.source_size, query.target_size))
    last = np.array(query.source_size) - 1
    pixels = np.floor(source.to_original(query.points) + 0.5).clip(0, last)
    per_pixel = np.array([shape[1], shape[0]]) / preprocessing.side
    corners, weights = cell_corners(source.from_original(pixels + 0.5) * per_pixel - 0.5, shape)
    products = compare(query.source, corners, weights, query.target).reshape(-1, *shape)
    down, across = _enlargers(query.target_size, target, per_pixel, shape)
    lengths = _lengths(query.target, down, across)
    best = [int((down @ each @ across.T / lengths).argmax()) for each in products]
    rows, columns = np.divmod(best, query.target_size.width)
    return target.from_original(np.stack([columns, rows], axis=1).astype(np.float64))


def _enlargers(size: Size, frame: Frame, per_pixel: Points, shape: Shape) -> tuple[Scores, Scores]:
    """Return what enlarges a grid G to the original size, as `down @ G @ across.T`.

    (height, rows) and (width, columns), each row with the bilinear weights of a pixel's two cells.
    """
    centres = np.arange(max(size), dtype=np.float64) + 0.5
    cells = frame.from_original(np.stack([centres, centres], axis=1)) * per_pixel - 0.5
    found = []
    for places, count in ((cells[: size.height, 1], shape[0]), (cells[: size.width, 0], shape[1])):
        distances = places.clip(0, count - 1)[:, None] - np.arange(count)
        found.append((1 - abs(distances)).clip(0).astype(np.float32))
    return found[0], found[1]


def _lengths(grid: Features, down: Scores, across: Scores) -> Scores:
    """Return (height, width) lengths of the enlarged features of a grid.

    The square of a weighted sum of four cells, multiplied out: squares of cells, products of
    neighbours in a row, in a column and across.
    """
    both_down = 2 * down[:, :-1] * down[:, 1:]
    both_across = 2 * across[:, :-1] * across[:, 1:]
    crossed = _products(grid[:-1, :-1], grid[1:, 1:]) + _products(grid[:-1, 1:], grid[1:, :-1])
    squares = (
        down**2 @ _products(grid, grid) @ (across**2).T
        + down**2 @ _products(grid[:, :-1], grid[:, 1:]) @ both_across.T
        + both_down @ _products(grid[:-1], grid[1:]) @ (across**2).T
        + both_down @ (crossed / 2) @ both_across.T
    )
    return np.sqrt(np.maximum(squares, _TINY**2, dtype=np.float32))


def _products(one: Features, other: Features) -> Scores:
    """Return (rows, columns) dot products of the features of two grids, cell by cell."""
    # By way of a list, as arrays of numpy and tensors on any device have it.
    return np.array((one * other).sum(-1).tolist(), dtype=np.float32)


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
