"""One table, four ways to write it: terminal, Markdown, LaTeX, CSV."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

Cell = str | float | None  # None is a place that has no value
Mark = Literal["best", "second"]
_NARROW = 8  # columns of a LaTeX table that fit one column of a page


@dataclass(frozen=True)
class Table:
    """Rows under a header; numbers are shown with one decimal and stored in full."""

    title: str  # tells the metric, the protocol and what was counted
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    marks: Mapping[tuple[int, int], Mark] = field(default_factory=dict)  # by row and column


def as_text(table: Table) -> str:
    """Return the table for a terminal, columns aligned."""
    cells = [list(table.header), *([shown(cell) for cell in row] for row in table.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(table.header))]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in cells]
    rule = "-" * max(map(len, lines))
    return "\n".join([table.title, "", lines[0], rule, *lines[1:]]) + "\n"


def as_columns(table: Table) -> str:
    """Return a table of words for a terminal, every column to the left."""
    cells = [list(table.header), *([shown(cell) for cell in row] for row in table.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(table.header))]
    padded = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
    return "\n".join([table.title, "", padded[0], "-" * max(map(len, padded)), *padded[1:]])


def as_markdown(table: Table) -> str:
    """Return the table in GitHub's Markdown."""
    body = _written(table, plain, {"best": "**{}**", "second": "<ins>{}</ins>"})
    rule = [":--", *["--:"] * (len(table.header) - 1)]
    header = [plain(cell) for cell in table.header]
    lines = ["| " + " | ".join(row) + " |" for row in (header, rule, *body)]
    return f"{plain(_caption(table))}\n\n" + "\n".join(lines) + "\n"


def as_latex(table: Table) -> str:
    """Return the table as LaTeX's table, its title as caption; the preamble needs booktabs."""
    marks = {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}"}
    body = [" & ".join(row) + r" \\" for row in _written(table, _tex, marks)]
    header = " & ".join(_tex(cell) for cell in table.header) + r" \\"
    columns = "l" + "r" * (len(table.header) - 1)
    kind = "table*" if len(table.header) > _NARROW else "table"
    lines = [
        f"% {' '.join(table.title.split())}",
        rf"\begin{{{kind}}}",
        r"\centering\scriptsize\setlength{\tabcolsep}{2.5pt}",
        rf"\caption{{{_tex(_caption(table))}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        header,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        rf"\end{{{kind}}}",
    ]
    return "\n".join(lines) + "\n"


def as_csv(table: Table) -> str:
    """Return the table as CSV, numbers at full precision; the title is not in it."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table.header)
    for row in table.rows:
        writer.writerow(["" if cell is None else cell for cell in row])
    return file.getvalue()


FORMATS: dict[str, Callable[[Table], str]] = {
    "txt": as_text,
    "md": as_markdown,
    "tex": as_latex,
    "csv": as_csv,
}


def shown(cell: Cell) -> str:
    """Return a cell as people read it: one decimal, a dash where there is no value."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "-"
    return cell if isinstance(cell, str) else f"{cell:.1f}"


def ranked(
    table: Table, *, lower: Iterable[str] = (), first: int = 1, blocks: bool = False
) -> Table:
    """Return the table with the best number of each column marked, and the second best.

    Numbers that are shown alike are equal. A column with one number has no best.

    Args:
        table: Models down; rows that are to be compared have their numbers in the same columns.
        lower: Headings of the columns in which the lowest number is the best.
        first: The first column of numbers.
        blocks: Whether only rows with the same first cell are compared.
    """
    marks: dict[tuple[int, int], Mark] = {}
    for label in dict.fromkeys(row[0] if blocks else None for row in table.rows):
        places = [i for i, row in enumerate(table.rows) if not blocks or row[0] == label]
        for column in range(first, len(table.header)):
            cells = {place: table.rows[place][column] for place in places}
            sign = -1 if table.header[column] in set(lower) else 1
            marks |= {(place, column): mark for place, mark in _best(cells, sign).items()}
    return replace(table, marks=marks)


def _best(cells: Mapping[int, Cell], sign: int) -> dict[int, Mark]:
    """Return the marks of some numbers that are compared."""
    known = {
        place: sign * round(cell, 1)
        for place, cell in cells.items()
        if isinstance(cell, float) and not math.isnan(cell)
    }
    order = sorted(set(known.values()), reverse=True)
    if len(known) < 2:  # noqa: PLR2004 -- one number is compared with nothing
        return {}
    names: tuple[Mark, ...] = ("best", "second")
    meant = dict(zip(order, names, strict=False))
    return {place: meant[value] for place, value in known.items() if value in meant}


def _caption(table: Table) -> str:
    """Return the title in one line."""
    return "; ".join(line.rstrip(";") for line in table.title.splitlines())


def _written(
    table: Table, escape: Callable[[str], str], marks: Mapping[str, str]
) -> list[list[str]]:
    """Return the cells of the rows, escaped, those that are marked within their mark."""
    return [
        [
            marks.get(table.marks.get((i, j), ""), "{}").format(escape(shown(cell)))
            for j, cell in enumerate(row)
        ]
        for i, row in enumerate(table.rows)
    ]


_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",  # after the end of a row it would be read as a length
    "*": "{*}",  # and this as a command of its own
}


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Return the cells padded: the first column to the left, the others to the right."""
    first, *others = zip(row, widths, strict=True)
    return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]


def plain(text: str) -> str:
    """Return text that Markdown shows as it is: no cell is left, no markup begins."""
    for character in "\\|`*_<[":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", " ")


def _tex(text: str) -> str:
    """Return text that LaTeX prints as it is, on one line."""
    one_line = " ".join(text.split())
    return "".join(_TEX.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in one_line)
