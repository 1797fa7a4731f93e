"""Tables of a page: readable as they stand, sortable by base.js where scripts run."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from spairc.report.page.toolkit import Html, tag
from spairc.report.tables import Cell, Table, shown

TINTS = 10  # steps of a cell's tint, `.tint-1` to `.tint-10` in grid.css
MISSING = "-"

Way = Literal["ascending", "descending"]


@dataclass(frozen=True)
class Column:
    """A column's heading."""

    label: str
    title: str = ""  # the whole name, where the label is a short one
    group: str = ""  # stands above neighbours of the same group, in its colour
    kind: Literal["text", "number"] = "number"
    first: Way = "descending"  # the order that a first press of its button makes
    ordered: Way | None = None  # the order that the rows have already


@dataclass(frozen=True)
class Entry:
    """A cell of a table."""

    text: str  # markup, or text that is escaped
    value: float | None = None  # what a column of numbers is sorted by; None comes last
    tint: int = 0  # 1 to `TINTS`, 0 for none
    title: str = ""  # what the number is, in full


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    entries: tuple[Entry, ...]
    attributes: tuple[tuple[str, str], ...] = ()  # for scripts: ("data-status", "recomputed")


def grid(
    name: str,
    caption: Sequence[str],
    columns: Sequence[Column],
    rows: Iterable[Row],
    *,
    named: int = 0,
) -> Html:
    """Return a table in a frame that scrolls where the window is too narrow.

    Args:
        name: The table's id in the page.
        caption: Lines above it; the first is what it is called.
        columns: The headings.
        rows: As many cells each as there are columns.
        named: The column that tells what a row is; it stays in sight when the others scroll.
    """
    title = f"{name}-title"  # its first line: what a screen reader calls the table's frame
    names = [title, *[None] * (len(caption) - 1)]
    lines = [tag("span", line, class_="line", id=i) for line, i in zip(caption, names, strict=True)]
    table = tag(
        "table",
        tag("caption", *lines),
        tag("thead", *_headings(columns, named)),
        tag("tbody", *(_row(row, columns, named) for row in rows)),
        id=name,
        class_="grid dense" if any(column.group for column in columns) else "grid",
    )
    # Focusable, so that the keyboard can scroll it.
    return tag("div", table, class_="scroll", tabindex=0, role="region", aria_labelledby=title)


def grid_of(name: str, table: Table) -> Html:
    """Return one of the report's tables; its first column is words, the others what they are."""
    columns = [
        Column(label, kind=_kind([row[place] for row in table.rows]), first="ascending")
        for place, label in enumerate(table.header)
    ]
    rows = [Row(tuple(map(_entry, row))) for row in table.rows]
    return grid(name, table.title.splitlines(), columns, rows)


def number(value: float | None, *, tint: int = 0, title: str = "", digits: int = 1) -> Entry:
    """Return the cell of a number, or of one that is missing."""
    if value is None or math.isnan(value):
        return Entry(MISSING, title=title)
    return Entry(f"{value:.{digits}f}", value, tint, title)


def tint_of(value: float | None, low: float, high: float) -> int:
    """Return the step of tint for a value between the lowest and the highest of a table.

    `tintOf` in base.js does the same.
    """
    if value is None or math.isnan(value) or high <= low:
        return 0
    return 1 + math.floor((TINTS - 1) * (value - low) / (high - low) + 0.5)


def _headings(columns: Sequence[Column], named: int) -> list[Html]:
    """Return the head's row, with one above it where columns are grouped."""
    grouped = any(column.group for column in columns)
    cells = [
        _heading(column, place, named, 2 if grouped and not column.group else None)
        for place, column in enumerate(columns)
    ]
    if not grouped:
        return [tag("tr", *cells)]
    above: list[Html] = []
    below: list[Html] = []
    for group, members in groupby(range(len(columns)), key=lambda place: columns[place].group):
        chosen = list(members)
        if group:
            label = tag("span", group, class_=f"group {group}")
            above.append(tag("th", label, colspan=len(chosen), scope="colgroup"))
        (below if group else above).extend(cells[place] for place in chosen)
    return [tag("tr", *above), tag("tr", *below)]


def _heading(column: Column, place: int, named: int, rowspan: int | None) -> Html:
    """Return a column's heading; base.js makes its words a button."""
    if not column.label:
        return tag("td", rowspan=rowspan)  # a heading without words tells nobody anything
    return tag(
        "th",
        column.label,
        scope="col",
        rowspan=rowspan,
        class_=f"{column.kind} name" if place == named else column.kind,
        title=column.title or None,
        data_column=place,
        data_first=column.first,
        aria_sort=column.ordered,
    )


def _row(row: Row, columns: Sequence[Column], named: int) -> Html:
    """Return a row's element."""
    cells = []
    for place, (entry, column) in enumerate(zip(row.entries, columns, strict=True)):
        tint = f" tint-{entry.tint}" if entry.tint else ""
        cells.append(
            tag(
                "th" if place == named else "td",
                entry.text,
                scope="row" if place == named else None,
                class_=f"{column.kind}{tint}",
                title=entry.title or None,
                data_value=None if entry.value is None else f"{entry.value:.6g}",
            )
        )
    return tag("tr", *cells, **dict(row.attributes))


def _kind(cells: Sequence[Cell]) -> Literal["text", "number"]:
    """Return what a column of a report's table holds."""
    return "number" if any(isinstance(cell, float) for cell in cells) else "text"


def _entry(cell: Cell) -> Entry:
    """Return the cell of a report's table."""
    if isinstance(cell, float) or cell is None:
        return number(cell)
    return Entry(shown(cell))
