"""What spatter is made of: drops of water seen through their edges, and mud.

The published formula is made of OpenCV's edges, distances and filters. Here they are in whole
numbers, and so the same on every machine; the answers are OpenCV's.
"""

import numpy as np
from numpy.typing import NDArray

from spairc.corruptions.levels import fraction, level
from spairc.draws.compiled import kernel
from spairc.types import Image

Plane = NDArray[np.uint8]  # (H, W)

WATER = np.array([175, 238, 238]) / 255  # pale turquoise
MUD = np.array([63, 42, 20]) / 255  # brown
_PERHAPS, _EDGE = np.uint8(1), np.uint8(2)  # the first becomes the second if it is connected
_WEAK, _STRONG = 50, 150  # an edge has more than the first, and somewhere more than the second
_STEP, _SLANTED, _KNIGHT = np.float32(1), np.float32(1.4), np.float32(2.1969)  # pixels
_FAR = np.float32(1e9)
_DEEPEST = np.float32(20)  # at that distance from its edge a drop is as thick as it gets
_NINTH = 1 / 9
_SLOPE, _SLOPE_BITS = 13573, 15  # the tangent of 22.5 degrees, and how many bits it is shifted by


def splashed(image: Image, drops: Plane, strength: float) -> Image:
    """Return the picture behind drops of water.

    Args:
        image: (H, W, 3).
        drops: (H, W): how much liquid there is, 0 between drops.
        strength: How much of its colour the thickest water adds.
    """
    thickness = _thickness(drops, _embossed(_equalised(_depths(_distances(_edges(drops))))))
    splashed = np.empty(image.shape, dtype=np.uint8)
    _pour(
        image.ravel(),
        thickness.ravel(),
        np.float32(strength),
        WATER.astype(np.float32),
        splashed.ravel(),
    )
    return splashed


def soiled(image: Image, mud: NDArray[np.float32], thinnest: float) -> Image:
    """Return the picture behind mud.

    Args:
        image: (H, W, 3).
        mud: (H, W): how thick it is, from 0 to 1.
        thinnest: Where it is thinner there is none.
    """
    soiled = np.empty(image.shape, dtype=np.uint8)
    _cover(image.ravel(), mud.ravel(), np.float32(thinnest), MUD, soiled.ravel())
    return soiled


@kernel
def _edges(drops: Plane) -> NDArray[np.bool_]:
    """Return where Canny's edges are (1986).

    Slopes are Sobel's, |x| + |y|, the outermost pixel being repeated. A pixel is on an edge if it
    is steeper than its two neighbours across the edge, and connected to one that is steep enough.
    """
    height, width = drops.shape
    across, down, steep = _slopes(drops)
    kept = np.zeros((height + 2, width + 2), dtype=np.uint8)
    for y in range(height):
        _find_ridges(across[y], down[y], steep[y], steep[y + 1], steep[y + 2], kept[y + 1, 1:-1])
    _connect(kept.reshape(-1), width + 2)
    edges: NDArray[np.bool_] = kept[1:-1, 1:-1] == _EDGE
    return edges


@kernel
def _connect(kinds: NDArray[np.uint8], length: int) -> None:
    """Make edges of the pixels that perhaps are, if they are connected to one.

    Args:
        kinds: Rows one after another, with a border of 0.
        length: Of a row.
    """
    perhaps = np.empty(kinds.size, dtype=np.int32)
    number = 0
    for place in range(kinds.size):
        perhaps[number] = place  # is written over unless it counts: no branch, no wrong guess
        number += kinds[place] == _PERHAPS
    waiting = np.empty(number, dtype=np.int32)  # edges whose neighbours are to be looked at
    for i in range(number):
        if kinds[perhaps[i]] != _PERHAPS or not _touches_edge(kinds, perhaps[i], length):
            continue
        kinds[perhaps[i]], waiting[0], last = _EDGE, perhaps[i], 0
        while last >= 0:
            place, last = waiting[last], last - 1
            for row in range(place - length, place + length + 1, length):
                for near in range(row - 1, row + 2):
                    if kinds[near] == _PERHAPS:
                        last += 1
                        kinds[near], waiting[last] = _EDGE, near


