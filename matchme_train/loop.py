"""One stage of a run: epochs of steps, a validation after each, a checkpoint now and then."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from matchme_train.checkpoints import Position, RunFolder
from matchme_train.data import Batch, Item, Items, collated
from matchme_train.methods import Losses, Method
from matchme_train.networks import make_optimiser, set_rates
from matchme_train.recipe import Optimiser
from spairc.types import BadInput
from spairc_models.adapter import PRECISIONS


@dataclass(frozen=True)
class How:
    """How a run is executed; none of it is part of the recipe."""

    device: torch.device
    precision: str = "float32"
    workers: int = 0  # processes that prepare pairs; 0 prepares them between the steps
    checkpoint_every: int = 500  # steps; and after every epoch


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """All that one stage needs."""

    name: str  # "supervised", "generation-1"
    number: int
    seed: int
    epochs: int
    optimiser: Optimiser
    networks: Sequence[nn.Module]  # on the device; those that are trained
    method: Method
    labelled: Items
    unlabelled: Items | None = None
    unlabelled_batch: int = 0
    validate: Callable[[nn.Module], float]  # PCK in percent; leaves evaluation mode behind

    @property
    def steps(self) -> int:
        """Steps of an epoch: one pass over the labelled pairs."""
        return math.ceil(len(self.labelled) / self.optimiser.batch_size)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a person is told after each step."""

    stage: str
    epoch: int
    epochs: int
    step: int  # done of this epoch
    steps: int
    losses: dict[str, float]
    validation_pck: float | None = None  # after an epoch's last step


Watch = Callable[[Progress], object]


def run_stage(stage: Stage, folder: RunFolder, position: Position, how: How, watch: Watch) -> None:
    """Train a stage from where the run stands to its end.

    Args:
        stage: What to do.
        folder: Takes checkpoints, the best weights and the tables.
        position: Where the run stands; moved along.
        how: Device, precision, workers.
        watch: Called after each step and each validation.

    Raises:
        BadInput: If a loss is not finite (the batch's pairs are named) or the disk is full.
    """
    session = _Session(
        stage=stage,
        optimisers=[make_optimiser(network, stage.optimiser) for network in stage.networks],
        folder=folder,
        position=position,
        how=how,
        watch=watch,
    )
    session.begin()
    while position.epoch < stage.epochs:
        session.epoch()


@dataclass(frozen=True, eq=False, kw_only=True)
class _Session:
    """A stage under way."""

    stage: Stage
    optimisers: Sequence[torch.optim.AdamW]
    folder: RunFolder
    position: Position
    how: How
    watch: Watch

    def begin(self) -> None:
        """Take up the run where it stands."""
        if self.position.epoch or self.position.step:
            self.folder.restore(self.stage.networks, self.optimisers)
        else:
            torch.default_generator.manual_seed(_seed_of_stage(self.stage))
            self.save()
        self.folder.write_tables(self.position)

    def save(self) -> None:
        """Write a checkpoint."""
        self.folder.write_checkpoint(self.position, self.stage.networks, self.optimisers)

    def epoch(self) -> None:
        """Do what is left of an epoch, validate, and keep the best."""
        stage, position = self.stage, self.position
        for network, adam in zip(stage.networks, self.optimisers, strict=True):
            network.train()
            set_rates(adam, stage.optimiser, position.epoch, stage.epochs)
        begun, waited = time.perf_counter(), 0.0
        batches = batches_of(stage, position.epoch, position.step, self.how)
        while position.step < stage.steps:
            asked = time.perf_counter()
            pairs, unlabelled = next(batches)
            waited += time.perf_counter() - asked
            self._count(self._step(pairs, unlabelled))
            if position.step < stage.steps and position.steps % self.how.checkpoint_every == 0:
                self.save()
        spent = time.perf_counter() - begun
        self._close()
        self.folder.log(
            stage=stage.name,
            epoch=position.epoch - 1,
            seconds=round(spent, 3),
            share_waited_for_data=round(waited / max(spent, 1e-9), 4),
        )

    def _step(self, pairs: Batch, unlabelled: Batch | None) -> dict[str, float]:
        """Do one step; return its losses."""
        stage, how = self.stage, self.how
        moved = pairs.to(how.device)
        others = None if unlabelled is None else unlabelled.to(how.device)
        mixed = how.precision != "float32"
        with torch.autocast(how.device.type, dtype=PRECISIONS[how.precision], enabled=mixed):
            losses = stage.method.losses(stage.networks, moved, others, self.position.epoch)
        told = _told(losses)
        if not math.isfinite(told["loss"]):
            ids = pairs.ids + (() if unlabelled is None else unlabelled.ids)
            raise BadInput(
                f"{stage.name}, epoch {self.position.epoch}, step {self.position.step}: the loss "
                f"is {told['loss']}; its pairs are {', '.join(ids)}: look at them, or lower the "
                f"learning rate"
            )
        for adam in self.optimisers:
            adam.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]  # torch's own
        for adam in self.optimisers:
            adam.step()
        return told

    def _count(self, told: dict[str, float]) -> None:
        """Write a step down, move on by it and tell of it."""
        position, stage = self.position, self.stage
        place: dict[str, Any] = {"stage": stage.name, "epoch": position.epoch}
        self.folder.add_step({**place, "step": position.step, **told})
        for name, value in told.items():
            position.sums[name] = position.sums.get(name, 0.0) + value
        position.step += 1
        position.steps += 1
        self.watch(
            Progress(
                stage=stage.name,
                epoch=position.epoch,
                epochs=stage.epochs,
                step=position.step,
                steps=stage.steps,
                losses=told,
            )
        )

    def _close(self) -> None:
        """Validate an epoch, add it to the history, keep its weights if they are the best."""
        position, stage = self.position, self.stage
        epoch = position.epoch
        scores = [stage.validate(network) for network in stage.networks]
        score = max(scores)
        best = position.best.get(stage.name)
        if best is None or score > best["pck"]:
            position.best[stage.name] = {"pck": score, "epoch": epoch}
            told = {"stage": stage.name, "epoch": epoch, "validation_pck": score}
            network = stage.networks[scores.index(score)]
            self.folder.write_weights(self.folder.best(stage.name), network, told)
        means = {name: value / stage.steps for name, value in position.sums.items()}
        row = {"stage": stage.name, "epoch": epoch, **means, "validation_pck": score}
        position.history.append(row)
        position.epoch, position.step, position.sums = epoch + 1, 0, {}
        self.save()
        self.folder.write_tables(position)
        self.watch(
            Progress(
                stage=stage.name,
                epoch=epoch,
                epochs=stage.epochs,
                step=stage.steps,
                steps=stage.steps,
                losses=means,
                validation_pck=score,
            )
        )


