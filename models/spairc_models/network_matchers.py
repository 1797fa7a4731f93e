"""The published networks as matchers: encode a picture once, match pairs, in original pixels.

Points: the programs keep what they are given in float32, multiply it by the float32 ratio of the
sides, and only then cut it to whole pixels (the CATs family) or read the cells around it (CHM,
TransforMatcher). A point on the edge of a pixel depends on that, so it is done here as well.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spairc.lookup import lookup
from spairc.types import BadInput, Points, Query
from spairc_models.adapter import (
    Execution,
    TorchMatcher,
    as_compiled,
    batches,
    details_of,
    execution,
    frozen,
    one_thread_each,
    running,
)
from spairc_models.catspp import CATsPlusPlus
from spairc_models.checkpoint import Checkpoint, load_strictly, read_checkpoint
from spairc_models.cnngeo import Stages
from spairc_models.networks import (
    NETWORKS,
    Weighted,
    Weights,
    load_network,
    weighted_network,
)
from spairc_models.preprocessing import Preprocessing
from spairc_models.vat import VAT
from spairc_models.workspace import Workspace

PAIRS_AT_ONCE = {"cpu": 1, "cuda": 8}  # on a CPU each thread has a pair of its own


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
    compiled: bool = False,
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
        compiled: Whether to encode pictures by torch.compile (`adapter.as_compiled`).

    Raises:
        BadInput: If any of them is not to be had, or the checkpoint is of another network.
    """
    known: dict[str, Any] = {"hyperpixels": _layers(hyperpixels), "heads": heads}
    settings = lookup(NETWORKS, name, "network").settings
    wanted = Weights(checkpoint, weights, partial(settings, **known))
    how = replace(execution(device, precision, batch_size), compiled=compiled)
    return _matcher(name, wanted, how)


def network_matcher(
    name: str,
    *,
    checkpoint: str | Path | None = None,
    weights: str | None = None,
    device: str | None = None,
    precision: str = "float32",
    batch_size: int | None = None,
    compiled: bool = False,
) -> TorchMatcher:
    """Return a published network as a matcher.

    CATs++, SCorrSAN and VAT cut given points to whole pixels of their square and read their flow as
    CATs does; TransforMatcher and CHM mix the answers of the cells near a point (`transfer`).
    WeakAlign, NC-Net and DHPF have readouts and inputs of their own, which their modules tell.

    Args:
        name: An entry of `NETWORKS`.
        checkpoint: Its weights: a file, a folder, or hf://org/repo/file@revision.
        weights: Instead of a checkpoint "random", for tests and timings.
        device: "cpu", "cuda", "cuda:1"; None takes CUDA where there is one.
        precision: "float32", or "bfloat16" for autocast.
        batch_size: Pictures in one forward pass.
        compiled: Whether to encode pictures by torch.compile (`adapter.as_compiled`).

    Raises:
        BadInput: If any of them is not to be had, or the checkpoint is of another network.
    """
    wanted = Weights(checkpoint, weights, lookup(NETWORKS, name, "network").settings)
    how = replace(execution(device, precision, batch_size), compiled=compiled)
    return _matcher(name, wanted, how)


def staged_matcher(
    name: str,
    *,
    checkpoint: str | Path | None = None,
    second: str | Path | None = None,
    weights: str | None = None,
    device: str | None = None,
    precision: str = "float32",
    batch_size: int | None = None,
) -> TorchMatcher:
    """Return a CNNGeo as a matcher: affine, thin plate, or one after the other.

    A checkpoint tells by its shapes which of the two it is.

    Args:
        name: An entry of `NETWORKS`.
        checkpoint: Its weights: a file, a folder, or hf://org/repo/file@revision.
        second: Those of the network that sees what the first one left, as published the thin plate.
        weights: Instead of a checkpoint "random", for tests and timings.
        device: "cpu", "cuda", "cuda:1"; None takes CUDA where there is one.
        precision: "float32", or "bfloat16" for autocast.
        batch_size: Pictures in one forward pass.

    Raises:
        BadInput: If any of them is not to be had, or a checkpoint is of another network.
    """
    settings = lookup(NETWORKS, name, "network").settings
    how = execution(device, precision, batch_size)
    coarse = weighted_network(name, Weights(checkpoint, weights, settings))
    if second is None:
        return _ready(name, coarse, how)
    fine = weighted_network(name, Weights(second, None, settings))
    both = Stages(coarse.network, fine.network)
    return _ready(name, Weighted(both, f"{coarse.weights}, {fine.weights}", coarse.side), how)


