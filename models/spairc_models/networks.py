"""The published networks by name: fresh ones for training, matchers with trained weights.

To add one: a module whose class has `encode_features` (pictures to what all their pairs need) and
`match_points` (two of those and points to points), a line in `NETWORKS`, one in
`spairc_models.MODELS`, and its tests.

Points: the programs keep what they are given in float32, multiply it by the float32 ratio of the
sides, and only then cut it to whole pixels (the CATs family) or read the cells around it (CHM,
TransforMatcher). A point on the edge of a pixel depends on that, so it is done here as well.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from spairc.lookup import lookup
from spairc.types import BadInput, Points, Query
from spairc_models import MODELS
from spairc_models.adapter import Execution, TorchMatcher, batches, details_of, execution, frozen
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
from spairc_models.preprocessing import Preprocessing
from spairc_models.scorrsan import INPUTS, SCorrSAN
from spairc_models.transformatcher import TransforMatcher
from spairc_models.workspace import Workspace

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]  # of tensors, by name
Settings: TypeAlias = Mapping[str, Any]  # keyword arguments of a network

PAIRS_AT_ONCE = {"cpu": 1, "cuda": 8}  # on a CPU more gain nothing and need more memory


@dataclass(frozen=True)
class Network:
    """A published architecture."""

    side: int  # pixels of the square input
    make: Callable[..., nn.Module]  # takes the settings
    settings: Callable[[Shapes], Settings]  # what a checkpoint of it was made with


@dataclass(frozen=True)
class Wanted:
    """Which weights, run how; as a user gave them."""

    checkpoint: str | Path | None
    weights: str | None
    how: Execution


def _only(_: Shapes) -> Settings:
    """Return no settings: all published checkpoints of the network are made alike."""
    return {}


def _cats_settings(shapes: Shapes, **known: Any) -> Settings:
    """Return the settings of a CATs checkpoint; none if it is of another network."""
    return {"settings": settings_of(shapes, **known)} if "proj.0.weight" in shapes else {}


def _scorrsan_settings(shapes: Shapes) -> Settings:
    """Return the settings of a SCorrSAN checkpoint; none if it is of another network."""
    weight = shapes.get("SCEs.0.conv.weight")
    return {"outputs": weight[0], "reach": (weight[1] - INPUTS) // 4} if weight else {}


_CATS = Network(256, CATs, _cats_settings)
_CATSPP = Network(512, CATsPlusPlus, _only)
NETWORKS: Mapping[str, Network] = {
    "cats": _CATS,
    "cats-pfpascal": Network(256, partial(CATs, PRESETS["pfpascal"]), _only),
    "catspp": _CATSPP,
    "scorrsan": Network(256, SCorrSAN, _scorrsan_settings),
    "transformatcher": Network(240, TransforMatcher, _only),
    "chm": Network(240, CHM, _only),
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


def cats_matcher(  # noqa: PLR0913 -- each is a setting of its own; all but one have a default
    name: str,
    *,
    checkpoint: str | Path | None = None,
    weights: str | None = None,
    hyperpixels: str | Sequence[int] | None = None,
    heads: int | None = None,
    device: str | None = None,
    precision: str = "float32",
    batch_size: int | None = None,
) -> TorchMatcher:
    """Return a CATs, whoever trained it, as a matcher.

    Given points are cut to whole pixels of the 256 x 256 square; the flow of 16 x 16 cells is read
    as if it were enlarged bilinearly, pixel centres at halves (`flow.reading_of`).

    Args:
        name: An entry of `NETWORKS`.
        checkpoint: Its weights: a file, a folder, or hf://org/repo/file@revision.
        weights: Instead of a checkpoint "random", for tests and timings.
        hyperpixels: Which layers it reads, "0,8,20", where it is neither of the published ones.
        heads: Of its attention, where they are not the published six.
        device: "cpu", "cuda", "cuda:1"; None takes CUDA where there is one.
        precision: "float32", or "bfloat16" for autocast.
        batch_size: Pictures in one forward pass.

    Raises:
        BadInput: If any of them is not to be had, or the checkpoint is of another network.
    """
    known: dict[str, Any] = {"hyperpixels": _layers(hyperpixels), "heads": heads}
    wanted = Wanted(checkpoint, weights, execution(device, precision, batch_size))
    return _matcher(name, wanted, partial(_cats_settings, **known))


def network_matcher(
    name: str,
    *,
    checkpoint: str | Path | None = None,
    weights: str | None = None,
    device: str | None = None,
    precision: str = "float32",
    batch_size: int | None = None,
) -> TorchMatcher:
    """Return a published network as a matcher.

    CATs++ and SCorrSAN cut given points to whole pixels of their square and read their flow as
    CATs does; TransforMatcher and CHM mix the answers of the cells near a point (`transfer`).

    Args:
        name: An entry of `NETWORKS`.
        checkpoint: Its weights: a file, a folder, or hf://org/repo/file@revision.
        weights: Instead of a checkpoint "random", for tests and timings.
        device: "cpu", "cuda", "cuda:1"; None takes CUDA where there is one.
        precision: "float32", or "bfloat16" for autocast.
        batch_size: Pictures in one forward pass.

    Raises:
        BadInput: If any of them is not to be had, or the checkpoint is of another network.
    """
    wanted = Wanted(checkpoint, weights, execution(device, precision, batch_size))
    return _matcher(name, wanted, lookup(NETWORKS, name, "network").settings)


# What `spairc_models.MODELS` points at.
cats = partial(cats_matcher, "cats")
catspp = partial(network_matcher, "catspp")
scorrsan = partial(network_matcher, "scorrsan")
transformatcher = partial(network_matcher, "transformatcher")
chm = partial(network_matcher, "chm")
semimatch_cats = partial(cats_matcher, "semimatch-cats")
matchme_cats = partial(cats_matcher, "matchme-cats")
matchme_catspp = partial(network_matcher, "matchme-catspp")


def _matcher(name: str, wanted: Wanted, settings: Callable[[Shapes], Settings]) -> TorchMatcher:
    """Return the matcher of a network whose settings come from its checkpoint's shapes."""
    network, weights = _loaded(name, wanted, settings)
    network = frozen(network, wanted.how)
    preprocessing = Preprocessing(NETWORKS[name].side)
    return TorchMatcher(
        name=name,
        preprocessing=preprocessing,
        how=wanted.how,
        features=partial(_encode, network),
        find=partial(_find, network, wanted.how, preprocessing.side),
        details=details_of(wanted.how, preprocessing, weights),
    )


