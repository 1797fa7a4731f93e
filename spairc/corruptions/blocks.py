"""Pixelation in whole numbers: box averages as Pillow makes them, and their repetition."""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from spairc.draws.compiled import kernel
from spairc.types import Image

_REACH = 0.5  # of a box to either side of its centre
_BITS = 22  # of the fraction 1 / n that an average of n is multiplied by


def pixelated(image: Image, scale: float) -> Image:
    """Return the picture averaged into `scale` times as many pixels a side, then repeated.

    Rows are averaged first, and rounded, then columns.
    """
    height, width = image.shape[:2]
    few_rows, few_columns = int(height * scale), int(width * scale)
    narrow = np.empty((height, 3 * few_columns), dtype=np.uint8)
    _average_columns(image.reshape(height, -1), *_boxes(width, few_columns), narrow)
    small = np.empty((few_rows, 3 * few_columns), dtype=np.uint8)
    _average_rows(narrow, *_boxes(height, few_rows), small)
    new = np.empty(image.shape, dtype=np.uint8)
    rows, columns = _repeats(height, few_rows), _repeats(width, few_columns)
    _repeat(small, rows, columns, new.reshape(height, -1))
    return new


@lru_cache(maxsize=256)
def _boxes(length: int, few: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each box's first place, and how many there are whose centres lie in it."""
    scale = length / few
    ends = []
    for box in range(few):
        centre, reach = (box + 0.5) * scale, _REACH * scale
        first, last = int(centre - reach + 0.5), min(int(centre + reach + 0.5), length)
        # A box has its right end, and not its left.
        away = [(place - centre + 0.5) / scale for place in range(first, last)]
        inside = [-_REACH < distance <= _REACH for distance in away]
        first += inside.index(True)
        ends.append((first, sum(inside)))
    firsts, numbers = np.array(ends, dtype=np.int64).T.copy()
    return firsts, numbers


@lru_cache(maxsize=256)
def _repeats(length: int, few: int) -> NDArray[np.int64]:
    """Return which box is shown at each place."""
    step = few / length
    place, places = step * 0.5, []
    for _ in range(length):
        places.append(math.floor(place))
        place += step  # adds up rounding errors, as Pillow does
    return np.array(places)


@kernel
def _average_columns(
    image: NDArray[np.uint8],
    firsts: NDArray[np.int64],
    numbers: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Write the mean of each row's boxes; pictures are (H, W * 3)."""
    for y in range(image.shape[0]):
        row, new = image[y], out[y]
        for box in range(firsts.size):
            red = green = blue = 0
            for place in range(firsts[box], firsts[box] + numbers[box]):
                red += row[3 * place]
                green += row[3 * place + 1]
                blue += row[3 * place + 2]
            share = _share(numbers[box])
            new[3 * box] = _mean(red, share)
            new[3 * box + 1] = _mean(green, share)
            new[3 * box + 2] = _mean(blue, share)


@kernel
def _average_rows(
    image: NDArray[np.uint8],
    firsts: NDArray[np.int64],
    numbers: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Write the mean of each column's boxes; pictures are (H, W * 3)."""
    total = np.empty(out.shape[1], dtype=np.int32)
    for box in range(firsts.size):
        total[:] = 0
        for y in range(firsts[box], firsts[box] + numbers[box]):
            row = image[y]
            for x in range(total.size):
                total[x] += row[x]
        share, new = np.int32(_share(numbers[box])), out[box]
        for x in range(total.size):
            new[x] = _mean(total[x], share)


@kernel
def _repeat(
    image: NDArray[np.uint8],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Write a picture's pixels as often as the places tell; pictures are (H, W * 3)."""
    for y in range(rows.size):
        if y and rows[y] == rows[y - 1]:
            out[y] = out[y - 1]
            continue
        source, new = image[rows[y]], out[y]
        for x in range(columns.size):
            new[3 * x] = source[3 * columns[x]]
            new[3 * x + 1] = source[3 * columns[x] + 1]
            new[3 * x + 2] = source[3 * columns[x] + 2]


@kernel
def _share(number: int) -> int:
    """Return 1 / number in fixed point."""
    return int(1.0 / number * (1 << _BITS) + 0.5)


@kernel
def _mean(total: int | np.int32, share: int | np.int32) -> np.uint8:
    """Return the rounded mean of a total; at most 255, should the share have been rounded up."""
    return np.uint8(min((total * share + (1 << (_BITS - 1))) >> _BITS, 255))
