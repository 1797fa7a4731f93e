"""What a run will cost, from a short probe of the very matcher on the very pictures.

The probe corrupts and encodes a few pictures and matches a few pairs. It predicts; it promises
nothing: a machine that does something else in the meantime is slower.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass

import numpy as np

from spairc.blocks import Halving
from spairc.evaluate import Plan
from spairc.machine import cores, memory
from spairc.runs import Run
from spairc.subset import SHARES
from spairc.types import CLEAN, BadInput, Condition, Features
from spairc.units import arranged, queries_of, shown_conditions

_SOON = 90  # seconds, and minutes: below that many the smaller unit is what people say
_PICTURES = 4  # the first is not counted: what is loaded or compiled once is paid by it
_PAIRS = 6
_SHARE_OF_MEMORY = 0.25  # for features, unless the user says otherwise
_FEWEST = 2  # pictures whose features must fit


@dataclass(frozen=True)
class Allowance:
    """What a run may use."""

    memory: int | None = None  # bytes for features on each device; None for a quarter of it
    workers: int = 1
    devices: int = 0  # GPUs that the workers share; 0 where the processors do everything
    shards: int = 1  # of which it does one


@dataclass(frozen=True)
class Cost:
    """What is left of a run to be done."""

    units: int  # a condition and a category each
    pictures: int  # to corrupt and encode, each as often as it is
    pairs: int  # to match
    seconds: float
    features: int  # bytes of features that a worker holds at most
    room: int | None = None  # pictures that this is room for; None where all of a unit fit
    repeats: float = 1.0  # how often a picture is encoded under a condition

    def __str__(self) -> str:
        held = f"{self.features / 1e6:,.0f} MB of features"
        if self.room is not None:
            held += f" at once (--memory), so a picture is encoded {self.repeats:.1f} times"
        return (
            f"{self.units:,} units, {self.pictures:,} pictures, {self.pairs:,} pairs: "
            f"about {duration(self.seconds)}, {held}"
        )


@dataclass(frozen=True)
class _Probed:
    """What a picture and a pair were seen to take."""

    reading: float  # seconds of one core per picture
    encoding: float  # seconds per picture, of all cores or of a GPU
    matching: float  # seconds per pair, likewise
    features: int  # bytes per picture


def predict_cost(planned: Plan, run: Run | None = None, allowance: Allowance | None = None) -> Cost:
    """Return what a planned run will cost.

    Args:
        planned: The run.
        run: Its folder, if it was begun already: complete conditions cost nothing.
        allowance: What it may use; one worker by default.

    Raises:
        BadInput: If not even two pictures' features fit into the memory.
    """
    allowance = allowance or Allowance()
    done = set() if run is None else set(run.conditions)
    left = [each for each in planned.conditions if each not in done]
    probed = _probe(planned, left or planned.conditions)
    room = _room(planned, allowance, probed.features)
    pictures, once, held, categories = 0, 0, 0, 0
    for condition in left:
        counts = _counts(planned, condition, room)
        pictures += sum(encodings for encodings, _ in counts)
        once += sum(there for _, there in counts)
        held = max(held, *(there for _, there in counts))
        categories = len(counts)
    shards = allowance.shards
    pairs, pictures = len(left) * len(planned.pairs) // shards, pictures // shards
    bounded = room is not None and room < held
    return Cost(
        units=-(-len(left) * categories // shards),
        pictures=pictures,
        pairs=pairs,
        seconds=_seconds(allowance, probed, pictures, pairs),
        features=(room if room is not None and bounded else held) * probed.features,
        room=room if bounded else None,
        repeats=shards * pictures / once if once else 1.0,
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


def _room(planned: Plan, allowance: Allowance, features: int) -> int | None:
    """Return how many pictures' features each worker has room for; None where they take none."""
    if not features:
        return None
    whole = allowance.memory or int(
        _SHARE_OF_MEMORY * (getattr(planned.matcher, "memory", None) or memory())
    )
    sharing = -(-allowance.workers // max(1, allowance.devices))
    room = whole // sharing // features
    if room < _FEWEST:
        need = _FEWEST * sharing * features
        raise BadInput(
            f"--memory {whole / 1e6:,.0f}MB is too little: a picture's features take "
            f"{features / 1e6:,.1f} MB, and each worker holds those of two at least; allow "
            f"{need / 1e6:,.0f}MB or use fewer --workers"
        )
    return room


def _counts(planned: Plan, condition: Condition, room: int | None) -> list[tuple[int, int]]:
    """Return for each category how many pictures are encoded, repeats counted, and how many not."""
    source, target = shown_conditions(condition, planned.side)
    counts = []
    for category in np.unique(planned.pairs.categories):
        pairs = planned.pairs.select(np.flatnonzero(planned.pairs.categories == category))
        order, blocks = arranged(pairs, source, target, room)
        counts.append((blocks.encodings, len(order)))
    return counts


def _seconds(allowance: Allowance, probed: _Probed, pictures: int, pairs: int) -> float:
    """Return how long it takes: GPUs work while pictures are read, processors do both in turn."""
    reading = pictures * probed.reading / cores()
    working = pictures * probed.encoding + pairs * probed.matching
    return max(reading, working / allowance.devices) if allowance.devices else reading + working


def _probe(planned: Plan, conditions: Sequence[Condition]) -> _Probed:
    """Read and encode a few pictures, match a few pairs."""
    matcher, keys = planned.matcher, planned.pairs.image_keys[:_PICTURES]
    chosen = [conditions[len(conditions) * i // len(keys)] for i in range(len(keys))]
    shown = list(zip(keys, chosen, strict=True))
    for _ in range(2):  # the first time every corruption loads its kernels
        start = time.perf_counter()
        images = [planned.pictures.read(*each) for each in shown]
    reading = (time.perf_counter() - start) / len(images)
    encoded = list(matcher.encode(images[:1]))
    rest = images[1:] or images
    start = time.perf_counter()
    encoded += [each for _, found in Halving().batches(matcher.encode, rest) for each in found]
    encoding = (time.perf_counter() - start) / len(rest)
    features = {
        (key, CLEAN): encoded[i % len(encoded)] for i, key in enumerate(planned.pairs.image_keys)
    }
    queries = queries_of(planned.pairs[: _PAIRS + 1], features, CLEAN, CLEAN)
    matcher.match(queries[:1])
    some = queries[1:] or queries
    start = time.perf_counter()
    list(Halving().batches(matcher.match, some))
    matching = (time.perf_counter() - start) / len(some)
    return _Probed(reading, encoding, matching, max(map(_bytes_of, encoded)))


def _bytes_of(features: Features) -> int:
    """Return how much memory a features object takes, as far as its arrays tell."""
    if isinstance(features, Mapping):
        return sum(map(_bytes_of, features.values()))
    if isinstance(features, list | tuple):
        return sum(map(_bytes_of, features))
    if is_dataclass(features):
        return sum(map(_bytes_of, vars(features).values()))
    return int(getattr(features, "nbytes", 0))