def batches_of(
    stage: Stage, epoch: int, done: int, how: How
) -> Iterator[tuple[Batch, Batch | None]]:
    """Yield what the steps of an epoch see, from the first that is not done.

    The order is drawn from the seed, the stage and the epoch, and so is every pair: a resumed run
    sees the batches that it would have seen.
    """
    size = stage.optimiser.batch_size
    labelled = _loader(stage.labelled, _order(stage, epoch, 0, size, stage.steps)[done:], how)
    if stage.unlabelled is None:
        yield from ((batch, None) for batch in labelled)
        return
    order = _order(stage, epoch, 1, stage.unlabelled_batch, stage.steps)[done:]
    yield from zip(labelled, _loader(stage.unlabelled, order, how), strict=True)


class _Keyed(Dataset[Item]):
    """Items by (epoch, index), as torch's loader asks for them."""

    def __init__(self, items: Items) -> None:
        self._items = items

    def __getitem__(self, key: tuple[int, int]) -> Item:
        return self._items.item(*key)


class _Given(Sampler[list[tuple[int, int]]]):
    """Batches whose keys are known."""

    def __init__(self, batches: Sequence[list[tuple[int, int]]]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)


def _loader(items: Items, batches: Sequence[list[tuple[int, int]]], how: How) -> DataLoader[Item]:
    """Return torch's loader of these batches; what it yields is collated."""
    return DataLoader(
        _Keyed(items),
        batch_sampler=_Given(batches),
        num_workers=how.workers,
        collate_fn=collated,
        pin_memory=False,  # a `Batch` is none of the containers that torch pins
        # A forked child of a process with threads may hang; torch has threads.
        multiprocessing_context="spawn" if how.workers else None,
        # Left alone, the loader would draw a seed from torch's own random numbers, which belong
        # to the networks' dropout and are saved with them.
        generator=torch.Generator().manual_seed(0),
    )


def _order(
    stage: Stage, epoch: int, kind: int, size: int, steps: int
) -> list[list[tuple[int, int]]]:
    """Return the keys of an epoch's batches: all items in random order, again if need be."""
    items = stage.labelled if kind == 0 else stage.unlabelled
    count = len(items) if items is not None else 0
    draws = np.random.default_rng((stage.seed, stage.number, epoch, kind))
    order = draws.permutation(count)
    if kind:  # labelled pairs make the epoch; the last batch may be smaller
        order = np.resize(order, steps * size)
    return [
        [(epoch, int(index)) for index in order[step * size : (step + 1) * size]]
        for step in range(steps)
    ]


def _told(losses: Losses) -> dict[str, float]:
    """Return the parts as numbers."""
    parts = {
        "loss": losses.total,
        "labelled": losses.labelled,
        "pseudo": losses.pseudo,
        "pass_rate": losses.pass_rate,
    }
    return {name: float(part.detach()) for name, part in parts.items() if part is not None}


def _seed_of_stage(stage: Stage) -> int:
    """Return where torch's random numbers begin: those of dropout."""
    return int(np.random.SeedSequence((stage.seed, stage.number)).generate_state(1)[0])
