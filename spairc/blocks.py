"""How a unit is done where memory is short: few features at a time, and smaller batches.

Pictures are encoded in groups. Where not all features of a unit fit, some groups stay while the
others pass by one after the other, then the next ones stay; so every two groups are held together
once. What is encoded in which group follows from the unit and the room alone.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

GROUP = 8  # pictures that are encoded together

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, eq=False)
class Step:
    """Groups that are held at the same time, and what is matched meanwhile."""

    groups: tuple[int, ...]
    pairs: NDArray[np.int64]  # positions of the pairs; never none


@dataclass(frozen=True, eq=False)
class Blocks:
    """The steps of a unit."""

    pictures: int
    size: int  # pictures of a group; the last one may have fewer
    steps: tuple[Step, ...]

    def group(self, number: int) -> range:
        """Return the pictures of a group."""
        return range(number * self.size, min((number + 1) * self.size, self.pictures))

    def encoded(self) -> Iterator[tuple[int, ...]]:
        """Yield the groups that have to be encoded for each step; the others are there still."""
        held: tuple[int, ...] = ()
        for step in self.steps:
            yield tuple(each for each in step.groups if each not in held)
            held = step.groups

    @property
    def encodings(self) -> int:
        """How many pictures are encoded, each as often as it is."""
        return sum(len(self.group(each)) for groups in self.encoded() for each in groups)


def blocks_of(sources: NDArray[np.int64], targets: NDArray[np.int64], room: int | None) -> Blocks:
    """Return how a unit's pairs are matched while few of its pictures' features are held.

    Args:
        sources: (N,) number of each pair's source among the unit's pictures, 0 and up.
        targets: (N,) the same of its target.
        room: How many pictures' features there is room for, at least 2; None for all.
    """
    pictures = int(max(sources.max(), targets.max())) + 1
    if room is None or room >= pictures:
        size, held = GROUP, -(-pictures // GROUP)
    else:
        size = GROUP if room >= 2 * GROUP else room // 2
        held = room // size
    groups = -(-pictures // size)
    first, second = np.sort([sources // size, targets // size], axis=0)
    steps = [
        Step(together, np.flatnonzero(_matched_in(together, first, second, held, groups)))
        for together in _held_together(groups, held)
    ]
    return Blocks(pictures, size, tuple(step for step in steps if len(step.pairs)))


def _held_together(groups: int, held: int) -> Iterator[tuple[int, ...]]:
    """Yield the groups of each step: those that stay, then each later one beside them.

    The one that passes last is the first of those that stay next, and need not be encoded again.
    """
    if groups <= held:
        yield tuple(range(groups))
        return
    staying = held - 1
    for start in range(0, groups, staying):
        stay = tuple(range(start, min(start + staying, groups)))
        yield stay
        for passing in range(groups - 1, stay[-1], -1):
            yield (*stay, passing)


def _matched_in(
    together: tuple[int, ...],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    held: int,
    groups: int,
) -> NDArray[np.bool_]:
    """(N,) whether a pair of these groups, the lesser first, is matched in this step."""
    if groups <= held:
        return np.ones(len(first), dtype=np.bool_)
    *stay, last = together
    if len(together) < held:  # nothing passes by
        return np.asarray(np.isin(first, together) & np.isin(second, together))
    return np.asarray(np.isin(first, stay) & (second == last))


class Halving:
    """Calls a function with fewer things at a time once memory ran out."""

    def __init__(self) -> None:
        self.most: int | None = None  # at a time; None until memory ran out

    def batches(
        self, function: Callable[[Sequence[Item]], list[Answer]], items: Sequence[Item]
    ) -> Iterator[tuple[Sequence[Item], list[Answer]]]:
        """Yield all items with the function's answers: in one batch, or in several smaller ones.

        Raises:
            MemoryError: If there is no memory for one item.
        """
        start = 0
        while start < len(items):
            batch = items[start : start + (self.most or sys.maxsize)]
            try:
                answers = function(batch)
            except MemoryError:
                if len(batch) == 1:
                    raise
                answers = None
            # Here the error is gone, and with it what the failed call still held.
            if answers is None:
                self.most = len(batch) // 2
                continue
            start += len(batch)
            yield batch, answers
