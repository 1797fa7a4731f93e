"""The photographs of the demonstration set, and the keypoints chosen in them.

They ship inside scikit-image and matplotlib. To add one: a line in `PHOTOGRAPHS`, and its views
in `spairc.demo.views`.
"""

from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import PIL.Image
import PIL.ImageDraw
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter
from skimage.feature import corner_peaks, corner_shi_tomasi

from spairc.types import Image, Points

CANDIDATES = 24  # corners found in a photograph
_APART = 24  # pixels between two keypoints of a photograph, along x or y
_WEAKEST = 0.035  # of the strongest corner's response; below that lie a star and plain cloth
_STEADY = 1.0  # pixels: more disparity than this in an 11 x 11 window is the edge of something
_UNKNOWN = 1e6  # stands for an unknown disparity: far from every real one


@dataclass(frozen=True)
class Photograph:
    """A picture inside an installed package, and where the object is in it."""

    package: str
    path: str  # inside the package
    credit: str
    outline: str  # of the object, drawn by hand: "x,y x,y ..." in pixels, as SVG writes polygons

    def read(self) -> Image:
        """Return the photograph as (H, W, 3) uint8 RGB."""
        with (files(self.package) / self.path).open("rb") as file:
            return np.array(PIL.Image.open(file).convert("RGB"))

    def shows_object(self, height: int, width: int) -> NDArray[np.bool_]:
        """(height, width) whether a pixel of the photograph lies inside the outline."""
        corners = [float(number) for number in self.outline.replace(",", " ").split()]
        mask = PIL.Image.new("1", (width, height))
        PIL.ImageDraw.Draw(mask).polygon(corners, fill=1)
        return np.array(mask)


_MIDDLEBURY = "Middlebury stereo 2014, Motorcycle (Scharstein et al., GCPR 2014)"

PHOTOGRAPHS: dict[str, Photograph] = {
    "astronaut": Photograph(
        "skimage",
        "data/astronaut.png",
        "Eileen Collins; NASA Great Images, no known copyright restrictions",
        "150,60 225,14 302,70 305,190 360,290 440,345 485,380 511,511 30,511 30,300 80,215 115,170",
    ),
    "chelsea": Photograph(
        "skimage",
        "data/chelsea.png",
        "Chelsea the cat; Stefan van der Walt, CC0",
        "60,60 120,0 400,0 345,130 330,215 270,285 150,290 60,200",
    ),
    "coffee": Photograph(
        "skimage",
        "data/coffee.png",
        "a cup of coffee; Rachel Michetti, courtesy of Pikolo Espresso Bar, CC0",
        "172,110 200,45 285,16 370,45 400,110 390,180 408,270 365,328 320,305 215,312 192,290",
    ),
    "rocket": Photograph(
        "skimage",
        "data/rocket.jpg",
        "Falcon 9 on its pad; SpaceX, public domain",
        "165,200 200,118 320,118 452,110 480,250 485,398 95,398",
    ),
    "motorcycle_left": Photograph(
        "skimage",
        "data/motorcycle_left.png",
        _MIDDLEBURY,
        "90,185 130,155 330,140 400,100 500,80 560,130 565,210 640,265 683,380 660,445 600,450 "
        "420,400 335,440 190,400 125,340 120,250",
    ),
    "motorcycle_right": Photograph(
        "skimage",
        "data/motorcycle_right.png",
        _MIDDLEBURY,
        "58,190 92,155 290,140 360,100 455,80 515,130 520,210 595,265 625,380 605,445 545,450 "
        "380,400 290,440 150,400 85,340 80,250",
    ),
    "hopper": Photograph(
        "matplotlib",
        "mpl-data/sample_data/grace_hopper.jpg",
        "Grace Hopper; James S. Davis for the United States Navy, public domain",
        "155,150 185,70 265,22 365,85 376,210 340,310 265,338 200,310 165,230",
    ),
}


def choose_points(name: str) -> Points:
    """Return the strongest corners on the object, well apart; (N, 2) photograph pixels.

    Corners by the smaller eigenvalue of the structure tensor (Shi and Tomasi, CVPR 1994).
    """
    photograph = PHOTOGRAPHS[name]
    grey = photograph.read() @ np.array([0.299, 0.587, 0.114]) / 255
    usable = photograph.shows_object(*grey.shape)
    if name == "motorcycle_left":
        usable &= _seen_by_both(_disparity())
    strength = corner_shi_tomasi(grey, sigma=2.5) * usable  # type: ignore[no-untyped-call] # skimage has no types
    rows = corner_peaks(  # type: ignore[no-untyped-call] # skimage has no types
        strength,
        min_distance=_APART,
        threshold_rel=_WEAKEST,
        num_peaks=CANDIDATES,
        exclude_border=8,
    )
    return np.asarray(rows[:, ::-1], dtype=np.float64)


def carry_over(points: Points, name: str) -> Points:
    """Return where points of a category's first photograph are in another photograph of it."""
    if name != "motorcycle_right":
        return points
    x, y = points.astype(np.int64).T
    return np.column_stack([points[:, 0] - _disparity()[y, x], points[:, 1]])


def _disparity() -> NDArray[np.float64]:
    """(H, W) how much further left the right photograph shows each pixel; infinite if unknown."""
    with (files("skimage") / "data/motorcycle_disp.npz").open("rb") as file:
        return np.asarray(np.load(file)["arr_0"], dtype=np.float64)


def _seen_by_both(disparity: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(H, W) whether a pixel lies on one smooth surface that nothing hides from the right.

    Of the pixels that fall on one place of the right photograph the nearest is seen: that with
    the greatest disparity.
    """
    known = np.isfinite(disparity)
    filled = np.where(known, disparity, _UNKNOWN)
    steady = maximum_filter(filled, 11) - minimum_filter(filled, 11) < _STEADY
    height, width = disparity.shape
    rows, columns = np.mgrid[:height, :width]
    places = np.rint(columns - np.where(known, disparity, 0)).astype(np.int64).clip(0)
    nearest = np.zeros_like(disparity)
    np.maximum.at(nearest, (rows[known], places[known]), disparity[known])
    hidden = maximum_filter(nearest, (1, 3))[rows, places] > filled + _STEADY
    return np.asarray(known & steady & ~hidden)
