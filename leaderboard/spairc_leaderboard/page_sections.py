"""What stands on the leaderboard's page; only choices and comparison need a script."""

from collections.abc import Sequence

from spairc.protocols import PROTOCOLS
from spairc.published import TABLE_4_METRIC
from spairc.report.page.grid import Column, Entry, Row, grid, number, tint_of
from spairc.report.page.sections import section
from spairc.report.page.toolkit import Html, joined, name_of, tag
from spairc.report.summary import SHORT_NAMES
from spairc.spec import CORRUPTION_NAMES, GROUPS, SEVERITIES
from spairc_leaderboard.entry import PUBLISHED, Benchmark, Estimate
from spairc_leaderboard.page_boards import STATUSES, Board, Ranked, Refused

_WORDS = {
    "reproduced": "reproduced",
    "recomputed": "recomputed",
    "published": "published, not recomputed",
    "unchecked": "not checked",
}
_SUMMARIES = {
    "mce": Column(
        "mCE", "mean corruption error against the baseline; lower is better", first="ascending"
    ),
    "clean": Column("Clean", "PCK on clean pictures"),
    "mpc": Column("mPC", "mean PCK over the 75 corrupted conditions"),
    "rpc": Column("rPC", "mPC as a percentage of clean PCK"),
}


def board_section(number_: int, board: Board, training: Sequence[str]) -> Html:
    """Return a ranking.

    Args:
        number_: Of the board on the page.
        board: What is ranked.
        training: Every training set on the page, in the order of the choices.
    """
    names, ends = _summaries(board), _ends(board)
    rows = [_row(each, i, training, names, ends) for i, each in enumerate(board.rows)]
    table = grid(f"board-{number_}", caption_of(board), _columns(board), rows, named=1)
    title = title_of(board)
    told = tag("p", class_="note told", role="status")
    heading = tag("h3", title, id=f"board-{number_}-heading")
    return tag(
        "section", heading, told, table, class_="board", aria_labelledby=f"board-{number_}-heading"
    )


def title_of(board: Board) -> str:
    """Return what a board is called."""
    protocol = f"protocol {board.protocol}"
    if board.benchmark is None:
        return f"SPair-71k test, {protocol}"
    each = board.benchmark
    parts = [f"{each.dataset} {each.split}, {protocol}"]
    parts += [] if board.baseline == PUBLISHED else [f"mCE against {board.baseline or 'nothing'}"]
    parts += [] if each.side == "both" else [f"{each.side} corrupted"]
    return ", ".join(parts)


def caption_of(board: Board) -> list[str]:
    """Return the lines above a board: by what it is ranked, how counted, on what."""
    against = {PUBLISHED: "CATs as published"}.get(board.baseline, board.baseline)
    ranked = f"mCE against {against}" if against else "mPC: there is no baseline"
    columns = (
        "columns of corruptions: PCK, mean of severities 1 to 5; the stronger the tint, the higher"
    )
    return [
        f"Ranked by {ranked}; 95 % intervals where given",
        f"{counted(board)}; {columns}",
        on(board.benchmark),
    ]


def counted(board: Board) -> str:
    """Return the metric with the name of its protocol: what every number is told with."""
    return f"{PROTOCOLS[board.protocol].metric()}, protocol {board.protocol}"


def on(benchmark: Benchmark | None) -> str:
    """Return what was asked, in a line; of the paper, if nobody was asked yet."""
    if benchmark is None:
        return "SPair-71k test: 12234 pairs, both pictures corrupted by the paper's authors"
    side = "both pictures" if benchmark.side == "both" else f"the {benchmark.side}"
    kept = "" if benchmark.format == "lossless" else f", {benchmark.format}"
    return (
        f"{benchmark.dataset} {benchmark.split} {benchmark.layout}: {benchmark.pairs} pairs, "
        f"{side} corrupted, {benchmark.spec}{kept}; pair list {benchmark.pair_list[:12]}"
    )


def history_section(boards: Sequence[Board]) -> Html:
    """Return the versions of every entry that has several, the oldest first."""
    columns = [
        Column(label, kind="text", first="ascending")
        for label in ("Model", "Sent", "Entry", "Replaces", "Status")
    ]
    columns += _SUMMARIES.values()
    tables = []
    for place, board in enumerate(boards):
        rows = [_version(each) for each in _versions(board)]
        if rows:
            lines = [f"{title_of(board)}: versions", counted(board), on(board.benchmark)]
            tables.append(grid(f"history-{place}", lines, columns, rows))
    none = tag("p", "No entry has been replaced by a later one yet.", class_="lead")
    return section("history", "History of entries", *(tables or [none]))


def refused_section(refused: Sequence[Refused]) -> Html:
    """Return the entries that could not be read; nothing if there are none."""
    if not refused:
        return Html()
    columns = [Column(each, kind="text", first="ascending") for each in ("Folder", "Reason")]
    rows = [Row((Entry(name_of(each.folder)), Entry(name_of(each.reason)))) for each in refused]
    lead = tag("p", "These folders hold nothing that could be shown.", class_="lead")
    table = grid("refused-table", ["Refused entries"], columns, rows)
    return section("refused", "Refused", lead, table)


def meaning_section() -> Html:
    """Return what the words of the page mean."""
    words = [(_WORDS[status], meaning) for status, meaning in STATUSES.items()]
    words += [
        ("PCK", "percentage of keypoints found within a tolerance; the protocol tells which"),
        (
            "mCE",
            "summed error over the baseline's, averaged over corruptions, x 100; lower is better",
        ),
        ("mPC, rPC", "mean PCK over the 75 corrupted conditions, and that over clean PCK"),
    ]
    listed = [part for word, text in words for part in (tag("dt", word), tag("dd", text))]
    paper = tag(
        "p",
        f"The published rows are Table 4 of “Match me if you can” (ACCV 2024), {TABLE_4_METRIC}. "
        "Their corrupted pictures were made by the paper's authors and are not the ones that "
        "entries are run on.",
    )
    data = tag(
        "p",
        "Everything on this page as data: ",
        tag("a", "leaderboard.json", href="leaderboard.json"),
    )
    return section("meaning", "What the words mean", tag("dl", *listed), paper, data)


