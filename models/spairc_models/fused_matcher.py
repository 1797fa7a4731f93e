"""A matcher by two networks' features: levels of Stable Diffusion's decoder, tokens of DINOv2.

What is kept of a picture and what is compared of a pair are two functions: SD+DINO reduces the
levels pair by pair (`fused`), GeoAware-SC projects them picture by picture (`geoaware`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from spairc.types import BadInput, Features, Image, Points, Query
from spairc_models.adapter import (
    Details,
    Execution,
    details_of,
    device_memory,
    encoded,
    memory_errors,
    running,
)
from spairc_models.backbone import Backbone, Wanted
from spairc_models.dift import CATEGORY
from spairc_models.levels import Decoder, Latents, Levels
from spairc_models.nearest import compare
from spairc_models.readout import Readout, nearest_points
from spairc_models.timm_networks import timm_backbone

PROMPT = f"a photo of {CATEGORY}"
_LAYER = 11  # the last block's tokens

Grids: TypeAlias = tuple[Tensor, Tensor]  # of source and target, (rows, columns, channels)


@dataclass(frozen=True, eq=False)
class Kinds:
    """What both networks have of a picture."""

    levels: Levels
    tokens: Tensor  # (channels, rows, columns)


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture's latents and tokens, and what is made of them for every prompt asked for."""

    latents: Latents
    tokens: Tensor  # (channels, rows, columns)
    made: dict[str | None, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class FusedMatcher:
    """Both networks get pictures padded to a square, each of its own side."""

    name: str
    decoder: Decoder
    tokens: Backbone
    describe: Callable[[Kinds], Any]  # what is kept of a picture
    join: Callable[[Any, Any], Grids]  # what is compared of a pair, of what was kept
    readout: Readout
    prompt: str | None  # None: what the captioner says
    details: Details

    @property
    def memory(self) -> int | None:
        """How many bytes the device has that features live on; None for the machine's own."""
        return device_memory(self.decoder.how)

    def encode(self, images: Sequence[Image]) -> list[Features]:
        """Return latents and tokens of each picture."""
        how, decoder = self.decoder.how, self.decoder
        latents = encoded(images, decoder.preprocessing, how, decoder.latents)
        tokens = encoded(images, self.tokens.preprocessing, how, self._tokens)
        return [Picture(*both) for both in zip(latents, tokens, strict=True)]

    def _tokens(self, inputs: Tensor) -> list[Tensor]:
        """Return (channels, rows, columns) per picture of a batch."""
        return list(self.tokens.maps(inputs)[0].float())

    def match(self, queries: Sequence[Query]) -> list[Points]:
        """Return, per query, where its points are in the target: (N, 2) original pixels."""
        with memory_errors(), running(self.decoder.how):
            return [self._answer(query) for query in queries]

    def _answer(self, query: Query) -> Points:
        """Return one query's answer; it depends on nothing else that was asked."""
        preprocessing = self.tokens.preprocessing
        prompt = self.prompt and self.prompt.replace(CATEGORY, query.category)
        both = [self._made(each, prompt) for each in (query.source, query.target)]
        with torch.autocast(self.decoder.how.device.type, enabled=False):
            source, target = self.join(*both)
        points = preprocessing.frame(query.source_size).from_original(query.points)
        asked = replace(query, source=source, target=target, points=points)
        rows, columns = target.shape[:2]
        found = nearest_points(asked, preprocessing, (rows, columns), self.readout, compare)
        return preprocessing.frame(query.target_size).to_original(found)

    def _made(self, picture: Picture, prompt: str | None) -> Any:
        """Return what is kept of a picture, which the UNet finds when it is first wanted."""
        if prompt not in picture.made:
            levels = self.decoder.levels(picture.latents, prompt)
            picture.made[prompt] = self.describe(Kinds(levels, picture.tokens))
        return picture.made[prompt]


def token_backbone(
    network: str,
    side: int,
    checkpoint: str | Path | None,
    weights: str | None,
    how: Execution,
) -> Backbone:
    """Return a timm network that gives the tokens of its last block but the class's.

    Args:
        network: As timm calls it.
        side: Pixels of the padded input.
        checkpoint: Its weights; timm's own if not given.
        weights: Instead of those "random".
        how: Device and precision.

    Raises:
        BadInput: If it is not to be had.
    """
    backbone = timm_backbone(network, Wanted(_LAYER, side, "pad", checkpoint, weights), how)
    preprocessing = replace(backbone.preprocessing, interpolation="lanczos")
    return replace(backbone, preprocessing=preprocessing)


def cells_only(readout: Readout) -> Readout:
    """Return a readout that compares cells.

    Raises:
        BadInput: If it compares pixels.
    """
    if readout.kind == "full":
        raise BadInput("readout 'full' compares pixels; give one that compares cells")
    return readout


def fused_matcher(  # noqa: PLR0913 -- the parts of a matcher
    name: str,
    decoder: Decoder,
    tokens: Backbone,
    *,
    describe: Callable[[Kinds], Any],
    join: Callable[[Any, Any], Grids],
    readout: Readout,
    prompt: str | None,
    details: Details,
) -> FusedMatcher:
    """Return the matcher of both networks, and what a run's record says of it."""
    asked = prompt if prompt is not None or decoder.captioner else PROMPT
    record = {
        **details_of(decoder.how, tokens.preprocessing, tokens.weights),
        "tokens": tokens.name,
        **decoder.details,
        "prompt": "the captioner's" if asked is None else asked,
        **readout.details(),
        **details,
    }
    return FusedMatcher(name, decoder, tokens, describe, join, readout, asked, record)
