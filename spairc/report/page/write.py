"""From runs to the report's page: one file that opens by a double click and needs no network."""

from collections.abc import Sequence
from pathlib import Path

from spairc.files import write_text
from spairc.pictures import Pictures
from spairc.report.details import Detail
from spairc.report.differences import Certainty
from spairc.report.figures import draw, material_of
from spairc.report.page.data import page_data, report_of
from spairc.report.page.gallery import (
    HOW_CHOSEN,
    NONE_LOST,
    WITHOUT_PICTURES,
    gallery_section,
    hardest_of,
)
from spairc.report.page.sections import (
    corruption_section,
    figure_section,
    headline_section,
    run_section,
)
from spairc.report.page.toolkit import Html, asset, document, embedded, name_of, tag

_PACKAGE = "spairc.report.page"
_PARTS = {
    "overview": "At a glance",
    "corruptions": "By corruption",
    "figures": "Figures",
    "matches": "Matches that break",
    "runs": "How it was made",
}


def write_page(
    path: Path,
    details: Sequence[Detail],
    certain: Certainty | None,
    pictures: Sequence[Pictures] | None,
) -> None:
    """Write the page of several runs, whole or not at all.

    Args:
        path: The file.
        details: The runs, each called by a name of its own.
        certain: Their intervals; None for a page without them.
        pictures: Those of each run; None for a page without match pictures.

    Raises:
        BadInput: If the runs do not compare, a file of a run is damaged, or the page cannot be
            written.
    """
    write_text(path, report_page(details, certain, pictures))


def report_page(
    details: Sequence[Detail],
    certain: Certainty | None,
    pictures: Sequence[Pictures] | None,
) -> str:
    """Return the page of several runs; arguments and errors as `write_page`."""
    plates = draw(material_of(details, certain))
    reported = [report_of(each) for each in details]
    labels = ", ".join(each.label for each in reported)
    nav = [tag("a", words, href=f"#{name}") for name, words in _PARTS.items()]
    header = tag(
        "header",
        tag("h1", "How well matches hold"),
        tag("p", name_of(labels), f": {reported[0].summary.dataset}", class_="lead"),
        tag("nav", *nav, aria_label="On this page"),
    )
    main = tag(
        "main",
        headline_section(reported, certain),
        corruption_section(reported),
        figure_section(plates),
        _gallery(details, pictures),
        run_section(reported),
    )
    package = reported[0].run.settings.package
    footer = tag("footer", f"Runs of spairc {package}. PCK: percentage of keypoints found.")
    return document(
        f"spairc: {labels}",
        (header, main, footer, embedded("data", page_data(reported))),
        styles=[asset(_PACKAGE, "report.css")],
        scripts=[asset(_PACKAGE, "report.js")],
    )


def _gallery(details: Sequence[Detail], pictures: Sequence[Pictures] | None) -> Html:
    """Return the match pictures, or the line that says why there are none."""
    if pictures is None:
        return gallery_section([], WITHOUT_PICTURES)
    pairs = zip(details, pictures, strict=True)
    shown = [each for detail, own in pairs for each in hardest_of(detail, own)]
    return gallery_section(shown, HOW_CHOSEN if shown else NONE_LOST)
