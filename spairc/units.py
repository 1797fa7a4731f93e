"""The unit of work, (condition, category): what it consists of, and how it is answered.

About 27 pictures and 680 pairs of SPair-71k. Batches are formed from the unit alone; answers do
not depend on what else is run, where, or in which order.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from spairc.blocks import GROUP, Blocks, Halving, blocks_of
from spairc.pairs import PairTable
from spairc.pictures import Pictures
from spairc.rescale import as_seen, to_original
from spairc.types import CLEAN, BadInput, Condition, Features, Image, Matcher, Points, Query, Size

Side = Literal["both", "source", "target"]
Shown: TypeAlias = tuple[str, Condition]  # a picture as a matcher sees it: image key, condition

_AHEAD = 2 * GROUP  # pictures that wait, decoded, at most
_FAR = 10  # times the target's longer side: no match is there, only a mistaken frame
_FEWEST = 2  # pictures whose features are held: those of one pair


@dataclass(frozen=True)
class Unit:
    """One category under one condition."""

    condition: Condition
    number: int  # of the category, in the order of their names
    category: str
    pairs: PairTable


@dataclass(frozen=True, eq=False)
class Answered:
    """A unit that is done."""

    unit: Unit
    found: Points  # (P, 2) the answers to the unit's pairs, in their order
    seconds: float
    waited: float  # seconds of them in which the matcher waited for pictures
    encoded: int  # pictures, each as often as it was encoded
    changed: Mapping[str, int]  # where memory was short: how many "pictures", "pairs" at a time


@dataclass(frozen=True)
class Means:
    """What a worker may use."""

    room: int | None = None  # pictures whose features are held at once; None for all of a unit
    readers: int = 2  # threads that decode and corrupt while the matcher encodes


@dataclass(frozen=True, eq=False)
class Answerer:
    """What does a unit: a matcher, and where its pictures come from."""

    matcher: Matcher
    pictures: Pictures
    side: Side
    means: Means = Means()

    def __call__(self, unit: Unit) -> Answered:
        """Return the answers to a unit's pairs.

        Where memory runs out, fewer pictures or pairs are tried at a time, and then fewer features
        held; the next unit begins with all again.

        Raises:
            BadInput: If an answer has the wrong shape, is not finite or lies far outside the
                target (pair and condition are named), or two pictures are too much for the memory.
        """
        start = time.perf_counter()
        room = self.means.room
        while True:
            attempt = Attempt(self, unit, room)
            try:
                found = attempt.answers()
            except MemoryError:
                found = None
            # Here the error is gone, and with it what the failed attempt still held.
            if found is not None:
                break
            room = min(attempt.blocks.pictures, room or attempt.blocks.pictures) // 2
            if room < _FEWEST:
                raise BadInput(
                    f"{unit.category}, {unit.condition}: two pictures are too much for the memory; "
                    f"use fewer --workers, a smaller --input-side or another --device"
                )
        seconds = time.perf_counter() - start
        encoded, changed = attempt.blocks.encodings, attempt.changed()
        return Answered(unit, found, seconds, attempt.waited, encoded, changed)


class Attempt:
    """One try at a unit, with room for the features of so many pictures."""

    def __init__(self, how: Answerer, unit: Unit, room: int | None) -> None:
        self._how, self._unit = how, unit
        self._source, self._target = shown_conditions(unit.condition, how.side)
        self._order, self.blocks = arranged(unit.pairs, self._source, self._target, room)
        self._encode, self._match = Halving(), Halving()
        self.waited = 0.0

    def answers(self) -> Points:
        """Return (P, 2) answers to the unit's pairs.

        Raises:
            BadInput: If an answer is none.
            MemoryError: If there is too little, whatever the size of the batches.
        """
        pairs, blocks = self._unit.pairs, self.blocks
        found = np.empty_like(pairs.source_points)
        held: dict[int, list[tuple[Shown, Features, Size]]] = {}
        encoded = list(blocks.encoded())
        needed = [self._order[i] for new in encoded for group in new for i in blocks.group(group)]
        with closing(self._read(needed)) as images:
            for step, new in zip(blocks.steps, encoded, strict=True):
                held = {group: held[group] for group in step.groups if group not in new}
                for group in new:
                    held[group] = self._encoded(blocks.group(group), images)
                some = replace(self._unit, pairs=pairs.select(step.pairs))
                found[pairs.rows(step.pairs)] = self._matched(some, held)
        return found

    def changed(self) -> dict[str, int]:
        """Return how many pictures and pairs were taken at a time, where memory was short."""
        sizes = {"pictures": self._encode.most, "pairs": self._match.most}
        if self.blocks.size < GROUP:
            sizes["pictures"] = min(self.blocks.size, self._encode.most or GROUP)
        return {name: most for name, most in sizes.items() if most is not None}

    def _encoded(
        self, group: Sequence[int], images: Iterator[Image]
    ) -> list[tuple[Shown, Features, Size]]:
        """Return a group's pictures with their features and sizes."""
        start = time.perf_counter()
        some = [next(images) for _ in group]
        self.waited += time.perf_counter() - start
        matcher, features = self._how.matcher, []
        for batch, encoded in self._encode.batches(matcher.encode, some):
            if len(encoded) != len(batch):
                count = f"{len(encoded)} for {len(batch)} pictures"
                raise BadInput(f"{matcher.name}: encode gave {count}")
            features += encoded
        sizes = [Size(*image.shape[1::-1]) for image in some]
        return list(zip([self._order[i] for i in group], features, sizes, strict=True))

    def _matched(
        self, unit: Unit, held: Mapping[int, Sequence[tuple[Shown, Features, Size]]]
    ) -> Points:
        """Return the answers to pairs whose pictures' features are held."""
        known = [each for group in held.values() for each in group]
        sizes = {shown: size for shown, _, size in known}
        seen = as_seen(unit.pairs, sizes, self._source, self._target)
        features = {shown: feature for shown, feature, _ in known}
        queries = queries_of(seen, features, self._source, self._target)
        answers: list[Points] = []
        for batch, found in self._match.batches(self._how.matcher.match, queries):
            if len(found) != len(batch):
                raise BadInput(f"the matcher gave {len(found)} answers for {len(batch)} pairs")
            answers += found
        _check(answers, replace(unit, pairs=seen))
        return to_original(np.concatenate(answers).astype(np.float64), seen, unit.pairs)

    def _read(self, order: Sequence[Shown]) -> Generator[Image]:
        """Yield the pictures in order, reading ahead."""
        ahead: deque[Future[Image]] = deque()
        with ThreadPoolExecutor(self._how.means.readers) as pool:
            for key, condition in order:
                ahead.append(pool.submit(self._how.pictures.read, key, condition))
                if len(ahead) > _AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()


