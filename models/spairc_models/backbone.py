"""A network that is read at some of its layers, and what a user may say of it.

`torchvision_networks` and `timm_networks` make them. To add a collection of networks: a file
with a function `(name, wanted, how) -> Backbone`, a line in `nearest.COLLECTIONS` and one in
`spairc_models.COLLECTIONS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from spairc.types import BadInput
from spairc_models.adapter import Execution, running
from spairc_models.preprocessing import Mode, Preprocessing

Layers: TypeAlias = str | int | Sequence[str | int]  # "13,16" or [13, 16] or "layer3.5"
Network = TypeVar("Network", bound=nn.Module)

RANDOM = "random"  # weights that tell nothing, for tests: the same ones every time
SIDE = 256  # pixels; 320 costs 1.5 times as much, for 0.4 PCK@0.1 more with mobilenet_v2


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network that is read at some of its layers."""

    name: str  # "torchvision:mobilenet_v2"
    layers: tuple[str, ...]
    preprocessing: Preprocessing
    weights: str  # SHA-256 of the file, or of the tensors where no file was named
    maps: Callable[[Tensor], Sequence[Tensor]]  # (B, 3, side, side) -> (B, C, h, w) per layer
    channels: tuple[int, ...] = ()  # of each layer, as `checked` finds them


@dataclass(frozen=True)
class Wanted:
    """What a user may say of a backbone; None takes the network's own.

    Raises:
        BadInput: If both a checkpoint and weights are given.
    """

    layers: Layers | None = None
    side: int | None = None  # pixels
    resize: Mode = "squash"
    checkpoint: str | Path | None = None
    weights: str | None = None  # a published version, "IMAGENET1K_V2"; or RANDOM

    def __post_init__(self) -> None:
        if self.checkpoint is not None and self.weights is not None:
            raise BadInput("give either a checkpoint or weights, not both")


def parse_layers(layers: Layers | None) -> tuple[str, ...]:
    """Return the layers' names, each once, in the order given.

    Raises:
        BadInput: If one is empty.
    """
    if layers is None:
        return ()
    parts = layers.split(",") if isinstance(layers, str) else layers
    names = [str(part).strip() for part in ([parts] if isinstance(parts, int) else parts)]
    if not names or not all(names):
        raise BadInput(f"layers {layers!r}: write them as 13,16 or layer3,layer4")
    return tuple(dict.fromkeys(names))


def check_name(name: str, known: Sequence[str], collection: str) -> None:
    """Raise BadInput unless the collection has a network of this name; it has too many to list."""
    if name not in known:
        near = get_close_matches(name, known, n=1)
        advice = f"did you mean {near[0]!r}?" if near else "its list_models() tells what there is"
        raise BadInput(f"no {collection} network is called {name!r}; {advice}")


def checked(backbone: Backbone, how: Execution) -> Backbone:
    """Return the backbone after one pass of a black picture through it.

    Raises:
        BadInput: If a layer has no grid of features.
    """
    side = backbone.preprocessing.side
    with running(how):
        maps = backbone.maps(torch.zeros(1, 3, side, side, device=how.device))
    for layer, found in zip(backbone.layers, maps, strict=True):
        if not isinstance(found, Tensor) or found.ndim != 4:  # noqa: PLR2004 -- B, C, h, w
            raise BadInput(
                f"layer {layer!r} of {backbone.name} has no grid of features; choose another"
            )
    return replace(backbone, channels=tuple(found.shape[1] for found in maps))


def built(make: Callable[[], Network]) -> Network:
    """Return a new network; its random weights are the same ones every time."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return make()
