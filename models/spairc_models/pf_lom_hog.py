"""PF-LOM-HOG: proposals matched by appearance and local offset (Ham et al., CVPR 2016; TPAMI 2018).

Proposal flow compares histograms of oriented gradients of object proposals, and expects of each the
offset in the middle of its neighbours' best matches. Proposals here are windows of a fixed pattern
(the paper's "sliding windows"; its best row has selective search), the same for every picture.
"""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.sparse import csr_array, kron, vstack
from scipy.spatial.distance import cdist

from spairc.types import Image, Points, Query
from spairc_models.plain_matcher import PlainMatcher, plain_details
from spairc_models.preprocessing import Preprocessing

Values: TypeAlias = NDArray[np.float32]

SIDE = 96  # pixels of the square
_WINDOWS = (20, 30, 45, 68)  # pixels of a window's side, before it is made wide or high
_SHAPES = ((1.0, 1.0), (1.25, 0.8), (0.8, 1.25))  # factors of width and height
_OVERLAP = 3  # windows lie a third of their side apart
_CELLS, _ORIENTATIONS = 6, 9  # a window has 6 x 6 cells
_CLIP = 0.2  # Dalal and Triggs
_NEAR = np.array([0.12 * SIDE, 0.12 * SIDE, 0.4], np.float32)  # deviations: x, y, log of the size
_STEPS = 5  # towards the middle of the neighbours' offsets
_TINY = 1e-6


@dataclass(frozen=True, eq=False)
class Windows:
    """The pattern of windows."""

    corners: Values  # (N, 4) left, top, right, bottom
    places: Values  # (N, 3) x and y of the centre, log of the size
    overlap: Values  # (N, N) 1 where two have a point in common
    cells: Any  # sparse (N x cells, pixels): the share of each pixel in each cell


def pf_lom_hog_matcher() -> PlainMatcher:
    """Return the matcher; a point moves as the best matched window around it does."""
    proposals = f"{len(windows().corners)} sliding windows"
    return PlainMatcher(
        name="pf-lom-hog",
        preprocessing=Preprocessing(SIDE),
        describe=described,
        find=_found,
        details=plain_details(SIDE, proposals=proposals, scipy=version("scipy")),
    )


@cache
def windows() -> Windows:
    """Return the pattern, made once."""
    sizes = [(side * wide, side * high) for side in _WINDOWS for wide, high in _SHAPES]
    boxes = np.array([box for size in sizes for box in _spread(*size)], dtype=np.float32)
    first, last = boxes[:, :2], boxes[:, 2:]
    places = np.column_stack([(first + last) / 2, np.log((last - first).prod(axis=1)) / 2])
    overlap = (np.minimum(last[:, None], last) > np.maximum(first[:, None], first)).all(axis=2)
    return Windows(boxes, places.astype(np.float32), np.asarray(overlap, np.float32), _cells(boxes))


def _spread(width: float, height: float) -> list[tuple[float, float, float, float]]:
    """Return windows of one size, evenly over the square."""
    down, across = (
        np.linspace(0, SIDE - each, 1 + round(_OVERLAP * (SIDE - each) / each)).tolist()
        for each in (height, width)
    )
    return [(left, top, left + width, top + height) for top in down for left in across]


def _cells(boxes: Values) -> Any:
    """Return the share of each pixel in each cell of each window; pixels are unit squares."""
    edges, pixels = np.linspace(0, 1, _CELLS + 1), np.arange(SIDE)

    def shares(first: float, last: float) -> csr_array:
        ends = first + (last - first) * edges[:, None]
        common = np.minimum(ends[1:], pixels + 1) - np.maximum(ends[:-1], pixels)
        return csr_array(common.clip(0).astype(np.float32))

    each = [kron(shares(top, bottom), shares(left, right)) for left, top, right, bottom in boxes]
    return vstack(each, format="csr")


def described(square: Image) -> Values:
    """Return (windows, channels) histograms less the picture's mean, of length 1: for whitening."""
    histograms = windows().cells @ _orientations(square).reshape(-1, _ORIENTATIONS)
    cells = histograms.reshape(-1, _CELLS, _CELLS, _ORIENTATIONS)
    blocks = sliding_window_view(cells, (2, 2), axis=(1, 2))  # windows, 5, 5, 9, 2, 2
    clipped = np.minimum(_unit(blocks.reshape(*blocks.shape[:3], -1)), _CLIP)
    features = _unit(clipped).reshape(len(cells), -1)
    return _unit(features - features.mean(axis=0))


def _orientations(square: Image) -> Values:
    """Return (SIDE, SIDE, 9): each pixel's gradient, shared by the two nearest orientations."""
    down, right = np.gradient(square.astype(np.float32).mean(axis=2))
    places = np.arctan2(down, right) % np.pi / np.pi * _ORIENTATIONS
    turns = np.abs(places[:, :, None] - np.arange(_ORIENTATIONS))
    apart = np.minimum(turns, _ORIENTATIONS - turns)
    return np.asarray(np.hypot(down, right)[:, :, None] * (1 - apart).clip(0), dtype=np.float32)


def _unit(values: Values) -> Values:
    """Return vectors along the last axis, of length 1; those of nothing stay about 0."""
    return np.asarray(values / (np.linalg.norm(values, axis=-1, keepdims=True) + _TINY))


def _found(query: Query) -> Points:
    """Return where points of the source's square are in the target's, inside of it."""
    pattern = windows()
    scores = local_scores(query.source @ query.target.T, pattern)
    left_top, right_bottom = pattern.corners[:, :2], pattern.corners[:, 2:]
    points = query.points[:, None]
    around = ((points >= left_top) & (points <= right_bottom)).all(axis=2)
    # Scores are at most 1: the best matched window around a point; where there is none, of all.
    chosen = (2.0 * around + scores.max(axis=1)).argmax(axis=1)
    share = (query.points - left_top[chosen]) / (right_bottom - left_top)[chosen]
    target = scores[chosen].argmax(axis=1)
    found = left_top[target] + share * (right_bottom - left_top)[target]
    return np.asarray(found, dtype=np.float64).clip(0, SIDE)


def local_scores(cosines: Values, pattern: Windows) -> Values:
    """Return (N, N) cosines, where positive, times how near the offset is to the expected one."""
    places: Values = pattern.places / _NEAR
    offsets = places[cosines.argmax(axis=1)] - places
    expected = places + middles(offsets, pattern.overlap)
    return np.asarray(cosines.clip(0) * np.exp(-cdist(expected, places, "sqeuclidean") / 2))


def middles(offsets: Values, neighbours: Values) -> Values:
    """Return (N, 3): the geometric median of each window's neighbours' offsets (Weiszfeld).

    Args:
        offsets: (N, 3), of each window's most similar one.
        neighbours: (N, N), 1 where two windows overlap.
    """
    shares = neighbours
    for _ in range(_STEPS + 1):
        found = shares @ offsets / shares.sum(axis=1, keepdims=True)
        shares = np.asarray(neighbours / (cdist(found, offsets) + 0.01), np.float32)
    return np.asarray(found)
