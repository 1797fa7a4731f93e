"""What a run will cost, from a short probe of the very matcher on the very pictures.

The probe corrupts and encodes a few pictures and matches a few pairs. It predicts; it promises
nothing: a machine that does something else in the meantime is slower.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spairc.evaluate import Plan
from spairc.runs import Run
from spairc.subset import SHARES
from spairc.types import CLEAN, Condition, Features
from spairc.units import queries_of

_SOON = 90  # seconds, and minutes: below that many the smaller unit is what people say
_PICTURES = 4  # the first is not counted: what is loaded or compiled once is paid by it
_PAIRS = 6


@dataclass(frozen=True)
class Cost:
    """What is left of a run to be done."""

    units: int  # a condition and a category each
    pictures: int  # to corrupt and encode
    pairs: int  # to match
    seconds: float
    features: int  # bytes that the features of the largest unit take

    def __str__(self) -> str:
        return (
            f"{self.units:,} units, {self.pictures:,} pictures, {self.pairs:,} pairs: "
            f"about {duration(self.seconds)}, {self.features / 1e6:,.0f} MB of features"
        )


def predict_cost(planned: Plan, run: Run | None = None) -> Cost:
    """Return what a planned run will cost.

    Args:
        planned: The run.
        run: Its folder, if it was begun already: complete conditions cost nothing.
    """
    done = set() if run is None else set(run.conditions)
    left = [each for each in planned.conditions if each not in done]
    pictures, largest, categories = _pictures_of(planned)
    per_picture, per_pair, size = _probe(planned, left or planned.conditions)
    seconds = len(left) * (pictures * per_picture + len(planned.pairs) * per_pair)
    return Cost(
        units=len(left) * categories,
        pictures=len(left) * pictures,
        pairs=len(left) * len(planned.pairs),
        seconds=seconds,
        features=largest * size,
    )


def affordable_share(cost: Cost, seconds: float) -> float:
    """Return the largest of `SHARES` of the pairs that fits into a time.

    The time of pictures is taken to shrink as that of pairs does, which is what happens once a
    category's pairs no longer need all of its pictures; before that, the run takes longer.
    """
    return next((share for share in SHARES if share * cost.seconds <= seconds), SHARES[-1])


def duration(seconds: float) -> str:
    """Return a time as people say it: 40 s, 12 min, 3 h 20 min."""
    if seconds < _SOON:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < _SOON else f"{minutes // 60} h {minutes % 60} min"


def _pictures_of(planned: Plan) -> tuple[int, int, int]:
    """Return how many pictures a condition needs, the most of one category, and how many of them.

    Where one side alone is corrupted, a picture that is in both roles is encoded twice.
    """
    counts = []
    for category in np.unique(planned.pairs.categories):
        pairs = planned.pairs.select(np.flatnonzero(planned.pairs.categories == category))
        if planned.side == "both":
            counts.append(len(pairs.image_keys))
        else:
            counts.append(len(set(pairs.sources)) + len(set(pairs.targets)))
    return sum(counts), max(counts), len(counts)


def _probe(planned: Plan, conditions: Sequence[Condition]) -> tuple[float, float, int]:
    """Return seconds per picture, seconds per pair and bytes of features per picture."""
    keys = planned.pairs.image_keys[:_PICTURES]
    chosen = [conditions[len(conditions) * i // len(keys)] for i in range(len(keys))]
    times, encoded = [], []
    for key, condition in zip(keys, chosen, strict=True):
        start = time.perf_counter()
        encoded += planned.matcher.encode([planned.pictures.read(key, condition)])
        times.append(time.perf_counter() - start)
    features = {
        (key, CLEAN): encoded[i % len(encoded)] for i, key in enumerate(planned.pairs.image_keys)
    }
    queries = queries_of(planned.pairs[: _PAIRS + 1], features, CLEAN, CLEAN)
    planned.matcher.match(queries[:1])
    start = time.perf_counter()
    planned.matcher.match(queries[1:] or queries)
    per_pair = (time.perf_counter() - start) / len(queries[1:] or queries)
    return float(np.median(times[1:] or times)), per_pair, max(map(_bytes_of, encoded))


def _bytes_of(features: Features) -> int:
    """Return how much memory a features object takes, as far as its arrays tell."""
    if isinstance(features, Mapping):
        return sum(map(_bytes_of, features.values()))
    if isinstance(features, list | tuple):
        return sum(map(_bytes_of, features))
    return int(getattr(features, "nbytes", 0))
