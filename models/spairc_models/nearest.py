"""The nearest feature of any backbone: no training, the yardstick of every backbone.

Each layer's features are brought to length 1, resized to the finest layer's grid and joined; a
point of the source is read bilinearly and compared with every cell of the target.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spairc.lookup import lookup
from spairc.types import Points, Query
from spairc_models.adapter import Execution, TorchMatcher, details_of, execution, one_thread_each
from spairc_models.backbone import Backbone, Layers, Wanted
from spairc_models.preprocessing import Mode
from spairc_models.readout import Corners, Readout, Weights, nearest_points
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
    readout: str = "window",
    window: int = 5,
    temperature: float = 0.04,
    device: str | None = None,
    precision: str = "float32",
    batch_size: int | None = None,
) -> TorchMatcher:
    """Return a matcher that looks for the most similar feature.

    Args:
        network: "torchvision:NAME" or "timm:NAME".
        checkpoint: The network's weights: a file, a folder, or hf://org/repo/file@revision.
        weights: Instead of a checkpoint, a published version, such as "IMAGENET1K_V2"; "random"
            for tests.
        layers: "13,16" or [13, 16]; the network's own choice if not given.
        side: Pixels of the square input.
        resize: "squash" or "pad".
        readout: "argmax" or "window".
        window: Cells a side of the window, odd.
        temperature: Of the softmax in the window.
        device: "cpu", "cuda", "cuda:1"; None takes CUDA where there is one.
        precision: "float32" or "bfloat16", of the network; features are compared in float32.
        batch_size: Pictures in one forward pass.

    Raises:
        BadInput: If any of them is not to be had.
    """
    how = execution(device, precision, batch_size)
    chosen = Readout(readout, window, temperature)
    collection, _, name = network.partition(":")
    load = lookup(COLLECTIONS, collection, "collection of networks")
    return _matcher(load(name, Wanted(layers, side, resize, checkpoint, weights), how), chosen, how)


def _matcher(backbone: Backbone, readout: Readout, how: Execution) -> TorchMatcher:
    """Return the matcher of a backbone."""
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
            nearest_points(query, backbone.preprocessing, query.target.shape[:2], readout, _compare)
            for query in queries
        ]


def _compare(
    source: Tensor, corners: Corners, weights: Weights, target: Tensor
) -> NDArray[np.float32]:
    """Return (N, cells) cosine similarities of the source's points with the target's cells."""
    cells = source.flatten(0, 1)[torch.from_numpy(corners).to(source.device)]
    shares = torch.from_numpy(weights).to(source.device).unsqueeze(2)
    read = functional.normalize((cells * shares).sum(dim=1), dim=1)
    with torch.autocast(source.device.type, enabled=False):
        similar: NDArray[np.float32] = (read @ target.flatten(0, 1).T).cpu().numpy()
    return similar
