"""The datasets by name, and the one shape that they all come in.

To add one: a module with `load(root, split, layout) -> Dataset`, and a line in `DATASETS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from spairc.datasets import pf_pascal, pf_willow, spair71k
from spairc.datasets.dataset import Dataset
from spairc.lookup import lookup


@dataclass(frozen=True)
class Source:
    """A dataset that `load_dataset` knows."""

    load: Callable[[Path, str, str], Dataset]  # root, split, layout
    splits: Sequence[str]
    layouts: Sequence[str]
    description: str  # one line
    page: str  # where its authors tell of it


DATASETS: dict[str, Source] = {
    "spair71k": Source(
        load=spair71k.load,
        splits=("trn", "val", "test"),
        layouts=("large", "small"),
        description="SPair-71k: 70,958 pairs, 1,800 pictures, 18 categories",
        page="https://cvlab.postech.ac.kr/research/SPair-71k/",
    ),
    "pf-pascal": Source(
        load=pf_pascal.load,
        splits=("trn", "val", "test"),
        layouts=("large",),
        description="PF-PASCAL: 2,077 pairs of PASCAL VOC pictures, 20 categories",
        page="https://www.di.ens.fr/willow/research/proposalflow/",
    ),
    "pf-willow": Source(
        load=pf_willow.load,
        splits=("test",),
        layouts=("large",),
        description="PF-WILLOW: 900 pairs, 100 pictures, 10 sub-classes",
        page="https://www.di.ens.fr/willow/research/proposalflow/",
    ),
}


def load_dataset(
    name: str, root: str | PathLike[str], split: str = "test", layout: str = "large"
) -> Dataset:
    """Return the pairs of a dataset, in the order of its own list.

    Args:
        name: An entry of `DATASETS`; "pf_willow" is read as "pf-willow".
        root: The dataset's folder, or the one that it was unpacked into.
        split: As the dataset calls it.
        layout: Which of the split's lists; most datasets have one.

    Raises:
        BadInput: If there is no such dataset, split or layout, or a file is missing or tells what
            cannot be. Pictures are looked for, not opened: `check_pictures` does that.
    """
    source = lookup(DATASETS, name.replace("_", "-"), "dataset")
    lookup(dict.fromkeys(source.splits), split, f"{name} split")
    lookup(dict.fromkeys(source.layouts), layout, f"{name} layout")
    return source.load(Path(root).expanduser(), split, layout)
