"""What the keeper of a leaderboard does: check a pull request, merge it, write down what was found.

A pull request may bring one new entry and nothing else. `status.json` and `results.parquet` are
written here alone, so a submitter has no part in what they say.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from spairc.files import written_whole
from spairc.protocols import PROTOCOLS
from spairc.runs import Run
from spairc.types import BadInput
from spairc_leaderboard.check import Report, check_entry
from spairc_leaderboard.entry import Entry, Reproduced, Status, rounded
from spairc_leaderboard.hub import (
    Hub,
    PullRequest,
    commit,
    fetch_files,
    fetch_tables,
    fetch_truth,
    head_of,
    look_at,
    merge,
)
from spairc_leaderboard.making import benchmark_of_run, weights_of
from spairc_leaderboard.predictions import largest_file
from spairc_leaderboard.push import entry_of, entry_paths
from spairc_leaderboard.repository import (
    LARGEST_JSON,
    Leaderboard,
    open_leaderboard,
    read_entry,
    read_status,
)
from spairc_leaderboard.strict import dump_json
from spairc_leaderboard.table import write_results
from spairc_leaderboard.wording import is_identity

# Percentage points that a cell may differ when weights are run again: on another device a few
# answers of thousands fall on the other side of a threshold.
RERUN_TOLERANCE = 0.5


def check_folder(folder: Path) -> tuple[Report, Leaderboard]:
    """Return the report on an entry in a clone or in what a dry run wrote, and its leaderboard.

    Raises:
        BadInput: If the folder is not in a leaderboard's `entries`.
    """
    repository = folder.resolve().parents[1]
    if folder.resolve().parent.name != "entries" or not (repository / "benchmarks").is_dir():
        raise BadInput(
            f"{folder} is not in the entries folder of a leaderboard; give --repo ORG/NAME to "
            f"check it against one"
        )
    board = open_leaderboard(repository, skip=folder.resolve().name)
    return check_entry(folder, board), board


def check_against(hub: Hub, folder: Path, out: Path) -> tuple[Report, Leaderboard]:
    """Return the report on an entry's folder here, for a repository on the Hub.

    Args:
        hub: The repository.
        folder: Of the entry.
        out: An empty folder, filled with what is needed of the repository.

    Raises:
        BadInput: If the entry cannot be read, or the Hub or the network refuses.
    """
    return _check_fetched(hub, fetch_tables(hub, out), folder)


def check_merged(hub: Hub, name: str, out: Path) -> tuple[Report, Leaderboard]:
    """Return the report on an entry of the repository, by its folder's name.

    Args:
        hub: The repository.
        name: Of the entry's folder.
        out: An empty folder, filled with what is needed of the repository.

    Raises:
        BadInput: If there is no such entry, or the Hub or the network refuses.
    """
    board = fetch_tables(hub, out)
    if board.entry(name) is None:
        raise BadInput(
            f"{hub.repository} has no entry {name!a}; look at {hub.url}/tree/main/entries"
        )
    fetch_files(hub, "main", entry_paths(name), out)
    return _check_fetched(hub, board, out / "entries" / name)


def check_pull_request(hub: Hub, number: int, out: Path) -> tuple[Report, Leaderboard, PullRequest]:
    """Return the report on a pull request's entry, the leaderboard, and what was looked at.

    Args:
        hub: The repository.
        number: Of the pull request.
        out: An empty folder, filled with what is needed of the repository.

    Raises:
        BadInput: If there is no such pull request, it does anything but add one entry, a file is
            too large, or the Hub or the network refuses.
    """
    seen = look_at(hub, number)
    board = fetch_tables(hub, out)
    name = _only_entry(seen, board)
    fetch_files(hub, seen.head, entry_paths(name), out)
    return *_check_fetched(hub, board, out / "entries" / name), seen


def accept(hub: Hub, seen: PullRequest, report: Report) -> None:
    """Merge a pull request whose entry passed.

    Raises:
        BadInput: If it did not pass, was changed meanwhile, or the token may not.
    """
    report.recomputed()  # refuses what did not pass
    merge(hub, seen)


def record(hub: Hub, report: Report, reproduced: Reproduced | None, out: Path) -> str:
    """Write an entry's status and the table of all into the repository; return the address.

    Args:
        hub: The repository, which holds the entry.
        report: On the entry; it passed.
        reproduced: If its weights were run again.
        out: An empty folder, filled with the repository's tables.

    Raises:
        BadInput: If the entry is not there or is another by now, somebody else was faster, or the
            token may not.
    """
    parent = head_of(hub)
    board = fetch_tables(hub, out)
    listed = board.entry(report.name)
    if listed is None or listed.entry != entry_of(report):
        raise BadInput(f"{hub.repository} holds no such entry {report.name}; merge it first")
    files = write_record(board, report, reproduced)
    return commit(hub, files, f"Checked {report.name}", parent=parent)


def write_record(
    board: Leaderboard, report: Report, reproduced: Reproduced | None
) -> dict[str, Path]:
    """Write an entry's status and the table of all into a leaderboard's folder.

    Args:
        board: In which the entry lies.
        report: On the entry; it passed.
        reproduced: If its weights were run again; if not, what stood there stays.

    Returns:
        Path in the repository -> the file.

    Raises:
        BadInput: If it did not pass, or cannot be written.
    """
    path = board.folder / "entries" / report.name / "status.json"
    before = read_status(path)
    status = replace(
        before, recomputed=report.recomputed(), reproduced=reproduced or before.reproduced
    )
    _write_status(path, status)
    results = board.folder / "results.parquet"
    write_results(results, open_leaderboard(board.folder).entries)
    return {each.relative_to(board.folder).as_posix(): each for each in (path, results)}


def reproduce(report: Report, rerun: Run) -> Reproduced:
    """Return the mark for an entry whose public weights were run again, by somebody else.

    Args:
        report: On the entry; it passed.
        rerun: A complete run of its weights.

    Raises:
        BadInput: If the weights are not public, the run is of other weights or of something else,
            or a cell differs by more than `RERUN_TOLERANCE`: the cell is named.
    """
    report.recomputed()  # refuses what did not pass
    entry = entry_of(report)
    _check_same(entry, rerun)
    largest = 0.0
    for scores in entry.scores:
        again = rerun.scores(PROTOCOLS[scores.protocol].metric())
        for condition, value in again.items():
            difference = abs(value - scores.values[str(condition)])
            if difference > RERUN_TOLERANCE:
                raise BadInput(
                    f"{report.name} is not reproduced: {scores.protocol}, {condition} is "
                    f"{value:.2f} in {rerun.folder} and {scores.values[str(condition)]:.2f} in the "
                    f"entry; at most {RERUN_TOLERANCE:g} apart is allowed"
                )
            largest = max(largest, difference)
    device = str(rerun.settings.details.get("device") or "")
    return Reproduced(version("spairc"), _today(), device, rounded(largest))


def _check_fetched(hub: Hub, board: Leaderboard, folder: Path) -> tuple[Report, Leaderboard]:
    """Return the report on an entry after its truth was fetched."""
    benchmark = None
    with suppress(BadInput):  # the report says what is wrong with an entry that cannot be read
        benchmark = read_entry(folder / "entry.json").benchmark
    if benchmark is not None and benchmark in board.benchmarks:
        fetch_truth(hub, board, benchmark)
    return check_entry(folder, board), board


def _only_entry(seen: PullRequest, board: Leaderboard) -> str:
    """Return the one entry that a pull request adds, after checking that it does nothing else."""
    what = f"pull request {seen.number}"
    if seen.status not in ("open", "draft"):
        raise BadInput(f"{what} is {seen.status!a}; check an entry that is merged by its name")
    if seen.touched:
        raise BadInput(f"{what} changes or removes {seen.touched[0]!a}; it may only add an entry")
    names = {parts[1] for parts in (path.split("/") for path in seen.changed) if len(parts) > 1}
    name = min(names, default="")
    if not is_identity(name):
        raise BadInput(f"{what} adds no folder entries/NAME-HASH; spairc push makes one")
    allowed = set(entry_paths(name))
    for path in seen.changed:
        if path not in allowed:
            raise BadInput(f"{what} brings {path!a}; it may bring the files of one entry only")
    for path in sorted(allowed):
        if path not in seen.changed:
            raise BadInput(f"{what} lacks {path}; spairc push sends it")
    if board.entry(name) is not None:
        raise BadInput(f"{what}: entry {name} is in the repository already; it is never changed")
    _check_sizes(seen, board)
    return name


def _check_sizes(seen: PullRequest, board: Leaderboard) -> None:
    """Refuse files that are too large, before they are fetched."""
    largest = largest_file(max((each.points for each in board.benchmarks), default=0))
    for path, row in seen.changed.items():
        most = LARGEST_JSON if path.endswith(".json") else largest
        if row.size > most:
            raise BadInput(f"{path} has {row.size} bytes; at most {most} are allowed")


def check_public(entry: Entry) -> None:
    """Raise BadInput if an entry's weights are not public, so that nobody else can run it."""
    if not entry.model.public_weights:
        raise BadInput(f"{entry.id} has no public weights; only public weights can be run again")


def _check_same(entry: Entry, rerun: Run) -> None:
    """Refuse a rerun of other weights, or of something else."""
    check_public(entry)
    model = entry.model
    if weights_of(rerun) != model.weights:
        raise BadInput(
            f"{rerun.folder} was run with weights {weights_of(rerun)[:12]}..., the entry with "
            f"{model.weights[:12]}...; give the same --checkpoint"
        )
    if benchmark_of_run(rerun) != entry.benchmark:
        raise BadInput(f"{rerun.folder} was asked something else than {entry.id}; use its data set")
    missing = len(entry.predictions.cells) - len(rerun.conditions)
    if missing:
        raise BadInput(f"{rerun.folder} lacks {missing} of the 76 conditions; complete it first")


def _write_status(path: Path, status: Status) -> None:
    """Write what was found."""
    with written_whole(path) as temporary:
        temporary.write_bytes(dump_json(status))


def _today() -> str:
    """Return the day, the same everywhere."""
    return datetime.now(UTC).date().isoformat()
