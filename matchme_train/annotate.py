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

from matchme_train.targets import flow_to, places
from matchme_train.warps import origins_of_cells
from spairc_models.flow import confidence, flow_of, soft_argmax


@dataclass(frozen=True, eq=False)
class Annotation:
    """An annotator's answer for clean pairs."""

    mapping: Tensor  # (B, 2, h, h) at the first picture's cells, places in the second, in cells
    confidence: Tensor  # (B, h, h) the largest share under the soft-argmax's softmax


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """What a student should answer, and where."""

    flow: Tensor  # (B, 2, h, h) in cells
    mask: Tensor  # (B, h, h)


def annotate(network: Any, first: Tensor, second: Tensor) -> Annotation:
    """Return what a network says of clean pairs, without gradient.

    Args:
        network: In evaluation mode; one of `spairc_models` with `refined_correlation`.
        first: (B, 3, side, side), normalised.
        second: The pictures searched.
    """
    with torch.no_grad():
        scores = refined(network, first, second)
        flow = read_flow(network, scores)
        side = flow.shape[-1]
        return Annotation(places(flow), torch.unflatten(confidence(scores), 1, (side, side)))


def pseudo_labels(annotation: Annotation, warp: Tensor, threshold: float) -> PseudoLabels:
    """Return the labels for students whose first picture was warped.

    At the warped picture's cell y the match is the one that the clean picture has at g(y), read
    bilinearly; the confidence there is that of the nearest cell (equation 8: it must be above the
    threshold), and g(y) must lie in the picture.

    Args:
        annotation: Of the clean pairs.
        warp: (B, 24) see `warps`.
        threshold: tau.
    """
    mapping = annotation.mapping
    origin = origins_of_cells(warp, mapping.shape[-1])
    inside = (origin.abs().amax(dim=-1) <= 1).to(mapping.device)
    reading = origin.to(mapping)
    found = functional.grid_sample(
        mapping, reading, mode="bilinear", padding_mode="border", align_corners=False
    )
    sure = functional.grid_sample(
        annotation.confidence.unsqueeze(1).to(mapping), reading, mode="nearest", align_corners=False
    ).squeeze(1)
    return PseudoLabels(flow_to(found), (sure > threshold) & inside)


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
    return flow_of(soft_argmax(scores, places_of.x_normal, places_of.y_normal), network.cells)
