"""Tables in the paper's own layouts: models down, and the best of each column marked.

Published rows stand below one's own only where they were counted likewise: protocol, list of pairs
and corrupted side. To add one: a function from `Detail`s to a `Table`, and a line in `LAYOUTS`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from spairc.breakdowns import FACTORS
from spairc.metrics import mce
from spairc.published import (
    TABLE_4,
    TABLE_4_METRIC,
    TABLE_5,
    TABLE_B,
    TABLE_B_ALPHAS,
    factor_scores,
    is_official_test_list,
)
from spairc.report.details import EXCHANGED_NOTE, Detail
from spairc.report.printed import OTHERWISE_COUNTED, TABLE_1
from spairc.report.summary import SHORT_NAMES, Scores, errors
from spairc.report.tables import Cell, Table, ranked
from spairc.spec import CONDITIONS, CORRUPTED, CORRUPTION_NAMES, SEVERITIES
from spairc.types import CLEAN, Condition

if TYPE_CHECKING:
    from spairc.scoring import Level

_PUBLISHED = "{} (published)"
_SHORT_LEVELS = {"medium": "med."}


def layout_tables(details: Sequence[Detail]) -> dict[str, Table]:
    """Return every table in the paper's layout that there is something to tell in, by file name.

    Args:
        details: Runs on the same pairs.
    """
    made = {name: make(details) for name, make in LAYOUTS.items()}
    return {name: table for name, table in made.items() if table is not None}


def table_1(details: Sequence[Detail]) -> Table | None:
    """Return PCK by category on clean pictures: the paper's Table 1."""
    if not _have_clean(details):
        return None
    levels = [level for level in details[0].scored.levels if level[0] == "category"]
    every: list[Level] = [("all", "all"), *levels]
    rows = [
        (each.summary.model, *(each.scores(level).get(CLEAN) for level in every))
        for each in details
    ]
    if _as_published(details):
        rows += [(_PUBLISHED.format(name), *row) for name, row in TABLE_1.items()]
    header = ("Model", "All", *(name for _, name in levels))
    return ranked(Table(_title(details, "clean pictures, by category"), header, tuple(rows)))


def table_4_averages(details: Sequence[Detail]) -> Table | None:
    """Return the averages of the paper's Table 4: each corruption over its severities, and mCE.

    mCE stands there where all runs have a baseline, in which lower is better.
    """
    rows = [_averages(each) for each in details]
    if all(cell is None for row in rows for cell in row[2:]):
        return None
    with_errors = all(each.summary.complete and each.summary.baseline for each in details)
    header = ("Model", "Clean", *(SHORT_NAMES[name] for name in CORRUPTION_NAMES), "Average")
    told = "mean over severities 1 to 5"
    if with_errors:
        header = (*header, "mCE")
        against = details[0].summary.baseline_model
        told += f"; mCE against {against}, lower is better"
        rows = [
            (*row, _mce(each.summary.scores, each.summary.baseline or {}))
            for row, each in zip(rows, details, strict=True)
        ]
    if _as_published(details) and all(each.summary.side == "both" for each in details):
        rows += [_published_averages(name, with_errors=with_errors, of=details) for name in TABLE_4]
    return ranked(Table(_title(details, told), header, tuple(rows)), lower=["mCE"])


