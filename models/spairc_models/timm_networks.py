"""Features by layer of any timm network, through its own intermediate features.

A layer is an index: of a block of a transformer, of a stage of a hierarchical network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spairc.lookup import lookup
from spairc.types import BadInput
from spairc_models.adapter import Execution, frozen
from spairc_models.backbone import (
    RANDOM,
    SIDE,
    Backbone,
    Wanted,
    built,
    check_name,
    checked,
    parse_layers,
)
from spairc_models.checkpoint import load_strictly, read_checkpoint, state_hash
from spairc_models.preprocessing import Preprocessing


def timm_backbone(name: str, wanted: Wanted, how: Execution) -> Backbone:
    """Return a timm network on its device.

    Features are taken before the network's last normalisation, as SD+DINO takes DINOv2's.

    Args:
        name: As timm calls it, with or without a version: "vit_small_patch14_dinov2.lvd142m".
        wanted: Layers, input and weights; versions of weights are in the name.
        how: Device and precision.

    Raises:
        BadInput: If timm is not installed, there is no such network, layer, side or checkpoint, or
            the weights cannot be fetched.
    """
    timm = _timm(name)
    if wanted.weights not in (None, RANDOM):
        raise BadInput(f"timm:{name}: versions of weights are in timm's names; write NAME.VERSION")
    config = timm.models.get_pretrained_cfg(name)
    native = config.input_size[-1] if config.fixed_input_size else None
    side = wanted.side or native or SIDE
    # A transformer's position embedding is resampled, and only where it must be.
    options = {} if native in (None, side) else {"dynamic_img_size": True}
    network = _new(timm, name, side, options)
    indices = _indices(network, name, parse_layers(wanted.layers))
    if wanted.checkpoint is not None:
        checkpoint = read_checkpoint(wanted.checkpoint)
        load_strictly(network, checkpoint, f"timm:{name}")
        weights = checkpoint.sha256
    else:
        network = network if wanted.weights == RANDOM else _published(timm, name, options)
        weights = state_hash(network)
    backbone = Backbone(
        name=f"timm:{name}",
        layers=tuple(map(str, indices)),
        preprocessing=Preprocessing(side, wanted.resize, tuple(config.mean), tuple(config.std)),
        weights=weights,
        maps=_Intermediates(frozen(network, how), indices),
    )
    return checked(backbone, how)


@dataclass(frozen=True, eq=False)
class Embedder:
    """A timm network that gives one embedding per picture, as CLIP's do."""

    network: Any
    side: int  # pixels
    mean: Tensor  # (3, 1, 1)
    std: Tensor

    @property
    def channels(self) -> int:
        """Of an embedding."""
        return int(self.network.num_classes)

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return (B, channels) of squares (B, 3, side, side) in [0, 1], of whatever side.

        They are resized as torchvision did tensors when CLIP's users wrote their programs:
        bicubically, without a filter against aliasing.
        """
        resized = functional.interpolate(pictures, (self.side, self.side), mode="bicubic")
        found: Tensor = self.network((resized - self.mean) / self.std)
        return found.float()


def timm_embedder(name: str, checkpoint: str | Path | None, how: Execution) -> tuple[Embedder, str]:
    """Return a timm network that embeds whole pictures, and the SHA-256 of its weights.

    Args:
        name: As timm calls it.
        checkpoint: Its weights; timm's own if not given.
        how: Device and precision.

    Raises:
        BadInput: As `timm_backbone`.
    """
    timm = _timm(name)
    config = timm.models.get_pretrained_cfg(name)
    if checkpoint is None:
        network = _published(timm, name, {})
        digest = state_hash(network)
    else:
        network = built(lambda: timm.create_model(name, pretrained=False))
        found = read_checkpoint(checkpoint)
        load_strictly(network, found, f"timm:{name}")
        digest = found.sha256
    mean, std = (
        torch.tensor(values, device=how.device).reshape(3, 1, 1)
        for values in (config.mean, config.std)
    )
    return Embedder(frozen(network, how), config.input_size[-1], mean, std), digest


class _Intermediates:
    """A timm network, asked for its own intermediate features."""

    def __init__(self, network: nn.Module, indices: Sequence[int]) -> None:
        self._network: Any = network
        self._indices = list(indices)

    def __call__(self, inputs: Tensor) -> list[Tensor]:
        """Return one (B, C, h, w) per layer."""
        return list(
            self._network.forward_intermediates(
                inputs,
                indices=self._indices,
                stop_early=True,
                output_fmt="NCHW",
                intermediates_only=True,
            )
        )


def _timm(name: str) -> Any:
    """Return the timm package, after a look whether it knows the network."""
    try:
        import timm  # noqa: PLC0415 -- an extra, and slow to import
    except ModuleNotFoundError:
        raise BadInput(f"timm:{name} needs timm; pip install 'spairc[timm]'") from None
    base, dot, _ = name.partition(".")
    check_name(base, timm.list_models(), "timm")
    if dot:
        versions = timm.list_models(f"{base}.*", pretrained=True)
        lookup(dict.fromkeys(versions), name, f"version of timm:{base}")
    return timm


def _new(timm: Any, name: str, side: int, options: Mapping[str, bool]) -> nn.Module:
    """Return the network with random weights, if it takes this side."""
    try:
        network: nn.Module = built(lambda: timm.create_model(name, pretrained=False, **options))
    except TypeError:
        if not options:
            raise
        raise BadInput(f"side {side}: timm:{name} takes its own side only; omit it") from None
    patch = getattr(getattr(network, "patch_embed", None), "patch_size", (1, 1))[0]
    if side % patch:
        nearest = max(1, round(side / patch)) * patch
        raise BadInput(
            f"side {side}: timm:{name} takes multiples of {patch}, the nearest is {nearest}"
        )
    if not hasattr(network, "forward_intermediates"):
        raise BadInput(f"timm:{name} does not give intermediate features; choose another network")
    return network


def _indices(network: Any, name: str, layers: Sequence[str]) -> list[int]:
    """Return which of the network's intermediate features to read, in ascending order.

    The default is the last block of a transformer, whose blocks are all of one stride, and the
    last two stages of anything else.
    """
    strides = [info["reduction"] for info in network.feature_info]
    count = len(strides)
    if not layers:
        return [count - 1] if len(set(strides)) == 1 else [count - 2, count - 1]
    given = {str(index): index % count for index in range(-count, count)}
    unknown = [layer for layer in layers if layer not in given]
    if unknown:
        raise BadInput(f"layer {unknown[0]!r}: the layers of timm:{name} are 0 to {count - 1}")
    return sorted({given[layer] for layer in layers})


def _published(timm: Any, name: str, options: Mapping[str, bool]) -> nn.Module:
    """Return the network with its published weights, fetched if they are not in the Hub's cache."""
    if not timm.list_models(f"{name.partition('.')[0]}.*", pretrained=True):
        raise BadInput(f"timm:{name} has no published weights; give --checkpoint FILE")
    try:
        network: nn.Module = timm.create_model(name, pretrained=True, **options)
    except OSError as error:  # every network and Hub error is an OSError
        raise BadInput(
            f"the weights of timm:{name} cannot be fetched ({type(error).__name__}); fetch "
            f"https://huggingface.co/timm/{name} where there is a network and give --checkpoint "
            f"its model.safetensors"
        ) from error
    return network
