"""SCOT: correspondence as optimal transport (Liu et al., CVPR 2020), with Hough matching after it.

Every cell of the source has some mass, every cell of the target room for some, and moving it
costs one minus the cosine similarity; how much of a cell goes where are its votes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from spairc.types import BadInput, Size
from spairc_models.activation import activation_map, weights_at
from spairc_models.adapter import execution
from spairc_models.backbone import Layers
from spairc_models.hyperpixel import Picture, Sizing, cosine_rows, picture_of
from spairc_models.hyperpixel_matcher import HyperpixelMatcher, network_details
from spairc_models.hyperpixel_networks import Reader, Source, reader_of

# Chosen by the authors by beam search on SPair-71k's validation split.
_LAYERS: Mapping[str, str] = {"resnet50": "0,11,12,13", "resnet101": "0,19,27,28,29,30"}
_LARGEST = 80  # exp(-80) and sums of such are float32 numbers whose inverses are numbers as well


@dataclass(frozen=True, eq=False)
class Weighted:
    """A picture's hyperpixels and how its mass is spread over them."""

    picture: Picture
    mass: Tensor  # (rows, columns), sum 1


def scot_matcher(  # noqa: PLR0913 -- each is a setting of its own; all have a default
    *,
    network: str = "resnet101",
    layers: Layers | None = None,
    checkpoint: str | Path | None = None,
    weights: str | None = None,
    cam: bool = False,
    epsilon: float = 0.05,
    exponent: float = 1.0,
    voting: bool = True,
    device: str | None = None,
    precision: str = "float32",
) -> HyperpixelMatcher:
    """Return the matcher; the defaults are those of the published row "no CAM" on SPair-71k.

    Args:
        network: "resnet101", "resnet50" or "torchvision:NAME".
        layers: "0,19,27" of a ResNet, else as torchvision names them.
        checkpoint: The network's weights: a file, a folder, or hf://org/repo/file@revision.
        weights: Instead of a checkpoint, a published version, such as "IMAGENET1K_V2"; "random"
            for tests.
        cam: Whether cells that tell the picture's class have more mass (activation maps); ResNets.
        epsilon: Of the transport's entropy; doubled while it is too small for float32.
        exponent: Of the votes; the authors take 0.5 on PF-PASCAL and PF-WILLOW.
        voting: False leaves the Hough matching out.
        device: "cpu", "cuda", "cuda:1"; None takes CUDA where there is one.
        precision: "float32" or "bfloat16", of the network.

    Raises:
        BadInput: If any of them is not to be had.
    """
    _check_positive(epsilon=epsilon, exponent=exponent)
    how = execution(device, precision)
    reader = reader_of(Source(network, layers, checkpoint, weights), _LAYERS, how)
    if cam and reader.classifier is None:
        raise BadInput(f"network {network!r} has no activation maps; take resnet101 or cam=false")
    sizing = Sizing(enlarge=True)
    return HyperpixelMatcher(
        name="scot" if network == "resnet101" else f"scot:{reader.name}",
        sizing=sizing,
        boxes=reader.boxes,
        reader=reader,
        how=how,
        describe=lambda inputs: _described(reader, inputs, cam=cam),
        cells=lambda weighted: weighted.picture.cells,
        rows=lambda first, second: plan_rows(first, second, epsilon, exponent),
        voting=voting,
        details=network_details(reader, how, sizing)
        | _settings(cam=cam, epsilon=epsilon, exponent=exponent, voting=voting),
    )


def _check_positive(**settings: float) -> None:
    """Raise BadInput unless every number is positive."""
    for name, value in settings.items():
        if not value > 0:
            raise BadInput(f"{name} {value}: give a positive number")


def _settings(**settings: bool | float) -> dict[str, str | int | float]:
    """Return what a run's record says of the settings; truths as words."""
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in settings.items()
    }


def _described(reader: Reader, inputs: Tensor, *, cam: bool) -> Weighted:
    """Return the features of one picture."""
    size = Size(inputs.shape[3], inputs.shape[2])
    picture = picture_of(reader.maps(inputs), size, reader.boxes)
    mass = torch.ones_like(picture.shares)
    if cam and reader.classifier is not None:
        mass = weights_at(picture.cells, activation_map(reader.classifier, inputs))
    return Weighted(picture, mass / mass.sum())


def plan_rows(
    first: Weighted, second: Weighted, epsilon: float, exponent: float
) -> Iterator[Tensor]:
    """Yield (w1, h2, w2) votes for each row of the first picture's cells, in turn.

    One round of Sinkhorn's algorithm from equal factors of all rows, as published: first the
    columns of the plan are brought to the second picture's mass, then its rows to the first's.
    A vote is the mass that is moved, times the number of the first picture's cells.

    Args:
        first: The first picture.
        second: The second.
        epsilon: Of the entropy; doubled until no sum is 0.
        exponent: Of the votes.
    """
    rows, columns = first.mass.shape
    kernel = second.mass.new_empty(rows, columns, second.mass.numel())
    for y, row in enumerate(cosine_rows(first.picture, second.picture)):
        kernel[y] = row.flatten(1).clamp_(min=0).sub_(1)  # minus the cost
    kernel.div_(_feasible(kernel, epsilon)).exp_()
    sums = kernel.sum(dim=(0, 1))
    factors = second.mass.flatten() / sums * (rows * columns)
    for y in range(rows):
        moved = kernel[y] * factors
        moved *= (first.mass[y] * (rows * columns) / moved.sum(dim=1))[:, None]
        yield torch.unflatten(moved.pow_(exponent), 1, second.mass.shape)


def _feasible(negative_costs: Tensor, epsilon: float) -> float:
    """Return epsilon, doubled until float32 has a positive number for each row and column.

    The program doubles it when the plan has become no number. Costs are at most 1, so this never
    happens from 1 / 80 on.
    """
    if epsilon * _LARGEST < 1:
        best = (negative_costs.flatten(0, 1).amax(dim=dim).min() for dim in (0, 1))
        worst = -min(float(each) for each in best)
        while worst > epsilon * _LARGEST:
            epsilon *= 2
    return epsilon
