"""One table, four ways to write it: terminal, Markdown, LaTeX, CSV."""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Cell = str | float | None  # None is a place that has no value


@dataclass(frozen=True)
class Table:
    """Rows under a header; numbers are shown with one decimal and stored in full."""

    title: str  # tells the metric, the protocol and what was counted
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


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
    escaped = [[_plain(shown(cell)) for cell in row] for row in (table.header, *table.rows)]
    rule = [":--", *["--:"] * (len(table.header) - 1)]
    lines = ["| " + " | ".join(row) + " |" for row in (escaped[0], rule, *escaped[1:])]
    return f"{_plain(table.title)}\n\n" + "\n".join(lines) + "\n"


def as_latex(table: Table) -> str:
    """Return the table as a LaTeX tabular; the preamble needs booktabs."""
    body = [" & ".join(_tex(shown(cell)) for cell in row) + r" \\" for row in table.rows]
    header = " & ".join(_tex(cell) for cell in table.header) + r" \\"
    columns = "l" + "r" * (len(table.header) - 1)
    lines = [
        f"% {' '.join(table.title.split())}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        header,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
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


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Return the cells padded: the first column to the left, the others to the right."""
    first, *others = zip(row, widths, strict=True)
    return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is: no cell is left, no markup begins."""
    for character in "\\|`*_<[":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", " ")


def _tex(text: str) -> str:
    """Return text that LaTeX prints as it is."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)
