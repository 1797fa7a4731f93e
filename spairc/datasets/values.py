"""Numbers and names out of foreign JSON: of the right kind, or BadInput that names the file."""

import gc
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from spairc.types import BadInput, Box, Points, Size

_PLAIN = frozenset({int, float})  # bool is an int to Python, but no coordinate
_PIECE = 1 << 16  # bytes; an annotation of a pair has about two thousand
_ADVICE = "correct it or fetch the dataset again"


def read_record(path: Path | str) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        BadInput: If the file is missing, cannot be read or holds no JSON object.
    """
    try:
        record = json.loads(_bytes(path))
    except OSError as error:
        raise BadInput(f"annotation {path} cannot be read ({error.strerror}); add it") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"annotation {path} is no JSON ({error}); {_ADVICE}") from error
    if not isinstance(record, dict):
        raise BadInput(f"annotation {path} is no JSON object; {_ADVICE}")
    return record


def _bytes(path: Path | str) -> bytes:
    """Return what a file holds; half the time of `open`, as 12,234 of them are read."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        parts = [os.read(handle, _PIECE)]
        while len(parts[-1]) == _PIECE:
            parts.append(os.read(handle, _PIECE))
    finally:
        os.close(handle)
    return b"".join(parts)


@contextmanager
def many_objects() -> Iterator[None]:
    """Hold Python's search for circular garbage while the block makes objects that are all kept.

    It would look through everything that is loaded, again and again: a third of the time of
    parsing 12,234 annotations beside torch.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def text(record: Mapping[str, Any], name: str) -> str:
    """Return an entry that is text."""
    value = _entry(record, name)
    if type(value) is not str:
        raise BadInput(f"{name} is {_shown(value)}, not text")
    return value


def whole(record: Mapping[str, Any], name: str, choices: Collection[int]) -> int:
    """Return an entry that is one of these whole numbers."""
    value = _entry(record, name)
    if type(value) is not int or value not in choices:
        raise BadInput(f"{name} is {_shown(value)}, not one of {', '.join(map(str, choices))}")
    return value


def points(record: Mapping[str, Any], name: str) -> Points:
    """Return (N, 2) points from an entry that lists at least one [x, y]; NaN passes."""
    rows = _listed(_entry(record, name), name)
    if not rows:
        raise BadInput(f"{name} has no points")
    if set(map(type, rows)) != {list} or set(map(len, rows)) != {2}:
        raise BadInput(f"{name} is {_shown(rows)}, not a list of [x, y]")
    return np.array(_numbers([*chain.from_iterable(rows)], name)).reshape(-1, 2)


def box(record: Mapping[str, Any], name: str) -> Box:
    """Return an entry that lists left, top, right and bottom; NaN passes."""
    row = _listed(_entry(record, name), name)
    if len(row) != len(Box._fields):
        raise BadInput(f"{name} is {_shown(row)}, not left, top, right, bottom")
    return Box(*_numbers(row, name))


def size(record: Mapping[str, Any], name: str) -> Size:
    """Return width and height from an entry that lists width, height and depth."""
    row = _listed(_entry(record, name), name)
    width, height, _ = row if len(row) == len(("width", "height", "depth")) else (None, None, None)
    return checked_size(width, height, name)


def checked_size(width: Any, height: Any, name: str) -> Size:
    """Return a size, if it is one that a picture can have."""
    if not all(type(side) is int and 0 < side < 1 << 31 for side in (width, height)):
        raise BadInput(f"{name} is {_shown([width, height])}, not width and height in pixels")
    return Size(width, height)


def _entry(record: Mapping[str, Any], name: str) -> Any:
    """Return what stands under a name."""
    if name not in record:
        raise BadInput(f"{name} is missing")
    return record[name]


def _listed(value: Any, name: str) -> list[Any]:
    """Return a value that is a list."""
    if type(value) is not list:
        raise BadInput(f"{name} is {_shown(value)}, not a list")
    return value


def _numbers(row: list[Any], name: str) -> list[float]:
    """Return a list of numbers as floats."""
    if not _PLAIN.issuperset(map(type, row)):
        raise BadInput(f"{name} holds {_shown(row)}, not numbers alone")
    try:
        return [*map(float, row)]
    except OverflowError:
        raise BadInput(f"{name} holds a number of {_shown(row)} beyond any picture") from None


def _shown(value: Any) -> str:
    """Return a value as JSON, cut to what a line of a message can hold."""
    written = json.dumps(value)
    return written if len(written) <= 40 else f"{written[:37]}..."  # noqa: PLR2004 -- characters
