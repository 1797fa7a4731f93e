"""The nearest feature of any backbone: no training, the yardstick of every backbone.

Each layer's features are brought to length 1, resized to the finest layer's grid and joined; a
point of the source is read bilinearly and compared with every cell of the target.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spairc.lookup import lookup
from spairc.types import Points, Query
from spairc_models.adapter import (
    Details,
    Execution,
    TorchMatcher,
    as_compiled,
    details_of,
    execution,
    one_thread_each,
)
from spairc_models.backbone import Backbone, Layers, Wanted
from spairc_models.preprocessing import INTERPOLATIONS, Mode
from spairc_models.readout import Corners, Readout, Weights, nearest_points, readout_of
from spairc_models.timm_networks import timm_backbone
from spairc_models.torchvision_networks import torchvision_backbone

COLLECTIONS: Mapping[str, Callable[[str, Wanted, Execution], Backbone]] = {
    "torchvision": torchvision_backbone,
    "timm": timm_backbone,
}


def nearest_matcher(  # noqa: PLR0913 -- each is a setting of its own; all but one have a default
    network: str,
    *,
    checkpoint: str | Path | None = None,
    weights: str | None = None,
    layers: Layers | None = None,
    side: int | None = None,
    resize: Mode = "squash",
    interpolation: str = "bilinear",
    readout: str = "window",
    window: int | None = None,
    temperature: float | None = None,
    device: str | None = None,
    precision: str = "float32",
    batch_size: int | None = None,
    compiled: bool = False,
    label: str | None = None,
) -> TorchMatcher:
    """Return a matcher that looks for the most similar feature.

    Args:
        network: "torchvision:NAME" or "timm:NAME".
        checkpoint: The network's weights: a file, a folder, or hf://org/repo/file@revision.
        weights: Instead of a checkpoint, a published version, "IMAGENET1K_V2"; "random" for tests.
        layers: "13,16" or [13, 16]; the network's own choice if not given.
        side: Pixels of the square input.
        resize: "squash" or "pad".
        interpolation: Of the resize: "bilinear", "bicubic" or "lanczos".
        readout: "argmax", "window", "full", "sd-dino" or "geoaware"; `READOUTS` tells them apart.
        window: Cells a side of the window, odd; the readout's own if not given.
        temperature: Of the softmax in the window; the readout's own if not given.
        device: "cpu", "cuda", "cuda:1"; None takes CUDA where there is one.
        precision: "float32" or "bfloat16", of the network; features are compared in float32.
        batch_size: Pictures in one forward pass.
        compiled: Whether to encode pictures by torch.compile (`adapter.as_compiled`).
        label: What tables call the matcher; what its network is called if not given.

    Raises:
        BadInput: If any of them is not to be had.
    """
    how = replace(execution(device, precision, batch_size), compiled=compiled)
    chosen = readout_of(readout, window, temperature)
    lookup(INTERPOLATIONS, interpolation, "interpolation")
    collection, _, name = network.partition(":")
    wanted = Wanted(layers, side, resize, checkpoint, weights)
    backbone = lookup(COLLECTIONS, collection, "collection of networks")(name, wanted, how)
    preprocessing = replace(backbone.preprocessing, interpolation=interpolation)
    maps = as_compiled(backbone.maps, how, preprocessing.side)
    named = replace(backbone, name=label or backbone.name, preprocessing=preprocessing, maps=maps)
    return backbone_matcher(named, chosen, how, {"network": network})


def backbone_matcher(
    backbone: Backbone, readout: Readout, how: Execution, details: Details
) -> TorchMatcher:
    """Return the nearest-feature matcher of a backbone.

    Args:
        backbone: Gives the features; the matcher has its name.
        readout: Chooses the answers.
        how: Device and precision.
        details: What else the run's record should say.
    """
    return TorchMatcher(
        name=backbone.name,
        preprocessing=backbone.preprocessing,
        how=how,
        features=lambda inputs: joined(backbone.maps(inputs)),
        find=lambda queries: _answers(queries, backbone, readout),
        details={
            **details_of(how, backbone.preprocessing, backbone.weights),
            "layers": ",".join(backbone.layers),
            **readout.details(),
            **details,
        },
    )


def joined(maps: Sequence[Tensor]) -> list[Tensor]:
    """Return one (rows, columns, channels) grid of unit features per picture.

    Every layer weighs the same, however many channels it has.

    Args:
        maps: (B, C, h, w) of each layer.
    """
    finest = max((each.shape[-2:] for each in maps), key=lambda shape: shape[0] * shape[1])
    parts = [
        functional.interpolate(
            functional.normalize(each.float(), dim=1), size=finest, mode="bilinear"
        )
        for each in maps
    ]
    grids = functional.normalize(torch.cat(parts, dim=1), dim=1)
    return list(grids.permute(0, 2, 3, 1).contiguous())


def _answers(queries: Sequence[Query], backbone: Backbone, readout: Readout) -> list[Points]:
    """Return the answers in the targets' frames; each depends on its own query alone."""
    with one_thread_each():  # an answer takes a quarter of a millisecond, too little to share
        return [
            nearest_points(query, backbone.preprocessing, query.target.shape[:2], readout, compare)
            for query in queries
        ]


def compare(
    source: Tensor, corners: Corners, weights: Weights, target: Tensor
) -> NDArray[np.float32]:
    """Return (N, cells) products of unit features at the source's points with the target's cells.

    Cosine similarities where the target's features have length 1, as `joined` makes them.
    """
    cells = source.flatten(0, 1)[torch.from_numpy(corners).to(source.device)]
    shares = torch.from_numpy(weights).to(source.device).unsqueeze(2)
    read = functional.normalize((cells * shares).sum(dim=1), dim=1)
    with torch.autocast(source.device.type, enabled=False):
        similar: NDArray[np.float32] = (read @ target.flatten(0, 1).T).cpu().numpy()
    return similar
