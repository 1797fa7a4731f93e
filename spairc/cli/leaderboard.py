"""Commands about the leaderboard: push, leaderboard check, leaderboard page."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spairc.cli.common import FOLDER, Group
from spairc.types import BadInput

if TYPE_CHECKING:
    from spairc.runs import Run
    from spairc_leaderboard.check import Report
    from spairc_leaderboard.entry import Entry, Reproduced
    from spairc_leaderboard.hub import Hub, PullRequest
    from spairc_leaderboard.making import Choices
    from spairc_leaderboard.repository import Leaderboard

REPO = click.option("--repo", "repository", metavar="ORG/NAME", help="Dataset on the Hub.")


@click.command()
@click.argument("folder", metavar="RUN", type=FOLDER)
@REPO
@click.option("--dry-run", is_flag=True, help="Show what would be sent; use no network.")
@click.option("--out", type=FOLDER, help="With --dry-run: keep the entry in this folder.")
@click.option("--create", is_flag=True, help="Make the dataset, or what it lacks to rank this.")
@click.option("--name", help="Of the model.  [default: as the run calls it]")
@click.option("--paper", default="", help="Title, or as one cites it.")
@click.option("--url", default="", help="https address of the paper or the code.")
@click.option("--licence", default="", help="Of the weights or the code.")
@click.option("--public-weights", is_flag=True, help="Anybody can get the weights and run again.")
@click.option("--training-data", multiple=True, help="Such as ImageNet; may be repeated.")
@click.option("--protocol", "protocols", multiple=True, help="[default: paper and original]")
@click.option("--baseline", help="For mCE: an entry, published, or none.  [default: as fits]")
@click.option("--replaces", default="", metavar="ENTRY", help="This model's earlier entry.")
def push(
    folder: Path,
    repository: str | None,
    dry_run: bool,  # noqa: FBT001 -- click gives flags by name
    out: Path | None,
    create: bool,  # noqa: FBT001 -- as above
    **given: Any,
) -> None:
    """Send a RUN to a leaderboard.

    Opens a pull request on a dataset of the Hugging Face Hub, after checking the run's numbers as
    the leaderboard will. Log in with `hf auth login` first. A run that is there already is found.

    Example: spairc push runs/cats --repo org/spair-c --paper "CATs, NeurIPS 2021"
    """
    from spairc.runs import open_run
    from spairc_leaderboard.hub import open_hub
    from spairc_leaderboard.push import push as push_run

    run = open_run(folder)
    choices = _choices(run, **given)
    if dry_run:
        _show_dry_run(run, choices, out, repository)
        return
    if repository is None or out is not None:
        raise BadInput("give --repo ORG/NAME to send the entry, or --dry-run to look at it")
    pushed = push_run(run, open_hub(repository), choices, create=create, tell=click.echo)
    _print_flags(pushed.flags)
    click.echo(f"{'this run is there already' if pushed.found else 'pull request'}: {pushed.url}")


@click.group(cls=Group)
def leaderboard() -> None:
    """Check entries; make the page."""


@leaderboard.command()
@click.argument("entry", required=False)
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[-- EVAL OPTIONS]")
@click.option("--pr", "number", type=click.IntRange(min=1), help="A pull request's number.")
@click.option("--open", "all_open", is_flag=True, help="Every open pull request, one by one.")
@REPO
@click.option("--rerun", type=FOLDER, help="A run of its public weights, by somebody else.")
@click.option("--record", is_flag=True, help="Write what was found into the leaderboard.")
@click.option("--merge", is_flag=True, help="Merge the pull request if it passes, and record.")
def check(
    entry: str | None,
    options: tuple[str, ...],
    number: int | None,
    repository: str | None,
    rerun: Path | None,
    **given: bool,
) -> None:
    """Count every number of an ENTRY again.

    ENTRY is a folder, or with --repo the name of an entry there. Prints each number and each cell
    that is not what the answers give; exit code 1 if there is one. With --rerun RUN, compares with
    a run of the same public weights; `spairc eval` makes it first if its options follow after --.

    Example: spairc leaderboard check --pr 7 --repo org/spair-c --merge
    """
    all_open, record, merge = given["all_open"], given["record"], given["merge"]
    if [entry is not None, number is not None, all_open].count(True) != 1:
        raise BadInput("give an ENTRY, or --pr N, or --open")
    if (number is not None or all_open) and repository is None:
        raise BadInput("pull requests are on the Hub: give --repo ORG/NAME")
    if (merge and entry is not None) or (options and rerun is None):
        raise BadInput("--merge is for --pr N, and options of spairc eval are for --rerun RUN")
    if (record and entry is None) or (rerun is not None and all_open):
        raise BadInput("--record is for an ENTRY, and --rerun for an ENTRY or --pr N")
    if all_open:
        _check_all(str(repository), merge=merge)
        return
    with _checked(entry, number, repository) as found:
        again = _judge(found.report, rerun, options)
        _settle(found, again, record=record, merge=merge)


@leaderboard.command()
@click.option("--repo", "repository", metavar="ORG/NAME|DIR", required=True, help="The dataset.")
@click.option("--out", type=FOLDER, required=True, help="For the site, such as site/.")
def page(repository: str, out: Path) -> None:
    """Make the leaderboard's page.

    A static site that needs nothing but itself: open index.html, or upload the folder as a static
    Space of the Hugging Face Hub. --repo is the dataset there, or a folder that holds a clone.

    Example: spairc leaderboard page --repo org/spair-c --out site
    """
    from spairc_leaderboard.hub import download_tables, open_hub
    from spairc_leaderboard.page import write_site

    if Path(repository).is_dir():
        written = write_site(Path(repository), out)
    else:
        with tempfile.TemporaryDirectory(prefix="spairc-page-") as made:
            download_tables(open_hub(repository), Path(made))
            written = write_site(Path(made), out, repository)
    for path in written:
        click.echo(f"wrote {path}")


@dataclass(frozen=True)
class _Found:
    """What was checked, and where it is."""

    report: "Report"
    board: "Leaderboard"
    hub: "Hub | None"
    seen: "PullRequest | None"


@contextmanager
def _checked(entry: str | None, number: int | None, repository: str | None) -> Iterator[_Found]:
    """Yield the report on what the options name, while the files that it was made of are there."""
    from spairc_leaderboard.hub import open_hub
    from spairc_leaderboard.review import (
        check_against,
        check_folder,
        check_merged,
        check_pull_request,
    )

    hub = None if repository is None else open_hub(repository)
    with tempfile.TemporaryDirectory(prefix="spairc-check-") as made:
        out = Path(made)
        if hub is None:
            yield _Found(*check_folder(Path(str(entry))), None, None)
        elif number is not None:
            report, board, seen = check_pull_request(hub, number, out)
            yield _Found(report, board, hub, seen)
        elif Path(str(entry)).is_dir():
            yield _Found(*check_against(hub, Path(str(entry)), out), hub, None)
        else:
            yield _Found(*check_merged(hub, str(entry), out), hub, None)


def _check_all(repository: str, *, merge: bool) -> None:
    """Check every open pull request; what is wrong with one does not stop the next."""
    from spairc_leaderboard.hub import open_hub, open_pull_requests

    refused = 0
    for number in sorted(open_pull_requests(open_hub(repository), "")):
        click.echo(f"pull request {number}")
        try:
            with _checked(None, number, repository) as found:
                _print_report(found.report)
                if found.report.passed:
                    _settle(found, None, record=False, merge=merge)
                refused += not found.report.passed
        except BadInput as error:
            click.echo(f"wrong: {error}")
            refused += 1
    if refused:
        raise SystemExit(1)


def _judge(report: "Report", rerun: Path | None, options: tuple[str, ...]) -> "Reproduced | None":
    """Print the report; stop with exit code 1 if anything is wrong; compare with a rerun."""
    from spairc_leaderboard.review import check_public, reproduce

    _print_report(report)
    if not report.passed:
        raise SystemExit(1)
    if rerun is None:
        return None
    if report.entry is not None:
        check_public(report.entry)  # before hours of running
    again = reproduce(report, _rerun(rerun, options))
    click.echo(f"reproduced: at most {again.largest_difference:.3f} points apart")
    return again


def _settle(found: _Found, again: "Reproduced | None", *, record: bool, merge: bool) -> None:
    """Merge and write down what was found, as far as that was asked."""
    from spairc_leaderboard.review import accept

    if merge and found.hub is not None and found.seen is not None:
        accept(found.hub, found.seen, found.report)
        click.echo(f"merged: pull request {found.seen.number}")
    if record or merge:
        _record(found.report, again, found.board, found.hub)


def _record(
    report: "Report", again: "Reproduced | None", board: "Leaderboard", hub: "Hub | None"
) -> None:
    """Write what was found into the clone or the repository; say where."""
    from spairc_leaderboard.review import record, write_record

    if hub is None:
        for path in write_record(board, report, again):
            click.echo(f"wrote {board.folder / path}")
        return
    with tempfile.TemporaryDirectory(prefix="spairc-record-") as made:
        click.echo(f"recorded: {record(hub, report, again, Path(made))}")


def _rerun(folder: Path, options: tuple[str, ...]) -> "Run":
    """Return the run of somebody's public weights, made first where options say how."""
    from spairc.cli.evaluate import evaluate
    from spairc.runs import open_run

    if options:
        evaluate.main([*options, "--out", str(folder)], standalone_mode=False)
    return open_run(folder)


