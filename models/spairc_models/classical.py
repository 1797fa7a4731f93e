"""Dense SIFT, HOG and DAISY: nearest descriptors of a grid, on a CPU, without weights or torch.

Add a descriptor: a function from a small square picture to (rows, columns, channels), a function
that makes its matcher, one line in `spairc_models.MODELS` and a test.

The squares are small on purpose. A descriptor here should describe a part of an object, which is
a tenth of the picture, not an edge; that is cheap only when the picture is small.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.feature import daisy, hog

from spairc.types import Features, Image, Points, Query
from spairc_models.preprocessing import Preprocessing
from spairc_models.readout import Corners, Readout, Weights, nearest_points, readout_of

Grid: TypeAlias = NDArray[np.float32]  # (rows, columns, channels)

# Chosen by PCK on 174 pairs of PF-WILLOW pictures, so scores there flatter these three a little.
SIFT_SIDE = 64  # pixels of the square that `sift_grid` describes
_SIFT_STRIDE, _SIFT_SIZES = 4, (4.0, 8.0)  # pixels
_HOG_CELL, _HOG_BLOCK = 4, 7  # pixels a cell, cells a block
_DAISY_STEP, _DAISY_RADIUS = 3, 15  # pixels
_TINY = 1e-12  # in place of a length of 0


@dataclass(frozen=True, eq=False)
class ClassicalMatcher:
    """Nearest descriptors by cosine similarity on a grid over the squashed picture."""

    name: str
    preprocessing: Preprocessing
    describe: Callable[[Image], Grid]  # of the (side, side, 3) square
    readout: Readout
    details: Mapping[str, str | int | float]

    def encode(self, images: Sequence[Image]) -> list[Features]:
        """Return one grid of unit descriptors per picture."""
        return [unit_grid(self.describe(self.preprocessing.square(image))) for image in images]

    def match(self, queries: Sequence[Query]) -> list[Points]:
        """Return, per query, where its points are in the target: (N, 2) original pixels."""
        return [self._answer(query) for query in queries]

    def _answer(self, query: Query) -> Points:
        """Return one query's answer; it depends on nothing else that was asked."""
        frame = self.preprocessing.frame
        asked = replace(query, points=frame(query.source_size).from_original(query.points))
        rows, columns = query.target.shape[:2]
        found = nearest_points(asked, self.preprocessing, (rows, columns), self.readout, _compare)
        return frame(query.target_size).to_original(found)


def sift_matcher(
    *, readout: str = "window", window: int | None = None, temperature: float | None = None
) -> ClassicalMatcher:
    """Return dense upright RootSIFT at two scales (Lowe 2004; Arandjelovic and Zisserman 2012).

    Raises:
        BadInput: If there is no such readout, or it has no such setting.
    """
    return _matcher("sift", SIFT_SIDE, sift_grid, readout_of(readout, window, temperature))


def hog_matcher(
    *, readout: str = "window", window: int | None = None, temperature: float | None = None
) -> ClassicalMatcher:
    """Return histograms of oriented gradients, a block around every cell (Dalal and Triggs 2005).

    Raises:
        BadInput: If there is no such readout, or it has no such setting.
    """
    return _matcher("hog", 64, _hog, readout_of(readout, window, temperature))


def daisy_matcher(
    *, readout: str = "window", window: int | None = None, temperature: float | None = None
) -> ClassicalMatcher:
    """Return DAISY descriptors (Tola et al. 2010).

    Raises:
        BadInput: If there is no such readout, or it has no such setting.
    """
    return _matcher("daisy", 63, _daisy, readout_of(readout, window, temperature))


def _matcher(
    name: str, side: int, describe: Callable[[Image], Grid], readout: Readout
) -> ClassicalMatcher:
    """Return the matcher and what a run's record says of it."""
    details: dict[str, str | int | float] = {
        "device": "cpu",
        "precision": "float32",
        "side": side,
        "resize": "squash",
        "weights": "none needed",
        "opencv": cv2.getVersionString(),
        "skimage": version("scikit-image"),
        **readout.details(),
    }
    return ClassicalMatcher(name, Preprocessing(side), describe, readout, details)


def sift_grid(square: Image) -> Grid:
    """Return (16, 16, 256): every 4 pixels, histograms that span 24 and 48 pixels.

    OpenCV's four bins a side are each 1.5 times the keypoint's size wide. Beyond the border there
    are no gradients: bins stay empty, which tells the places near it apart.
    """
    extractor = cv2.SIFT.create()
    grey = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)
    count = len(square) // _SIFT_STRIDE
    places = ((np.arange(count) + 0.5) * _SIFT_STRIDE - 0.5).tolist()
    scales = []
    for size in _SIFT_SIZES:
        keypoints = [cv2.KeyPoint(x, y, size, 0.0) for y in places for x in places]
        histograms = extractor.compute(grey, keypoints)[1]
        shares = histograms / np.maximum(histograms.sum(axis=1, keepdims=True), 1)
        scales.append(np.sqrt(shares).reshape(count, count, -1))
    return np.concatenate(scales, axis=2)


def _hog(square: Image) -> Grid:
    """Return (16, 16, 441): around each cell of 4 x 4 pixels, 7 x 7 cells of 9 orientations."""
    reach = _HOG_BLOCK // 2 * _HOG_CELL
    blocks = hog(
        np.pad(square, ((reach, reach), (reach, reach), (0, 0)), mode="edge"),
        orientations=9,
        pixels_per_cell=(_HOG_CELL, _HOG_CELL),
        cells_per_block=(_HOG_BLOCK, _HOG_BLOCK),
        feature_vector=False,
        channel_axis=-1,
    )
    return np.asarray(blocks.reshape(*blocks.shape[:2], -1), dtype=np.float32)


def _daisy(square: Image) -> Grid:
    """Return (21, 21, 200): every 3 pixels, 1 + 3 x 8 histograms of 8 orientations."""
    grey = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)
    around = _DAISY_RADIUS - _DAISY_STEP // 2  # puts the first descriptor on its cell's centre
    wider = np.pad(grey, around, mode="edge")
    found = daisy(wider, _DAISY_STEP, _DAISY_RADIUS)  # type: ignore[no-untyped-call]  # it has none
    return np.asarray(found, dtype=np.float32)


def unit_grid(grid: Grid) -> Grid:
    """Return descriptors of length 1; those of a flat picture stay 0."""
    lengths = np.linalg.norm(grid, axis=2, keepdims=True)
    return np.asarray(grid / np.maximum(lengths, _TINY), dtype=np.float32)


def _compare(source: Grid, corners: Corners, weights: Weights, target: Grid) -> Grid:
    """Return (N, cells) cosine similarities of the source's points with the target's cells."""
    channels = source.shape[2]
    read = np.einsum("nkc,nk->nc", source.reshape(-1, channels)[corners], weights)
    lengths = np.linalg.norm(read, axis=1, keepdims=True)
    similar: Grid = (read / np.maximum(lengths, _TINY)) @ target.reshape(-1, channels).T
    return similar