@kernel
def _touches_edge(kinds: NDArray[np.uint8], place: int, length: int) -> bool:
    """Return whether one of the eight neighbours is an edge."""
    for row in range(place - length, place + length + 1, length):
        for near in range(row - 1, row + 2):
            if kinds[near] == _EDGE:
                return True
    return False


@kernel
def _slopes(
    drops: Plane,
) -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.int16]]:
    """Return Sobel's slopes in x and y, and with a border of 0 the sum of their sizes."""
    height, width = drops.shape
    across = np.empty((height, width), dtype=np.int16)
    down = np.empty((height, width), dtype=np.int16)
    steep = np.zeros((height + 2, width + 2), dtype=np.int16)
    smooth, change = np.empty(width + 2, dtype=np.int16), np.empty(width + 2, dtype=np.int16)
    for y in range(height):
        above, here, below = drops[max(y - 1, 0)], drops[y], drops[min(y + 1, height - 1)]
        inner, differs = smooth[1:-1], change[1:-1]
        for x in range(width):
            inner[x] = np.int16(above[x]) + np.int16(2) * here[x] + below[x]
            differs[x] = np.int16(below[x]) - np.int16(above[x])
        for ends in (smooth, change):
            ends[0], ends[-1] = ends[1], ends[-2]
        right, first, second, third = smooth[2:], change, change[1:], change[2:]
        a, b, c = across[y], down[y], steep[y + 1, 1:]
        for x in range(width):
            a[x] = right[x] - smooth[x]
            b[x] = first[x] + np.int16(2) * second[x] + third[x]
            c[x] = abs(a[x]) + abs(b[x])
    return across, down, steep


@kernel
def _find_ridges(
    across: NDArray[np.int16],
    down: NDArray[np.int16],
    above: NDArray[np.int16],
    here: NDArray[np.int16],
    below: NDArray[np.int16],
    out: NDArray[np.uint8],
) -> None:
    """Write which pixels of a row are steeper than both neighbours in their slope's direction.

    Some are edges by themselves; others only if they are connected to one.

    Args:
        across: The slope in x.
        down: The slope in y.
        above: How steep the row above is, with a border of one pixel; as are the next two.
        here: How steep the row itself is.
        below: How steep the row below is.
        out: 0, or what kind of edge it is.
    """
    middle, right, north, east = here[1:], here[2:], above[1:], above[2:]
    south, corner = below[1:], below[2:]
    for x in range(out.size):
        steep, a, b = middle[x], np.int32(across[x]), np.int32(down[x])
        flat, upright = abs(a) * np.int32(_SLOPE), abs(b) << np.int32(_SLOPE_BITS)
        is_flat = upright < flat
        is_upright = upright > flat + (abs(a) << np.int32(_SLOPE_BITS + 1))
        rises = (a ^ b) < 0
        sideways = (steep > here[x]) & (steep >= right[x])
        upwards = (steep > north[x]) & (steep >= south[x])
        rising = (steep > east[x]) & (steep > below[x])
        falling = (steep > above[x]) & (steep > corner[x])
        slanted = rising if rises else falling
        ridge = sideways if is_flat else (upwards if is_upright else slanted)
        kind = _EDGE if steep > _STRONG else _PERHAPS
        out[x] = kind if ridge & (steep > _WEAK) else np.uint8(0)


