"""A Gaussian filter of rows and columns in float64, in the summation order of the published one.

The sum at each pixel begins with the pixel itself and goes from the outermost pair of weights to
the innermost (SciPy's order), on which the last bit depends; and in flat areas that bit decides.
Beyond the border the outermost pixel repeats.
"""

from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from spairc.corruptions.levels import fraction, level
from spairc.corruptions.weights import smoothing
from spairc.draws.compiled import kernel
from spairc.types import Image

_Row: TypeAlias = NDArray[np.floating]
_Four: TypeAlias = tuple[_Row, _Row, _Row, _Row]
F = TypeVar("F", bound=np.floating[Any])
_AT_ONCE = 4  # pairs that are added in one pass
_FEW = 4  # doubtful sums in a row that are made again one by one; more, and the row is
_WHITE = 255
_MIDDLE = np.float32(128)  # what is left of a level is at most that, and so are rounding errors
_DOUBTFUL = np.float32(-1)


class _Exact(NamedTuple):
    """What the sums of a row in float64 need."""

    rows: NDArray[np.float64]  # (n, W * 3): row i of the picture stands at i modulo n, if at all
    which: NDArray[np.int64]  # (n,): which row stands there; -1: none
    padded: NDArray[np.float64]
    total: NDArray[np.float64]


def blurred(image: Image, sigma: float) -> Image:
    """Return the filtered picture, its levels truncated.

    The sums are made in float32 first, and that is an estimate with a known error.
    Where it lies so near a whole number that the error decides, the sum is made again in float64.

    Args:
        image: The channels are not mixed.
        sigma: One that `smoothing` knows.
    """
    weights = smoothing(sigma)
    # When the middle is added again, that and the sum are rounded once more.
    error = short_error(weights, float(_MIDDLE)) + 2.0**-24 * 3 * _WHITE
    new = np.empty(image.shape, dtype=np.uint8)
    rows, out = (picture.reshape(len(picture), -1) for picture in (image, new))
    _blur_image(rows, weights, weights.astype(np.float32), error, out)
    return new


def smooth(plane: NDArray[F], sigma: float) -> NDArray[F]:
    """Return the filtered plane (H, W), rounded to its own precision after columns and rows.

    Args:
        plane: One channel, in float32 or float64.
        sigma: One that `smoothing` knows.
    """
    new = np.empty_like(plane)
    _blur_plane(plane, smoothing(sigma), new)
    return new


def short_error(weights: NDArray[np.float64], largest: float) -> float:
    """Return by how much a sum over columns and rows in float32 can be wrong.

    Args:
        weights: Their sum is 1.
        largest: What is summed comes to that at most.
    """
    reach = len(weights) // 2
    sums = weights[reach] + np.cumsum(2 * weights[:reach])  # as far as each addition
    # Values, weights, products and sums are each rounded to 24 bits, for columns and for rows.
    return 2 * 2.0**-24 * largest * (float(sums.sum()) + 4)


@kernel
def _blur_image(
    image: NDArray[np.uint8],
    weights: NDArray[np.float64],
    short_weights: NDArray[np.float32],
    greatest_error: float,
    out: NDArray[np.uint8],
) -> None:
    """Filter a picture of three channels; both are (H, W * 3)."""
    height, length = image.shape
    reach = weights.size // 2
    # As many rows as a sum needs; the next row takes the place of the one no longer needed.
    rows = np.empty((2 * reach + 1, aligned(length)), dtype=np.float32)
    padded = np.empty(length + 6 * reach, dtype=np.float32)
    total = np.empty(length, dtype=np.float32)
    exact = _Exact(
        np.empty((2 * reach + 1, length)),
        np.full(2 * reach + 1, -1),
        np.empty(length + 6 * reach),
        np.empty(length),
    )
    ready, shift = 0, np.float32(weights.sum() * _MIDDLE)
    for y in range(height):
        while ready <= min(y + reach, height - 1):
            row, values = rows[ready % rows.shape[0]], image[ready]
            for x in range(length):
                row[x] = np.float32(values[x]) - _MIDDLE
            ready += 1
        sum_columns(rows, y, height, short_weights, padded[3 * reach : 3 * reach + length])
        sum_row(padded, 3, short_weights, total)
        doubtful = _write_levels(total, shift, greatest_error, out[y])
        if doubtful > _FEW:
            _write_exact_row(image, y, weights, exact, out[y])
        elif doubtful:
            _settle(image, y, weights, total, out[y])


