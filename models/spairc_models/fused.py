"""SD+DINO: features of Stable Diffusion and of DINOv2, side by side (Zhang et al., NeurIPS 2023).

Three levels of Stable Diffusion's decoder (`levels`) are brought to few dimensions by a principal
component analysis of both pictures of a pair; they and the tokens of DINOv2 are brought to length
1, so that both kinds weigh the same, and joined; the nearest cell answers.

The published program's analysis is a randomised one, ours is exact. Its UNet is told what ODISE's
captioner sees in a window; here that takes `captioner`, and a prompt stands in where there is none.
"""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from spairc.types import BadInput
from spairc_models.fused_matcher import FusedMatcher, Grids, Kinds, cells_only, fused_matcher
from spairc_models.fused_networks import Networks, with_networks
from spairc_models.levels import Levels
from spairc_models.readout import readout_of


def fused(diffusion: Tensor, tokens: Tensor, share: float) -> Tensor:
    """Return (rows, columns, C + D): a cosine of two is the weighted mean of both kinds' cosines.

    Args:
        diffusion: (h, w, C) grid, resized bilinearly to that of the tokens.
        tokens: (rows, columns, D) grid.
        share: How much of a cosine is the first's.
    """
    resized = functional.interpolate(
        diffusion.permute(2, 0, 1)[None], tokens.shape[:2], mode="bilinear"
    )
    first = functional.normalize(resized[0].permute(1, 2, 0), dim=2) * share**0.5
    second = functional.normalize(tokens, dim=2) * (1 - share) ** 0.5
    return torch.cat([first, second], dim=2)


def principal(samples: Tensor, count: int) -> Tensor:
    """Return (N, count) principal components, the largest first; no more than there are.

    By the smaller of both products of the centred samples with themselves, so that 7,200 cells of
    640 channels cost an eigenvalue problem of 640, 450 of 1,280 one of 450.

    Args:
        samples: (N, C).
        count: How many components.
    """
    centred = samples - samples.mean(dim=0)
    number, channels = centred.shape
    count = min(count, number, channels)
    found: Tensor
    if channels <= number:
        _, axes = torch.linalg.eigh(centred.T @ centred)
        found = centred @ axes[:, -count:]
    else:
        values, scores = torch.linalg.eigh(centred @ centred.T)
        found = scores[:, -count:] * values[-count:].clamp(min=0).sqrt()
    return found.flip(1)


def reduced(source: Levels, target: Levels, dimensions: int) -> Grids:
    """Return both pictures' levels in few dimensions, joined on the finest level's grid.

    Each level is analysed over the cells of both pictures. Levels are enlarged one by one, a
    coarse one by way of the next finer, and stand from the finest to the coarsest.

    Args:
        source: (channels, rows, columns) of each level, from the coarsest.
        target: The same of the other picture.
        dimensions: Of each level.
    """
    both: Tensor | None = None
    for one, other in zip(source, target, strict=True):
        cells = torch.cat([one.flatten(1), other.flatten(1)], dim=1).T
        found = principal(cells, dimensions).T.reshape(-1, 2, *one.shape[1:]).transpose(0, 1)
        if both is not None:
            coarser = functional.interpolate(both, found.shape[-2:], mode="bilinear")
            found = torch.cat([found, coarser], dim=1)
        both = found
    if both is None:
        raise ValueError("no levels to reduce")
    first, second = both.permute(0, 2, 3, 1)
    return first, second


def _joined(source: Kinds, target: Kinds, *, dimensions: int, share: float) -> Grids:
    """Return what SD+DINO compares of a pair."""
    grids = reduced(source.levels, target.levels, dimensions)
    first, second = (
        fused(grid, kinds.tokens.permute(1, 2, 0), share)
        for grid, kinds in zip(grids, (source, target), strict=True)
    )
    return first, second


@with_networks
def sd_dino_matcher(
    *,
    networks: Networks,
    checkpoint: str | Path | None = None,
    network_weights: str | None = None,
    timestep: int = 100,
    dimensions: int = 256,
    share: float = 0.5,
    readout: str = "sd-dino",
) -> FusedMatcher:
    """Return the matcher.

    Args:
        networks: Each of its fields is an option of its own.
        checkpoint: Of Stable Diffusion: a folder in the layout of diffusers, or hf://org/repo;
            version 1.5 if not given.
        network_weights: "random" for those of the tokens' network, for tests.
        timestep: How much noise is added.
        dimensions: Of each level after the principal component analysis.
        share: Of the diffusion model's features in a cosine, 0 to 1.
        readout: A key of `READOUTS` that compares cells, so not "full".

    Raises:
        BadInput: If any of them is not to be had, or diffusers or timm is not installed.
    """
    chosen = cells_only(readout_of(readout))
    _check(dimensions, share)
    decoder, tokens = networks.load("sd-dino", checkpoint, timestep, network_weights)
    return fused_matcher(
        "sd-dino",
        decoder,
        tokens,
        describe=lambda kinds: kinds,
        join=partial(_joined, dimensions=dimensions, share=share),
        readout=chosen,
        prompt=networks.prompt,
        details={"dimensions": dimensions, "share": share},
    )


def _check(dimensions: int, share: float) -> None:
    """Raise BadInput if there is no such share, or no dimension is left."""
    if not 0 <= share <= 1:
        raise BadInput(f"share {share}: give a number from 0 to 1")
    if dimensions < 1:
        raise BadInput(f"dimensions {dimensions}: give at least 1; the paper has 256")
