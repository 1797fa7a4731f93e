"""A list of pairs as columns: 12,234 pairs load, hash and score without 12,234 objects."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spairc.files import written_whole
from spairc.types import EXCHANGED, BadInput, Box, Pair, Points, Size, Variation

_TRUNCATION, _OCCLUSION = (Variation._fields.index(each) for each in ("truncation", "occlusion"))


@dataclass(frozen=True, eq=False)
class PairTable(Sequence[Pair]):
    """Pairs in the order of their list; N pairs that hold P points between them.

    It is a sequence of `Pair`; slices and `select` give tables.
    """

    ids: NDArray[np.str_]  # (N,)
    categories: NDArray[np.str_]  # (N,)
    sources: NDArray[np.str_]  # (N,) image keys
    targets: NDArray[np.str_]  # (N,) image keys
    first_point: NDArray[np.int64]  # (N + 1,) pair i has rows first_point[i]:first_point[i + 1]
    source_points: Points  # (P, 2)
    target_points: Points  # (P, 2)
    source_boxes: NDArray[np.float64]  # (N, 4) left, top, right, bottom
    target_boxes: NDArray[np.float64]  # (N, 4)
    source_sizes: NDArray[np.int64]  # (N, 2) width, height
    target_sizes: NDArray[np.int64]  # (N, 2)
    variations: NDArray[np.int8]  # (N, 4) viewpoint, scale, truncation, occlusion; -1 unknown

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> "PairTable": ...
    def __getitem__(self, index: int | slice) -> "Pair | PairTable":
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        position = range(len(self))[index]
        rows = slice(self.first_point[position], self.first_point[position + 1])
        return Pair(
            id=str(self.ids[position]),
            category=str(self.categories[position]),
            source=str(self.sources[position]),
            target=str(self.targets[position]),
            source_points=self.source_points[rows],
            target_points=self.target_points[rows],
            source_box=Box(*self.source_boxes[position].tolist()),
            target_box=Box(*self.target_boxes[position].tolist()),
            source_size=Size(*self.source_sizes[position].tolist()),
            target_size=Size(*self.target_sizes[position].tolist()),
            variation=Variation(*self.variations[position].tolist()),
        )

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(N,) how many points each pair has."""
        return np.diff(self.first_point)

    @cached_property
    def pair_of_point(self) -> NDArray[np.int64]:
        """(P,) which pair each point belongs to."""
        return np.repeat(np.arange(len(self)), self.counts)

    @cached_property
    def image_keys(self) -> tuple[str, ...]:
        """All pictures that the pairs need, sorted."""
        return tuple(np.union1d(self.sources, self.targets).tolist())

    @cached_property
    def hash(self) -> str:
        """The list's identity: SHA-256 over every column, in order."""
        digest = hashlib.sha256()
        for field in fields(self):
            column = getattr(self, field.name)
            if column.dtype.kind == "U":
                digest.update("\n".join(column.tolist()).encode())
            else:
                kind = "<f8" if column.dtype.kind == "f" else "<i8"
                digest.update(np.ascontiguousarray(column, dtype=kind).data)
            digest.update(b"\0")
        return digest.hexdigest()

    def rows(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of the point columns that belong to the pairs at these positions."""
        counts = self.counts[positions]
        starts = np.repeat(self.first_point[positions] - np.cumsum(counts) + counts, counts)
        return starts + np.arange(counts.sum())

    def select(self, positions: NDArray[np.int64]) -> "PairTable":
        """Return the pairs at these positions, in this order."""
        rows = self.rows(positions)
        columns = {
            field.name: getattr(self, field.name)[positions]
            for field in fields(self)
            if field.name not in ("first_point", "source_points", "target_points")
        }
        return PairTable(
            **columns,
            first_point=np.concatenate([[0], np.cumsum(self.counts[positions])]),
            source_points=self.source_points[rows],
            target_points=self.target_points[rows],
        )

    def swapped(self) -> "PairTable":
        """Return every pair asked the other way round, in the same order."""
        variations = self.variations.copy()
        exchanged = np.array(EXCHANGED, dtype=np.int8)
        for factor in (_TRUNCATION, _OCCLUSION):
            variations[:, factor] = exchanged[variations[:, factor]]
        return replace(
            self,
            sources=self.targets,
            targets=self.sources,
            source_points=self.target_points,
            target_points=self.source_points,
            source_boxes=self.target_boxes,
            target_boxes=self.source_boxes,
            source_sizes=self.target_sizes,
            target_sizes=self.source_sizes,
            variations=variations,
        )


def table_of(pairs: Sequence[Pair]) -> PairTable:
    """Return the pairs as columns.

    Raises:
        BadInput: If there are no pairs.
    """
    if not pairs:
        raise BadInput("no pairs")
    counts = [len(pair.source_points) for pair in pairs]
    return PairTable(
        ids=np.array([pair.id for pair in pairs]),
        categories=np.array([pair.category for pair in pairs]),
        sources=np.array([pair.source for pair in pairs]),
        targets=np.array([pair.target for pair in pairs]),
        first_point=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        source_points=np.concatenate([pair.source_points for pair in pairs]).astype(np.float64),
        target_points=np.concatenate([pair.target_points for pair in pairs]).astype(np.float64),
        source_boxes=np.array([pair.source_box for pair in pairs], dtype=np.float64),
        target_boxes=np.array([pair.target_box for pair in pairs], dtype=np.float64),
        source_sizes=np.array([pair.source_size for pair in pairs], dtype=np.int64),
        target_sizes=np.array([pair.target_size for pair in pairs], dtype=np.int64),
        variations=np.array([pair.variation for pair in pairs], dtype=np.int8),
    )


def write_pairs(path: Path, table: PairTable) -> None:
    """Write the list as Parquet, one row a pair, whole or not at all.

    Raises:
        BadInput: If there is no space or no permission.
    """
    columns: dict[str, object] = {}
    for field in fields(table):
        column = getattr(table, field.name)
        if field.name == "first_point":
            columns["points"] = table.counts
        elif field.name in ("source_points", "target_points"):
            flat = pa.array(column.ravel())
            columns[field.name] = pa.ListArray.from_arrays(
                pa.array(2 * table.first_point, pa.int32()), flat
            )
        elif column.ndim > 1:
            flat = pa.array(column.ravel())
            columns[field.name] = pa.FixedSizeListArray.from_arrays(flat, column.shape[1])
        else:
            columns[field.name] = pa.array(column.tolist())
    with written_whole(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def read_pairs(path: Path) -> PairTable:
    """Return the list that `write_pairs` wrote.

    Raises:
        BadInput: If the file is missing or is not such a list.
    """
    try:
        table = pq.read_table(path).combine_chunks()
        return _from_arrow(table)
    except FileNotFoundError:
        raise BadInput(f"pair list {path} is missing") from None
    except (KeyError, TypeError, ValueError, OSError, pa.ArrowException) as error:
        raise BadInput(f"{path} is no pair list ({error}); make it again") from error


def _from_arrow(table: pa.Table) -> PairTable:
    """Return the columns of an Arrow table that `write_pairs` made."""
    counts = np.asarray(table["points"].to_numpy(), dtype=np.int64)
    return PairTable(
        ids=np.array(table["ids"].to_pylist(), dtype=np.str_),
        categories=np.array(table["categories"].to_pylist(), dtype=np.str_),
        sources=np.array(table["sources"].to_pylist(), dtype=np.str_),
        targets=np.array(table["targets"].to_pylist(), dtype=np.str_),
        first_point=np.concatenate([[0], np.cumsum(counts)]),
        source_points=_flat(table["source_points"]).reshape(int(counts.sum()), 2),
        target_points=_flat(table["target_points"]).reshape(int(counts.sum()), 2),
        source_boxes=_flat(table["source_boxes"]).reshape(-1, 4),
        target_boxes=_flat(table["target_boxes"]).reshape(-1, 4),
        source_sizes=_flat(table["source_sizes"]).reshape(-1, 2).astype(np.int64),
        target_sizes=_flat(table["target_sizes"]).reshape(-1, 2).astype(np.int64),
        variations=_flat(table["variations"]).reshape(-1, 4).astype(np.int8),
    )


def _flat(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return a column of lists as one flat array."""
    return np.asarray(column.combine_chunks().flatten().to_numpy(), dtype=np.float64)