@kernel
def _write_levels(
    total: NDArray[np.float32], shift: np.float32, greatest_error: float, out: NDArray[np.uint8]
) -> np.int32:
    """Write sums, shifted and rounded down, and return how many of them are in doubt.

    Those become -1. Black needs no less than black.
    """
    doubtful, margin = np.int32(0), np.float32(greatest_error)
    zero, half, one, white = np.float32(0), np.float32(0.5), np.float32(1), np.float32(_WHITE)
    for x in range(out.size):
        value = total[x] + shift
        near = np.float32(np.int32(value + half))
        doubt = (abs(value - near) < margin) & (near >= one)
        out[x] = np.uint8(np.int32(min(max(value, zero), white)))
        total[x] = _DOUBTFUL if doubt else value
        doubtful += np.int32(doubt)
    return doubtful


@kernel
def _write_exact_row(
    image: NDArray[np.uint8],
    y: int,
    weights: NDArray[np.float64],
    exact: _Exact,
    out: NDArray[np.uint8],
) -> None:
    """Write the levels of row y from sums in float64."""
    height, length = image.shape
    reach, number = weights.size // 2, exact.rows.shape[0]
    for source in range(max(y - reach, 0), min(y + reach, height - 1) + 1):
        if exact.which[source % number] != source:
            exact.which[source % number] = source
            row, values = exact.rows[source % number], image[source]
            for x in range(length):
                row[x] = fraction(values[x])
    middle = exact.padded[3 * reach : 3 * reach + length]
    sum_columns(exact.rows, y, height, weights, middle)
    sum_row(exact.padded, 3, weights, exact.total)
    for x in range(length):
        out[x] = level(exact.total[x])


@kernel
def _settle(
    image: NDArray[np.uint8],
    y: int,
    weights: NDArray[np.float64],
    total: NDArray[np.float32],
    out: NDArray[np.uint8],
) -> None:
    """Write the levels of row y that are in doubt again, each from sums in float64."""
    reach, length = weights.size // 2, out.size
    column, places = np.empty(weights.size), np.empty(weights.size, dtype=np.int64)
    for x in range(length):
        if total[x] != _DOUBTFUL:
            continue
        for i in range(places.size):
            place = x + 3 * (i - reach)
            place = x % 3 if place < 0 else place
            places[i] = length - 3 + x % 3 if place >= length else place
        _sum_few_columns(image, y, places, weights, column)
        whole = column[reach] * weights[reach]
        for i in range(reach):
            whole += (column[i] + column[2 * reach - i]) * weights[i]
        out[x] = level(whole)