def _columns(board: Board) -> list[Column]:
    """Return the headings of a board."""
    columns = [
        Column("#", "place; claims have none", first="ascending", ordered="ascending"),
        Column("Model", kind="text", first="ascending"),
        Column("Status", kind="text", first="ascending"),
        *(_SUMMARIES[name] for name in _summaries(board)),
    ]
    for group, names in GROUPS.items():
        full = (f"{name.replace('_', ' ')}, mean of severities 1 to 5" for name in names)
        columns += [Column(SHORT_NAMES[n], t, group) for n, t in zip(names, full, strict=True)]
    columns += [
        Column(label, kind="text", first="ascending")
        for label in ("Weights", "Training data", "Sent")
    ]
    return columns


def _summaries(board: Board) -> tuple[str, ...]:
    """Return the fields of `Derived` that a board has columns for."""
    return tuple(name for name in _SUMMARIES if board.baseline or name != "mce")


def _ends(board: Board) -> tuple[float, float]:
    """Return the lowest and the highest corruption mean of a board: the ends of the tints."""
    every = [value for each in board.rows for value in means_of(each)]
    return (min(every), max(every)) if every else (0.0, 0.0)


def means_of(ranked: Ranked) -> list[float]:
    """Return a row's PCK by corruption, over the severities."""
    return [
        sum(ranked.values[f"{name}@{severity}"] for severity in SEVERITIES) / len(SEVERITIES)
        for name in CORRUPTION_NAMES
    ]


def _row(
    ranked: Ranked,
    place: int,
    training: Sequence[str],
    summaries: Sequence[str],
    ends: tuple[float, float],
) -> Row:
    """Return a row of a board; its attributes are what page.js filters by."""
    sets = () if ranked.listed is None else ranked.listed.entry.model.training_data
    public = ranked.listed is None or ranked.listed.entry.model.public_weights
    entries = (
        number(None if ranked.place is None else float(ranked.place), digits=0),
        Entry(_name(ranked)),
        Entry(_status(ranked)),
        *(_estimate(getattr(ranked.derived, name)) for name in summaries),
        *(number(value, tint=tint_of(value, *ends)) for value in means_of(ranked)),
        Entry(_weights(ranked)),
        Entry(joined(_separated(sets))),
        Entry("" if ranked.listed is None else ranked.listed.entry.date),
    )
    attributes = {
        "data_row": str(place),
        "data_status": ranked.status,
        "data_public": "yes" if public else "no",
        "data_training": " ".join(str(training.index(each)) for each in sets),
    }
    return Row(entries, tuple(attributes.items()))


def _name(ranked: Ranked) -> Html:
    """Return a model's name, which leads to its paper or code where the entry names an address."""
    name = name_of(ranked.name)
    url = "" if ranked.listed is None else ranked.listed.entry.model.url
    return tag("a", name, href=url, rel="noopener noreferrer nofollow") if url else name


def _status(ranked: Ranked) -> Html:
    """Return a row's status, and how many oddities the checker saw."""
    told = tag(
        "span",
        _WORDS[ranked.status],
        class_=f"status {ranked.status}",
        title=STATUSES[ranked.status],
    )
    found = None if ranked.listed is None else ranked.listed.status.recomputed
    if found is None or not found.flags:
        return told
    count = "1 flag" if len(found.flags) == 1 else f"{len(found.flags)} flags"
    return joined([told, " ", tag("span", count, class_="flags", title="; ".join(found.flags))])


def _weights(ranked: Ranked) -> str:
    """Return whether anybody can get a model's weights."""
    if ranked.listed is None:
        return ""
    return "public" if ranked.listed.entry.model.public_weights else "not public"


def _separated(names: Sequence[str]) -> list[str]:
    """Return foreign names with commas between them."""
    parts: list[str] = []
    for name in names:
        parts += [", ", name_of(name)] if parts else [name_of(name)]
    return parts


def _estimate(estimate: Estimate | None) -> Entry:
    """Return a number with its interval."""
    found = number(None if estimate is None else estimate.value)
    if estimate is None or estimate.low is None:
        return found
    between = tag("span", f" [{estimate.low:.1f}, {estimate.high:.1f}]", class_="range")
    return Entry(joined([found.text, between]), found.value)


def _versions(board: Board) -> list[Ranked]:
    """Return the entries whose name has a version that was replaced, by name and day."""
    every = [each for each in (*board.rows, *board.older) if each.listed is not None]
    replaced = {each.name for each in board.older}
    known = [each for each in every if each.name in replaced]
    return sorted(known, key=lambda each: (each.name, _sent(each)))


def _sent(ranked: Ranked) -> tuple[str, str]:
    """Return when an entry was sent, and its folder's name."""
    entry = None if ranked.listed is None else ranked.listed.entry
    return ("", "") if entry is None else (entry.date, entry.id)


def _version(ranked: Ranked) -> Row:
    """Return a row of the history."""
    date, identity = _sent(ranked)
    replaces = "" if ranked.listed is None else ranked.listed.entry.replaces
    texts = (_name(ranked), date, tag("code", identity), tag("code", replaces), _status(ranked))
    summaries = (_estimate(getattr(ranked.derived, name)) for name in _SUMMARIES)
    return Row((*(Entry(text) for text in texts), *summaries))
