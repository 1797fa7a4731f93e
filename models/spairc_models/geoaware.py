"""GeoAware-SC: levels of Stable Diffusion and tokens of DINOv2, made aware of left and right.

Zhang et al., "Telling left from right" (CVPR 2024). With its own weights a network (`projection`)
adapts the features picture by picture; without any, both kinds are brought to length 1 and joined
as they are. The answer is a soft-argmax in a window around the nearest cell.

The zero-shot tables mirror the source where that brings it nearer to the target ("adaptive pose
alignment"). A mirrored left eye is a right eye, so the program then asks for the point that bears
the partner's name: it takes key-point names, which no matcher is told, and masks. It is left out
here, as in the program's own runs without it. The supervised tables are made without it.
"""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from spairc.types import BadInput
from spairc_models import MODELS
from spairc_models.adapter import frozen
from spairc_models.backbone import RANDOM, built
from spairc_models.checkpoint import load_strictly, read_checkpoint, state_hash
from spairc_models.fused import fused
from spairc_models.fused_matcher import FusedMatcher, Grids, Kinds, cells_only, fused_matcher
from spairc_models.fused_networks import Networks, with_networks
from spairc_models.projection import Projection
from spairc_models.readout import readout_of

_NAME, _ZERO = "geoaware-sc", "geoaware-zero"
_TIMESTEP = 50
_WINDOW_OF_ZERO_SHOT = 11  # cells: the program's 5 is a radius


def gathered(kinds: Kinds) -> Tensor:
    """Return (channels, rows, columns): levels from the finest on, then the tokens.

    Each level is brought to the tokens' grid bilinearly.
    """
    grid = kinds.tokens.shape[1:]
    levels = [
        functional.interpolate(level[None], grid, mode="bilinear")[0]
        for level in reversed(kinds.levels)
    ]
    return torch.cat([*levels, kinds.tokens])


def _projected(projection: nn.Module, kinds: Kinds) -> Tensor:
    """Return what is kept of a picture: (rows, columns, channels) of length 1."""
    adapted = projection(gathered(kinds)[None]).float()
    return functional.normalize(adapted[0], dim=0).permute(1, 2, 0).contiguous()


def _as_they_are(kinds: Kinds) -> Tensor:
    """Return both kinds, each of length 1, joined: (rows, columns, channels)."""
    channels = sum(len(level) for level in kinds.levels)
    first, tokens = gathered(kinds).permute(1, 2, 0).tensor_split([channels], dim=2)
    return fused(first, tokens, 0.5)


def _pair(source: Tensor, target: Tensor) -> Grids:
    """Return what was made of each picture by itself."""
    return source, target


def _pair_as_they_are(source: Kinds, target: Kinds) -> Grids:
    """Return both pictures' features, which are made anew: they are twice as large as the kinds."""
    return _as_they_are(source), _as_they_are(target)


@with_networks
def geoaware_matcher(
    *,
    networks: Networks,
    checkpoint: str | Path | None = None,
    weights: str | None = None,
    diffusion: str | Path | None = None,
    timestep: int = _TIMESTEP,
    readout: str = "geoaware",
) -> FusedMatcher:
    """Return GeoAware-SC with its projection network.

    Args:
        networks: Each of its fields is an option of its own.
        checkpoint: The projection's file; see `spairc_models.MODELS`.
        weights: Instead of it "random", for tests and timings, of it and the tokens' network.
        diffusion: Stable Diffusion: a folder in the layout of diffusers, or hf://org/repo;
            version 1.5 if not given.
        timestep: How much noise is added.
        readout: A key of `READOUTS` that compares cells, so not "full".

    Raises:
        BadInput: If any of them is not to be had, or diffusers or timm is not installed.
    """
    _check_weights(weights, checkpoint, networks.network_checkpoint)
    chosen = cells_only(readout_of(readout))
    decoder, tokens = networks.load(_NAME, diffusion, timestep, weights)
    projection = built(lambda: Projection((*reversed(decoder.channels), *tokens.channels)))
    digest = _loaded(projection, checkpoint)
    return fused_matcher(
        _NAME,
        decoder,
        tokens,
        describe=partial(_projected, frozen(projection, decoder.how)),
        join=_pair,
        readout=chosen,
        prompt=networks.prompt,
        details={"weights": digest, "tokens' weights": tokens.weights},
    )


def _check_weights(weights: str | None, *checkpoints: str | Path | None) -> None:
    """Raise BadInput unless there is a projection's file, or everything is to be random."""
    if weights not in (None, RANDOM) or (weights and any(checkpoints)):
        raise BadInput(
            f"weights {weights!r}: {_NAME} knows {RANDOM!r}, or checkpoints; give either"
        )
    if not (weights or checkpoints[0]):
        raise BadInput(
            f"model {_NAME!r} needs weights, and they are at {MODELS[_NAME].weights}; give "
            f"--checkpoint FILE"
        )


def _loaded(projection: Projection, checkpoint: str | Path | None) -> str:
    """Load the projection's file; return its SHA-256, or that of random weights.

    Raises:
        BadInput: If it does not fit.
    """
    if checkpoint is None:
        return f"random {state_hash(projection)}"
    found = read_checkpoint(checkpoint)
    load_strictly(projection, found, _NAME)
    return found.sha256


@with_networks
def zero_shot_matcher(
    *,
    networks: Networks,
    checkpoint: str | Path | None = None,
    network_weights: str | None = None,
    timestep: int = _TIMESTEP,
    readout: str = "geoaware",
    readout_window: int | None = None,
) -> FusedMatcher:
    """Return GeoAware-SC without a projection and without pose alignment.

    Args:
        networks: Each of its fields is an option of its own.
        checkpoint: Of Stable Diffusion: a folder in the layout of diffusers, or hf://org/repo;
            version 1.5 if not given.
        network_weights: "random" for those of the tokens' network, for tests.
        timestep: How much noise is added.
        readout: A key of `READOUTS` that compares cells, so not "full".
        readout_window: Cells a side of the soft-argmax's window, odd.

    Raises:
        BadInput: If any of them is not to be had, or diffusers or timm is not installed.
    """
    cells = _WINDOW_OF_ZERO_SHOT if readout == "geoaware" else None
    chosen = cells_only(readout_of(readout, readout_window or cells))
    decoder, tokens = networks.load(_ZERO, checkpoint, timestep, network_weights)
    return fused_matcher(
        _ZERO,
        decoder,
        tokens,
        describe=lambda kinds: kinds,
        join=_pair_as_they_are,
        readout=chosen,
        prompt=networks.prompt,
        details={},
    )
