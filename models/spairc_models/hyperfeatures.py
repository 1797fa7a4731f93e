"""Diffusion Hyperfeatures: all layers of a decoder over the steps of an inverted diffusion.

Luo et al., "Diffusion Hyperfeatures" (NeurIPS 2023). A picture's latents are carried backwards
through a deterministic diffusion (DDIM, Song et al., ICLR 2021), from the picture to noise. At some
steps the residual branch of each of the UNet's twelve decoder blocks is enlarged to one grid,
passes the block's bottleneck, which all steps share, and a weighted sum over blocks and steps is
what is compared, pixel by pixel: of the original picture, where the program has 512 x 512 pixels,
its paper 224 x 224. Their first step asks the UNet about the time -1: so does ours.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spairc.types import BadInput
from spairc_models import MODELS
from spairc_models.adapter import Details, Execution, TorchMatcher, execution, frozen
from spairc_models.backbone import RANDOM, Backbone, built
from spairc_models.checkpoint import load_strictly, read_checkpoint, state_hash
from spairc_models.diffusion import Diffusion, load_diffusion
from spairc_models.fused_networks import STABLE_DIFFUSION
from spairc_models.nearest import backbone_matcher
from spairc_models.preprocessing import Preprocessing
from spairc_models.projection import Block
from spairc_models.readout import readout_of

_NAME = "hyperfeatures"
_HALF = (0.5, 0.5, 0.5)  # values in [-1, 1] are what the autoencoder takes
_TIMES = 1000  # of the diffusion process
_BETAS = (0.00085, 0.012)  # its noise per time, first and last; their roots lie on a line


@dataclass(frozen=True)
class Schedule:
    """How many steps lead to noise, and after how many of them features are read."""

    steps: int
    read: tuple[int, ...]  # in the order of the network's weights


# By the number of steps that are read: the released networks for one step and for all.
SCHEDULES: Mapping[int, Schedule] = {
    1: Schedule(1, (0,)),
    11: Schedule(50, (0, 4, 9, 14, 19, 24, 29, 34, 39, 44, 49)),
}


class Aggregation(nn.Module):
    """The network under the key names of the published files.

    Args:
        channels: Of each layer.
        steps: How many are read.
        outputs: Channels of the result.
    """

    def __init__(self, channels: Sequence[int], steps: int, outputs: int = 384) -> None:
        super().__init__()
        self.bottleneck_layers = nn.ModuleList(
            nn.Sequential(Block(each, outputs)) for each in channels
        )
        self.mixing_weights = nn.Parameter(torch.ones(len(channels) * steps))

    def forward(self, layers: Sequence[Tensor], step: int) -> Tensor:
        """Return a step's part of the sum, (B, outputs, h, w).

        Args:
            layers: (B, channels, h, w) of each layer.
            step: Which of those that are read.
        """
        shares = self.mixing_weights.softmax(dim=0).reshape(-1, len(layers))[step]
        parts = zip(shares, self.bottleneck_layers, layers, strict=True)
        return torch.stack([share * block(layer) for share, block, layer in parts]).sum(dim=0)


class Inversion:
    """A diffusion model, run from pictures to noise; several threads may run it at once."""

    def __init__(self, diffusion: Diffusion, noise: Tensor) -> None:
        self._diffusion = diffusion
        self._noise = noise  # of the autoencoder's latents, the same for every picture
        self._kept = threading.local()
        for layer in self.layers:
            layer.conv2.register_forward_hook(self._keep)

    @property
    def layers(self) -> list[Any]:
        """The residual blocks of the decoder, in the order in which they run."""
        return [layer for block in self._diffusion.unet.up_blocks for layer in block.resnets]

    def _keep(self, _: object, __: object, output: Tensor) -> None:
        """Keep what a layer's residual branch gives."""
        self._kept.layers.append(output)

    def __call__(self, inputs: Tensor, steps: int) -> Iterator[list[Tensor]]:
        """Yield (B, channels, h, w) of each layer, step after step.

        Args:
            inputs: (B, 3, side, side) in [-1, 1].
            steps: How many lead to noise.
        """
        mean, deviation = self._diffusion.latents(inputs)
        latents = mean + deviation * self._noise
        told = self._diffusion.told("").expand(len(inputs), -1, -1)
        remains = signal().to(latents)
        times = range(0, _TIMES // steps * steps, _TIMES // steps)
        before, share = -1, latents.new_ones(())  # a picture without noise
        for time in times:
            self._kept.layers = []
            found = self._diffusion.unet(latents, before, told).sample.float()
            yield self._kept.layers
            clean = (latents - found * (1 - share).sqrt()) / share.sqrt()
            before, share = time, remains[time]
            latents = clean * share.sqrt() + found * (1 - share).sqrt()


def signal() -> Tensor:
    """Return which share of a picture's variance each time leaves, (times,) float64."""
    first, last = (value**0.5 for value in _BETAS)
    betas = torch.linspace(first, last, _TIMES, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(dim=0)


class _Hyperfeatures:
    """A backbone's one layer: the weighted sum over layers and steps."""

    def __init__(
        self, inversion: Inversion, network: nn.Module, schedule: Schedule, cells: int
    ) -> None:
        self._inversion = inversion
        self._network = network
        self._schedule = schedule
        self._cells = cells

    def __call__(self, inputs: Tensor) -> list[Tensor]:
        """Return (B, channels, cells, cells), alone in a list."""
        total: Tensor | None = None
        for number, layers in enumerate(self._inversion(inputs, self._schedule.steps)):
            if number not in self._schedule.read:
                continue
            grids = [
                functional.interpolate(layer.float(), (self._cells,) * 2, mode="bilinear")
                for layer in layers
            ]
            part = self._network(grids, self._schedule.read.index(number)).float()
            total = part if total is None else total + part
        if total is None:
            raise ValueError("a schedule reads at least one step")
        return [total]


def hyperfeatures_matcher(  # noqa: PLR0913 -- each is a setting of its own; all have a default
    *,
    checkpoint: str | Path | None = None,
    weights: str | None = None,
    diffusion: str | Path | None = None,
    side: int = 512,
    seed: int = 0,
    readout: str = "full",
    device: str | None = None,
    precision: str = "float32",
    batch_size: int | None = None,
) -> TorchMatcher:
    """Return the matcher.

    Args:
        checkpoint: The aggregation network's file; see `spairc_models.MODELS`. It tells how many
            steps are read.
        weights: Instead of it "random", of one step, for tests and timings.
        diffusion: Stable Diffusion: a folder in the layout of diffusers, or hf://org/repo;
            version 1.5 if not given.
        side: Pixels of the square input.
        seed: Of the autoencoder's noise, which is the same for all pictures.
        readout: "full", or another of `READOUTS`.
        device: "cpu", "cuda", "cuda:1"; None takes CUDA where there is one.
        precision: "float32" or "bfloat16".
        batch_size: Pictures in one forward pass.

    Raises:
        BadInput: If any of them is not to be had, or diffusers is not installed.
    """
    how = execution(device, precision, batch_size)
    chosen = readout_of(readout)
    if weights not in (None, RANDOM) or bool(weights) == (checkpoint is not None):
        raise BadInput(
            f"model {_NAME!r} needs weights, and they are at {MODELS[_NAME].weights}; give "
            f"--checkpoint FILE, or --option weights={RANDOM} to time it"
        )
    model = load_diffusion(str(diffusion or STABLE_DIFFUSION), 0, None, side, how, _NAME)
    backbone, own = _backbone(model, checkpoint, side, seed, how)
    matcher = backbone_matcher(backbone, chosen, how, own)
    if chosen.kind != "full":
        return matcher  # compares features of length 1
    # The published readout enlarges features as they are.
    return replace(
        matcher, features=lambda inputs: list(backbone.maps(inputs)[0].permute(0, 2, 3, 1))
    )


def _backbone(
    model: Diffusion, checkpoint: str | Path | None, side: int, seed: int, how: Execution
) -> tuple[Backbone, Details]:
    """Return the features as those of a network of one layer, and what a run's record says."""
    shape = model.latent_shape(side)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(how.device)
    inversion = Inversion(model, noise)
    network, schedule, digest = _aggregation(inversion, checkpoint, how)
    backbone = Backbone(
        name=_NAME,
        layers=tuple(map(str, range(len(inversion.layers)))),
        preprocessing=Preprocessing(side, "squash", _HALF, _HALF),
        weights=digest,
        maps=_Hyperfeatures(inversion, network, schedule, shape[1]),
    )
    return backbone, {"sd weights": model.weights, "steps": schedule.steps, "seed": seed}


def _aggregation(
    inversion: Inversion, checkpoint: str | Path | None, how: Execution
) -> tuple[nn.Module, Schedule, str]:
    """Return the network, when it is fed, and the SHA-256 of its weights.

    Raises:
        BadInput: If its file does not fit, or is of other steps than those that were released.
    """
    channels = [layer.out_channels for layer in inversion.layers]
    if checkpoint is None:
        network = built(lambda: Aggregation(channels, 1))
        return frozen(network, how), SCHEDULES[1], f"random {state_hash(network)}"
    found = read_checkpoint(checkpoint)
    mixed = found.state.get("mixing_weights", torch.ones(0)).numel()
    if mixed % len(channels) or mixed // len(channels) not in SCHEDULES:
        raise BadInput(
            f"checkpoint {checkpoint} mixes {mixed} features; {len(channels)} layers are read at "
            f"{' or '.join(map(str, SCHEDULES))} steps"
        )
    steps = mixed // len(channels)
    network = built(lambda: Aggregation(channels, steps))
    load_strictly(network, found, _NAME)
    return frozen(network, how), SCHEDULES[steps], found.sha256
