"""PF-WILLOW (Proposal Flow, Ham et al., 2016): 900 pairs of 100 pictures in 10 sub-classes.

    PF-WILLOW/test_pairs.csv             pictures and 10 points each, per pair
    PF-WILLOW/car(G)/Cars_006a.png       a picture
    PF-WILLOW/car(G)/Cars_006a.mat       its points, `pts_coord`, 2 x 10

The list alone decides, as in every published evaluation. Where the .mat files are there too, they
must agree with it: they do to half a unit of the list's last digit.

The dataset has no boxes; the field takes the extent of a picture's own points. (Several programs
take the extent with padding of -1 counted in, which makes it much larger: see the protocols.)
"""

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

_LISTS = ("test_pairs.csv", "test_pairs_pf.csv")  # the second is CNNGeometric's name for it
_FOLDERS = ("PF-WILLOW", "PF-dataset")  # as the archives unpack
_POINTS = 10  # a picture
_TOLERANCE = 0.01  # pixels; the list is rounded to two decimals
_REMEDY = "fetch PF-WILLOW with: spairc download pf-willow --to DIR"


def load(root: Path, split: str, layout: str) -> Dataset:
    """Return the pairs in the order of the list.

    Args:
        root: The folder that holds test_pairs.csv and the sub-classes, or the one above it.
        split: "test".
        layout: "large"; there is no other.

    Raises:
        BadInput: If a file is missing or damaged, or tells what cannot be; the message names it.
    """
    del layout  # the one list
    folder = home(root, _FOLDERS, _LISTS)
    if folder is None:
        raise BadInput(f"pair list {root / _LISTS[0]} is missing; {_REMEDY}")
    listing = next(folder / name for name in _LISTS if (folder / name).exists())
    rows = _rows(listing)
    below = next((f"{name}/" for name in _FOLDERS if (folder / name).is_dir()), "")
    found = {key: below + name for key, name in find_pictures(folder / below).items()}
    named = {key: row.where for row in rows for key in (row.source, row.target)}
    pictures = needed_pictures(named, found, folder / below)
    matrices = _matrices(folder, pictures)
    table = cached_table(
        "pf-willow-test",
        folder,
        [listing.name, *pictures.values(), *matrices.values()],
        lambda: _parse(folder, rows, pictures, matrices),
    )
    return Dataset(
        name="pf-willow",
        root=folder,
        split=split,
        layout="",
        table=table,
        pictures=pictures,
        annotations=(listing.name,),
    )


@dataclass(frozen=True, eq=False)
class _Row:
    """One row of the list."""

    where: str  # for messages
    id: str
    category: str  # the sub-class: "car(G)"
    source: str  # image key
    target: str
    source_points: Points
    target_points: Points


def _rows(listing: Path) -> list[_Row]:
    """Return what the list tells."""
    rows = read_rows(listing, [2 + 4 * _POINTS])
    places = row_names(listing, rows)
    return [_row(number, row, places[number]) for number, row in enumerate(rows)]


def _row(number: int, fields: Sequence[str], where: str) -> _Row:
    """Return what one row tells: two pictures, then XA, YA, XB and YB of the points."""
    source, target = (last_parts(name, 2, where=where) for name in fields[:2])
    category = source.partition("/")[0]
    if target.partition("/")[0] != category:
        raise BadInput(
            f"{where}: {source!r} and {target!r} are of two sub-classes; fetch the list again"
        )
    points = numbers(fields[2:], where=where).reshape(2, 2, _POINTS)
    return _Row(
        where=where,
        id=pair_name(number, source, target, category),
        category=category,
        source=source,
        target=target,
        source_points=points[0].T,
        target_points=points[1].T,
    )


def _matrices(folder: Path, pictures: Mapping[str, str]) -> dict[str, str]:
    """Return image key -> .mat file beside the picture, where there is one."""
    beside = {key: str(Path(name).with_suffix(".mat")) for key, name in pictures.items()}
    return {key: name for key, name in beside.items() if (folder / name).is_file()}


def _parse(
    folder: Path,
    rows: Sequence[_Row],
    pictures: Mapping[str, str],
    matrices: Mapping[str, str],
) -> PairTable:
    """Return the pairs of the list, checked against pictures and .mat files."""
    sizes = {key: image_size(folder / name) for key, name in pictures.items()}
    table = table_of([_pair(row, sizes) for row in rows])
    check_table(table, [row.where for row in rows])
    known = {
        key: read_matrix(folder / name, "pts_coord", height=2, width=_POINTS).T
        for key, name in matrices.items()
    }
    for row in rows:
        for key, points in ((row.source, row.source_points), (row.target, row.target_points)):
            if key in known and not np.allclose(known[key], points, rtol=0, atol=_TOLERANCE):
                raise BadInput(
                    f"{row.where}: the points of {key} are not those of {folder / matrices[key]}; "
                    f"one of the files was changed: fetch both again"
                )
    return table


def _pair(row: _Row, sizes: Mapping[str, Size]) -> Pair:
    """Return the pair of one row."""
    return Pair(
        id=row.id,
        category=row.category,
        source=row.source,
        target=row.target,
        source_points=row.source_points,
        target_points=row.target_points,
        source_box=_extent(row.source_points),
        target_box=_extent(row.target_points),
        source_size=sizes[row.source],
        target_size=sizes[row.target],
    )


def _extent(points: Points) -> Box:
    """Return the smallest box around points."""
    return Box(*map(float, (*points.min(axis=0), *points.max(axis=0))))
