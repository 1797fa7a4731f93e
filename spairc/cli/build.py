"""Commands about corrupted pictures on disk: build, verify."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spairc.cli.common import FOLDER, ON, conditions_of, dataset_of, dataset_options, progress
from spairc.lookup import lookup
from spairc.spec import CORRUPTED
from spairc.types import BadInput, Condition

if TYPE_CHECKING:
    from spairc.datasets.dataset import Dataset
    from spairc.engine import Engine

_ENGINES = ("local", "ray")
_FILES_PER_START = 150  # as many are made while a worker process starts
_SHOWN = 20  # faults of a kind that are listed by name, where all are counted
WORKERS = click.option(
    "--workers", type=int, help="Worker processes.  [default: one per core, if it pays]"
)


def engine_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add the options that tell where the work is done."""
    options = (
        WORKERS,
        click.option("--engine", "place", default="local", show_default=True, help="Or ray."),
        click.option("--address", help="Of the Ray cluster.  [default: Ray on this machine]"),
    )
    for option in reversed(options):
        command = option(command)
    return command


def engine_of(
    *, workers: int | None, place: str, address: str | None, units: int, units_per_worker: int
) -> "Engine":
    """Return what the options name."""
    from spairc.engine import Cluster, processes

    lookup(dict.fromkeys(_ENGINES), place, "engine")
    if place == "ray":
        if workers is not None:
            raise BadInput("--workers is for --engine local; Ray starts what fits its nodes")
        return Cluster(address)
    if address is not None:
        raise BadInput("--address is Ray's; give --engine ray too")
    return processes(workers, units=units, units_per_worker=units_per_worker)


@click.command()
@dataset_options
@click.option("--category", "categories", multiple=True, help="Such as car; may be repeated.")
@click.option("--out", type=FOLDER, default="SPair-C", show_default=True)
@ON
@click.option("--format", "form", default="png", show_default=True, help="Or webp, or jpeg.")
@click.option("--suffix", default="", help="Of the files, such as .png.  [default: as annotated]")
@click.option("--copy", is_flag=True, help="Copy annotations into each cell instead of linking.")
@click.option("--repair", is_flag=True, help="Read every file; make anew what is not as built.")
@click.option("--shard", help="Make every n-th picture only, from the i-th on: i/n.")
@engine_options
def build(
    out: Path,
    patterns: tuple[tuple[Condition, ...], ...],
    categories: tuple[str, ...],
    workers: int | None,
    place: str,
    address: str | None,
    **given: Any,
) -> None:
    """Write SPair-C, with a manifest of every file.

    A build that was stopped goes on where it was. PNG and WebP are lossless, jpeg is not; the
    files keep the annotated names, so that any loader finds them, unless --suffix is given.

    Example: spairc build --root SPair-71k --out SPair-C --on "weather@3"
    """
    from spairc.build import Options
    from spairc.build import build as build_set
    from spairc.engine import shard_of

    how = {name: given.pop(name) for name in ("form", "suffix", "copy", "repair", "shard")}
    Options(**how).check()
    dataset = _in_categories(dataset_of(**given), categories)
    cells = [each for each in conditions_of(patterns, CORRUPTED) if each.corruption is not None]
    if not cells:
        raise BadInput("nothing to build: give --on a corruption, such as fog@3")
    pictures = len(shard_of(dataset.table.image_keys, how["shard"]))
    engine = engine_of(
        workers=workers,
        place=place,
        address=address,
        units=pictures,
        units_per_worker=-(-_FILES_PER_START // len(cells)),
    )
    with progress(pictures * len(cells), "picture") as advance:
        manifest = build_set(
            dataset, out, cells, **how, engine=engine, watch=lambda _: advance(len(cells))
        )
    click.echo(f"built: {out}\nmanifest: {manifest}")


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--against", type=FOLDER, help="Another set, or its manifest, to compare with.")
@click.option("--root", type=FOLDER, help="Clean pictures.  [default: where annotations link to]")
@WORKERS
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
