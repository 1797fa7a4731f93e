"""Commands about corrupted pictures on disk: build, corrupt, verify."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spairc.cli.common import (
    FOLDER,
    ON,
    QUIET,
    WORKERS,
    conditions_of,
    dataset_of,
    dataset_options,
    engine_of,
    engine_options,
    progress,
)
from spairc.lookup import lookup
from spairc.spec import (
    CORRUPTED,
    CORRUPTION_NAMES,
    GROUPS,
    SEVERITIES,
    check_severity,
    parse_conditions,
)
from spairc.types import BadInput, Condition

if TYPE_CHECKING:
    from spairc.datasets.dataset import Dataset

_WHERE = ("workers", "place", "address")
_WRITING = ("form", "suffix", "repair", "shard")
_FILES_PER_START = 150  # as many are made while a worker process starts
_SHOWN = 20  # faults of a kind that are listed by name, where all are counted


def cell_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add the options that tell which cells are made; they are the arguments of `_cells`."""
    options = (
        ON,
        click.option(
            "--corruption",
            "corruptions",
            multiple=True,
            metavar="NAME",
            help="A corruption or a group, at each --severity; may be repeated.",
        ),
        click.option(
            "--severity",
            "severities",
            type=int,
            multiple=True,
            metavar="N",
            help="Of each --corruption; may be repeated.  [default: 1 to 5]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def writing_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add the options that tell how pictures are written; they are `spairc.build.Options`."""
    options = (
        click.option("--format", "form", default="png", show_default=True, help="webp, jpeg."),
        click.option("--suffix", default="", help="Of the files: .png.  [default: as annotated]"),
        click.option("--repair", is_flag=True, help="Read all files; remake what is not as built."),
        click.option("--shard", help="Make every n-th picture only, from the i-th on: i/n."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@dataset_options
@click.option("--category", "categories", multiple=True, help="Such as car; may be repeated.")
@click.option("--out", type=FOLDER, default="SPair-C", show_default=True)
@cell_options
@click.option("--copy", is_flag=True, help="Copy annotations into each cell instead of linking.")
@writing_options
@engine_options
@QUIET
def build(
    out: Path,
    patterns: tuple[tuple[Condition, ...], ...],
    corruptions: tuple[str, ...],
    severities: tuple[int, ...],
    categories: tuple[str, ...],
    **given: Any,
) -> None:
    """Write SPair-C, with a manifest of every file.

    A build that was stopped goes on where it was. PNG and WebP are lossless, jpeg is not; the
    files keep the annotated names, so that any loader finds them, unless --suffix is given.

    Example: spairc build --root SPair-71k --out SPair-C --on "weather@3"
    """
    from spairc.build import Options
    from spairc.build import build as build_set

    how = {name: given.pop(name) for name in (*_WRITING, "copy")}
    where = {name: given.pop(name) for name in _WHERE}
    cells = _cells(patterns, corruptions, severities)
    Options(**how).check()
    dataset = _in_categories(dataset_of(**given), categories)
    with _making(dataset.table.image_keys, cells, how["shard"], where) as run:
        manifest = build_set(dataset, out, cells, **how, **run)
    click.echo(f"built: {out}\nmanifest: {manifest}")


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="The folder to make; not inside FOLDER.")
@cell_options
@writing_options
@engine_options
@QUIET
def corrupt(
    folder: Path,
    out: Path,
    patterns: tuple[tuple[Condition, ...], ...],
    corruptions: tuple[str, ...],
    severities: tuple[int, ...],
    **given: Any,
) -> None:
    """Corrupt the pictures of any FOLDER.

    OUT/fog/3/ will hold what FOLDER holds, all folders below it included, under the same names.
    What was stopped goes on where it was; `spairc verify OUT` checks it.

    Example: spairc corrupt holiday --out holiday-c --on fog@3 --on "blur@*"
    """
    from spairc.build import Options
    from spairc.corrupt_folder import corrupt_folder, pictures_of

    where = {name: given.pop(name) for name in _WHERE}
    cells, options = _cells(patterns, corruptions, severities), Options(**given)
    options.check()
    originals = pictures_of(folder)
    with _making(list(originals.pictures), cells, options.shard, where) as run:
        manifest = corrupt_folder(originals, out, cells, options, **run)
    click.echo(f"built: {out}\nmanifest: {manifest}")


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--against", type=FOLDER, help="Another set, or its manifest, to compare with.")
@click.option("--root", type=FOLDER, help="Clean pictures.  [default: where annotations link to]")
@WORKERS
@QUIET
@click.pass_context
def verify(
    context: click.Context,
    folder: Path,
    against: Path | None,
    root: Path | None,
    workers: int | None,
) -> None:
    """Check every byte of a built FOLDER.

    Files that are missing, changed or extra are named; then the exit code is 1. Of a changed file
    it is told whether its pixels are the same, within one grey level, or different.

    With --against two manifests are compared, and the exit code is 1 if pixels differ.

    Example: spairc verify SPair-C --against other/manifest.parquet
    """
    if against is not None:
        context.exit(_compare_manifests(folder, against))
    from spairc.engine import processes
    from spairc.manifest import FILES_PER_UNIT, MANIFEST, read_entries, read_record
    from spairc.manifest import verify as find_faults

    read_record(folder)
    files = len(read_entries(folder / MANIFEST))
    engine = processes(workers, units=-(-files // FILES_PER_UNIT), units_per_worker=20)
    with progress(files, "file") as advance:
        faults = find_faults(folder, root=root, engine=engine, watch=advance)
    for fault in faults:
        click.echo(f"{fault}\n  {fault.how}" if fault.how else str(fault))
    click.echo(f"{folder}: {len(faults)} faults" if faults else f"{folder}: all files as built")
    context.exit(1 if faults else 0)


def _cells(
    patterns: tuple[tuple[Condition, ...], ...],
    corruptions: tuple[str, ...],
    severities: tuple[int, ...],
) -> tuple[Condition, ...]:
    """Return the cells that were asked for, by --on or by --corruption and --severity."""
    if corruptions or severities:
        if patterns:
            raise BadInput("--on names whole cells; leave out --corruption and --severity, or --on")
        known = dict.fromkeys((*CORRUPTION_NAMES, *GROUPS))
        for name in corruptions:
            lookup(known, name, "corruption")
        for severity in severities:
            check_severity(severity)
        patterns = tuple(
            parse_conditions(f"{name}@{severity}")
            for name in corruptions or CORRUPTION_NAMES
            for severity in severities or SEVERITIES
        )
    asked = conditions_of(patterns, CORRUPTED)
    cells = tuple(each for each in asked if each.corruption is not None)
    if not cells:
        raise BadInput("nothing to build: give --on a corruption, such as fog@3")
    return cells


@contextmanager
def _making(
    keys: Sequence[str], cells: Sequence[Condition], shard: str | None, where: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Show how many pictures are made; yield the engine, and what to call after each key."""
    from spairc.engine import shard_of

    count = len(shard_of(keys, shard))
    start = -(-_FILES_PER_START // len(cells))
    engine = engine_of(**where, units=count, units_per_worker=start)
    with progress(count * len(cells), "picture") as advance:
        yield {"engine": engine, "watch": lambda _: advance(len(cells))}


def _compare_manifests(folder: Path, against: Path) -> int:
    """Print in what two sets differ; return the exit code."""
    from spairc.agreement import agreement

    found = agreement(folder, against)
    for difference in found.differences[:_SHOWN]:
        click.echo(str(difference))
    if len(found.differences) > _SHOWN:
        click.echo(f"... and {len(found.differences) - _SHOWN} more")
    click.echo(f"{found.same} files are the same")
    for how, count in found.counts.items():
        click.echo(f"{count} {how}")
    return 0 if found.pixels_agree else 1


def _in_categories(dataset: "Dataset", categories: tuple[str, ...]) -> "Dataset":
    """Return the pairs of these categories only; all pairs if none is given."""
    import numpy as np

    known = dict.fromkeys(np.unique(dataset.table.categories).tolist())
    for name in categories:
        lookup(known, name, "category")
    chosen = np.isin(dataset.table.categories, categories or list(known))
    return replace(dataset, table=dataset.table.select(np.flatnonzero(chosen)))
