"""Blur: out of focus, and Gaussian. Nothing is drawn.

Imagecorruptions' generalisation of ImageNet-C to pictures of any size; the radius and the sigma
are in pixels of the picture as it is, whatever its size.
"""

from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spairc.corruptions.kernels import disk, smoothing
from spairc.corruptions.noise import to_image
from spairc.draws import Draws
from spairc.types import Image

F = TypeVar("F", bound=np.floating[Any])


def smooth(picture: NDArray[F], sigma: float) -> NDArray[F]:
    """Return the picture after a Gaussian filter of its rows and columns, in its own precision.

    Beyond the border the outermost pixel repeats. The sum at each pixel runs from the outermost
    pair of weights to the innermost (SciPy's order), on which the last bit depends.

    Args:
        picture: (H, W) or (H, W, channels); channels are not mixed.
        sigma: One that `smoothing` knows.
    """
    weights = smoothing(sigma)
    columns, both = np.empty_like(picture), np.empty_like(picture)
    ndimage.correlate1d(picture, weights, axis=0, output=columns, mode="nearest")
    ndimage.correlate1d(columns, weights, axis=1, output=both, mode="nearest")
    return both


def defocus_blur(image: Image, severity: int, _draws: Draws) -> Image:
    """Average over a disk with a softened edge.

    OpenCV filters, through a Fourier transform, whose rounding lies far below what a grey level
    can turn on: the disk's weights are float32 and do not add up to exactly 1.
    """
    radius = (3, 4, 6, 8, 10)[severity - 1]
    return to_image(np.asarray(cv2.filter2D(image / 255, -1, disk(radius))))


def gaussian_blur(image: Image, severity: int, _draws: Draws) -> Image:
    """Average with Gaussian weights, cut off at four sigma."""
    sigma = (1, 2, 3, 4, 6)[severity - 1]
    return to_image(smooth(image / 255, sigma))
