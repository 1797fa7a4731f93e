"""Integer tables that turn random words into normal and Poisson numbers.

They are the same on every machine: the normal table needs nothing but + - x and /, which IEEE 754
rounds correctly everywhere; the Poisson tables are made of whole numbers. No call to a library's
exp, log or erf, whose last bit differs between processors, takes part.
"""

import math
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NORMAL_BITS = 16  # bits of a Philox word that choose one of the normal table's entries
NORMAL_UNIT = 2.0**-16  # the normal table's entries are multiples of this
GREY_LEVELS = 256
_SQRT_TWO_PI = 2.5066282746310002  # sqrt(2 pi), the nearest double
_HALVINGS = 4  # exp(y) = exp(y / 2**4) squared four times
_EXP_TERMS = 24  # |y / 16| < 0.6: the next term is below 1e-29
_TAIL_TERMS = 70  # of the series below at |x| < 4.3: the next term is below 1e-20
_NEWTON_STEPS = 24  # from 0 to -4.17 and then until nothing changes
_ONE = 1 << 128  # fixed point for Poisson weights


class PoissonTables(NamedTuple):
    """Alias tables of one scale, one row per grey level, a power of two columns."""

    thresholds: NDArray[np.uint32]  # (256, columns)
    aliases: NDArray[np.uint8]  # (256, columns); wider where there are more than 256 columns


@cache
def normal_table() -> NDArray[np.float64]:
    """Return 65,536 normal numbers of equal probability, ascending, read-only.

    Entry k is the mean of a standard normal number given that its distribution function lies
    between k / 65536 and (k + 1) / 65536, rounded to the nearest multiple of 2**-16. With a the
    lower and b the upper end of that bin, the mean is 65536 (phi(a) - phi(b)).
    """
    half = 2 ** (NORMAL_BITS - 1)
    ends = _quantiles(np.arange(1, half + 1) / (2 * half))
    density = np.concatenate([[0.0], _density(ends)])
    means = (density[:-1] - density[1:]) * (2 * half)
    lower = np.floor(means / NORMAL_UNIT + 0.5) * NORMAL_UNIT
    table: NDArray[np.float64] = np.concatenate([lower, -lower[::-1]])
    table.setflags(write=False)
    return table


@cache
def normal_units() -> NDArray[np.int32]:
    """Return the normal table in units of NORMAL_UNIT: the same in half the size; read-only."""
    units: NDArray[np.int32] = (normal_table() / NORMAL_UNIT).astype(np.int32)
    units.setflags(write=False)
    return units


def few_words(amount: float) -> int:
    """Return how many of the 2**32 words are pepper, and as many salt, at that amount of both."""
    return math.floor(amount * 2**31 + 0.5)


@cache
def poisson_tables(scale: int) -> PoissonTables:
    """Return the alias tables that draw a count of mean `grey * scale / 255` for every grey.

    The number of columns is the least power of two that a count of mean `scale` reaches with a
    probability below 2**-32; counts are drawn given that they stay below it. docs/definition.md
    tells how the tables are filled.
    """
    columns = _columns(scale)
    weights = np.array([_weights(grey, scale, columns) for grey in range(GREY_LEVELS)])
    thresholds, aliases = _alias(weights)
    thresholds.setflags(write=False)
    aliases.setflags(write=False)
    return PoissonTables(thresholds, aliases)


@cache
def packed_poisson_table(scale: int) -> NDArray[np.uint32]:
    """Return threshold and alias in one word, shape (256, columns); read-only.

    With 2**b columns the upper 32 - b bits are the threshold, the lower b the alias. A threshold
    that needs one bit more closes nothing: its column is its own alias, and 0 stands for it.
    """
    thresholds, aliases = poisson_tables(scale)
    columns = thresholds.shape[1]
    effective = np.where(aliases == np.arange(columns), 0, thresholds)
    packed: NDArray[np.uint32] = (effective * columns + aliases).astype(np.uint32)
    packed.setflags(write=False)
    return packed


def _exp(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return exp(y) for y in [-9, 0], to some 1e-15, from + - x / alone."""
    small = y / 2**_HALVINGS
    total: NDArray[np.float64] = np.ones_like(small)
    for n in range(_EXP_TERMS, 0, -1):
        total = 1 + total * small / n
    for _ in range(_HALVINGS):
        total = total * total
    return total


def _density(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard normal density."""
    return _exp(-0.5 * (x * x)) / _SQRT_TWO_PI


def _distribution(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard normal distribution function of x in [-4.3, 0].

    Marsaglia, "Evaluating the normal distribution" (2004):
    1/2 + phi(x) (x + x**3 / 3 + x**5 / (3 * 5) + ...).
    """
    square = x * x
    total = np.ones_like(x)
    for n in range(_TAIL_TERMS, 0, -1):
        total = 1 + total * square / (2 * n + 1)
    return 0.5 + _density(x) * (x * total)


def _quantiles(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where the distribution function takes the given values, at most 1/2.

    Newton's steps from 0: the function is convex below 0, so that they never overshoot.
    """
    x = np.zeros_like(probability)
    for _ in range(_NEWTON_STEPS):
        x = x - (_distribution(x) - probability) / _density(x)
    return x


def _sums(grey: int, scale: int, columns: int) -> list[int]:
    """Return what is proportional to P(count <= n) for n = 0 to columns - 1.

    Each term is the one before times the mean, grey * scale / 255, over n.
    """
    term = total = _ONE
    sums = [total]
    for n in range(1, columns):
        term = term * grey * scale // (255 * n)
        total += term
        sums.append(total)
    return sums


def _columns(scale: int) -> int:
    """Return the least power of two that counts of mean `scale` reach with less than 2**-32."""
    columns = 2
    while True:
        beyond = _sums(255, scale, 4 * columns)  # what four times as many leave out is nothing
        if (beyond[-1] - beyond[columns - 1]) << 32 < beyond[-1]:
            return columns
        columns *= 2


def _weights(grey: int, scale: int, columns: int) -> list[int]:
    """Return the probabilities of 0, 1, ... columns - 1 in units of 2**-32; their sum is 2**32."""
    sums = _sums(grey, scale, columns)
    whole = sums[-1]
    rounded = [((part << 33) + whole) // (2 * whole) for part in sums]
    return [rounded[0], *(after - before for before, after in pairwise(rounded))]


def _alias(weights: NDArray[np.int64]) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """Return thresholds and aliases (Walker 1977): the poorest column is filled by the richest.

    All rows at once; among equals the lowest column comes first.
    """
    rows, columns = weights.shape
    share = 2**32 // columns
    left = weights.copy()
    open_ = np.ones(weights.shape, dtype=np.bool_)
    thresholds = np.full(weights.shape, share, dtype=np.uint32)
    itself = np.arange(columns, dtype=np.min_scalar_type(columns - 1))
    aliases = np.tile(itself, (rows, 1))
    row = np.arange(rows)
    for _ in range(columns - 1):
        poorest = np.where(open_, left, 2**33).argmin(axis=1)
        open_[row, poorest] = False
        richest = np.where(open_, left, -1).argmax(axis=1)
        thresholds[row, poorest] = left[row, poorest]
        aliases[row, poorest] = richest
        left[row, richest] -= share - left[row, poorest]
    return thresholds, aliases
