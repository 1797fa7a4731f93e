"""Pair lists in comma-separated form, as the Proposal Flow datasets have them."""

import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from spairc.datasets.folder import normal, without_suffix
from spairc.files import inside
from spairc.types import BadInput


def read_rows(path: Path, widths: Sequence[int]) -> list[list[str]]:
    """Return the rows below the head, all of one width.

    Columns go by their place, as in every published reader: their names differ between copies.

    Args:
        path: The list.
        widths: How many columns it may have.

    Raises:
        BadInput: If the file cannot be read, has no head, no rows, or rows of another width.
    """
    if not path.is_file():
        raise BadInput(f"pair list {path} is no file; fetch it again")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head, *rows = [row for row in csv.reader(file) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"pair list {path} cannot be read ({error}); fetch it again") from error
    if not rows or len(head) not in widths or "/" in head[0]:
        allowed = " or ".join(map(str, widths))
        raise BadInput(
            f"pair list {path} is not a head of {allowed} columns and a row a pair; fetch it again"
        )
    for number, row in enumerate(rows):
        if len(row) != len(head):
            raise BadInput(
                f"pair list {path}: row {number + 1} has {len(row)} fields and the head "
                f"{len(head)}; fetch it again"
            )
    return rows


def last_parts(name: str, count: int, *, where: str) -> str:
    """Return the last parts of a picture's name without its suffix: its image key.

    What stands before differs between the published lists: "PF-WILLOW/", "PF-dataset/".

    Raises:
        BadInput: If the name leaves its folder or has fewer parts.
    """
    plain = inside(Path(), normal(name.strip()), where=where).parts
    if len(plain) < count:
        raise BadInput(f"{where}: picture {name!r} is not in a folder; correct it there")
    return without_suffix("/".join(plain[-count:]))


def numbers(fields: Sequence[str], *, where: str) -> NDArray[np.float64]:
    """Return fields as numbers.

    Raises:
        BadInput: If one of them is none.
    """
    try:
        return np.array([float(field) for field in fields])
    except ValueError as error:
        raise BadInput(f"{where}: {error}; correct it there or fetch the list again") from None


def pair_name(number: int, source: str, target: str, category: str) -> str:
    """Return a pair's id in SPair-71k's manner: "000012-2008_006579-2008_004280:bicycle"."""
    stems = f"{PurePosixPath(source).name}-{PurePosixPath(target).name}"
    return f"{number:06d}-{stems}:{category}"


def row_names(path: Path, rows: Sequence[object]) -> list[str]:
    """Return, for messages, where each row stands."""
    return [f"pair list {path}: row {number + 1}" for number in range(len(rows))]
