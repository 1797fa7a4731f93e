"""What lies behind a run's one number: tables by part of the pairs, tolerance, group and side.

To add one: a function from `Detail`s to a `Table`, and a line in `detail_tables`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from spairc.breakdowns import FACTORS, NEAR, Fates, Gap
from spairc.protocols import Protocol
from spairc.report.differences import labels_of
from spairc.report.summary import Scores, Summary, check_baseline, summarise
from spairc.report.tables import Cell, Table
from spairc.runs import Run
from spairc.scoring import ALPHAS, Level, Scored, check_direction, score
from spairc.spec import CORRUPTED, CORRUPTION_NAMES, GROUPS, SEVERITIES
from spairc.types import CLEAN, BadInput, Condition

if TYPE_CHECKING:
    from pathlib import Path

# What the paper calls the ends of a pair is not the same for all its rows; see spairc.breakdowns.
EXCHANGED_NOTE = (
    "source: the picture with the given points; the paper's Table 5 prints the CATs family with "
    "source and target of truncation and occlusion exchanged"
)


@dataclass(frozen=True, eq=False)
class Detail:
    """One run under one protocol, in all its parts."""

    run: Run
    summary: Summary
    scored: Scored

    def scores(self, level: Level = ("all", "all"), alpha: float | None = None) -> Scores:
        """Return the scores of a part of the pairs, at the summary's tolerance or another."""
        summary = self.summary
        return self.scored.of(summary.protocol, alpha or summary.metric.alpha, level)


def details_of(
    runs: Sequence[Run], protocol: Protocol, alpha: float, baseline: Run | str | None
) -> list[Detail]:
    """Return runs in all their parts, each counted once and called by a name of its own.

    Args:
        runs: What is reported.
        protocol: How to count.
        alpha: The tolerance.
        baseline: As for `summarise`.

    Raises:
        BadInput: As `summarise` and `score`.
    """
    for run in runs:
        check_direction(run, protocol)
        check_baseline(run.settings, run.pairs, protocol.metric(alpha), baseline)
    scored = [score(run, [protocol], [*ALPHAS, alpha]) for run in runs]
    pairs = list(zip(runs, scored, strict=True))
    known: dict[Path, Scores] = {run.folder: each.of(protocol.name, alpha) for run, each in pairs}
    if isinstance(baseline, Run) and baseline.folder not in known:
        known[baseline.folder] = baseline.scores(protocol.metric(alpha))
    found = []
    for label, (run, each) in zip(labels_of(runs), pairs, strict=True):
        summary = summarise(run, protocol, alpha, baseline, known)
        found.append(Detail(run, replace(summary, model=label), each))
    return found


def detail_tables(details: Sequence[Detail]) -> dict[str, Table]:
    """Return every table of details that there is something to tell in, by the name of its file.

    Raises:
        BadInput: If the runs are of different pair lists.
    """
    first = details[0].run
    for each in details:
        if each.run.settings.pair_list != first.settings.pair_list:
            raise BadInput(
                f"{first.folder} and {each.run.folder} were not run on the same pairs; compare "
                f"them in two reports"
            )
    if not _shared(details):
        return {}
    tables = {
        "categories": category_table(details),
        "factors": factor_table(details),
        "points": points_table(details),
        "alphas": alpha_table(details),
        "groups": group_table(details),
        "gap": gap_table(details),
    }
    return {name: table for name, table in tables.items() if table.rows}


def category_table(details: Sequence[Detail]) -> Table:
    """Return PCK by category, over all pairs, and the mean of the categories.

    As the paper's Table 1, whose "All" is over all pairs.
    """
    names = [name for breakdown, name in details[0].scored.levels if breakdown == "category"]
    rows = [_level_row(details, ("category", name), name) for name in names]
    means = [float(np.mean(column)) for column in zip(*(row[2:] for row in rows), strict=True)]
    rows.append(_level_row(details, ("all", "all"), "all pairs"))
    rows.append(("mean of categories", None, *means))
    return Table(_title(details, "by category"), _header(details), tuple(rows))


