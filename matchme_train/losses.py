"""Losses of the CATs family, of SCorrSAN and of MatchMe, on flows in cells.

Every loss is a mean over the cells that a mask names, and 0 (with a gradient of 0) where it names
none. SemiMatch's stand in `semimatch`.
"""

import torch
from torch import Tensor
from torch.nn import functional


def distances(flow: Tensor, other: Tensor) -> Tensor:
    """Return (B, h, h): how far apart two (B, 2, h, h) flows end, in cells."""
    apart: Tensor = torch.linalg.vector_norm(flow - other, dim=1)
    return apart


def cross_entropies(scores: Tensor, shares: Tensor, temperature: float) -> Tensor:
    """Return (B, h, h): the cross-entropy of each cell's softmax against the shares it should have.

    Args:
        scores: (B, K, h h), the cells of the second picture along the middle axis.
        shares: (B, K, h, h), of each cell a distribution over the second's cells; a constant.
        temperature: By which scores are divided before the softmax.
    """
    logarithms = functional.log_softmax(scores.float() / temperature, dim=1)
    products = shares.flatten(2) * logarithms
    return -torch.unflatten(products.sum(dim=1), 1, shares.shape[2:])


def mean_over(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the values that the mask names, over all pairs at once."""
    kept = torch.where(mask, values, 0)
    return kept.sum() / mask.sum().clamp(min=1)


def end_point_error(flow: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Return the mean distance between flow and target over the labelled cells of the batch.

    It is not a mean of the pairs' means: a pair with many key points counts more (CATs).

    Args:
        flow: (B, 2, h, h), the network's.
        target: (B, 2, h, h).
        mask: (B, h, h), true where the target is one.
    """
    return mean_over(distances(flow, target), mask)


def mean_of_pairs(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over pairs of each pair's mean over its own masked cells.

    Pairs without such a cell do not count. MatchMe's equation 7 writes a sum; this form does not
    depend on the number of cells, so that lambda = 1 means the same on every grid.

    Args:
        values: (B, h, h).
        mask: (B, h, h).
    """
    counts = mask.sum(dim=(1, 2))
    means = torch.where(mask, values, 0).sum(dim=(1, 2)) / counts.clamp(min=1)
    return means.sum() / (counts > 0).sum().clamp(min=1)


def grown(mask: Tensor, width: int) -> Tensor:
    """Return the mask grown by a square of this odd width around each of its cells.

    SCorrSAN takes 7: pseudo labels are trusted near the annotated points only.
    """
    spread = functional.max_pool2d(mask.float().unsqueeze(1), width, stride=1, padding=width // 2)
    return spread.squeeze(1) > 0


def selected_loss(flow: Tensor, teacher: Tensor, mask: Tensor, rate: float) -> Tensor:
    """Return the mean over the smallest distances to a teacher's flow (SCorrSAN's equation 6).

    The share is taken over the whole batch, as in the program; the paper takes it of each pair.
    Two networks that teach each other exchange their choices, but since they measure the same
    distance, the choices are one.

    Args:
        flow: (B, 2, h, h), the network's own.
        teacher: The other's, a constant.
        mask: (B, h, h).
        rate: The share of the masked cells that is kept; at least one cell is.
    """
    apart = distances(flow, teacher.detach())[mask]
    if not len(apart):
        return flow.sum() * 0
    kept = max(1, int(rate * len(apart)))
    return torch.topk(apart, kept, largest=False).values.mean()


def keep_rate(epoch: int, *, first: float, last: float, epochs: int) -> float:
    """Return which share of pseudo labels an epoch keeps.

    Args:
        epoch: Counted from that in which pseudo labels begin.
        first: The share in epoch 0.
        last: The share from epoch `epochs` - 1 on; between them it rises in equal steps.
        epochs: How many.
    """
    return first + (last - first) * min(epoch, epochs - 1) / max(1, epochs - 1)
