"""The commands that run a matcher and join its shards: eval, merge."""

import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spairc.cli.common import (
    FOLDER,
    JSON,
    ON,
    QUIET,
    Bytes,
    Duration,
    conditions_of,
    dataset_of,
    dataset_options,
    engine_of,
    engine_options,
    is_quiet,
    progress,
    remark,
)
from spairc.cli.report import (
    BASELINE,
    PROTOCOL,
    baseline_of,
    certainty_of,
    print_records,
    print_summaries,
)
from spairc.lookup import lookup
from spairc.spec import CONDITIONS
from spairc.types import CLEAN, BadInput, Condition, Matcher

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from spairc.cost import Allowance
    from spairc.datasets.dataset import Dataset
    from spairc.engine import Engine
    from spairc.evaluate import Plan
    from spairc.protocols import Protocol
    from spairc.report.summary import Summary
    from spairc.runs import Run
    from spairc.units import Unit

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
@click.option("--device", help="cpu, cuda, cuda:1; or several, cuda:0,cuda:1.  [default: GPUs]")
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
@click.option("--cpus", type=click.IntRange(min=1), help="Of each Ray worker.  [default: 1]")
@click.option("--memory", type=Bytes(), help="Most for features, as 4GB.  [default: a quarter]")
@click.option("--out", type=FOLDER, help="The run folder.  [default: runs/MODEL]")
@JSON
@QUIET
def evaluate(
    out: Path | None, shard: str | None, memory: int | None, *, as_json: bool, **given: Any
) -> None:
    """Run a matcher and print its scores.

    Under all 76 conditions, unless --on names others. A run that was stopped goes on where it was.

    Example: spairc eval --model sift --root SPair-71k --on clean --on "noise@3"
    """
    from spairc.cost import Allowance, predict_cost
    from spairc.engine import shard_of
    from spairc.evaluate import begin
    from spairc.protocols import PROTOCOLS

    protocol = lookup(PROTOCOLS, given.pop("protocol"), "protocol")
    against = baseline_of(given.pop("baseline"))
    where = {name: given.pop(name) for name in ("workers", "place", "address", "cpus")}
    engine = _engine_of(given["device"], **where)
    model = {name: given.pop(name) for name in _MODEL_OPTIONS}
    shard_of([], shard)
    matcher = _matcher_of(**{**model, "device": _first(model["device"])})
    engine, devices = _devices_of(matcher, engine, model["device"])
    shards = 1 if shard is None else int(shard.partition("/")[2])
    allowance = Allowance(memory, getattr(engine, "workers", 1), len(devices), shards)
    planned, part = _planned(matcher, protocol, against, allowance, **given)
    run = begin(planned, out)
    cost = predict_cost(planned, run, allowance)
    remark(f"to do: {cost}")
    load = partial(_matcher_in_worker, _threads_of(engine), devices, **model)
    _execute(planned, run, protocol, engine=engine, load=load, shard=shard, room=cost.room)
    if shard is not None:
        click.echo(f"shard {shard} is done; when all are: spairc merge {run.folder}")
        return
    _print_scores(run, protocol, against, as_json=as_json)
    if part and not as_json:
        click.echo(
            f"{run.settings.pairs:,} pairs are a part of the list; how far off that may be, the "
            f"intervals in brackets tell"
        )


def _execute(planned: "Plan", run: "Run", protocol: "Protocol", **how: Any) -> None:
    """Do what is missing of a run, and show how far it is: a bar, and each complete condition."""
    from tqdm import tqdm

    from spairc.evaluate import execute

    metric, told = protocol.metric(), set(run.conditions)
    with progress(len(planned.pairs) * len(planned.conditions), "pair") as advance:

        def watch(unit: "Unit") -> None:
            advance(len(unit.pairs))
            if unit.condition not in told and run.predictions(unit.condition).is_file():
                told.add(unit.condition)
                score = metric(run.answers(unit.condition))
                if is_quiet():
                    return
                tqdm.write(f"{unit.condition!s:20} {metric}  {score:5.1f}", file=sys.stderr)

        try:
            execute(planned, run, watch, **how)
        except KeyboardInterrupt:
            click.echo("stopped; the same command goes on from here", err=True)
            raise


def _planned(  # noqa: PLR0913 -- options by their names
    matcher: Matcher,
    protocol: "Protocol",
    against: "Run | str | None",
    allowance: "Allowance",
    *,
    patterns: tuple[tuple[Condition, ...], ...],
    corrupted: Path | None,
    budget: float | None,
    side: Any,
    **given: Any,
) -> "tuple[Plan, bool]":
    """Return the run that the options ask for, and whether it is of a part of the list."""
    from spairc.evaluate import plan
    from spairc.official import open_corrupted
    from spairc.report.summary import check_baseline

    conditions = conditions_of(patterns, CONDITIONS)
    dataset = dataset_of(**given)
    pictures = None if corrupted is None else open_corrupted(corrupted, dataset, conditions)
    how: dict[str, Any] = {"side": side, "direction": protocol.direction, "pictures": pictures}
    planned = plan(matcher, dataset, conditions, **how)
    check_baseline(planned.settings, planned.pairs, protocol.metric(), against)
    part = given["share"] is not None or given["limit"] is not None
    if budget is None:
        return planned, part
    some = dataset.select(_affordable(planned, dataset, budget, allowance))
    return plan(matcher, some, conditions, **how), part or len(some) < len(dataset)


