"""The checker: counts every number of an entry again, from its answers and the truth.

Nothing of an entry is believed, looked up, opened or run. Whatever is wrong with it becomes a line
of the report, the cell named; what only looks odd becomes a flag (`suspicion`).
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from spairc.pairs import PairTable
from spairc.protocols import PROTOCOLS
from spairc.spec import CONDITIONS
from spairc.statistics import Interval
from spairc.types import BadInput, Condition
from spairc_leaderboard.counting import (
    Cell,
    Values,
    count_cell,
    derived_of,
    published_baseline,
    values_of,
)
from spairc_leaderboard.entry import (
    DECIMALS,
    FILE_NAMES,
    PUBLISHED,
    Benchmark,
    Entry,
    Estimate,
    Recomputed,
    content_hash,
)
from spairc_leaderboard.predictions import largest_file, read_answers
from spairc_leaderboard.repository import Leaderboard, check_file, read_entry
from spairc_leaderboard.suspicion import flags_of

# Half of the last stored digit, and what the order of a sum may change on another machine.
TOLERANCE = 0.5 * 10**-DECIMALS + 1e-9
QUANTITIES = {
    "clean": "clean PCK",
    "mpc": "mPC",
    "rpc": "rPC",
    "mce": "mCE",
    "relative_mce": "relative mCE",
}


@dataclass(frozen=True)
class Report:
    """What the checker found."""

    name: str  # of the entry's folder
    entry: Entry | None  # None if it could not be read
    problems: tuple[str, ...]  # none: every number is what the answers give
    flags: tuple[str, ...]  # what looks odd; told, not failed

    @property
    def passed(self) -> bool:
        """Whether every number of the entry follows from its answers."""
        return self.entry is not None and not self.problems

    def recomputed(self) -> Recomputed:
        """Return the mark that a passed entry gets.

        Raises:
            BadInput: If it did not pass.
        """
        if not self.passed:
            raise BadInput(f"{self.name} did not pass; only what passes is marked as recomputed")
        return Recomputed(version("spairc"), datetime.now(UTC).date().isoformat(), self.flags)


def check_entry(folder: Path, board: Leaderboard) -> Report:
    """Return what is wrong with an entry, and what looks odd.

    Args:
        folder: Of the entry; only the files of an entry are looked at, and no other may be there.
        board: What it is to be an entry of.
    """
    try:
        entry = read_entry(folder / "entry.json")
        _check_files(folder)
        truth = _truth_for(entry, board)
    except BadInput as error:
        return Report(folder.name, None, (str(error),), ())
    problems = [*_misplaced(folder, entry, board)]
    cells, damage = _count(folder / "predictions", truth, entry)
    problems += damage
    problems += _changed_cells(entry, cells)
    problems += _wrong_values(entry, cells)
    if len(cells) < len(CONDITIONS):
        return Report(folder.name, entry, tuple(problems), ())
    problems += _wrong_derived(entry, cells, truth, board)
    flags = flags_of(entry, cells, [each.entry for each in board.entries])
    return Report(folder.name, entry, tuple(problems), flags)


def benchmark_of(wanted: Benchmark, known: tuple[Benchmark, ...]) -> Benchmark:
    """Return the benchmark, if it is one of those that are ranked.

    Raises:
        BadInput: If it is not; names what differs from the nearest one.
    """
    if wanted in known:
        return wanted
    if not known:
        raise BadInput("the repository ranks nothing yet; its owner runs spairc push --create")
    nearest = min(known, key=lambda each: len(_differences(wanted, each)))
    odd = "; ".join(_differences(wanted, nearest))
    raise BadInput(
        f"the repository does not rank this: {odd}; only complete runs of its own pair list and "
        f"pictures are ranked"
    )


def baseline_values(
    name: str, benchmark: Benchmark, truth: PairTable, protocol: str, board: Leaderboard
) -> Values:
    """Return the 76 values that mCE divides by.

    Args:
        name: "published", or an entry's folder name.
        benchmark: What is being counted.
        truth: Its pairs.
        protocol: By name.
        board: Where the entry is.

    Raises:
        BadInput: If there is no such entry on this benchmark, or Table 4 measured something else.
    """
    if name == PUBLISHED:
        return published_baseline(benchmark, truth, PROTOCOLS[protocol].metric())
    found = board.entry(name)
    scores = None if found is None else found.entry.of(protocol)
    if found is None or scores is None or found.entry.benchmark != benchmark:
        raise BadInput(f"baseline {name}: no such entry counts {protocol} on the same benchmark")
    if found.status.recomputed is None:
        raise BadInput(f"baseline {name} has not been recomputed yet; check it first")
    return values_of(scores)


def _check_files(folder: Path) -> None:
    """Refuse links, missing files and files that no entry has."""
    wanted = {"entry.json", *(f"predictions/{name}.parquet" for name in FILE_NAMES)}
    allowed = {*wanted, "predictions", "status.json"}
    inside = [folder, *folder.rglob("*")]
    for path in inside:
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise BadInput(f"{name!a} is a link; send the file itself")
        if path != folder and name not in allowed:
            raise BadInput(f"{name!a} is no file of an entry; remove it")
    missing = sorted(name for name in wanted if not (folder / name).is_file())
    if missing:
        raise BadInput(f"{missing[0]} is missing")


def _truth_for(entry: Entry, board: Leaderboard) -> PairTable:
    """Return the pairs that the entry says it was asked."""
    return board.truth(benchmark_of(entry.benchmark, board.benchmarks))


def _misplaced(folder: Path, entry: Entry, board: Leaderboard) -> Iterator[str]:
    """Yield what is wrong with where an entry lies and what it names."""
    if folder.name != entry.id:
        yield f"the folder must be called {entry.id}"
    replaced = board.entry(entry.replaces) if entry.replaces else None
    if entry.replaces and (
        replaced is None
        or replaced.entry.model.name != entry.model.name
        or replaced.entry.benchmark != entry.benchmark
    ):
        yield f"replaces {entry.replaces}, which is no earlier entry of this model and benchmark"


def _count(
    folder: Path, truth: PairTable, entry: Entry
) -> tuple[Mapping[Condition, Cell], list[str]]:
    """Return the cells that could be read, and what is wrong with the others."""
    metrics = [PROTOCOLS[each.protocol].metric() for each in entry.scores]
    cells: dict[Condition, Cell] = {}
    problems = []
    for name in FILE_NAMES:
        path = folder / f"{name}.parquet"
        try:
            problems += _changed_file(path, entry, len(truth.target_points))
            for condition, found in read_answers(path, truth):
                cells[condition] = count_cell(truth, found, metrics)
        except BadInput as error:
            problems.append(str(error))
    return cells, problems


def _changed_file(path: Path, entry: Entry, points: int) -> list[str]:
    """Return whether a file is another than the entry's."""
    claimed = entry.predictions.files[path.stem]
    size = check_file(path, largest_file(points))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if (size, digest) == (claimed.bytes, claimed.sha256):
        return []
    return [f"{path.name}: the file was changed; entry.json has another SHA-256"]


