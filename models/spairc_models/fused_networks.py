"""The networks below SD+DINO and GeoAware-SC: what a user may say of them, and how they are read.

Both matchers, and GeoAware-SC without a projection, take the same options; they stand here once.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any

from spairc_models.adapter import execution
from spairc_models.backbone import Backbone
from spairc_models.captioner import CLIP, Captioning, with_captioner
from spairc_models.fused_matcher import FusedMatcher, token_backbone
from spairc_models.levels import Decoder, load_decoder
from spairc_models.projection import DINOV2

# The programs' own address is gone; this is where GeoAware-SC's program looks now.
STABLE_DIFFUSION = "hf://stable-diffusion-v1-5/stable-diffusion-v1-5"


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Options of every matcher by levels of Stable Diffusion and tokens of DINOv2.

    `prompt` is the captioner's words if there is one and no prompt is given; without a captioner
    "a photo of {category}". ODISE's captioner is what the published numbers were made with.
    """

    network: str = DINOV2  # the timm network that gives the tokens
    network_checkpoint: str | Path | None = None  # its weights; timm's own if not given
    prompt: str | None = None  # what the UNet is told; {category} stands for the pair's category
    captioner: str | Path | None = None  # ODISE's file
    clip: str = CLIP  # the timm network that the captioner sees with
    clip_checkpoint: str | Path | None = None  # its weights; timm's own if not given
    side: int = 840  # pixels of the tokens' input: 60 x 60 of them
    sd_side: int = 960  # pixels of the diffusion model's: 60 x 60 cells of the finest level
    window: int = 512  # pixels of the windows into which that is cut
    seed: int = 42  # of the noise, which is the same for all windows
    device: str | None = None  # "cpu", "cuda", "cuda:1"; None takes CUDA where there is one
    precision: str = "float32"  # or "bfloat16"
    batch_size: int | None = None  # pictures or windows in one forward pass

    def load(
        self, name: str, diffusion: str | Path | None, timestep: int, weights: str | None
    ) -> tuple[Decoder, Backbone]:
        """Return both networks.

        Args:
            name: What the matcher is called, for messages.
            diffusion: A folder in the layout of diffusers, or hf://org/repo; Stable Diffusion 1.5
                if not given.
            timestep: How much noise is added.
            weights: "random" for those of the tokens' network.

        Raises:
            BadInput: If any of them is not to be had, or diffusers or timm is not installed.
        """
        how = execution(self.device, self.precision, self.batch_size)
        decoder = load_decoder(
            str(diffusion or STABLE_DIFFUSION),
            how,
            timestep=timestep,
            side=self.sd_side,
            window=self.window,
            seed=self.seed,
            name=name,
        )
        tokens = token_backbone(self.network, self.side, self.network_checkpoint, weights, how)
        wanted = Captioning(self.captioner, self.clip, self.clip_checkpoint)
        return with_captioner(decoder, wanted), tokens


def with_networks(make: Callable[..., FusedMatcher]) -> Callable[..., FusedMatcher]:
    """Return a function that takes the options of `Networks` in place of its `networks`."""
    own = [each for each in inspect.signature(make).parameters.values() if each.name != "networks"]
    names = {each.name for each in fields(Networks)}

    @wraps(make)
    def made(**given: Any) -> FusedMatcher:
        networks = {name: value for name, value in given.items() if name in names}
        others = {name: value for name, value in given.items() if name not in names}
        return make(networks=Networks(**networks), **others)

    every = [*own, *inspect.signature(Networks).parameters.values()]
    made.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]  # inspect reads it
    return made
