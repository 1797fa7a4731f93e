"""Pictures of frost, and parts of them enlarged.

They come from the files inside the installed `imagecorruptions` package (Apache-2.0), which is
located but never imported: its code does not run with current libraries. Two of them are JPEG
files, which Pillow decodes.
"""

import hashlib
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spairc.draws.compiled import kernel
from spairc.images import read_image
from spairc.types import BadInput, Image, Size

# In the published order; a sixth exists, which the published programs never choose.
TEXTURES: dict[str, str] = {
    "frost1.png": "ff9f907860bd7a835d459e32f9d588062b7f61ee267343cc7222b56753a14755",
    "frost2.png": "fe211a89b336999c207a852ce05818d4545d0b57c5beadd824b4cc9d9a9b6137",
    "frost3.png": "2d0d50b4a9bb213f38b024ef7768731bb83cc08d2f26b5766bbc167cdfa0e504",
    "frost4.jpg": "3f8b91ca1a9fa7167b09e773da53f5ae60d0a1fd88f02a783f6e328a72887f6e",
    "frost5.jpg": "5fc6a19df4a429ba68abdcc8f8a4278d4c9f81c9ccafd2c92ab0c8cf8992ebd2",
}
_LARGEST_KEPT = 2_000_000  # pixels of an enlarged picture: 6 MB
_PACKAGE = "imagecorruptions"
_ADVICE = "run: pip install --force-reinstall 'imagecorruptions>=1.1.2'"
_SHARPNESS = -0.75  # the free parameter of cubic convolution (Keys, 1981); OpenCV's choice


class Place(NamedTuple):
    """A part of an enlarged picture."""

    size: Size  # of all of it, enlarged
    top: int  # the part's first row
    left: int  # the part's first column


@cache
def texture(number: int) -> Image:
    """Return one of the frost pictures, read-only.

    Raises:
        BadInput: If the package is missing, or holds other pictures than the published ones.
    """
    name, sha256 = list(TEXTURES.items())[number]
    path = _folder() / name
    if not path.is_file():
        raise BadInput(f"the frost picture {path} is missing; {_ADVICE}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise BadInput(f"the frost picture {path} is not the published one; {_ADVICE}")
    picture = read_image(path)
    picture.setflags(write=False)
    return picture


def laid_over(image: Image, number: int, place: Place, own: float, added: float) -> Image:
    """Return the picture times `own` plus a part of a frost picture times `added`, truncated.

    Frost of common sizes is enlarged whole and kept: the next picture needs another part.

    Args:
        image: What is under the frost.
        number: As `texture` counts them.
        place: Which part of the frost, and how much it is enlarged.
        own: How much of the picture stays.
        added: How much frost is added.
    """
    height, width = image.shape[:2]
    size, top, left = place
    if size.width * size.height <= _LARGEST_KEPT:
        frost = _whole(number, size)
    else:
        rows, columns = range(top, top + height), range(left, left + width)
        frost, top, left = enlarged(texture(number), size, rows, columns), 0, 0
    new = np.empty(image.shape, dtype=np.uint8)
    under, over, out = (picture.reshape(len(picture), -1) for picture in (image, frost, new))
    _blend(under, over, top, 3 * left, own, added, out)
    return new


def enlarged(picture: Image, size: Size, rows: range, columns: range) -> Image:
    """Return a part of the picture after cubic resizing to `size`.

    Cubic convolution in float64 with one rounding at the end, + - x / alone: the same on every
    machine. OpenCV, which the published programs use, has another rounding on other processors; it
    differs by one grey level, in one value of 10**5 where it was compared.

    Args:
        picture: All of it.
        size: What all of it would be resized to.
        rows: Which rows of the resized picture to return.
        columns: Which of its columns to return.
    """
    below, down = _taps(picture.shape[0], size.height, rows)
    beside, across = _taps(picture.shape[1], size.width, columns)
    part = np.empty((len(rows), len(columns), 3), dtype=np.uint8)
    _convolve(picture, below, down, beside, across, part)
    return part


@lru_cache(maxsize=24)
def _whole(number: int, size: Size) -> Image:
    """Return all of a frost picture after cubic resizing, read-only."""
    picture = enlarged(texture(number), size, range(size.height), range(size.width))
    picture.setflags(write=False)
    return picture


@kernel
def _blend(
    image: NDArray[np.uint8],
    frost: NDArray[np.uint8],
    top: int,
    left: int,
    own: float,
    added: float,
    out: NDArray[np.uint8],
) -> None:
    """Write the weighted sum of a picture and a part of another; all are (H, W * 3)."""
    for y in range(image.shape[0]):
        row, new, ice = image[y], out[y], frost[top + y, left:]
        for x in range(row.size):
            new[x] = np.uint8(np.int32(min(max(own * row[x] + added * ice[x], 0.0), 255.0)))


@kernel
def _convolve(
    picture: Image,
    below: NDArray[np.int64],
    down: NDArray[np.float64],
    beside: NDArray[np.int64],
    across: NDArray[np.float64],
    out: Image,
) -> None:
    """Write rounded sums of four by four pixels: old rows are widened once, then summed."""
    length = out.shape[1] * 3
    first = below.min()
    wide = np.empty((below.max() - first + 1, length))
    for y in range(wide.shape[0]):
        row, new = picture[first + y], wide[y]
        for x in range(out.shape[1]):
            for channel in range(3):
                new[3 * x + channel] = (
                    row[beside[0, x], channel] * across[0, x]
                    + row[beside[1, x], channel] * across[1, x]
                    + row[beside[2, x], channel] * across[2, x]
                    + row[beside[3, x], channel] * across[3, x]
                )
    for y in range(out.shape[0]):
        new = out[y].reshape(length)
        a, b, c, d = down[0, y], down[1, y], down[2, y], down[3, y]
        above, here = wide[below[0, y] - first], wide[below[1, y] - first]
        next_, last = wide[below[2, y] - first], wide[below[3, y] - first]
        for x in range(length):
            total = above[x] * a + here[x] * b + next_[x] * c + last[x] * d
            new[x] = np.uint8(np.int32(min(max(np.floor(total + 0.5), 0.0), 255.0)))


def _folder() -> Path:
    """Return where the installed package keeps its frost pictures."""
    spec = find_spec(_PACKAGE)  # of a package that is not inside another: nothing is imported
    places = None if spec is None else spec.submodule_search_locations
    if not places:
        raise BadInput(f"frost needs the pictures of the package {_PACKAGE}; {_ADVICE}")
    return Path(places[0]) / "frost"


def _taps(old: int, new: int, wanted: range) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return, for each place wanted, the four old places to sum and their weights, both (4, n).

    Places beyond the border are the border's.
    """
    centre = (np.array(wanted) + 0.5) * (old / new) - 0.5
    left = np.floor(centre)
    places = left[None] + np.arange(-1, 3)[:, None]
    distance = np.abs(centre - places)
    near = ((_SHARPNESS + 2) * distance - (_SHARPNESS + 3)) * distance * distance + 1
    far = (((distance - 5) * distance + 8) * distance - 4) * _SHARPNESS
    return places.clip(0, old - 1).astype(np.int64), np.where(distance <= 1, near, far)
