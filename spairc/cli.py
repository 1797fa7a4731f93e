"""The command line: parse, call, print. Everything heavy is imported by the command that needs it.

Exit codes: 0 done; 1 `verify` found faults, or the user pressed Ctrl-C; 2 something in the input
is wrong, told in one line.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from spairc.lookup import lookup
from spairc.spec import CONDITIONS, CORRUPTED, CORRUPTION_NAMES, parse_conditions
from spairc.types import BadInput, Condition, Matcher

if TYPE_CHECKING:
    from spairc.datasets.dataset import Dataset
    from spairc.report.summary import Summary
    from spairc.runs import Run


class OneLine(click.ClickException):
    """A BadInput on its way to the terminal."""

    exit_code = 2


class Group(click.Group):
    """A group that shows BadInput as one line. Any other exception is a bug: show it whole."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BadInput as error:
            raise OneLine(" ".join(str(error).split())) from None


class Conditions(click.ParamType[tuple[Condition, ...]]):
    """Conditions as they are written: clean, fog@3, blur@*, *@5, all."""

    name = "condition"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,  # noqa: ARG002 -- click's signature
        ctx: click.Context | None,  # noqa: ARG002 -- click's signature
    ) -> tuple[Condition, ...]:
        """Return the conditions that the text means."""
        return parse_conditions(value)


FOLDER = click.Path(path_type=Path)
PROTOCOL = click.option("--protocol", default="paper", show_default=True, help="How PCK counts.")
BASELINE = click.option("--baseline", help="A run folder, or published: what mCE divides by.")
ON = click.option(
    "--on",
    "patterns",
    type=Conditions(),
    multiple=True,
    metavar="CONDITION",
    help="Such as fog@3, blur@*, *@5 or clean; may be repeated.  [default: all]",
)


_MODEL_OPTIONS = ("model", "checkpoint", "layers", "readout", "side", "device", "precision")


