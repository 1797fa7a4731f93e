"""How figures look: sizes for print, colours that stay apart, names that stay text."""

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.text import Text

from spairc.report.canvas import GROUP_COLOURS
from spairc.spec import GROUPS

COLUMN, PAGE = 3.5, 7.0  # inches: the widths of one and of two columns of print
SMALL, NORMAL = 7.0, 8.0  # points
_FEWEST = 2  # letters that are left of a name
MORE = 8  # so many models have a colour and a marker of their own; then they come again, hollow


@dataclass(frozen=True)
class Plate:
    """A figure and what is said below it."""

    figure: Figure
    caption: str  # plain text: names are as the user gave them


# After Okabe and Ito (2008), with violet for their yellow, which is lost on white, in an order in
# which the first few differ in lightness; a marker and a line of its own for print in grey.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#000000",
    "#56B4E9",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#5028E1",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))
GROUP_COLOUR = {
    name: "#{:02X}{:02X}{:02X}".format(*GROUP_COLOURS[group])
    for group, names in GROUPS.items()
    for name in names
}
_LOOK = {
    "font.family": "DejaVu Sans",
    "font.size": SMALL,
    "axes.titlesize": SMALL,
    "axes.labelsize": SMALL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "figure.titlesize": NORMAL,
    "figure.labelsize": SMALL,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlepad": 3.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "grid.linewidth": 0.4,
    "grid.color": "#D0D0D0",
    "lines.linewidth": 1.1,
    "lines.markersize": 3.4,
    "pdf.fonttype": 42,  # letters that an editor can search
    "svg.fonttype": "path",  # the same letters wherever it is opened
    "svg.hashsalt": "spairc",  # the same names inside for the same figure
}
# What a user's own settings of matplotlib would change is put back to its default.
_OURS: dict[Any, Any] = {
    name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith("backend")
} | _LOOK


@contextmanager
def look() -> Iterator[None]:
    """Draw and write figures under these settings, whatever the user's are; then put them back."""
    with mpl.rc_context(_OURS):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches that arranges its own parts."""
    engine = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)
    figure = Figure(figsize=(width, height), layout=engine)
    FigureCanvasAgg(figure)
    return figure


def line_style(number: int) -> dict[str, Any]:
    """Return how the lines of a model are drawn, by its position among the runs."""
    colour = COLOURS[number % MORE]
    return {
        "color": colour,
        "marker": MARKERS[number % MORE],
        "linestyle": LINES[number % len(LINES)],
        "markerfacecolor": colour if number // MORE % 2 == 0 else "white",
        "markeredgewidth": 0.6,
    }


def put(text: Text, name: str) -> Text:
    """Show a name as it is: no formula begins in it; return the text."""
    text.set_parse_math(False)
    text.set_text(name)
    return text


def legend(figure: Figure, labels: Sequence[str]) -> None:
    """Name the models below the figure, in as many columns as there is room for."""
    if len(labels) == 1:
        names, columns = fitted(figure, labels, figure.get_figwidth() - 0.6), 1
    else:
        names, columns = _arranged(figure, labels)
    handles = [Line2D([], [], **line_style(number)) for number in range(len(labels))]
    placeholders = [str(number) for number in range(len(labels))]
    box = figure.legend(
        handles,
        placeholders,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        handlelength=3.2,
        columnspacing=1.5,
        borderaxespad=0.2,
    )
    for text, name in zip(box.get_texts(), names, strict=True):
        put(text, name)


def beside_panels(figure: Figure, text: str) -> None:
    """Write at the left of the figure, in the middle of its panels; the legend is there already."""
    with look():
        figure.draw_without_rendering()
    boxes = [panel.get_position() for panel in figure.axes]
    middle = (min(box.y0 for box in boxes) + max(box.y1 for box in boxes)) / 2
    figure.supylabel(text, y=middle, multialignment="center")


def fitted(figure: Figure, labels: Sequence[str], width: float) -> list[str]:
    """Return the labels as text that can be drawn, none wider than so many inches, no two alike.

    A longer one loses its middle, because names of models differ at both ends.
    """
    found: list[str] = []
    for label in labels:
        name = _narrowed(figure, drawable(label), width)
        while name in found:
            place = found.count(name) + len(found) + 1
            name = _narrowed(figure, f"({place}) {drawable(label)}", width)
        found.append(name)
    return found


def drawable(text: str) -> str:
    """Return the text with a question mark for what is no letter of the font, on one line."""
    known = _characters()
    normal = unicodedata.normalize("NFC", " ".join(text.split()))
    return "".join(c if ord(c) in known and c.isprintable() else "?" for c in normal)


def width_of(figure: Figure, text: str) -> float:
    """Return how wide a text in small letters is, in inches."""
    with look():
        drawn = put(Text(0, 0, "", fontsize=SMALL, figure=figure), text)
        drawn.set_figure(figure)
        renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]  # the canvas is Agg's
        return float(drawn.get_window_extent(renderer).width / figure.dpi)


def _arranged(figure: Figure, labels: Sequence[str]) -> tuple[list[str], int]:
    """Return the labels, and how many stand side by side so that all fit."""
    room = figure.get_figwidth() - 0.1
    beside = 0.55  # inches: line and gaps of one entry
    for columns in range(min(len(labels), 4), 1, -1):
        each = room / columns - beside
        if all(width_of(figure, drawable(label)) <= each for label in labels):
            rows = -(-len(labels) // columns)
            return fitted(figure, labels, each), -(-len(labels) // rows)
    return fitted(figure, labels, room - beside), 1


def _narrowed(figure: Figure, text: str, width: float) -> str:
    """Return the text, its middle left out if it is too wide."""
    keep = len(text)
    shown = text
    while width_of(figure, shown) > width and keep > _FEWEST:
        keep = min(keep - 1, int(keep * width / width_of(figure, shown)))
        shown = f"{text[: (keep + 1) // 2]}…{text[len(text) - keep // 2 :]}"
    return shown


@cache
def _characters() -> frozenset[int]:
    """Return what the font can show."""
    path = Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    return frozenset(FT2Font(str(path)).get_charmap())
