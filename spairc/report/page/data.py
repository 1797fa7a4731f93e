"""The scores of several runs as the page's script reads them: every protocol, tolerance, category.

The same numbers as in scores.parquet and breakdowns.parquet, float32, so that what the page
averages agrees with what the tables say.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spairc.report.details import Detail
from spairc.report.summary import SHORT_NAMES, Summary
from spairc.runs import Run
from spairc.scoring import ALPHAS, Scored, protocols_of, score
from spairc.spec import CONDITIONS, GROUPS


@dataclass(frozen=True, eq=False)
class Reported:
    """A run as the page shows it."""

    label: str  # no two alike; text, never markup
    run: Run
    summary: Summary  # under the protocol and tolerance that the page begins with
    scored: Scored  # by all protocols of its direction


def report_of(detail: Detail) -> Reported:
    """Return a run scored by every protocol of its direction, at the summary's tolerance too."""
    run, summary = detail.run, detail.summary
    alphas = [*ALPHAS, summary.metric.alpha]
    return Reported(summary.model, run, summary, score(run, protocols_of(run), alphas))


def page_data(reported: Sequence[Reported]) -> dict[str, object]:
    """Return what report.js reads.

    Args:
        reported: Runs on the same pairs, asked in the same direction.
    """
    first = reported[0]
    scored = first.scored
    return {
        "conditions": [str(each) for each in CONDITIONS],
        "groups": GROUPS,
        "short": SHORT_NAMES,
        "dataset": first.summary.dataset,
        "protocols": [
            {
                "name": each.name,
                "description": each.description,
                "metrics": [str(each.metric(alpha)) for alpha in scored.alphas],
            }
            for each in scored.protocols
        ],
        "alphas": scored.alphas,
        "categories": [
            {"name": scored.levels[place][1], "pairs": int(scored.pairs[place])}
            for place in _shown_levels(scored)
        ],
        "begin": {"protocol": first.summary.protocol, "alpha": first.summary.metric.alpha},
        "models": [_model(each) for each in reported],
    }


def _model(each: Reported) -> dict[str, object]:
    """Return one run's conditions, and its (K, C, L, A) scores row by row in base64."""
    scored = each.scored
    chosen = scored.pck[:, :, _shown_levels(scored)].astype("<f4")
    return {
        "label": each.label,
        "conditions": [CONDITIONS.index(condition) for condition in scored.conditions],
        "pck": base64.b64encode(np.ascontiguousarray(chosen).tobytes()).decode(),
    }


def _shown_levels(scored: Scored) -> list[int]:
    """Return the places of all pairs together and of each category."""
    names = [breakdown for breakdown, _ in scored.levels]
    return [place for place, name in enumerate(names) if name in ("all", "category")]
