"""What every pair list and every picture must be, whichever dataset it comes from."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spairc.datasets.dataset import Dataset
from spairc.images import SMALLEST, pixel_hash, read_image
from spairc.pairs import PairTable
from spairc.types import BadInput, Points, Size


def check_table(table: PairTable, annotations: Sequence[Path | str]) -> None:
    """Check the numbers of a pair list; each complaint names the annotation it comes from.

    Points may lie outside their own box (83 points in 720 pairs of SPair-71k do) and boxes may
    touch or leave the border. Points must lie in their picture, its right and lower edge
    included. No point of those 720 pairs stands on that edge (they run from 0 to 499 in pictures
    500 wide), nor one of PF-WILLOW's; but the boxes count from 1 as PASCAL VOC's do and end at
    500, and a point that counted likewise would be no reason to refuse a whole dataset.

    Args:
        table: The pairs.
        annotations: Per pair, the file that tells of it.

    Raises:
        BadInput: If a number is NaN or infinite, a point lies outside its picture, or a box has
            no length.
    """
    for side, points, boxes, sizes in (
        ("source", table.source_points, table.source_boxes, table.source_sizes),
        ("target", table.target_points, table.target_boxes, table.target_sizes),
    ):
        complaints = chain(_point_complaints(table, points, sizes), _box_complaints(boxes))
        for pair, complaint in complaints:
            raise BadInput(
                f"{annotations[pair]}: {side} {complaint}; correct it or fetch the dataset again"
            )


def check_pictures(dataset: Dataset) -> dict[str, str]:
    """Decode every picture of the pair list once; return image key -> hash of its pixels.

    Raises:
        BadInput: If a picture is missing, cut short, smaller than 32 x 32, or not of the size
            that its annotation tells; the first one in the order of keys is named.
    """
    keys = dataset.table.image_keys
    sizes = _annotated_sizes(dataset.table)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes without the lock
        hashes = pool.map(lambda key: _checked_hash(dataset.path(key), sizes[key]), keys)
        return dict(zip(keys, hashes, strict=True))


def in_picture(points: Points, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether each of (N, 2) points lies in the picture of its (N, 2) or one size.

    The right and lower edge count, see `check_table`; NaN and infinity lie nowhere.
    """
    return np.asarray(((points >= 0) & (points <= sizes)).all(axis=1))


def are_boxes(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) whether each of (N, 4) rows is left, top, right, bottom, and longer than nothing."""
    extents = boxes[:, 2:] - boxes[:, :2]
    possible = np.isfinite(boxes).all(axis=1) & (extents >= 0).all(axis=1)
    return np.asarray(possible & (extents > 0).any(axis=1))


def _point_complaints(
    table: PairTable, points: Points, sizes: NDArray[np.int64]
) -> Iterator[tuple[int, str]]:
    """Yield which pairs have a point outside its picture, and where."""
    for row in np.flatnonzero(~in_picture(points, sizes[table.pair_of_point])):
        pair = int(table.pair_of_point[row])
        number, (x, y), (width, height) = row - table.first_point[pair], points[row], sizes[pair]
        yield (
            pair,
            f"point {number + 1} at ({x:g}, {y:g}) is not in its picture, {width} x {height}",
        )


def _box_complaints(boxes: NDArray[np.float64]) -> Iterator[tuple[int, str]]:
    """Yield which pairs have an impossible box, and which it is."""
    for pair in np.flatnonzero(~are_boxes(boxes)):
        edges = ", ".join(f"{edge:g}" for edge in boxes[pair])
        yield int(pair), f"box ({edges}) is not left, top, right, bottom"


def _annotated_sizes(table: PairTable) -> dict[str, set[Size]]:
    """Return, per image key, the sizes that the annotations tell: one, if they agree."""
    sizes = defaultdict(set)
    for keys, given in ((table.sources, table.source_sizes), (table.targets, table.target_sizes)):
        for key, size in zip(keys.tolist(), given.tolist(), strict=True):
            sizes[key].add(Size(*size))
    return sizes


def _checked_hash(path: Path, annotated: set[Size]) -> str:
    """Return the hash of a picture's pixels, if it is what the annotations say."""
    image = read_image(path)
    height, width = image.shape[:2]
    if min(height, width) < SMALLEST:
        raise BadInput(
            f"picture {path} is {width} x {height}; spairc needs {SMALLEST} x {SMALLEST}; "
            f"fetch it again"
        )
    for size in sorted(annotated - {Size(width, height)}):
        raise BadInput(
            f"picture {path} is {width} x {height} but annotated as {size.width} x {size.height}; "
            f"fetch it again"
        )
    return pixel_hash(image)
