"""Blur: out of focus, and Gaussian. Nothing is drawn.

Imagecorruptions' generalisation of ImageNet-C to pictures of any size; the radius and the sigma
are in pixels of the picture as it is, whatever its size.
"""

from spairc.corruptions import defocus, gaussian
from spairc.draws import Draws
from spairc.types import Image


def defocus_blur(image: Image, severity: int, _draws: Draws) -> Image:
    """Average over a disk with a softened edge, whose weights do not add up to exactly 1."""
    radius = (3, 4, 6, 8, 10)[severity - 1]
    return defocus.defocused(image, radius)


def gaussian_blur(image: Image, severity: int, _draws: Draws) -> Image:
    """Average with Gaussian weights, cut off at four sigma."""
    sigma = (1, 2, 3, 4, 6)[severity - 1]
    return gaussian.blurred(image, sigma)