def dataset_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add the options that name a pair list."""
    options = (
        click.option("--root", type=FOLDER, required=True, help="Folder of the dataset."),
        click.option("--dataset", "name", default="spair71k", show_default=True, help="Its kind."),
        click.option("--split", default="test", show_default=True, help="trn, val or test."),
        click.option("--layout", default="large", show_default=True, help="SPair-71k's pair list."),
        click.option("--limit", type=click.IntRange(min=1), help="Use the first pairs only."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="spairc")
def main() -> None:
    """Measure how robust semantic correspondence is: SPair-C, any matcher, PCK, mCE."""


@main.command()
@click.option("--out", type=FOLDER, default="spairc-demo", show_default=True)
def demo(out: Path) -> None:
    """Build, evaluate and report; no download.

    The photographs came with the installation.

    Two matchers that need no weights run under all 76 conditions.
    """
    from spairc.demo.run import run_demo

    text, written = run_demo(out, _progress)
    click.echo(f"{text}\ntables and pictures: {written}")


@main.command()
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

    dataset = _dataset(**given)
    with _progress(len(dataset.table.image_keys), "picture") as advance:
        manifest = build_set(
            dataset, out, _conditions(patterns, CORRUPTED), copy=copy, watch=lambda _: advance(1)
        )
    click.echo(f"built: {out}\nmanifest: {manifest}")


@main.command()
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


@main.command(name="eval")
@dataset_options
@click.option("--model", required=True, help="See `spairc list models`; or package.module:Name.")
@click.option("--checkpoint", help="Weights: a file, or hf://org/repo/file@revision.")
@click.option("--layers", help="Layers of a backbone, such as 13,16.")
@click.option("--readout", help="Of a nearest-feature matcher: argmax or window.")
@click.option(
    "--input-side", "side", type=click.IntRange(min=32), help="Pixels of the network's input."
)
@click.option("--device", help="cpu, cuda, cuda:1.  [default: a GPU if there is one]")
@click.option("--precision", help="float32 or bfloat16.  [default: float32]")
@ON
@click.option(
    "--corrupt", "corrupted_side", default="both", show_default=True, help="Or source, or target."
)
@click.option("--corrupted", type=FOLDER, help="A built set to read instead of corrupting here.")
@PROTOCOL
@BASELINE
@click.option("--out", type=FOLDER, help="The run folder.  [default: runs/MODEL]")
def evaluate(
    patterns: tuple[tuple[Condition, ...], ...],
    corrupted: Path | None,
    protocol: str,
    baseline: str | None,
    out: Path | None,
    corrupted_side: Any,
    **given: Any,
) -> None:
    """Run a matcher and print its scores.

    Under all 76 conditions, unless --on names others. A run that was stopped goes on where it was.

    Example: spairc eval --model sift --root SPair-71k --on clean --on "noise@3"
    """
    from spairc.build import open_build
    from spairc.evaluate import execute, plan
    from spairc.protocols import PROTOCOLS
    from spairc.report.summary import check_baseline

    chosen = lookup(PROTOCOLS, protocol, "protocol")
    conditions = _conditions(patterns, CONDITIONS)
    against = _baseline(baseline)
    model = {name: given.pop(name) for name in _MODEL_OPTIONS}
    dataset = _dataset(**given)
    pictures = None if corrupted is None else open_build(corrupted, dataset, conditions)
    matcher = _matcher(**model)
    planned = plan(
        matcher,
        dataset,
        conditions,
        side=corrupted_side,
        direction=chosen.direction,
        pictures=pictures,
    )
    check_baseline(planned.settings, planned.pairs, chosen.metric(), against)
    with _progress(len(dataset) * len(conditions), "pair") as advance:
        run = execute(planned, out, lambda unit: advance(len(unit.pairs)))
    _print_report([run], protocol, 0.1, against)
    click.echo(f"run folder: {run.folder}")


@main.command()
@click.argument("folders", metavar="RUN [RUN ...]", type=FOLDER, nargs=-1, required=True)
@PROTOCOL
@click.option("--alpha", type=float, default=0.1, show_default=True, help="Tolerance of PCK.")
@BASELINE
@click.option("--out", type=FOLDER, help="For the tables.  [default: report in the first RUN]")
def report(
    folders: tuple[Path, ...], protocol: str, alpha: float, baseline: str | None, out: Path | None
) -> None:
    """Print the scores of RUNs and write tables.

    Markdown, LaTeX and CSV, in the layout of the paper's Table 4.

    Example: spairc report runs/sift runs/hog --baseline runs/hog
    """
    from spairc.report.write import write_tables
    from spairc.runs import open_run

    runs = [open_run(folder) for folder in folders]
    summaries = _print_report(runs, protocol, alpha, _baseline(baseline))
    for path in write_tables(summaries, out or folders[0] / "report"):
        click.echo(f"wrote {path}")


@main.command()
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


@main.command()
@click.argument("name", metavar="DATASET")
@click.option("--to", type=FOLDER, default=".", show_default=True, help="Where to unpack it.")
@click.option("--address", help="Another place to fetch the same archive from.")
def download(name: str, to: Path, address: str | None) -> None:
    """Fetch the official archive of DATASET.

    What a broken connection left behind is gone on with.

    Example: spairc download spair71k --to data
    """
    from spairc.download import download as fetch

    with _byte_bars() as progress:
        done = fetch(name, to, address=address, progress=progress)
    for path, digest in done.hashes.items():
        click.echo(f"SHA-256 {digest}  {path.name}")
    click.echo(f"unpacked: {done.folder}")


@main.command(name="list")
@click.argument("kind", type=click.Choice(["models", "corruptions", "datasets", "protocols"]))
def list_names(kind: str) -> None:
    """Show what there is: models, corruptions, datasets or protocols."""
    from spairc.catalogue import CATALOGUES

    click.echo(CATALOGUES[kind]())


def _dataset(*, name: str, root: Path, split: str, layout: str, limit: int | None) -> "Dataset":
    """Return the dataset that the options name."""
    from spairc.datasets import load_dataset
    from spairc.evaluate import first_pairs

    dataset = load_dataset(name, root, split=split, layout=layout)
    return dataset if limit is None else dataset.select(first_pairs(dataset.table, limit))


def _conditions(
    patterns: Sequence[tuple[Condition, ...]], default: tuple[Condition, ...]
) -> tuple[Condition, ...]:
    """Return the conditions that were asked for, once each, in the order of the tables."""
    asked = {condition for pattern in patterns for condition in pattern}
    return tuple(each for each in CONDITIONS if each in asked) if patterns else default


def _matcher(model: str, **options: Any) -> Matcher:
    """Return the matcher that the options name."""
    from spairc_models import load_model

    return load_model(model, **{name: each for name, each in options.items() if each is not None})


def _baseline(text: str | None) -> "Run | str | None":
    """Return the run that counts as 100, or the word "published"."""
    from spairc.report.summary import PUBLISHED
    from spairc.runs import open_run

    return text if text in (None, PUBLISHED) else open_run(Path(str(text)))


def _print_report(
    runs: "Sequence[Run]", protocol: str, alpha: float, baseline: "Run | str | None"
) -> "list[Summary]":
    """Print every run's table and headline; return the summaries."""
    from spairc.protocols import PROTOCOLS
    from spairc.report.summary import headline, severity_table, summarise
    from spairc.report.tables import as_text

    chosen = lookup(PROTOCOLS, protocol, "protocol")
    summaries = [summarise(run, chosen, alpha, baseline) for run in runs]
    for summary in summaries:
        click.echo(as_text(severity_table(summary)))
        click.echo("\n".join(headline(summary)) + "\n")
    return summaries


@contextmanager
def _progress(total: int, unit: str) -> Iterator[Callable[[int], object]]:
    """Show a bar with the time left on the terminal's error stream; yield its advance."""
    from tqdm import tqdm

    pause = 0.2 if sys.stderr.isatty() else 30  # seconds; a log file wants few lines
    # The bar waits a second, so that what is refused at once is one line and no more.
    with tqdm(total=total, unit=unit, mininterval=pause, dynamic_ncols=True, delay=1) as bar:
        yield bar.update


@contextmanager
def _byte_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Yield what shows, for each step by name, how many bytes of how many are done."""
    from tqdm import tqdm

    bars: dict[str, tqdm[NoReturn]] = {}

    def show(step: str, done: int, total: int) -> None:
        if step not in bars:
            bars[step] = tqdm(desc=step, total=total or None, unit="B", unit_scale=True)
        bars[step].update(done - bars[step].n)

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()
