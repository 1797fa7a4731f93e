"""Noise: Gaussian, shot, impulse and speckle.

ImageNet-C's formulas and levels (Hendrycks and Dietterich, 2019), in float64 and in the published
programs' order of operations: they end in a truncation, so the last bit decides in flat areas.
Each asks for one array of draws, one number per value of the picture. Keyed draws are used up as
words, part by part, without ever becoming an array of numbers.
"""

from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from spairc.corruptions.levels import fraction, level, to_image
from spairc.draws import Draws, KeyedDraws, tables
from spairc.draws.compiled import kernel
from spairc.types import Image

N = TypeVar("N", bound=np.number[Any])
_FEW = 2048  # values at a time, whose noise stays in the fastest memory
_LOWER = np.uint32(0xFFFF)  # 16 of 32 bits


def gaussian_noise(image: Image, severity: int, draws: Draws) -> Image:
    """Add zero-mean normal noise; the deviation is a fraction of the full range."""
    deviation = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    values, noisy = image.ravel(), np.empty(image.size, dtype=np.uint8)
    if isinstance(draws, KeyedDraws):
        for part, words in draws.words_in_parts(image.size, values_per_word=2):
            _shift(values[part], words, _shifts(deviation), noisy[part])
    else:
        _add(values, deviation * draws.normal((image.size,)), noisy)
    return noisy.reshape(image.shape)


def shot_noise(image: Image, severity: int, draws: Draws) -> Image:
    """Count photons: a Poisson number, `scale` of them being white."""
    scale = (60, 25, 12, 5, 3)[severity - 1]
    if not isinstance(draws, KeyedDraws):
        return to_image(draws.poisson(image, scale) / scale)
    values, noisy = image.ravel(), np.empty(image.size, dtype=np.uint8)
    packed = tables.packed_poisson_table(scale)
    levels = to_image(np.arange(packed.shape[1]) / scale)
    for part, words in draws.words_in_parts(image.size):
        _count(values[part], words, packed, levels, noisy[part])
    return noisy.reshape(image.shape)


def impulse_noise(image: Image, severity: int, draws: Draws) -> Image:
    """Replace a fraction of the values, each channel by itself, by 0 or 255."""
    amount = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    if not isinstance(draws, KeyedDraws):
        impulses = draws.impulses(image.shape, amount)
        return np.where(impulses == 0, image, np.where(impulses > 0, np.uint8(255), np.uint8(0)))
    values, noisy = image.ravel(), np.empty(image.size, dtype=np.uint8)
    for part, words in draws.words_in_parts(image.size):
        _strike(values[part], words, tables.few_words(amount), noisy[part])
    return noisy.reshape(image.shape)


def speckle_noise(image: Image, severity: int, draws: Draws) -> Image:
    """Add normal noise in proportion to the value itself."""
    deviation = (0.15, 0.2, 0.35, 0.45, 0.6)[severity - 1]
    values, noisy = image.ravel(), np.empty(image.size, dtype=np.uint8)
    if isinstance(draws, KeyedDraws):
        for part, words in draws.words_in_parts(image.size, values_per_word=2):
            _multiply_from(values[part], words, tables.normal_units(), deviation, noisy[part])
    else:
        _multiply(values, draws.normal((image.size,)), 1.0, deviation, noisy)
    return noisy.reshape(image.shape)


@cache
def _shifts(deviation: float) -> NDArray[np.int16]:
    """Return by how many grey levels each entry of the normal table moves a value.

    The formula's answer is the value plus a number that the entry alone decides, rounded down; no
    entry moves a value by so nearly a whole number that rounding error could tell (a test tries
    all values and entries).
    """
    return np.floor(255 * (deviation * tables.normal_table())).astype(np.int16)


@kernel
def _shift(
    values: NDArray[np.uint8],
    words: NDArray[np.uint32],
    shifts: NDArray[np.int16],
    out: NDArray[np.uint8],
) -> None:
    """Move each value by the entry that its half word chooses, between black and white."""
    chosen = np.empty(_FEW, dtype=np.int16)
    for first in range(0, values.size, _FEW):
        some, new = values[first : first + _FEW], out[first : first + _FEW]
        _choose(words[first // 2 :], shifts, chosen[: some.size])
        for i in range(some.size):
            moved = np.int16(some[i] + chosen[i])
            new[i] = np.uint8(min(max(moved, np.int16(0)), np.int16(255)))


@kernel
def _choose(words: NDArray[np.uint32], table: NDArray[N], out: NDArray[N]) -> None:
    """Write the entries that half words choose: in a loop of its own, for it is not vectorised."""
    for i in range(out.size):
        out[i] = table[(words[i >> 1] >> np.uint32(16 * (i & 1))) & _LOWER]


@kernel
def _add(values: NDArray[np.uint8], noise: NDArray[np.float64], out: NDArray[np.uint8]) -> None:
    """Add noise on the scale 0 to 1."""
    for i in range(values.size):
        out[i] = level(fraction(values[i]) + noise[i])


@kernel
def _multiply(
    values: NDArray[np.uint8],
    numbers: NDArray[N],
    unit: float,
    deviation: float,
    out: NDArray[np.uint8],
) -> None:
    """Add noise in proportion to each value; the numbers are multiples of a unit."""
    for i in range(values.size):
        value = fraction(values[i])
        out[i] = level(value + value * (deviation * (numbers[i] * unit)))


@kernel
def _multiply_from(
    values: NDArray[np.uint8],
    words: NDArray[np.uint32],
    units: NDArray[np.int32],
    deviation: float,
    out: NDArray[np.uint8],
) -> None:
    """Add the noise that each half word chooses, in proportion to each value."""
    chosen = np.empty(_FEW, dtype=np.int32)
    for first in range(0, values.size, _FEW):
        some, new = values[first : first + _FEW], out[first : first + _FEW]
        _choose(words[first // 2 :], units, chosen[: some.size])
        _multiply(some, chosen, tables.NORMAL_UNIT, deviation, new)


@kernel
def _count(
    values: NDArray[np.uint8],
    words: NDArray[np.uint32],
    packed: NDArray[np.uint32],
    levels: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> None:
    """Write the brightness of as many photons as each value's alias table and its word tell."""
    columns = levels.size
    bits = np.uint32(np.log2(columns))
    low = np.uint32(columns - 1)
    for i in range(values.size):
        column = words[i] >> (np.uint32(32) - bits)
        entry = packed[values[i], column]
        kept = np.uint32(words[i] << bits) < (entry & ~low)
        out[i] = levels[column if kept else entry & low]


@kernel
def _strike(
    values: NDArray[np.uint8], words: NDArray[np.uint32], few: int, out: NDArray[np.uint8]
) -> None:
    """Write pepper where a word is small, salt where it is large, and else the value itself."""
    small, large = np.uint32(few), np.uint32(2**32 - few)
    for i in range(values.size):
        kept = values[i] if words[i] < large else np.uint8(255)
        out[i] = np.uint8(0) if words[i] < small else kept
