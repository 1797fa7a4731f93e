"""PF-PASCAL (Proposal Flow, Ham et al., 2017): pairs of PASCAL VOC pictures in 20 categories.

    PF-dataset-PASCAL/test_pairs.csv                   pictures, category (1 to 20) and points
    PF-dataset-PASCAL/train_pairs.csv, val_pairs.csv   pictures, category, mirrored or not
    PF-dataset-PASCAL/JPEGImages/2008_006325.jpg
    PF-dataset-PASCAL/Annotations/bicycle/2008_006325.mat    `kps` (N x 2, NaN unseen), `bbox`

The lists are NC-Net's (Rocco et al., 2018); the lists may also stand in the folder above. A list
that has points decides over them, otherwise a pair's points are those that both .mat files see.
Boxes are the .mat files'. The training list holds each pair twice, once to be mirrored: that is
the trainer's business, so the mirrored rows are left out here, and a mirrored row without its
plain twin is refused.

The lists are not closed under swapping, so the direction of a protocol changes the score here.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spairc.datasets.check import check_table
from spairc.datasets.csvlist import last_parts, numbers, pair_name, read_rows, row_names
from spairc.datasets.dataset import Dataset
from spairc.datasets.folder import find_pictures, home, needed_pictures
from spairc.datasets.index import cached_table
from spairc.datasets.matlab import read_matrix
from spairc.images import image_size
from spairc.pairs import PairTable, table_of
from spairc.types import BadInput, Box, Pair, Points, Size

CATEGORIES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)  # the lists count from 1
_LISTS = {  # NC-Net's names, then those of the CATs family and of CNNGeometric
    "trn": ("train_pairs.csv", "trn_pairs.csv", "train_pairs_pf_pascal.csv"),
    "val": ("val_pairs.csv", "val_pairs_pf_pascal.csv"),
    "test": ("test_pairs.csv", "test_pairs_pf_pascal.csv"),
}
_FOLDERS = ("PF-dataset-PASCAL", "PF-PASCAL")
_PLAIN, _WITH_FLIP, _WITH_POINTS = 3, 4, 7  # columns
_REMEDY = "fetch PF-PASCAL with: spairc download pf-pascal --to DIR"


def load(root: Path, split: str, layout: str) -> Dataset:
    """Return the pairs of one split, in the order of its list.

    Args:
        root: The folder that holds the lists, JPEGImages and Annotations, or the one above it.
        split: "trn", "val" or "test".
        layout: "large"; there is no other.

    Raises:
        BadInput: If a file is missing or damaged, or tells what cannot be; the message names it.
    """
    del layout  # the one list
    folder = home(root, _FOLDERS, _LISTS[split])
    if folder is None:
        raise BadInput(f"pair list {root / _LISTS[split][0]} is missing; {_REMEDY}")
    listing = next(folder / name for name in _LISTS[split] if (folder / name).exists())
    below = next((f"{name}/" for name in _FOLDERS if (folder / name).is_dir()), "")
    rows = _rows(listing)
    found = find_pictures(folder / below / "JPEGImages")
    named = {key: row.where for row in rows for key in (row.source, row.target)}
    needed = needed_pictures(named, found, folder / below / "JPEGImages")
    pictures = {key: f"{below}JPEGImages/{name}" for key, name in needed.items()}
    matrices = {
        (row.category, key): f"{below}Annotations/{row.category}/{key}.mat"
        for row in rows
        for key in (row.source, row.target)
    }
    table = cached_table(
        f"pf-pascal-{split}",
        folder,
        [listing.name, *pictures.values(), *matrices.values()],
        lambda: _parse(folder, rows, pictures, matrices),
    )
    return Dataset(
        name="pf-pascal",
        root=folder,
        split=split,
        layout="",
        table=table,
        pictures=pictures,
        annotations=(listing.name, f"{below}Annotations"),
    )


@dataclass(frozen=True, eq=False)
class _Row:
    """One row of a list."""

    where: str  # for messages
    id: str
    category: str
    source: str  # image key
    target: str
    mirrored: bool
    points: tuple[Points, Points] | None  # source's and target's, where the list has them


def _rows(listing: Path) -> list[_Row]:
    """Return the rows of a list whose pictures are not mirrored."""
    fields = read_rows(listing, [_PLAIN, _WITH_FLIP, _WITH_POINTS])
    places = row_names(listing, fields)
    rows = [_row(number, each, places[number]) for number, each in enumerate(fields)]
    counts = Counter(_wanted(row) for row in rows if not row.mirrored)
    mirrored = Counter(_wanted(row) for row in rows if row.mirrored)
    for row in rows:
        if mirrored[_wanted(row)] > counts[_wanted(row)]:
            raise BadInput(f"{row.where} is mirrored and has no plain twin; fetch the list again")
    return [row for row in rows if not row.mirrored]


def _wanted(row: _Row) -> tuple[str, str, str]:
    """Return which pair a row asks for, mirrored or not."""
    return row.source, row.target, row.category


def _row(number: int, fields: Sequence[str], where: str) -> _Row:
    """Return what one row tells."""
    source, target = (last_parts(name, 1, where=where) for name in fields[:2])
    category = _category(fields[2], where)
    return _Row(
        where=where,
        id=pair_name(number, source, target, category),
        category=category,
        source=source,
        target=target,
        mirrored=len(fields) == _WITH_FLIP and _flip(fields[3], where),
        points=_listed_points(fields[3:], where) if len(fields) == _WITH_POINTS else None,
    )


def _category(number: str, where: str) -> str:
    """Return the category of this number."""
    names = {str(count): name for count, name in enumerate(CATEGORIES, start=1)}
    if number.strip() not in names:
        raise BadInput(f"{where}: class {number!r} is not one of 1 to 20; fetch it again")
    return names[number.strip()]


def _flip(field: str, where: str) -> bool:
    """Return whether a row's pictures are to be mirrored."""
    if field.strip() not in ("0", "1"):
        raise BadInput(f"{where}: flip {field!r} is neither 0 nor 1; fetch it again")
    return field.strip() == "1"


