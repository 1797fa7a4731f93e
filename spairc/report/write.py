"""Tables into files, and which tables a report of several runs has."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from spairc.files import make_folder, write_text
from spairc.protocols import Protocol
from spairc.report.details import detail, detail_tables, side_table
from spairc.report.differences import Certainty, difference_table, interval_table
from spairc.report.summary import Summary, table_4
from spairc.report.tables import FORMATS, Table
from spairc.runs import Run


def write_tables(summaries: Sequence[Summary], folder: Path) -> list[Path]:
    """Write Table 4's layout as Markdown, LaTeX and CSV; return the files.

    Raises:
        BadInput: If the runs cannot stand in one table, or the folder cannot be written.
    """
    return write_all({"table4": table_4(summaries)}, folder)


def report_tables(
    runs: Sequence[Run],
    summaries: Sequence[Summary],
    protocol: Protocol,
    certain: Certainty | None,
) -> dict[str, Table]:
    """Return every table of a report, by the name of its file.

    Runs that corrupted different pictures of a pair stand side by side in "sides" instead of in
    Table 4, whose numbers are all of one side.

    Args:
        runs: What is reported.
        summaries: Theirs, under the protocol.
        protocol: How they were counted.
        certain: The intervals; None for a report without them.

    Raises:
        BadInput: If the runs cannot stand in one table.
    """
    one_side = len({each.side for each in summaries}) == 1
    tables = {"table4": table_4(summaries)} if one_side else {}
    pairs = zip(runs, summaries, strict=True)
    details = [detail(run, summary, protocol) for run, summary in pairs]
    if not one_side:
        tables["sides"] = side_table(details)
    tables |= detail_tables(details)
    if certain is not None:
        tables["intervals"] = interval_table(certain)
        if len(runs) > 1:
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
