"""Pairs as they lie in pictures of another size; annotations are in the original's pixels."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spairc.pairs import PairTable
from spairc.types import Condition, Points, Size

Sizes = Mapping[tuple[str, Condition], Size]  # of pictures as they are read


def as_seen(pairs: PairTable, sizes: Sizes, source: Condition, target: Condition) -> PairTable:
    """Return the pairs with points, boxes and sizes as in the pictures that a matcher sees.

    Coordinates are multiplied by the ratio of the sizes, as `spairc.geometry` does. Where nothing
    has another size the table itself is returned.

    Args:
        pairs: In original pixels.
        sizes: What the pictures measure.
        source: What was done to the sources.
        target: What was done to the targets.
    """
    source_sizes = _sizes(pairs.sources.tolist(), sizes, source)
    target_sizes = _sizes(pairs.targets.tolist(), sizes, target)
    if (source_sizes == pairs.source_sizes).all() and (target_sizes == pairs.target_sizes).all():
        return pairs
    source_scale = source_sizes / pairs.source_sizes
    target_scale = target_sizes / pairs.target_sizes
    return replace(
        pairs,
        source_points=pairs.source_points * source_scale[pairs.pair_of_point],
        target_points=pairs.target_points * target_scale[pairs.pair_of_point],
        source_boxes=pairs.source_boxes * np.tile(source_scale, 2),
        target_boxes=pairs.target_boxes * np.tile(target_scale, 2),
        source_sizes=source_sizes,
        target_sizes=target_sizes,
    )


def to_original(found: Points, seen: PairTable, pairs: PairTable) -> Points:
    """Return answers in original pixels.

    Args:
        found: (P, 2) in the targets as they were seen.
        seen: What `as_seen` made of the pairs.
        pairs: In original pixels.
    """
    if seen is pairs:
        return found
    scale = pairs.target_sizes / seen.target_sizes
    return np.asarray(found * scale[pairs.pair_of_point])


def _sizes(keys: list[str], sizes: Sizes, condition: Condition) -> NDArray[np.int64]:
    """(N, 2) what these pictures measure."""
    return np.array([sizes[key, condition] for key in keys], dtype=np.int64)
