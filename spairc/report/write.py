"""Tables into files."""

from collections.abc import Sequence
from pathlib import Path

from spairc.files import make_folder, write_text
from spairc.report.summary import Summary, table_4
from spairc.report.tables import FORMATS


def write_tables(summaries: Sequence[Summary], folder: Path) -> list[Path]:
    """Write Table 4's layout as Markdown, LaTeX and CSV; return the files.

    Raises:
        BadInput: If the runs cannot stand in one table, or the folder cannot be written.
    """
    table = table_4(summaries)
    make_folder(folder)
    written = []
    for suffix in ("md", "tex", "csv"):
        path = folder / f"table4.{suffix}"
        write_text(path, FORMATS[suffix](table))
        written.append(path)
    return written
