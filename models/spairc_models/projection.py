"""The network by which GeoAware-SC and DIY-SC adapt frozen features to matching.

Zhang et al., "Telling left from right" (CVPR 2024), after ODISE: each kind of features passes one
bottleneck block, and their weighted sum is what is compared. DIY-SC (Dünkel et al., ICCV 2025)
trains the same network on matches that it finds itself; its file for DINOv2 alone is loaded here.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from spairc.types import BadInput
from spairc_models import MODELS
from spairc_models.adapter import TorchMatcher, execution, frozen
from spairc_models.backbone import RANDOM, Wanted, built
from spairc_models.checkpoint import load_strictly, read_checkpoint, state_hash
from spairc_models.nearest import backbone_matcher
from spairc_models.readout import readout_of
from spairc_models.timm_networks import timm_backbone

DINOV2 = "vit_base_patch14_dinov2.lvd142m"
_LAYER, _SIDE = 11, 840  # the last block's tokens, 60 x 60 of them
_GROUPS = 32  # of channels that are normalised together


class Normalised(nn.Conv2d):
    """A convolution without bias and the normalisation after it; the size stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(_GROUPS, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, h, w)."""
        normalised: Tensor = self.norm(super().forward(features))
        return normalised


class Block(nn.Module):
    """A bottleneck with a way past it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        width = outputs // 4
        self.shortcut = Normalised(inputs, outputs, 1) if inputs != outputs else None
        self.conv1 = Normalised(inputs, width, 1)
        self.conv2 = Normalised(width, width, 3)
        self.conv3 = Normalised(width, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, h, w)."""
        inner = self.conv2(self.conv1(features).relu()).relu()
        past: Tensor = features if self.shortcut is None else self.shortcut(features)
        summed: Tensor = past + self.conv3(inner)
        return summed.relu()


class Projection(nn.Module):
    """The network under the key names of the published files.

    Args:
        channels: Of each kind of features: 640, 1280, 1280 and 768 for GeoAware-SC (three levels
            of Stable Diffusion, DINOv2), 768 for DIY-SC on DINOv2.
        outputs: Channels of the result.
    """

    def __init__(self, channels: Sequence[int] = (768,), outputs: int = 768) -> None:
        super().__init__()
        self.bottleneck_layers = nn.ModuleList(
            nn.Sequential(Block(each, outputs)) for each in channels
        )
        self.mixing_weights = nn.Parameter(torch.ones(len(channels)))
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())  # of the training's losses
        self.self_logit_scale = nn.Parameter(torch.tensor(10.0).log())
        self._channels = list(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, h, w).

        Args:
            features: (B, channels, h, w), one kind after the other.
        """
        kinds = torch.split(features, self._channels, dim=1)
        shares = self.mixing_weights.softmax(dim=0)
        return torch.stack(
            [
                share * block(kind)
                for share, block, kind in zip(shares, self.bottleneck_layers, kinds, strict=True)
            ]
        ).sum(dim=0)


def diy_sc_matcher(  # noqa: PLR0913 -- each is a setting of its own; all have a default
    *,
    checkpoint: str | Path | None = None,
    weights: str | None = None,
    network: str = DINOV2,
    network_checkpoint: str | Path | None = None,
    side: int = _SIDE,
    device: str | None = None,
    precision: str = "float32",
    batch_size: int | None = None,
) -> TorchMatcher:
    """Return DIY-SC on DINOv2: adapted tokens, window soft-argmax as in GeoAware-SC.

    Args:
        checkpoint: The adapter's file; see `spairc_models.MODELS`.
        weights: Instead of it "random", for tests and timings, of both networks.
        network: The timm network below, which has 768 channels.
        network_checkpoint: Its weights; timm's own if not given.
        side: Pixels of the padded input.
        device: "cpu", "cuda", "cuda:1"; None takes CUDA where there is one.
        precision: "float32" or "bfloat16".
        batch_size: Pictures in one forward pass.

    Raises:
        BadInput: If any of them is not to be had, or the checkpoint is of another network.
    """
    how = execution(device, precision, batch_size)
    if weights not in (None, RANDOM) or (weights and (checkpoint or network_checkpoint)):
        raise BadInput(f"weights {weights!r}: diy-sc knows {RANDOM!r}, or checkpoints; give either")
    projection = built(Projection)
    digest = _loaded(projection, checkpoint, weights)
    wanted = Wanted(_LAYER, side, "pad", network_checkpoint, weights)
    backbone = timm_backbone(network, wanted, how)
    adapted = replace(
        backbone,
        name="diy-sc",
        preprocessing=replace(backbone.preprocessing, interpolation="lanczos"),
        weights=digest,
        maps=partial(_adapted, backbone.maps, frozen(projection, how)),
    )
    details = {"network": f"timm:{network}", "network weights": backbone.weights}
    return backbone_matcher(adapted, readout_of("geoaware"), how, details)


def _loaded(projection: Projection, checkpoint: str | Path | None, weights: str | None) -> str:
    """Load the adapter's file; return its SHA-256, or that of random weights.

    Raises:
        BadInput: If there is no file where one is needed, or it does not fit.
    """
    if weights == RANDOM:
        return f"random {state_hash(projection)}"
    if checkpoint is None:
        raise BadInput(
            f"model 'diy-sc' needs weights, and they are at {MODELS['diy-sc'].weights}; give "
            f"--checkpoint FILE"
        )
    found = read_checkpoint(checkpoint)
    load_strictly(projection, found, "diy-sc")
    return found.sha256


def _adapted(
    maps: Callable[[Tensor], Sequence[Tensor]], projection: nn.Module, inputs: Tensor
) -> list[Tensor]:
    """Return what the projection makes of a backbone's only layer."""
    (tokens,) = maps(inputs)
    return [projection(tokens)]
