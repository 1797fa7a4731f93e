"""Match pictures by severity, small enough for a page."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import PIL.Image

from spairc.pictures import Pictures
from spairc.report.canvas import fitted
from spairc.report.details import Detail
from spairc.report.hardest import HardPair, Match, hard_pairs, series
from spairc.report.page.sections import section
from spairc.report.page.toolkit import Html, data_uri, joined, name_of, tag
from spairc.report.summary import Summary
from spairc.types import Image

SIDE = 640  # pixels of a picture's longer side at most; larger ones are reduced
QUALITY = 70  # of WebP
PAIRS = 3  # of each run
WITHOUT_PICTURES = (
    "There are no match pictures: they need the dataset. Make this page with --root FOLDER, the "
    "folder of the dataset that was run."
)
HOW_CHOSEN = (
    "The pairs of each run whose points are right on clean pictures and lost most often on "
    "corrupted ones, under the corruption that costs them most. Green discs are right, red crosses "
    "wrong, a white line leads to the truth."
)
NONE_LOST = "No pair of these runs is right on clean pictures and lost on corrupted ones."


@dataclass(frozen=True, eq=False)
class Shown:
    """One pair of one run under one corruption: clean, then severity by severity."""

    summary: Summary  # of the run
    hard: HardPair
    matches: tuple[Match, ...]

    @cached_property
    def corruption(self) -> str:
        """The corruption's name as it is read."""
        return str(self.hard.worst.corruption).replace("_", " ")


def hardest_of(detail: Detail, pictures: Pictures) -> list[Shown]:
    """Return the pairs of a run that it loses most often.

    Args:
        detail: The run.
        pictures: Its own.

    Raises:
        BadInput: If a file is damaged.
    """
    run, metric = detail.run, detail.summary.metric
    found = []
    for hard in hard_pairs(run, metric, PAIRS):
        name = str(hard.worst.corruption)
        matches = series(run, metric, hard.position, name, pictures)
        found.append(Shown(detail.summary, hard, tuple(matches)))
    return found


def gallery_section(shown: Sequence[Shown], note: str) -> Html:
    """Return the pairs, each with a slider over the severities.

    Args:
        shown: The pairs.
        note: A line below the heading: how they were chosen, or why there are none.
    """
    pairs = [_pair(number, each) for number, each in enumerate(shown)]
    gallery = tag("div", *pairs, class_="gallery") if pairs else Html()
    return section("matches", "Matches that break", tag("p", note, class_="lead"), gallery)


def small_picture(image: Image) -> str:
    """Return the address of a picture that holds it in bounded size."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(fitted(image, SIDE)).save(buffer, format="WEBP", quality=QUALITY, method=4)
    return data_uri("image/webp", buffer.getvalue())


def _pair(number: int, shown: Shown) -> Html:
    """Return one pair; without a script all its pictures stand one below the other."""
    title = joined([name_of(shown.summary.model), f": {shown.corruption}"])
    protocol = f", protocol {shown.summary.protocol}"
    pictures = [
        tag("li", _picture(match, match.caption + protocol), data_told=match.caption + protocol)
        for match in shown.matches
    ]
    about = tag("p", name_of(shown.hard.caption), protocol, class_="note")
    listed = tag("ol", *pictures)
    return tag("article", tag("h3", title), about, listed, _slider(number, shown), class_="pair")


def _slider(number: int, shown: Shown) -> Html:
    """Return what chooses a severity; report.js shows it where there is a choice."""
    name = f"severity-{number}"
    marks = [tag("span", str(match.condition.severity)) for match in shown.matches]
    most = len(shown.matches) - 1
    return tag(
        "div",
        tag("label", f"Severity of {shown.corruption}, 0 is clean", for_=name),
        tag("input", type="range", id=name, min=0, max=most, step=1, value=0),
        tag("div", *marks, class_="scale", aria_hidden="true"),
        tag("output", for_=name),
        class_="slider",
        hidden=True,
        data_scripted=True,
    )


def _picture(match: Match, told: str) -> Html:
    """Return one picture with what a screen reader says of it."""
    height, width = fitted(match.image, SIDE).shape[:2]
    return tag("img", src=small_picture(match.image), alt=told, width=width, height=height)
