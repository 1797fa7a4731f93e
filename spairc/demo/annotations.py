"""What SPair-71k writes down about pictures and pairs, for the views of a photograph.

`src`, `trg` and `kps` are SPair-71k's own words, and appear here only as such.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spairc.demo.photographs import PHOTOGRAPHS, Photograph, carry_over, choose_points
from spairc.demo.views import View, draw
from spairc.types import Box, Image, Points

MOST_POINTS = 12  # keypoints of a category
FEWEST_POINTS = 6  # keypoints that the two pictures of a pair share
EDGE = 5.0  # pixels: a keypoint nearer to a picture's border counts as not visible
_NAMES = 30  # SPair-71k lists keypoints "0" to "29" for every picture; most are null
_MEDIUM, _HARD = 2.0, 4.0  # ratios of box areas
_DECIMALS = 3  # of a pixel, in the files


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of the set with all that is known about it."""

    category: str
    number: int  # of the view
    image: Image
    points: Points  # (N, 2) row i is the same part in every picture of the category
    visible: NDArray[np.bool_]  # (N,) inside the picture
    box: Box
    truncated: bool

    @property
    def name(self) -> str:
        """The file's name without suffix."""
        return f"{self.category}_{self.number}"

    @property
    def size(self) -> list[int]:
        """Width, height and depth."""
        return [self.image.shape[1], self.image.shape[0], self.image.shape[2]]


def pictures_of(category: str, views: tuple[View, ...]) -> list[Picture]:
    """Return the pictures of one category; of all corners, those that most views show."""
    corners = choose_points(views[0].photograph)
    seen = np.sum([_visible(view, _points_in(view, corners)) for view in views], axis=0)
    chosen = corners[np.argsort(-seen, kind="stable")[:MOST_POINTS]]
    return [
        _picture(category, number, view, _points_in(view, chosen))
        for number, view in enumerate(views)
    ]


def image_annotation(picture: Picture) -> Mapping[str, object]:
    """Return what ImageAnnotation holds of a picture."""
    points: dict[str, list[float] | None] = {str(number): None for number in range(_NAMES)}
    for number in np.flatnonzero(picture.visible):
        points[str(number)] = picture.points[number].round(_DECIMALS).tolist()
    width, height, depth = picture.size
    return {
        "filename": f"{picture.name}.png",
        "src_database": "spairc demo",
        "image_width": width,
        "image_height": height,
        "image_depth": depth,
        "category": picture.category,
        "pose": "Unspecified",
        "truncated": int(picture.truncated),
        "occluded": 0,
        "difficult": 0,
        "bndbox": list(picture.box),
        "kps": points,
        "azimuth_id": 0,
    }


def pair_annotation(number: int, source: Picture, target: Picture) -> Mapping[str, object]:
    """Return what PairAnnotation holds of a pair.

    Scale and truncation follow SPair-71k's rules. Viewpoint and occlusion are 0: the object is
    seen from one side, to within the stereo pair's baseline, and nothing stands before it.
    """
    shared = np.flatnonzero(source.visible & target.visible)
    if len(shared) < FEWEST_POINTS:
        raise RuntimeError(f"{source.name} and {target.name} share {len(shared)} points only")
    return {
        "pair_id": number,
        "filename": f"{number:06d}-{source.name}-{target.name}:{source.category}",
        "src_imname": f"{source.name}.png",
        "trg_imname": f"{target.name}.png",
        "src_imsize": source.size,
        "trg_imsize": target.size,
        "src_bndbox": list(source.box),
        "trg_bndbox": list(target.box),
        "category": source.category,
        "src_pose": "Unspecified",
        "trg_pose": "Unspecified",
        "src_kps": source.points[shared].round(_DECIMALS).tolist(),
        "trg_kps": target.points[shared].round(_DECIMALS).tolist(),
        "kps_ids": [str(name) for name in shared],
        "mirror": 0,
        "viewpoint_variation": 0,
        "scale_variation": _scale_variation(source.box, target.box),
        "truncation": int(source.truncated) + 2 * int(target.truncated),
        "occlusion": 0,
    }


def _points_in(view: View, points: Points) -> Points:
    """Return where points of a category's first photograph are in a view; (N, 2) view pixels."""
    return view.from_photograph(carry_over(points, view.photograph))


def _visible(view: View, points: Points) -> NDArray[np.bool_]:
    """(N,) whether each point lies inside the view, and not at its very edge."""
    inside = (points >= EDGE) & (points <= np.array(view.size) - 1 - EDGE)
    return np.asarray(inside[:, 0] & inside[:, 1])


def _picture(category: str, number: int, view: View, points: Points) -> Picture:
    """Return what a view shows of its photograph, given the keypoints in the view."""
    photograph = PHOTOGRAPHS[view.photograph]
    box, truncated = _extent(photograph, view)
    return Picture(
        category=category,
        number=number,
        image=draw(photograph.read(), view),
        points=points,
        visible=_visible(view, points),
        box=box,
        truncated=truncated,
    )


def _extent(photograph: Photograph, view: View) -> tuple[Box, bool]:
    """Return the box of the pixels that show the object, and whether the border cuts it."""
    x, y = np.moveaxis(np.rint(view.grid()).astype(np.int64), -1, 0)
    shows = photograph.shows_object(int(y.max()) + 1, int(x.max()) + 1)[y, x]
    rows, columns = np.flatnonzero(shows.any(1)), np.flatnonzero(shows.any(0))
    box = Box(int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1]))
    border = shows[0].any() or shows[-1].any() or shows[:, 0].any() or shows[:, -1].any()
    return box, bool(border)


def _scale_variation(first: Box, second: Box) -> int:
    """Return 0, 1 or 2: the larger box has less than twice, less than four times, or more area."""
    areas = [(box.right - box.left) * (box.bottom - box.top) for box in (first, second)]
    ratio = max(areas) / min(areas)
    return int(ratio >= _MEDIUM) + int(ratio >= _HARD)
