"""What ODISE tells Stable Diffusion's UNet instead of a prompt: an embedding of the picture itself.

Xu et al., "ODISE" (CVPR 2023), the implicit captioner. CLIP's embedding of a window is projected to
the shape of a prompt's embedding and added to that of the empty prompt, and to the embedding of the
timestep; how much of it counts was learned. SD+DINO and GeoAware-SC take it as it stands in ODISE's
file, `odise_label_coco_50e-b67d2efc.pth`, whose other tensors (of its mask generator) are not used.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from spairc.types import BadInput
from spairc_models.adapter import frozen
from spairc_models.backbone import built
from spairc_models.checkpoint import Checkpoint, load_strictly, read_checkpoint
from spairc_models.levels import Decoder
from spairc_models.timm_networks import timm_embedder

CLIP = "vit_large_patch14_clip_quickgelu_336.openai"
WEIGHTS = (
    "https://github.com/NVlabs/ODISE/releases/download/v1.0.0/odise_label_coco_50e-b67d2efc.pth"
)
_PREFIX = "backbone.feature_extractor."  # of the captioner's tensors in ODISE's file


@dataclass(frozen=True)
class Captioning:
    """Which captioner a user wants; none, if there is no file."""

    file: str | Path | None = None  # ODISE's
    clip: str = CLIP  # the timm network that embeds windows
    clip_checkpoint: str | Path | None = None  # its weights; timm's own if not given


class Positional(nn.Module):
    """A linear layer whose result stands at each of some places, which differ by what is added."""

    def __init__(self, inputs: int, outputs: int, places: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.positional_embedding = nn.Parameter(torch.zeros(1, places, outputs))

    def forward(self, embedding: Tensor) -> Tensor:
        """Return (B, places, outputs) of (B, inputs)."""
        placed: Tensor = self.linear(embedding).unsqueeze(1) + self.positional_embedding
        return placed


class ImplicitCaptioner(nn.Module):
    """The learned part of ODISE's captioner, under the key names of its file.

    Args:
        channels: Of a picture's embedding.
        tokens: Of a prompt.
        width: Channels of a prompt's embedding.
        time: Channels of a timestep's embedding.
    """

    def __init__(self, channels: int, *, tokens: int, width: int, time: int) -> None:
        super().__init__()
        self.clip_project = Positional(channels, width, tokens)
        self.alpha_cond = nn.Parameter(torch.zeros(1, tokens, width))
        self.time_embed_project = Positional(channels, time, 1)
        self.alpha_cond_time_embed = nn.Parameter(torch.zeros(time))

    def forward(self, embedding: Tensor, empty: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, tokens, width) instead of a prompt, and (B, time) to add to the timestep.

        Args:
            embedding: (B, channels) of pictures.
            empty: (1, tokens, width) of the empty prompt.
        """
        told = empty + self.alpha_cond.tanh() * self.clip_project(embedding)
        added = self.alpha_cond_time_embed.tanh() * self.time_embed_project(embedding)
        return told, added[:, 0]


def with_captioner(decoder: Decoder, wanted: Captioning) -> Decoder:
    """Return a decoder whose UNet is told what a captioner sees, if one is wanted.

    Raises:
        BadInput: If the captioner or CLIP is not to be had, or does not fit the diffusion model.
    """
    if wanted.file is None:
        return decoder
    how, diffusion = decoder.how, decoder.diffusion
    found = read_checkpoint(wanted.file)
    embed, weights = timm_embedder(wanted.clip, wanted.clip_checkpoint, how)
    with torch.inference_mode():
        empty = diffusion.told("")
    time = diffusion.unet.time_embedding.linear_2.out_features
    captioner = built(
        lambda: ImplicitCaptioner(
            embed.channels, tokens=empty.shape[1], width=empty.shape[2], time=time
        )
    )
    own = replace(found, state=_own(found))
    load_strictly(captioner, own, "ODISE's captioner")
    frozen(captioner, how)
    # What is given as a class's embedding is then added to that of the timestep as it is.
    diffusion.unet.class_embedding = nn.Identity()

    def say(windows: Tensor) -> tuple[Tensor, Tensor]:
        """Return what windows (B, 3, side, side) in [-1, 1] tell the UNet."""
        told, added = captioner(embed(windows / 2 + 0.5), empty)
        return told, added

    details = {**decoder.details, "captioner": found.sha256, "clip": wanted.clip}
    return replace(decoder, captioner=say, details={**details, "clip weights": weights})


def _own(found: Checkpoint) -> Mapping[str, Tensor]:
    """Return the captioner's tensors of ODISE's file, under their own names.

    Raises:
        BadInput: If it has none.
    """
    kept = {
        key.removeprefix(_PREFIX): tensor
        for key, tensor in found.state.items()
        if key.startswith(_PREFIX)
    }
    if not kept:
        raise BadInput(f"captioner {found.origin} has no {_PREFIX}*; give ODISE's file, {WEIGHTS}")
    return kept
