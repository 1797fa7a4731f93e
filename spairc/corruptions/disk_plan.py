"""How the filter of defocus is made up, for each of its disks: worked out once, before any picture.

A plain disk, softened, and the few weights that differ from that; and how far the sum that
`spairc.corruptions.defocus` estimates from these can be from the true one.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spairc.corruptions.weights import disk
from spairc.draws.compiled import kernel

# radius -> weights of a pixel, of its neighbours and of its diagonal neighbours, which soften a
# plain disk: products of 0.787 and 0.1065, a Gaussian of sigma 0.5. The largest disk is softened by
# 5 x 5; there the plain disk alone, of the equal weights inside, leaves fewer that differ.
_SOFTENING = {
    3: (1.0, 0.0, 0.0),
    4: (0.619347030557177, 0.083819505802211, 0.011343736558495),
    6: (0.619347030557177, 0.083819505802211, 0.011343736558495),
    8: (0.619347030557177, 0.083819505802211, 0.011343736558495),
    10: (1.0, 0.0, 0.0),
}
_EQUAL = 1e-9  # weights that differ by less are summed together
WHITE = 255
_NO_TAP = (-1, 0)
_AT_ONCE = 2  # pairs of taps that are weighed in one pass


class Plan(NamedTuple):
    """How the sum is made, for one disk."""

    weights: NDArray[np.float64]  # (side, side): all of them; around them a border of zeros
    heights: NDArray[
        np.int64
    ]  # (side,): how far the plain disk reaches up and down; -1: not at all
    soft: NDArray[np.float32]  # (3,): weights of the plain disk's sums: at, beside and diagonally
    taps: NDArray[np.int64]  # (n, 4): how far two taps are from the middle in y and x; y -1: no tap
    shares: NDArray[np.float32]  # (n,): what each such pair weighs besides
    greatest_error: float  # of the estimate, in grey levels
    flat: NDArray[np.uint8]  # (256,): what becomes of a level that is all around


@cache
def plan_of(radius: int) -> Plan:
    """Return how to filter with the disk of that radius."""
    given = disk(radius).astype(np.float64)
    reach = max(len(given) // 2, radius) + 1
    weights = np.pad(given, reach - len(given) // 2)
    inside = weights[reach, reach]
    side = np.arange(-reach, reach + 1)
    if _SOFTENING[radius][1]:
        plain = side[:, None] ** 2 + side**2 <= radius**2
    else:
        plain = np.abs(weights - inside) < _EQUAL
    soft = np.array([inside * share for share in _SOFTENING[radius]], dtype=np.float32)
    estimated = _softened(plain, soft)
    taps, shares = _taps(weights, estimated)
    # All that has been added so far is rounded each time, and every product is. A pair of taps
    # stands for up to eight pixels; the plain disk's three products come last.
    so_far = np.cumsum(8 * np.abs(shares)).clip(max=1)
    rounding = 2.0**-24 * WHITE * 1.02 * (float(so_far.sum()) + 5)
    return Plan(
        weights=weights,
        heights=np.count_nonzero(plain, axis=0) // 2 - ~plain[reach],
        soft=soft,
        taps=taps,
        shares=shares,
        greatest_error=WHITE * float(np.abs(estimated - weights).sum()) + rounding,
        flat=_flat_levels(weights),
    )


def _taps(
    weights: NDArray[np.float64], estimated: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return pairs of taps and what each weighs; add them to the estimate, in place."""
    reach = len(weights) // 2
    taps, shares = [], []
    for share, ring in _rings(weights - estimated):
        for y, x in ring:
            estimated[np.ix_((reach - y, reach + y), (reach - x, reach + x))] += np.float32(share)
        for first, second in zip(ring[::2], [*ring[1::2], _NO_TAP], strict=False):
            taps.append([*first, *second])
            shares.append(share)
    missing = -len(taps) % _AT_ONCE
    taps.extend([[*_NO_TAP, *_NO_TAP]] * missing)
    shares.extend([0.0] * missing)
    return np.array(taps, dtype=np.int64).reshape(-1, 4), np.array(shares, dtype=np.float32)


def _softened(plain: NDArray[np.bool_], soft: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the weights that sums over a plain disk, and nine of those, come to."""
    padded = np.pad(plain, 1).astype(np.float64)
    total = np.zeros(plain.shape)
    for y in range(3):
        for x in range(3):
            share = soft[abs(y - 1) + abs(x - 1)]
            total += float(share) * padded[y : y + len(plain), x : x + len(plain)]
    return total


def _rings(differences: NDArray[np.float64]) -> Iterator[tuple[float, list[tuple[int, int]]]]:
    """Yield each weight that is still to be added, the smallest first, and where it stands.

    Places are distances from the middle in y and x; up and down, and left and right, are one,
    whose weights differ in the last digit at most: their mean serves.
    """
    reach = len(differences) // 2
    turned = (differences, differences[::-1], differences[:, ::-1], differences[::-1, ::-1])
    corner = (sum(turned, np.zeros(differences.shape)) / len(turned))[reach:, reach:]
    found = zip(*(part.tolist() for part in np.nonzero(np.abs(corner) > _EQUAL)), strict=True)
    places = sorted(found, key=lambda place: (abs(corner[place]), corner[place]))
    while places:
        share = corner[places[0]]
        ring = [place for place in places if abs(corner[place] - share) < _EQUAL]
        yield float(share), ring
        places = [place for place in places if place not in ring]


def _flat_levels(weights: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return what becomes of each level if it is all around."""
    rows = np.empty((len(weights), 3 * len(weights)), dtype=np.int16)
    levels = np.empty(WHITE + 1, dtype=np.uint8)
    for grey in range(WHITE + 1):
        rows[:] = grey
        levels[grey] = min(weighted_sum(rows, weights, 0, 0), WHITE)
    return levels


@kernel
def weighted_sum(rows: NDArray[np.int16], weights: NDArray[np.float64], y: int, x: int) -> float:
    """Return the weighted sum of the surrounding whose first value is at y and x."""
    total = 0.0
    for row in range(weights.shape[0]):
        part = 0.0
        for column in range(weights.shape[1]):
            part += weights[row, column] * rows[y + row, x + 3 * column]
        total += part
    return total