def _choices(
    run: "Run",
    *,
    name: str | None,
    protocols: tuple[str, ...],
    baseline: str | None,
    replaces: str,
    training_data: tuple[str, ...],
    **model: Any,
) -> "Choices":
    """Return what the options decide."""
    from spairc_leaderboard.entry import Model
    from spairc_leaderboard.making import Choices, weights_of

    described = Model(
        name=name or run.settings.model,
        weights=weights_of(run),
        training_data=training_data,
        **model,
    )
    return Choices(described, protocols, baseline, replaces)


def _show_dry_run(run: "Run", choices: "Choices", out: Path | None, repository: str | None) -> None:
    """Print the entry that would be sent."""
    from spairc_leaderboard.push import dry_run, emptied, entry_of

    with emptied(out) as folder:
        made, report = dry_run(run, choices, folder)
        _print_entry(entry_of(report))
        files = sorted(path for path in made.rglob("*") if path.is_file())
        for path in files:
            click.echo(f"{path.stat().st_size:>12,}  entries/{made.name}/{path.relative_to(made)}")
        _print_flags(report.flags)
        where = f" to {repository}" if repository else ""
        click.echo(f"passed the checker; nothing was sent{where}")
        if out is not None:
            click.echo(f"entry: {made}")


def _print_entry(entry: "Entry") -> None:
    """Print what an entry says."""
    bench = entry.benchmark
    click.echo(f"{entry.id}: {entry.model.name}, weights {entry.model.weights[:12]}")
    click.echo(
        f"benchmark {bench.id}: {bench.dataset} {bench.split} {bench.layout}, {bench.pairs:,} "
        f"pairs, corrupted: {bench.side}, {bench.spec}, asked {bench.direction}"
    )
    for scores in entry.scores:
        click.echo(f"{scores.metric}, protocol {scores.protocol}")
        found = {
            "clean PCK": scores.derived.clean,
            "mPC": scores.derived.mpc,
            "rPC": scores.derived.rpc,
            f"mCE against {scores.baseline}": scores.derived.mce,
        }
        for name, each in found.items():
            if each is not None:
                ends = "" if each.low is None else f" [{each.low:.1f}, {each.high:.1f}]"
                click.echo(f"  {name} {each.value:.1f}{ends}")


def _print_report(report: "Report") -> None:
    """Print what is wrong, and what is odd."""
    for problem in report.problems:
        click.echo(f"wrong: {problem}")
    _print_flags(report.flags)
    if not report.passed:
        click.echo(f"{report.name}: not what its answers give; faults: {len(report.problems)}")
        return
    click.echo(f"{report.name}: every number is what its answers give")


def _print_flags(flags: tuple[str, ...]) -> None:
    """Print what looks odd."""
    for flag in flags:
        click.echo(f"odd: {flag}")
