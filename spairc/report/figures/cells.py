"""Heat maps of the 15 x 5 cells: of one run, and of the difference of two."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spairc.report.figures.material import Material
from spairc.report.figures.style import (
    COLUMN,
    GROUP_COLOUR,
    SMALL,
    Plate,
    fitted,
    new_figure,
    put,
)
from spairc.spec import SEVERITIES
from spairc.types import Condition

# Cividis rises in lightness and looks alike to readers with and without red and green (Nuñez et
# al. 2018); purple to orange stays two colours for all of them.
_RISING, _TWO_SIDED = "cividis", "PuOr"
_DARK = 0.55  # luminance below which letters are white


def heat(material: Material, run: int) -> Plate | None:
    """Return a run's cells; the colours mean the same for all runs. None if none is corrupted."""
    if not material.corruptions:
        return None
    every = [_cells(material, number) for number in range(len(material.labels))]
    known = np.concatenate([each[np.isfinite(each)] for each in every])
    scale = Normalize(float(known.min()), float(max(known.max(), known.min() + 1)))
    figure = _empty(material)
    words = {place: f"{value:.1f}" for place, value in _known(every[run])}
    _draw(figure, material, every[run], scale, words, label=f"{material.axis}, %")
    _title(figure, [material.labels[run]])
    what = f"PCK by corruption and severity of {material.labels[run]}"
    return Plate(figure, _caption(material, what))


def difference(material: Material, run: int, less: int) -> Plate | None:
    """Return a run's cells less another's; bold where the interval excludes zero."""
    if not material.corruptions:
        return None
    values = _cells(material, run) - _cells(material, less)
    most = float(max(np.nanmax(np.abs(values)), 1))
    figure = _empty(material)
    words = {
        place: f"{value:+.1f}".replace("-", "\N{MINUS SIGN}") for place, value in _known(values)
    }
    bold = _real(material, run, less)
    scale = Normalize(-most, most)
    _draw(figure, material, values, scale, words, bold, label=f"{material.axis}, points")
    first, second = material.labels[run], material.labels[less]
    _title(figure, [first, f"less {second}"])
    told = "; bold: the interval excludes zero" if material.certain else ""
    return Plate(figure, _caption(material, f"PCK of {first} less {second}{told}"))


def _caption(material: Material, what: str) -> str:
    """Return a caption that names its own runs."""
    note = "" if material.certain is None else f" {material.certain.note.strip('[]')}."
    bold = note if "bold" in what else ""
    return f"{what}. {material.counted}; {material.details[0].summary.dataset}.{bold}"


def _cells(material: Material, run: int) -> NDArray[np.float64]:
    """Return (corruptions, 5) scores; NaN where not all runs have the condition."""
    rows = [
        [
            material.score(run, [Condition(name, severity)])
            if severity in material.severities(name)
            else np.nan
            for severity in SEVERITIES
        ]
        for name in material.corruptions
    ]
    return np.array(rows)


def _known(values: NDArray[np.float64]) -> list[tuple[tuple[int, int], float]]:
    """Return place and value of every cell that has one."""
    return [
        ((row, column), float(values[row, column]))
        for row, column in np.argwhere(np.isfinite(values)).tolist()
    ]


def _real(material: Material, run: int, less: int) -> set[tuple[int, int]]:
    """Return the cells whose difference has an interval that excludes zero."""
    found = set()
    for row, name in enumerate(material.corruptions):
        for severity in material.severities(name):
            interval = material.interval(run, [Condition(name, severity)], less)
            if interval is not None and interval.excludes_zero:
                found.add((row, severity - 1))
    return found


def _empty(material: Material) -> Figure:
    """Return a figure that holds so many rows."""
    return new_figure(COLUMN, 1.35 + 0.21 * len(material.corruptions))


def _title(figure: Figure, lines: Sequence[str]) -> None:
    """Put names above the figure, shortened to its width."""
    title = figure.suptitle("", fontsize=SMALL)
    put(title, "\n".join(fitted(figure, lines, COLUMN - 0.1)))


def _draw(
    figure: Figure,
    material: Material,
    values: NDArray[np.float64],
    scale: Normalize,
    words: Mapping[tuple[int, int], str],
    bold: set[tuple[int, int]] | None = None,
    *,
    label: str,
) -> None:
    """Draw the cells, their numbers and what the colours mean."""
    panel = figure.add_subplot()
    colours = colormaps[_TWO_SIDED if scale.vmin == -(scale.vmax or 0) else _RISING]
    mesh = panel.pcolormesh(
        np.ma.masked_invalid(values), cmap=colours, norm=scale, edgecolors="white", linewidth=0.8
    )
    panel.set_facecolor("#F2F2F2")
    panel.invert_yaxis()
    for place, word in words.items():
        _number(panel, place, word, colours(scale(values[place])), heavy=place in (bold or ()))
    panel.set_xticks(np.arange(5) + 0.5, [str(each) for each in SEVERITIES])
    named = [name.replace("_", " ") for name in material.corruptions]
    panel.set_yticks(np.arange(len(named)) + 0.5, named)
    for text, name in zip(panel.get_yticklabels(), material.corruptions, strict=True):
        text.set_color(GROUP_COLOUR[name])
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    panel.set_xlabel("severity")
    bar = figure.colorbar(mesh, ax=panel, location="bottom", aspect=30, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label(label)


def _number(
    panel: Axes,
    place: tuple[int, int],
    word: str,
    colour: tuple[float, float, float, float],
    *,
    heavy: bool,
) -> None:
    """Write a number into its cell, in white or black, whichever can be read."""
    luminance = float(np.dot(np.array(colour[:3]) ** 2.2, (0.2126, 0.7152, 0.0722)))
    row, column = place
    panel.text(
        column + 0.5,
        row + 0.5,
        word,
        ha="center",
        va="center",
        color="white" if luminance < _DARK**2.2 else "black",
        fontweight="bold" if heavy else "normal",
    )
