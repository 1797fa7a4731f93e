"""Weather: snow, frost, fog and spatter.

Imagecorruptions' generalisation of ImageNet-C to pictures of any size (Michaelis et al., 2019),
with its levels, precisions and order of operations. Each docstring tells what it draws, in order.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spairc.corruptions.blur import smooth
from spairc.corruptions.kernels import one_sided
from spairc.corruptions.noise import to_image
from spairc.corruptions.textures import TEXTURES, enlarged, texture
from spairc.draws import Draws
from spairc.types import Image, Size

# mean and deviation of the flakes, zoom, threshold, radius and sigma of their streaks, how much of
# the picture's own colour stays
_SNOW = (
    (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
    (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
    (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)
# how much of the picture, how much of the frost
_FROST = ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
# amount, and by what the roughness is divided from one scale to the next
_FOG = ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))
# mean, deviation, sigma and threshold of the liquid
_LIQUID = (
    (0.65, 0.3, 4, 0.69),
    (0.65, 0.3, 3, 0.68),
    (0.65, 0.3, 2, 0.68),
    (0.65, 0.3, 1, 0.65),
    (0.67, 0.4, 1, 0.65),
)
_WATER_STRENGTH = (0.6, 0.6, 0.5)  # severities 1 to 3; 4 and 5 are mud
_WATER_COLOUR = np.array([175, 238, 238]) / 255  # pale turquoise
_MUD_COLOUR = np.array([63, 42, 20]) / 255  # brown
_MUD_SIGMA = 1.5
_MUD_THRESHOLD = 0.8
_EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
_DEEPEST = 20  # pixels from a drop's edge at which it is as thick as it gets


def snow(image: Image, severity: int, draws: Draws) -> Image:
    """Whiten the picture and let streaks of snow fall on it, half of them upwards.

    Draws: normal (H, W), of which the centre is zoomed; uniform (-135, -45), the angle.
    """
    mean, deviation, zoom, threshold, radius, sigma, own = _SNOW[severity - 1]
    height, width = image.shape[:2]
    centre = (_centre(height, zoom), _centre(width, zoom))
    flakes = mean + deviation * draws.normal((height, width), centre)
    layer = ndimage.zoom(flakes, zoom, order=1)
    layer[layer < threshold] = 0
    angle = float(draws.uniform(-135, -45, ()))
    streaks = _streaked(layer.clip(0, 1), one_sided(2 * radius + 1, sigma), angle)
    fallen = (np.round(streaks * 255).astype(np.uint8) / 255.0)[:height, :width, None]
    white = _whitened(image.astype(np.float32) / np.float32(255), own)
    return to_image(white + fallen + np.rot90(fallen, k=2))


def frost(image: Image, severity: int, draws: Draws) -> Image:
    """Lay a picture of frost over the picture; it is enlarged to cover it, and cut out at random.

    Draws: integer below 5, which frost; integers, its top row and its left column.

    Raises:
        BadInput: If the package `imagecorruptions`, whose pictures are used, is not installed.
    """
    own, added = _FROST[severity - 1]
    height, width = image.shape[:2]
    ice = texture(draws.integer(len(TEXTURES)))
    # A frost that is large enough is enlarged a little, too: so there is a choice of places.
    scale = max(1.0, height / ice.shape[0], width / ice.shape[1]) * 1.1
    size = Size(math.ceil(ice.shape[1] * scale), math.ceil(ice.shape[0] * scale))
    top, left = draws.integer(size.height - height), draws.integer(size.width - width)
    part = enlarged(ice, size, range(top, top + height), range(left, left + width))
    return (own * image + added * part).clip(0, 255).astype(np.uint8)


def fog(image: Image, severity: int, draws: Draws) -> Image:
    """Add clouds, then darken so that the brightest value stays where it was.

    Draws: uniform, three arrays for each step of `_clouds`, the coarsest first.
    """
    amount, decay = _FOG[severity - 1]
    height, width = image.shape[:2]
    side = 1 << (max(height, width) - 1).bit_length()  # the next power of two
    clouds = np.float32(amount) * _clouds(side, decay, draws)[:height, :width, None]
    picture = image / 255
    brightest = picture.max()
    return to_image((picture + clouds) * brightest / (brightest + amount))


def spatter(image: Image, severity: int, draws: Draws) -> Image:
    """Splash water (severities 1 to 3) or mud (4 and 5) on the lens.

    The published formula is made of OpenCV's edges and distances, hence they are used here.
    Draws: normal (H, W).
    """
    mean, deviation, sigma, threshold = _LIQUID[severity - 1]
    liquid = smooth(mean + deviation * draws.normal(image.shape[:2]), sigma)
    picture = image.astype(np.float32) / np.float32(255)
    if severity <= len(_WATER_STRENGTH):
        water = _thickness(np.where(liquid < threshold, 0, liquid))
        water *= np.float32(_WATER_STRENGTH[severity - 1])
        return to_image(picture + water[..., None] * _WATER_COLOUR.astype(np.float32))
    mud = smooth((liquid > threshold).astype(np.float32), _MUD_SIGMA)
    mud[mud < _MUD_THRESHOLD] = 0
    bare = picture * (1 - mud[..., None])
    return to_image(bare + _MUD_COLOUR * mud[..., None])


def _centre(length: int, zoom: float) -> slice:
    """Return the middle part of a side that covers the side again when it is zoomed."""
    part = math.ceil(length / zoom)
    start = (length - part) // 2
    return slice(start, start + part)


def _streaked(
    layer: NDArray[np.float64], weights: list[float], angle: float
) -> NDArray[np.float64]:
    """Return the layer smeared in one direction; beyond the border the outermost pixel repeats."""
    rise, run = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    rows, columns = np.arange(layer.shape[0]), np.arange(layer.shape[1])
    smeared = np.zeros_like(layer)
    for i, weight in enumerate(weights):
        # To the nearest pixel; of two that are as near, to the lower number, as published.
        above = (rows + math.ceil(i * rise - 0.5)).clip(0, len(rows) - 1)
        beside = (columns + math.ceil(i * run - 0.5)).clip(0, len(columns) - 1)
        smeared += weight * layer[above[:, None], beside]
    return smeared


def _whitened(picture: NDArray[np.float32], own: float) -> NDArray[np.float32]:
    """Return the picture mixed with its bleached self, in float32.

    Grey is 0.299 R + 0.587 G + 0.114 B with fused multiply-adds, as OpenCV computes it on
    processors that have them.
    """
    red, green, blue = (picture[..., k] for k in range(3))
    grey = _fused(0.114, blue, _fused(0.299, red, _fused(0.587, green, np.zeros_like(green))))
    bleached = np.maximum(picture, grey[..., None] * np.float32(1.5) + np.float32(0.5))
    mixed: NDArray[np.float32] = np.float32(own) * picture + np.float32(1 - own) * bleached
    return mixed


def _fused(
    weight: float, values: NDArray[np.float32], added: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return weight * values + added, rounded to float32 at the end only.

    In doubles, where the product is exact, so that it needs no processor that can fuse.
    """
    exact = np.float64(np.float32(weight)) * values.astype(np.float64) + added
    return exact.astype(np.float32)


