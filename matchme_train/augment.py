"""Photometric noise for training pictures; all random numbers come from the generator given.

The lists are those of the published programs, which take them from albumentations 1.3; ranges
that they leave to it are written out here. That library computes with OpenCV, and so does this:
the same pixels as theirs but for rounding, and an eighth of the time of torchvision's operations,
which would keep the network waiting.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from spairc.lookup import lookup
from spairc.types import Image

Operation: TypeAlias = Callable[[Image, np.random.Generator], Image]

_BITS = 0xF0  # of a posterised channel: the upper four
_BRIGHT = 128  # values from here on are inverted by solarising
_KERNELS = (3, 5, 7)  # of the blur: its limit is 7
_LEVELS = np.arange(256, dtype=np.float64)
_HUES = 180  # OpenCV's circle, of which a level is two degrees


def grey(image: Image, _: np.random.Generator) -> Image:
    """Return the picture without colour."""
    return cv2.cvtColor(_luma(image), cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)


def posterised(image: Image, _: np.random.Generator) -> Image:
    """Return the picture with four bits a channel."""
    return image & np.uint8(_BITS)


def equalised(image: Image, _: np.random.Generator) -> Image:
    """Return the picture with each channel's histogram flattened."""
    channels = [cv2.equalizeHist(image[..., channel]) for channel in range(3)]
    return np.stack(channels, axis=2).astype(np.uint8, copy=False)


def sharpened(image: Image, draws: np.random.Generator) -> Image:
    """Return the picture blended with its Laplacian, by a share of 0.2 to 0.5."""
    share, lightness = draws.uniform(0.2, 0.5), draws.uniform(0.5, 1.0)
    kernel = np.full((3, 3), -share, dtype=np.float32)
    kernel[1, 1] = 1 - share + share * (8 + lightness)
    return cv2.filter2D(image, -1, kernel).astype(np.uint8, copy=False)


def brightness_and_contrast(image: Image, draws: np.random.Generator) -> Image:
    """Return the picture times 0.8 to 1.2, plus up to a fifth of the range either way."""
    factor, shift = draws.uniform(0.8, 1.2), draws.uniform(-0.2, 0.2)
    return _by_level(image, _LEVELS * factor + shift * 255)


def solarised(image: Image, _: np.random.Generator) -> Image:
    """Return the picture with its bright values inverted."""
    return _by_level(image, np.where(_LEVELS < _BRIGHT, _LEVELS, 255 - _LEVELS))


def jittered(image: Image, draws: np.random.Generator) -> Image:
    """Return the picture with brightness, contrast, saturation and hue changed, in any order."""
    factors = draws.uniform(0.8, 1.2, 3)
    hue = draws.uniform(-0.2, 0.2)
    steps: list[Callable[[Image], Image]] = [
        lambda given: _by_level(given, _LEVELS * factors[0]),
        lambda given: _contrasted(given, factors[1]),
        lambda given: _saturated(given, factors[2]),
        lambda given: _hue_turned(given, hue),
    ]
    for index in draws.permutation(len(steps)):
        image = steps[index](image)
    return image


def blurred(image: Image, draws: np.random.Generator) -> Image:
    """Return the picture averaged over 3, 5 or 7 pixels a side."""
    width = int(draws.choice(_KERNELS))
    return cv2.blur(image, (width, width)).astype(np.uint8, copy=False)


# The programs' order; each is applied or not, on its own.
LISTS: Mapping[str, Sequence[Operation]] = {
    # CATs, CATs++, SCorrSAN (`data/dataset.py`); MatchMe's student too, its references 2 and 3
    "cats": (
        grey,
        posterised,
        equalised,
        sharpened,
        brightness_and_contrast,
        solarised,
        jittered,
    ),
    # SemiMatch's strong view: blur in place of sharpening
    "semimatch-strong": (
        grey,
        posterised,
        equalised,
        brightness_and_contrast,
        solarised,
        jittered,
        blurred,
    ),
    # MatchMe's first annotator: "color-jitter, gray"
    "weak": (jittered, grey),
}


def photometric_noise(image: Image, name: str, chance: float, draws: np.random.Generator) -> Image:
    """Return the picture after each operation of a list was applied with this chance.

    Args:
        image: (H, W, 3).
        name: A key of `LISTS`.
        chance: Of each operation; 0 returns the picture as it is.
        draws: Where the numbers come from.

    Raises:
        BadInput: If there is no such list.
    """
    for operation in lookup(LISTS, name, "list of photometric operations"):
        if draws.random() < chance:
            image = operation(image, draws)
    return image


def erased(image: Image, boxes: Sequence[tuple[int, int, int, int]]) -> Image:
    """Return the picture with rectangles blackened (SemiMatch's KeyOut).

    Args:
        image: (H, W, 3).
        boxes: Left, top, right, bottom, in pixels; right and bottom are outside.
    """
    result = image.copy()
    for left, top, right, bottom in boxes:
        result[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = 0
    return result


def _luma(image: Image) -> NDArray[np.uint8]:
    """Return how bright each pixel is, (H, W)."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def _by_level(image: Image, levels: NDArray[np.float64]) -> Image:
    """Return the picture with each value replaced by its level's, rounded and cut to a byte."""
    table = levels.round().clip(0, 255).astype(np.uint8)
    return cv2.LUT(image, table).astype(np.uint8, copy=False)


def _contrasted(image: Image, factor: float) -> Image:
    """Return the picture times a factor, about its mean brightness."""
    return _by_level(image, _LEVELS * factor + (1 - factor) * _luma(image).mean())


def _saturated(image: Image, factor: float) -> Image:
    """Return the picture times a factor, about itself without colour."""
    colourless = cv2.cvtColor(_luma(image), cv2.COLOR_GRAY2RGB)
    blended = cv2.addWeighted(image, factor, colourless, 1 - factor, 0)
    return blended.astype(np.uint8, copy=False)


def _hue_turned(image: Image, share: float) -> Image:
    """Return the picture with its hues turned by a share of the circle."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    turned = np.mod(_LEVELS + _HUES * share, _HUES).astype(np.uint8)
    hsv[..., 0] = turned[hsv[..., 0]]
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.uint8, copy=False)
