"""From runs to tables: PCK by corruption and severity, mCE, and the paper's Table 4 layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spairc.metrics import (
    PCK,
    corruption_errors,
    mce,
    mean_corrupted,
    relative_corrupted,
    relative_corruption_errors,
    relative_mce,
)
from spairc.pairs import PairTable
from spairc.protocols import Protocol
from spairc.published import TABLE_4, TABLE_4_METRIC, is_official_test_list
from spairc.report.tables import Cell, Table, ranked
from spairc.runs import Run, Settings
from spairc.scoring import check_direction
from spairc.spec import CONDITIONS, CORRUPTION_NAMES, SEVERITIES
from spairc.statistics import Interval
from spairc.types import CLEAN, BadInput, Condition

PUBLISHED = "published"  # the name of the baseline that is the paper's Table 4
PUBLISHED_BASELINE = "CATs"

Scores = Mapping[Condition, float]  # percent

# Short enough for fifteen columns of a page, in the order of the paper's Table 4.
SHORT_NAMES: dict[str, str] = {
    "gaussian_noise": "Gauss.",
    "shot_noise": "Shot",
    "impulse_noise": "Impulse",
    "speckle_noise": "Speckle",
    "defocus_blur": "Defocus",
    "gaussian_blur": "G. blur",
    "snow": "Snow",
    "frost": "Frost",
    "fog": "Fog",
    "spatter": "Spatter",
    "brightness": "Bright.",
    "contrast": "Contrast",
    "saturate": "Saturate",
    "pixelate": "Pixelate",
    "jpeg_compression": "JPEG",
}


@dataclass(frozen=True)
class Summary:
    """One model's scores under one metric, and those that count as 100."""

    model: str
    metric: PCK
    protocol: str
    dataset: str  # "spair71k test: 12234 pairs, both pictures corrupted, spair-c/1"
    scores: Scores
    baseline_model: str | None
    baseline: Scores | None
    side: str = "both"  # which picture of a pair was corrupted

    @property
    def complete(self) -> bool:
        """Whether all 76 conditions are there."""
        return all(condition in self.scores for condition in CONDITIONS)


def summarise(
    run: Run,
    protocol: Protocol,
    alpha: float,
    baseline: Run | str | None,
    known: Mapping[Path, Scores] | None = None,
) -> Summary:
    """Return a run's scores, with those of the baseline where one is given.

    Args:
        run: What to summarise.
        protocol: How to count.
        alpha: The tolerance.
        baseline: A run, "published" for the paper's Table 4, or None.
        known: Scores under this protocol and tolerance that need not be counted again, by folder.

    Raises:
        BadInput: If the run was asked in another direction than the protocol asks, the baseline
            was run on other pairs, pictures or sides, or is "published" where the comparison
            would not be with like.
    """
    check_direction(run, protocol)
    metric = protocol.metric(alpha)
    check_baseline(run.settings, run.pairs, metric, baseline)
    model, scores = None, None
    if isinstance(baseline, Run):
        model, scores = baseline.settings.model, _scores(baseline, metric, known)
    elif baseline is not None:
        model, scores = f"{PUBLISHED_BASELINE}, published", TABLE_4[PUBLISHED_BASELINE].scores()
    settings = run.settings
    side = {"both": "both pictures", "source": "the source", "target": "the target"}[settings.side]
    dataset = f"{settings.dataset} {settings.split}: {settings.pairs} pairs, {side} corrupted"
    kept = settings.corrupted["format"]
    dataset += f", {settings.corrupted['spec']}" + ("" if kept == "lossless" else f", {kept}")
    mine, name = _scores(run, metric, known), settings.model
    return Summary(name, metric, protocol.name, dataset, mine, model, scores, settings.side)


def check_baseline(
    settings: Settings, pairs: PairTable, metric: PCK, baseline: Run | str | None
) -> None:
    """Check, before or after a run, that a baseline compares like with like.

    Args:
        settings: What is, or will be, run.
        pairs: The pairs as they are asked.
        metric: How both are counted.
        baseline: A run, "published" for the paper's Table 4, or None.

    Raises:
        BadInput: If it does not.
    """
    if isinstance(baseline, Run):
        _check_comparable(settings, baseline)
    elif baseline is not None:
        _check_published(settings, pairs, metric)


