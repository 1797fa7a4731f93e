"""Photometric noise for training pictures; all random numbers come from the generator given.

The lists are those of the published programs, which take them from albumentations 1.3; ranges
that they leave to it are written out here. Operations of torchvision.transforms.v2 are used where
they compute the same, tensor arithmetic where they do not.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as v2

from spairc.lookup import lookup
from spairc.types import Image

Operation: TypeAlias = Callable[[Tensor, np.random.Generator], Tensor]  # uint8 (3, H, W) to same

_BITS = 4  # of a posterised channel
_BRIGHT = 128  # values from here on are inverted by solarising
_KERNELS = (3, 5, 7)  # of the blur: its limit is 7


def grey(picture: Tensor, _: np.random.Generator) -> Tensor:
    """Return the picture without colour."""
    return torch.as_tensor(v2.rgb_to_grayscale(picture, num_output_channels=3))


def posterised(picture: Tensor, _: np.random.Generator) -> Tensor:
    """Return the picture with four bits a channel."""
    return torch.as_tensor(v2.posterize(picture, _BITS))


def equalised(picture: Tensor, _: np.random.Generator) -> Tensor:
    """Return the picture with each channel's histogram flattened."""
    return torch.as_tensor(v2.equalize(picture))


def sharpened(picture: Tensor, draws: np.random.Generator) -> Tensor:
    """Return the picture blended with its Laplacian, by a share of 0.2 to 0.5."""
    share, lightness = draws.uniform(0.2, 0.5), draws.uniform(0.5, 1.0)
    kernel = torch.full((3, 3), -share)
    kernel[1, 1] = 1 - share + share * (8 + lightness)
    return _filtered(picture, kernel)


def brightness_and_contrast(picture: Tensor, draws: np.random.Generator) -> Tensor:
    """Return the picture times 0.8 to 1.2, plus up to a fifth of the range either way."""
    factor, shift = draws.uniform(0.8, 1.2), draws.uniform(-0.2, 0.2)
    return _bytes(picture * factor + shift * 255)


def solarised(picture: Tensor, _: np.random.Generator) -> Tensor:
    """Return the picture with its bright values inverted."""
    return torch.as_tensor(v2.solarize(picture, _BRIGHT))


def jittered(picture: Tensor, draws: np.random.Generator) -> Tensor:
    """Return the picture with brightness, contrast, saturation and hue changed, in any order."""
    factors = draws.uniform(0.8, 1.2, 3)
    hue = draws.uniform(-0.2, 0.2)
    steps: list[Callable[[Tensor], Tensor]] = [
        lambda given: v2.adjust_brightness(given, factors[0]),
        lambda given: v2.adjust_contrast(given, factors[1]),
        lambda given: v2.adjust_saturation(given, factors[2]),
        lambda given: v2.adjust_hue(given, hue),
    ]
    for index in draws.permutation(len(steps)):
        picture = steps[index](picture)
    return picture


def blurred(picture: Tensor, draws: np.random.Generator) -> Tensor:
    """Return the picture averaged over 3, 5 or 7 pixels a side."""
    width = int(draws.choice(_KERNELS))
    return _filtered(picture, torch.full((width, width), 1 / width**2))


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
    picture = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    for operation in lookup(LISTS, name, "list of photometric operations"):
        if draws.random() < chance:
            picture = operation(picture, draws)
    return np.ascontiguousarray(picture.numpy().transpose(1, 2, 0))


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


def _filtered(picture: Tensor, kernel: Tensor) -> Tensor:
    """Return the correlation of each channel with an odd kernel, borders mirrored."""
    margin = kernel.shape[0] // 2
    whole = functional.pad(picture.float().unsqueeze(1), [margin] * 4, mode="reflect")
    return _bytes(functional.conv2d(whole, kernel[None, None]).squeeze(1))


def _bytes(values: Tensor) -> Tensor:
    """Return values as uint8, cut to 0 and 255."""
    return values.round().clamp(0, 255).to(torch.uint8)
