"""Which part of a picture is worth matching: maps from 0 to 1, and the cells above a threshold.

COCR's paper has a network for it that is not at hand; what stands here takes its place, by name.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor, nn
from torch.nn import functional

from matchme_train.cocr_settings import COCR
from matchme_train.networks import trunk_of
from spairc.images import joint_hash, pixel_hash, read_image
from spairc.types import BadInput

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

# Returns (B, h, w) maps from 0 to 1 for the files of B pictures and their (B, 3, side, side).
Saliency = Callable[[Sequence[Path], Tensor], Tensor]


def saliency_of(settings: COCR, network: nn.Module, pictures: Sequence[Path]) -> Saliency:
    """Return the saliency that a recipe names.

    Args:
        settings: Name it.
        network: As it is before training: its trunk may be asked.
        pictures: That may be asked for.

    Raises:
        BadInput: If a picture has no map in the folder.
    """
    if settings.saliency == "none":
        return whole_picture
    if settings.saliency == "features":
        return feature_saliency(trunk_of(network))
    return folder_saliency(saliency_files(Path(settings.saliency).expanduser(), pictures))


def whole_picture(_: Sequence[Path], pictures: Tensor) -> Tensor:
    """Return maps of ones: saliency "none"."""
    return torch.ones(len(pictures), 1, 1, device=pictures.device)


def feature_saliency(trunk: Any) -> Saliency:
    """Return what maps pictures by their last features: saliency "features".

    Each cell's features, those below 0 left out, are added up, and each picture's sums are
    spread from 0 to 1. "Selective Convolutional Descriptor Aggregation" (Wei et al., 2017) finds
    objects so, in networks that were trained on ImageNet; where the trunk was not, the maps mean
    nothing.

    Args:
        trunk: In evaluation mode; one of `spairc_models`' trunks.
    """

    def saliency(_: Sequence[Path], pictures: Tensor) -> Tensor:
        with torch.no_grad():
            (features,) = trunk(pictures, [len(trunk.channels) - 1], rectified=False)
        sums: Tensor = features.clamp(min=0).sum(dim=1)
        low, high = sums.amin(dim=(1, 2), keepdim=True), sums.amax(dim=(1, 2), keepdim=True)
        return (sums - low) / (high - low).clamp(min=1e-12)

    return saliency


def folder_saliency(files: Mapping[Path, Path]) -> Saliency:
    """Return what reads maps from grey pictures, white being 1.

    Args:
        files: The picture's file -> that of its map, as `saliency_files` returns them.
    """

    def saliency(paths: Sequence[Path], pictures: Tensor) -> Tensor:
        maps = [_grey(files[path], pictures.shape[-1]) for path in paths]
        return torch.stack(maps).to(pictures.device)

    return saliency


def saliency_files(folder: Path, pictures: Sequence[Path]) -> dict[Path, Path]:
    """Return each picture's saliency map in a folder.

    Its name is the picture's, whatever comes after the last dot; it stands in the folder, or in
    one there that has the name of the picture's own.

    Args:
        folder: Of the maps.
        pictures: That need one.

    Raises:
        BadInput: If a picture has none, or two have the same; the first is named.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*")) + sorted(folder.glob("*/*")):
        if path.suffix.lower() in _SUFFIXES:
            found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
    chosen: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    for picture in pictures:
        names = (f"{picture.parent.name}/{picture.stem}", picture.stem)
        own = next((found[name] for name in names if name in found), None)
        if own is None:
            raise BadInput(
                f"cocr.saliency: {folder} has no {names[1]}.png (nor {names[0]}.png) for the "
                f'picture {picture}; add it, or set cocr.saliency to "features" or "none"'
            )
        if taken.setdefault(own, picture) != picture:
            raise BadInput(f"cocr.saliency: {own} would be of {taken[own]} and of {picture}")
        chosen[picture] = own
    return chosen


def saliency_hash(settings: COCR, pictures: Sequence[Path]) -> str:
    """Return the identity of the saliency pictures that are used; nothing where none are.

    Args:
        settings: Name the folder.
        pictures: That need one.

    Raises:
        BadInput: If a saliency picture is missing or damaged.
    """
    if settings.saliency in ("features", "none"):
        return ""
    folder = Path(settings.saliency).expanduser()
    files = saliency_files(folder, sorted(set(pictures)))
    with ThreadPoolExecutor() as workers:  # Pillow decodes without the lock
        hashes = workers.map(lambda path: pixel_hash(read_image(path)), files.values())
        names = [path.relative_to(folder).as_posix() for path in files.values()]
        return joint_hash(dict(zip(names, hashes, strict=True)))


def foreground(maps: Tensor, side: int, threshold: float) -> Tensor:
    """Return (B, side, side): which cells are salient, at least one of each picture.

    Where no cell reaches the threshold, the most salient ones count; so a map that is the same
    everywhere makes all of them count.

    Args:
        maps: (B, h, w) from 0 to 1.
        side: Cells along a side.
        threshold: T.
    """
    resized = functional.interpolate(
        maps.unsqueeze(1), (side, side), mode="bilinear", align_corners=False, antialias=True
    ).squeeze(1)
    limits = resized.amax(dim=(1, 2), keepdim=True).clamp(max=threshold)
    return resized >= limits


def _grey(path: Path, side: int) -> Tensor:
    """Return a saliency picture as a (side, side) map."""
    small = PIL.Image.fromarray(read_image(path)).convert("L").resize((side, side))
    return torch.from_numpy(np.asarray(small, dtype=np.float32) / 255)
