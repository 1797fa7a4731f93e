"""The published networks by name, with fresh weights for training or with a checkpoint's.

To add one: a module whose class has `encode_features` (pictures to what all their pairs need) and
`match_points` (two of those and points to points), a line in `NETWORKS`, one in
`network_matchers`, one in `spairc_models.MODELS`, and its tests.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from spairc.lookup import lookup
from spairc.types import BadInput
from spairc_models import MODELS, cnngeo, ncnet
from spairc_models.backbone import RANDOM
from spairc_models.cats import PRESETS, CATs, settings_of
from spairc_models.cats import Settings as CATsSettings
from spairc_models.catspp import CATsPlusPlus
from spairc_models.checkpoint import (
    Checkpoint,
    find_checkpoint,
    load_strictly,
    mismatch,
    read_checkpoint,
    state_hash,
)
from spairc_models.chm import CHM
from spairc_models.cnngeo import CNNGeo
from spairc_models.corner_aligned import SCNET, CornerAligned
from spairc_models.dhpf import DHPF
from spairc_models.ncnet import NCNet
from spairc_models.preprocessing import Preprocessing
from spairc_models.recorded import Architecture, make_recorded, recorded_beside, registered
from spairc_models.scorrsan import INPUTS, SCorrSAN
from spairc_models.transformatcher import TransforMatcher
from spairc_models.vat import VAT
from spairc_models.weakalign import WeakAlign

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]  # of tensors, by name
Settings: TypeAlias = Mapping[str, Any]  # keyword arguments of a network


@dataclass(frozen=True)
class Network:
    """A published architecture."""

    side: int  # pixels of the square input
    make: Callable[..., nn.Module]  # takes the settings
    settings: Callable[[Shapes], Settings]  # what a checkpoint of it was made with
    preprocessing: Callable[[int], Preprocessing] = Preprocessing  # takes the side


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


# SemiMatch's CATs reads its flow with this softer softmax in training, validation and test: its
# `forward` takes the temperature from the settings that are saved beside the weights.
SEMIMATCH_TEMPERATURE = 0.1
_CATS = Network(256, CATs, cats_settings)
_CATSPP = Network(512, CATsPlusPlus, _none)
NETWORKS: Mapping[str, Network] = {
    "cats": _CATS,
    "cats-pfpascal": Network(256, partial(CATs, PRESETS["pfpascal"]), _none),
    "catspp": _CATSPP,
    "scorrsan": Network(256, SCorrSAN, _scorrsan_settings),
    "transformatcher": Network(240, TransforMatcher, _none),
    "chm": Network(240, CHM, _none),
    "semimatch-cats": Network(
        256,
        partial(CATs, settings=CATsSettings(temperature=SEMIMATCH_TEMPERATURE)),
        partial(cats_settings, temperature=SEMIMATCH_TEMPERATURE),
    ),
    "matchme-cats": _CATS,
    "matchme-catspp": _CATSPP,
    "dhpf": Network(240, DHPF, _none),
    "vat": Network(512, VAT, _none),
    "cnngeo": Network(240, CNNGeo, cnngeo.settings_of, CornerAligned),
    "weakalign": Network(240, WeakAlign, _none, partial(CornerAligned, measured=SCNET)),
    "ncnet": Network(400, NCNet, ncnet.settings_of, partial(CornerAligned, measured=SCNET)),
}


@dataclass(frozen=True, eq=False)
class Weighted:
    """A network that has its weights."""

    network: nn.Module
    weights: str  # SHA-256 of the file that they are from, or "random" and that of themselves
    side: int  # pixels of its square input


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


def weighted_network(name: str, weights: Weights) -> Weighted:
    """Return a network with its weights.

    Where none are asked for, they are those of the run of `spairc train` that was registered
    under this name.

    Raises:
        BadInput: If both kinds of weights were asked for, there are none, they are not those that
            were registered, or the checkpoint does not fit.
    """
    if weights.checkpoint is not None and weights.drawn is not None:
        raise BadInput("give either a checkpoint or weights, not both")
    if weights.drawn not in (None, RANDOM):
        raise BadInput(f"weights {weights.drawn!r}: {name} knows only {RANDOM!r} or a checkpoint")
    if weights.drawn == RANDOM:
        network = load_network(name)
        return Weighted(network, f"random {state_hash(network)}", NETWORKS[name].side)
    if weights.checkpoint is None:
        return _registered(name)
    path = find_checkpoint(weights.checkpoint)
    recorded = recorded_beside(path)
    checkpoint = replace(read_checkpoint(path), origin=str(weights.checkpoint))
    if recorded is not None:
        return _recorded(name, recorded, checkpoint)
    network = load_network(name, **weights.settings(_shapes(checkpoint.state)))
    _load(network, checkpoint, name)
    return Weighted(network, checkpoint.sha256, NETWORKS[name].side)


def _registered(name: str) -> Weighted:
    """Return what `spairc train` registered under this name.

    Raises:
        BadInput: If nothing is, or the weights are others by now.
    """
    run = registered(name)
    if run is None:
        raise BadInput(_where_to_get(name))
    checkpoint = read_checkpoint(run.checkpoint)
    if checkpoint.sha256 != run.sha256:
        raise BadInput(
            f"model {name!r}: {run.checkpoint} has changed since it was registered (its SHA-256 "
            f"is {checkpoint.sha256}, not {run.sha256}); train again or give --checkpoint FILE"
        )
    return _recorded(name, run.network, checkpoint)


def _recorded(name: str, wanted: Architecture, checkpoint: Checkpoint) -> Weighted:
    """Return the network that a training run's record tells of, with the run's weights.

    Raises:
        BadInput: If it is not of this architecture, or the weights do not fit it.
    """
    if _class_of(name) is not _class_of(wanted.name):
        raise BadInput(
            f"checkpoint {checkpoint.origin} does not fit {name}: it is a checkpoint of a "
            f"{wanted.name} that spairc train trained"
        )
    network = make_recorded(wanted)
    _load(network, checkpoint, name)
    return Weighted(network, checkpoint.sha256, wanted.side)


def _class_of(name: str) -> Callable[..., nn.Module]:
    """Return what makes a network, whatever settings it is given."""
    make = lookup(NETWORKS, name, "network").make
    return make.func if isinstance(make, partial) else make


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