@kernel
def _distances(edges: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return how far the next edge is: steps, slanted steps and knight's moves (Borgefors, 1986).

    Summed in float32, step after step, with a border of two pixels.
    """
    height, width = edges.shape
    far = np.full((height + 4, width + 4), _FAR, dtype=np.float32)
    best, swept = np.empty(width, dtype=np.float32), np.empty(width, dtype=np.float32)
    for y in range(height):
        _nearest(far[y + 1], far[y], best)
        edge, row = edges[y], far[y + 2, 2:]
        for x in range(width):
            best[x] = np.float32(0) if edge[x] else best[x]
        _sweep(best, swept)
        for x in range(width):
            row[x] = swept[x]
    for y in range(height - 1, -1, -1):
        _nearest(far[y + 3], far[y + 4], best)
        row = far[y + 2, 2:]
        for x in range(width):  # from right to left
            swept[x] = min(best[width - 1 - x], row[width - 1 - x])
        _sweep(swept, best)
        for x in range(width):
            row[x] = best[width - 1 - x]
    return far


@kernel
def _nearest(
    next_row: NDArray[np.float32], row_after: NDArray[np.float32], best: NDArray[np.float32]
) -> None:
    """Write the distance by way of the two rows above (or below)."""
    a, b, c, d, e = next_row, next_row[1:], next_row[2:], next_row[3:], next_row[4:]
    f, g = row_after[1:], row_after[3:]
    for x in range(best.size):
        knight = min(a[x], e[x], f[x], g[x]) + _KNIGHT
        slanted = min(b[x], d[x]) + _SLANTED
        best[x] = min(knight, slanted, c[x] + _STEP)


@kernel
def _sweep(best: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Write the distance by way of the place before, if that is less.

    Each waits for the one before; so four parts of the row are swept side by side, and what comes
    over from one part into the next is added after.
    """
    part = best.size // 4
    first, second, third, fourth = best, best[part:], best[2 * part :], best[3 * part :]
    a = b = c = d = _FAR
    for x in range(part):
        a, b = min(first[x], a + _STEP), min(second[x], b + _STEP)
        c, d = min(third[x], c + _STEP), min(fourth[x], d + _STEP)
        out[x], out[part + x], out[2 * part + x], out[3 * part + x] = a, b, c, d
    for x in range(4 * part, best.size):
        d = min(best[x], d + _STEP)
        out[x] = d
    for start in range(part, 3 * part + 1, part):
        x, over = start, out[start - 1] + _STEP
        while x < out.size and over < out[x]:
            out[x] = over
            x, over = x + 1, over + _STEP


@kernel
def _depths(far: NDArray[np.float32]) -> Plane:
    """Return the mean depth of 3 x 3 pixels, in whole pixels; the border is a mirror."""
    height, width = far.shape[0] - 4, far.shape[1] - 4
    depths = np.empty((height, width), dtype=np.uint8)
    column = np.empty(width + 2)
    inner = column[1:-1]
    for y in range(height):
        above = far[2 + (y - 1 if y else 1), 2:]
        here = far[2 + y, 2:]
        below = far[2 + (y + 1 if y < height - 1 else height - 2), 2:]
        for x in range(width):
            inner[x] = (
                np.float64(min(above[x], _DEEPEST))
                + np.float64(min(here[x], _DEEPEST))
                + np.float64(min(below[x], _DEEPEST))
            )
        column[0], column[-1] = column[2], column[-3]
        new, middle, right = depths[y], column[1:], column[2:]
        for x in range(width):
            mean = np.float32((column[x] + middle[x] + right[x]) * _NINTH)
            new[x] = np.uint8(np.int32(mean))
    return depths


@kernel
def _equalised(plane: Plane) -> Plane:
    """Return the plane with its levels spread over all of 0 to 255, as often one as another."""
    flat = plane.reshape(-1)
    counts = np.zeros(256, dtype=np.int64)
    for i in range(flat.size):
        counts[flat[i]] += 1
    lowest = 0
    while counts[lowest] == 0:
        lowest += 1
    if counts[lowest] == flat.size:
        return plane
    scale = np.float32(255) / np.float32(flat.size - counts[lowest])
    levels, below = np.zeros(256, dtype=np.uint8), 0
    for grey in range(lowest + 1, 256):
        below += counts[grey]
        levels[grey] = np.uint8(np.int32(np.rint(np.float32(below) * scale)))
    equalised = np.empty_like(plane)
    new = equalised.reshape(-1)
    for i in range(flat.size):
        new[i] = levels[flat[i]]
    return equalised


@kernel
def _embossed(plane: Plane) -> Plane:
    """Return the plane lit from the lower right; the border is a mirror."""
    height, width = plane.shape
    embossed = np.empty_like(plane)
    padded = np.empty((3, width + 2), dtype=np.int16)
    for y in range(height):
        below = y + 1 if y < height - 1 else height - 2
        for k, source in enumerate((y - 1 if y else 1, y, below)):
            row, copy = plane[source], padded[k]
            inner = copy[1:]
            for x in range(width):
                inner[x] = row[x]
            copy[0], copy[-1] = copy[2], copy[-3]
        above, here, under = padded[0], padded[1], padded[2]
        above1, here1, here2 = above[1:], here[1:], here[2:]
        under1, under2, new = under[1:], under[2:], embossed[y]
        for x in range(width):
            light = here1[x] + here2[x] + under1[x] - here[x] - above1[x]
            light += np.int16(2) * (under2[x] - above[x])
            new[x] = np.uint8(min(max(np.int16(light), np.int16(0)), np.int16(255)))
    return embossed


@kernel
def _thickness(drops: Plane, embossed: Plane) -> NDArray[np.float32]:
    """Return drops times the mean light of 3 x 3 pixels, from 0 to 1; the border is a mirror."""
    height, width = drops.shape
    thickness = np.empty((height, width), dtype=np.float32)
    column, most = np.empty(width + 2, dtype=np.int32), np.int32(0)
    inner = column[1:-1]
    for y in range(height):
        above = embossed[y - 1 if y else 1]
        here, below = embossed[y], embossed[y + 1 if y < height - 1 else height - 2]
        for x in range(width):
            inner[x] = np.int32(above[x]) + np.int32(here[x]) + np.int32(below[x])
        column[0], column[-1] = column[2], column[-3]
        new, middle, right, drop = thickness[y], column[1:], column[2:], drops[y]
        for x in range(width):
            light = np.uint32(column[x] + middle[x] + right[x] + 4) // np.uint32(9)
            thick = np.int32(light) * np.int32(drop[x])
            most = max(most, thick)
            new[x] = np.float32(thick)
    if most > 0:  # the published programs divide 0 by 0 where there is no drop
        thickness /= np.float32(most)
    return thickness


@kernel
def _pour(
    image: NDArray[np.uint8],
    water: NDArray[np.float32],
    strength: np.float32,
    colour: NDArray[np.float32],
    out: NDArray[np.uint8],
) -> None:
    """Add the colour of water in float32."""
    red, green, blue = colour[0], colour[1], colour[2]
    zero, one, white = np.float32(0), np.float32(1), np.float32(255)
    for i in range(water.size):
        wet = water[i] * strength
        a = np.float32(fraction(image[3 * i])) + wet * red
        b = np.float32(fraction(image[3 * i + 1])) + wet * green
        c = np.float32(fraction(image[3 * i + 2])) + wet * blue
        out[3 * i] = np.uint8(np.int32(min(max(a, zero), one) * white))
        out[3 * i + 1] = np.uint8(np.int32(min(max(b, zero), one) * white))
        out[3 * i + 2] = np.uint8(np.int32(min(max(c, zero), one) * white))


@kernel
def _cover(
    image: NDArray[np.uint8],
    mud: NDArray[np.float32],
    thinnest: np.float32,
    colour: NDArray[np.float64],
    out: NDArray[np.uint8],
) -> None:
    """Mix with the colour of mud; what is left of the picture is in float32."""
    red, green, blue = colour[0], colour[1], colour[2]
    for i in range(mud.size):
        there = mud[i] if mud[i] >= thinnest else np.float32(0)
        thick, bare = np.float64(there), np.float32(1) - there
        a = np.float32(fraction(image[3 * i])) * bare
        b = np.float32(fraction(image[3 * i + 1])) * bare
        c = np.float32(fraction(image[3 * i + 2])) * bare
        out[3 * i] = level(np.float64(a) + red * thick)
        out[3 * i + 1] = level(np.float64(b) + green * thick)
        out[3 * i + 2] = level(np.float64(c) + blue * thick)
