"""What looks odd about an entry. It is told, and shown on the page; nobody is refused for it."""

from collections.abc import Iterable, Mapping

from spairc.spec import CONDITIONS
from spairc.types import Condition
from spairc_leaderboard.counting import Cell
from spairc_leaderboard.entry import Entry

# Two people who mark the same part of the same picture differ by more than that, so half of all
# answers nearer than it were hardly found by looking at pictures.
IMPLAUSIBLE = 1.0  # pixels, the median distance from the truth
MOST_EXACT = 0.05  # share of answers equal to the truth; whole-pixel guesses hit it in under 0.01
MOST_NAMES = 3  # cells that a message names before it only counts


def flags_of(
    entry: Entry, cells: Mapping[Condition, Cell], others: Iterable[Entry]
) -> tuple[str, ...]:
    """Return what looks odd, a line each.

    Args:
        entry: The claim.
        cells: What was seen of its answers.
        others: The repository's entries; the entry itself is passed over.
    """
    near = [each for each in CONDITIONS if cells[each].median < IMPLAUSIBLE]
    exact = [each for each in CONDITIONS if cells[each].exact > MOST_EXACT]
    found = []
    if near:
        found.append(
            f"half of all answers are within {IMPLAUSIBLE:g} px of the truth: {_some(near)}"
        )
    if exact:
        found.append(f"over {MOST_EXACT:.0%} of the answers equal the truth: {_some(exact)}")
    return (*found, *_equal_cells(cells), *_equal_entries(entry, others))


def _equal_cells(cells: Mapping[Condition, Cell]) -> Iterable[str]:
    """Yield the conditions whose answers are the same: the pictures made no difference."""
    same: dict[str, list[Condition]] = {}
    for condition in CONDITIONS:
        same.setdefault(cells[condition].digest, []).append(condition)
    for group in same.values():
        if len(group) > 1:
            yield f"the answers are the same under {_some(group)}"


def _equal_entries(entry: Entry, others: Iterable[Entry]) -> Iterable[str]:
    """Yield the entries on the same benchmark that have the same answers, or the same scores."""
    for other in others:
        if other.benchmark != entry.benchmark or other.id == entry.id:
            continue
        mine, theirs = entry.predictions.cells, other.predictions.cells
        same = [each for each in CONDITIONS if mine[str(each)] == theirs[str(each)]]
        if same:
            yield f"the answers are those of {other.id} under {_some(same)}"
        elif any(_same_scores(entry, other, each.protocol) for each in entry.scores):
            yield f"all 76 scores are those of {other.id}, though no cell has the same answers"


def _same_scores(entry: Entry, other: Entry, protocol: str) -> bool:
    """Return whether two entries have the same 76 values by a protocol."""
    mine, theirs = entry.of(protocol), other.of(protocol)
    return mine is not None and theirs is not None and mine.values == theirs.values


def _some(conditions: list[Condition]) -> str:
    """Return the first conditions by name, and how many more there are."""
    names = ", ".join(str(each) for each in conditions[:MOST_NAMES])
    more = len(conditions) - MOST_NAMES
    return names if more <= 0 else f"{names} and {more} more"
