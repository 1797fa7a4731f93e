"""Fewer pairs when there is less time: always the same ones, from every category, both ways.

Subsets are nested: what an eighth of the pairs holds, a quarter holds too. A pair comes with its
reverse or not at all, since half of a list that is closed under swapping would count one
direction's difficulty (truncated source, hidden target) more than the other's.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from spairc.pairs import PairTable
from spairc.types import BadInput

SHARES = tuple(2.0**-step for step in range(8))  # 1, 1/2, ... 1/128: few enough to be compared


def first_pairs(pairs: PairTable, limit: int) -> NDArray[np.int64]:
    """Return positions of at most `limit` first pairs.

    Raises:
        BadInput: If not even the first pair fits with its reverse.
    """
    groups = _both_ways(pairs, range(len(pairs)))
    chosen: list[int] = []
    for members in groups:
        if len(chosen) + len(members) > limit:
            break
        chosen += members
    if not chosen:
        need = len(groups[0])
        raise BadInput(f"--limit {limit} is too few: a pair is kept both ways; allow {need}")
    return np.array(sorted(chosen), dtype=np.int64)


def share_of_pairs(pairs: PairTable, share: float) -> NDArray[np.int64]:
    """Return positions of this share of each category's pairs, at least one pair of each.

    Which pairs come first is fixed by a hash of the names of their pictures, so it depends neither
    on the order of the list nor on what else is in it.

    Args:
        pairs: The whole list.
        share: Above 0, at most 1.

    Raises:
        BadInput: If the share is not between 0 and 1.
    """
    if not 0 < share <= 1:
        raise BadInput(f"share {share:g} of the pairs: give a number above 0, at most 1")
    chosen: list[int] = []
    for category in np.unique(pairs.categories):
        groups = _both_ways(pairs, np.flatnonzero(pairs.categories == category).tolist())
        groups.sort(key=lambda members: _rank(pairs, members[0]))
        for members in groups[: max(1, round(share * len(groups)))]:
            chosen += members
    return np.array(sorted(chosen), dtype=np.int64)


def _both_ways(pairs: PairTable, positions: Iterable[int]) -> list[list[int]]:
    """Return the positions in groups of pairs that have the same two pictures."""
    groups: dict[tuple[str, str], list[int]] = {}
    for position in positions:
        groups.setdefault(_ends(pairs, position), []).append(position)
    return list(groups.values())


def _ends(pairs: PairTable, position: int) -> tuple[str, str]:
    """Return the image keys of a pair, the lesser first."""
    source, target = str(pairs.sources[position]), str(pairs.targets[position])
    return (source, target) if source <= target else (target, source)


def _rank(pairs: PairTable, position: int) -> bytes:
    """Return what a pair is ordered by; its reverse has the same."""
    return hashlib.blake2b("\0".join(_ends(pairs, position)).encode(), digest_size=16).digest()
