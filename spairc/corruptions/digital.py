"""Digital: brightness, contrast, saturation, pixelation and JPEG compression. Nothing is drawn.

ImageNet-C's formulas and levels (Hendrycks and Dietterich, 2019), in float64 and in the published
programs' order of operations. The JPEG codec is Pillow's (libjpeg-turbo), as it is there: of all
that SPair-C is made of, that alone is left to a library.
"""

import io
from functools import lru_cache

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from spairc.corruptions.blocks import pixelated
from spairc.corruptions.levels import fraction, level, to_image
from spairc.draws import Draws
from spairc.draws.compiled import inlined, kernel
from spairc.types import Image

_GREYS = np.arange(256) / 255
_NEARLY = 1e-6  # of a level
_DOUBTFUL = 512
# The colours at which the six parts of the hue circle start.
_RED, _YELLOW, _GREEN, _CYAN, _BLUE, _MAGENTA, _ROUND = 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0


def brightness(image: Image, severity: int, _draws: Draws) -> Image:
    """Add to the value, hue and saturation being kept."""
    added = (0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1]
    new = np.empty(image.shape, dtype=np.uint8)
    _brighten(image.ravel(), _brighter(added).ravel(), added, new.ravel())
    return new


def contrast(image: Image, severity: int, _draws: Draws) -> Image:
    """Pull every value towards its channel's mean."""
    factor = (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1]
    values, pulled = image.ravel(), np.empty(image.shape, dtype=np.uint8)
    means = _means(values, _GREYS)
    levels = to_image((_GREYS - means[:, None]) * factor + means[:, None])
    _replace(values, levels, pulled.ravel())
    return pulled


def saturate(image: Image, severity: int, _draws: Draws) -> Image:
    """Scale and shift the saturation.

    Severities 1 and 2 take colour away, 3 to 5 add it; 4 and 5 tint grey with red, grey having
    hue 0. So the published levels are not in the order of harm. That is their definition.
    """
    factor, added = ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2))[severity - 1]
    new = np.empty(image.shape, dtype=np.uint8)
    _recolour(image.ravel(), factor, added, 0.0, new.ravel())
    return new


def pixelate(image: Image, severity: int, _draws: Draws) -> Image:
    """Average into fewer pixels (box), then repeat them (nearest) up to the old size.

    At severity 3 a box is two and a half pixels wide: the pixel on the border of two counts for the
    first and shows the second, so that structure moves up and to the left by as much as half a
    pixel where the sides are multiples of five (docs/displacement.csv). So it is published.
    """
    scale = (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1]
    return pixelated(image, scale)


def jpeg_compression(image: Image, severity: int, _draws: Draws) -> Image:
    """Write as JPEG of low quality, chroma halved, and read back."""
    quality = (25, 18, 15, 10, 7)[severity - 1]
    file = io.BytesIO()
    PIL.Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.array(PIL.Image.open(file, formats=["JPEG"]))


@lru_cache
def _brighter(added: float) -> NDArray[np.uint16]:
    """Return what becomes of a level (column) in a pixel whose largest level is the row's.

    Hue and saturation are kept if all levels grow by the same factor. Where that gives so nearly a
    whole number that rounding decides, on the way over hue and saturation, _DOUBTFUL is added.
    """
    largest, grey = np.arange(256)[:, None], np.arange(256)
    value = (largest / 255 + added).clip(0, 1)
    grown = grey * (255 * value / np.maximum(largest, 1))
    near = np.round(grown)
    doubtful = (np.abs(grown - near) < _NEARLY) & (near > 0)
    answers = np.where(doubtful, near + _DOUBTFUL, grown.clip(0, 255)).astype(np.uint16)
    # The largest level becomes the value itself.
    answers[grey, grey] = to_image(value)[:, 0]
    answers.setflags(write=False)
    return answers


