"""Figures of one or several runs, readable in print, in grey, and without colour sight.

    material = gather(runs, protocol, alpha, baseline, resamples)   # refuses what does not compare
    for name, plate in draw(material).items():                      # name: "severities", ...
        save(plate.figure, folder, name)                            # NAME.pdf, NAME.svg, NAME.png
        plate.caption                                             # tells what, how counted, on what

`draw` returns, as far as the conditions allow, in this order:

    severities          PCK against severity, a panel per corruption, with intervals
    corruptions         models side by side per corruption, mean over severities, with intervals
    alphas              PCK against the tolerance, clean and mean of the corrupted
    heat-1, heat-2      15 x 5 cells of each run, by its position among the runs
    difference-2-1      each further run less the first, cell by cell

A `Plate` is a matplotlib `Figure` (object-oriented, no pyplot) and its caption in plain text.
`as_svg(figure)` and `as_png(figure)` return the bytes that `save` writes: the same for the same
runs. Match pictures are in `spairc.report.hardest`:

    hard = hard_pairs(run, metric, number=6)            # needs no pictures; hard[0].caption
    pictures = pictures_of(run, root, corrupted=None)   # the run's own; refuses others
    matched(run, metric, hard[0].position, condition, pictures) -> Match   # .image, .caption
    series(run, metric, hard[0].position, "fog", pictures) -> list[Match]  # clean, severities
    plate(run, metric, hard[0], pictures) -> Image      # clean beside where it breaks

The paper's Figures A and B, contact sheets of one picture under all corruptions and under all
severities, are `spairc.report.sheets`. To add a figure: a function from `Material` to `Plate` and a
line in `FIGURES`.
"""

from collections.abc import Callable

from spairc.report.figures.cells import difference, heat
from spairc.report.figures.curves import alphas, corruptions, severities
from spairc.report.figures.material import Material as Material
from spairc.report.figures.material import gather as gather
from spairc.report.figures.material import material_of as material_of
from spairc.report.figures.save import as_pdf as as_pdf
from spairc.report.figures.save import as_png as as_png
from spairc.report.figures.save import as_svg as as_svg
from spairc.report.figures.save import save as save
from spairc.report.figures.style import Plate as Plate
from spairc.report.figures.style import look

# The order is the order in which they are shown; the cells of each run follow.
FIGURES: dict[str, Callable[[Material], Plate | None]] = {
    "severities": severities,
    "corruptions": corruptions,
    "alphas": alphas,
}


def draw(material: Material) -> dict[str, Plate]:
    """Return every figure that there is something to show in, by the name of its file."""
    runs = range(len(material.labels))
    with look():
        drawn = {name: make(material) for name, make in FIGURES.items()}
        drawn |= {f"heat-{run + 1}": heat(material, run) for run in runs}
        drawn |= {f"difference-{run + 1}-1": difference(material, run, 0) for run in runs[1:]}
    return {name: plate for name, plate in drawn.items() if plate is not None}
