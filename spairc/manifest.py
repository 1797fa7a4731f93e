"""What a built set consists of: its record, its manifest, and whether the files still agree."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from spairc.files import inside, write_text, written_whole
from spairc.types import BadInput, Condition

SCHEMA = 1
MANIFEST, RECORD, PARTS = "manifest.parquet", "build.json", ".parts"


@dataclass(frozen=True, kw_only=True)
class BuildRecord:
    """What a folder is made of; a folder of another record is never written into."""

    schema: int = SCHEMA
    spec: str
    package: str  # version of spairc
    dataset: str
    split: str
    layout: str
    pictures: str  # hash over the clean pictures' decoded pixels
    annotations: list[str]  # what each cell folder links to or copies from the dataset
    format: str = "lossless"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file of a built set, as the manifest has it."""

    path: str  # below the folder, "/" between its parts
    key: str  # image key
    corruption: str
    severity: int
    bytes: int
    sha256: str  # of the file
    pixels: str  # SHA-256 of the decoded pixels
    source: str  # SHA-256 of the clean picture's decoded pixels


@dataclass(frozen=True)
class Fault:
    """A file that is not as the manifest says."""

    path: str
    what: str  # "missing", "changed", "extra"

    def __str__(self) -> str:
        return f"{self.what}: {self.path}"


def cell_folder(condition: Condition) -> str:
    """Return where the pictures of a condition stand below a built set."""
    return f"{condition.corruption}/{condition.severity}"


def write_record(folder: Path, record: BuildRecord) -> None:
    """Write what the folder is made of.

    Raises:
        BadInput: If there is no space or no permission.
    """
    write_text(folder / RECORD, json.dumps(asdict(record), indent=2, ensure_ascii=False) + "\n")


def read_record(folder: Path) -> BuildRecord:
    """Return what a built folder is made of.

    Raises:
        BadInput: If there is no record, or it is damaged or of another schema.
    """
    path = folder / RECORD
    try:
        record = BuildRecord(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        raise BadInput(f"{folder} is no built set: it has no {RECORD}; run spairc build") from None
    except (ValueError, TypeError) as error:
        raise BadInput(f"{path} is damaged ({error}); build into another folder") from error
    if record.schema != SCHEMA:
        raise BadInput(f"{path}: this version of spairc reads schema {SCHEMA} only")
    return record


def write_entries(path: Path, entries: Iterable[Entry]) -> None:
    """Write entries as Parquet, whole or not at all.

    Raises:
        BadInput: If there is no space or no permission.
    """
    types: dict[object, pa.DataType] = {int: pa.int64(), str: pa.string()}
    schema = pa.schema([(field.name, types[field.type]) for field in fields(Entry)])
    table = pa.Table.from_pylist([asdict(entry) for entry in entries], schema=schema)
    with written_whole(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_entries(path: Path) -> list[Entry]:
    """Return the entries that `write_entries` wrote.

    Raises:
        BadInput: If the file is missing or damaged.
    """
    try:
        rows = pq.read_table(path, columns=[field.name for field in fields(Entry)]).to_pylist()
    except (FileNotFoundError, NotADirectoryError):
        raise BadInput(f"{path} is missing; run spairc build to complete the set") from None
    except (pa.ArrowException, ValueError, OSError) as error:
        raise BadInput(f"{path} is damaged ({error}); remove it, run spairc build") from error
    return [Entry(**row) for row in rows]


def known_entries(folder: Path) -> dict[str, Entry]:
    """Return by path what a set already has: its manifest, and parts of an unfinished build.

    Files that are gone or have another size are not among them.

    Raises:
        BadInput: If the manifest or a part is damaged.
    """
    sources = [folder / MANIFEST, *sorted((folder / PARTS).glob("[!.]*.parquet"))]
    entries = [entry for path in sources if path.is_file() for entry in read_entries(path)]
    return {entry.path: entry for entry in entries if _size(folder, entry) == entry.bytes}


def verify(folder: Path) -> list[Fault]:
    """Return every file that is missing, changed or extra; an empty list means all is well.

    Raises:
        BadInput: If the folder is no built set, or its manifest is missing or damaged.
    """
    record = read_record(folder)
    entries = {entry.path: entry for entry in read_entries(folder / MANIFEST)}
    faults = [fault for entry in entries.values() if (fault := _fault(folder, entry))]
    extra = sorted(path for path in _files_in(folder, record) if path not in entries)
    return faults + [Fault(path, "extra") for path in extra]


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(folder: Path, entry: Entry) -> int | None:
    """Return the size of an entry's file; None if there is none."""
    path = inside(folder, entry.path, where=folder / MANIFEST)
    return path.stat().st_size if path.is_file() else None


def _fault(folder: Path, entry: Entry) -> Fault | None:
    """Return what is wrong with a file, if anything is."""
    size = _size(folder, entry)
    if size is None:
        return Fault(entry.path, "missing")
    if size != entry.bytes or file_hash(folder / entry.path) != entry.sha256:
        return Fault(entry.path, "changed")
    return None


def _files_in(folder: Path, record: BuildRecord) -> Iterator[str]:
    """Yield every file below the folder but its own records and the dataset's annotations."""
    own, annotations = {RECORD, MANIFEST, PARTS}, set(record.annotations)

    def hidden(parts: Sequence[str]) -> bool:
        below_cell = "/".join(parts[2:])  # corruption / severity / ...
        return below_cell in annotations if below_cell else parts[0] in own

    for place, folders, names in os.walk(folder):  # links to folders are not followed
        parts = Path(place).relative_to(folder).parts
        folders[:] = [name for name in folders if not hidden((*parts, name))]
        yield from ("/".join((*parts, name)) for name in names if not hidden((*parts, name)))
