"""PCK against severity and against the tolerance, and models side by side per corruption."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from spairc.report.figures.material import Material
from spairc.report.figures.style import (
    COLOURS,
    COLUMN,
    GROUP_COLOUR,
    MORE,
    PAGE,
    Plate,
    beside_panels,
    legend,
    line_style,
    new_figure,
)
from spairc.report.summary import SHORT_NAMES
from spairc.spec import GROUPS, SEVERITIES
from spairc.types import CLEAN, Condition

_LARGEST = 0.1  # tolerance that is drawn
_FEW = 5  # places that fit a column of print
_ACROSS = 5  # panels side by side
_BANDS = 3  # up to so many models have bands; more would hide each other, and have bars
_SPREAD = 0.7  # of the room between two places, that models side by side take


def severities(material: Material) -> Plate | None:
    """Return PCK against severity, a panel per corruption; None if nothing was corrupted.

    The score on clean pictures stands at severity 0.
    """
    names = material.corruptions
    if not names:
        return None
    across = min(_ACROSS, len(names))
    down = -(-len(names) // across)
    width = COLUMN if across == 1 else PAGE
    tall = 1.15 if down > 1 else 1.6  # inches: what stands at the left needs 1.8
    figure = new_figure(width, 0.75 + tall * down + _legend_height(material))
    panels: list[Axes] = []
    for place, name in enumerate(names, start=1):
        shared = panels[0] if panels else None
        panel = figure.add_subplot(down, across, place, sharex=shared, sharey=shared)
        panels.append(panel)
        panel.set_title(name.replace("_", " "), color=GROUP_COLOUR[name])
        panel.grid(axis="y")
        for run in range(len(material.labels)):
            _severity_curve(panel, material, run, name)
        panel.tick_params(labelleft=(place - 1) % across == 0)
        if place + across > len(names):
            panel.set_xlabel(f"severity{' (0: clean)' if CLEAN in material.conditions else ''}")
        else:
            panel.tick_params(labelbottom=False)
    panels[0].set_xticks([0, *SEVERITIES] if CLEAN in material.conditions else SEVERITIES)
    panels[0].set_xlim(-0.4 if CLEAN in material.conditions else 0.6, 5.4)
    legend(figure, material.labels)
    beside_panels(figure, f"{material.axis}, %")
    return Plate(figure, material.caption("PCK against severity, a panel per corruption"))


def corruptions(material: Material) -> Plate | None:
    """Return models side by side per corruption; None if nothing was corrupted.

    A corruption's place shows the mean over its severities; clean stands at the left, and the mean
    over all that was corrupted at the right.
    """
    if not material.corruptions:
        return None
    places = _places(material)
    width = PAGE if len(places) > _FEW else COLUMN
    figure = new_figure(width, 2.3 + _legend_height(material))
    panel = figure.add_subplot()
    count = len(material.labels)
    for run in range(count):
        style = line_style(run) | {"linestyle": "none"}
        offset = _SPREAD * ((run + 0.5) / count - 0.5)
        xs = np.arange(len(places)) + offset
        ys = [material.score(run, conditions) for conditions in places.values()]
        panel.plot(xs, ys, **style)
        _bars(panel, material, run, xs, list(places.values()))
    _group_lines(panel, list(places))
    panel.grid(axis="y")
    panel.set_xticks(
        range(len(places)), list(places), rotation=40, ha="right", rotation_mode="anchor"
    )
    panel.tick_params(axis="x", length=0, pad=1)
    panel.set_xlim(-0.6, len(places) - 0.4)
    panel.set_ylabel(f"{material.axis}, %")
    legend(figure, material.labels)
    over = _over(material)
    return Plate(figure, material.caption(f"Models per corruption, mean over {over}"))


def alphas(material: Material) -> Plate | None:
    """Return PCK against the tolerance, clean and the mean of the corrupted conditions."""
    parts: dict[str, Sequence[Condition]] = {}
    if CLEAN in material.conditions:
        parts["clean"] = (CLEAN,)
    if material.corrupted:
        parts[f"mean of {len(material.corrupted)} corrupted"] = material.corrupted
    chosen = [each for each in material.details[0].scored.alphas if each <= _LARGEST]
    width = PAGE if len(parts) > 1 else COLUMN
    figure = new_figure(width, 2.1 + _legend_height(material))
    shared = None
    for place, (title, conditions) in enumerate(parts.items(), start=1):
        panel = figure.add_subplot(1, len(parts), place, sharey=shared)
        shared = shared or panel
        panel.set_title(title)
        for run in range(len(material.labels)):
            ys = [material.score(run, conditions, alpha) for alpha in chosen]
            panel.plot(chosen, ys, **line_style(run))
        panel.set_xlabel("tolerance alpha")
        panel.set_xticks([0.02, 0.04, 0.06, 0.08, 0.1])
        panel.set_ylim(bottom=0)
        panel.grid(axis="y")
        panel.tick_params(labelleft=place == 1)
    summary = material.details[0].summary
    settings = str(summary.metric).partition(" ")[2].strip("()")
    legend(figure, material.labels)
    beside_panels(figure, f"PCK ({settings}),\nprotocol {summary.protocol}, %")
    caption = material.caption("PCK against the tolerance alpha", intervals=False)
    return Plate(figure, caption.replace(str(summary.metric), f"PCK ({settings})"))


def _severity_curve(panel: Axes, material: Material, run: int, name: str) -> None:
    """Draw one run's curve under one corruption, with a band or bars where there are intervals."""
    conditions = [CLEAN] if CLEAN in material.conditions else []
    conditions += [Condition(name, severity) for severity in material.severities(name)]
    count = len(material.labels)
    spread = 0.0 if count <= _BANDS else 0.5 * ((run + 0.5) / count - 0.5)
    xs = np.array([each.severity for each in conditions], dtype=float)
    ys = np.array([material.score(run, [each]) for each in conditions])
    gapped = np.flatnonzero(np.diff(xs) > 1) + 1  # a severity that was not run breaks the line
    broken = np.insert(xs + spread, gapped, np.nan), np.insert(ys, gapped, np.nan)
    panel.plot(*broken, **line_style(run))
    if count <= _BANDS and len(xs) > 1 and not len(gapped):
        found = [material.interval(run, [each]) for each in conditions]
        ends = [(each.low, each.high) for each in found if each is not None]
        if ends:
            low, high = zip(*ends, strict=True)
            panel.fill_between(xs, low, high, color=COLOURS[run], alpha=0.15, linewidth=0)
    else:
        _bars(panel, material, run, xs + spread, [[each] for each in conditions])


