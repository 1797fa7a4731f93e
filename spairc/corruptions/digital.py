"""Digital: brightness, contrast, saturation, pixelation and JPEG compression. Nothing is drawn.

ImageNet-C's formulas and levels (Hendrycks and Dietterich, 2019), in float64 and in the published
programs' order of operations. Box averages and the JPEG codec are Pillow's, as they are there.
"""

import io
from typing import TypeAlias

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from spairc.corruptions.noise import to_image
from spairc.draws import Draws
from spairc.types import Image

Plane: TypeAlias = NDArray[np.float64]  # (H, W): one channel


def brightness(image: Image, severity: int, _draws: Draws) -> Image:
    """Add to the value, hue and saturation being kept."""
    added = (0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1]
    hue, saturation, value = _to_hsv(image / 255)
    return to_image(_to_rgb(hue, saturation, (value + added).clip(0, 1)))


def contrast(image: Image, severity: int, _draws: Draws) -> Image:
    """Pull every value towards its channel's mean."""
    factor = (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1]
    # In rows whatever the caller's layout: the mean is a running sum in that order.
    picture = np.divide(image, 255, order="C")
    means = picture.mean(axis=(0, 1))
    return to_image((picture - means) * factor + means)


def saturate(image: Image, severity: int, _draws: Draws) -> Image:
    """Scale and shift the saturation.

    Severities 1 and 2 take colour away, 3 to 5 add it; 4 and 5 tint grey with red, grey having
    hue 0. So the published levels are not in the order of harm. That is their definition.
    """
    factor, added = ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2))[severity - 1]
    hue, saturation, value = _to_hsv(image / 255)
    return to_image(_to_rgb(hue, (saturation * factor + added).clip(0, 1), value))


def pixelate(image: Image, severity: int, _draws: Draws) -> Image:
    """Average into fewer pixels (box), then repeat them (nearest) up to the old size."""
    scale = (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1]
    height, width = image.shape[:2]
    few = (int(width * scale), int(height * scale))
    small = PIL.Image.fromarray(image).resize(few, PIL.Image.Resampling.BOX)
    return np.array(small.resize((width, height), PIL.Image.Resampling.NEAREST))


def jpeg_compression(image: Image, severity: int, _draws: Draws) -> Image:
    """Write as JPEG of low quality, chroma halved, and read back."""
    quality = (25, 18, 15, 10, 7)[severity - 1]
    file = io.BytesIO()
    PIL.Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.array(PIL.Image.open(file))


def _to_hsv(picture: NDArray[np.float64]) -> tuple[Plane, Plane, Plane]:
    """Return hue, saturation and value, each from 0 to 1 (Smith, 1978); grey has hue 0.

    Where two channels are the largest, blue goes before green, and green before red.
    """
    red, green, blue = (picture[..., k] for k in range(3))
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    divisor = np.where(chroma == 0, 1, chroma)
    from_green = np.where(green == value, blue - red, green - blue)
    difference = np.where(blue == value, red - green, from_green)
    offset = np.where(blue == value, 4.0, np.where(green == value, 2.0, 0.0))
    hue = np.where(chroma == 0, 0, (offset + difference / divisor) / 6)
    return np.where(hue < 0, hue + 1, hue), chroma / np.where(value == 0, 1, value), value


def _to_rgb(hue: Plane, saturation: Plane, value: Plane) -> NDArray[np.float64]:
    """Return the picture of hue, saturation and value, shape (H, W, 3)."""
    sector = np.floor(hue * 6)
    fraction = hue * 6 - sector
    low = value * (1 - saturation)
    falling = value * (1 - fraction * saturation)
    rising = value * (1 - (1 - fraction) * saturation)
    which = sector.astype(np.uint8) % 6
    picture = np.empty((*hue.shape, 3))
    np.choose(which, [value, falling, low, low, rising, value], out=picture[..., 0])
    np.choose(which, [rising, value, value, falling, low, low], out=picture[..., 1])
    np.choose(which, [low, low, rising, value, value, falling], out=picture[..., 2])
    return picture