def make_answerer(
    load: Callable[[], Matcher], pictures: Pictures, side: Side, means: Means
) -> Answerer:
    """Return what does units in a worker, where `load` makes the matcher."""
    return Answerer(load(), pictures, side, means)


def shown_conditions(condition: Condition, side: Side) -> tuple[Condition, Condition]:
    """Return what is done to sources and to targets where one side or both are corrupted."""
    return (
        condition if side in ("both", "source") else CLEAN,
        condition if side in ("both", "target") else CLEAN,
    )


def arranged(
    pairs: PairTable, source: Condition, target: Condition, room: int | None
) -> tuple[list[Shown], Blocks]:
    """Return the pictures of a unit in the order in which they are encoded, and its steps.

    Args:
        pairs: The unit's.
        source: What was done to the sources.
        target: What was done to the targets.
        room: How many pictures' features there is room for; None for all.
    """
    sources = [(key, source) for key in pairs.sources.tolist()]
    targets = [(key, target) for key in pairs.targets.tolist()]
    order = sorted({*sources, *targets}, key=lambda each: (each[0], each[1].severity))
    number = {shown: i for i, shown in enumerate(order)}
    first, second = (np.array([number[each] for each in ends]) for ends in (sources, targets))
    return order, blocks_of(first, second, room)


def units(pairs: PairTable, conditions: Sequence[Condition]) -> Iterator[Unit]:
    """Yield the units of work, condition by condition."""
    categories = np.unique(pairs.categories)
    tables = [pairs.select(np.flatnonzero(pairs.categories == each)) for each in categories]
    for condition in conditions:
        for number, (category, table) in enumerate(zip(categories, tables, strict=True)):
            yield Unit(condition, number, str(category), table)


def queries_of(
    pairs: PairTable,
    features: Mapping[tuple[str, Condition], Features],
    source: Condition,
    target: Condition,
) -> list[Query]:
    """Return what a matcher is asked, a query per pair.

    Args:
        pairs: The pairs.
        features: By image key and condition.
        source: What was done to the sources.
        target: What was done to the targets.
    """
    return [
        Query(
            source=features[pair.source, source],
            target=features[pair.target, target],
            points=pair.source_points,
            source_size=pair.source_size,
            target_size=pair.target_size,
            category=pair.category,
        )
        for pair in pairs
    ]


def _check(answers: Sequence[Points], unit: Unit) -> None:
    """Raise BadInput for the first answer that is none."""
    for pair, found in zip(unit.pairs, answers, strict=True):
        where = f"pair {pair.id}, {unit.condition}"
        if np.shape(found) != pair.source_points.shape:
            shape, expected = np.shape(found), pair.source_points.shape
            raise BadInput(f"{where}: the matcher's answer has shape {shape}, not {expected}")
        if not np.isfinite(found).all():
            raise BadInput(f"{where}: the matcher's answer is not finite")
        if np.abs(found).max() > _FAR * max(pair.target_size):
            width, height = pair.target_size
            raise BadInput(
                f"{where}: the matcher's answer is far outside the target of {width} x {height}; "
                f"it must be in original pixels"
            )
