"""A process of its own that reads the Parquet files of strangers.

The Parquet library ends the whole process over some damaged footers, and a small file can ask for a
lot of memory. So it runs here, with bounded memory, on one file at a time, and hands back plain
numbers: `out` holds the columns of each row group one after the other, nothing else. Run by
`spairc_leaderboard.parquet_reader`; a line of JSON in, a line of text out.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

MEMORY = 4 * 1024**3  # bytes of addresses; the largest list needs a fraction
COLUMNS = {"severity": "<i1", "pair": "<i4", "point": "<i2", "x": "<f4", "y": "<f4"}
SCHEMA = pa.schema(
    {
        "severity": pa.int8(),
        "pair": pa.int32(),
        "point": pa.int16(),
        "x": pa.float32(),
        "y": pa.float32(),
    }
)
FOOTER_LIMITS = {"thrift_string_size_limit": 100_000, "thrift_container_size_limit": 10_000}
FINE = "fine"


class NotAsWrittenError(ValueError):
    """A file that is readable, and not what an entry's file must be."""


def main() -> None:
    """Answer requests until there are no more."""
    _limit_memory()
    for line in sys.stdin:
        request = json.loads(line)
        answer = _answer(**request)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _answer(path: str, out: str, groups: int, points: int, largest: int) -> str:
    """Return "fine" after writing the columns, or what is wrong with the file."""
    try:
        with pq.ParquetFile(path, **FOOTER_LIMITS) as file, Path(out).open("wb") as plain:
            _check_footer(file, groups, points, largest)
            plain.writelines(_columns(file, groups))
    except NotAsWrittenError as error:
        return str(error)
    except (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError) as error:
        return f"it is damaged ({type(error).__name__})"
    return FINE


def _check_footer(file: pq.ParquetFile, groups: int, points: int, largest: int) -> None:
    """Check what the file says of itself before anything of it is read."""
    found = file.schema_arrow
    if found.names != SCHEMA.names or found.types != SCHEMA.types:
        raise NotAsWrittenError(f"it has other columns than {', '.join(SCHEMA.names)}")
    if file.metadata.num_row_groups != groups:
        raise NotAsWrittenError(f"it has {file.metadata.num_row_groups} row groups; write {groups}")
    for number in range(groups):
        group = file.metadata.row_group(number)
        if group.num_rows != points:
            raise NotAsWrittenError(f"row group {number} has {group.num_rows} rows; write {points}")
        for column in range(group.num_columns):
            chunk = group.column(column)
            if chunk.num_values != points or not 0 <= chunk.total_uncompressed_size <= largest:
                raise NotAsWrittenError(f"row group {number} holds more values than rows")


def _columns(file: pq.ParquetFile, groups: int) -> Iterator[bytes]:
    """Yield each row group's columns as plain numbers."""
    for number in range(groups):
        table = file.read_row_group(number, use_threads=False)
        for name, kind in COLUMNS.items():
            if table[name].null_count:
                raise NotAsWrittenError(f"column {name} has rows without a value")
            yield np.ascontiguousarray(table[name].to_numpy(), dtype=kind).tobytes()


def _limit_memory() -> None:
    """Bound what a hostile file can take, where the system knows how."""
    with suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 -- not everywhere

        for limit, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0)):
            hard = resource.getrlimit(limit)[1]
            kept = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(limit, (kept, hard))


if __name__ == "__main__":
    main()
