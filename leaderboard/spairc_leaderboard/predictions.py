"""The answers of an entry as Parquet: 16 files, one for `clean` and one for each corruption.

    severity  int8     0 for clean, else 1 to 5; one row group each, in this order
    pair      int32    position in the pair list
    point     int16    position in the pair
    x, y      float32  original pixels of the target

Rows stand in the order of the pair list: every pair once, every point of it once. Nothing else is
accepted, and all sizes are known from the pair list, so a file is refused by its size and its
footer before a single value is read; `parquet_worker` keeps a hostile one at bay.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spairc.files import written_whole
from spairc.pairs import PairTable
from spairc.spec import CONDITIONS
from spairc.types import BadInput, Condition, Points
from spairc_leaderboard.parquet_reader import Columns, read_columns
from spairc_leaderboard.parquet_worker import SCHEMA
from spairc_leaderboard.repository import check_file

ROW_BYTES = 15  # of a row as it is, before any compression
SPARE_BYTES = 256 * 1024  # for footer, page headers, and encodings that make a column longer


def file_name(condition: Condition) -> str:
    """Return which file a condition's answers are in, without its suffix."""
    return condition.corruption or "clean"


def conditions_of(name: str) -> tuple[Condition, ...]:
    """Return the conditions of a file, in the order of its row groups."""
    return tuple(each for each in CONDITIONS if file_name(each) == name)


def largest_file(points: int) -> int:
    """Return how many bytes a file of five severities may have.

    Args:
        points: Of the pair list.
    """
    return 5 * points * ROW_BYTES + SPARE_BYTES


def digest_of(found: Points) -> str:
    """Return the digest of one cell's answers."""
    return hashlib.sha256(np.ascontiguousarray(found, dtype="<f4").data).hexdigest()


def write_answers(path: Path, pairs: PairTable, found: Sequence[tuple[Condition, Points]]) -> None:
    """Write one file, whole or not at all; the same answers give the same bytes.

    Args:
        path: The file.
        pairs: What was asked.
        found: (P, 2) answers for each condition of the file, in order.

    Raises:
        BadInput: If there is no space or no permission.
    """
    point = np.arange(len(pairs.pair_of_point)) - pairs.first_point[pairs.pair_of_point]
    with (
        written_whole(path) as temporary,
        # No Arrow schema in the footer: types follow from Parquet's own, so nothing is trusted.
        pq.ParquetWriter(temporary, SCHEMA, compression="zstd", store_schema=False) as writer,
    ):
        for condition, places in found:
            columns = (
                np.full(len(places), condition.severity, dtype=np.int8),
                pairs.pair_of_point.astype(np.int32),
                point.astype(np.int16),
                np.ascontiguousarray(places[:, 0], dtype=np.float32),
                np.ascontiguousarray(places[:, 1], dtype=np.float32),
            )
            table = pa.table([pa.array(each) for each in columns], schema=SCHEMA)
            writer.write_table(table, row_group_size=max(1, len(places)))


def read_answers(path: Path, pairs: PairTable) -> Iterator[tuple[Condition, Points]]:
    """Yield the answers of each condition of a file that somebody sent, after every check.

    Args:
        path: The file; its name says which corruption it is of.
        pairs: The truth.

    Yields:
        A condition and its (P, 2) float64 answers.

    Raises:
        BadInput: If the file is too large, damaged, or not exactly what `write_answers` writes; or
            a pair is missing or there twice, or an answer is not finite: cell and pair are named.
    """
    points, conditions = len(pairs.source_points), conditions_of(path.stem)
    largest = largest_file(points)
    check_file(path, largest)
    found = read_columns(path, groups=len(conditions), points=points, largest=largest)
    for condition, columns in zip(conditions, found, strict=True):
        _check_rows(columns, pairs, condition)
        yield condition, _points(columns, pairs, condition)


def _check_rows(columns: Columns, pairs: PairTable, condition: Condition) -> None:
    """Check that every pair and every point is there once, in the order of the list."""
    if np.any(columns["severity"] != condition.severity):
        raise BadInput(f"{condition}: a row is of another severity")
    asked = pairs.pair_of_point
    if not np.array_equal(columns["pair"], asked):
        raise BadInput(f"{condition}: {_what_is_wrong(columns['pair'], pairs)}")
    point = np.arange(len(asked)) - pairs.first_point[asked]
    if not np.array_equal(columns["point"], point):
        row = int(np.flatnonzero(columns["point"] != point)[0])
        raise BadInput(f"{condition}, pair {asked[row]}: its points are not there once, in order")


def _what_is_wrong(given: NDArray[np.generic], pairs: PairTable) -> str:
    """Return how a column of pairs differs from the list."""
    numbers = given.astype(np.int64)
    known = (numbers >= 0) & (numbers < len(pairs))
    if not known.all():
        return f"pair {numbers[~known][0]} does not exist; the list has {len(pairs)}"
    times = np.bincount(numbers, minlength=len(pairs))
    for what, odd in (("missing", times == 0), ("there twice", times > pairs.counts)):
        if odd.any():
            return f"pair {np.flatnonzero(odd)[0]} is {what}"
    if np.any(times < pairs.counts):
        return f"pair {np.flatnonzero(times < pairs.counts)[0]} lacks points"
    return "the pairs are not in the order of the list"


def _points(columns: Columns, pairs: PairTable, condition: Condition) -> Points:
    """Return the answers, all finite."""
    found = np.stack([columns["x"], columns["y"]], axis=1).astype(np.float64)
    odd = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(odd):
        raise BadInput(
            f"{condition}, pair {pairs.pair_of_point[odd[0]]}: an answer is not finite; "
            f"{len(odd)} such points"
        )
    return found
