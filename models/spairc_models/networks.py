"""The published networks by name, with fresh weights for training or with a checkpoint's.

To add one: a module whose class has `encode_features` (pictures to what all their pairs need) and
`match_points` (two of those and points to points), a line in `NETWORKS`, one in
`network_matchers`, one in `spairc_models.MODELS`, and its tests.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from spairc.lookup import lookup
from spairc.types import BadInput
from spairc_models import MODELS
from spairc_models.backbone import RANDOM
from spairc_models.cats import PRESETS, CATs, settings_of
from spairc_models.catspp import CATsPlusPlus
from spairc_models.checkpoint import (
    Checkpoint,
    load_strictly,
    mismatch,
    read_checkpoint,
    state_hash,
)
from spairc_models.chm import CHM
from spairc_models.scorrsan import INPUTS, SCorrSAN
from spairc_models.transformatcher import TransforMatcher

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]  # of tensors, by name
Settings: TypeAlias = Mapping[str, Any]  # keyword arguments of a network


@dataclass(frozen=True)
class Network:
    """A published architecture."""

    side: int  # pixels of the square input
    make: Callable[..., nn.Module]  # takes the settings
    settings: Callable[[Shapes], Settings]  # what a checkpoint of it was made with


@dataclass(frozen=True)
class Weights:
    """Which weights a network is to have."""

    checkpoint: str | Path | None  # a file, a folder, or hf://org/repo/file@revision
    drawn: str | None  # RANDOM, in place of a checkpoint
    settings: Callable[[Shapes], Settings]  # what the checkpoint was made with


def cats_settings(shapes: Shapes, **known: Any) -> Settings:
    """Return the settings of a CATs checkpoint; none if it is of another network.

    Args:
        shapes: The checkpoint's.
        known: What shapes do not tell, as `cats.settings_of` takes it.

    Raises:
        BadInput: If layers or heads cannot be told.
    """
    told_by = (
        "x_normal",
        "proj.0.weight",
        "decoder.proj.weight",
        "decoder.blocks.0.mlp.fc1.weight",
    )
    return {"settings": settings_of(shapes, **known)} if shapes.keys() >= set(told_by) else {}


def _scorrsan_settings(shapes: Shapes) -> Settings:
    """Return the settings of a SCorrSAN checkpoint; none if it is of another network."""
    weight = shapes.get("SCEs.0.conv.weight")
    return {"outputs": weight[0], "reach": (weight[1] - INPUTS) // 4} if weight else {}


def _none(_: Shapes) -> Settings:
    """Return no settings: all published checkpoints of the network are made alike."""
    return {}


_CATS = Network(256, CATs, cats_settings)
_CATSPP = Network(512, CATsPlusPlus, _none)
NETWORKS: Mapping[str, Network] = {
    "cats": _CATS,
    "cats-pfpascal": Network(256, partial(CATs, PRESETS["pfpascal"]), _none),
    "catspp": _CATSPP,
    "scorrsan": Network(256, SCorrSAN, _scorrsan_settings),
    "transformatcher": Network(240, TransforMatcher, _none),
    "chm": Network(240, CHM, _none),
    "semimatch-cats": _CATS,
    "matchme-cats": _CATS,
    "matchme-catspp": _CATSPP,
}


def load_network(name: str, *, seed: int = 0, **settings: Any) -> nn.Module:
    """Return a network with fresh weights, in evaluation mode.

    Its state dict has the official names and shapes, and `forward(first, second)` takes two
    batches of normalised pictures, (B, 3, side, side): first those whose points are given.

    Args:
        name: An entry of `NETWORKS`.
        seed: Of the weights; torch's own stream of random numbers is left as it was.
        settings: The constructor's, where the published ones are not wanted.

    Raises:
        BadInput: If there is no such network.
    """
    make = lookup(NETWORKS, name, "network").make
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make(**settings).eval()


def weighted_network(name: str, weights: Weights) -> tuple[nn.Module, str]:
    """Return a network with its weights, and SHA-256 of where they are from or of themselves.

    Raises:
        BadInput: If none were asked for or both kinds, or the checkpoint does not fit.
    """
    if weights.checkpoint is not None and weights.drawn is not None:
        raise BadInput("give either a checkpoint or weights, not both")
    if weights.drawn not in (None, RANDOM):
        raise BadInput(f"weights {weights.drawn!r}: {name} knows only {RANDOM!r} or a checkpoint")
    if weights.drawn == RANDOM:
        network = load_network(name)
        return network, f"random {state_hash(network)}"
    if weights.checkpoint is None:
        raise BadInput(_where_to_get(name))
    checkpoint = read_checkpoint(weights.checkpoint)
    network = load_network(name, **weights.settings(_shapes(checkpoint.state)))
    _load(network, checkpoint, name)
    return network, checkpoint.sha256


def _load(network: nn.Module, checkpoint: Checkpoint, name: str) -> None:
    """Load strictly; of a checkpoint that does not fit, say which network it does fit.

    Raises:
        BadInput: If it does not fit.
    """
    try:
        load_strictly(network, checkpoint, name)
    except BadInput as error:
        fitting = fitting_network(checkpoint)
        advice = f"it is a checkpoint of {fitting}" if fitting else "no network here fits it"
        raise BadInput(f"{error}; {advice}") from None


def fitting_network(checkpoint: Checkpoint) -> str | None:
    """Return the first network that has just these tensors; None if there is none."""
    shapes = _shapes(checkpoint.state)
    for name, network in NETWORKS.items():
        with torch.device("meta"):  # names and shapes, no memory
            made = network.make(**network.settings(shapes))
        if mismatch(_shapes(made.state_dict()), shapes) is None:
            return name
    return None


def _where_to_get(name: str) -> str:
    """Return what to do for the weights of a network."""
    model = MODELS[name]
    public = f"they are at {model.weights}" if model.weights else "they are not public"
    training = f", or train them: spairc train {model.recipe}" if model.recipe else ""
    return f"model {name!r} needs weights, and {public}; give --checkpoint FILE{training}"


def _shapes(state: Mapping[str, Tensor]) -> Shapes:
    """Return the shape of every tensor."""
    return {key: tuple(tensor.shape) for key, tensor in state.items()}