@kernel
def _brighten(
    values: NDArray[np.uint8], answers: NDArray[np.uint16], added: float, out: NDArray[np.uint8]
) -> None:
    """Write what stands in the table, or where that is in doubt what `_recoloured` answers."""
    for i in range(values.size // 3):
        red, green, blue = values[3 * i], values[3 * i + 1], values[3 * i + 2]
        row = np.uint32(max(red, green, blue)) << np.uint32(8)
        new = answers[row | red], answers[row | green], answers[row | blue]
        if (new[0] | new[1] | new[2]) < _DOUBTFUL:
            out[3 * i], out[3 * i + 1], out[3 * i + 2] = new
        else:
            exact = _recoloured(red, green, blue, 1.0, 0.0, added)
            out[3 * i], out[3 * i + 1], out[3 * i + 2] = exact


@kernel
def _means(values: NDArray[np.uint8], greys: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each channel's mean from 0 to 1; the sums run in the order of the pixels."""
    red = green = blue = 0.0
    for i in range(values.size // 3):
        red += greys[values[3 * i]]
        green += greys[values[3 * i + 1]]
        blue += greys[values[3 * i + 2]]
    return np.array([red, green, blue]) / (values.size // 3)


@kernel
def _replace(values: NDArray[np.uint8], levels: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Write what stands in the table, one row a channel, for each value."""
    for i in range(values.size // 3):
        out[3 * i] = levels[0, values[3 * i]]
        out[3 * i + 1] = levels[1, values[3 * i + 1]]
        out[3 * i + 2] = levels[2, values[3 * i + 2]]


@kernel
def _recolour(
    values: NDArray[np.uint8], factor: float, added: float, brighter: float, out: NDArray[np.uint8]
) -> None:
    """Write pixels of changed saturation and value."""
    for i in range(values.size // 3):
        red, green, blue = values[3 * i], values[3 * i + 1], values[3 * i + 2]
        new = _recoloured(red, green, blue, factor, added, brighter)
        out[3 * i], out[3 * i + 1], out[3 * i + 2] = new


@inlined
def _recoloured(
    red: int, green: int, blue: int, factor: float, added: float, brighter: float
) -> tuple[np.uint8, np.uint8, np.uint8]:
    """Return a pixel with saturation * factor + added and value + brighter; without branches.

    Hue, saturation and value after Smith (1978); grey has hue 0. Where two channels are the
    largest, blue goes before green, and green before red.
    """
    r, g, b = fraction(red), fraction(green), fraction(blue)
    value = max(r, g, b)
    chroma = value - min(r, g, b)
    offset = _BLUE if b == value else (_GREEN if g == value else _RED)
    difference = r - g if b == value else (b - r if g == value else g - b)
    hue = (offset + difference / (1.0 if chroma == 0 else chroma)) / 6
    hue = 0.0 if chroma == 0 else hue
    hue = hue + 1 if hue < 0 else hue
    saturation = chroma / (1.0 if value == 0 else value) * factor + added
    saturation = min(max(saturation, 0.0), 1.0)
    value = min(max(value + brighter, 0.0), 1.0)

    start = np.floor(hue * 6)
    part = hue * 6 - start
    away = (start == _YELLOW) | (start == _CYAN) | (start == _MAGENTA)  # from a pure colour
    low = value * (1 - saturation)
    middle = value * (1 - (part if away else 1 - part) * saturation)
    start = _RED if start == _ROUND else start
    most_red, some_red = (
        (start == _RED) | (start == _MAGENTA),
        (start == _YELLOW) | (start == _BLUE),
    )
    most_green, some_green = (
        (start == _YELLOW) | (start == _GREEN),
        (start == _RED) | (start == _CYAN),
    )
    most_blue, some_blue = (
        (start == _CYAN) | (start == _BLUE),
        (start == _GREEN) | (start == _MAGENTA),
    )
    return (
        level(value if most_red else (middle if some_red else low)),
        level(value if most_green else (middle if some_green else low)),
        level(value if most_blue else (middle if some_blue else low)),
    )
