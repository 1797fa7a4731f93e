"""Commands about corrupted pictures on disk: build, verify."""

from pathlib import Path
from typing import Any

import click

from spairc.cli.common import FOLDER, ON, conditions_of, dataset_of, dataset_options, progress
from spairc.spec import CORRUPTED
from spairc.types import Condition


@click.command()
@dataset_options
@click.option("--out", type=FOLDER, default="SPair-C", show_default=True)
@ON
@click.option("--copy", is_flag=True, help="Copy annotations into each cell instead of linking.")
def build(
    out: Path, patterns: tuple[tuple[Condition, ...], ...], *, copy: bool, **given: Any
) -> None:
    """Write SPair-C, with a manifest of every file.

    A build that was stopped goes on where it was.

    Example: spairc build --root SPair-71k --out SPair-C --on "weather@3"
    """
    from spairc.build import build as build_set

    dataset = dataset_of(**given)
    with progress(len(dataset.table.image_keys), "picture") as advance:
        manifest = build_set(
            dataset, out, conditions_of(patterns, CORRUPTED), copy=copy, watch=lambda _: advance(1)
        )
    click.echo(f"built: {out}\nmanifest: {manifest}")


@click.command()
@click.argument("folder", type=FOLDER)
@click.pass_context
def verify(context: click.Context, folder: Path) -> None:
    """Check every byte of a built FOLDER.

    Files that are missing, changed or extra are named; then the exit code is 1.
    """
    from spairc.manifest import verify as find_faults

    faults = find_faults(folder)
    for fault in faults:
        click.echo(str(fault))
    click.echo(f"{folder}: {len(faults)} faults" if faults else f"{folder}: all files as built")
    context.exit(1 if faults else 0)