def _loaded(
    name: str, wanted: Wanted, settings: Callable[[Shapes], Settings]
) -> tuple[nn.Module, str]:
    """Return the network with its weights, and what they are called in a record."""
    if wanted.checkpoint is not None and wanted.weights is not None:
        raise BadInput("give either a checkpoint or weights, not both")
    if wanted.weights == RANDOM:
        network = load_network(name)
        return network, f"random {state_hash(network)}"
    if wanted.weights is not None:
        raise BadInput(f"weights {wanted.weights!r}: {name} knows {RANDOM!r} only, or a checkpoint")
    if wanted.checkpoint is None:
        raise BadInput(_where_to_get(name))
    checkpoint = read_checkpoint(wanted.checkpoint)
    network = load_network(name, **settings(_shapes(checkpoint.state)))
    _load(network, checkpoint, name)
    return network, checkpoint.sha256


def _load(network: nn.Module, checkpoint: Checkpoint, name: str) -> None:
    """Load strictly; a checkpoint that does not fit is told which network it does fit.

    Raises:
        BadInput: If it does not fit.
    """
    try:
        load_strictly(network, checkpoint, name)
    except BadInput as error:
        fitting = fitting_network(checkpoint)
        advice = f"it is one of {fitting}" if fitting else "it is of no network known here"
        raise BadInput(f"{error}; {advice}") from None


def fitting_network(checkpoint: Checkpoint) -> str | None:
    """Return the first network that has just these tensors; None if there is none."""
    shapes = _shapes(checkpoint.state)
    for name, network in NETWORKS.items():
        made = network.make(**network.settings(shapes))
        if mismatch(_shapes(made.state_dict()), shapes) is None:
            return name
    return None


def _where_to_get(name: str) -> str:
    """Return what to do for the weights of a network."""
    model = MODELS[name]
    public = f"they are at {model.weights}" if model.weights else "they are not public"
    training = f", or train them with spairc train {model.recipe}" if model.recipe else ""
    return f"model {name!r} needs weights, and {public}: give --checkpoint FILE{training}"


def _shapes(state: Mapping[str, Tensor]) -> Shapes:
    """Return the shape of every tensor."""
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def _layers(given: str | Sequence[int] | None) -> tuple[int, ...] | None:
    """Return layer numbers from what a user gave; None if that was nothing."""
    if given is None:
        return None
    parts = [part.strip() for part in given.split(",")] if isinstance(given, str) else given
    if not all(str(part).isdecimal() for part in parts) or not parts:
        raise BadInput(f"hyperpixels {given!r}: write the numbers of layers as 0,8,20")
    return tuple(int(part) for part in parts)


def _encode(network: Any, pictures: Tensor) -> list[tuple[Tensor, ...]]:
    """Return one tuple of tensors per picture, each with a first axis of one."""
    encoded = network.encode_features(pictures)
    return [tuple(part[i : i + 1] for part in encoded) for i in range(len(pictures))]


def _find(network: Any, how: Execution, side: int, queries: Sequence[Query]) -> list[Points]:
    """Return every query's answer in the target's square."""
    match = network.match_points
    if isinstance(network, CATsPlusPlus):
        match = partial(match, memory=Workspace())
    found: list[Points] = []
    for block in batches(queries, PAIRS_AT_ONCE[how.device.type]):
        first = _joined([query.source for query in block])
        second = _joined([query.target for query in block])
        answers = match(first, second, _padded(block, side).to(how.device)).double().cpu().numpy()
        found += [part[: len(query.points)] for part, query in zip(answers, block, strict=True)]
    return found


def _joined(features: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Return the features of several pictures as one batch; those of one are not copied."""
    if len(features) == 1:
        return features[0]
    return tuple(torch.cat(parts) for parts in zip(*features, strict=True))


def _padded(queries: Sequence[Query], side: int) -> Tensor:
    """Return (B, N, 2) float32 points in the source's square, with zeros past a query's own."""
    points = np.zeros((len(queries), max(len(query.points) for query in queries), 2), np.float32)
    for row, query in zip(points, queries, strict=True):
        ratio = side / np.array(query.source_size, dtype=np.float64)
        original = (query.points / ratio).astype(np.float32)
        row[: len(original)] = original * ratio.astype(np.float32)
    return torch.from_numpy(points)
