"""Matrices of numbers out of foreign MATLAB files, versions 5 to 7.

A file is a head of 128 bytes and a row of elements; each has a tag that tells its type and
length, and may be compressed. A matrix is an element that holds four others: flags, dimensions,
name and numbers ("MAT-File Level 5 File Format", The MathWorks). SciPy reads such files too, but
a few wrong bytes make its reader (1.17) crash the whole process, and these files are foreign.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spairc.types import BadInput

_HEAD = 128  # bytes; the last two tell the byte order
_ORDERS = {b"IM": "<", b"MI": ">"}
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {  # element type -> numpy's name for it
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
_CLASSES = range(6, 16)  # of matrices: double, single and whole numbers; neither text nor cells
_COMPLEX = 1 << 11  # a flag
_LARGEST = 1 << 26  # bytes of one variable; what a decompression may make


def read_matrix(path: Path, name: str, *, height: int | None, width: int) -> NDArray[np.float64]:
    """Return the matrix of this name; entries may be NaN.

    Args:
        path: A .mat file.
        name: The variable in it.
        height: Its number of rows; None is any.
        width: Its number of columns.

    Raises:
        BadInput: If the file is missing or damaged, or holds no such matrix of numbers.
    """
    if not path.is_file():
        raise BadInput(f"annotation {path} is missing; add it or fetch the dataset again")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"annotation {path} cannot be read ({error.strerror}); check it") from error
    try:
        matrix = _find(content, name)
    except (ValueError, struct.error, zlib.error) as error:
        raise BadInput(f"annotation {path} is damaged ({error}); fetch it again") from error
    if matrix is None:
        raise BadInput(f"annotation {path} holds no matrix {name}; fetch it again")
    rows, columns = matrix.shape
    if columns != width or height not in (None, rows):
        raise BadInput(
            f"annotation {path}: {name} is {rows} x {columns}, not {height or 'any'} x {width}; "
            f"fetch it again"
        )
    return matrix


def _find(content: bytes, name: str) -> NDArray[np.float64] | None:
    """Return the matrix of this name, if the file has one."""
    order = _ORDERS.get(content[_HEAD - 2 : _HEAD])
    if order is None:
        raise ValueError("no MATLAB file of version 5 to 7")
    for kind, data in _elements(content[_HEAD:], order):
        if kind == _COMPRESSED:
            inner = zlib.decompressobj().decompress(data, _LARGEST)
            kind, data = next(_elements(inner, order, whole=False), (0, b""))  # noqa: PLW2901
        if kind == _MATRIX:
            found = _matrix(data, order, name)
            if found is not None:
                return found
    return None


def _elements(content: bytes, order: str, *, whole: bool = True) -> Iterator[tuple[int, bytes]]:
    """Yield type and data of the elements that stand one behind the other.

    Args:
        content: The elements.
        order: "<" or ">", as `struct` has it.
        whole: An element that is cut short is an error.
    """
    place = 0
    while place < len(content):
        tag, length = struct.unpack_from(f"{order}II", content, place)
        start = place + 8
        if tag >> 16:  # a small element: its length and up to four bytes stand in the tag
            tag, length, start = tag & 0xFFFF, tag >> 16, place + 4
        data = content[start : start + length]
        if whole and len(data) < length:
            raise ValueError(f"an element of {length} bytes is cut short")
        yield tag, data
        padding = 0 if tag == _COMPRESSED else -(start + length) % 8
        place = start + length + padding


def _matrix(data: bytes, order: str, name: str) -> NDArray[np.float64] | None:
    """Return the numbers of a matrix element, if it is of this name and has two dimensions."""
    elements = _elements(data, order, whole=False)  # one that is not wanted may be cut short
    flags, dimensions, given = (next(elements, (0, b""))[1] for _ in range(3))
    if given != name.encode():
        return None
    (flag,) = struct.unpack_from(f"{order}I", flags)
    if flag & 0xFF not in _CLASSES or flag & _COMPLEX:
        return None
    shape = np.frombuffer(dimensions, f"{order}i4").tolist()
    kind, content = next(elements, (0, b""))
    if kind not in _NUMBERS:
        raise ValueError(f"elements of type {kind} are no numbers")
    numbers = np.frombuffer(content, f"{order}{_NUMBERS[kind]}")
    if len(shape) != 2 or min(shape) < 0 or math.prod(shape) != len(numbers):  # noqa: PLR2004
        raise ValueError(f"{len(numbers)} numbers make no matrix of {shape}")
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
        return numbers.astype(np.float64).reshape(shape, order="F")
