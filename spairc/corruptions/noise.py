"""Noise: Gaussian, shot, impulse and speckle.

ImageNet-C's formulas and levels (Hendrycks and Dietterich, 2019), in float64 and in the published
programs' order of operations: they end in a truncation, so the last bit decides in flat areas.
Each asks for one array of draws, one number per value of the picture.
"""

import numpy as np
from numpy.typing import NDArray

from spairc.draws import Draws
from spairc.types import Image


def to_image(picture: NDArray[np.floating]) -> Image:
    """Return a picture on the scale 0 to 1 as whole grey levels: clipped, then truncated."""
    # Truncation, not rounding, is the published programs'.
    return (picture.clip(0, 1) * 255).astype(np.uint8)


def gaussian_noise(image: Image, severity: int, draws: Draws) -> Image:
    """Add zero-mean normal noise; the deviation is a fraction of the full range."""
    deviation = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    return to_image(image / 255 + deviation * draws.normal(image.shape))


def shot_noise(image: Image, severity: int, draws: Draws) -> Image:
    """Count photons: a Poisson number, `scale` of them being white."""
    scale = (60, 25, 12, 5, 3)[severity - 1]
    return to_image(draws.poisson(image, scale) / scale)


def impulse_noise(image: Image, severity: int, draws: Draws) -> Image:
    """Replace a fraction of the values, each channel by itself, by 0 or 255."""
    amount = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    impulses = draws.impulses(image.shape, amount)
    picture = np.where(impulses == 0, image / 255, impulses > 0)
    return to_image(picture)


def speckle_noise(image: Image, severity: int, draws: Draws) -> Image:
    """Add normal noise in proportion to the value itself."""
    deviation = (0.15, 0.2, 0.35, 0.45, 0.6)[severity - 1]
    picture = image / 255
    return to_image(picture + picture * (deviation * draws.normal(image.shape)))
