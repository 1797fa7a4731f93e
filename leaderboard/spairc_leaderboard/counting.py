"""From answers to the numbers of an entry; the same for who sends one and for who checks it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spairc.metrics import (
    PCK,
    Answers,
    distance,
    mce,
    mean_corrupted,
    relative_corrupted,
    relative_mce,
)
from spairc.pairs import PairTable
from spairc.protocols import PROTOCOLS
from spairc.published import TABLE_4, TABLE_4_METRIC, is_official_test_list
from spairc.spec import CONDITIONS
from spairc.statistics import CLEAN_PCK, Interval, Sample, TooFew, resample
from spairc.types import CLEAN, BadInput, Condition, Points
from spairc_leaderboard.entry import PUBLISHED, Benchmark, Derived, Estimate, Scores, rounded
from spairc_leaderboard.predictions import digest_of

SEED = 0  # the same answers give the same intervals
EXACT = 0.01  # pixels; nearer to the truth than this is as good as equal to it
PUBLISHED_MODEL = "CATs"  # of Table 4; the paper's baseline

Values = Mapping[Condition, float]  # percent


@dataclass(frozen=True)
class Cell:
    """What was seen of the answers under one condition."""

    digest: str
    median: float  # pixels between answer and truth
    exact: float  # share of the answers that are the truth
    values: tuple[float, ...]  # percent, by protocol
    hits: tuple[NDArray[np.int64], ...]  # (N,) points found of each pair, by protocol


def count_cell(pairs: PairTable, found: Points, metrics: Sequence[PCK]) -> Cell:
    """Return what there is to say of the answers under one condition.

    Args:
        pairs: The truth.
        found: (P, 2) the answers, as precise as they are stored.
        metrics: How to count, one for each protocol.
    """
    answers = Answers(pairs, found)
    distances = distance(found, pairs.target_points)
    return Cell(
        digest=digest_of(found),
        median=float(np.median(distances)),
        exact=float((distances <= EXACT).mean()),
        values=tuple(metric(answers) for metric in metrics),
        hits=tuple(
            np.bincount(pairs.pair_of_point[metric.hits(answers)], minlength=len(pairs))
            for metric in metrics
        ),
    )


def scores_of(
    pairs: PairTable,
    cells: Mapping[Condition, Cell],
    protocols: Sequence[str],
    baselines: Mapping[str, tuple[str, Values]],
) -> tuple[Scores, ...]:
    """Return the scores by each protocol, rounded as they are stored.

    Args:
        pairs: The truth.
        cells: All 76, counted by the metrics of these protocols, in their order.
        protocols: By name.
        baselines: What mCE divides by, for each protocol that has one: its name and 76 scores.
    """
    found = []
    for place, name in enumerate(protocols):
        baseline, against = baselines.get(name, ("", None))
        metric = PROTOCOLS[name].metric()
        derived = derived_of(pairs, cells, place, metric, against)
        stored = {field: None if each is None else _stored(each) for field, each in derived.items()}
        found.append(
            Scores(
                protocol=name,
                metric=str(metric),
                baseline=baseline,
                values={str(each): rounded(cells[each].values[place]) for each in CONDITIONS},
                derived=Derived(**stored),  # type: ignore[arg-type]  # clean and mPC are never None
            )
        )
    return tuple(found)


def derived_of(
    pairs: PairTable,
    cells: Mapping[Condition, Cell],
    place: int,
    metric: PCK,
    against: Values | None,
) -> dict[str, Interval | None]:
    """Return what follows from the 76 values, by the fields of `Derived`, in full precision.

    Args:
        pairs: The truth.
        cells: All 76.
        place: Of the metric among those that the cells were counted by.
        metric: How they were counted.
        against: The 76 scores that mCE divides by, if there are any.
    """
    values = {each: cells[each].values[place] for each in CONDITIONS}
    hits = np.stack([cells[each].hits[place] for each in CONDITIONS])
    intervals = _intervals(Sample(pairs, CONDITIONS, metric, hits), against)
    absolute, relative = (None, None) if against is None else _errors(values, against)
    clean = values[CLEAN]
    told = {
        "clean": (CLEAN_PCK, clean),
        "mpc": ("mPC", mean_corrupted(values)),
        "rpc": ("rPC", relative_corrupted(values) if clean > 0 else None),
        "mce": ("mCE", absolute),
        "relative_mce": ("relative mCE", relative),
    }
    none = Interval(np.nan, np.nan, np.nan)
    return {
        field: None if value is None else replace(intervals.get(name, none), estimate=value)
        for field, (name, value) in told.items()
    }


def published_baseline(benchmark: Benchmark, pairs: PairTable, metric: PCK) -> Values:
    """Return the CATs row of the paper's Table 4.

    Raises:
        BadInput: If the benchmark is not what that table measured.
    """
    same = (
        (benchmark.dataset, benchmark.split) == ("spair71k", "test")
        and is_official_test_list(pairs)
        and benchmark.side == "both"
        and metric == TABLE_4_METRIC
    )
    if not same:
        raise BadInput(
            f"the published baseline is {TABLE_4_METRIC} on SPair-71k's 12,234 test pairs, both "
            f"pictures corrupted; name an entry of the repository as the baseline"
        )
    return TABLE_4[PUBLISHED_MODEL].scores()


def values_of(scores: Scores) -> Values:
    """Return the 76 values by condition."""
    return {each: scores.values[str(each)] for each in CONDITIONS}


def default_baseline(benchmark: Benchmark, pairs: PairTable, metric: PCK) -> str:
    """Return what mCE divides by where nothing else is asked: Table 4 where it may, or nothing."""
    try:
        published_baseline(benchmark, pairs, metric)
    except BadInput:
        return ""
    return PUBLISHED


def _intervals(sample: Sample, against: Values | None) -> Mapping[str, Interval]:
    """Return 95 % intervals by quantity; none if there are too few pictures."""
    try:
        found = resample([sample], np.random.default_rng(SEED), baseline=against)
    except TooFew:
        return {}
    return found.intervals(0)


def _errors(values: Values, against: Values) -> tuple[float | None, float | None]:
    """Return mCE and relative mCE; None where the baseline makes them meaningless."""
    mine, theirs = (
        {each: 100 - scores[each] for each in CONDITIONS} for scores in (values, against)
    )
    found: list[float | None] = []
    for measure in (mce, relative_mce):
        try:
            found.append(measure(mine, theirs))
        except BadInput:
            found.append(None)
    return found[0], found[1]


def _stored(found: Interval) -> Estimate:
    """Return a number as it is stored, with its interval where that is defined."""
    value, low, high = (rounded(each) for each in (found.estimate, found.low, found.high))
    if np.isfinite([low, high]).all():
        return Estimate(value, low, high)
    return Estimate(value, None, None)
