"""The unit of work, (condition, category): what it consists of, and how it is answered.

About 27 pictures and 680 pairs of SPair-71k. Batches are formed from the unit alone; answers do
not depend on what else is run, where, or in which order.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from spairc.pairs import PairTable
from spairc.pictures import Pictures
from spairc.rescale import as_seen, to_original
from spairc.types import CLEAN, BadInput, Condition, Features, Image, Matcher, Points, Query, Size

Side = Literal["both", "source", "target"]
Shown: TypeAlias = tuple[str, Condition]  # a picture as a matcher sees it: image key, condition

_READERS = 2  # threads that decode and corrupt while the matcher encodes
_GROUP = 8  # pictures that are encoded together; twice as many wait, decoded, at most
_FAR = 10  # times the target's longer side: no match is there, only a mistaken frame


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


@dataclass(frozen=True, eq=False)
class Answerer:
    """What does a unit: a matcher, and where its pictures come from."""

    matcher: Matcher
    pictures: Pictures
    side: Side

    def __call__(self, unit: Unit) -> Answered:
        """Return the answers to a unit's pairs.

        Raises:
            BadInput: If an answer has the wrong shape, is not finite or lies far outside the
                target; names pair and condition.
        """
        start = time.perf_counter()
        source = unit.condition if self.side in ("both", "source") else CLEAN
        target = unit.condition if self.side in ("both", "target") else CLEAN
        needed = {(key, source) for key in unit.pairs.sources.tolist()}
        needed |= {(key, target) for key in unit.pairs.targets.tolist()}
        order = sorted(needed, key=lambda each: (each[0], each[1].severity))
        features, sizes, waited = self._encoded(order)
        seen = replace(unit, pairs=as_seen(unit.pairs, sizes, source, target))
        answers = self.matcher.match(queries_of(seen.pairs, features, source, target))
        _check(answers, seen)
        found = to_original(np.concatenate(answers).astype(np.float64), seen.pairs, unit.pairs)
        return Answered(unit, found, time.perf_counter() - start, waited)

    def _encoded(
        self, order: Sequence[Shown]
    ) -> tuple[dict[Shown, Features], dict[Shown, Size], float]:
        """Return each picture's features and its size, and the seconds of waiting for pictures."""
        features: list[Features] = []
        sizes: list[Size] = []
        waited = 0.0
        images = self._read(order)
        for first in range(0, len(order), _GROUP):
            start = time.perf_counter()
            group = [next(images) for _ in order[first : first + _GROUP]]
            waited += time.perf_counter() - start
            encoded = self.matcher.encode(group)
            if len(encoded) != len(group):
                count = f"{len(encoded)} for {len(group)} pictures"
                raise BadInput(f"{self.matcher.name}: encode gave {count}")
            features += encoded
            sizes += [Size(*image.shape[1::-1]) for image in group]
        return (
            dict(zip(order, features, strict=True)),
            dict(zip(order, sizes, strict=True)),
            waited,
        )

    def _read(self, order: Sequence[Shown]) -> Iterator[Image]:
        """Yield the pictures in order, reading ahead."""
        ahead: deque[Future[Image]] = deque()
        with ThreadPoolExecutor(_READERS) as pool:
            for key, condition in order:
                ahead.append(pool.submit(self.pictures.read, key, condition))
                if len(ahead) > 2 * _GROUP:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()


def make_answerer(load: Callable[[], Matcher], pictures: Pictures, side: Side) -> Answerer:
    """Return what does units in a worker, where `load` makes the matcher."""
    return Answerer(load(), pictures, side)


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
    if len(answers) != len(unit.pairs):
        raise BadInput(f"the matcher gave {len(answers)} answers for {len(unit.pairs)} pairs")
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
