"""Weather: snow, frost, fog and spatter.

Imagecorruptions' generalisation of ImageNet-C to pictures of any size (Michaelis et al., 2019),
with its levels, precisions and order of operations. Each docstring tells what it draws, in order.
"""

import math

import numpy as np

from spairc.corruptions.clouds import clouded, clouds
from spairc.corruptions.drops import soiled, splashed
from spairc.corruptions.flakes import snowed, streaked, zoomed
from spairc.corruptions.gaussian import smooth
from spairc.corruptions.liquid import Liquid, poured
from spairc.corruptions.textures import TEXTURES, Place, laid_over, texture
from spairc.corruptions.weights import one_sided
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
_FROST = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
# amount, and by what the roughness is divided from one scale to the next
_FOG = ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))
_LIQUID = (
    Liquid(mean=0.65, deviation=0.3, sigma=4.0, threshold=0.69),
    Liquid(mean=0.65, deviation=0.3, sigma=3.0, threshold=0.68),
    Liquid(mean=0.65, deviation=0.3, sigma=2.0, threshold=0.68),
    Liquid(mean=0.65, deviation=0.3, sigma=1.0, threshold=0.65),
    Liquid(mean=0.67, deviation=0.4, sigma=1.0, threshold=0.65),
)
_WATER_STRENGTH = (0.6, 0.6, 0.5)  # severities 1 to 3; 4 and 5 are mud
_MUD_SIGMA = 1.5
_MUD_THRESHOLD = 0.8


def snow(image: Image, severity: int, draws: Draws) -> Image:
    """Whiten the picture and let streaks of snow fall on it, half of them upwards.

    Draws: normal (H, W), of which the centre is zoomed; uniform (-135, -45), the angle.
    """
    mean, deviation, zoom, threshold, radius, sigma, own = _SNOW[severity - 1]
    height, width = image.shape[:2]
    centre = (_centre(height, zoom), _centre(width, zoom))
    flakes = mean + deviation * draws.normal((height, width), centre)
    weights = one_sided(2 * radius + 1, sigma)
    layer = zoomed(flakes, zoom, threshold, len(weights))
    angle = float(draws.uniform(-135, -45, ()))
    streaks = streaked(layer, weights, angle, Size(width, height))
    return snowed(image, streaks, own)


def frost(image: Image, severity: int, draws: Draws) -> Image:
    """Lay a picture of frost over the picture; it is enlarged to cover it, and cut out at random.

    Draws: integer below 5, which frost; integers, its top row and its left column.

    Raises:
        BadInput: If the package `imagecorruptions`, whose pictures are used, is not installed.
    """
    own, added = _FROST[severity - 1]
    height, width = image.shape[:2]
    number = draws.integer(len(TEXTURES))
    ice = texture(number)
    # A frost that is large enough is enlarged a little, too: so there is a choice of places.
    scale = max(1.0, height / ice.shape[0], width / ice.shape[1]) * 1.1
    size = Size(math.ceil(ice.shape[1] * scale), math.ceil(ice.shape[0] * scale))
    top, left = draws.integer(size.height - height), draws.integer(size.width - width)
    return laid_over(image, number, Place(size, top, left), own, added)


def fog(image: Image, severity: int, draws: Draws) -> Image:
    """Add clouds, then darken so that the brightest value stays where it was.

    Draws: uniform, three arrays for each step of `clouds.clouds`, the coarsest first.
    """
    amount, decay = _FOG[severity - 1]
    height, width = image.shape[:2]
    side = 1 << (max(height, width) - 1).bit_length()  # the next power of two
    return clouded(image, clouds(side, decay, draws), amount)


def spatter(image: Image, severity: int, draws: Draws) -> Image:
    """Splash water (severities 1 to 3) or mud (4 and 5) on the lens.

    Draws: normal (H, W).
    """
    solid = severity > len(_WATER_STRENGTH)
    drops = poured(draws.normal(image.shape[:2]), _LIQUID[severity - 1], solid=solid)
    if not solid:
        return splashed(image, drops, _WATER_STRENGTH[severity - 1])
    mud = smooth((drops > 0).astype(np.float32), _MUD_SIGMA)
    return soiled(image, mud, _MUD_THRESHOLD)


def _centre(length: int, zoom: float) -> slice:
    """Return the middle part of a side that covers the side again when it is zoomed."""
    part = math.ceil(length / zoom)
    start = (length - part) // 2
    return slice(start, start + part)
