"""The 15 corruptions of SPair-C.

A corruption is a pure function of picture, severity and draws that returns a new picture. To add
one: write the function, give it a line here and its name a place in `spairc.spec.GROUPS`.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from spairc import spec
from spairc.corruptions import blur, digital, noise, weather
from spairc.draws import Draws, keyed_draws
from spairc.images import SMALLEST
from spairc.lookup import lookup
from spairc.types import BadInput, Image

Corruption: TypeAlias = Callable[[Image, int, Draws], Image]

# The order is the order of columns in every table.
CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "speckle_noise": noise.speckle_noise,
    "defocus_blur": blur.defocus_blur,
    "gaussian_blur": blur.gaussian_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "spatter": weather.spatter,
    "brightness": digital.brightness,
    "contrast": digital.contrast,
    "saturate": digital.saturate,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
}


def corrupt(
    image: Image, corruption: str, *, severity: int, key: str, draws: Draws | None = None
) -> Image:
    """Return a corrupted copy; it depends on the arguments only, never on the order of calls.

    Args:
        image: The clean picture. It is not modified.
        corruption: One of `CORRUPTIONS`.
        severity: 1 to 5.
        key: Names the picture within its dataset, such as "car/2008_000033".
        draws: Replaces the stream that the key would give; for parity with other programs.

    Raises:
        BadInput: If no such corruption or severity exists, or the picture is not (H, W, 3) uint8
            of at least 32 x 32 pixels.
    """
    function = lookup(CORRUPTIONS, corruption, "corruption")
    spec.check_severity(severity)
    _check_image(image)
    if draws is None:
        draws = keyed_draws(key, corruption, int(severity))
    # Kernels are compiled for each way in which a picture can lie in memory: leave but one.
    rows = np.require(image, requirements=["C", "W"])
    return function(rows, int(severity), draws)


def _check_image(image: Image) -> None:
    """Raise BadInput unless the picture is one that all corruptions are defined for."""
    if not isinstance(image, np.ndarray):
        kind = type(image).__name__
        raise BadInput(f"a picture of type {kind} cannot be corrupted; give numpy.asarray of it")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:  # noqa: PLR2004 -- axes, RGB
        shape = " x ".join(str(length) for length in image.shape)
        raise BadInput(
            f"a picture of {image.dtype} {shape} cannot be corrupted; "
            "give uint8 values of height x width x 3 (red, green, blue)"
        )
    height, width = image.shape[:2]
    if min(height, width) < SMALLEST:
        raise BadInput(
            f"a picture of {width} x {height} pixels cannot be corrupted; "
            f"corruptions are defined from {SMALLEST} x {SMALLEST} on"
        )
