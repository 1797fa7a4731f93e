"""The miniature's tables: means over seeds, their intervals, and what labels are worth.

Every number follows from stored answers and from what the trainer wrote down.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from miniature_data import METRIC, LabelQuality
from numpy.typing import NDArray

from spairc.runs import open_run
from spairc.scoring import pair_hits
from spairc.statistics import Interval, Sample, resample
from spairc.types import Condition

RESAMPLES = 2000
MEAN = "mean of the five"
TAIL = 0.025  # on either side of an interval
LABELS = tuple(each.name for each in fields(LabelQuality))

Scores = NDArray[np.float64]  # (1 + R, C) percent; the first row is the list itself


@dataclass(frozen=True)
class Trained:
    """One tested stage."""

    title: str  # its arm's, in the table
    seed: int
    folder: Path  # of its answers
    told: Mapping[str, Any]  # PCK by condition, pass rate, label quality


def report(found: Sequence[Trained], conditions: Sequence[Condition]) -> str:
    """Return the three tables in Markdown.

    Args:
        found: Every stage of every seed; the teacher's title comes first.
        conditions: The columns, clean first.
    """
    scores = scores_of(found, np.random.default_rng(0))
    teacher = next(iter(scores))
    head = [str(each) for each in conditions] + [MEAN]
    own = {title: intervals(each) for title, each in scores.items()}
    less = {
        title: intervals(each - scores[teacher])
        for title, each in scores.items()
        if title != teacher
    }
    return "\n".join(
        [
            *_table([str(METRIC), *head], {name: map(str, row) for name, row in own.items()}),
            "",
            *_table([f"less {teacher}", *head], {n: map(_signed, row) for n, row in less.items()}),
            "",
            *_labels(found),
            "",
        ]
    )


def scores_of(found: Sequence[Trained], draws: np.random.Generator) -> dict[str, Scores]:
    """Return each arm's scores, its mean over seeds, over resamples of pictures and seeds.

    Args:
        found: Every stage; every arm has the same seeds.
        draws: Where resamples come from, the same for all.
    """
    samples = [_sample(each.folder) for each in found]
    resampled = resample(samples, draws, resamples=RESAMPLES).scores
    titles = list(dict.fromkeys(each.title for each in found))
    by_arm = {
        title: np.stack(
            [
                scores
                for each, scores in sorted(
                    zip(found, resampled, strict=True), key=lambda both: both[0].seed
                )
                if each.title == title
            ]
        )
        for title in titles
    }
    seeds = len(by_arm[titles[0]])
    # Of n - 1 draws the mean varies as that of n seeds does: the deviation of n is by
    # (n - 1) / n in variance too small.
    drawn = draws.integers(seeds, size=(RESAMPLES, max(1, seeds - 1)))
    return {title: over_seeds(each, drawn) for title, each in by_arm.items()}


def over_seeds(scores: NDArray[np.float64], drawn: NDArray[np.int64]) -> Scores:
    """Return (1 + R, C): the mean over all seeds, then over those that were drawn.

    Args:
        scores: (S, 1 + R, C).
        drawn: (R, n) the seeds of each resample.
    """
    rows = np.arange(1, scores.shape[1])[:, None]
    return np.concatenate([scores[:, :1].mean(axis=0), scores[drawn, rows].mean(axis=1)])


def intervals(scores: Scores) -> list[Interval]:
    """Return the intervals of the columns, and at last that of the mean of all but the first."""
    columns = np.concatenate([scores, scores[:, 1:].mean(axis=1, keepdims=True)], axis=1)
    low, high = np.nanquantile(columns[1:], (TAIL, 1 - TAIL), axis=0)
    return [Interval(*map(float, each)) for each in zip(columns[0], low, high, strict=True)]


def rows_of(found: Sequence[Trained]) -> Iterator[list[str]]:
    """Yield the header and every value of every seed, one row each: arm, seed, what, value."""
    yield ["arm", "seed", "what", "value"]
    for each in found:
        told = each.told
        values = {f"PCK {condition}": score for condition, score in told["pck"].items()}
        values |= {"PCK validation": told["validation"], "pass rate": told["pass_rate"]}
        values |= {f"labels {name}": value for name, value in told.get("labels", {}).items()}
        for what, value in values.items():
            if value == value:  # noqa: PLR0124 -- NaN: a stage without pseudo labels
                yield [each.title, str(each.seed), what, f"{value:.4g}"]


def _sample(folder: Path) -> Sample:
    """Return what a run's resamples are made of."""
    run = open_run(folder)
    return Sample(run.pairs, run.conditions, METRIC, pair_hits(run, METRIC))


def _table(head: Sequence[str], rows: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for name, cells in rows.items():
        yield f"| {' | '.join([name, *cells])} |"


def _signed(interval: Interval) -> str:
    """Return a difference; bold where its interval is on one side of zero."""
    text = f"{interval.estimate:+.1f} [{interval.low:+.1f}, {interval.high:+.1f}]"
    return f"**{text}**" if interval.excludes_zero else text


def _labels(found: Sequence[Trained]) -> Iterator[str]:
    """Yield the table of pass rates and label quality: means over seeds."""
    head = [
        "as annotator",
        "points used, %",
        "error used, cells",
        "error unused, cells",
        "PCK used",
        "PCK unused",
        "own pass rate, %",
    ]
    rows = {}
    for title in dict.fromkeys(each.title for each in found):
        own = [each.told for each in found if each.title == title]
        labels = [told["labels"] for told in own if "labels" in told]
        quality = [_mean([each[name] for each in labels]) for name in LABELS[1:]]
        share = _mean([100 * told["pass_rate"] for told in own])
        if labels or share == share:  # noqa: PLR0124 -- NaN: no pseudo labels
            texts = [
                f"{value:.{digits}f}"
                for value, digits in zip(quality, (0, 2, 2, 1, 1), strict=True)
            ]
            rows[title] = [text.replace("nan", "") for text in (*texts, f"{share:.0f}")]
    yield from _table(head, rows)


def _mean(values: Sequence[float]) -> float:
    """Return the mean of those that are numbers; NaN of none."""
    numbers = [value for value in values if value == value]  # noqa: PLR0124 -- not NaN
    return float(np.mean(numbers)) if numbers else float("nan")
