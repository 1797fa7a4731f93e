"""The commands that run a matcher and join its shards: eval, merge."""

import os
import sys
from contextlib import suppress
from functools import partial
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
    engine_of,
    engine_options,
    progress,
)
from spairc.cli.report import BASELINE, PROTOCOL, baseline_of, print_summaries
from spairc.lookup import lookup
from spairc.spec import CONDITIONS
from spairc.types import CLEAN, BadInput, Condition, Matcher

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from spairc.datasets.dataset import Dataset
    from spairc.engine import Engine
    from spairc.evaluate import Plan
    from spairc.protocols import Protocol
    from spairc.report.summary import Summary
    from spairc.runs import Run

_MODEL_OPTIONS = (
    *("model", "checkpoint", "layers", "readout", "input_side", "device", "precision"),
    "settings",
)


@click.command(name="eval")
@dataset_options
@click.option("--model", required=True, help="See `spairc list models`; or package.module:Name.")
@click.option("--checkpoint", help="Weights: a file, or hf://org/repo/file@revision.")
@click.option("--layers", help="Layers of a backbone, such as 13,16.")
@click.option("--readout", help="Of a nearest-feature matcher, such as argmax, window or full.")
@click.option("--input-side", type=click.IntRange(min=32), help="Pixels of the network's input.")
@click.option("--device", help="cpu, cuda, cuda:1.  [default: a GPU if there is one]")
@click.option("--precision", help="float32 or bfloat16.  [default: float32]")
@click.option(
    "--option",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Another of the model's own, such as window=7; may be repeated.",
)
@ON
@click.option("--corrupt", "side", default="both", show_default=True, help="Or source, or target.")
@click.option("--corrupted", type=FOLDER, help="A built set, or an archive, to read.")
@PROTOCOL
@BASELINE
@click.option("--budget", type=Duration(), help="Time, such as 30m: runs the share that fits.")
@click.option("--shard", help="Do every n-th unit only, from the i-th on: i/n.")
@engine_options
@click.option("--out", type=FOLDER, help="The run folder.  [default: runs/MODEL]")
def evaluate(out: Path | None, shard: str | None, **given: Any) -> None:
    """Run a matcher and print its scores.

    Under all 76 conditions, unless --on names others. A run that was stopped goes on where it was.

    Example: spairc eval --model sift --root SPair-71k --on clean --on "noise@3"
    """
    from spairc.cost import predict_cost
    from spairc.engine import shard_of
    from spairc.evaluate import begin, execute
    from spairc.protocols import PROTOCOLS

    protocol = lookup(PROTOCOLS, given.pop("protocol"), "protocol")
    against = baseline_of(given.pop("baseline"))
    engine = _engine_of(**{name: given.pop(name) for name in ("workers", "place", "address")})
    model = {name: given.pop(name) for name in _MODEL_OPTIONS}
    shard_of([], shard)
    planned = _planned(_matcher_of(**model), protocol, against, **given)
    run = begin(planned, out)
    click.echo(f"to do: {predict_cost(planned, run)}", err=True)
    with progress(len(planned.pairs) * len(planned.conditions), "pair") as advance:
        execute(
            planned,
            run,
            lambda unit: advance(len(unit.pairs)),
            engine=engine,
            load=partial(_matcher_in_worker, _threads_of(engine), **model),
            shard=shard,
        )
    if shard is not None:
        click.echo(f"shard {shard} is done; when all are: spairc merge {run.folder}")
        return
    _print_scores(run, protocol, against)


def _planned(
    matcher: Matcher,
    protocol: "Protocol",
    against: "Run | str | None",
    *,
    patterns: tuple[tuple[Condition, ...], ...],
    corrupted: Path | None,
    budget: float | None,
    side: Any,
    **given: Any,
) -> "Plan":
    """Return the run that the options ask for, checked against its baseline."""
    from spairc.evaluate import plan
    from spairc.official import open_corrupted
    from spairc.report.summary import check_baseline

    conditions = conditions_of(patterns, CONDITIONS)
    dataset = dataset_of(**given)
    pictures = None if corrupted is None else open_corrupted(corrupted, dataset, conditions)
    how: dict[str, Any] = {"side": side, "direction": protocol.direction, "pictures": pictures}
    planned = plan(matcher, dataset, conditions, **how)
    check_baseline(planned.settings, planned.pairs, protocol.metric(), against)
    if budget is None:
        return planned
    some = dataset.select(_affordable(planned, dataset, budget))
    return plan(matcher, some, conditions, **how)


def _print_scores(run: "Run", protocol: "Protocol", against: "Run | str | None") -> None:
    """Print what a run scored, and where it is."""
    from spairc.report.summary import summarise

    summary = summarise(run, protocol, 0.1, against)
    print_summaries([summary], None)
    if line := _reported_line(run, summary):
        click.echo(line)
    click.echo(f"run folder: {run.folder}")


@click.command()
@click.argument("folders", metavar="RUN [RUN ...]", type=FOLDER, nargs=-1, required=True)
@click.option("--out", type=FOLDER, help="The joined run.  [default: the first RUN]")
def merge(folders: tuple[Path, ...], out: Path | None) -> None:
    """Join the shards of one run.

    Runs with other settings are refused, and the difference is named.

    Example: spairc merge runs/part1 runs/part2 --out runs/whole
    """
    from spairc.evaluate import merge as merge_runs
    from spairc.runs import open_run

    run = merge_runs([open_run(folder) for folder in folders], out or folders[0])
    click.echo(f"{len(run.conditions)} of 76 conditions are complete\nrun folder: {run.folder}")


def _engine_of(workers: int | None, place: str, address: str | None) -> "Engine":
    """Return where units run; a model is loaded in each worker, so there is one unless asked."""
    local = workers or (1 if place == "local" else None)
    return engine_of(workers=local, place=place, address=address, units=sys.maxsize)


def _threads_of(engine: "Engine") -> int | None:
    """Return how many threads each of several processes may use; None for all there are."""
    workers = getattr(engine, "workers", 1)
    return max(1, (os.cpu_count() or 1) // workers) if workers > 1 else None


def _matcher_in_worker(threads: int | None, **model: Any) -> Matcher:
    """Return the matcher in a worker process, which shares the cores with others."""
    matcher = _matcher_of(**model)
    torch = sys.modules.get("torch")  # a matcher that does without is not made to import it
    if torch is not None and threads is not None:
        torch.set_num_threads(threads)
    return matcher


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
    if model is None or summary.protocol != model.protocol or CLEAN not in summary.scores:
        return None
    reported = model.reported.get(run.settings.dataset)
    if reported is None or not is_official_test_list(run.pairs):
        return None
    return f"clean PCK: reported {reported:.1f}, measured {summary.scores[CLEAN]:.1f}"


def _matcher_of(model: str, settings: tuple[str, ...], **options: Any) -> Matcher:
    """Return the matcher that the options name."""
    from spairc_models import load_model

    options["side"] = options.pop("input_side")
    for text in settings:
        name, value = _setting_of(text)
        if options.get(name) is not None:
            raise BadInput(f"--option {text}: the model's {name} is given twice")
        options[name] = value
    return load_model(model, **options)


def _setting_of(text: str) -> tuple[str, bool | int | float | str]:
    """Return the name and value that "name=value" means: a whole number, a number, true, false.

    Anything else is text.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise BadInput(f"--option {text!r}: write NAME=VALUE, such as window=7")
    if value in ("true", "false"):
        return name, value == "true"
    for kind in (int, float):
        with suppress(ValueError):
            return name, kind(value)
    return name, value
