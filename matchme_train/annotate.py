"""MatchMe's pseudo labels ("Match me if you can", ACCV 2024): what the annotator says of a pair.

The annotator sees clean pictures. Where it is confident, its matches become labels for a student
whose first picture, the one whose grid carries the flow, was warped. What is warped are absolute
places: a flow tells how far a cell's match is from that very cell, so it may not be moved as it
is to another cell. (The paper calls the student's first picture the target.)
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from matchme_train.semimatch import consistent
from matchme_train.targets import flow_to, places
from matchme_train.warps import origins_of_cells
from spairc_models.flow import TEMPERATURE, confidence, flow_of, soft_argmax


@dataclass(frozen=True, eq=False)
class Annotation:
    """An annotator's answer for clean pairs."""

    mapping: Tensor  # (B, 2, h, h) at the first picture's cells, places in the second, in cells
    confidence: Tensor  # (B, h, h) the largest share under the soft-argmax's softmax
    shares: Tensor | None = None  # (B, K, h, h) of each of the second's cells under that softmax


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """What a student should answer, and where."""

    flow: Tensor  # (B, 2, h, h) in cells
    mask: Tensor  # (B, h, h)
    shares: Tensor | None = None  # (B, K, h, h) where the annotation has them


def annotate(
    network: Any,
    first: Tensor,
    second: Tensor,
    *,
    kernel: float = 0.0,
    cycle: bool = False,
    shares: bool = False,
) -> Annotation:
    """Return what a network says of clean pairs, without gradient.

    Args:
        network: In evaluation mode; one of `spairc_models` with `refined_correlation`.
        first: (B, 3, side, side), normalised.
        second: The pictures searched.
        kernel: Cells: the deviation of a Gaussian around each cell's best match, by which scores
            are multiplied before they are read (SFNet's kernel soft-argmax); 0 is none.
        cycle: Whether a cell has no confidence where its best match leads back to another place:
            `semimatch.consistent`.
        shares: Whether the answer holds them.
    """
    with torch.no_grad():
        scores = refined(network, first, second)
        side = network.cells
        agreeing = consistent(torch.unflatten(scores, 2, (side, side))) if cycle else None
        if kernel:
            scores = scores * _around_best(scores, side, kernel)
        sure = torch.unflatten(confidence(scores, temperature_of(network)), 1, (side, side))
        if agreeing is not None:
            sure = torch.where(agreeing, sure, 0)
        chances = (scores.float() / temperature_of(network)).softmax(dim=1) if shares else None
        return Annotation(
            places(read_flow(network, scores)),
            sure,
            None if chances is None else torch.unflatten(chances, 2, (side, side)),
        )


def pseudo_labels(annotation: Annotation, warp: Tensor, threshold: float) -> PseudoLabels:
    """Return the labels for students whose first picture was warped.

    At the warped picture's cell y the match is the one that the clean picture has at g(y), read
    bilinearly; the confidence there is that of the nearest cell (equation 8: it must be above the
    threshold), and g(y) must lie in the picture. Shares are read as places are.

    Args:
        annotation: Of the clean pairs.
        warp: (B, 24) see `warps`.
        threshold: tau.
    """
    mapping = annotation.mapping
    origin = origins_of_cells(warp, mapping.shape[-1])
    inside = (origin.abs().amax(dim=-1) <= 1).to(mapping.device)
    reading = origin.to(mapping)
    found = _read(mapping, reading)
    shares = annotation.shares
    sure = functional.grid_sample(
        annotation.confidence.unsqueeze(1).to(mapping), reading, mode="nearest", align_corners=False
    ).squeeze(1)
    return PseudoLabels(
        flow_to(found),
        (sure > threshold) & inside,
        None if shares is None else _read(shares, reading.to(shares)),
    )


def refined(network: Any, first: Tensor, second: Tensor) -> Tensor:
    """Return the (B, second's cells, first's cells) refined correlation of two batches.

    The searched pictures are encoded first, as the networks' own `forward` does: in training mode
    batch norm's running statistics depend on the order.
    """
    searched = network.encode_features(second)
    scores: Tensor = network.refined_correlation(network.encode_features(first), searched)
    return scores


def read_flow(network: Any, scores: Tensor) -> Tensor:
    """Return the (B, 2, h, h) flow that the network reads from a refined correlation."""
    places_of = getattr(network, "hpn_learner", network)  # CATs++ keeps its places there
    found = soft_argmax(scores, places_of.x_normal, places_of.y_normal, temperature_of(network))
    return flow_of(found, network.cells)


def temperature_of(network: Any) -> float:
    """Return that of a network's soft-argmax; only CATs has one of its own."""
    return float(getattr(network, "temperature", TEMPERATURE))


def _read(maps: Tensor, reading: Tensor) -> Tensor:
    """Return (B, C, h, h) maps at places from -1 to 1, bilinearly; the border's value outside."""
    return functional.grid_sample(
        maps, reading, mode="bilinear", padding_mode="border", align_corners=False
    )


def _around_best(scores: Tensor, side: int, deviation: float) -> Tensor:
    """Return (B, K, N): a Gaussian over the second's cells around the best of each of N cells."""
    best = scores.argmax(dim=1, keepdim=True)
    cells = torch.arange(side * side, device=scores.device).view(-1, 1)
    rows, columns = cells // side - best // side, cells % side - best % side
    squared = (rows.square() + columns.square()).to(scores.dtype)
    return torch.exp(-squared / (2 * deviation**2))
