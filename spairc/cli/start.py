"""Commands to begin with: demo, doctor, show, download, convert, list."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from spairc.cli.common import FOLDER, QUIET, byte_bars, progress
from spairc.cli.train import recipes
from spairc.spec import CORRUPTION_NAMES

_SIGNS = {"ok": "ok", "absent": "-", "wrong": "BAD"}
_TABLES = ("models", "corruptions", "datasets", "protocols")


@click.command()
@click.option("--out", type=FOLDER, default="spairc-demo", show_default=True)
@QUIET
def demo(out: Path) -> None:
    """Build, evaluate and report; no download.

    The photographs came with the installation.

    Two matchers that need no weights run under all 76 conditions.

    Example: spairc demo --out spairc-demo
    """
    from spairc.demo.run import run_demo

    text, written = run_demo(out, progress)
    click.echo(f"{text}\ntables and pictures: {written}")


@click.command()
@click.option("--root", type=FOLDER, help="Folder of the dataset, to look into too.")
@click.option("--dataset", default="spair71k", show_default=True, help="Its kind.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def doctor(root: Path | None, dataset: str, *, as_json: bool) -> None:
    """Tell what is installed and found, and what to do.

    Packages, extras, processor, GPU, cache, disk, trained models, dataset, browser. Nothing is
    changed. Exit code 1 if something is missing that spairc cannot do without.

    Example: spairc doctor --root SPair-71k
    """
    from spairc.doctor import examine

    found = examine(root, dataset)
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=1))
    else:
        width = max(len(each.what) for each in found)
        for each in found:
            click.echo(f"{_SIGNS[each.state]:4} {each.what:{width}}  {each.told}")
            if each.advice:
                click.echo(f"{'':{width + 7}}{each.advice}")
    if any(each.state == "wrong" for each in found):
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("picture", type=FOLDER)
@click.option("--out", type=FOLDER, default="sheet.png", show_default=True)
@click.option("--severity", type=int, default=3, show_default=True, help="Of the first sheet.")
@click.option("--corruption", multiple=True, help="Rows of the second sheet.  [default: all]")
def show(picture: Path, out: Path, severity: int, corruption: tuple[str, ...]) -> None:
    """Draw PICTURE under all corruptions.

    Two sheets: all 15 corruptions at one severity, as the paper's Figure A, and all severities of
    each, as its Figure B, in a file whose name ends in "-severities".

    Example: spairc show dog.jpg --out sheet.png --corruption fog --corruption snow
    """
    from spairc.images import read_image
    from spairc.report.sheets import (
        check_sheet_path,
        save_sheet,
        sheet_of_severities,
        sheet_of_types,
    )

    check_sheet_path(out)
    image = read_image(picture)
    second = out.with_name(f"{out.stem}-severities{out.suffix}")
    names = corruption or CORRUPTION_NAMES
    sheets = {
        out: sheet_of_types(image, picture.stem, severity),
        second: sheet_of_severities(image, picture.stem, names),
    }
    for path, sheet in sheets.items():
        save_sheet(path, sheet)
    click.echo(f"wrote {out}\nwrote {second}")


@click.command()
@click.argument("name", metavar="DATASET")
@click.option("--to", type=FOLDER, default=".", show_default=True, help="Where to unpack it.")
@click.option("--address", help="Another place to fetch the same archive from.")
@QUIET
def download(name: str, to: Path, address: str | None) -> None:
    """Fetch the official archive of DATASET.

    What a broken connection left behind is gone on with.

    Example: spairc download spair71k --to data
    """
    from spairc.download import download as fetch

    with byte_bars() as progress:
        done = fetch(name, to, address=address, progress=progress)
    for path, digest in done.hashes.items():
        click.echo(f"SHA-256 {digest}  {path.name}")
    click.echo(f"unpacked: {done.folder}")


@click.command()
@click.argument("checkpoint")
@click.option("--out", type=FOLDER, default="weights.safetensors", show_default=True)
def convert(checkpoint: str, out: Path) -> None:
    """Write CHECKPOINT as safetensors.

    Only the weights are kept, with metadata that name the network and the original file.

    Example: spairc convert cats/model_best.pth --out cats.safetensors
    """
    from spairc_models.convert import convert as convert_checkpoint

    network = convert_checkpoint(checkpoint, out)
    click.echo(f"wrote {out}: weights of {network}")


@click.command(name="list")
@click.argument("kind", type=click.Choice([*_TABLES, "recipes"]))
def list_names(kind: str) -> None:
    """Show models, corruptions, datasets, protocols or recipes.

    Example: spairc list protocols
    """
    from spairc.catalogue import CATALOGUES

    click.echo(recipes() if kind == "recipes" else CATALOGUES[kind]())
