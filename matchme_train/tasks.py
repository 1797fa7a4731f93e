"""The datasets that recipes train on, and how each is learnt and validated."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from spairc.datasets.dataset import Dataset
from spairc.protocols import PROTOCOLS


@dataclass(frozen=True)
class Task:
    """What differs from one dataset to another."""

    protocol: str  # of validation; networks learn in the direction that it asks in
    mirrored: bool  # whether every pair is learnt a second time, both pictures mirrored

    def trained(self, dataset: Dataset) -> Dataset:
        """Return the pairs as they are learnt: where they are mirrored too, each half is whole."""
        table = dataset.table
        if PROTOCOLS[self.protocol].direction == "reversed":
            table = table.swapped()
        times = 2 if self.mirrored else 1
        return replace(dataset, table=table.select(np.tile(np.arange(len(table)), times)))


# PF-PASCAL's training list has each pair twice, once to be mirrored; its lists are not closed
# under swapping, and CATs' programs learn what they are asked: from target to source.
TASKS: Mapping[str, Task] = {
    "spair71k": Task("paper", mirrored=False),
    "pf-pascal": Task("pf-pascal-paper", mirrored=True),
}
