"""A parsed pair list is kept in the user's cache, so that the next opening is quick.

One Parquet file per list, in `cache_folder() / "index"`, never in the dataset. Its name is

    list - folder of the dataset - fingerprint of the files it was made from - its own content

so that it is found only while those files are as they were, and believed only while it is whole.
Pictures are looked for at every opening; the index does not speak of them.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from spairc.files import cache_folder
from spairc.pairs import PairTable, read_pairs, write_pairs
from spairc.types import BadInput

_SCHEMA = 1  # of the parsing; counts up when the same files give another list


def cached_table(
    name: str, root: Path, files: Sequence[str], parse: Callable[[], PairTable]
) -> PairTable:
    """Return `parse()`, or what it returned when these files were last read.

    A change of a file's name, size or times makes it be read again. A cache that is damaged or
    cannot be written is passed over without a word: it saves a second, no more.

    Args:
        name: Which list it is, in letters that a file name may have: "spair71k-test-large".
        root: The dataset's folder.
        files: All files that `parse` reads, below `root`, in a fixed order.
        parse: Reads them; its BadInput is passed on.

    Raises:
        BadInput: If one of the files is missing.
    """
    prefix = f"{name}-{_digest(str(root.resolve()).encode())}-"
    stem = f"{prefix}{_fingerprint(root, files)}-"
    folder = cache_folder() / "index"
    found = _read(folder, stem)
    if found is None:
        found = parse()
        with suppress(OSError, BadInput):
            _write(folder, prefix, stem, found)
    return found


def _digest(content: bytes) -> str:
    """Return a short name for some bytes."""
    return hashlib.blake2b(content, digest_size=12).hexdigest()


def _fingerprint(root: Path, files: Sequence[str]) -> str:
    """Return a short name for the state of the files."""
    lines = [f"schema {_SCHEMA}"]
    for name in files:
        path = f"{root}/{name}"  # strings: 12,234 paths in 25 ms, a fifth of what Path takes
        try:
            state = os.stat(path)  # noqa: PTH116 -- as above
        except OSError as error:
            raise BadInput(f"{path} cannot be read ({error.strerror}); add it there") from error
        # The change time tells of an edit that put size and modification time back.
        lines.append(f"{name}\0{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}")
    return _digest("\n".join(lines).encode(errors="surrogateescape"))


def _read(folder: Path, stem: str) -> PairTable | None:
    """Return the list from the cache, if it is there and whole."""
    try:
        for path in _entries(folder, stem):
            if path.stem == stem + _digest(path.read_bytes()):
                return read_pairs(path)
    except (OSError, BadInput):
        return None
    return None


def _write(folder: Path, prefix: str, stem: str, table: PairTable) -> None:
    """Put the list into the cache; remove what was there from earlier states of its files."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder) as temporary:
        new = Path(temporary) / "pairs.parquet"
        write_pairs(new, table)
        final = folder / f"{stem}{_digest(new.read_bytes())}.parquet"
        new.replace(final)
    for old in _entries(folder, prefix):
        if old != final:
            old.unlink(missing_ok=True)


def _entries(folder: Path, start: str) -> list[Path]:
    """Return the files of the cache whose names start like this."""
    with os.scandir(folder) as entries:
        return [folder / entry.name for entry in entries if entry.name.startswith(start)]
