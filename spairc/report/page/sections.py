"""What stands on the report's page; all of it can be read without a script."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from spairc.metrics import mce, mean_corrupted, relative_corrupted, relative_mce
from spairc.report.differences import (
    HEADLINE,
    LOWER_IS_BETTER,
    Certainty,
    difference_table,
    told_at_once,
)
from spairc.report.figures import Plate, as_svg
from spairc.report.page.data import Reported
from spairc.report.page.grid import Column, Entry, Row, grid, grid_of, number, tint_of
from spairc.report.page.toolkit import Html, data_uri, joined, name_of, tag
from spairc.report.summary import SHORT_NAMES, Scores, Summary, errors
from spairc.spec import CONDITIONS, CORRUPTION_NAMES, GROUPS, SEVERITIES
from spairc.statistics import CLEAN_PCK, Interval
from spairc.types import CLEAN, BadInput, Condition

_OVER = "mean of severities 1 to 5"
_DOTS = 150  # of the screen for an inch of print
_WIDE = 900  # pixels: a figure of many panels
_LEGEND = "the stronger the tint, the higher"


def section(name: str, title: str, *parts: str, scripted: bool = False) -> Html:
    """Return a part of the page under its heading.

    Args:
        name: The heading's id.
        title: The heading.
        parts: What stands below it.
        scripted: Whether it is of use with a script only.
    """
    heading = tag("h2", title, id=name)
    hidden = {"hidden": True, "data_scripted": True} if scripted else {}
    return tag("section", heading, *parts, aria_labelledby=name, **hidden)


def counted(summary: Summary) -> str:
    """Return the metric with the name of its protocol: what every number is told with."""
    return f"{summary.metric}, protocol {summary.protocol}"


def headline_section(reported: Sequence[Reported], certain: Certainty | None) -> Html:
    """Return the numbers that stand for whole runs, with intervals where there are any."""
    first = reported[0].summary
    found = [quantities(each.summary) for each in reported]
    names = [name for name in HEADLINE if any(each[name] is not None for each in found)]
    columns = [Column("Model", kind="text", first="ascending")]
    for name in names:
        lower = name in LOWER_IS_BETTER
        way = "lower is better" if lower else "higher is better"
        columns.append(Column(name, way, first="ascending" if lower else "descending"))
    intervals = [{} if certain is None else certain.intervals(i) for i in range(len(reported))]
    rows = [
        Row((_model(each), *(_estimate(name, values, ends, first) for name in names)))
        for each, values, ends in zip(reported, found, intervals, strict=True)
    ]
    lines = ["The runs as a whole", counted(first), first.dataset]
    lines += [] if first.baseline is None else [f"mCE against {first.baseline_model}"]
    lines += [] if certain is None else [certain.note]
    parts: list[Html] = [grid("headline", lines, columns, rows), *_missing(reported)]
    if certain is not None and len(reported) > 1:
        table = difference_table(certain, told_at_once(certain))
        titled = replace(table, title=f"Which differences are real\n{table.title}")
        parts.append(grid_of("differences", titled))
    return section("overview", "At a glance", *parts)


def corruption_section(reported: Sequence[Reported]) -> Html:
    """Return PCK by model and corruption; report.js lets the reader choose what is counted."""
    first = reported[0]
    columns = [Column("Model", kind="text", first="ascending"), Column("Clean", "clean pictures")]
    for group, names in GROUPS.items():
        columns += [Column(SHORT_NAMES[n], f"{_words(n)}, {_OVER}", group) for n in names]
    columns.append(Column("Mean", "mean of the corruptions shown"))
    values = [_by_corruption(each.summary.scores) for each in reported]
    known = [value for row in values for value in row if value is not None] or [0.0]
    how = counted(first.summary)
    rows = [
        Row((_model(each), *_tinted(row, columns[1:], (min(known), max(known)), how)))
        for each, row in zip(reported, values, strict=True)
    ]
    pairs = f"all categories, {first.scored.pairs_of(('all', 'all'))} pairs"
    lines = [
        f"PCK by corruption, {_OVER}",
        f"{how}; {pairs}",
        f"{first.summary.dataset}; {_LEGEND}",
    ]
    choices = tag("div", class_="choices", id="choices", hidden=True, data_scripted=True)
    told = tag("p", id="told", class_="unseen", role="status")
    return section(
        "corruptions", "By corruption", choices, told, grid("scores", lines, columns, rows)
    )


def figure_section(plates: Mapping[str, Plate]) -> Html:
    """Return figures one below the other, each with its caption."""
    shown = [_plate(name, plate) for name, plate in plates.items()]
    return section("figures", "Figures", tag("div", *shown, class_="plates"))


def run_section(reported: Sequence[Reported]) -> Html:
    """Return all that the runs' answers depend on, and what the protocols mean."""
    facts = [_facts(each) for each in reported]
    names = list(dict.fromkeys(name for each in facts for name in each))
    columns = [Column("", kind="text")] + [Column(each.label, kind="text") for each in reported]
    rows = [
        Row(
            (
                Entry(name),
                *(Entry(tag("code", each[name]) if name in each else "") for each in facts),
            )
        )
        for name in names
    ]
    table = grid("facts", ["What was run"], columns, rows)
    protocols = [
        Row((Entry(each.name), Entry(str(each.metric())), Entry(each.description)))
        for each in reported[0].scored.protocols
    ]
    heads = [Column(each, kind="text", first="ascending") for each in ("Protocol", "Metric", "Of")]
    meaning = grid("protocols", ["How the protocols count"], heads, protocols)
    return section("runs", "How it was made", table, meaning)


