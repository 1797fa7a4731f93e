"""The liquid of spatter: filtered noise above a threshold, in grey levels."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spairc.corruptions.gaussian import aligned, short_error, sum_columns, sum_row
from spairc.corruptions.weights import smoothing
from spairc.draws.compiled import kernel

_WHITE = 255
_DOUBTFUL = np.float32(-1)
_LARGEST = 4.0  # what noise can come to: normal numbers would have to be beyond 8


class Liquid(NamedTuple):
    """How noise becomes a liquid."""

    mean: float
    deviation: float
    sigma: float  # one that `smoothing` knows
    threshold: float  # where there is liquid: levels from there on, 1 being white


def poured(noise: NDArray[np.float64], liquid: Liquid, *, solid: bool) -> NDArray[np.uint8]:
    """Return where noise, filtered, is above a threshold, (H, W): its level there, 0 elsewhere.

    Sums are made in float32 first, as those of a picture.

    Args:
        noise: Normal numbers, (H, W).
        liquid: What they are multiplied by and filtered with.
        solid: Write 255 where it is above the threshold, instead of its level.
    """
    weights = smoothing(liquid.sigma)
    # As much again for the threshold, and for white times the sum.
    error = 2 * short_error(weights, _LARGEST)
    new = np.empty(noise.shape, dtype=np.uint8)
    _pour(noise, liquid, weights, weights.astype(np.float32), error, solid, new)
    return new


@kernel
def _pour(
    noise: NDArray[np.float64],
    liquid: Liquid,
    weights: NDArray[np.float64],
    short_weights: NDArray[np.float32],
    greatest_error: float,
    solid: bool,  # noqa: FBT001 -- a kernel's
    out: NDArray[np.uint8],
) -> None:
    """Filter the noise and write levels."""
    height, length = noise.shape
    reach = weights.size // 2
    rows = np.empty((2 * reach + 1, aligned(length)), dtype=np.float32)
    padded = np.empty(length + 2 * reach, dtype=np.float32)
    total = np.empty(length, dtype=np.float32)
    ready = 0
    for y in range(height):
        while ready <= min(y + reach, height - 1):
            row, values = rows[ready % rows.shape[0]], noise[ready]
            for x in range(length):
                row[x] = np.float32(liquid.mean + liquid.deviation * values[x])
            ready += 1
        sum_columns(rows, y, height, short_weights, padded[reach : reach + length])
        sum_row(padded, 1, short_weights, total)
        if _write_liquid(total, liquid.threshold, greatest_error, solid, out[y]):
            new = out[y]
            for x in range(length):
                if total[x] == _DOUBTFUL:
                    new[x] = _exact_liquid(noise, y, x, liquid, weights, solid)


@kernel
def _write_liquid(
    total: NDArray[np.float32],
    threshold: float,
    greatest_error: float,
    solid: bool,  # noqa: FBT001 -- a kernel's
    out: NDArray[np.uint8],
) -> np.int32:
    """Write levels and return how many of them are in doubt; those sums become -1."""
    doubtful, margin = np.int32(0), np.float32(greatest_error)
    white, half, edge = np.float32(_WHITE), np.float32(0.5), np.float32(threshold)
    for x in range(out.size):
        level = total[x] * white
        whole = np.float32(np.int32(level + half))
        above = total[x] >= edge
        doubt = abs(total[x] - edge) < margin
        doubt = doubt | (above & (not solid) & (abs(level - whole) < margin * white))
        inside = np.uint8(_WHITE) if solid else np.uint8(np.int32(level))
        out[x] = inside if above else np.uint8(0)
        total[x] = _DOUBTFUL if doubt else np.float32(0)
        doubtful += np.int32(doubt)
    return doubtful


@kernel
def _exact_liquid(
    noise: NDArray[np.float64],
    y: int,
    x: int,
    liquid: Liquid,
    weights: NDArray[np.float64],
    solid: bool,  # noqa: FBT001 -- a kernel's
) -> np.uint8:
    """Return one level, from sums in float64."""
    reach, (height, length) = weights.size // 2, noise.shape
    column, places = np.empty(weights.size), np.empty(weights.size, dtype=np.int64)
    here = noise[y]
    for i in range(places.size):
        places[i] = min(max(x + i - reach, 0), length - 1)
        column[i] = (liquid.mean + liquid.deviation * here[places[i]]) * weights[reach]
    for k in range(reach):  # side by side: each alone would wait for its own sum at every step
        above, below = noise[max(y - reach + k, 0)], noise[min(y + reach - k, height - 1)]
        for i in range(places.size):
            upper = liquid.mean + liquid.deviation * above[places[i]]
            lower = liquid.mean + liquid.deviation * below[places[i]]
            column[i] += (upper + lower) * weights[k]
    whole = column[reach] * weights[reach]
    for k in range(reach):
        whole += (column[k] + column[2 * reach - k]) * weights[k]
    if solid:
        return np.uint8(_WHITE) if whole > liquid.threshold else np.uint8(0)
    return np.uint8(0) if whole < liquid.threshold else np.uint8(np.int32(whole * _WHITE))