def _print_scores(
    run: "Run", protocol: "Protocol", against: "Run | str | None", *, as_json: bool
) -> None:
    """Print what a run scored and how sure that is, what it took, and where it is."""
    from spairc.journal import read_journal
    from spairc.report.summary import summarise

    summary = summarise(run, protocol, 0.1, against)
    certain = certainty_of([run], [summary], against)
    if as_json:
        print_records([run], [summary], certain)
        return
    print_summaries([summary], certain)
    if line := _reported_line(run, summary):
        click.echo(line)
    journal = read_journal(run.folder)
    click.echo(str(journal))
    if journal.note is not None:
        click.echo(journal.note)
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


def _engine_of(
    device: str | None, workers: int | None, place: str, address: str | None, cpus: int | None
) -> "Engine":
    """Return where units run; a model is loaded in each worker, so there is one unless asked."""
    from spairc.engine import Cluster

    named = len(device.split(",")) if device else 1
    local = workers or (named if place == "local" else None)
    engine = engine_of(workers=local, place=place, address=address, units=sys.maxsize)
    if isinstance(engine, Cluster):
        if named > 1:
            raise BadInput(f"--device {device} is for --engine local; Ray gives a GPU to each task")
        return replace(engine, cpus=cpus or 1)
    if cpus is not None:
        raise BadInput("--cpus is of a Ray worker; give --engine ray too")
    return engine


def _devices_of(
    matcher: Matcher, engine: "Engine", given: str | None
) -> "tuple[Engine, tuple[str, ...]]":
    """Return the engine, on Ray with a GPU a task, and the GPUs that workers take in turn."""
    from spairc.engine import Cluster
    from spairc.machine import dealt

    if getattr(matcher, "memory", None) is None:
        return engine, ()  # features live in the machine's own memory: no GPU is used
    if isinstance(engine, Cluster):
        return replace(engine, gpus=1), ("cuda",)
    from spairc_models.adapter import choose_device, device_count

    devices = dealt(given, workers=getattr(engine, "workers", 1), there=device_count())
    for device in devices:
        choose_device(device)  # refuses what is not there before work begins
    return engine, devices or ("cuda",)


def _first(device: str | None) -> str | None:
    """Return the first of the devices that were named."""
    return None if device is None else device.partition(",")[0]


def _threads_of(engine: "Engine") -> int | None:
    """Return how many threads each of several processes may use; None for all there are."""
    from spairc.engine import Cluster
    from spairc.machine import cores

    if isinstance(engine, Cluster):
        return int(engine.cpus)
    workers = getattr(engine, "workers", 1)
    return max(1, cores() // workers) if workers > 1 else None


def _matcher_in_worker(threads: int | None, devices: tuple[str, ...], **model: Any) -> Matcher:
    """Return the matcher in a worker process, on its device, with its share of the cores."""
    from spairc.engine import worker_number

    device = devices[worker_number() % len(devices)] if devices else _first(model["device"])
    matcher = _matcher_of(**{**model, "device": device})
    torch = sys.modules.get("torch")  # a matcher that does without is not made to import it
    if torch is not None and threads is not None:
        torch.set_num_threads(threads)
    return matcher


def _affordable(
    planned: "Plan", dataset: "Dataset", seconds: float, allowance: "Allowance"
) -> "NDArray[np.int64]":
    """Return positions of the share of the pairs that fits into a time; say which it is."""
    from spairc.cost import affordable_share, duration, predict_cost
    from spairc.statistics import expected_margin
    from spairc.subset import share_of_pairs

    cost = predict_cost(planned, allowance=allowance)
    share = affordable_share(cost, seconds)
    positions = share_of_pairs(dataset.table, share)
    remark(
        f"whole run: {cost}\nin {duration(seconds)}: {len(positions):,} of {len(dataset):,} pairs, "
        f"the same as --share {share:g}"
    )
    whole, part = (expected_margin(t) for t in (dataset.table, dataset.table.select(positions)))
    remark(f"expect 95 % intervals of about +-{part:.1f} points; +-{whole:.1f} with all pairs")
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
    """Return the matcher that the options name; its module may lie in the current folder."""
    from spairc_models import load_model

    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last: a file here never stands for an installed package
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