def quantities(summary: Summary) -> dict[str, float | None]:
    """Return the numbers that stand for a run; None for what is not defined or lacks conditions."""
    scores = summary.scores
    found: dict[str, float | None] = dict.fromkeys(HEADLINE)
    found[CLEAN_PCK] = scores.get(CLEAN)
    if not summary.complete:
        return found
    measures: dict[str, Callable[[], float]] = {
        "mPC": lambda: mean_corrupted(scores),
        "rPC": lambda: relative_corrupted(scores),
    }
    if summary.baseline is not None:
        mine, theirs = errors(scores), errors(summary.baseline)
        measures["mCE"] = lambda: mce(mine, theirs)
        measures["relative mCE"] = lambda: relative_mce(mine, theirs)
    return found | {name: _defined(measure) for name, measure in measures.items()}


def _defined(measure: Callable[[], float]) -> float | None:
    """Return the number; None where nothing can be divided by."""
    try:
        return measure()
    except BadInput:
        return None


def _plate(name: str, plate: Plate) -> Html:
    """Return a figure, magnified from print to a screen."""
    width = round(_DOTS * plate.figure.get_figwidth())
    source = data_uri("image/svg+xml", as_svg(plate.figure))
    image = tag("img", src=source, alt=f"Figure {name}; its caption follows", width=width)
    # On a phone a wide figure scrolls, by the keyboard too, rather than be too small to read.
    frame = tag(
        "div", image, class_="frame", tabindex=0, role="region", aria_label=f"Figure {name}"
    )
    kind = "plate wide" if width > _WIDE else "plate"
    return tag("figure", frame, tag("figcaption", plate.caption), class_=kind)


def _model(each: Reported) -> Entry:
    """Return the first cell of a run's row."""
    return Entry(name_of(each.label))


def _estimate(
    name: str,
    values: Mapping[str, float | None],
    intervals: Mapping[str, Interval],
    summary: Summary,
) -> Entry:
    """Return one of a run's numbers, with its interval where there is one."""
    found, ends = number(values[name], title=f"{name}; {counted(summary)}"), intervals.get(name)
    if ends is None or found.value is None:
        return found
    between = tag("span", f" [{ends.low:.1f}, {ends.high:.1f}]", class_="range")
    return Entry(joined([found.text, between]), found.value, title=found.title)


def _missing(reported: Sequence[Reported]) -> list[Html]:
    """Return a line for each run that lacks conditions."""
    lacking = [(each, len(CONDITIONS) - len(each.summary.scores)) for each in reported]
    return [
        tag("p", name_of(each.label), f": {count} of 76 conditions are missing: no mPC, no mCE")
        for each, count in lacking
        if count
    ]


def _by_corruption(scores: Scores) -> list[float | None]:
    """Return clean, each corruption and their mean; None where a condition is missing."""
    means: list[float | None] = []
    for name in CORRUPTION_NAMES:
        cells = [scores.get(Condition(name, severity)) for severity in SEVERITIES]
        means.append(_mean(cells))
    return [scores.get(CLEAN), *means, _mean(means)]


def _mean(cells: Sequence[float | None]) -> float | None:
    """Return the mean; None if one is missing."""
    known = [cell for cell in cells if cell is not None]
    return float(np.mean(known)) if len(known) == len(cells) else None


def _tinted(
    values: Sequence[float | None],
    columns: Sequence[Column],
    ends: tuple[float, float],
    how: str,
) -> list[Entry]:
    """Return a row of the heat map."""
    return [
        number(value, tint=tint_of(value, *ends), title=f"{column.title}; {how}")
        for value, column in zip(values, columns, strict=True)
    ]


def _words(name: str) -> str:
    """Return a corruption's name as it is read."""
    return name.replace("_", " ")


def _facts(each: Reported) -> dict[str, str]:
    """Return all that a run's answers depend on, as text."""
    settings = each.run.settings
    facts = {
        "model": settings.model,
        "pairs": f"{settings.pairs} of {settings.dataset} {settings.split} {settings.layout}",
        "pair list": settings.pair_list,
        "pictures": settings.pictures,
        "corrupted": f"{settings.side}; {', '.join(settings.corrupted.values())}",
        "direction": settings.direction,
        "conditions": f"{len(each.scored.conditions)} of 76",
        "spairc": settings.package,
    }
    facts |= {name: str(value) for name, value in settings.details.items()}
    return facts | {name: str(value) for name, value in settings.versions.items()}
