"""What fog is made of: a height map by the diamond-square algorithm, and its mixing in."""

import numpy as np
from numpy.typing import NDArray

from spairc.corruptions.levels import fraction, level
from spairc.draws import Draws
from spairc.draws.compiled import kernel
from spairc.types import Image

HeightMap = NDArray[np.float32]


def clouds(side: int, decay: float, draws: Draws) -> HeightMap:
    """Return a height map by the diamond-square algorithm, on a torus.

    The step is `side` at first and is halved down to 2; the wobble is 100 at first and is divided
    by `decay` each time. At each step, draws uniform numbers between -wobble and wobble three
    times, (side / step, side / step) of them: for the middles of the squares, for the middles of
    their upper edges, for the middles of their left edges.

    Fournier, Fussell and Carpenter (1982). The map is float32: so it is in imagecorruptions-imaug,
    the fork of imagecorruptions that runs today, and so the goldens have it (the original's is
    float64; a few values in a million differ by one).

    Args:
        side: A power of two.
        decay: 1 or more: the higher, the smoother.
        draws: Asked as told above.
    """
    corners, wobble = np.zeros((1, 1), dtype=np.float32), 100.0
    while len(corners) < side:
        shape = corners.shape
        centres = _centres(corners, wobble, draws.uniform(-wobble, wobble, shape))
        upper = _upper(corners, centres, wobble, draws.uniform(-wobble, wobble, shape))
        left = _left(corners, centres, wobble, draws.uniform(-wobble, wobble, shape))
        corners, wobble = _woven(corners, upper, left, centres), wobble / decay
    return corners


def clouded(image: Image, layer: HeightMap, amount: float) -> Image:
    """Return the picture plus the clouds, darkened so that the brightest value stays.

    Args:
        image: (H, W, 3).
        layer: At least as large. Its lowest place is where no cloud is, its highest the thickest.
        amount: How thick that is; white is 1.
    """
    foggy = np.empty(image.shape, dtype=np.uint8)
    rows, new = (picture.reshape(len(picture), -1) for picture in (image, foggy))
    _mix(rows, layer, (layer.min(), layer.max()), amount, new)
    return foggy


# In each, the sum of four heights is in float32, in the published order; the wobble counts squared.


@kernel
def _centres(corners: HeightMap, wobble: float, draws: NDArray[np.float64]) -> HeightMap:
    """Return the middles of squares."""
    side = corners.shape[0]
    heights = np.empty_like(corners)
    for y in range(side):
        above, below = corners[y], corners[(y + 1) % side]
        new, moved = heights[y], draws[y]
        for x in range(side - 1):
            four = (above[x] + below[x]) + (above[x + 1] + below[x + 1])
            new[x] = four / np.float32(4) + wobble * moved[x]
        four = (above[side - 1] + below[side - 1]) + (above[0] + below[0])
        new[side - 1] = four / np.float32(4) + wobble * moved[side - 1]
    return heights


@kernel
def _upper(
    corners: HeightMap, centres: HeightMap, wobble: float, draws: NDArray[np.float64]
) -> HeightMap:
    """Return the middles of the squares' upper edges."""
    side = corners.shape[0]
    heights = np.empty_like(corners)
    for y in range(side):
        here, below, above = corners[y], centres[y], centres[y - 1 if y else side - 1]
        new, moved = heights[y], draws[y]
        for x in range(side - 1):
            four = (below[x] + above[x]) + (here[x] + here[x + 1])
            new[x] = four / np.float32(4) + wobble * moved[x]
        four = (below[side - 1] + above[side - 1]) + (here[side - 1] + here[0])
        new[side - 1] = four / np.float32(4) + wobble * moved[side - 1]
    return heights


@kernel
def _left(
    corners: HeightMap, centres: HeightMap, wobble: float, draws: NDArray[np.float64]
) -> HeightMap:
    """Return the middles of the squares' left edges."""
    side = corners.shape[0]
    heights = np.empty_like(corners)
    for y in range(side):
        here, below, middle = corners[y], corners[(y + 1) % side], centres[y]
        new, moved = heights[y], draws[y]
        four = (middle[0] + middle[side - 1]) + (here[0] + below[0])
        new[0] = four / np.float32(4) + wobble * moved[0]
        beside, here, below, moved, new, middle = (
            middle,
            here[1:],
            below[1:],
            moved[1:],
            new[1:],
            middle[1:],
        )
        for x in range(side - 1):
            four = (middle[x] + beside[x]) + (here[x] + below[x])
            new[x] = four / np.float32(4) + wobble * moved[x]
    return heights


@kernel
def _woven(corners: HeightMap, upper: HeightMap, left: HeightMap, centres: HeightMap) -> HeightMap:
    """Return a map of twice the side, of which the four are every second row and column."""
    side = corners.shape[0]
    heights = np.empty((2 * side, 2 * side), dtype=np.float32)
    for y in range(side):
        for row, even, odd in ((2 * y, corners, upper), (2 * y + 1, left, centres)):
            new, first, second = heights[row], even[y], odd[y]
            for x in range(side):
                new[2 * x], new[2 * x + 1] = first[x], second[x]
    return heights


@kernel
def _mix(
    image: NDArray[np.uint8],
    layer: HeightMap,
    ends: tuple[np.float32, np.float32],
    amount: float,
    out: NDArray[np.uint8],
) -> None:
    """Write (picture + clouds) * brightest / (brightest + amount), in that order. (H, W * 3)."""
    low, high, thickness = ends[0], ends[1], np.float32(amount)
    brightest = fraction(image.max())
    clouds = np.empty(image.shape[1] // 3)
    for y in range(image.shape[0]):
        row, new, heights = image[y], out[y], layer[y]
        for x in range(clouds.size):
            clouds[x] = thickness * ((heights[x] - low) / (high - low))
        for x in range(clouds.size):
            cloud = clouds[x]
            red, green, blue = (
                fraction(row[3 * x]),
                fraction(row[3 * x + 1]),
                fraction(row[3 * x + 2]),
            )
            new[3 * x] = level((red + cloud) * brightest / (brightest + amount))
            new[3 * x + 1] = level((green + cloud) * brightest / (brightest + amount))
            new[3 * x + 2] = level((blue + cloud) * brightest / (brightest + amount))
