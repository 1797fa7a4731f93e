"""The input of NC-Net, CNNGeo and WeakAlign: outer pixel centres stay outer pixel centres.

These programs sample a picture bilinearly, as it is and without antialiasing, on a grid whose -1
and 1 are the centres of its outer pixels: in the PyTorch of their papers both grid functions did.
(What they released does neither that nor the paper's under present PyTorch: the grid has -1 and 1
on the outer edges, the sampler on the outer centres.) Nothing is rounded to whole grey levels.

CNNGeo counts points in the original picture; the published evaluations of NC-Net and WeakAlign on
PF-PASCAL scale them to a square of 224 pixels, `SCNET`, as SCNet's did.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spairc.geometry import Frame
from spairc.types import Image, Size
from spairc_models.preprocessing import Preprocessing

SCNET = 224  # pixels


@dataclass(frozen=True)
class CornerAligned(Preprocessing):
    """Squashed to a square by corner-aligned bilinear sampling.

    Points are taken for counted from 1, as the programs do: pixels 1 and L of a side are the
    outer pixels of the square. Those that are counted from 0 are handed over as they are.
    """

    measured: int | None = None  # points are first scaled to a square of so many pixels

    def frame(self, size: Size) -> Frame:
        """Return where the pixels of a picture of this size, counted from 1, lie in the input."""
        lengths = size if self.measured is None else (self.measured, self.measured)
        last = self.side - 1
        steps = [last / max(length - 1, 1) for length in lengths]
        across, down = (
            step * length / own for step, length, own in zip(steps, lengths, size, strict=True)
        )
        return Frame(scale=(across, down), offset=(-steps[0], -steps[1]))

    def normalised(self, image: Image) -> NDArray[np.float32]:
        """Return the input of a network, (3, side, side) float32."""
        down, across = (_sampling(length, self.side) for length in image.shape[:2])
        planes = image.astype(np.float32).transpose(2, 0, 1)
        values = down @ planes @ across.T / np.float32(255)
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        return np.asarray((values - mean[:, None, None]) / std[:, None, None], np.float32)


def _sampling(length: int, side: int) -> NDArray[np.float32]:
    """Return (side, length): how much of each pixel of a line goes into each pixel of the input."""
    places = np.linspace(0, length - 1, side)[:, None]
    return (1 - abs(places - np.arange(length))).clip(0).astype(np.float32)
