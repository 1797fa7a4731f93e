"""Networks that `spairc train` trained: where their weights are, and what they are made of.

Its runs hold `recipe.json` beside the weights, and a finished run is registered under its model's
name in the user's cache, as `trained/NAME.json`. Either tells the network: its trunk and its
sizes need not be the published ones, and tensors do not tell all of them.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spairc.files import cache_folder
from spairc.lookup import lookup
from spairc.types import BadInput
from spairc_models.cats import CATs
from spairc_models.cats import Settings as CATsSettings
from spairc_models.catspp import CATsPlusPlus
from spairc_models.catspp import Settings as CATsPlusPlusSettings
from spairc_models.flow import TEMPERATURE
from spairc_models.mobilenet import MobileNet
from spairc_models.resnet import RESNET_101, ResNet
from spairc_models.scorrsan import CELLS, SCorrSAN

RECIPE = "recipe.json"  # in a run's folder


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What a network in training is made of."""

    name: str  # a key of `MAKERS`
    side: int  # pixels of the input
    cells: int  # along a side of the flow
    trunk: str = "resnet"  # a key of `TRUNKS`
    blocks: tuple[int, ...] = RESNET_101  # bottlenecks of a ResNet's stages
    width: int = 64  # of a ResNet
    layers: tuple[int, ...] = ()  # of the trunk: those that CATs reads, SCorrSAN's one
    temperature: float = TEMPERATURE  # of the soft-argmax; another one is for CATs alone

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Architecture":
        """Return the part of a recipe's network that matters here.

        Raises:
            BadInput: If there is no name, side or number of cells.
        """
        known = {field.name for field in fields(cls)}
        lacking = {"name", "side", "cells"} - record.keys()
        if lacking:
            raise BadInput(f"the record of a trained network lacks {', '.join(sorted(lacking))}")
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value  # JSON has no tuples
            for key, value in record.items()
            if key in known
        }
        return cls(**given)


@dataclass(frozen=True)
class Registered:
    """A finished run of `spairc train` that a model's name stands for."""

    checkpoint: Path
    sha256: str
    network: Architecture


TRUNKS: Mapping[str, Callable[[Architecture], Any]] = {
    "resnet": lambda wanted: ResNet(wanted.blocks, width=wanted.width),
    "mobilenet_v2": lambda _: MobileNet(),
}


def _cats(wanted: Architecture) -> nn.Module:
    """Return a CATs."""
    settings = CATsSettings(
        hyperpixels=wanted.layers, cells=wanted.cells, temperature=wanted.temperature
    )
    return CATs(settings, TRUNKS[wanted.trunk](wanted), side=wanted.side)


def _catspp(wanted: Architecture) -> nn.Module:
    """Return a CATs++, whose trunk is a ResNet."""
    if wanted.trunk != "resnet":
        raise BadInput(f"network.trunk: catspp reads the stages of a resnet, not {wanted.trunk}")
    return CATsPlusPlus(
        CATsPlusPlusSettings(cells=wanted.cells),
        blocks=wanted.blocks,
        width=wanted.width,
        side=wanted.side,
    )


def _scorrsan(wanted: Architecture) -> nn.Module:
    """Return a SCorrSAN, whose class makes no other number of cells."""
    if len(wanted.layers) != 1 or wanted.cells != CELLS:
        raise BadInput(f"network: scorrsan reads one layer and answers on {CELLS} cells a side")
    trunk = TRUNKS[wanted.trunk](wanted)
    return SCorrSAN(backbone=trunk, layer=wanted.layers[0], side=wanted.side)


MAKERS: Mapping[str, Callable[[Architecture], nn.Module]] = {
    "cats": _cats,
    "catspp": _catspp,
    "scorrsan": _scorrsan,
}


def make_recorded(wanted: Architecture, seed: int = 0) -> nn.Module:
    """Return a network with fresh weights, in evaluation mode.

    Args:
        wanted: What it is made of.
        seed: Of the weights; torch's own stream of random numbers is left as it was.

    Raises:
        BadInput: If there is no such network or trunk, or the trunk has no such layer.
    """
    make = lookup(MAKERS, wanted.name, "network in training")
    with torch.device("meta"):  # numbers, no memory
        last = len(lookup(TRUNKS, wanted.trunk, "trunk")(wanted).channels) - 1
    if wanted.temperature != TEMPERATURE and wanted.name != "cats":
        raise BadInput(
            f"network.temperature {wanted.temperature}: {wanted.name} reads its flow at "
            f"{TEMPERATURE}; only cats can be told another"
        )
    beyond = [layer for layer in wanted.layers if not 0 <= layer <= last]
    if beyond and wanted.name != "catspp":
        raise BadInput(f"network.layers: {beyond} of a trunk whose last is {last}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make(wanted).eval()


def registered_names() -> tuple[str, ...]:
    """Return the models that runs of `spairc train` were registered as."""
    return tuple(sorted(each.stem for each in (cache_folder() / "trained").glob("*.json")))


def registered(model: str) -> Registered | None:
    """Return the run that was registered under this name; None if there is none.

    Raises:
        BadInput: If its entry is damaged, or its weights are no longer there.
    """
    entry = cache_folder() / "trained" / f"{model}.json"
    if not entry.is_file():
        return None
    told = _read(entry)
    try:
        checkpoint, digest, network = told["checkpoint"], told["sha256"], told["network"]
    except KeyError as error:
        raise BadInput(f"{entry} lacks {error}; remove it, or give --checkpoint FILE") from None
    if not _is_file(checkpoint):
        raise BadInput(
            f"model {model!r} was trained, but {checkpoint} is gone; train again, give "
            f"--checkpoint FILE, or remove {entry}"
        )
    return Registered(Path(checkpoint), digest, Architecture.of(network))


def recorded_beside(weights: Path) -> Architecture | None:
    """Return what a training run's folder says of its network; None if there is no such record.

    Args:
        weights: A file in the run's folder or, as `best/generation-2.safetensors`, one below.

    Raises:
        BadInput: If the record is damaged.
    """
    records = [folder / RECIPE for folder in list(weights.resolve().parents)[:2]]
    path = next((each for each in records if each.is_file()), None)
    if path is None:
        return None
    network = _read(path).get("recipe", {}).get("network")
    return None if network is None else Architecture.of(network)


def _is_file(name: object) -> bool:
    """Return whether a name out of a record is a file's."""
    try:
        return isinstance(name, str) and Path(name).is_file()
    except (OSError, ValueError):  # far too long, or with a NUL
        return False


def _read(path: Path) -> dict[str, Any]:
    """Return a JSON file's table."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} is damaged ({error}); remove it") from None
    if not isinstance(content, dict):
        raise BadInput(f"{path} is damaged (no table); remove it")
    return content
