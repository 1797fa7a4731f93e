"""From a run to a pull request; the same run twice is one entry."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from spairc.files import make_folder
from spairc.runs import Run
from spairc.types import BadInput
from spairc_leaderboard.card import card
from spairc_leaderboard.check import Report, benchmark_of, check_entry
from spairc_leaderboard.entry import FILE_NAMES, Entry
from spairc_leaderboard.hub import (
    Hub,
    commit,
    create_repository,
    fetch_tables,
    head_of,
    list_files,
    open_pull_requests,
    require_login,
)
from spairc_leaderboard.making import (
    Choices,
    benchmark_of_run,
    content_of_run,
    make_entry,
    write_benchmark,
)
from spairc_leaderboard.repository import Leaderboard, open_leaderboard
from spairc_leaderboard.table import write_results

Tell = Callable[[str], object]
HASH_DIGITS = 12  # of the content, in an entry's name


@dataclass(frozen=True)
class Pushed:
    """What became of a push."""

    url: str  # of the pull request, or of what was found instead
    name: str  # of the entry's folder
    found: bool  # whether the run was there already, and nothing was sent
    flags: tuple[str, ...] = ()  # what the checker found odd


def push(
    run: Run, hub: Hub, choices: Choices, *, create: bool = False, tell: Tell = lambda _: None
) -> Pushed:
    """Open a pull request with a run's entry, unless the repository has the run already.

    Args:
        run: A complete one.
        hub: Where to.
        choices: What the submitter decides.
        create: Make the repository, or what it lacks to rank runs like this one.
        tell: Given a line for each step.

    Raises:
        BadInput: If the run is not complete, the repository does not rank its like, its own numbers
            do not pass the checker, or the Hub or the network refuses.
    """
    content = content_of_run(run)
    require_login(hub)
    if create:
        create_leaderboard(hub, run, tell)
    with tempfile.TemporaryDirectory(prefix="spairc-push-") as made:
        board = fetch_tables(hub, Path(made))
        benchmark_of(benchmark_of_run(run), board.benchmarks)
        found = _find(hub, board, content)
        if found is not None:
            return found
        write_benchmark(run, board.folder)
        folder, report = stage(run, board, choices, board.folder)
        paths = {path: folder.parents[1] / path for path in entry_paths(folder.name)}
        size = sum(path.stat().st_size for path in paths.values())
        tell(f"{folder.name}: {len(paths)} files, {size / 1e6:.1f} MB")
        text = _description(entry_of(report))
        title = f"Entry {folder.name}"
        url = commit(hub, paths, title, description=text, pull_request=True)
        return Pushed(url, folder.name, found=False, flags=report.flags)


def dry_run(run: Run, choices: Choices, out: Path) -> tuple[Path, Report]:
    """Return the entry that a push would send, and what the checker says; no network is used.

    Args:
        run: A complete one.
        choices: What the submitter decides.
        out: Filled like a repository of its own, with the run's pairs as the truth.

    Raises:
        BadInput: If the run is not complete, or its own numbers do not pass the checker.
    """
    if out.exists() and any(out.iterdir()):
        raise BadInput(f"{out} is not empty; choose another --out")
    make_folder(out)
    write_benchmark(run, out)
    return stage(run, open_leaderboard(out), choices, out)


def stage(run: Run, board: Leaderboard, choices: Choices, out: Path) -> tuple[Path, Report]:
    """Return the folder of a run's entry below `out`, and the checker's report on it.

    Raises:
        BadInput: If the entry cannot be made, or does not pass.
    """
    folder = make_entry(run, board, choices, make_folder(out / "entries"))
    report = check_entry(folder, board)
    if not report.passed:
        raise BadInput(f"{run.folder}: {'; '.join(report.problems)}")
    return folder, report


def create_leaderboard(hub: Hub, run: Run, tell: Tell = lambda _: None) -> None:
    """Make the repository, its card and what it needs to rank runs like this one.

    What is there already is kept, so a benchmark can be added to a leaderboard so too.

    Raises:
        BadInput: If the token may not, somebody else was faster, or there is no network.
    """
    create_repository(hub)
    parent, present = head_of(hub), list_files(hub, "main")
    with tempfile.TemporaryDirectory(prefix="spairc-create-") as made:
        folder = Path(made)
        write_benchmark(run, folder)
        (folder / "README.md").write_text(card(hub.repository), encoding="utf-8")
        write_results(folder / "results.parquet", ())
        files = {
            path.relative_to(folder).as_posix(): path
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.relative_to(folder).as_posix() not in present
        }
        if files:
            tell(f"{hub.url}: adding {', '.join(files)}")
            commit(hub, files, "Rank a benchmark", parent=parent)


def entry_paths(name: str) -> tuple[str, ...]:
    """Return the files of an entry, as paths in the repository."""
    answers = (f"predictions/{each}.parquet" for each in FILE_NAMES)
    return tuple(f"entries/{name}/{each}" for each in ("entry.json", *answers))


def entry_of(report: Report) -> Entry:
    """Return the entry of a report on one that could be read.

    Raises:
        BadInput: If it could not be read.
    """
    if report.entry is None:
        raise BadInput(f"{report.name}: {'; '.join(report.problems)}")
    return report.entry


@contextmanager
def emptied(out: Path | None) -> Iterator[Path]:
    """Yield a folder for a dry run: the user's, or one that is removed afterwards."""
    if out is not None:
        yield out
        return
    made = Path(tempfile.mkdtemp(prefix="spairc-push-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _find(hub: Hub, board: Leaderboard, content: str) -> Pushed | None:
    """Return where this run is already: in the repository, or in an open pull request."""
    for each in board.entries:
        if each.entry.content == content:
            name = each.entry.id
            return Pushed(f"{hub.url}/tree/main/entries/{name}", name, found=True)
    ending = f"-{content[:HASH_DIGITS]}"
    for number in open_pull_requests(hub, ending):
        # A title is anybody's words; the files are what counts.
        for path in list_files(hub, f"refs/pr/{number}"):
            name = path.split("/")[1] if path.startswith("entries/") else ""
            if name.endswith(ending):
                return Pushed(f"{hub.url}/discussions/{number}", name, found=True)
    return None


def _description(entry: Entry) -> str:
    """Return what the pull request says; only numbers and words of our own."""
    lines = [f"- benchmark {entry.benchmark.id}, {entry.benchmark.pairs} pairs"]
    for scores in entry.scores:
        derived = scores.derived
        mce = "" if derived.mce is None else f", mCE {derived.mce.value:.1f}"
        numbers = f"clean {derived.clean.value:.1f}, mPC {derived.mpc.value:.1f}{mce}"
        lines.append(f"- {scores.metric}: {numbers}")
    return "\n".join([*lines, "", "Made by `spairc push`; counted again by `spairc leaderboard`."])
