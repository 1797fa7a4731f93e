"""What the leaderboard's page ranks: entries that can be compared, the best first.

Two numbers are ranked together only if they answer the same benchmark, by the same protocol, with
mCE against the same baseline. The paper's own rows stand among them where Table 4 is that baseline,
as published: nobody can count them again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from spairc.metrics import mce, mean_corrupted, relative_corrupted, relative_mce
from spairc.protocols import PROTOCOLS
from spairc.published import TABLE_4, TABLE_4_METRIC, Published
from spairc.types import CLEAN, BadInput, Condition
from spairc_leaderboard.counting import PUBLISHED_MODEL
from spairc_leaderboard.entry import PUBLISHED, Benchmark, Derived, Estimate, Scores, rounded
from spairc_leaderboard.repository import Listed, read_entry, read_status

STATUSES = {
    "reproduced": "somebody ran the public weights again and got the same",
    "recomputed": "the checker counted every number again from the submitted answers",
    "published": "as the paper prints it; not recomputed",
    "unchecked": "a claim that the checker has not looked at",
}
_PAPER_PROTOCOL = "paper"


@dataclass(frozen=True)
class Refused:
    """An entry that cannot be read, and why."""

    folder: str
    reason: str


@dataclass(frozen=True, eq=False)
class Ranked:
    """A row of a board."""

    name: str  # foreign text, never markup
    status: str  # one of `STATUSES`
    values: Mapping[str, float]  # the 76 by condition
    derived: Derived
    listed: Listed | None  # None for what the paper published
    place: int | None = None  # among those that are no mere claims


@dataclass(frozen=True, eq=False)
class Board:
    """Rows that can be compared."""

    benchmark: Benchmark | None  # None: only the paper's own rows
    protocol: str
    baseline: str  # what mCE divides by, as in `Scores`
    rows: tuple[Ranked, ...]  # the best first; claims that nobody checked come last
    older: tuple[Ranked, ...]  # entries that a later one of the same name replaces


def read_repository(folder: Path) -> tuple[tuple[Listed, ...], tuple[Refused, ...]]:
    """Return the entries of a repository, and those that cannot be read.

    Raises:
        BadInput: If the folder is not there.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder; give a clone of the dataset, or ORG/NAME")
    listed, refused = [], []
    for path in sorted(folder.glob("entries/*")):
        try:
            listed.append(_read(path))
        except BadInput as error:
            refused.append(Refused(path.name, str(error)))
    return tuple(listed), tuple(refused)


def boards_of(listed: Sequence[Listed]) -> tuple[Board, ...]:
    """Return the boards: the one of the paper's Table 4 first, then those with most rows."""
    keyed = [(_key(each, scores), each, scores) for each in listed for scores in each.entry.scores]
    keyed.sort(key=lambda item: item[0])
    boards = []
    for _, members in groupby(keyed, key=lambda item: item[0]):
        pairs = [(each, scores) for _, each, scores in members]
        boards.append(_board(pairs))
    if not any(_has_published_rows(board.protocol, board.baseline) for board in boards):
        boards.append(_assembled(None, _PAPER_PROTOCOL, PUBLISHED, (), ()))
    order = list(PROTOCOLS)
    boards.sort(
        key=lambda board: (
            not _has_published_rows(board.protocol, board.baseline),
            -len(board.rows),
            order.index(board.protocol),
            board.baseline,
        )
    )
    return tuple(boards)


def status_of(listed: Listed) -> str:
    """Return which of `STATUSES` the checker gave."""
    if listed.status.recomputed is None:
        return "unchecked"
    return "recomputed" if listed.status.reproduced is None else "reproduced"


def _read(folder: Path) -> Listed:
    """Return the entry in this folder; BadInput if it is none, or another's."""
    if folder.is_symlink() or not folder.is_dir():
        raise BadInput("this is no folder of an entry")
    entry = read_entry(folder / "entry.json")
    if entry.id != folder.name:
        raise BadInput(f"it holds entry {entry.id}, which belongs into a folder of that name")
    return Listed(entry, read_status(folder / "status.json"))


def _key(listed: Listed, scores: Scores) -> tuple[str, str, str]:
    """Return what has to agree for two numbers to be ranked together."""
    return (listed.entry.benchmark.id, scores.protocol, scores.baseline)


def _board(members: Sequence[tuple[Listed, Scores]]) -> Board:
    """Return the board of entries that can be compared."""
    every = [
        Ranked(each.entry.model.name, status_of(each), scores.values, scores.derived, each)
        for each, scores in members
    ]
    replaced = _replaced(each for each, _ in members)
    newest = [each for each in every if _id(each) not in replaced]
    older = [each for each in every if _id(each) in replaced]
    first, scores = members[0]
    benchmark = first.entry.benchmark
    return _assembled(benchmark, scores.protocol, scores.baseline, newest, older)


def _replaced(listed: Iterable[Listed]) -> set[str]:
    """Return the entries that a checked one of the same name says it replaces."""
    known = {each.entry.id: each for each in listed}
    found = set()
    for each in known.values():
        old = known.get(each.entry.replaces)
        same = old is not None and old.entry.model.name == each.entry.model.name
        if same and status_of(each) != "unchecked":
            found.add(each.entry.replaces)
    return found


def _id(ranked: Ranked) -> str:
    """Return the folder's name of a row's entry."""
    return "" if ranked.listed is None else ranked.listed.entry.id


def _assembled(
    benchmark: Benchmark | None,
    protocol: str,
    baseline: str,
    rows: Sequence[Ranked],
    older: Sequence[Ranked],
) -> Board:
    """Return the board, the paper's rows among the others where they compare, each in its place."""
    with_paper = _has_published_rows(protocol, baseline)
    published = [_published(name) for name in TABLE_4] if with_paper else []
    ordered = sorted([*rows, *published], key=_merit)
    checked = [each for each in ordered if each.status != "unchecked"]
    claims = [each for each in ordered if each.status == "unchecked"]
    placed = [replace(each, place=place) for place, each in enumerate(checked, start=1)]
    return Board(benchmark, protocol, baseline, (*placed, *claims), tuple(older))


def _merit(ranked: Ranked) -> tuple[float, float, str]:
    """Return what rows are ranked by: mCE, lower first; where there is none mPC, higher first."""
    found = ranked.derived.mce
    return (float("inf") if found is None else found.value, -ranked.derived.mpc.value, ranked.name)


def _has_published_rows(protocol: str, baseline: str) -> bool:
    """Return whether the rows of the paper's Table 4 compare with what is counted so."""
    return baseline == PUBLISHED and PROTOCOLS[protocol].metric() == TABLE_4_METRIC


def _published(name: str) -> Ranked:
    """Return a row of the paper's Table 4, its summaries counted from its cells."""
    scores = TABLE_4[name].scores()
    mine, theirs = (_errors(each) for each in (TABLE_4[name], TABLE_4[PUBLISHED_MODEL]))
    found = {
        "clean": scores[CLEAN],
        "mpc": mean_corrupted(scores),
        "rpc": relative_corrupted(scores),
        "mce": mce(mine, theirs),
        "relative_mce": relative_mce(mine, theirs),
    }
    derived = Derived(**{key: Estimate(rounded(value), None, None) for key, value in found.items()})
    return Ranked(name, "published", {str(each): v for each, v in scores.items()}, derived, None)


def _errors(published: Published) -> dict[Condition, float]:
    """Return 100 - score by condition."""
    return {condition: 100 - score for condition, score in published.scores().items()}
