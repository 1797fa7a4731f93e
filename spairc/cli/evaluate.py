"""Commands about runs: eval, report."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spairc.cli.common import (
    FOLDER,
    ON,
    Duration,
    conditions_of,
    dataset_of,
    dataset_options,
    progress,
)
from spairc.lookup import lookup
from spairc.spec import CONDITIONS
from spairc.types import CLEAN, Condition, Matcher

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from spairc.datasets.dataset import Dataset
    from spairc.evaluate import Plan
    from spairc.report.summary import Summary
    from spairc.runs import Run

PROTOCOL = click.option("--protocol", default="paper", show_default=True, help="How PCK counts.")
BASELINE = click.option("--baseline", help="A run folder, or published: what mCE divides by.")
_MODEL_OPTIONS = ("model", "checkpoint", "layers", "readout", "input_side", "device", "precision")


@click.command(name="eval")
@dataset_options
@click.option("--model", required=True, help="See `spairc list models`; or package.module:Name.")
@click.option("--checkpoint", help="Weights: a file, or hf://org/repo/file@revision.")
@click.option("--layers", help="Layers of a backbone, such as 13,16.")
@click.option("--readout", help="Of a nearest-feature matcher: argmax or window.")
@click.option("--input-side", type=click.IntRange(min=32), help="Pixels of the network's input.")
@click.option("--device", help="cpu, cuda, cuda:1.  [default: a GPU if there is one]")
@click.option("--precision", help="float32 or bfloat16.  [default: float32]")
@ON
@click.option("--corrupt", "side", default="both", show_default=True, help="Or source, or target.")
@click.option("--corrupted", type=FOLDER, help="A built set to read instead of corrupting here.")
@PROTOCOL
@BASELINE
@click.option("--budget", type=Duration(), help="Time, such as 30m: runs the share that fits.")
@click.option("--out", type=FOLDER, help="The run folder.  [default: runs/MODEL]")
def evaluate(
    patterns: tuple[tuple[Condition, ...], ...],
    corrupted: Path | None,
    budget: float | None,
    out: Path | None,
    side: Any,
    **given: Any,
) -> None:
    """Run a matcher and print its scores.

    Under all 76 conditions, unless --on names others. A run that was stopped goes on where it was.

    Example: spairc eval --model sift --root SPair-71k --on clean --on "noise@3"
    """
    from spairc.build import open_build
    from spairc.cost import predict_cost
    from spairc.evaluate import begin, execute, plan
    from spairc.protocols import PROTOCOLS
    from spairc.report.summary import check_baseline

    protocol = lookup(PROTOCOLS, given.pop("protocol"), "protocol")
    against = _baseline_of(given.pop("baseline"))
    conditions = conditions_of(patterns, CONDITIONS)
    model = {name: given.pop(name) for name in _MODEL_OPTIONS}
    dataset = dataset_of(**given)
    pictures = None if corrupted is None else open_build(corrupted, dataset, conditions)
    direction, matcher = protocol.direction, _matcher_of(**model)
    how: dict[str, Any] = {"side": side, "direction": direction, "pictures": pictures}
    planned = plan(matcher, dataset, conditions, **how)
    check_baseline(planned.settings, planned.pairs, protocol.metric(), against)
    if budget is not None:
        some = dataset.select(_affordable(planned, dataset, budget))
        planned = plan(matcher, some, conditions, **how)
    run = begin(planned, out)
    click.echo(f"to do: {predict_cost(planned, run)}", err=True)
    with progress(len(planned.pairs) * len(conditions), "pair") as advance:
        execute(planned, run, lambda unit: advance(len(unit.pairs)))
    (summary,) = _print_report([run], protocol.name, 0.1, against)
    if line := _reported_line(run, summary):
        click.echo(line)
    click.echo(f"run folder: {run.folder}")


@click.command()
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
    summaries = _print_report(runs, protocol, alpha, _baseline_of(baseline))
    for path in write_tables(summaries, out or folders[0] / "report"):
        click.echo(f"wrote {path}")


@click.command()
@click.argument("folders", metavar="RUN [RUN ...]", type=FOLDER, nargs=-1, required=True)
def fit_protocol(folders: tuple[Path, ...]) -> None:
    """Tell which RUN is nearest to Table 4.

    The paper does not say all that was done to the pictures. Run the published CATs weights under
    several choices, and this tells which of them gives the published CATs row, cell by cell.

    Example: spairc fit-protocol runs/cats runs/cats-target runs/cats-jpeg
    """
    from spairc.report.fit import fit_runs
    from spairc.report.tables import as_text
    from spairc.runs import open_run

    click.echo(as_text(fit_runs([open_run(folder) for folder in folders])))


def _affordable(planned: "Plan", dataset: "Dataset", seconds: float) -> "NDArray[np.int64]":
    """Return positions of the share of the pairs that fits into a time; say which it is."""
    from spairc.cost import affordable_share, duration, predict_cost
    from spairc.subset import share_of_pairs

    cost = predict_cost(planned)
    share = affordable_share(cost, seconds)
    positions = share_of_pairs(dataset.table, share)
    click.echo(
        f"whole run: {cost}\nin {duration(seconds)}: {len(positions):,} of {len(dataset):,} pairs, "
        f"the same as --share {share:g}",
        err=True,
    )
    return positions


def _reported_line(run: "Run", summary: "Summary") -> str | None:
    """Return what the model's paper reports beside what was measured, where both are comparable."""
    from spairc.published import is_official_test_list
    from spairc_models import MODELS

    model = MODELS.get(run.settings.model)
    reported = None if model is None else model.reported.get(run.settings.dataset)
    comparable = summary.protocol == "paper" and is_official_test_list(run.pairs)
    if reported is None or not comparable or CLEAN not in summary.scores:
        return None
    return f"clean PCK: reported {reported:.1f}, measured {summary.scores[CLEAN]:.1f}"


def _matcher_of(model: str, **options: Any) -> Matcher:
    """Return the matcher that the options name."""
    from spairc_models import load_model

    options["side"] = options.pop("input_side")
    return load_model(model, **options)


def _baseline_of(text: str | None) -> "Run | str | None":
    """Return the run that counts as 100, or the word "published"."""
    from spairc.report.summary import PUBLISHED
    from spairc.runs import open_run

    return text if text in (None, PUBLISHED) else open_run(Path(str(text)))


def _print_report(
    runs: Sequence["Run"], protocol: str, alpha: float, baseline: "Run | str | None"
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
