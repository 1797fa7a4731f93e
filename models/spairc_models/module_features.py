"""Nearest features of a `torch.nn.Module` that somebody else made."""

import math
import threading
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from spairc.lookup import lookup
from spairc.types import BadInput
from spairc_models.adapter import Execution, TorchMatcher, execution, frozen
from spairc_models.backbone import SIDE, Backbone, Layers, checked, parse_layers
from spairc_models.checkpoint import load_strictly, read_checkpoint, state_hash
from spairc_models.nearest import backbone_matcher
from spairc_models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Mode, Preprocessing, Triple
from spairc_models.readout import readout_of

# Mean and standard deviation per channel, of values in [0, 1].
NORMALISATIONS: Mapping[str, tuple[Triple, Triple]] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # to [-1, 1]
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
_TOKENS, _PREFIXES = 3, 8  # dimensions of (B, tokens, C); class and register tokens at most
_OUTPUT = "output"  # in place of a layer, where none is named


def module_matcher(  # noqa: PLR0913 -- each is a setting of its own; all but two have a default
    network: nn.Module,
    name: str,
    *,
    checkpoint: str | Path | None = None,
    layers: Layers | None = None,
    side: int = SIDE,
    resize: Mode = "squash",
    interpolation: str = "bilinear",
    normalisation: str = "imagenet",
    readout: str = "window",
    window: int | None = None,
    temperature: float | None = None,
    device: str | None = None,
    precision: str = "float32",
    batch_size: int | None = None,
) -> TorchMatcher:
    """Return the nearest-feature matcher of a network that takes (B, 3, side, side) pictures.

    A layer gives a grid (B, C, rows, columns), or tokens (B, tokens, C) of a square grid behind
    up to 8 class and register tokens. Of a tuple or dict the first is read.

    Args:
        network: Takes the pictures.
        name: What tables call it.
        checkpoint: Its weights: a file, a folder, or hf://org/repo/file@revision.
        layers: Dotted names of its modules, "blocks.9,blocks.11"; its output if not given.
        side: Pixels of the square input.
        resize: "squash" or "pad".
        interpolation: "bilinear", "bicubic" or "lanczos".
        normalisation: "imagenet", "clip", "half" (to [-1, 1]) or "none" (to [0, 1]).
        readout: A key of `READOUTS`.
        window: Of a readout that has one.
        temperature: Of a readout that has one.
        device: "cpu", "cuda", "cuda:1"; None takes CUDA where there is one.
        precision: "float32" or "bfloat16".
        batch_size: Pictures in one forward pass.

    Raises:
        BadInput: If any of them is not to be had, or the network takes no such picture.
    """
    how = execution(device, precision, batch_size)
    chosen = readout_of(readout, window, temperature)
    mean, deviation = lookup(NORMALISATIONS, normalisation, "normalisation")
    preprocessing = Preprocessing(side, resize, mean, deviation, interpolation)
    backbone = _backbone(network, name, parse_layers(layers), preprocessing, checkpoint, how)
    return backbone_matcher(backbone, chosen, how, {"normalisation": normalisation})


def _backbone(
    network: nn.Module,
    name: str,
    layers: tuple[str, ...],
    preprocessing: Preprocessing,
    checkpoint: str | Path | None,
    how: Execution,
) -> Backbone:
    """Return the network on its device, with its weights, after a trial."""
    for layer in layers:
        _check_layer(network, layer, name)
    weights = _loaded(network, checkpoint, name)
    maps = _Read(frozen(network, how), layers)
    return _tried(Backbone(name, layers or (_OUTPUT,), preprocessing, weights, maps), how)


class _Read:
    """A network, read where its modules give something out."""

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        self._network = network
        self._layers = layers
        self._kept = threading.local()  # several threads may run the network at once
        for layer in layers:
            network.get_submodule(layer).register_forward_hook(partial(self._keep, layer))

    def __call__(self, inputs: Tensor) -> list[Any]:
        """Return one (B, C, h, w) per layer."""
        self._kept.maps = {}
        found = self._network(inputs)
        if not self._layers:
            return [as_grid(found)]
        return [as_grid(self._kept.maps.get(layer)) for layer in self._layers]

    def _keep(self, layer: str, _module: nn.Module, _inputs: object, output: object) -> None:
        """Keep what a module gave out; a network that is run in between keeps nothing."""
        if hasattr(self._kept, "maps"):
            self._kept.maps[layer] = output


def as_grid(output: object) -> object:
    """Return what a module gave out as (B, C, rows, columns), as far as it is a grid or tokens."""
    while isinstance(output, Mapping | tuple | list) and output:
        output = next(iter(output.values() if isinstance(output, Mapping) else output))
    if not isinstance(output, Tensor) or output.ndim != _TOKENS:
        return output
    side = math.isqrt(output.shape[1])
    prefixes = output.shape[1] - side**2
    if prefixes > _PREFIXES:
        return output
    return output[:, prefixes:].transpose(1, 2).reshape(len(output), -1, side, side)


def _check_layer(network: nn.Module, layer: str, name: str) -> None:
    """Raise BadInput unless the network has such a module."""
    known = [each for each, _ in network.named_modules() if each]
    if layer not in known:
        near = get_close_matches(layer, known, n=1)
        own = ", ".join(each for each, _ in network.named_children())
        advice = f"did you mean {near[0]!r}?" if near else f"its modules are {own} and theirs"
        raise BadInput(f"{name} has no layer {layer!r}; {advice}")


def _loaded(network: nn.Module, checkpoint: str | Path | None, name: str) -> str:
    """Load the checkpoint, if there is one; return the hash of the weights."""
    if checkpoint is None:
        return state_hash(network)
    found = read_checkpoint(checkpoint)
    load_strictly(network, found, name)
    return found.sha256


def _tried(backbone: Backbone, how: Execution) -> Backbone:
    """Return the backbone after one pass of a black picture through it.

    Raises:
        BadInput: If the network cannot take such a picture, or a layer has no grid of features.
    """
    try:
        return checked(backbone, how)
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        raise BadInput(
            f"{backbone.name} takes no picture of side {backbone.preprocessing.side} ({error}); "
            f"give another --input-side"
        ) from error
