"""What a run will take on this machine, from a few steps of each kind of its stages.

The steps are real ones: the recipe's networks and method, pairs of the dataset with their noise.
Only the trunk's weights are random ones, for which nothing need be fetched, and pictures without
labels are labelled ones. On a CPU the batch is of few pairs, and a pair is taken to need as long
in the recipe's own batch, which a GPU is given.
"""

import tempfile
import time
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from matchme_train.checkpoints import Position, RunFolder
from matchme_train.loop import How, Progress, run_stage
from matchme_train.networks import make_network
from matchme_train.recipe import Recipe
from matchme_train.sections import Network
from matchme_train.stages import Material, clear, length_of, make_stage, stage_names
from matchme_train.train import labelled_part
from matchme_train.unlabelled import Pool, pictures_by_category
from spairc.datasets.dataset import Dataset
from spairc.machine import cores
from spairc.types import BadInput, Matcher
from spairc_models.adapter import execution
from spairc_models.network_matchers import matcher_of

# Pairs of a batch, fewer where pictures are larger. A pair of a small CATs took 5 % less than in
# the recipe's batch of 32; in a batch of two, 31 % less.
_ON_CPU = 8
_SIDE = 256  # pixels, up to which there are as many
_STEPS = 5  # at most; the first is not counted: what is loaded or compiled once is paid by it
_SECONDS = 10.0  # of steps that are counted, after which no more are done


@dataclass(frozen=True)
class StageCost:
    """What a stage will take."""

    name: str
    steps: int
    seconds: float  # of all of them
    validations: int  # of a network each


@dataclass(frozen=True)
class Step:
    """What was measured of one kind of stage."""

    seconds: float
    batch: int  # labelled pairs
    networks: int  # that are trained


Seen = dict[tuple[Network, int, str], Step]  # by network, the recipe's batch and kind of stage


def stage_costs(
    recipe: Recipe, training: Dataset, how: How, seen: Seen, *, annotated: bool
) -> list[StageCost]:
    """Return what each stage of a run will take.

    Args:
        recipe: The run's.
        training: All labelled pairs; the recipe's share of them is what counts.
        how: Device, precision, workers, parts.
        seen: Steps that were measured before, which are not measured again; more are added.
        annotated: Whether the weights that the run begins with are given.

    Raises:
        BadInput: If a step does not fit into the GPU's memory, or the networks cannot be made.
    """
    labelled = labelled_part(training, recipe)
    small = _small(recipe, how)
    count = small.optimiser.batch_size * _STEPS
    few = labelled.select(np.resize(np.arange(len(labelled)), count))
    with tempfile.TemporaryDirectory(prefix="spairc-probe-") as folder:
        annotator = Path(folder) / "annotator.safetensors" if annotated else None
        if annotator is not None:
            RunFolder(Path(folder)).write_weights(annotator, make_network(small.network, 0), {})
        where = None if annotator is None else str(annotator)
        whole = Material(recipe, labelled, labelled, None, where)
        probed = Material(small, few, few, _pool(few), where)
        _measure(probed, Path(folder), how, seen, recipe)
    steps = {name: seen[_key(recipe, name)] for name in stage_names(recipe, where)}
    alike = replace(whole, recipe=small)
    return [_cost(whole, alike, name, step) for name, step in steps.items()]


def untrained(network: Network, name: str, device: str | None) -> Matcher:
    """Return a network of a recipe as a matcher, with random weights: it costs as much.

    Args:
        network: The recipe's.
        name: What the matcher is called.
        device: As `spairc eval` takes it.

    Raises:
        BadInput: If there is no such device, or the network cannot be made.
    """
    how = execution(device)
    made = make_network(replace(network, weights="random"), 0).to(how.device).eval()
    return matcher_of(name, made, how, side=network.side, weights="random")


def machine_of(device: torch.device) -> str:
    """Return what a time is true of: the GPU by its name, or a CPU and how many cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"a CPU with {cores()} cores"


def _measure(probed: Material, folder: Path, how: How, seen: Seen, recipe: Recipe) -> None:
    """Measure a step of each kind of stage that was not seen before; generations are one kind."""
    names = stage_names(probed.recipe, probed.annotator)
    for number, name in enumerate(names):
        if _key(recipe, name) in seen:
            continue
        if number:
            start, kept = make_network(probed.recipe.network, 0), RunFolder(folder)
            kept.write_weights(kept.best(names[number - 1]), start, {})
        seen[_key(recipe, name)] = _step(probed, number, folder, how)


def _key(recipe: Recipe, stage: str) -> tuple[Network, int, str]:
    """Return what a step's time depends on, the device apart."""
    return recipe.network, recipe.optimiser.batch_size, stage.partition("-")[0]


def _cost(whole: Material, alike: Material, name: str, step: Step) -> StageCost:
    """Return what a stage takes, whose steps in the measured size are those of `alike`."""
    steps = length_of(alike, name)
    epochs = steps // -(-len(whole.training) // step.batch)
    return StageCost(name, length_of(whole, name), steps * step.seconds, epochs * step.networks)


class _Enough(Exception):  # noqa: N818 -- no error: how the steps come to their end
    """Enough steps were seen."""


def _step(probed: Material, number: int, folder: Path, how: How) -> Step:
    """Return what a step of a stage takes."""
    stage = make_stage(probed, number, RunFolder(folder), how)
    ends: list[float] = []

    def watch(_: Progress) -> None:
        ends.append(time.perf_counter())
        if len(ends) >= _STEPS or (len(ends) > 1 and ends[-1] - ends[0] > _SECONDS):
            raise _Enough

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            run_stage(stage, RunFolder(folder, writes=False), Position(stage=number), how, watch)
        except _Enough:
            pass
        except torch.OutOfMemoryError:
            raise BadInput(
                f"{stage.name}: a step of {stage.optimiser.batch_size} pairs in {how.parts} parts "
                f"does not fit the memory of {how.device}; give --parts {2 * how.parts}"
            ) from None
    batch = stage.optimiser.batch_size
    networks = len(stage.networks)
    del stage
    clear(how)
    return Step((ends[-1] - ends[0]) / (len(ends) - 1), batch, networks)


def _small(recipe: Recipe, how: How) -> Recipe:
    """Return the recipe with a random trunk and, on a CPU, with batches of a few pairs."""
    network = replace(recipe.network, weights="random")
    small = replace(recipe, network=network, labelled=1.0)
    most = max(1, int(_ON_CPU * min(1, _SIDE / network.side) ** 2))
    return small if how.device.type == "cuda" else _with_batches(small, most)


def _with_batches(record: Any, most: int) -> Any:
    """Return a record in which no batch, at whatever depth, has more than so many pairs."""
    changes: dict[str, Any] = {}
    for each in fields(record):
        value = getattr(record, each.name)
        if is_dataclass(value):
            changes[each.name] = _with_batches(value, most)
        elif each.name == "batch_size":
            changes[each.name] = min(value, most)
    return replace(record, **changes)


def _pool(labelled: Dataset) -> Pool:
    """Return labelled pictures in place of pictures without labels."""
    return Pool(pictures_by_category(labelled), {}, "probe")
