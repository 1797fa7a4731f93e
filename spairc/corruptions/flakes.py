"""What snow is made of: flakes zoomed, smeared to streaks, and laid over a whitened picture.

In imagecorruptions' precisions and order of operations.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spairc.corruptions.levels import fraction, level
from spairc.draws.compiled import kernel
from spairc.types import Image, Size

_WHITE = 255
_DOUBTFUL = np.float32(-1)
_AT_ONCE = 4  # rows that are added in one pass
_DEGREE = 0.017453292519943295  # pi / 180
_TERMS = 40  # of the series: the next is below 1e-26


class Layer(NamedTuple):
    """Flakes before they fall, with a border at both sides in which the outermost pixel repeats."""

    exact: NDArray[np.float64]  # (at least H, at least W + 2 * margin), from 0 to 1
    short: NDArray[np.float32]  # the same, rounded
    margin: int  # pixels


def zoomed(flakes: NDArray[np.float64], zoom: float, threshold: float, margin: int) -> Layer:
    """Return the plane enlarged, 0 instead of what is below the threshold, 1 of what is above 1.

    By linear interpolation, corner to corner (SciPy's zoom of order 1).
    """
    height, width = (round(length * zoom) for length in flakes.shape)
    above, down = _places(flakes.shape[0], height)
    left, across = _places(flakes.shape[1], width)
    exact = np.empty((height, width + 2 * margin))
    layer = Layer(exact, np.empty(exact.shape, dtype=np.float32), margin)
    _interpolate(flakes, above, down, left, across, threshold, layer)
    return layer


def streaked(
    layer: Layer, weights: tuple[float, ...], angle: float, size: Size
) -> NDArray[np.uint8]:
    """Return the top left part of the layer, smeared in one direction, in grey levels (rounded).

    Beyond the border of the layer the outermost pixel repeats.

    Args:
        layer: Its margin is at least as many pixels as there are weights.
        weights: Of the pixel itself, of the next one in that direction, and so on.
        angle: In degrees, clockwise from the right.
        size: Of the part; the layer is at least as large.
    """
    rise, run = _direction(angle)
    # To the nearest pixel; of two that are as near, to the lower number, as published.
    rows = np.array([math.ceil(i * rise - 0.5) for i in range(len(weights))])
    columns = np.array([math.ceil(i * run - 0.5) for i in range(len(weights))])
    streaks = np.empty((size.height, size.width), dtype=np.uint8)
    _smear(layer, rows, layer.margin + columns, np.array(weights), streaks)
    return streaks


def snowed(image: Image, streaks: NDArray[np.uint8], own: float) -> Image:
    """Return the picture, whitened, with the streaks and the streaks upside down added.

    Args:
        image: (H, W, 3).
        streaks: (H, W), in grey levels.
        own: How much of the picture's own colour stays.
    """
    snowy = np.empty(image.shape, dtype=np.uint8)
    rows = image.reshape(len(image), -1)
    colour, white = np.float32(own), np.float32(1 - own)
    _lay(rows, streaks, colour, white, snowy.reshape(len(image), -1))
    return snowy


def _direction(angle: float) -> tuple[float, float]:
    """Return sine and cosine of an angle in degrees, of at most half a turn.

    By their series: the last digit of a library's depends on the machine.
    """
    radians, sine, cosine, term = angle * _DEGREE, 0.0, 0.0, 1.0
    for n in range(0, _TERMS, 2):
        cosine += term
        term *= radians / (n + 1)
        sine += term
        term *= -radians / (n + 2)
    return sine, cosine


def _places(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return, for each new place, the old place before it, and the weights of that and the next.

    As in SciPy the second weight is what the first lacks, and the last place has none if by
    rounding error it lies beyond the last of the old ones.
    """
    places = np.arange(new) * ((old - 1) / (new - 1))
    before = np.floor(places)
    first = 1 - (places - before)
    weights = np.array([first, 1 - first])
    weights[:, places > old - 1] = 0
    return before.astype(np.int64), weights


@kernel
def _interpolate(
    flakes: NDArray[np.float64],
    above: NDArray[np.int64],
    down: NDArray[np.float64],
    left: NDArray[np.int64],
    across: NDArray[np.float64],
    threshold: float,
    layer: Layer,
) -> None:
    """Write weighted sums of four, the upper left first."""
    height, width = flakes.shape
    length, margin = left.size, layer.margin
    here, beside = np.empty((2, length)), np.empty((2, length))
    near, far = across[0], across[1]
    ready = -1
    for y in range(above.size):
        if above[y] != ready:
            ready = above[y]
            for k in range(2):
                row = flakes[min(ready + k, height - 1)]
                for x in range(length):
                    here[k, x], beside[k, x] = row[left[x]], row[min(left[x] + 1, width - 1)]
        upper, lower = down[0, y], down[1, y]
        exact, a, b, c, d = layer.exact[y], here[0], beside[0], here[1], beside[1]
        new = exact[margin:]
        for x in range(length):
            flake = a[x] * upper * near[x] + b[x] * upper * far[x]
            flake = flake + c[x] * lower * near[x] + d[x] * lower * far[x]
            new[x] = 0.0 if flake < threshold else min(max(flake, 0.0), 1.0)
        exact[:margin] = new[0]
        new[length:] = new[length - 1]
        short = layer.short[y]
        for x in range(exact.size):
            short[x] = np.float32(exact[x])


@kernel
def _smear(
    layer: Layer,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    weights: NDArray[np.float64],
    out: NDArray[np.uint8],
) -> None:
    """Write rounded weighted sums; `columns` counts from the border of the margin.

    They are made in float32 first; where its error could decide, again in float64.
    """
    short, light = layer.short, weights.astype(np.float32)
    total, last = np.empty(out.shape[1], dtype=np.float32), short.shape[0] - 1
    # Each value and weight, product and sum, none above 1, is rounded to 24 bits.
    margin = np.float32(255 * 2.0**-24 * (weights.size + 8))
    for y in range(out.shape[0]):
        total[:] = 0
        for i in range(0, weights.size - _AT_ONCE + 1, _AT_ONCE):
            first = short[min(max(y + rows[i], 0), last)][columns[i] :]
            second = short[min(max(y + rows[i + 1], 0), last)][columns[i + 1] :]
            third = short[min(max(y + rows[i + 2], 0), last)][columns[i + 2] :]
            fourth = short[min(max(y + rows[i + 3], 0), last)][columns[i + 3] :]
            a, b, c, d = light[i], light[i + 1], light[i + 2], light[i + 3]
            for x in range(total.size):
                total[x] = total[x] + a * first[x] + b * second[x] + c * third[x] + d * fourth[x]
        for i in range(weights.size - weights.size % _AT_ONCE, weights.size):
            source, weight = short[min(max(y + rows[i], 0), last)][columns[i] :], light[i]
            for x in range(total.size):
                total[x] += weight * source[x]
        if _write_rounded(total, margin, out[y]):
            new = out[y]
            for x in range(new.size):
                if total[x] == _DOUBTFUL:
                    new[x] = _rounded_sum(layer.exact, rows, columns, weights, y, x)


@kernel
def _write_rounded(
    total: NDArray[np.float32], margin: np.float32, out: NDArray[np.uint8]
) -> np.int32:
    """Write rounded levels and return how many of them are in doubt; those sums become -1."""
    doubtful, half, white = np.int32(0), np.float32(0.5), np.float32(_WHITE)
    for x in range(out.size):
        level = total[x] * white
        whole = np.float32(np.int32(level + half))
        doubt = abs(level - whole) > half - margin
        total[x] = _DOUBTFUL if doubt else level
        out[x] = np.uint8(np.int32(whole))
        doubtful += np.int32(doubt)
    return doubtful


@kernel
def _rounded_sum(
    padded: NDArray[np.float64],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    weights: NDArray[np.float64],
    y: int,
    x: int,
) -> np.uint8:
    """Return one weighted sum in float64, in levels, rounded; halves to the even number."""
    total, last = 0.0, padded.shape[0] - 1
    for i in range(weights.size):
        total += weights[i] * padded[min(max(y + rows[i], 0), last), columns[i] + x]
    return np.uint8(np.int32(np.rint(total * _WHITE)))


@kernel
def _fused(weight: np.float32, value: np.float32, added: np.float32) -> np.float32:
    """Return weight * value + added, rounded to float32 at the end only.

    In doubles, where the product is exact, so that it needs no processor that can fuse.
    """
    return np.float32(np.float64(weight) * np.float64(value) + np.float64(added))


@kernel
def _lay(
    image: NDArray[np.uint8],
    streaks: NDArray[np.uint8],
    colour: np.float32,
    white: np.float32,
    out: NDArray[np.uint8],
) -> None:
    """Write the sum of the whitened picture and both layers of streaks. Pictures are (H, W * 3)."""
    height, width = streaks.shape
    mixed, turned = np.empty(3 * width, dtype=np.float32), np.empty(width, dtype=np.uint8)
    for y in range(height):
        _whiten(image[y], colour, white, mixed)
        upside_down = streaks[height - 1 - y]
        for x in range(width):
            turned[x] = upside_down[width - 1 - x]
        _add_streaks(mixed, streaks[y], turned, out[y])


@kernel
def _whiten(
    row: NDArray[np.uint8], colour: np.float32, white: np.float32, out: NDArray[np.float32]
) -> None:
    """Mix a row with its bleached self, in float32.

    Grey is 0.299 R + 0.587 G + 0.114 B with fused multiply-adds, as OpenCV computes it on
    processors that have them.
    """
    for x in range(row.size // 3):
        red = np.float32(fraction(row[3 * x]))
        green = np.float32(fraction(row[3 * x + 1]))
        blue = np.float32(fraction(row[3 * x + 2]))
        grey = _fused(np.float32(0.587), green, np.float32(0))
        grey = _fused(np.float32(0.299), red, grey)
        grey = _fused(np.float32(0.114), blue, grey)
        pale = grey * np.float32(1.5) + np.float32(0.5)
        out[3 * x] = colour * red + white * max(red, pale)
        out[3 * x + 1] = colour * green + white * max(green, pale)
        out[3 * x + 2] = colour * blue + white * max(blue, pale)


@kernel
def _add_streaks(
    mixed: NDArray[np.float32],
    falling: NDArray[np.uint8],
    rising: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> None:
    """Write a row plus two rows of streaks, in float64."""
    for x in range(falling.size):
        down, up = fraction(falling[x]), fraction(rising[x])
        out[3 * x] = level(np.float64(mixed[3 * x]) + down + up)
        out[3 * x + 1] = level(np.float64(mixed[3 * x + 1]) + down + up)
        out[3 * x + 2] = level(np.float64(mixed[3 * x + 2]) + down + up)
