"""One stage of a run: epochs of steps, a validation after each, a checkpoint now and then."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from matchme_train.checkpoints import Position, RunFolder
from matchme_train.data import Batch, Item, Items, collated
from matchme_train.methods import Losses, Method
from matchme_train.networks import begin_training, make_optimiser, set_rates
from matchme_train.sections import Optimiser
from matchme_train.team import ALONE, Team
from spairc.types import BadInput
from spairc_models.adapter import PRECISIONS


@dataclass(frozen=True)
class How:
    """How a run is executed; none of it is part of the recipe."""

    device: torch.device
    precision: str = "float32"
    workers: int = 0  # processes that prepare pairs; 0 prepares them between the steps
    checkpoint_every: int = 500  # steps; and after every epoch
    parts: int = 1  # forward passes of a step, each with a part of the batch
    save_memory: bool = False  # by computing again, on the way back, what CATs++ needs there
    team: Team = ALONE  # the processes that train together


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

    def parts_of(self, step: int, how: How) -> int:
        """Return in how many parts a step's batch is done: at most one for each of its pairs."""
        size = self.optimiser.batch_size
        return min(how.parts, len(self.labelled) - step * size, size)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a person is told after each step."""

    stage: str
    epoch: int
    epochs: int
    step: int  # done of this epoch
    steps: int
    losses: dict[str, float]
    waited: float = 0.0  # seconds for the data of this step
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
    how.team.wait()  # for the best weights, which the next stage reads


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
            torch.default_generator.manual_seed(_seed_of_stage(self.stage, self.how.team.place))
            self.save()
        self.folder.write_tables(self.position)

    def save(self) -> None:
        """Write a checkpoint."""
        self.folder.write_checkpoint(self.position, self.stage.networks, self.optimisers)

    def epoch(self) -> None:
        """Do what is left of an epoch, validate, and keep the best."""
        stage, position = self.stage, self.position
        for network, adam in zip(stage.networks, self.optimisers, strict=True):
            begin_training(network, stage.optimiser)
            set_rates(adam, stage.optimiser, position.epoch, stage.epochs)
        begun, waited = time.perf_counter(), 0.0
        batches = batches_of(stage, position.epoch, position.step, self.how)
        while position.step < stage.steps:
            asked = time.perf_counter()
            parts = [next(batches) for _ in range(stage.parts_of(position.step, self.how))]
            spent = time.perf_counter() - asked
            waited += spent
            self._count(self._step(parts), spent)
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

    def _step(self, parts: Sequence[tuple[Batch, Batch | None]]) -> dict[str, float]:
        """Do one step; return its losses."""
        for adam in self.optimisers:
            adam.zero_grad(set_to_none=True)
        whole = sum(pairs.count for pairs, _ in parts)
        sums: dict[str, float] = {}
        for pairs, unlabelled in parts:
            share = pairs.count / whole
            for name, value in self._part(pairs, unlabelled, share).items():
                sums[name] = sums.get(name, 0.0) + share * value
        self.how.team.add_gradients(self.stage.networks)
        for adam in self.optimisers:
            adam.step()
        return sums

    def _part(self, pairs: Batch, unlabelled: Batch | None, share: float) -> dict[str, float]:
        """Add to the gradients what a part of the batch contributes; return its losses."""
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
        (losses.total * share).backward()  # type: ignore[no-untyped-call]  # torch's own
        return told

    def _count(self, told: dict[str, float], waited: float) -> None:
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
                waited=waited,
            )
        )

    def _close(self) -> None:
        """Validate an epoch, add it to the history, keep its weights if they are the best."""
        position, stage = self.position, self.stage
        epoch = position.epoch
        scores = [0.0] * len(stage.networks)
        if self.how.team.leads:
            scores = [stage.validate(network) for network in stage.networks]
        scores = self.how.team.told(scores)
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
    """Yield what the steps of an epoch see, part by part, from the first step that is not done.

    The order is drawn from the seed, the stage and the epoch, and so is every pair: a resumed run
    sees the batches that it would have seen.
    """
    size = stage.optimiser.batch_size
    counts = [stage.parts_of(step, how) for step in range(done, stage.steps)]
    order = _order(stage, epoch, 0, size, stage.steps)[done:]
    labelled = _loader(stage.labelled, _parts(order, counts), how)
    if stage.unlabelled is None:
        yield from ((batch, None) for batch in labelled)
        return
    order = _order(stage, epoch, 1, stage.unlabelled_batch, stage.steps)[done:]
    yield from zip(labelled, _loader(stage.unlabelled, _parts(order, counts), how), strict=True)


def _parts(
    batches: Sequence[list[tuple[int, int]]], counts: Sequence[int]
) -> list[list[tuple[int, int]]]:
    """Return each batch cut into so many parts, as even as can be."""
    parts = []
    for batch, count in zip(batches, counts, strict=True):
        edges = [len(batch) * number // count for number in range(count + 1)]
        parts += [batch[low:high] for low, high in pairwise(edges)]
    return parts


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


def _loader(items: Items, batches: Sequence[list[tuple[int, int]]], how: How) -> Iterator[Batch]:
    """Yield this process's share of these batches, made by torch's loader."""
    shares = [how.team.share(batch) for batch in batches]
    for batch, share in zip(batches, _torch_loader(items, shares, how), strict=True):
        yield replace(share, team=how.team, count=len(batch))


def _torch_loader(
    items: Items, batches: Sequence[list[tuple[int, int]]], how: How
) -> Iterable[Batch]:
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


def _seed_of_stage(stage: Stage, place: int) -> int:
    """Return where torch's random numbers begin, those of dropout; each process has its own."""
    words = (stage.seed, stage.number, *([place] if place else []))
    return int(np.random.SeedSequence(words).generate_state(1)[0])
