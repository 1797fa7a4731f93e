"""What a training run is predicted to take, from steps that are measured."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from matchme_train import probe
from matchme_train.loop import How
from matchme_train.probe import Seen, StageCost, Step, stage_costs
from matchme_train.recipe import Recipe, load_recipe
from spairc.datasets import load_dataset
from spairc.datasets.dataset import Dataset
from spairc.types import BadInput

NETWORK = (
    "network.side=64",
    "network.cells=4",
    "network.blocks=[1,1,1,1]",
    "network.width=4",
    "network.layers=[2,3]",
    "optimiser.batch_size=8",
)
CPU = How(device=torch.device("cpu"))


def recipe(name: str, *changes: str) -> Recipe:
    return load_recipe(name, [*NETWORK, *changes])


@pytest.fixture(autouse=True)
def two_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_ON_CPU", 2)


@pytest.fixture
def training(training_root: Path) -> Dataset:
    """Twenty pairs: each of the four five times."""
    pairs = load_dataset("spair71k", training_root, split="trn")
    return pairs.select(np.tile(np.arange(4), 5))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """Stages and batches that were measured; a step of each takes as many seconds as its number."""
    told: list[tuple[int, int]] = []

    def step(probed: Any, number: int, *_: object) -> Step:
        batch = probed.recipe.optimiser.batch_size
        told.append((number, batch))
        return Step(number + 1.0, batch, 2 if probed.recipe.pseudo else 1)

    monkeypatch.setattr(probe, "_step", step)
    yield told
    monkeypatch.undo()


def test_a_stage_takes_its_steps_times_what_a_step_of_two_pairs_took(
    training: Dataset, asked: list[tuple[int, int]]
) -> None:
    costs = stage_costs(
        recipe("supervised-cats", "supervised.epochs=3"), training, CPU, {}, annotated=False
    )
    # Three epochs of 20 pairs: 3 steps each as they will be, 10 as they were measured.
    assert costs == [StageCost("supervised", 9, 30.0, 3)]
    assert asked == [(0, 2)]


def test_generations_are_one_kind_and_a_given_annotator_is_not_trained(
    training: Dataset, asked: list[tuple[int, int]]
) -> None:
    chosen = recipe("matchme-cats", "supervised.epochs=1", "matchme.epochs=2")
    seen: Seen = {}
    costs = stage_costs(chosen, training, CPU, seen, annotated=False)
    assert [(each.name, each.seconds) for each in costs] == [
        ("supervised", 10.0),
        ("generation-1", 40.0),
        ("generation-2", 40.0),
        ("generation-3", 40.0),
    ]
    assert asked == [(0, 2), (1, 2)]
    others = stage_costs(chosen, training, CPU, seen, annotated=True)
    assert others == costs[1:]
    assert len(asked) == 2


def test_larger_pictures_make_smaller_batches(
    training: Dataset, asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_ON_CPU", 8)
    for side in (64, 256, 512, 1024):
        chosen = recipe("supervised-cats", f"network.side={side}")
        stage_costs(chosen, training, CPU, {}, annotated=False)
    assert [batch for _, batch in asked] == [8, 8, 2, 1]


def test_another_network_is_measured_anew(training: Dataset, asked: list[tuple[int, int]]) -> None:
    seen: Seen = {}
    for change in ("network.width=4", "network.width=8", "network.width=4"):
        stage_costs(recipe("supervised-cats", change), training, CPU, seen, annotated=False)
    assert len(asked) == 2


@pytest.mark.usefixtures("asked")
def test_a_share_of_the_labels_takes_a_share_of_the_time(training: Dataset) -> None:
    costs = [
        stage_costs(recipe("supervised-cats", change), training, CPU, {}, annotated=False)
        for change in ("labelled=1", "labelled=0.5")
    ]
    assert costs[1][0].seconds == costs[0][0].seconds / 2
    assert costs[1][0].validations == costs[0][0].validations == 100


@pytest.mark.usefixtures("asked")
def test_two_networks_that_teach_each_other_are_validated_both(training: Dataset) -> None:
    chosen = recipe("scorrsan-mt", "network.layers=[3]", "network.cells=64", "pseudo.epochs=2")
    (cost,) = stage_costs(chosen, training, CPU, {}, annotated=False)
    assert cost.validations == 4


def test_a_real_step_is_measured_without_weights_to_fetch(training: Dataset) -> None:
    chosen = recipe("supervised-cats", "supervised.epochs=2")
    assert chosen.network.weights == "imagenet"
    before = torch.get_rng_state()
    (cost,) = stage_costs(chosen, training, CPU, {}, annotated=False)
    assert cost.seconds > 0
    assert torch.equal(torch.get_rng_state(), before)


def test_a_step_that_does_not_fit_is_told_with_what_to_do(
    training: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(probe, "run_stage", full)
    with pytest.raises(BadInput, match=r"supervised: a step of 2 pairs in 3 parts .* --parts 6"):
        stage_costs(recipe("supervised-cats"), training, replace(CPU, parts=3), {}, annotated=False)