def _clouds(side: int, decay: float, draws: Draws) -> NDArray[np.float32]:
    """Return a height map between 0 and 1 by the diamond-square algorithm, on a torus.

    The step is `side` at first and is halved down to 2; the wobble is 100 at first and is divided
    by `decay` each time. At each step, draws uniform numbers between -wobble and wobble three
    times, (side / step, side / step) of them: for the middles of the squares, for the middles of
    their upper edges, for the middles of their left edges.

    Fournier, Fussell and Carpenter (1982). The map is float32: so it is in imagecorruptions-imaug,
    the fork of imagecorruptions that runs today, and so the goldens have it (the original's is
    float64; a few values in a million differ by one).
    """
    heights = np.zeros((side, side), dtype=np.float32)
    step, wobble = side, 100.0
    while step > 1:
        half = step // 2
        corners, centres = heights[::step, ::step], heights[half::step, half::step]
        below, beside = (
            corners + np.roll(corners, -1, axis=0),
            corners + np.roll(corners, -1, axis=1),
        )
        centres[:] = _middles(below + np.roll(below, -1, axis=1), wobble, draws)
        upper = (centres + np.roll(centres, 1, axis=0)) + beside
        heights[::step, half::step] = _middles(upper, wobble, draws)
        left = (centres + np.roll(centres, 1, axis=1)) + below
        heights[half::step, ::step] = _middles(left, wobble, draws)
        step, wobble = half, wobble / decay
    heights -= heights.min()
    clouds: NDArray[np.float32] = heights / heights.max()
    return clouds


def _middles(total: NDArray[np.float32], wobble: float, draws: Draws) -> NDArray[np.float64]:
    """Return the means of four heights each, moved at random; the wobble counts squared."""
    return total / 4 + wobble * draws.uniform(-wobble, wobble, total.shape)


def _thickness(liquid: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return how thick the water is at each pixel, from 0 to 1; 0 everywhere without a drop."""
    drops = (liquid * 255).astype(np.uint8)
    distance = cv2.distanceTransform(255 - cv2.Canny(drops, 50, 150), cv2.DIST_L2, 5)
    shallow = cv2.blur(np.minimum(distance, np.float32(_DEEPEST)), (3, 3)).astype(np.uint8)
    embossed = cv2.filter2D(cv2.equalizeHist(shallow), cv2.CV_8U, _EMBOSS)
    thickness = drops.astype(np.float32) * cv2.blur(embossed, (3, 3)).astype(np.float32)
    most = thickness.max()
    # The published programs divide 0 by 0 where there is no drop.
    return thickness / most if most > 0 else thickness
