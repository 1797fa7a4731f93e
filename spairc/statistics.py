"""Bootstrap intervals that respect that pairs share pictures.

The pairs of a list are far from independent: SPair-71k's 12,234 test pairs are made of about 480
pictures, and a picture that a matcher cannot read spoils fifty pairs at once. So pictures are what
is resampled, with replacement, within their category. A resample that holds picture a twice and
picture b three times holds the pair of a and b six times, as a list of all pairs of the drawn
pictures would: a pair's weight is the product of how often its two pictures were drawn. Both
directions of a pair get the same weight.

This is the node bootstrap of Snijders & Borgatti (1999), for two-way data the pigeonhole bootstrap
of Owen (2007), with one correction: three pictures fewer are drawn than there are. Drawing all n
gives intervals that are too narrow when a category has few pictures: by (n - 1) / n in variance as
in any stratum (McCarthy & Snowden, 1985), and by (n - 2) / (n - 1) in width because a picture that
is drawn twice is not paired with itself. (n - 2)^2 / (n - 1), about n - 3, draws make up for both.

What belongs to a pair alone, and to neither of its pictures, is counted up to three times as
variance. So the intervals are never too narrow for want of independence, but wide where pictures
are shared by few pairs, as in PF-PASCAL: there nearly twice as wide as they could be. With fewer
than five pictures a category they are too narrow. `tests/test_statistics.py` simulates all three.

Differences of two runs come from the same resamples for both, so what is hard for both cancels.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spairc.metrics import PCK, SMALLEST_DROP
from spairc.pairs import PairTable
from spairc.spec import CONDITIONS, CORRUPTED, CORRUPTION_NAMES, GROUPS, SEVERITIES
from spairc.types import CLEAN, BadInput, Condition

RESAMPLES = 1000
CONFIDENCE = 0.95
MOST_EMPTY = 0.05  # share of resamples that may hold no pair at all
NOT_DRAWN = 3  # so many pictures fewer are drawn than a category has: see above
CLEAN_PCK = "clean PCK"  # what the score under the clean condition is called
FEWEST_DRAWN = 4  # with fewer, resamples hold too few pairs to mean anything

# Standard deviations of PCK in points that MobileNetV2's nearest features were seen to have on
# pictures of PF-WILLOW, about the same clean and corrupted: between categories, what a picture
# adds to all its pairs, and what is a pair's own.
OF_A_CATEGORY, OF_A_PICTURE, OF_A_PAIR = 15.0, 7.0, 18.0
_TRIALS = 200  # resamples of invented scores: enough for one decimal or so

Scores = NDArray[np.float64]  # (R, C) percent, by resample and condition


class TooFew(BadInput):
    """There are too few pictures to resample; everything else about the runs can still be told."""


@dataclass(frozen=True, eq=False)
class Sample:
    """What one run found under one metric, C conditions by N pairs."""

    pairs: PairTable
    conditions: tuple[Condition, ...]
    metric: PCK
    hits: NDArray[np.int64]  # (C, N) how many points of each pair were found


@dataclass(frozen=True)
class Interval:
    """An estimate and where it may lie."""

    estimate: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval is on one side of zero."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.estimate:.1f} [{self.low:.1f}, {self.high:.1f}]"


@dataclass(frozen=True, eq=False)
class Resampled:
    """The quantities of several runs over the same resamples; the first row is the list itself."""

    names: tuple[str, ...]  # Q quantities
    values: tuple[NDArray[np.float64], ...]  # (1 + R, Q) for each run
    confidence: float
    conditions: tuple[Condition, ...] = ()  # C that all runs have
    scores: tuple[Scores, ...] = ()  # (1 + R, C) for each run, what the quantities are made of

    def intervals(self, run: int) -> dict[str, Interval]:
        """Return the interval of each quantity of a run, by its position."""
        return self._intervals(self.values[run])

    def differences(self, first: int, second: int) -> dict[str, Interval]:
        """Return the interval of each quantity of one run less that of another."""
        return self._intervals(self.values[first] - self.values[second])

    def mean_over(
        self, conditions: Sequence[Condition], run: int, less: int | None = None
    ) -> Interval:
        """Return the interval of a run's mean score over conditions, less another's if given."""
        scores = self.scores[run] - (0 if less is None else self.scores[less])
        chosen = scores[:, _columns(self.conditions, conditions)]
        return self._of_columns(chosen.mean(axis=1, keepdims=True))[0]

    def _intervals(self, values: NDArray[np.float64]) -> dict[str, Interval]:
        """Return the quantities' intervals by name."""
        return dict(zip(self.names, self._of_columns(values), strict=True))

    def _of_columns(self, values: NDArray[np.float64]) -> list[Interval]:
        """Return percentile intervals of the columns."""
        tail = (1 - self.confidence) / 2
        low, high = np.nanquantile(values[1:], (tail, 1 - tail), axis=0)
        columns = zip(values[0], low, high, strict=True)
        return [Interval(float(e), float(a), float(b)) for e, a, b in columns]


