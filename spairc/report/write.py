"""Tables into files, and which tables a report of several runs has."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from spairc.files import make_folder, write_text
from spairc.report.details import Detail, detail_tables, side_table
from spairc.report.differences import Certainty, difference_table, interval_table
from spairc.report.layouts import layout_tables
from spairc.report.summary import Summary, table_4
from spairc.report.tables import FORMATS, Table


def write_tables(summaries: Sequence[Summary], folder: Path) -> list[Path]:
    """Write Table 4's layout as Markdown, LaTeX and CSV; return the files.

    Raises:
        BadInput: If the runs cannot stand in one table, or the folder cannot be written.
    """
    return write_all({"table4": table_4(summaries)}, folder)


def report_tables(details: Sequence[Detail], certain: Certainty | None) -> dict[str, Table]:
    """Return every table of a report, by the name of its file.

    Runs that corrupted different pictures of a pair stand side by side in "sides" instead of in
    Table 4, whose numbers are all of one side.

    Args:
        details: What is reported.
        certain: The intervals; None for a report without them.

    Raises:
        BadInput: If the runs cannot stand in one table.
    """
    summaries = [each.summary for each in details]
    one_side = len({each.side for each in summaries}) == 1
    tables = {"table4": table_4(summaries)} if one_side else {"sides": side_table(details)}
    tables |= detail_tables(details)
    if one_side:
        tables |= layout_tables(details)
    if certain is not None:
        tables["intervals"] = interval_table(certain)
        if len(details) > 1:
            tables["differences"] = difference_table(certain)
    return tables


def write_all(tables: Mapping[str, Table], folder: Path) -> list[Path]:
    """Write tables as Markdown, LaTeX and CSV; return the files.

    Raises:
        BadInput: If the folder cannot be written.
    """
    make_folder(folder)
    written = []
    for name, table in tables.items():
        for suffix in ("md", "tex", "csv"):
            path = folder / f"{name}.{suffix}"
            write_text(path, FORMATS[suffix](table))
            written.append(path)
    return written