def check_alike(runs: Sequence[Run]) -> None:
    """Check that runs were asked the same of the same pictures, so that they may stand together.

    Raises:
        BadInput: If they were not; names the first difference.
    """
    first = runs[0]
    for run in runs:
        if name := _difference(first.settings, run.settings):
            mine, theirs = getattr(first.settings, name), getattr(run.settings, name)
            raise BadInput(
                f"{first.folder} and {run.folder} do not compare: {name} is {mine!r} and "
                f"{theirs!r}; show them in two reports"
            )


def severity_table(summary: Summary) -> Table:
    """Return PCK with a row per corruption and a column per severity, CE where it is known."""
    with_errors = summary.complete and summary.baseline is not None
    header = ("", *(f"sev {severity}" for severity in SEVERITIES), "average")
    rows = [_severity_row(summary.scores, name) for name in CORRUPTION_NAMES]
    if with_errors:
        header = (*header, "CE", "rel. CE")
        absolute, relative = _corruption_errors(summary)
        rows = [
            (*row, absolute[name], relative[name])
            for row, name in zip(rows, CORRUPTION_NAMES, strict=True)
        ]
    rows = [row for row in rows if any(cell is not None for cell in row[1:])]
    title = f"{summary.model}: {_counted(summary)}\n{summary.dataset}"
    return Table(title, header, tuple(rows))


def headline(summary: Summary, intervals: Mapping[str, Interval] | None = None) -> list[str]:
    """Return the numbers that stand for the whole run, a line each.

    Args:
        summary: The run.
        intervals: By quantity, of the same scores; shown behind the number that they belong to.
    """
    lines = []
    if CLEAN in summary.scores:
        lines.append(f"clean PCK {summary.scores[CLEAN]:.1f}{_range(intervals, 'clean PCK')}")
    if not summary.complete:
        missing = len(CONDITIONS) - len(summary.scores)
        return [*lines, f"{missing} of 76 conditions are missing: no mPC, no mCE"]
    lines.append(f"mPC {mean_corrupted(summary.scores):.1f}{_range(intervals, 'mPC')}")
    if summary.scores[CLEAN] > 0:
        lines.append(f"rPC {relative_corrupted(summary.scores):.1f} %{_range(intervals, 'rPC')}")
    if summary.baseline is None:
        return [*lines, "mCE needs a baseline: --baseline RUN"]
    against = f"against {summary.baseline_model}"
    total = mce(errors(summary.scores), errors(summary.baseline))
    lines.append(f"mCE {total:.1f}{_range(intervals, 'mCE')} {against}")
    return [*lines, _relative_line(summary, f"{_range(intervals, 'relative mCE')} {against}")]


def table_4(summaries: Sequence[Summary]) -> Table:
    """Return the layout of the paper's Table 4: severities down, models within, corruptions across.

    Raises:
        BadInput: If the summaries are of different metrics.
    """
    first = summaries[0]
    for other in summaries:
        if other.metric != first.metric or other.dataset != first.dataset:
            raise BadInput(
                f"{first.model} and {other.model} were not run on the same pairs and pictures; "
                f"compare them in two reports"
            )
    header = ("Severity", "Model", *(SHORT_NAMES[name] for name in CORRUPTION_NAMES), "Average")
    rows = [
        _row(str(severity), each, [_cell(each.scores, n, severity) for n in CORRUPTION_NAMES])
        for severity in SEVERITIES
        for each in summaries
    ]
    rows += [
        _row("Average", each, [_severity_row(each.scores, n)[-1] for n in CORRUPTION_NAMES])
        for each in summaries
    ]
    table = Table(f"{_counted(first)}; {first.dataset}", header, tuple(rows))
    return ranked(table, first=2, blocks=True)


def errors(scores: Scores) -> dict[Condition, float]:
    """Return 100 - score for each condition."""
    return {condition: 100 - score for condition, score in scores.items()}


