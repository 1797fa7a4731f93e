"""Finding things below a dataset's folder, whatever unpacked it there."""

import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from spairc.files import inside
from spairc.types import BadInput

_SUFFIXES = frozenset({"jpg", "jpeg", "png", "bmp", "ppm", "tif", "tiff", "webp"})


def normal(name: str) -> str:
    """Return a name in Unicode NFC; file systems and unpackers differ over accents."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def without_suffix(name: str) -> str:
    """Return a file's path without its last suffix: an image key, once it is `normal`."""
    stem, _, suffix = name.rpartition(".")
    return name if "/" in suffix or not stem or stem.endswith("/") else stem


def home(root: Path, subfolders: Sequence[str], markers: Iterable[str]) -> Path | None:
    """Return the first of `root` and its `subfolders` that holds one of the markers, if any.

    Raises:
        BadInput: If `root` is missing, is no folder or may not be entered.
    """
    wanted = list(markers)
    try:
        if not root.is_dir():
            state = "is a file" if root.exists() else "does not exist"
            raise BadInput(f"dataset folder {root} {state}; give the folder that holds the dataset")
        for folder in (root, *(root / name for name in subfolders)):
            if any((folder / name).exists() for name in wanted):
                return folder
    except OSError as error:
        raise BadInput(f"dataset folder {root}: {error.strerror}; check the path") from error
    return None


def file_names(folder: Path) -> dict[str, str]:
    """Return the files of a folder: name in NFC -> name on disk.

    Raises:
        BadInput: If the folder is missing or cannot be read.
    """
    return {normal(entry.name): entry.name for entry in _entries(folder) if entry.is_file()}


def find_pictures(folder: Path) -> dict[str, str]:
    """Return the pictures in a folder and its subfolders: image key -> file name below `folder`.

    The key is the path without its suffix, in NFC: `car/2008_000033`.

    Raises:
        BadInput: If two files have one key, or the folder is missing or cannot be read.
    """
    found: dict[str, str] = {}
    for name in _picture_names(folder):
        key = normal(without_suffix(name))
        if key in found:
            raise BadInput(
                f"{folder}: {found[key]} and {name} have one image key, {key}; keep one of them"
            )
        found[key] = name
    return found


def needed_pictures(
    named: Mapping[str, str], found: Mapping[str, str], folder: Path
) -> dict[str, str]:
    """Return the entries of `found` that the pairs name.

    Args:
        named: Image key -> the annotation that names it.
        found: What `find_pictures` found.
        folder: Where it looked.

    Raises:
        BadInput: If a picture is missing, or its name leaves the folder.
    """
    for key in sorted(named):
        if key not in found:
            missing = f"{inside(folder, key, where=named[key])}.jpg"
            raise BadInput(f"{named[key]}: its picture {missing!r} is missing; add it there")
    return {key: found[key] for key in sorted(named)}


def _picture_names(folder: Path) -> Iterator[str]:
    """Yield the pictures in a folder and one level below, as paths relative to it."""
    for entry in _entries(folder):
        if entry.is_dir():
            names = [each for each in _entries(Path(entry.path)) if _is_picture(each)]
            yield from (f"{entry.name}/{each.name}" for each in names)
        elif _is_picture(entry):
            yield entry.name


def _is_picture(entry: os.DirEntry[str]) -> bool:
    """Tell by name and kind, unopened; "._" files are what macOS leaves in archives."""
    suffix = entry.name.rpartition(".")[2].lower()
    return suffix in _SUFFIXES and not entry.name.startswith("._") and entry.is_file()


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what stands in a folder, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise BadInput(f"folder {folder} cannot be read ({error.strerror}); check it") from error