def factor_table(details: Sequence[Detail]) -> Table:
    """Return PCK by SPair-71k's factors of difficulty and their levels: the paper's Table 5.

    Source and target are the picture with the given points and the picture that is searched. The
    paper's columns of truncation and occlusion are exchanged for the CATs family, whose programs
    search what the list calls the source; the title says so.
    """
    known = {breakdown for breakdown, _ in details[0].scored.levels}
    rows = [
        _level_row(details, (factor, level), f"{factor} {level}")
        for factor, levels in FACTORS.items()
        for level in levels
        if factor in known
    ]
    title = f"{_title(details, 'by factor of difficulty')}\n{EXCHANGED_NOTE}"
    return Table(title, _header(details), tuple(rows))


def points_table(details: Sequence[Detail]) -> Table:
    """Return PCK by the number of points that a pair has."""
    levels = [level for level in details[0].scored.levels if level[0] == "points"]
    rows = tuple(_level_row(details, level, level[1]) for level in levels)
    return Table(_title(details, "by number of points in a pair"), _header(details), rows)


def alpha_table(details: Sequence[Detail]) -> Table:
    """Return PCK by tolerance: the paper's Table B."""
    conditions = _shared(details)
    rows: list[tuple[Cell, ...]] = []
    for alpha in details[0].scored.alphas:
        cells = [c for each in details for c in _cells(each.scores(alpha=alpha), conditions)]
        rows.append((f"{alpha:g}", *cells))
    header = tuple(name for name in _header(details) if name != "pairs")
    return Table(_title(details, "by tolerance alpha"), header, tuple(rows))


def group_table(details: Sequence[Detail]) -> Table:
    """Return PCK by group of corruptions and severity, the mean over the corruptions of a group."""
    header = ("Model", "group", *(f"sev {severity}" for severity in SEVERITIES), "average")
    groups = {**GROUPS, "all": CORRUPTION_NAMES}
    rows: list[tuple[Cell, ...]] = []
    for each in details:
        scores = each.scores()
        for group, names in groups.items():
            cells = [_mean(scores, [Condition(n, s) for n in names]) for s in SEVERITIES]
            average = _mean(scores, [Condition(n, s) for n in names for s in SEVERITIES])
            if any(cell is not None for cell in cells):
                rows.append((each.summary.model, group, *cells, average))
    return Table(_title(details, "by group of corruptions"), header, tuple(rows))


def gap_table(details: Sequence[Detail]) -> Table:
    """Return which matches break that were right on clean pictures, and where they go.

    Points are counted over the severities of a corruption that were run.
    """
    header = ("Model", "corruption", "kept", "broken", "near", "other point", "elsewhere", "mended")
    rows = [row for each in details for row in _gap_rows(each)]
    title = (
        f"{_title(details, 'the robustness gap')}\nkept, broken: % of the points that were right "
        f"when clean; near (within {NEAR:g} tolerances), at another point of the target, "
        f"elsewhere: % of the broken; mended: % of the points that were wrong when clean"
    )
    return Table(title, header, tuple(rows))


def side_table(details: Sequence[Detail]) -> Table:
    """Return PCK by which picture of a pair was corrupted: a column per run.

    Raises:
        BadInput: If the runs differ in more than the side.
    """
    first = details[0].run.settings
    for each in details:
        for name in ("pair_list", "pictures", "direction", "model"):
            mine, theirs = getattr(first, name), getattr(each.run.settings, name)
            if mine != theirs:
                raise BadInput(
                    f"{details[0].run.folder} and {each.run.folder} corrupt other sides, and {name}"
                    f" differs too ({mine!r}, {theirs!r}); compare them in two reports"
                )
    columns = [each.scores() for each in details]
    parts = {"clean": (CLEAN,), **{name: _of([name]) for name in CORRUPTION_NAMES}}
    parts["all corrupted"] = CORRUPTED
    rows = [(part, *(_mean(s, chosen) for s in columns)) for part, chosen in parts.items()]
    header = ("corrupted picture", *(each.summary.side for each in details))
    title = f"{first.model}: {details[0].summary.metric}, protocol {details[0].summary.protocol}"
    shown = tuple(row for row in rows if any(cell is not None for cell in row[1:]))
    return Table(f"{title}; by corrupted picture", header, shown)