def _scores(run: Run, metric: PCK, known: Mapping[Path, Scores] | None) -> Scores:
    """Return a run's scores, counted only if they are not known."""
    return (known or {}).get(run.folder) or run.scores(metric)


def _range(intervals: Mapping[str, Interval] | None, name: str) -> str:
    """Return an interval as it follows its number, nothing if there is none."""
    found = (intervals or {}).get(name)
    return "" if found is None else f" [{found.low:.1f}, {found.high:.1f}]"


def _counted(summary: Summary) -> str:
    """Return the metric with the name of its protocol."""
    return f"{summary.metric}, protocol {summary.protocol}"


def _cell(scores: Scores, name: str, severity: int) -> float | None:
    """Return one score, None if it was not run."""
    return scores.get(Condition(name, severity))


def _severity_row(scores: Scores, name: str) -> tuple[Cell, ...]:
    """Return a corruption's scores by severity and their average, None unless all are there."""
    return (name, *_with_average([_cell(scores, name, severity) for severity in SEVERITIES]))


def _row(label: str, summary: Summary, cells: list[Cell]) -> tuple[Cell, ...]:
    """Return one row of Table 4."""
    return (label, summary.model, *_with_average(cells))


def _with_average(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells and their average; None if one is missing."""
    values = [cell for cell in cells if isinstance(cell, float)]
    return [*cells, float(np.mean(values)) if len(values) == len(cells) else None]


def _corruption_errors(summary: Summary) -> tuple[dict[str, float], dict[str, float]]:
    """Return CE and relative CE by corruption."""
    mine, theirs = errors(summary.scores), errors(summary.baseline or {})
    return corruption_errors(mine, theirs), relative_corruption_errors(mine, theirs)


def _relative_line(summary: Summary, against: str) -> str:
    """Return relative mCE, and over how many corruptions it is defined."""
    mine, theirs = errors(summary.scores), errors(summary.baseline or {})
    values = np.array(list(relative_corruption_errors(mine, theirs).values()))
    defined = int(np.isfinite(values).sum())
    if not defined:
        return "relative mCE is not defined: the baseline loses nothing"
    note = "" if defined == len(values) else f" (over the {defined} corruptions that hurt it)"
    return f"relative mCE {relative_mce(mine, theirs):.1f}{against}{note}"


def _difference(first: Settings, second: Settings) -> str | None:
    """Return the first setting in which two runs differ that must not differ to compare them."""
    names = ("pair_list", "pictures", "corrupted", "side", "direction")
    return next((each for each in names if getattr(first, each) != getattr(second, each)), None)


def _check_comparable(settings: Settings, baseline: Run) -> None:
    """Raise BadInput unless the baseline was asked the same, completely, of the same pictures."""
    if name := _difference(settings, baseline.settings):
        mine, theirs = getattr(settings, name), getattr(baseline.settings, name)
        raise BadInput(
            f"{baseline.folder} is no baseline for this run: {name} is {theirs!r} there and "
            f"{mine!r} here"
        )
    missing = len(CONDITIONS) - len(baseline.conditions)
    if missing:
        raise BadInput(
            f"{baseline.folder} is no baseline yet: {missing} of its 76 conditions are missing; "
            f"complete it with spairc eval"
        )


def _check_published(settings: Settings, pairs: PairTable, metric: PCK) -> None:
    """Raise BadInput unless the run is what the paper's Table 4 measured."""
    facts = {
        f"dataset {settings.dataset} {settings.split}": (settings.dataset, settings.split)
        == ("spair71k", "test"),
        f"{settings.pairs} pairs": is_official_test_list(pairs),
        f"{settings.side} corrupted": settings.side == "both",
        f"{metric}": metric == TABLE_4_METRIC,
    }
    for fact, same in facts.items():
        if not same:
            raise BadInput(
                f"the published baseline is {TABLE_4_METRIC} on SPair-71k's 12,234 test pairs, "
                f"both pictures corrupted; this run has {fact}: give --baseline RUN"
            )
