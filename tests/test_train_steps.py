"""Optimiser steps of whole networks against stored ones of the published programs."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from matchme_train.data import Batch
from matchme_train.methods import Supervised
from matchme_train.networks import make_optimiser, set_rates, trunk_of
from matchme_train.sections import Network, Optimiser
from spairc_models import load_network

SIDES = {"cats": 256, "scorrsan": 256}


@pytest.fixture(scope="module")
def golden(shared: Path) -> Mapping[str, NDArray[np.generic]]:
    with np.load(shared / "golden" / "training.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def drawn(shared: Path) -> ModuleType:
    """The rules by which the stored programs' weights and pictures were drawn."""
    path = shared / "golden" / "named_weights.py"
    spec = importlib.util.spec_from_file_location("named_weights", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("name", SIDES)
def test_two_steps_have_the_published_losses(
    name: str, golden: Mapping[str, NDArray[Any]], drawn: ModuleType
) -> None:
    network = load_network(name)
    drawn.fill(network)
    places = network.get_parameter("x_normal")
    before = places.detach().clone()
    one, two = (drawn.normalised(drawn.image(number, SIDES[name])) for number in (1, 2))
    targets = torch.from_numpy(np.array(golden[f"{name}_target_flow"], dtype=np.float32))
    first, second = torch.cat([one, two]), torch.cat([two, one])
    pairs = Batch(("a", "b"), first, second, targets, None, None, None, None, None)
    optimiser = Optimiser()
    adam = make_optimiser(network, optimiser)
    set_rates(adam, optimiser, 0, 100)
    network.train()
    losses = []
    for _ in range(2):
        loss = Supervised().losses([network], pairs, None, 0).total
        losses.append(loss.item())
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        adam.step()
    moved = (places - before).detach()
    losses.append(Supervised().losses([network], pairs, None, 0).total.item())
    # AdamW's first steps are signs: rounding decides those of the smallest gradients. With two
    # threads, as stored, ours agree to 1e-6 after one step; with one thread to 0.5 %.
    assert losses[0] == pytest.approx(float(golden[f"{name}_training_losses"][0]), rel=1e-4)
    np.testing.assert_allclose(losses, golden[f"{name}_training_losses"], rtol=0.01)
    np.testing.assert_allclose(moved, golden[f"{name}_training_x_normal_change"], atol=2e-5)
    mean = trunk_of(network).get_submodule("layer3.5.bn2").get_buffer("running_mean")[:8]
    np.testing.assert_allclose(mean, golden[f"{name}_training_running_mean_first"], atol=2e-4)


@pytest.mark.parametrize(
    ("epoch", "share"), [(0, 1), (69, 1), (70, 0.5), (80, 0.25), (90, 0.125), (99, 0.125)]
)
def test_rates_fall_at_the_published_epochs(epoch: int, share: float) -> None:
    network = nn.Module()
    network.backbone = nn.Linear(2, 2)
    network.head = nn.Linear(2, 3)
    optimiser = Optimiser()
    adam = make_optimiser(network, optimiser)
    set_rates(adam, optimiser, epoch, 100)
    rates = [group["lr"] for group in adam.param_groups]
    assert rates == pytest.approx([3e-5 * share, 3e-6 * share])
    assert [group["weight_decay"] for group in adam.param_groups] == [0.05, 0.05]


def test_every_parameter_is_in_one_group_and_the_trunk_in_its_own() -> None:
    from matchme_train.networks import make_network, parameter_groups

    sizes = {"side": 64, "cells": 4, "blocks": (1, 1, 1, 1), "width": 4, "layers": (2, 3)}
    network = make_network(Network(name="cats", weights="random", **sizes), 0)  # type: ignore[arg-type]  # as named
    rest, trunk = (group["params"] for group in parameter_groups(network, Optimiser()))
    assert len(rest) + len(trunk) == len(list(network.parameters()))
    assert {id(each) for each in trunk} == {id(p) for p in trunk_of(network).parameters()}
    assert any(each is network.x_normal for each in rest)
