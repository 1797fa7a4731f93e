"""Figures as files and bytes: the same figure gives the same bytes."""

import io
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from spairc.files import make_folder, written_whole
from spairc.report.figures.style import look

DOTS = 300  # per inch of a PNG


def as_svg(figure: Figure) -> bytes:
    """Return the figure as SVG without a date; its letters are outlines."""
    return _bytes(figure, format="svg", metadata={"Date": None})


def as_pdf(figure: Figure) -> bytes:
    """Return the figure as PDF without a date."""
    return _bytes(figure, format="pdf", metadata={"CreationDate": None})


def as_png(figure: Figure, dots: int = DOTS) -> bytes:
    """Return the figure as PNG.

    Args:
        figure: What to draw.
        dots: Pixels per inch.
    """
    return _bytes(figure, format="png", dpi=dots)


FORMATS: dict[str, Callable[[Figure], bytes]] = {"pdf": as_pdf, "svg": as_svg, "png": as_png}


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write NAME.pdf, NAME.svg and NAME.png, each whole or not at all; return the files.

    Raises:
        BadInput: If the folder cannot be written.
    """
    make_folder(folder)
    written = []
    for suffix, made in FORMATS.items():
        path = folder / f"{name}.{suffix}"
        data = made(figure)
        with written_whole(path) as temporary:
            temporary.write_bytes(data)
        written.append(path)
    return written


def _bytes(figure: Figure, **settings: object) -> bytes:
    """Return the figure in one format."""
    buffer = io.BytesIO()
    with look():
        figure.savefig(buffer, **settings)  # type: ignore[arg-type]  # settings by name
    return buffer.getvalue()
