"""How a picture becomes a network's square input, and where its pixels lie in it; no torch.

Every matcher shares this step: a published network squashes, a transformer may prefer its picture
padded, and the classical descriptors start from the same square.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from spairc.geometry import Frame, inner_size, padded, squashed
from spairc.lookup import lookup
from spairc.types import BadInput, Image, Size

Triple: TypeAlias = tuple[float, float, float]
Mode: TypeAlias = Literal["squash", "pad"]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
INTERPOLATIONS: Mapping[str, PIL.Image.Resampling] = {
    "bilinear": PIL.Image.Resampling.BILINEAR,  # torchvision's of a picture: the CATs family
    "bicubic": PIL.Image.Resampling.BICUBIC,  # Pillow's own choice: DIFT
    "lanczos": PIL.Image.Resampling.LANCZOS,  # SD+DINO, GeoAware-SC
}
MODES: Mapping[str, str] = {
    "squash": "the aspect ratio is given up, as in the CATs family",
    "pad": "the aspect ratio is kept; black bars, as in SD+DINO and GeoAware-SC",
}


@dataclass(frozen=True)
class Preprocessing:
    """Pillow's antialiased resize and normalisation.

    Raises:
        BadInput: If the side is not positive or there is no such mode or interpolation.
    """

    side: int  # pixels; the input is side x side
    mode: Mode = "squash"
    mean: Triple = IMAGENET_MEAN  # per channel, of values in [0, 1]
    std: Triple = IMAGENET_STD
    interpolation: str = "bilinear"  # a key of INTERPOLATIONS

    def __post_init__(self) -> None:
        if self.side < 1:
            raise BadInput(f"side {self.side}: the input must be at least 1 pixel wide")
        if self.mode not in MODES:
            raise BadInput(f"mode {self.mode!r}: choose from {', '.join(MODES)}")
        lookup(INTERPOLATIONS, self.interpolation, "interpolation")

    def frame(self, size: Size) -> Frame:
        """Return where the original pixels of a picture of this size lie in the input."""
        return (squashed if self.mode == "squash" else padded)(size, self.side)

    def square(self, image: Image) -> Image:
        """Return the picture as (side, side, 3) uint8; bars are black."""
        original = Size(image.shape[1], image.shape[0])
        size = (
            Size(self.side, self.side) if self.mode == "squash" else inner_size(original, self.side)
        )
        resized = PIL.Image.fromarray(image).resize(size, INTERPOLATIONS[self.interpolation])
        if size == (self.side, self.side):
            return np.asarray(resized)
        square = np.zeros((self.side, self.side, 3), dtype=np.uint8)
        left, top = (int(offset) for offset in self.frame(original).offset)
        square[top : top + size.height, left : left + size.width] = np.asarray(resized)
        return square

    def normalised(self, image: Image) -> NDArray[np.float32]:
        """Return the input of a network, (3, side, side) float32."""
        values = self.square(image).astype(np.float32) / np.float32(255)
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        return np.ascontiguousarray(((values - mean) / std).transpose(2, 0, 1))
