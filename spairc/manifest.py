"""What a built set consists of: its record, its manifest, and whether the files still agree.

A picture's identity is the hash of its pixels. Files that differ may hold the same pixels; or
pixels that differ by one grey level, as those of another decoder of the clean picture do.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spairc.codecs import format_of
from spairc.corruptions import corrupt
from spairc.engine import Engine, Here, run_units
from spairc.files import inside, write_text, written_whole
from spairc.images import decode_image, pixel_hash, read_image
from spairc.types import BadInput, Condition, Image

SCHEMA = 1
MANIFEST, RECORD, CARD, PARTS = "manifest.parquet", "build.json", "README.md", ".parts"
LOCK = ".lock"  # of a whole build; those of shards have names that begin so
SAME, NEAR, DIFFERENT = "same pixels, other container", "within one grey level", "different"
UNKNOWN = "other pixels; give --root, the clean pictures, to learn by how much"
FILES_PER_UNIT = 50  # of `verify`: a third of a second
Watch = Callable[[int], object]


@dataclass(frozen=True, kw_only=True)
class BuildRecord:
    """What a folder is made of; a folder of another record is never written into."""

    schema: int = SCHEMA
    spec: str
    dataset: str
    split: str
    layout: str
    annotations: list[str]  # what each cell folder links to or copies from the dataset
    format: str  # "png", "webp", or a lossy one with its quality
    suffix: str  # of the pictures' names; "" where they are as annotated


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
    mean: float  # of all pixel values
    deviation: float  # their standard deviation
    original: str  # the clean picture's path below the dataset
    source: str  # SHA-256 of the clean picture's decoded pixels
    spec: str
    package: str  # version of spairc
    format: str
    codec: str  # what encoded the file, with its version


@dataclass(frozen=True)
class Fault:
    """A file that is not as the manifest says."""

    path: str
    what: str  # "missing", "changed", "extra"
    how: str = ""  # of a changed one: how far its pixels are from what they should be

    def __str__(self) -> str:
        return f"{self.what}: {self.path}"


@dataclass(frozen=True)
class Original:
    """Where the clean pictures of a built set are."""

    folder: Path
    root: Path | None  # None: found by the links to the dataset's annotations, where there are any

    def clean(self, entry: Entry, record: BuildRecord) -> Image | None:
        """Return the picture that a file was made from; None if it is not there."""
        root = self.root or _linked_root(self.folder, entry, record)
        path = None if root is None else inside(root, entry.original, where=self.folder / MANIFEST)
        if path is None or not path.is_file():
            return None
        image = read_image(path)
        return image if pixel_hash(image) == entry.source else None

    def corrupted(self, entry: Entry, record: BuildRecord) -> Image | None:
        """Return the pixels that a file should have; None if the clean picture is not there."""
        clean, form = self.clean(entry, record), format_of(record.format)
        if clean is None or form is None:
            return None
        image = corrupt(clean, entry.corruption, severity=entry.severity, key=entry.key)
        if form.lossless:
            return image
        return decode_image(form.encode(image), self.folder / entry.path)


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
    except (ValueError, TypeError, RecursionError) as error:
        raise BadInput(f"{path} is damaged ({error}); build into another folder") from error
    if record.schema != SCHEMA:
        raise BadInput(f"{path}: this version of spairc reads schema {SCHEMA} only")
    return record


def write_entries(path: Path, entries: Iterable[Entry]) -> None:
    """Write entries as Parquet, whole or not at all.

    Raises:
        BadInput: If there is no space or no permission.
    """
    types: dict[object, pa.DataType] = {int: pa.int64(), str: pa.string(), float: pa.float64()}
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
        return [Entry(**row) for row in rows]
    except (FileNotFoundError, NotADirectoryError):
        raise BadInput(f"{path} is missing; run spairc build to complete the set") from None
    except (pa.ArrowException, ValueError, OSError, TypeError) as error:
        raise BadInput(f"{path} is damaged ({error}); remove it, run spairc build") from error


def part_files(folder: Path) -> list[Path]:
    """Return the files that tell what an unfinished build has made so far, the newest last."""
    found = (folder / PARTS).glob("[!.]*.parquet")
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))


def all_entries(folder: Path, parts: Iterable[Path]) -> dict[str, Entry]:
    """Return by path what the manifest and these parts tell of; none of it is looked at.

    Raises:
        BadInput: If the manifest or a part is damaged.
    """
    sources = [path for path in (folder / MANIFEST, *parts) if path.is_file()]
    return {entry.path: entry for path in sources for entry in read_entries(path)}


def known_entries(folder: Path) -> dict[str, Entry]:
    """Return by path what a set already has: its manifest, and parts of an unfinished build.

    Files that are gone or have another size are not among them.

    Raises:
        BadInput: If the manifest or a part is damaged.
    """
    entries = all_entries(folder, part_files(folder))
    return {path: each for path, each in entries.items() if _size(folder, each) == each.bytes}


def statistics(image: Image) -> tuple[float, float]:
    """Return mean and standard deviation of all values, from exact sums: the same everywhere."""
    number, total = image.size, int(sum(cv2.sumElems(image)))
    squares = int(cv2.norm(image, cv2.NORM_L2SQR))  # whole numbers below 2**53: exact
    return total / number, math.sqrt(number * squares - total**2) / number


def verify(
    folder: Path,
    *,
    root: Path | None = None,
    engine: Engine | None = None,
    watch: Watch = lambda _: None,
) -> list[Fault]:
    """Return every file that is missing, changed or extra; an empty list means all is well.

    Of a changed file `how` tells whether its pixels are the same, within one grey level, or
    different, by corrupting the clean picture again.

    Args:
        folder: The built set.
        root: The dataset, for the clean pictures; found by itself where annotations are linked.
        engine: Where files are hashed; in this process if not given.
        watch: Called with the number of files that were looked at since the last call.

    Raises:
        BadInput: If the folder is no built set, or its manifest is missing or damaged.
    """
    record = read_record(folder)
    entries = read_entries(folder / MANIFEST)
    faults = faults_of(folder, entries, root=root, engine=engine or Here(), watch=watch)
    listed = {entry.path for entry in entries}
    extra = sorted(path for path in _files_in(folder, record) if path not in listed)
    return faults + [Fault(path, "extra") for path in extra]


def faults_of(
    folder: Path,
    entries: Sequence[Entry],
    *,
    root: Path | None,
    engine: Engine,
    watch: Watch = lambda _: None,
) -> list[Fault]:
    """Return the files among these that are missing or changed, in the order of their paths.

    Raises:
        BadInput: If an entry leaves the folder.
    """
    record, original = read_record(folder), Original(folder, root)
    starts = range(0, len(entries), FILES_PER_UNIT)
    units = [entries[start : start + FILES_PER_UNIT] for start in starts]
    make = partial(_make_judge, record, original)
    faults: list[Fault] = []
    with closing(run_units(units, make, engine)) as results:
        for looked_at, found in results:
            faults += found
            watch(looked_at)
    return sorted(faults, key=lambda fault: fault.path)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def distance(one: Image, other: Image) -> str:
    """Return how far two pictures are from one another, in words."""
    if one.shape != other.shape:
        return DIFFERENT
    return NEAR if np.abs(one.astype(np.int16) - other).max() <= 1 else DIFFERENT


def _make_judge(
    record: BuildRecord, original: Original
) -> Callable[[Sequence[Entry]], tuple[int, list[Fault]]]:
    """Return what tells how many files it looked at, and what is wrong with them."""

    def judge(entries: Sequence[Entry]) -> tuple[int, list[Fault]]:
        faults = [_fault(record, original, entry) for entry in entries]
        return len(entries), [fault for fault in faults if fault]

    return judge


def _fault(record: BuildRecord, original: Original, entry: Entry) -> Fault | None:
    """Return what is wrong with a file, if anything is."""
    size = _size(original.folder, entry)
    if size is None:
        return Fault(entry.path, "missing")
    path = original.folder / entry.path
    if size == entry.bytes and file_hash(path) == entry.sha256:
        return None
    try:
        image = read_image(path)
    except BadInput as error:
        return Fault(entry.path, "changed", f"{DIFFERENT}: {error}")
    if pixel_hash(image) == entry.pixels:
        return Fault(entry.path, "changed", SAME)
    expected = original.corrupted(entry, record)
    if expected is None:
        return Fault(entry.path, "changed", UNKNOWN)
    return Fault(entry.path, "changed", distance(image, expected))


def _linked_root(folder: Path, entry: Entry, record: BuildRecord) -> Path | None:
    """Return the dataset that the links in an entry's cell lead to, if there are any."""
    for name in record.annotations:
        link = folder / entry.corruption / str(entry.severity) / name
        if link.is_symlink() and link.exists():
            return link.resolve().parents[name.count("/")]
    return None


def _size(folder: Path, entry: Entry) -> int | None:
    """Return the size of an entry's file; None if there is none."""
    path = inside(folder, entry.path, where=folder / MANIFEST)
    return path.stat().st_size if path.is_file() else None


def _files_in(folder: Path, record: BuildRecord) -> Iterator[str]:
    """Yield every file below the folder but its own records and the dataset's annotations."""
    own, annotations = {RECORD, MANIFEST, PARTS, CARD, LOCK}, set(record.annotations)

    def hidden(parts: Sequence[str]) -> bool:
        below_cell = "/".join(parts[2:])  # corruption / severity / ...
        if below_cell:
            return below_cell in annotations
        return parts[0] in own or parts[0].startswith(f"{LOCK}-")

    for place, folders, names in os.walk(folder):  # links to folders are not followed
        parts = Path(place).relative_to(folder).parts
        folders[:] = [name for name in folders if not hidden((*parts, name))]
        yield from ("/".join((*parts, name)) for name in names if not hidden((*parts, name)))
