"""How sure a report is: intervals of each run, and which differences of two runs are real."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from spairc.metrics import PCK
from spairc.report.summary import Summary
from spairc.report.tables import Cell, Table
from spairc.runs import Run
from spairc.scoring import pair_hits
from spairc.statistics import CLEAN_PCK, Interval, Resampled, Sample, resample
from spairc.types import Condition

SEED = 0  # the same runs give the same intervals
HEADLINE = (CLEAN_PCK, "mPC", "rPC", "mCE", "relative mCE")
LOWER_IS_BETTER = ("mCE", "relative mCE")


@dataclass(frozen=True, eq=False)
class Certainty:
    """Several runs over the same resamples of their pictures."""

    labels: tuple[str, ...]  # what each run is called here; no two alike
    resampled: Resampled
    note: str  # how the intervals were made
    summary: Summary  # of the first run: tells metric, protocol and pairs

    def intervals(self, run: int) -> dict[str, Interval]:
        """Return the intervals of a run by its position."""
        return self.resampled.intervals(run)


def certainty(
    runs: Sequence[Run],
    summaries: Sequence[Summary],
    baseline: Run | Mapping[Condition, float] | None,
    resamples: int,
) -> Certainty:
    """Return the runs over the same resamples.

    Args:
        runs: All on the same pairs.
        summaries: Theirs, all under the same metric.
        baseline: What mCE divides by: a run, or fixed scores.
        resamples: How many.

    Raises:
        BadInput: If the runs are of different pairs.
        TooFew: If there are too few pictures to resample.
    """
    metric = summaries[0].metric
    samples = {run.folder.resolve(): _sample(run, metric) for run in runs}
    against: Sample | Mapping[Condition, float] | None
    if isinstance(baseline, Run):
        against = samples.get(baseline.folder.resolve()) or _sample(baseline, metric)
    else:
        against = baseline
    draws = np.random.default_rng(SEED)
    chosen = [samples[run.folder.resolve()] for run in runs]
    resampled = resample(chosen, draws, baseline=against, resamples=resamples)
    note = (
        f"[{resampled.confidence:.0%} intervals, each on its own: {resamples} resamples of the "
        f"pictures in each category]"
    )
    return Certainty(labels_of(runs), resampled, note, summaries[0])


def labels_of(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return what runs are called together: the models' names, told apart by their folders."""
    models = [run.settings.model for run in runs]
    folders = [(model, run.folder.name) for model, run in zip(models, runs, strict=True)]
    return tuple(
        model
        if models.count(model) == 1
        else f"{model} ({run.folder.name if folders.count(place) == 1 else run.folder})"
        for model, run, place in zip(models, runs, folders, strict=True)
    )


def told_at_once(certain: Certainty) -> list[str]:
    """Return the quantities that fit on a screen: the headline's, or all of an incomplete run."""
    names = certain.resampled.names
    return [each for each in names if each in HEADLINE or "mPC" not in names]


def interval_table(certain: Certainty) -> Table:
    """Return every quantity of every run with its interval."""
    header = ("quantity", "model", "estimate", "low", "high")
    by_run = [certain.intervals(place) for place in range(len(certain.labels))]
    rows = tuple(
        (name, label, each[name].estimate, each[name].low, each[name].high)
        for name in certain.resampled.names
        for label, each in zip(certain.labels, by_run, strict=True)
    )
    return Table(_title(certain, "intervals"), header, rows)


def difference_table(certain: Certainty, names: Sequence[str] | None = None) -> Table:
    """Return the differences of every two runs, and which of them are real.

    A difference counts as real where its interval excludes zero. Each interval stands on its own:
    among twenty quantities in which two runs do not differ, one is expected to look real.

    Args:
        certain: The runs.
        names: The quantities; all by default.
    """
    chosen = [each for each in certain.resampled.names if names is None or each in names]
    header = ("quantity", "first", "second", "difference", "low", "high", "real", "better")
    rows: list[tuple[Cell, ...]] = []
    for first, second in combinations(range(len(certain.labels)), 2):
        found = certain.resampled.differences(first, second)
        ends = certain.labels[first], certain.labels[second]
        rows += [_difference_row(name, ends, found[name]) for name in chosen]
    return Table(_title(certain, "first less second"), header, tuple(rows))


def _difference_row(name: str, ends: tuple[str, str], found: Interval) -> tuple[Cell, ...]:
    """Return what one quantity tells of two runs."""
    numbers = (found.estimate, found.low, found.high)
    if not found.excludes_zero:
        return (name, *ends, *numbers, "no", None)
    first_is_better = (found.estimate > 0) != (name in LOWER_IS_BETTER)
    return (name, *ends, *numbers, "yes", ends[0] if first_is_better else ends[1])


def _sample(run: Run, metric: PCK) -> Sample:
    """Return what a run found."""
    return Sample(run.pairs, run.conditions, metric, pair_hits(run, metric))


def _title(certain: Certainty, what: str) -> str:
    """Return the title of a table: what, how counted, on what, how the intervals were made."""
    first = certain.summary
    counted = f"{first.metric}, protocol {first.protocol}"
    return f"{what}: {counted}\n{first.dataset}\n{certain.note}"