def _changed_cells(entry: Entry, cells: Mapping[Condition, Cell]) -> Iterator[str]:
    """Yield the conditions whose answers are not those that the entry was made of."""
    claimed = entry.predictions.cells
    for condition, cell in cells.items():
        if cell.digest != claimed[str(condition)]:
            yield f"{condition}: the answers were changed; entry.json has another digest"
    if content_hash(entry.benchmark, claimed) != entry.content:
        yield "content is not the hash of the benchmark and the cells"


def _wrong_values(entry: Entry, cells: Mapping[Condition, Cell]) -> Iterator[str]:
    """Yield the cells whose score is not what the answers give."""
    for place, scores in enumerate(entry.scores):
        for condition, cell in cells.items():
            claimed, true = scores.values[str(condition)], cell.values[place]
            if abs(claimed - true) > TOLERANCE:
                yield _differs(f"{scores.protocol}, {condition}", claimed, true)


def _wrong_derived(
    entry: Entry, cells: Mapping[Condition, Cell], truth: PairTable, board: Leaderboard
) -> Iterator[str]:
    """Yield the derived numbers that are not what the 76 values give."""
    baselines = {}
    for each in entry.scores:
        try:
            if each.baseline:
                against = baseline_values(
                    each.baseline, entry.benchmark, truth, each.protocol, board
                )
                baselines[each.protocol] = against
        except BadInput as error:
            yield str(error)
    for place, scores in enumerate(entry.scores):
        metric = PROTOCOLS[scores.protocol].metric()
        derived = derived_of(truth, cells, place, metric, baselines.get(scores.protocol))
        for field, name in QUANTITIES.items():
            claimed = getattr(scores.derived, field)
            yield from _compare(f"{scores.protocol}, {name}", claimed, derived[field])


def _compare(what: str, claimed: Estimate | None, true: Interval | None) -> Iterator[str]:
    """Yield how a derived number and the ends of its interval differ."""
    if claimed is None or true is None:
        if claimed is not None or true is not None:
            mine = None if claimed is None else claimed.value
            yield _differs(what, mine, None if true is None else true.estimate)
        return
    ends = {
        what: (claimed.value, true.estimate),
        f"{what}, low end": (claimed.low, true.low),
        f"{what}, high end": (claimed.high, true.high),
    }
    for name, (one, other) in ends.items():
        known = math.isfinite(other)
        if (one is not None) != known or (one is not None and abs(one - other) > TOLERANCE):
            yield _differs(name, one, other if known else None)


def _differs(what: str, claimed: float | None, true: float | None) -> str:
    """Return how a number differs, with the digits that are compared."""
    one, other = ("none" if each is None else f"{each:.{DECIMALS}f}" for each in (claimed, true))
    return f"{what}: claimed {one}, recomputed {other}"


def _differences(one: Benchmark, other: Benchmark) -> list[str]:
    """Return how a benchmark differs from one that is ranked."""
    names = ("dataset", "split", "layout", "pairs", "side", "direction", "spec", "format")
    found = [
        f"{name} is {getattr(one, name)} here and {getattr(other, name)} there"
        for name in names
        if getattr(one, name) != getattr(other, name)
    ]
    if not found:
        name = "pair_list" if one.pair_list != other.pair_list else "pictures"
        mine, theirs = getattr(one, name)[:12], getattr(other, name)[:12]
        found = [f"{name} is {mine}... here and {theirs}... there"]
    return found
