"""Pictures of frost, and parts of them enlarged.

They come from the files inside the installed `imagecorruptions` package (Apache-2.0), which is
located but never imported: its code does not run with current libraries.
"""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
_PACKAGE = "imagecorruptions"
_ADVICE = "run: pip install --force-reinstall 'imagecorruptions>=1.1.2'"
_SHARPNESS = -0.75  # the free parameter of cubic convolution (Keys, 1981); OpenCV's choice


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
    first, last = below.min(), below.max()
    strip = picture[first : last + 1].astype(np.float64)
    wide = np.zeros((strip.shape[0], len(columns), strip.shape[2]))
    total = np.zeros((len(rows), *wide.shape[1:]))
    for places, weights in zip(beside, across, strict=True):
        wide += strip[:, places] * weights[:, None]
    for places, weights in zip(below - first, down, strict=True):
        total += wide[places] * weights[:, None, None]
    total = np.floor(total + 0.5).clip(0, 255)
    return total.astype(np.uint8)


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
