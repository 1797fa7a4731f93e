"""What figures are drawn from: scores of several runs that compare, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spairc.protocols import Protocol
from spairc.report.details import Detail, details_of
from spairc.report.differences import Certainty, certainty
from spairc.report.summary import check_alike
from spairc.runs import Run
from spairc.spec import CORRUPTION_NAMES, SEVERITIES
from spairc.statistics import RESAMPLES, Interval, TooFew
from spairc.types import CLEAN, BadInput, Condition


@dataclass(frozen=True, eq=False)
class Material:
    """Several runs on the same pairs and pictures, counted in one way."""

    labels: tuple[str, ...]  # what each run is called; no two alike; text, never markup
    details: tuple[Detail, ...]  # of each run
    certain: Certainty | None  # None: there are no intervals
    conditions: tuple[Condition, ...]  # that all runs have, in the order of the tables

    def score(self, run: int, conditions: Sequence[Condition], alpha: float | None = None) -> float:
        """Return a run's mean score over some conditions, in percent."""
        scores = self.details[run].scores(alpha=alpha)
        return float(np.mean([scores[each] for each in conditions]))

    def interval(
        self, run: int, conditions: Sequence[Condition], less: int | None = None
    ) -> Interval | None:
        """Return where a run's mean over some conditions may lie, less another run's if given."""
        if self.certain is None:
            return None
        return self.certain.resampled.mean_over(conditions, run, less)

    def severities(self, corruption: str) -> tuple[int, ...]:
        """Return the severities of a corruption that all runs have."""
        found = (Condition(corruption, severity) for severity in SEVERITIES)
        return tuple(each.severity for each in found if each in self.conditions)

    @property
    def corruptions(self) -> tuple[str, ...]:
        """The corruptions of which all runs have a severity, in the paper's order."""
        return tuple(name for name in CORRUPTION_NAMES if self.severities(name))

    @property
    def corrupted(self) -> tuple[Condition, ...]:
        """The conditions but for clean."""
        return tuple(each for each in self.conditions if each != CLEAN)

    @property
    def counted(self) -> str:
        """How the numbers were counted: metric and protocol."""
        summary = self.details[0].summary
        return f"{summary.metric}, protocol {summary.protocol}"

    @property
    def axis(self) -> str:
        """The same for the side of a figure, in two lines."""
        summary = self.details[0].summary
        return f"{summary.metric},\nprotocol {summary.protocol}"

    def caption(self, what: str, *, intervals: bool = True) -> str:
        """Return a caption: what is shown, of whom, how counted, on what."""
        shown = f"{what}: {', '.join(self.labels)}."
        found = f"{self.counted}; {self.details[0].summary.dataset}."
        note = self.certain.note.strip("[]") if intervals and self.certain else ""
        return f"{shown} {found}" + (f" {note}." if note else "")


def gather(
    runs: Sequence[Run],
    protocol: Protocol,
    alpha: float = 0.1,
    baseline: Run | str | None = None,
    resamples: int = RESAMPLES,
) -> Material:
    """Return what figures of these runs are drawn from.

    Args:
        runs: On the same pairs and pictures, the same side corrupted.
        protocol: How to count.
        alpha: The tolerance.
        baseline: As for `summarise`; figures do not show it.
        resamples: For intervals; 0 for none. Where there are too few pictures there are none.

    Raises:
        BadInput: If the runs do not compare (the first difference is named), have no condition in
            common, or cannot be counted so.
    """
    check_alike(runs)
    details = details_of(runs, protocol, alpha, baseline)
    certain = None
    if resamples:
        try:
            certain = certainty(runs, [each.summary for each in details], None, resamples)
        except TooFew:
            certain = None
    return material_of(details, certain)


def material_of(details: Sequence[Detail], certain: Certainty | None) -> Material:
    """Return what figures are drawn from, of runs that are counted and resampled already.

    Raises:
        BadInput: If the runs do not compare, or have no condition in common.
    """
    runs = [each.run for each in details]
    check_alike(runs)
    first, *others = (each.scored.conditions for each in details)
    shared = tuple(each for each in first if all(each in other for other in others))
    if not shared:
        raise BadInput(
            "the runs have no condition in common, so there is nothing to draw; evaluate them "
            "under the same ones"
        )
    return Material(tuple(each.summary.model for each in details), tuple(details), certain, shared)