def resample(
    samples: Sequence[Sample],
    draws: np.random.Generator,
    *,
    baseline: Sample | Mapping[Condition, float] | None = None,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Resampled:
    """Return what the runs would score on other pictures of the same kind.

    Args:
        samples: Runs on the same pairs, under the same metric; all by the same resamples.
        draws: Where the resamples come from.
        baseline: What mCE divides by: a run, resampled along; or fixed scores in percent.
        resamples: How many.
        confidence: Of the intervals, percentile intervals each on its own.

    Raises:
        BadInput: If the runs were not asked the same, or the baseline lacks conditions.
        TooFew: If too many resamples hold no pair.
    """
    runs = [*samples, baseline] if isinstance(baseline, Sample) else list(samples)
    _check_alike(runs, resamples, confidence)
    scores = _resampled_scores(runs, draws, resamples)
    _check_enough(scores[0])
    shared = [each for each in CONDITIONS if all(each in run.conditions for run in samples)]
    complete = len(shared) == len(CONDITIONS)
    against = _against(baseline, scores[-1]) if complete else None
    chosen = _quantities(shared, against)
    of_shared = [
        resampled[:, _columns(run.conditions, shared)]
        for run, resampled in zip(samples, scores, strict=False)
    ]
    values = [np.stack([measure(s) for measure in chosen.values()], axis=1) for s in of_shared]
    defined = np.asarray(np.isfinite(np.stack([each[0] for each in values])).all(axis=0))
    names = [name for name, told in zip(chosen, defined, strict=True) if told]
    kept = tuple(each[:, defined] for each in values)
    return Resampled(tuple(names), kept, confidence, tuple(shared), tuple(of_shared))


def resampled_weights(
    pairs: PairTable, draws: np.random.Generator, resamples: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield for each category its pairs and their weights.

    Args:
        pairs: The list.
        draws: Where the resamples come from.
        resamples: How many, R.

    Yields:
        (n,) positions of the category's pairs, and (1 + R, n) weights, the first row all ones: the
        list itself.
    """
    for category in np.unique(pairs.categories):
        positions = np.flatnonzero(pairs.categories == category)
        ends = np.concatenate([pairs.sources[positions], pairs.targets[positions]])
        pictures, index = np.unique(ends, return_inverse=True)
        source, target = index.reshape(2, -1)
        chances = np.full(len(pictures), 1 / len(pictures))
        drawn = max(len(pictures) - NOT_DRAWN, min(len(pictures), FEWEST_DRAWN))
        times = draws.multinomial(drawn, chances, resamples).astype(np.float64)
        weights = np.ones((1 + resamples, len(positions)))
        np.multiply(times[:, source], times[:, target], out=weights[1:])
        yield positions, weights


def expected_margin(pairs: PairTable, draws: np.random.Generator | None = None) -> float:
    """Return how far a score on these pairs may be off: half a 95 % interval, in points.

    For a list that nothing was run on yet. Scores of pairs are invented, with the scatter that
    runs were seen to have; what then decides is how many pictures there are and how many pairs
    share them. NaN if there are too few pictures.

    Args:
        pairs: The list.
        draws: Where the invented scores come from; the same each time by default.
    """
    draws = draws or np.random.default_rng(0)
    total, over = np.zeros(1 + _TRIALS), np.zeros(1 + _TRIALS)
    for positions, weights in resampled_weights(pairs, draws, _TRIALS):
        ends = np.concatenate([pairs.sources[positions], pairs.targets[positions]])
        pictures, index = np.unique(ends, return_inverse=True)
        scores = draws.normal(0, OF_A_PICTURE, len(pictures))[index].reshape(2, -1).sum(axis=0)
        scores += draws.normal(0, OF_A_CATEGORY) + draws.normal(0, OF_A_PAIR, len(positions))
        total += weights @ scores
        over += weights.sum(axis=1)
    if (over == 0).mean() > MOST_EMPTY:
        return float("nan")
    means = total[over > 0] / over[over > 0]
    low, high = np.quantile(means[1:], (0.025, 0.975))
    return float(high - low) / 2


def _resampled_scores(
    runs: Sequence[Sample], draws: np.random.Generator, resamples: int
) -> list[Scores]:
    """Return for each run (1 + R, C) scores; NaN where a resample holds no pair."""
    totals = [np.zeros((1 + resamples, len(run.conditions))) for run in runs]
    over = np.zeros((1 + resamples, 1))
    pairs, average = runs[0].pairs, runs[0].metric.average
    by_image = average in ("image", "image-category")
    for positions, weights in resampled_weights(pairs, draws, resamples):
        counts = pairs.counts[positions]
        asked = weights @ (np.ones(len(counts)) if by_image else counts)
        importance = _importance(average, asked, weights)[:, None]
        over += importance
        for number, run in enumerate(runs):
            hits = run.hits[:, positions]
            found = weights @ (hits / counts if by_image else hits).T
            totals[number] += importance * found / np.maximum(asked, 1)[:, None]  # 0 / 1 where none
    over[over == 0] = np.nan
    return [100 * total / over for total in totals]


def _importance(
    average: str, asked: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (1 + R,) how much a category counts in each resample."""
    if average in ("image", "point"):
        return asked
    return weights.sum(axis=1) if average == "point-category-pairs" else np.sign(asked)


def _quantities(
    conditions: Sequence[Condition], baseline: Scores | None
) -> dict[str, Callable[[Scores], NDArray[np.float64]]]:
    """Return what is told of a run: name -> function of its (1 + R, C) scores.

    Of a complete run: the figures of the headline, then the mean under each group and each
    corruption. Of any other: its conditions.
    """
    if len(conditions) < len(CONDITIONS):
        names = [CLEAN_PCK if each == CLEAN else str(each) for each in conditions]
        return {name: _mean_of([place]) for place, name in enumerate(names)}
    chosen: dict[str, Callable[[Scores], NDArray[np.float64]]] = {
        CLEAN_PCK: _mean_of([0]),
        "mPC": _mean_of(range(1, len(CONDITIONS))),
        "rPC": _relative,
    }
    if baseline is not None:
        chosen["mCE"] = lambda scores: _mce(scores, baseline)
        if _defined(baseline).any():
            chosen["relative mCE"] = lambda scores: _relative_mce(scores, baseline)
    parts = {**GROUPS, **{name: (name,) for name in CORRUPTION_NAMES}}
    for part, members in parts.items():
        places = [1 + i for i, each in enumerate(CORRUPTED) if each.corruption in members]
        chosen[part] = _mean_of(places)
    return chosen


def _mean_of(places: Sequence[int]) -> Callable[[Scores], NDArray[np.float64]]:
    """Return what averages these conditions."""
    columns = list(places)
    return lambda scores: np.asarray(scores[:, columns].mean(axis=1))


def _relative(scores: Scores) -> NDArray[np.float64]:
    """Return rPC; NaN where nothing was found on clean pictures."""
    clean = np.where(scores[:, 0] > 0, scores[:, 0], np.nan)
    return np.asarray(100 * scores[:, 1:].mean(axis=1) / clean)


def _mce(scores: Scores, baseline: Scores) -> NDArray[np.float64]:
    """Return mCE, row by row as `spairc.metrics.mce`; NaN where the baseline makes no error."""
    mine, theirs = _sums(100 - scores[:, 1:]), _sums(100 - baseline[:, 1:])
    return np.asarray(100 * (mine / np.where(theirs > 0, theirs, np.nan)).mean(axis=1))


def _relative_mce(scores: Scores, baseline: Scores) -> NDArray[np.float64]:
    """Return relative mCE over the corruptions that it is defined for on the list itself."""
    defined = _defined(baseline)
    mine, theirs = _losses(scores)[:, defined], _losses(baseline)[:, defined]
    return np.asarray(100 * (mine / np.where(theirs != 0, theirs, np.nan)).mean(axis=1))


def _defined(baseline: Scores) -> NDArray[np.bool_]:
    """Return (15,) whether the baseline loses enough for a ratio to mean something."""
    return np.asarray(_losses(baseline)[0] >= SMALLEST_DROP)


def _losses(scores: Scores) -> NDArray[np.float64]:
    """Return (1 + R, 15) what each corruption takes from the clean score, over the severities."""
    return np.asarray(len(SEVERITIES) * scores[:, :1] - _sums(scores[:, 1:]))


def _sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (1 + R, 15) sums over the five severities of (1 + R, 75) values."""
    return np.asarray(values.reshape(len(values), -1, len(SEVERITIES)).sum(axis=2))


def _against(
    baseline: Sample | Mapping[Condition, float] | None, resampled: Scores
) -> Scores | None:
    """Return (1 + R, 76) or (1, 76) scores of the baseline; `resampled` are its own if it has."""
    if baseline is None:
        return None
    known = baseline.conditions if isinstance(baseline, Sample) else tuple(baseline)
    missing = [str(each) for each in CONDITIONS if each not in known]
    if missing:
        raise BadInput(
            f"the baseline lacks {len(missing)} of the 76 conditions, {missing[0]} among them; "
            f"evaluate it under all conditions"
        )
    if isinstance(baseline, Sample):
        return resampled[:, _columns(known, CONDITIONS)]
    return np.array([[baseline[each] for each in CONDITIONS]])


def _columns(known: Sequence[Condition], wanted: Sequence[Condition]) -> list[int]:
    """Return where the wanted conditions stand among the known ones."""
    return [known.index(each) for each in wanted]


def _check_alike(runs: Sequence[Sample], resamples: int, confidence: float) -> None:
    """Raise BadInput unless the runs can be resampled together, so many times."""
    if resamples < 1 or not 0 < confidence < 1:
        raise BadInput(
            f"{resamples} resamples at confidence {confidence}: ask for at least 1 resample and a "
            f"confidence between 0 and 1"
        )
    first = runs[0]
    for run in runs:
        if run.pairs.hash != first.pairs.hash or run.metric != first.metric:
            raise BadInput(
                "only runs on the same pairs, under the same metric, can be resampled together; "
                "give runs of one pair list and one protocol"
            )
    if not set.intersection(*(set(run.conditions) for run in runs)):
        raise BadInput("the runs have no condition in common; evaluate them under the same ones")


def _check_enough(scores: Scores) -> None:
    """Raise TooFew if too many resamples hold no pair."""
    empty = int(np.isnan(scores[:, 0]).sum())
    if empty > MOST_EMPTY * (len(scores) - 1):
        raise TooFew(f"{empty} of {len(scores) - 1} resamples hold no pair; use more pictures")