def gated_matcher(
    name: str,
    *,
    checkpoint: str | Path | None = None,
    trunk: str | Path | None = None,
    weights: str | None = None,
    device: str | None = None,
    precision: str = "float32",
    batch_size: int | None = None,
) -> TorchMatcher:
    """Return a DHPF as a matcher; its published files hold all but the trunk.

    Args:
        name: An entry of `NETWORKS`.
        checkpoint: Its weights: a file, a folder, or hf://org/repo/file@revision.
        trunk: Those of ImageNet's ResNet-101 as torchvision has them, where the checkpoint has
            none of it.
        weights: Instead of a checkpoint "random", for tests and timings.
        device: "cpu", "cuda", "cuda:1"; None takes CUDA where there is one.
        precision: "float32", or "bfloat16" for autocast.
        batch_size: Pictures in one forward pass.

    Raises:
        BadInput: If any of them is not to be had, or the checkpoint is of another network.
    """
    how = execution(device, precision, batch_size)
    if trunk is None:
        settings = lookup(NETWORKS, name, "network").settings
        return _matcher(name, Weights(checkpoint, weights, settings), how)
    if checkpoint is None:
        raise BadInput(f"trunk {trunk} is half of a checkpoint; give --checkpoint FILE as well")
    halves = [read_checkpoint(where) for where in (trunk, checkpoint)]
    joined = Checkpoint(
        state={**halves[0].state, **halves[1].state},
        sha256=", ".join(half.sha256 for half in halves),
        origin=f"{checkpoint} with {trunk}",
    )
    network = load_network(name)
    load_strictly(network, joined, name)
    return _ready(name, Weighted(network, joined.sha256, NETWORKS[name].side), how)


# What `spairc_models.MODELS` points at.
cats = partial(cats_matcher, "cats")
catspp = partial(network_matcher, "catspp")
scorrsan = partial(network_matcher, "scorrsan")
transformatcher = partial(network_matcher, "transformatcher")
chm = partial(network_matcher, "chm")
semimatch_cats = partial(cats_matcher, "semimatch-cats")
matchme_cats = partial(cats_matcher, "matchme-cats")
matchme_catspp = partial(network_matcher, "matchme-catspp")
cnngeo = partial(staged_matcher, "cnngeo")
weakalign = partial(network_matcher, "weakalign")
ncnet = partial(network_matcher, "ncnet")
dhpf = partial(gated_matcher, "dhpf")
vat = partial(network_matcher, "vat")


def matcher_of(
    name: str,
    network: Any,
    how: Execution,
    *,
    side: int,
    weights: str,
    preprocess: Callable[[int], Preprocessing] = Preprocessing,
) -> TorchMatcher:
    """Return a network that is at hand as a matcher; also one in training, between its steps.

    The network is used as it is: on its device, in evaluation mode.

    Args:
        name: What the matcher is called.
        network: Has `encode_features` and `match_points`, as those of `NETWORKS` do.
        how: How it is run, on its own device.
        side: Pixels of its square input.
        weights: What a run's record says of them: SHA-256, or where they are from.
        preprocess: Makes its input of that side.
    """
    preprocessing = preprocess(side)
    return TorchMatcher(
        name=name,
        preprocessing=preprocessing,
        how=how,
        features=partial(_encode, as_compiled(network.encode_features, how, side)),
        find=partial(_find, network, how, side),
        details=details_of(how, preprocessing, weights),
    )


def _matcher(name: str, wanted: Weights, how: Execution) -> TorchMatcher:
    """Return the matcher of a published architecture."""
    return _ready(name, weighted_network(name, wanted), how)


def _ready(name: str, found: Weighted, how: Execution) -> TorchMatcher:
    """Return the matcher of a network that has its weights."""
    return matcher_of(
        name,
        frozen(found.network, how),
        how,
        side=found.side,
        weights=found.weights,
        preprocess=NETWORKS[name].preprocessing,
    )


def _layers(given: str | Sequence[int] | None) -> tuple[int, ...] | None:
    """Return layer numbers from what a user gave; None if that was nothing."""
    if given is None:
        return None
    parts = [part.strip() for part in given.split(",")] if isinstance(given, str) else given
    if not parts or not all(str(part).isdecimal() for part in parts):
        raise BadInput(f"hyperpixels {given!r}: write the numbers of layers as 0,8,20")
    return tuple(int(part) for part in parts)


def _encode(encode: Callable[[Tensor], Any], pictures: Tensor) -> list[tuple[Tensor, ...]]:
    """Return one tuple of tensors per picture, each with a first axis of one."""
    encoded = encode(pictures)
    return [tuple(part[i : i + 1] for part in encoded) for i in range(len(pictures))]


def _find(network: Any, how: Execution, side: int, queries: Sequence[Query]) -> list[Points]:
    """Return every query's answer in the target's square; it depends on nothing else asked."""
    # These work pair by pair anyway, and 272 MB of features a pair are better not joined.
    one_by_one = isinstance(network, CATsPlusPlus | VAT)
    groups = list(batches(queries, 1 if one_by_one else PAIRS_AT_ONCE[how.device.type]))
    memory = _Memory()

    def answered(group: Sequence[Query]) -> list[Points]:
        with running(how):
            return _answers(network, group, _padded(group, side).to(how.device), memory)

    if how.device.type != "cpu":
        return [each for group in groups for each in answered(group)]
    with one_thread_each() as count, ThreadPoolExecutor(count) as pool:
        return [each for found in pool.map(answered, groups) for each in found]


class _Memory(threading.local):
    """What the pairs of one thread have in common."""

    def __init__(self) -> None:
        self.workspace = Workspace()


def _answers(
    network: Any, queries: Sequence[Query], points: Tensor, memory: _Memory
) -> list[Points]:
    """Return the answers of one batch of queries whose points are padded to one length."""
    first = _joined([query.source for query in queries])
    second = _joined([query.target for query in queries])
    if isinstance(network, CATsPlusPlus | VAT):
        found = network.match_points(first, second, points, memory.workspace)
    else:
        found = network.match_points(first, second, points)
    answers = found.double().cpu().numpy()
    return [part[: len(query.points)] for part, query in zip(answers, queries, strict=True)]


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
