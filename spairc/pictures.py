"""Where corrupted pictures come from: made in memory, or read from a folder that `build` made.

Both give the same pixels, so an evaluation may use either.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from spairc.corruptions import corrupt
from spairc.datasets.dataset import Dataset
from spairc.images import pixel_hash, read_image
from spairc.spec import VERSION
from spairc.types import BadInput, Condition, Image


class Pictures(Protocol):
    """The pictures of one dataset under every condition."""

    @property
    def origin(self) -> dict[str, str]:
        """What a run's record says of them."""
        ...

    def read(self, key: str, condition: Condition) -> Image:
        """Return the picture with this image key under a condition."""
        ...


@dataclass(frozen=True)
class InMemory:
    """Pictures corrupted when they are asked for; nothing is written."""

    dataset: Dataset

    @property
    def origin(self) -> dict[str, str]:
        """What a run's record says of them."""
        return {"spec": VERSION, "format": "lossless"}

    def read(self, key: str, condition: Condition) -> Image:
        """Return the picture with this image key under a condition."""
        image = read_image(self.dataset.path(key))
        if condition.corruption is None:
            return image
        return corrupt(image, condition.corruption, severity=condition.severity, key=key)


@dataclass(frozen=True)
class InFolder:
    """Pictures of a built set; clean ones come from the dataset itself."""

    dataset: Dataset
    files: Mapping[tuple[str, Condition], tuple[Path, str]]  # file, and hash of its pixels
    spec: str  # the version that the folder was built with
    format: str  # "lossless": then a run from the folder is the same run as one from memory

    @property
    def origin(self) -> dict[str, str]:
        """What a run's record says of them."""
        return {"spec": self.spec, "format": self.format}

    def read(self, key: str, condition: Condition) -> Image:
        """Return the picture with this image key under a condition.

        Raises:
            BadInput: If it is not as it was built. What lossy files decode to depends on the
                decoder, so theirs is not compared.
        """
        if condition.corruption is None:
            return read_image(self.dataset.path(key))
        path, pixels = self.files[key, condition]
        image = read_image(path)
        if self.format == "lossless" and pixel_hash(image) != pixels:
            raise BadInput(f"{path} is not as it was built; run spairc build with --repair")
        return image