def table_5(details: Sequence[Detail]) -> Table | None:
    """Return PCK by factor of difficulty on clean pictures: the paper's Table 5.

    Source and target are as everywhere in spairc; published rows of the CATs family, whose columns
    the paper prints exchanged, are put right.
    """
    known = {breakdown for breakdown, _ in details[0].scored.levels}
    levels: list[Level] = [
        (factor, level) for factor, names in FACTORS.items() if factor in known for level in names
    ]
    if not levels or not _have_clean(details):
        return None
    every: list[Level] = [*levels, ("all", "all")]
    rows = [
        (each.summary.model, *(each.scores(level).get(CLEAN) for level in every))
        for each in details
    ]
    if _as_published(details):
        for name in (each for each in TABLE_5 if each not in OTHERWISE_COUNTED):
            found = factor_scores(name)
            rows.append((_PUBLISHED.format(name), *(found.get(level) for level in every)))
    named = [f"{factor} {_SHORT_LEVELS.get(level, level)}" for factor, level in levels]
    title = f"{_title(details, 'clean pictures, by factor of difficulty')}\n{EXCHANGED_NOTE}"
    if _as_published(details):
        title += "; here they are exchanged back"
    return ranked(Table(title, ("Model", *named, "All"), tuple(rows)))


def table_b(details: Sequence[Detail]) -> Table | None:
    """Return PCK by tolerance on clean pictures: the paper's Table B."""
    if not _have_clean(details):
        return None
    rows: list[tuple[Cell, ...]] = [
        (each.summary.model, *(each.scores(alpha=alpha).get(CLEAN) for alpha in TABLE_B_ALPHAS))
        for each in details
    ]
    if _as_published(details):
        rows += [(_PUBLISHED.format(name), *row) for name, row in TABLE_B.items()]
    header = ("Model", *(f"{alpha:.2f}" for alpha in TABLE_B_ALPHAS))
    title = _title(details, "clean pictures, by tolerance alpha", any_alpha=True)
    return ranked(Table(title, header, tuple(rows)))


LAYOUTS: dict[str, Callable[[Sequence[Detail]], Table | None]] = {
    "table1": table_1,
    "table4-averages": table_4_averages,
    "table5": table_5,
    "tableB": table_b,
}


def _as_published(details: Sequence[Detail]) -> bool:
    """Return whether the paper's numbers may stand beside these."""
    run, metric = details[0].run, details[0].summary.metric
    of = (run.settings.dataset, run.settings.split)
    return (
        of == ("spair71k", "test") and metric == TABLE_4_METRIC and is_official_test_list(run.pairs)
    )


def _have_clean(details: Sequence[Detail]) -> bool:
    """Return whether any run was run on clean pictures."""
    return any(CLEAN in each.scored.conditions for each in details)


def _averages(each: Detail) -> tuple[Cell, ...]:
    """Return a run's row: clean, each corruption over its severities, the average of all."""
    scores = each.summary.scores
    return (each.summary.model, scores.get(CLEAN), *_means(scores))


def _means(scores: Scores) -> list[float | None]:
    """Return the mean of each corruption and of all; None where a condition is missing."""
    parts = [[Condition(name, each) for each in SEVERITIES] for name in CORRUPTION_NAMES]
    return [
        float(np.mean([scores[each] for each in part]))
        if all(each in scores for each in part)
        else None
        for part in (*parts, CORRUPTED)
    ]


def _mce(scores: Scores, baseline: Mapping[Condition, float]) -> float:
    """Return mCE of scores in percent."""
    return mce(errors(scores), errors(baseline))


def _published_averages(name: str, *, with_errors: bool, of: Sequence[Detail]) -> tuple[Cell, ...]:
    """Return a row of the paper's Table 4, its averages taken from its own cells."""
    scores = TABLE_4[name].scores()
    row = (_PUBLISHED.format(name), scores[CLEAN], *_means(scores))
    baseline = of[0].summary.baseline or {}
    return (
        (*row, _mce(scores, baseline)) if with_errors and len(baseline) == len(CONDITIONS) else row
    )


def _title(details: Sequence[Detail], what: str, *, any_alpha: bool = False) -> str:
    """Return the first lines of a title: how counted, what, on what."""
    first = details[0].summary
    metric = str(first.metric)
    if any_alpha:
        metric = f"PCK {metric.partition(' ')[2]}"
    rows = "; published: as the paper prints it" if _as_published(details) else ""
    return f"{metric}, protocol {first.protocol}; {what}\n{first.dataset}{rows}"
