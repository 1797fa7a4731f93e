"""The leaderboard as a static site: `spairc leaderboard page`.

index.html         the page; needs nothing but itself
leaderboard.json   the same as data
README.md          makes the folder a static Space of the Hub
workflow.yml       for .github/workflows of the repository that keeps the Space up to date
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from spairc.files import make_folder, write_text
from spairc.report.page.toolkit import Html, asset, document, embedded, tag
from spairc.spec import CORRUPTION_NAMES, GROUPS
from spairc_leaderboard.entry import CONDITION_NAMES, Entry, Status
from spairc_leaderboard.page_boards import (
    STATUSES,
    Board,
    Ranked,
    Refused,
    boards_of,
    read_repository,
)
from spairc_leaderboard.page_sections import (
    board_section,
    counted,
    history_section,
    meaning_section,
    on,
    refused_section,
    title_of,
)

_PACKAGE = "spairc_leaderboard"
_TITLE = "SPair-C leaderboard"


def write_site(repository: Path, out: Path, name: str = "") -> list[Path]:
    """Write the site of a leaderboard; return its files.

    Args:
        repository: The dataset's folder, as `spairc_leaderboard.entry` lays it out.
        out: Where the site goes; other files there are left alone.
        name: ORG/NAME of the dataset on the Hub, if it is there.

    Raises:
        BadInput: If the repository is not there, or the site cannot be written.
    """
    listed, refused = read_repository(repository)
    boards = boards_of(listed)
    data = site_data(boards, refused)
    texts = {
        "index.html": page(boards, refused, data),
        "leaderboard.json": json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1) + "\n",
        "README.md": _readme(name),
        "workflow.yml": asset(_PACKAGE, "page_workflow.yml").replace(
            "ORG/NAME", name or "ORG/NAME"
        ),
    }
    make_folder(out)
    for file, text in texts.items():
        write_text(out / file, text)
    return [out / file for file in texts]


def page(boards: Sequence[Board], refused: Sequence[Refused], data: object) -> str:
    """Return the page.

    Args:
        boards: What is ranked.
        refused: What could not be read.
        data: What `site_data` made of both.
    """
    training = _training(boards)
    choices = tag("div", class_="choices", id="choices", hidden=True, data_scripted=True)
    sections = [board_section(place, board, training) for place, board in enumerate(boards)]
    ranking = tag("section", tag("h2", "Ranking", id="ranking"), choices, *sections)
    comparing = tag(
        "section",
        tag("h2", "Two models, cell by cell", id="comparing"),
        tag("div", class_="choices", id="pair"),
        tag("div", id="comparison"),
        aria_labelledby="comparing",
        hidden=True,
        data_scripted=True,
    )
    links = {"ranking": "Ranking", "comparing": "Compare two", "history": "History"}
    links |= {"meaning": "What the words mean"} | ({"refused": "Refused"} if refused else {})
    nav = [tag("a", words, href=f"#{name}") for name, words in links.items()]
    lead = "How well semantic correspondence survives noise, blur, weather and compression."
    header = tag(
        "header",
        tag("h1", _TITLE),
        tag("p", lead, class_="lead"),
        tag("nav", *nav, aria_label="On this page"),
    )
    parts = (history_section(boards), meaning_section(), refused_section(refused))
    body = (header, tag("main", ranking, comparing, *parts), _footer(), embedded("data", data))
    own = {"styles": [asset(_PACKAGE, "page.css")], "scripts": [asset(_PACKAGE, "page.js")]}
    return document(_TITLE, body, **own)


def site_data(boards: Sequence[Board], refused: Sequence[Refused]) -> dict[str, object]:
    """Return everything on the page as data; foreign text stays text."""
    return {
        "conditions": CONDITION_NAMES,
        "groups": GROUPS,
        "corruptions": CORRUPTION_NAMES,
        "statuses": STATUSES,
        "training": _training(boards),
        "boards": [
            {
                "title": title_of(board),
                "counted": counted(board),
                "asked": on(board.benchmark),
                "protocol": board.protocol,
                "baseline": board.baseline,
                "rows": [_row_data(each) for each in board.rows],
                "older": [_row_data(each) for each in board.older],
            }
            for board in boards
        ],
        "refused": [{"folder": each.folder, "reason": each.reason} for each in refused],
    }


def _row_data(ranked: Ranked) -> dict[str, object]:
    """Return a row as data."""
    facts = [] if ranked.listed is None else list(_facts(ranked.listed.entry, ranked.listed.status))
    return {
        "name": ranked.name,
        "status": ranked.status,
        "place": ranked.place,
        "values": [ranked.values[condition] for condition in CONDITION_NAMES],
        "facts": [[what, text] for what, text in facts if text],
    }


def _facts(entry: Entry, status: Status) -> Iterator[tuple[str, str]]:
    """Yield what an entry says of itself and the checker of it, as text."""
    model, how = entry.model, entry.evaluation
    yield "paper", model.paper
    yield "address", model.url
    yield "licence", model.licence
    yield "weights", f"{'public' if model.public_weights else 'not public'}; {model.weights}"
    yield "training data", ", ".join(model.training_data)
    yield "matcher", how.matcher
    yield "spairc", how.package
    yield "device", ", ".join(each for each in (how.device, how.precision) if each)
    yield "settings", ", ".join(f"{name} {value}" for name, value in how.settings.items())
    yield "entry", entry.id
    yield "sent", entry.date
    if status.recomputed is not None:
        yield "recomputed", f"{status.recomputed.date}, spairc {status.recomputed.package}"
        yield "flags", "; ".join(status.recomputed.flags)
    if status.reproduced is not None:
        again = status.reproduced
        difference = f"largest difference {again.largest_difference:g} points"
        yield "reproduced", f"{again.date}, spairc {again.package}, {again.device}: {difference}"


def _training(boards: Sequence[Board]) -> list[str]:
    """Return every training set that an entry names, sorted."""
    rows = [each for board in boards for each in board.rows if each.listed is not None]
    return sorted(
        {name for each in rows if each.listed for name in each.listed.entry.model.training_data}
    )


def _footer() -> Html:
    """Return the foot of the page."""
    return tag("footer", "Made by spairc leaderboard page from the entries alone.")


def _readme(name: str) -> str:
    """Return README.md of a static Space."""
    front = ["title: SPair-C leaderboard", "sdk: static", "app_file: index.html", "pinned: false"]
    front += ["license: apache-2.0", *(["datasets:", f"- {json.dumps(name)}"] if name else [])]
    told = (
        "Static pages, made by `spairc leaderboard page` from the entries of the dataset; "
        "`workflow.yml` makes them again."
    )
    return "\n".join(["---", *front, "---", "", f"# {_TITLE}", "", told]) + "\n"