def _bars(
    panel: Axes,
    material: Material,
    run: int,
    xs: NDArray[np.floating[Any]],
    parts: Sequence[Sequence[Condition]],
) -> None:
    """Draw the intervals of a run's means as bars."""
    width = 0.7 if len(material.labels) <= 2 * _BANDS else 0.4  # points
    for x, conditions in zip(xs, parts, strict=True):
        found = material.interval(run, conditions)
        if found is not None:
            panel.vlines(x, found.low, found.high, color=COLOURS[run % MORE], linewidth=width)


def _places(material: Material) -> dict[str, Sequence[Condition]]:
    """Return what stands beside each other: label -> the conditions whose mean is shown."""
    sets = {material.severities(name) for name in material.corruptions}
    places: dict[str, Sequence[Condition]] = {}
    if CLEAN in material.conditions:
        places["Clean"] = (CLEAN,)
    for name in material.corruptions:
        chosen = material.severities(name)
        told = "" if len(sets) == 1 else f" @{','.join(map(str, chosen))}"
        places[f"{SHORT_NAMES[name]}{told}"] = [Condition(name, each) for each in chosen]
    if len(material.corruptions) > 1:
        places["Mean"] = material.corrupted
    return places


def _over(material: Material) -> str:
    """Return in words over which severities means were taken."""
    sets = {material.severities(name) for name in material.corruptions}
    if len(sets) > 1:
        return "the severities that are named"
    [chosen] = sets
    if len(chosen) == 1:
        return f"severity {chosen[0]} alone"
    return "severities " + ", ".join(map(str, chosen))


def _group_lines(panel: Axes, places: Sequence[str]) -> None:
    """Divide the groups of corruptions by thin lines; colour the names by group."""
    groups = [
        next((g for g, names in GROUPS.items() if _is_of(label, names)), "") for label in places
    ]
    for place in range(1, len(groups)):
        if groups[place] != groups[place - 1]:
            panel.axvline(place - 0.5, color="#A0A0A0", linewidth=0.6)


def _is_of(label: str, names: Sequence[str]) -> bool:
    """Return whether a place's label is that of one of these corruptions."""
    return any(label.partition(" @")[0] == SHORT_NAMES[name] for name in names)


def _legend_height(material: Material) -> float:
    """Return about how many inches the legend takes."""
    longest = max(len(label) for label in material.labels)
    columns = max(1, min(4, 90 // (longest + 10), len(material.labels)))
    return 0.1 + 0.16 * -(-len(material.labels) // columns)
