"""Views of a photograph: smooth warps whose keypoints are exact.

A view's picture is drawn through the map *from the view's pixels back to the photograph's*, which
is written in closed form: a rotation, zoom and stretch, plus a thin-plate spline. A keypoint goes
the other way, through the same map inverted by iteration until it lands within 1e-6 photograph
pixels of where it should.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import gaussian_filter, map_coordinates

from spairc.types import Image, Points, Size

_EXACT = 1e-6  # photograph pixels
_STEPS = 100  # enough by far; each one shrinks the error several times
_CONTROLS = (4, 3)  # control points of the spline along x and y


@dataclass(frozen=True)
class View:
    """One picture of the set: how its pixels map back to its photograph, and its light."""

    photograph: str  # name in `PHOTOGRAPHS`
    size: Size
    centre: tuple[float, float]  # photograph pixels, x, y
    zoom: float  # photograph pixels per view pixel
    angle: float = 0.0  # degrees that the frame turns clockwise; the object turns the other way
    stretch: float = 1.0  # x is multiplied by it, y divided
    bend: float = 0.0  # photograph pixels that a control point of the spline moves at most
    seed: int = 0  # of the spline
    gamma: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)  # gain of red, green, blue

    def to_photograph(self, points: Points) -> Points:
        """Return (N, 2) photograph pixels for points in the view's pixels."""
        straight = (points - self._middle) @ self._matrix.T + np.array(self.centre)
        return np.asarray(straight if self._spline is None else straight + self._spline(points))

    def from_photograph(self, points: Points) -> Points:
        """Return (N, 2) view pixels for points in photograph pixels; `to_photograph` undone.

        Each step corrects by the inverse of the affine part, which suffices as the spline bends
        gently.
        """
        inverse = np.linalg.inv(self._matrix).T
        found = (points - np.array(self.centre)) @ inverse + self._middle
        with np.errstate(over="ignore", invalid="ignore"):  # a fold sends points to infinity
            for _ in range(_STEPS):
                error = points - self.to_photograph(found)
                if np.abs(error).max() < _EXACT:
                    return np.asarray(found)
                found = found + error @ inverse
        raise RuntimeError(f"{self} folds over itself; bend it less")

    def grid(self) -> NDArray[np.float64]:
        """(H, W, 2) photograph pixels x, y that the view's pixels show."""
        width, height = self.size
        x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height))
        places = self.to_photograph(np.column_stack([x.ravel(), y.ravel()]))
        return places.reshape(height, width, 2)

    @cached_property
    def _middle(self) -> NDArray[np.float64]:
        """(2,) the centre of the view, in its pixels."""
        return (np.array(self.size) - 1) / 2

    @cached_property
    def _matrix(self) -> NDArray[np.float64]:
        """(2, 2) photograph pixels per view pixel."""
        turn = np.deg2rad(self.angle)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        return np.asarray(self.zoom * rotation @ np.diag([self.stretch, 1 / self.stretch]))

    @cached_property
    def _spline(self) -> RBFInterpolator | None:
        """The thin plate that moves each control point by up to `bend` along x and y."""
        if self.bend == 0:
            return None
        across, down = (
            np.linspace(0, length - 1, count)
            for length, count in zip(self.size, _CONTROLS, strict=True)
        )
        x, y = np.meshgrid(across, down)
        random = np.random.Generator(np.random.PCG64(self.seed))
        moves = random.uniform(-self.bend, self.bend, (x.size, 2))
        places = np.column_stack([x.ravel(), y.ravel()])
        return RBFInterpolator(places, moves, kernel="thin_plate_spline")


def draw(photograph: Image, view: View) -> Image:
    """Return the view's picture of its photograph, in the view's light."""
    blur = np.sqrt(max(view.zoom**2 - 1, 0)) / 2  # against aliasing where pixels are skipped
    smooth = gaussian_filter(photograph.astype(np.float64), (blur, blur, 0))
    x, y = np.moveaxis(view.grid(), -1, 0)
    colours = [
        map_coordinates(smooth[..., colour], [y, x], order=3, mode="mirror") for colour in range(3)
    ]
    light = (np.stack(colours, axis=-1) / 255).clip(0, 1) ** view.gamma * np.array(view.tint)
    return np.asarray(np.rint(255 * light.clip(0, 1)), dtype=np.uint8)


# Turned, zoomed and bent so far that matchers without training find most points, but not all. No
# view looks over its photograph's border.
VIEWS: dict[str, tuple[View, ...]] = {
    "astronaut": (
        View("astronaut", Size(192, 240), (245, 256), 2.0, bend=6, seed=1),
        View("astronaut", Size(240, 206), (256, 254), 1.6, 16, gamma=0.8, bend=14, seed=2),
        View("astronaut", Size(176, 232), (243, 256), 1.8, -12, 1.05, tint=(1.0, 0.9, 0.8)),
    ),
    "chelsea": (
        View("chelsea", Size(240, 160), (222, 150), 1.75, bend=5, seed=3),
        View("chelsea", Size(210, 172), (220, 151), 1.28, -14, gamma=1.25, bend=9, seed=4),
        View("chelsea", Size(184, 224), (215, 150), 1.12, 11, 1.1, tint=(0.85, 0.95, 1.0)),
    ),
    "coffee": (
        View("coffee", Size(240, 168), (290, 200), 2.2, bend=6, seed=5),
        View("coffee", Size(228, 190), (290, 198), 1.6, 14, gamma=0.75, bend=14, seed=6),
        View("coffee", Size(180, 216), (285, 198), 1.6, -12, 1.05, tint=(0.95, 1.0, 0.8)),
    ),
    "rocket": (
        View("rocket", Size(240, 150), (318, 228), 2.5, bend=5, seed=7),
        View("rocket", Size(236, 184), (300, 222), 1.72, -12, gamma=0.7, bend=12, seed=8),
        View("rocket", Size(186, 224), (310, 222), 1.65, 10, 1.1, tint=(1.0, 0.95, 0.85)),
    ),
    "motorcycle": (
        View("motorcycle_left", Size(240, 166), (380, 255), 2.7, bend=6, seed=9),
        View("motorcycle_right", Size(242, 162), (343, 254), 2.55, 7, gamma=0.85),
        View("motorcycle_right", Size(204, 156), (345, 256), 2.2, -14, bend=16, seed=10),
    ),
    "hopper": (
        View("hopper", Size(180, 228), (258, 280), 2.35, bend=6, seed=11),
        View("hopper", Size(240, 216), (262, 220), 1.5, -14, gamma=1.3, bend=14, seed=12),
        View("hopper", Size(170, 238), (262, 270), 1.85, 12, 1.05, tint=(0.85, 0.9, 1.0)),
    ),
}