@kernel
def _sum_few_columns(
    image: NDArray[np.uint8],
    y: int,
    places: NDArray[np.int64],
    weights: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Write the weighted sums of the values around row y at some places of the row.

    All of them side by side: each alone would wait for its own sum at every step.
    """
    reach, last, here = weights.size // 2, image.shape[0] - 1, image[y]
    for i in range(places.size):
        out[i] = fraction(here[places[i]]) * weights[reach]
    for k in range(reach):
        above, below = image[max(y - reach + k, 0)], image[min(y + reach - k, last)]
        for i in range(places.size):
            out[i] += (fraction(above[places[i]]) + fraction(below[places[i]])) * weights[k]


@kernel
def _blur_plane(plane: NDArray[F], weights: NDArray[np.float64], out: NDArray[F]) -> None:
    """Filter one channel; both are (H, W), of the same precision."""
    height, length = plane.shape
    reach = weights.size // 2
    rows = np.empty((2 * reach + 1, aligned(length)))
    padded, total = np.empty(length + 2 * reach), np.empty(length)
    ready = 0
    for y in range(height):
        while ready <= min(y + reach, height - 1):
            row, values = rows[ready % rows.shape[0]], plane[ready]
            for x in range(length):
                row[x] = values[x]
            ready += 1
        middle, new = padded[reach : reach + length], out[y]
        sum_columns(rows, y, height, weights, middle)
        for x in range(length):  # rounds to the plane's precision
            new[x] = middle[x]
        for x in range(length):
            middle[x] = new[x]
        sum_row(padded, 1, weights, total)
        for x in range(length):
            new[x] = total[x]


@kernel
def aligned(length: int) -> int:
    """Return the length of rows that all begin alike in memory: the processor loads them faster."""
    return (length + 15) // 16 * 16


@kernel
def sum_columns(
    rows: NDArray[np.floating],
    y: int,
    height: int,
    weights: NDArray[np.floating],
    total: NDArray[np.floating],
) -> None:
    """Write the weighted sums of the rows around row y; row i stands at i modulo their number."""
    reach, number = weights.size // 2, rows.shape[0]
    middle = rows[y % number]
    for x in range(total.size):
        total[x] = middle[x] * weights[reach]
    away = reach
    while away >= _AT_ONCE:
        above = (
            rows[max(y - away, 0) % number],
            rows[max(y - away + 1, 0) % number],
            rows[max(y - away + 2, 0) % number],
            rows[max(y - away + 3, 0) % number],
        )
        below = (
            rows[min(y + away, height - 1) % number],
            rows[min(y + away - 1, height - 1) % number],
            rows[min(y + away - 2, height - 1) % number],
            rows[min(y + away - 3, height - 1) % number],
        )
        _add_pairs(above, below, weights[reach - away :], total)
        away -= _AT_ONCE
    for near in range(away, 0, -1):
        before, after = rows[max(y - near, 0) % number], rows[min(y + near, height - 1) % number]
        _add_pair(before, after, weights[reach - near], total)


@kernel
def sum_row(
    padded: NDArray[np.floating],
    channels: int,
    weights: NDArray[np.floating],
    total: NDArray[np.floating],
) -> None:
    """Write the weighted sums of the pixels beside each of a row, whose ends are padded here."""
    reach, length = weights.size // 2, total.size
    start = reach * channels
    for x in range(start - 1, -1, -1):
        padded[x] = padded[x + channels]
    for x in range(start + length, start + length + start):
        padded[x] = padded[x - channels]
    for x in range(length):
        total[x] = padded[start + x] * weights[reach]
    away = reach
    while away >= _AT_ONCE:
        first, last = (reach - away) * channels, (reach + away) * channels
        before = (
            padded[first:],
            padded[first + channels :],
            padded[first + 2 * channels :],
            padded[first + 3 * channels :],
        )
        after = (
            padded[last:],
            padded[last - channels :],
            padded[last - 2 * channels :],
            padded[last - 3 * channels :],
        )
        _add_pairs(before, after, weights[reach - away :], total)
        away -= _AT_ONCE
    for near in range(away, 0, -1):
        left, right = padded[start - near * channels :], padded[start + near * channels :]
        _add_pair(left, right, weights[reach - near], total)


@kernel
def _add_pair(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    weight: float,
    total: NDArray[np.floating],
) -> None:
    """Add a weighted pair."""
    for x in range(total.size):
        total[x] += (before[x] + after[x]) * weight


@kernel
def _add_pairs(
    before: _Four, after: _Four, weights: NDArray[np.floating], total: NDArray[np.floating]
) -> None:
    """Add four weighted pairs, one after another: a pass for each would wait for the memory."""
    first, second, third, fourth = weights[0], weights[1], weights[2], weights[3]
    a, b, c, d = before
    e, f, g, h = after
    for x in range(total.size):
        total[x] = (
            total[x]
            + (a[x] + e[x]) * first
            + (b[x] + f[x]) * second
            + (c[x] + g[x]) * third
            + (d[x] + h[x]) * fourth
        )