def protocol_table(run: Run, scored: Scored, alpha: float) -> Table:
    """Return a run's scores by every protocol that it was scored by."""
    conditions = scored.conditions
    header = ("protocol", *_condition_header(conditions), "metric")
    rows = tuple(
        (each.name, *_cells(scored.of(each.name, alpha), conditions), str(each.metric(alpha)))
        for each in scored.protocols
    )
    title = f"{run.settings.model}: {run.settings.dataset} {run.settings.split}, every protocol"
    return Table(title, header, rows)


def _level_row(details: Sequence[Detail], level: Level, label: str) -> tuple[Cell, ...]:
    """Return a part's pairs and scores, clean and corrupted for each run."""
    conditions = _shared(details)
    cells = [cell for each in details for cell in _cells(each.scores(level), conditions)]
    return (label, str(details[0].scored.pairs_of(level)), *cells)


def _cells(scores: Scores, conditions: Sequence[Condition]) -> list[Cell]:
    """Return the clean score and the mean over the corrupted conditions, as far as asked for."""
    corrupted = [each for each in conditions if each != CLEAN]
    cells = [scores.get(CLEAN)] if CLEAN in conditions else []
    return [*cells, *([_mean(scores, corrupted)] if corrupted else [])]


def _condition_header(conditions: Sequence[Condition]) -> list[str]:
    """Return the headings of `_cells`."""
    corrupted = len(conditions) - (CLEAN in conditions)
    names = ["clean"] if CLEAN in conditions else []
    mean = "corrupted" if corrupted == len(CORRUPTED) else f"mean of {corrupted} corrupted"
    return [*names, *([mean] if corrupted else [])]


def _header(details: Sequence[Detail]) -> tuple[str, ...]:
    """Return the header of a table by parts; models are named where there are several."""
    names = _condition_header(_shared(details))
    if len(details) == 1:
        return ("", "pairs", *names)
    return ("", "pairs", *(f"{each.summary.model} {name}" for each in details for name in names))


def _shared(details: Sequence[Detail]) -> tuple[Condition, ...]:
    """Return the conditions that all runs have."""
    first, *others = (each.scored.conditions for each in details)
    return tuple(each for each in first if all(each in other for other in others))


def _of(names: Sequence[str]) -> tuple[Condition, ...]:
    """Return the conditions of some corruptions."""
    return tuple(each for each in CORRUPTED if each.corruption in names)


def _mean(scores: Scores, conditions: Sequence[Condition]) -> float | None:
    """Return the mean over conditions; None unless all are there."""
    found = [scores[each] for each in conditions if each in scores]
    return float(np.mean(found)) if found and len(found) == len(conditions) else None


def _title(details: Sequence[Detail], what: str) -> str:
    """Return the first lines of a title: whose, what, how counted, on what."""
    models = ", ".join(each.summary.model for each in details)
    first = details[0].summary
    return f"{models}: {first.metric}, protocol {first.protocol}; {what}\n{first.dataset}"


def _gap_rows(each: Detail) -> list[tuple[Cell, ...]]:
    """Return one run's rows of the gap: each corruption and all of them."""
    if CLEAN not in each.scored.conditions:
        return []
    gap = Gap(each.summary.metric, each.run.pairs, each.run.answers(CLEAN).found)
    total, rows = Fates(), []
    for name in CORRUPTION_NAMES:
        fates = Fates()
        for condition in _of([name]):
            if condition in each.scored.conditions:
                fates = fates.plus(gap.fates(each.run.answers(condition).found))
        total = total.plus(fates)
        rows += [] if fates == Fates() else [(each.summary.model, name, *_shares(fates))]
    return [*rows, (each.summary.model, "all", *_shares(total))] if rows else []


def _shares(fates: Fates) -> list[Cell]:
    """Return the columns of the gap in percent; None where there is nothing to divide by."""
    right = fates.kept + fates.broken
    parts = [(fates.kept, right), (fates.broken, right)]
    parts += [(each, fates.broken) for each in (fates.near, fates.other, fates.elsewhere)]
    parts.append((fates.mended, fates.mended + fates.wrong))
    return [100 * part / whole if whole else None for part, whole in parts]
