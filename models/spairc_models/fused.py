"""SD+DINO: features of Stable Diffusion and of DINOv2, side by side (Zhang et al., NeurIPS 2023).

Each kind is brought to length 1, so that both weigh the same, and joined; the nearest cell answers.
The published program takes several levels of Stable Diffusion 1.5 by way of ODISE and a PCA of each
pair; here they are the features of DIFT, on the grid of DINOv2's tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from spairc.types import BadInput, Features, Image, Points, Query
from spairc_models.adapter import Details, TorchMatcher, running
from spairc_models.dift import CATEGORY, Picture, Search, dift_matcher
from spairc_models.nearest import compare, nearest_matcher
from spairc_models.readout import Readout, nearest_points, readout_of

_SIDE, _SD_SIDE = 840, 960  # both give 60 x 60 cells


@dataclass(frozen=True, eq=False)
class FusedMatcher:
    """Two matchers whose features of a picture are joined; both pad pictures to a square."""

    name: str
    diffusion: TorchMatcher
    search: Search  # finds the features of the first when their category is known
    tokens: TorchMatcher
    readout: Readout
    share: float  # of the diffusion model's features in a cosine, 0 to 1
    details: Details

    @property
    def memory(self) -> int | None:
        """How many bytes the device has that features live on; None for the machine's own."""
        return self.tokens.memory

    def encode(self, images: Sequence[Image]) -> list[Features]:
        """Return latents and tokens of each picture."""
        pairs = zip(self.diffusion.encode(images), self.tokens.encode(images), strict=True)
        return list(pairs)

    def match(self, queries: Sequence[Query]) -> list[Points]:
        """Return, per query, where its points are in the target: (N, 2) original pixels."""
        with running(self.tokens.how):
            return [self._answer(query) for query in queries]

    def _answer(self, query: Query) -> Points:
        """Return one query's answer; it depends on nothing else that was asked."""
        preprocessing = self.tokens.preprocessing
        prompt = self.search.prompt.replace(CATEGORY, query.category)
        source, target = (self._fused(each, prompt) for each in (query.source, query.target))
        points = preprocessing.frame(query.source_size).from_original(query.points)
        asked = replace(query, source=source, target=target, points=points)
        rows, columns = target.shape[:2]
        found = nearest_points(asked, preprocessing, (rows, columns), self.readout, compare)
        return preprocessing.frame(query.target_size).to_original(found)

    def _fused(self, features: tuple[Picture, Tensor], prompt: str) -> Tensor:
        """Return (rows, columns, channels) features of both kinds, of length 1."""
        picture, tokens = features
        return fused(self.search.grid(picture, prompt), tokens, self.share)


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


def sd_dino_matcher(  # noqa: PLR0913 -- each is a setting of its own; all have a default
    *,
    checkpoint: str | Path | None = None,
    network: str = "timm:vit_base_patch14_dinov2.lvd142m",
    network_checkpoint: str | Path | None = None,
    network_weights: str | None = None,
    prompt: str = f"a photo of a {CATEGORY}",
    timestep: int = 100,
    share: float = 0.5,
    side: int = _SIDE,
    sd_side: int = _SD_SIDE,
    readout: str = "sd-dino",
    device: str | None = None,
    precision: str = "float32",
    batch_size: int | None = None,
) -> FusedMatcher:
    """Return the matcher.

    Args:
        checkpoint: Of Stable Diffusion: a folder in the layout of diffusers, or hf://org/repo.
        network: What gives the tokens.
        network_checkpoint: Its weights; timm's own if not given.
        network_weights: Instead of those "random", for tests.
        prompt: What the UNet is told; {category} stands for the pair's category.
        timestep: How much noise is added.
        share: Of the diffusion model's features in a cosine, 0 to 1.
        side: Pixels of the tokens' input.
        sd_side: Pixels of the diffusion model's.
        readout: A key of `READOUTS` that compares cells, so not "full".
        device: "cpu", "cuda", "cuda:1"; None takes CUDA where there is one.
        precision: "float32" or "bfloat16".
        batch_size: Pictures in one forward pass.

    Raises:
        BadInput: If any of them is not to be had, or diffusers or timm is not installed.
    """
    chosen = _checked(readout, share)
    common: dict[str, Any] = {"device": device, "precision": precision, "batch_size": batch_size}
    diffusion = dift_matcher(
        checkpoint=checkpoint,
        prompt=prompt,
        timestep=timestep,
        ensemble=1,
        side=sd_side,
        resize="pad",
        readout=readout,
        **common,
    )
    tokens = _tokens(network, network_checkpoint, network_weights, side=side, **common)
    return _joined(diffusion, tokens, chosen, share)


def _checked(readout: str, share: float) -> Readout:
    """Return the readout.

    Raises:
        BadInput: If there is none such, it compares pixels, or the share is no share.
    """
    if not 0 <= share <= 1:
        raise BadInput(f"share {share}: give a number from 0 to 1")
    if readout == "full":
        raise BadInput("readout 'full' compares pixels; sd-dino takes one that compares cells")
    return readout_of(readout)


def _tokens(
    network: str, checkpoint: str | Path | None, weights: str | None, **options: Any
) -> TorchMatcher:
    """Return what gives the tokens of a network's last block, of a padded square."""
    return nearest_matcher(
        network,
        checkpoint=checkpoint,
        weights=weights,
        layers=11,
        resize="pad",
        interpolation="lanczos",
        **options,
    )


def _joined(
    diffusion: TorchMatcher, tokens: TorchMatcher, readout: Readout, share: float
) -> FusedMatcher:
    """Return the matcher of both, and what a run's record says of it."""
    details = {
        **diffusion.details,
        **{f"tokens' {name}": value for name, value in tokens.details.items()},
        **readout.details(),
        "share": share,
    }
    search = cast("Search", diffusion.find)
    return FusedMatcher("sd-dino", diffusion, search, tokens, readout, share, details)
