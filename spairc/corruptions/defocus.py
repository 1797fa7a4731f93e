"""The filter of defocus, a disk with a softened edge: estimated, and made exact where it counts.

What is asked for is the weighted sum of a pixel's surroundings, rounded down. The weights are those
of a plain disk, softened; so a running sum of whole numbers over the plain disk, and sums of nine
of those, nearly do. Weights that differ from that are few, and equal ones are summed as whole
numbers first. That is an estimate with a known error. Where it lies so near a whole number that the
error decides, the sum is made again, tap by tap.
"""

import numpy as np
from numpy.typing import NDArray

from spairc.corruptions.disk_plan import WHITE, Plan, plan_of, weighted_sum
from spairc.draws.compiled import kernel
from spairc.types import Image

_DOUBTFUL = np.float32(-1)


def defocused(image: Image, radius: int) -> Image:
    """Return the filtered picture, mirrored at its outermost pixel, its levels rounded down.

    Args:
        image: The channels are not mixed.
        radius: One that `disk` knows.
    """
    plan = plan_of(radius)
    rows = _mirrored(image.reshape(len(image), -1), len(plan.heights) // 2)
    new = np.empty(image.shape, dtype=np.uint8)
    out, moves = new.reshape(len(new), -1), _moves(plan.heights, rows.shape[1])
    if len(plan.taps) or plan.soft[1]:
        _filter(rows, moves, _places(plan.taps, len(plan.heights) // 2, rows.shape[1]), plan, out)
    else:
        _filter_plain(rows, moves, plan, out)
    return new


def _moves(heights: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return what comes and goes as the plain disk moves down: places in the padded picture.

    Four that come and four that go, two columns and their mirror images at a time; counted from the
    row that the disk's centre moves to, and from one pixel before it.
    """
    reach = len(heights) // 2
    moves = []
    for column in np.flatnonzero(heights[: reach + 1] >= 0).tolist():
        other = 2 * reach - column
        come = (reach + int(heights[column])) * length - 3
        gone = (reach - 1 - int(heights[column])) * length - 3
        # What comes and goes at once makes no difference: the middle has no mirror image.
        also_gone = come if column == other else gone
        moves.append(
            (come + 3 * column, come + 3 * other, gone + 3 * column, also_gone + 3 * other)
        )
    if len(moves) % 2:
        moves.append((0, 0, 0, 0))
    pairs = np.array(moves, dtype=np.int64).reshape(-1, 2, 2, 2)
    return pairs.transpose(0, 2, 1, 3).reshape(-1, 8).copy()


def _places(taps: NDArray[np.int64], reach: int, length: int) -> NDArray[np.int64]:
    """Return where taps begin in the sums of rows above and below, two times four together."""
    none = (reach + 1) * length
    places: list[int] = []
    for y, x in taps.reshape(-1, 2).tolist():
        left = y * length + 3 * (reach - x) if y >= 0 else none
        places.extend((left, y * length + 3 * (reach + x) if x else none))
    return np.array(places, dtype=np.int64).reshape(-1, 8)


@kernel
def _mirrored(image: NDArray[np.uint8], reach: int) -> NDArray[np.int16]:
    """Return a picture (H, W * 3) with a border on each side in which it is mirrored."""
    height, length = image.shape
    padded = np.empty((height + 2 * reach, length + 6 * reach), dtype=np.int16)
    for y in range(padded.shape[0]):
        away = abs(y - reach)
        row, new = image[min(away, 2 * (height - 1) - away)], padded[y]
        middle = new[3 * reach :]
        for x in range(length):
            middle[x] = row[x]
        for column in range(reach):
            for channel in range(3):
                new[3 * column + channel] = row[3 * (reach - column) + channel]
                middle[length + 3 * column + channel] = row[length - 3 * (column + 2) + channel]
    return padded


@kernel
def _filter_plain(
    rows: NDArray[np.int16], moves: NDArray[np.int64], plan: Plan, out: NDArray[np.uint8]
) -> None:
    """Filter a padded picture with a plain disk: one product, and that is exact."""
    sums, change = np.empty(out.shape[1] + 6, dtype=np.int32), np.empty(out.shape[1] + 6, np.int16)
    share = np.float64(plan.soft[0])
    _begin(rows, plan.heights, sums)
    for y in range(out.shape[0]):
        _move_down(rows, y, moves, change, sums)
        new, middle = out[y], sums[3:]
        for x in range(new.size):
            new[x] = np.uint8(np.int32(min(middle[x] * share, 255.0)))


@kernel
def _filter(
    rows: NDArray[np.int16],
    moves: NDArray[np.int64],
    taps: NDArray[np.int64],
    plan: Plan,
    out: NDArray[np.uint8],
) -> None:
    """Filter a padded picture; both are (H, W * 3)."""
    height, length = out.shape
    # The plain disk's sums around three rows, from one pixel before each to one after.
    plain, change = np.empty((3, length + 6), np.int32), np.empty(length + 6, np.int16)
    # Sums of the rows as far above as below; the last is for no tap and stays 0.
    both = np.zeros((plan.heights.size // 2 + 2, rows.shape[1]), dtype=np.int16)
    estimate = np.empty(length, dtype=np.float32)
    _begin(rows, plan.heights, plain[0])
    _copy(plain[0], plain[1])
    _move_down(rows, 0, moves, change, plain[1])
    for y in range(height):
        above, here, below = plain[y % 3], plain[(y + 1) % 3], plain[(y + 2) % 3]
        _copy(here, below)
        _move_down(rows, y + 1, moves, change, below)
        estimate[:] = 0
        if len(taps):
            _add_rings(rows, y, taps, plan.shares, both, estimate)
        _soften(above, here, below, plan.soft, estimate)
        if _finish(plan.greatest_error, estimate, out[y]):
            _settle(rows, y, plan, estimate, out[y])


@kernel
def _copy(source: NDArray[np.int32], target: NDArray[np.int32]) -> None:
    """Write the same."""
    for x in range(target.size):
        target[x] = source[x]


@kernel
def _begin(rows: NDArray[np.int16], heights: NDArray[np.int64], plain: NDArray[np.int32]) -> None:
    """Write the plain disk's sums around the row above the picture, from one pixel before it."""
    reach = heights.size // 2
    plain[:] = 0
    for column in range(1, 2 * reach):
        for row in range(reach - 1 - heights[column], reach + heights[column]):
            source = rows[row, 3 * (column - 1) :]
            for x in range(plain.size):
                plain[x] += source[x]


@kernel
def _move_down(
    rows: NDArray[np.int16],
    y: int,
    moves: NDArray[np.int64],
    change: NDArray[np.int16],
    plain: NDArray[np.int32],
) -> None:
    """Make the plain disk's sums around row y - 1 those around row y."""
    flat = rows[y:].reshape(-1)
    change[:] = 0
    for i in range(len(moves)):
        _exchange(flat, moves[i], change)
    for x in range(plain.size):
        plain[x] += change[x]


@kernel
def _exchange(
    flat: NDArray[np.int16], places: NDArray[np.int64], change: NDArray[np.int16]
) -> None:
    """Add four rows to the change and take four others away."""
    a, b, c, d = flat[places[0] :], flat[places[1] :], flat[places[2] :], flat[places[3] :]
    e, f, g, h = flat[places[4] :], flat[places[5] :], flat[places[6] :], flat[places[7] :]
    for x in range(change.size):
        come = np.int16(np.int16(a[x] + b[x]) + np.int16(c[x] + d[x]))
        gone = np.int16(np.int16(e[x] + f[x]) + np.int16(g[x] + h[x]))
        change[x] += np.int16(come - gone)


@kernel
def _add_rings(
    rows: NDArray[np.int16],
    y: int,
    taps: NDArray[np.int64],
    shares: NDArray[np.float32],
    both: NDArray[np.int16],
    estimate: NDArray[np.float32],
) -> None:
    """Add what the softened disk lacks or has too much of.

    Args:
        rows: The padded picture.
        y: Which of its rows without padding.
        taps: Two times four places in `both` of what has the same weight.
        shares: That weight, of each four.
        both: Room for sums of the rows as far above as below; the last, for no tap, is 0.
        estimate: Is added to.
    """
    reach = both.shape[0] - 2
    middle, first = rows[y + reach], both[0]
    for x in range(first.size):
        first[x] = middle[x]
    for away in range(1, reach + 1):
        _add_rows(rows[y + reach - away], rows[y + reach + away], both[away])
    flat = both.reshape(-1)
    for i in range(len(taps)):
        _add_taps(flat, taps[i], shares[2 * i], shares[2 * i + 1], estimate)


@kernel
def _add_rows(above: NDArray[np.int16], below: NDArray[np.int16], out: NDArray[np.int16]) -> None:
    """Write the sum of two rows."""
    for x in range(out.size):
        out[x] = above[x] + below[x]


@kernel
def _add_taps(
    flat: NDArray[np.int16],
    places: NDArray[np.int64],
    share: np.float32,
    other_share: np.float32,
    estimate: NDArray[np.float32],
) -> None:
    """Add two weighted sums of four, one after the other."""
    a, b, c, d = flat[places[0] :], flat[places[1] :], flat[places[2] :], flat[places[3] :]
    e, f, g, h = flat[places[4] :], flat[places[5] :], flat[places[6] :], flat[places[7] :]
    for x in range(estimate.size):
        four = np.int16(np.int16(a[x] + b[x]) + np.int16(c[x] + d[x]))
        other = np.int16(np.int16(e[x] + f[x]) + np.int16(g[x] + h[x]))
        estimate[x] = estimate[x] + np.float32(four) * share + np.float32(other) * other_share


@kernel
def _soften(
    above: NDArray[np.int32],
    here: NDArray[np.int32],
    below: NDArray[np.int32],
    soft: NDArray[np.float32],
    estimate: NDArray[np.float32],
) -> None:
    """Add weighted sums of nine; the rows begin one pixel before."""
    at, beside, diagonally = soft[0], soft[1], soft[2]
    north, east, middle = above[3:], above[6:], here[3:]
    right, south, corner = here[6:], below[3:], below[6:]
    for x in range(estimate.size):
        four = north[x] + here[x] + right[x] + south[x]
        slanted = above[x] + east[x] + below[x] + corner[x]
        estimate[x] += (
            np.float32(four) * beside
            + np.float32(slanted) * diagonally
            + np.float32(middle[x]) * at
        )


@kernel
def _finish(
    greatest_error: float, estimate: NDArray[np.float32], out: NDArray[np.uint8]
) -> np.int32:
    """Write levels and return how many of them are in doubt; their estimates become -1.

    White needs no more than white, black no less than black.
    """
    doubtful, margin = np.int32(0), np.float32(greatest_error)
    zero, half, one, white = np.float32(0), np.float32(0.5), np.float32(1), np.float32(WHITE)
    for x in range(out.size):
        total = min(max(estimate[x], zero), white + one)
        near = np.float32(np.int32(total + half))
        doubt = (abs(total - near) < margin) & (near >= one) & (near <= white)
        estimate[x] = _DOUBTFUL if doubt else total
        out[x] = np.uint8(np.int32(min(total, white)))
        doubtful += np.int32(doubt)
    return doubtful


@kernel
def _settle(
    rows: NDArray[np.int16],
    y: int,
    plan: Plan,
    estimate: NDArray[np.float32],
    out: NDArray[np.uint8],
) -> None:
    """Write levels that are in doubt again, from the exact sum."""
    side = plan.weights.shape[0]
    last_flat = np.full(3, -3)
    for x in range(out.size):
        if estimate[x] != _DOUBTFUL:
            continue
        known = side - 1 if last_flat[x % 3] == x - 3 else 0
        if _is_flat(rows, y, x, side, known):
            last_flat[x % 3] = x
            out[x] = plan.flat[rows[y, x]]
        else:
            out[x] = np.uint8(np.int32(min(weighted_sum(rows, plan.weights, y, x), 255.0)))


@kernel
def _is_flat(rows: NDArray[np.int16], y: int, x: int, side: int, known: int) -> bool:
    """Return whether all of a surrounding is one level; the first columns are known to be."""
    level = rows[y, x]
    for column in range(known, side):
        for row in range(y, y + side):
            if rows[row, x + 3 * column] != level:
                return False
    return True
