"""Frames: the original pixels, the squashed square and the padded square that networks see.

A frame is a scale and an offset per axis. Coordinates are multiplied by the scale alone, as the
field's programs do: they do not shift by the half pixel that a resize of pixel *areas* implies.
"""

from dataclasses import dataclass

import numpy as np

from spairc.types import Points, Size


@dataclass(frozen=True)
class Frame:
    """Where a picture's original pixels lie in another coordinate frame."""

    scale: tuple[float, float]  # x, y; frame pixels per original pixel
    offset: tuple[float, float] = (0.0, 0.0)  # x, y; of the original's origin, in frame pixels

    def from_original(self, points: Points) -> Points:
        """Return (N, 2) points in this frame for points in original pixels."""
        scale, offset = (np.array(each, dtype=np.float64) for each in (self.scale, self.offset))
        return np.asarray(points * scale + offset)

    def to_original(self, points: Points) -> Points:
        """Return (N, 2) points in original pixels for points in this frame."""
        scale, offset = (np.array(each, dtype=np.float64) for each in (self.scale, self.offset))
        return np.asarray((points - offset) / scale)


def squashed(size: Size, side: int) -> Frame:
    """Return the frame of a picture resized to side x side, its aspect ratio given up."""
    return Frame(scale=(side / size.width, side / size.height))


def padded(size: Size, side: int) -> Frame:
    """Return the frame of a picture scaled to fit side x side, centred, the rest padded."""
    width, height = inner_size(size, side)
    return Frame(
        scale=(width / size.width, height / size.height),
        offset=((side - width) // 2, (side - height) // 2),
    )


def inner_size(size: Size, side: int) -> Size:
    """Return the size of a picture scaled so that its longer side is `side`."""
    longer = max(size)
    return Size(
        max(1, round(size.width * side / longer)), max(1, round(size.height * side / longer))
    )
