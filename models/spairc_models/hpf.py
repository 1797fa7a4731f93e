"""HPF: hyperpixels and regularised Hough matching (Min et al., ICCV 2019)."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from spairc.types import Size
from spairc_models.adapter import execution
from spairc_models.backbone import Layers
from spairc_models.hyperpixel import Picture, Sizing, cosine_rows, picture_of
from spairc_models.hyperpixel_matcher import HyperpixelMatcher, network_details
from spairc_models.hyperpixel_networks import Source, reader_of

# Chosen by the authors by beam search on SPair-71k's validation split.
_LAYERS: Mapping[str, str] = {
    "resnet50": "0,9,10,11,12,13",
    "resnet101": "0,8,20,21,26,28,29,30",
}


def hpf_matcher(
    *,
    network: str = "resnet101",
    layers: Layers | None = None,
    checkpoint: str | Path | None = None,
    weights: str | None = None,
    voting: bool = True,
    device: str | None = None,
    precision: str = "float32",
) -> HyperpixelMatcher:
    """Return the matcher; the defaults are those of the published evaluation on SPair-71k.

    A vote is the cube of the cosine similarity where that is positive. A point moves as the cells
    around it do, on average; one that no cell covers moves as the nearest, for which the program
    has no number.

    Args:
        network: "resnet101", "resnet50" or "torchvision:NAME".
        layers: "0,8,20" of a ResNet, else as torchvision names them.
        checkpoint: The network's weights: a file, a folder, or hf://org/repo/file@revision.
        weights: Instead of a checkpoint, a published version, such as "IMAGENET1K_V2"; "random"
            for tests.
        voting: False leaves the Hough matching out, so that the most similar cell answers.
        device: "cpu", "cuda", "cuda:1"; None takes CUDA where there is one.
        precision: "float32" or "bfloat16", of the network.

    Raises:
        BadInput: If any of them is not to be had.
    """
    how = execution(device, precision)
    reader = reader_of(Source(network, layers, checkpoint, weights), _LAYERS, how)
    boxes = replace(reader.boxes, prune=True)
    sizing = Sizing()

    def describe(inputs: Tensor) -> Picture:
        size = Size(inputs.shape[3], inputs.shape[2])
        return picture_of(reader.maps(inputs), size, boxes)

    return HyperpixelMatcher(
        name="hpf" if network == "resnet101" else f"hpf:{reader.name}",
        sizing=sizing,
        boxes=boxes,
        reader=reader,
        how=how,
        describe=describe,
        cells=lambda picture: picture.cells,
        rows=votes,
        voting=voting,
        details={**network_details(reader, how, sizing), "voting": str(voting).lower()},
    )


def votes(first: Picture, second: Picture) -> Iterator[Tensor]:
    """Yield (w1, h2, w2) votes for each row of the first picture's cells, in turn."""
    for row in cosine_rows(first, second):
        row.clamp_(min=0)
        yield row * row * row
