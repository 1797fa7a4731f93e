"""The one shape that every dataset comes in: a list of pairs and where their pictures are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from spairc.pairs import PairTable
from spairc.types import Pair


@dataclass(frozen=True, eq=False)
class Dataset(Sequence[Pair]):
    """Pairs in the order of the dataset's own list; a sequence of `Pair`, slices are datasets."""

    name: str  # as in `DATASETS`: "spair71k"
    root: Path
    split: str  # as the dataset itself calls it: "trn", "val", "test"
    layout: str  # "large", "small"; "" where the dataset has one list only
    table: PairTable
    pictures: Mapping[str, str]  # image key -> file name under `root`, "/" between its parts
    annotations: tuple[str, ...]  # what else stands under `root`, for a folder that replaces it

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> "Dataset": ...
    def __getitem__(self, index: int | slice) -> "Pair | Dataset":
        if isinstance(index, slice):
            return replace(self, table=self.table[index])
        return self.table[index]

    def select(self, positions: NDArray[np.int64]) -> "Dataset":
        """Return the dataset with the pairs at these positions only, in this order."""
        return replace(self, table=self.table.select(positions))

    def path(self, key: str) -> Path:
        """Return the file of the picture with this image key."""
        return self.root / self.pictures[key]
