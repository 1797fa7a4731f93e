"""What the decoder of Stable Diffusion has of a picture at three levels, as ODISE reads it.

Xu et al., "ODISE" (CVPR 2023), whose extractor SD+DINO and GeoAware-SC use. A picture is cut into
windows of the side that the diffusion model was trained on; each is encoded without sampling, takes
the same noise and passes the UNet; where windows overlap their features are averaged. A level is
what stands before the last of an up block's three steps: "s5", "s4" and "s3" of the programs are
those of the up blocks 0, 1 and 2, of 1280, 1280 and 640 channels for Stable Diffusion 1.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any, TypeAlias

import torch
from torch import Tensor

from spairc_models.adapter import Execution, batches
from spairc_models.diffusion import Diffusion, check_side, load_diffusion
from spairc_models.preprocessing import Mode, Preprocessing

COUNT = 3  # up blocks that are read, from the coarsest
_STEP = 1  # of a block: its second residual block, with the attention behind it
_HALF = (0.5, 0.5, 0.5)  # values in [-1, 1] are what the autoencoder takes

Levels: TypeAlias = tuple[Tensor, ...]  # (channels, rows, columns) each, from the coarsest
# Windows (B, 3, window, window) in [-1, 1] -> what each tells the UNet instead of a prompt,
# (B, tokens, channels), and what it adds to the embedding of the timestep, (B, channels).
Captioner: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Latents:
    """The noised latents of a picture's windows, and what a captioner says of them."""

    windows: Tensor  # (windows, channels, rows, columns)
    told: Tensor | None = None  # (windows, tokens, channels)
    added: Tensor | None = None  # (windows, channels)


@dataclass(frozen=True, eq=False)
class Decoder:
    """A diffusion model that is read at three levels."""

    diffusion: Diffusion
    preprocessing: Preprocessing
    how: Execution
    starts: Sequence[tuple[int, int]]  # of the windows: top and left, in pixels
    window: int  # pixels a side
    noise: Tensor  # (channels, rows, columns), the same for every window
    captioner: Captioner | None = None
    details: dict[str, str | int] = field(default_factory=dict)  # for a run's record

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the levels, from the coarsest."""
        return tuple(reversed(self.diffusion.unet.config.block_out_channels))[:COUNT]

    def latents(self, inputs: Tensor) -> list[Latents]:
        """Return the latents of a batch (B, 3, side, side) of pictures in [-1, 1]."""
        return [self._of_one(picture) for picture in inputs]

    def _of_one(self, picture: Tensor) -> Latents:
        """Return the latents of a picture (3, side, side)."""
        size = self.window
        windows = [picture[:, top : top + size, left : left + size] for top, left in self.starts]
        groups = [torch.stack(list(some)) for some in batches(windows, self.how.batch_size)]
        means = torch.cat([self.diffusion.latents(group)[0] for group in groups])
        noised = self.diffusion.noised(means, self.noise)
        if self.captioner is None:
            return Latents(noised)
        said = [self.captioner(group) for group in groups]
        told, added = (torch.cat(list(parts)) for parts in zip(*said, strict=True))
        return Latents(noised, told, added)

    def levels(self, latents: Latents, prompt: str | None) -> Levels:
        """Return the levels of a picture, from the coarsest.

        Args:
            latents: Of its windows.
            prompt: What the UNet is told; None for what the captioner said.
        """
        count = len(latents.windows)
        told = latents.told
        if prompt is not None or told is None:
            told = self.diffusion.told(prompt or "").expand(count, -1, -1)
        found = [
            self._decoded(latents, told, slice(first, first + self.how.batch_size))
            for first in range(0, count, self.how.batch_size)
        ]
        return tuple(
            stitched(torch.cat(list(parts)).float(), self.starts, self.window)
            for parts in zip(*found, strict=True)
        )

    def _decoded(self, latents: Latents, told: Tensor, some: slice) -> list[Tensor]:
        """Return the levels of some windows, (B, channels, rows, columns) each."""
        added = None if latents.added is None else latents.added[some]
        with _kept(self.diffusion.unet) as found:
            self.diffusion.unet(
                latents.windows[some], self.diffusion.timestep, told[some], class_labels=added
            )
        return found


@contextmanager
def _kept(unet: Any) -> Iterator[list[Tensor]]:
    """Hold hooks on a UNet that append each level, while the block runs."""
    found: list[Tensor] = []

    def keep(_: object, __: object, output: Any) -> None:
        """Append what a step gives; attention gives it in a tuple."""
        found.append(output[0] if isinstance(output, tuple) else output)

    hooks = [_step(block).register_forward_hook(keep) for block in unet.up_blocks[:COUNT]]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _step(block: Any) -> Any:
    """Return the part of an up block whose output is its level."""
    return (getattr(block, "attentions", None) or block.resnets)[_STEP]


def window_starts(side: int, window: int) -> list[tuple[int, int]]:
    """Return top and left of the windows that cover a square, row by row.

    The last of a row or column is moved back to end with the square.

    Args:
        side: Pixels of the square.
        window: Pixels of a window, no more than of the square.
    """
    along = [min(start, side - window) for start in range(0, side, window)]
    return list(product(along, along))


def stitched(parts: Tensor, starts: Sequence[tuple[int, int]], window: int) -> Tensor:
    """Return (channels, rows, columns) of a square: the mean of the windows that hold a cell.

    Args:
        parts: (windows, channels, h, h).
        starts: Of the windows, in pixels; multiples of a cell.
        window: Pixels of a window, h cells.
    """
    count = parts.shape[-1]
    cells = [(top * count // window, left * count // window) for top, left in starts]
    side = max(top for top, _ in cells) + count
    total = parts.new_zeros(parts.shape[1], side, side)
    times = parts.new_zeros(side, side)
    for part, (top, left) in zip(parts, cells, strict=True):
        total[:, top : top + count, left : left + count] += part
        times[top : top + count, left : left + count] += 1
    return total / times


def load_decoder(  # noqa: PLR0913 -- each is a setting of its own
    checkpoint: str,
    how: Execution,
    *,
    timestep: int,
    side: int,
    window: int,
    seed: int,
    resize: Mode = "pad",
    name: str = "sd-dino",
) -> Decoder:
    """Return a diffusion model that is read at three levels.

    Args:
        checkpoint: A folder in the layout of diffusers, or hf://org/repo@revision.
        how: Device, precision, and how many windows a network takes at once.
        timestep: How much noise is added.
        side: Pixels of the square input.
        window: Pixels of a window; no window is larger than the input.
        seed: Of the noise.
        resize: "pad" or "squash".
        name: What the matcher is called, for messages.

    Raises:
        BadInput: If there is no such model, or it takes no such side, window or timestep.
    """
    size = min(window, side)
    diffusion = load_diffusion(checkpoint, timestep, COUNT - 1, size, how, name)
    check_side(side, diffusion.unit, name)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(diffusion.latent_shape(size), generator=generator).to(how.device)
    return Decoder(
        diffusion=diffusion,
        preprocessing=Preprocessing(side, resize, _HALF, _HALF, interpolation="lanczos"),
        how=how,
        starts=window_starts(side, size),
        window=size,
        noise=noise,
        details={
            "sd side": side,
            "sd window": size,
            "sd weights": diffusion.weights,
            "timestep": timestep,
            "seed": seed,
        },
    )