def _listed_points(fields: Sequence[str], where: str) -> tuple[Points, Points]:
    """Return the points from XA, YA, XB and YB, each separated by semicolons."""
    columns = [numbers(field.split(";"), where=where) for field in fields]
    counts = [len(column) for column in columns]
    if len(set(counts)) > 1:
        raise BadInput(
            f"{where}: XA, YA, XB, YB have {counts} numbers; each point needs its partner; "
            f"fetch it again"
        )
    source_x, source_y, target_x, target_y = columns
    return np.stack([source_x, source_y], axis=1), np.stack([target_x, target_y], axis=1)


def _parse(
    folder: Path,
    rows: Sequence[_Row],
    pictures: Mapping[str, str],
    matrices: Mapping[tuple[str, str], str],
) -> PairTable:
    """Return the pairs, with what pictures and .mat files tell of them."""
    sizes = {key: image_size(folder / name) for key, name in pictures.items()}
    marks = {key: _marks(folder / name) for key, name in matrices.items()}
    pairs = []
    for row in rows:
        source, target = marks[row.category, row.source], marks[row.category, row.target]
        points = row.points or _shared(source[0], target[0], row.where)
        pairs.append(_pair(row, points, (source[1], target[1]), sizes))
    table = table_of(pairs)
    check_table(table, [row.where for row in rows])
    return table


def _marks(path: Path) -> tuple[Points, Box]:
    """Return the points, NaN where unseen, and the box that a .mat file tells."""
    box = read_matrix(path, "bbox", height=1, width=4)[0]
    return read_matrix(path, "kps", height=None, width=2), Box(*map(float, box))


def _shared(source: Points, target: Points, where: str) -> tuple[Points, Points]:
    """Return the points that are seen in both pictures."""
    if len(source) != len(target):
        raise BadInput(
            f"{where}: its .mat files have {len(source)} and {len(target)} points; each point "
            f"needs its partner; fetch them again"
        )
    seen = ~(np.isnan(source).any(axis=1) | np.isnan(target).any(axis=1))
    if not seen.any():
        raise BadInput(f"{where}: no point is seen in both pictures; remove the row")
    return source[seen], target[seen]


def _pair(
    row: _Row,
    points: tuple[Points, Points],
    boxes: tuple[Box, Box],
    sizes: Mapping[str, Size],
) -> Pair:
    """Return the pair of one row."""
    return Pair(
        id=row.id,
        category=row.category,
        source=row.source,
        target=row.target,
        source_points=points[0],
        target_points=points[1],
        source_box=boxes[0],
        target_box=boxes[1],
        source_size=sizes[row.source],
        target_size=sizes[row.target],
    )
