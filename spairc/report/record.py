"""A summary as JSON holds it: what `--json` prints, for programs."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spairc.metrics import mce, mean_corrupted, relative_corrupted, relative_mce
from spairc.report.summary import Summary, errors
from spairc.statistics import Interval
from spairc.types import CLEAN


def as_record(
    summary: Summary, folder: Path, intervals: Mapping[str, Interval] | None
) -> dict[str, Any]:
    """Return what a report says of a run: JSON's types only, None where a number is not defined.

    Args:
        summary: The run's scores.
        folder: The run's.
        intervals: By quantity, of 95 %; None if there are none.
    """
    totals = _totals(summary)
    return {
        "run": str(folder),
        "model": summary.model,
        "protocol": summary.protocol,
        "metric": str(summary.metric),
        "dataset": summary.dataset,
        "baseline": summary.baseline_model,
        "scores": {str(condition): score for condition, score in summary.scores.items()},
        **{name: _number(value) for name, value in totals.items()},
        "intervals": {
            name: [_number(each.low), _number(each.high)]
            for name, each in (intervals or {}).items()
        },
    }


def _totals(summary: Summary) -> dict[str, float | None]:
    """Return the numbers that stand for the whole run, by the names that intervals have."""
    clean = summary.scores.get(CLEAN)
    totals: dict[str, float | None] = {"clean PCK": clean}
    totals |= dict.fromkeys(("mPC", "rPC", "mCE", "relative mCE"))
    if not summary.complete:
        return totals
    totals["mPC"] = mean_corrupted(summary.scores)
    if clean:
        totals["rPC"] = relative_corrupted(summary.scores)
    if summary.baseline is not None:
        mine, theirs = errors(summary.scores), errors(summary.baseline)
        totals["mCE"], totals["relative mCE"] = mce(mine, theirs), relative_mce(mine, theirs)
    return totals


def _number(value: float | None) -> float | None:
    """Return a number that JSON can hold; None for what is not defined."""
    return None if value is None or not math.isfinite(value) else value
