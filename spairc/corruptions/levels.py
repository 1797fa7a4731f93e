"""How values between 0 and 1 become grey levels, in arrays and in kernels."""

import numpy as np
from numpy.typing import NDArray

from spairc.draws.compiled import kernel
from spairc.types import Image

# 1 / 255 = 0.00000001 00000001 ... in binary: six ones of it, and the seven that follow.
_HIGHER = float.fromhex("0x1.0101010101p-8")
_REST = float.fromhex("0x1.010101010101p-56")


def to_image(picture: NDArray[np.floating]) -> Image:
    """Return a picture on the scale 0 to 1 as whole grey levels: clipped, then truncated."""
    # Truncation, not rounding, is the published programs'.
    return (picture.clip(0, 1) * 255).astype(np.uint8)


@kernel
def fraction(grey: int) -> float:
    """Return grey / 255 of a grey level from 0 to 255, rounded as a division rounds it.

    Several times as fast as dividing: one product is exact, and the other makes up the rest.
    """
    return grey * _HIGHER + grey * _REST


@kernel
def level(value: float) -> np.uint8:
    """Return one value as `to_image` does."""
    return np.uint8(np.int32(min(max(value, 0.0), 1.0) * 255))
