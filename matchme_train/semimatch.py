"""SemiMatch's pseudo labels (Kim et al., CVPR 2022), from scores to loss.

Scores are (B, K, h, h): at every cell of the first picture one for each of the K = h^2 cells of
the second, row by row. The weak view gives labels, its scores being warped as the first picture
of the strong view was; the strong view learns them where four masks agree.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from matchme_train.losses import mean_over
from matchme_train.targets import flow_to
from matchme_train.warps import published_steps, resampled

LABEL_TEMPERATURE = 0.1  # of the probabilities; the paper's settings file says 0.05
LOSS_TEMPERATURE = 0.1  # of the cross-entropy
ENTROPY_FACTOR = 1.5  # a label counts exp(-1.5 entropy)
RELATIVE, ABSOLUTE = 0.1, 0.5  # of the forward-backward test; the second in squared cells
_GUARD = 1e-6  # added to a probability whose logarithm is taken


@dataclass(frozen=True, eq=False)
class Labels:
    """What the weak view says at the cells of the strong view's first picture."""

    cell: Tensor  # (B, h, h) number of the matched cell of the second picture
    weight: Tensor  # (B, h, h) exp(-factor x entropy)
    entropy: Tensor  # (B, h, h) in nats
    confident: Tensor  # (B, h, h) the largest probability is large enough
    consistent: Tensor  # (B, h, h) forward and backward agree
    in_first: Tensor  # (B, h, h) the cell lies in the first picture's object box
    in_second: Tensor  # (B, h, h) the matched cell lies in the second's

    @property
    def used(self) -> Tensor:
        """(B, h, h) where all four agree."""
        return self.confident & self.consistent & self.in_first & self.in_second


def labels_of(
    scores: Tensor, first_box: Tensor, second_box: Tensor, warp: Tensor, *, threshold: float
) -> Labels:
    """Return the pseudo labels of a batch.

    Args:
        scores: (B, K, h, h) of the weak view.
        first_box: (B, 4) of the object in the first picture, in cells: left, top, right, bottom.
        second_box: (B, 4) in the second picture.
        warp: (B, 24) what the strong view's first picture was warped with (`warps`).
        threshold: Probability from which on a label is confident.
    """
    side = scores.shape[-1]
    steps = published_steps(warp, side)
    warped = resampled(scores, steps, "nearest")
    chances = torch.softmax(warped / LABEL_TEMPERATURE, dim=1)
    guarded = chances + _GUARD
    entropy = -(guarded * guarded.log()).sum(dim=1)
    cell = warped.argmax(dim=1)
    numbers = torch.arange(side * side, device=scores.device).view(1, side, side)
    own = torch.stack([consistent(scores), in_box(numbers, first_box, side)], dim=1)
    agreeing, inside = resampled(own.to(scores.dtype), steps, "nearest").unbind(1)
    return Labels(
        cell=cell,
        weight=torch.exp(-ENTROPY_FACTOR * entropy),
        entropy=entropy,
        confident=chances.amax(dim=1) >= threshold,
        consistent=agreeing > 0,
        in_first=inside > 0,
        in_second=in_box(cell, second_box, side),
    )


def pseudo_loss(scores: Tensor, labels: Labels) -> Tensor:
    """Return the weighted cross-entropy of the strong view's scores, mean over used cells.

    Args:
        scores: (B, K, h, h) of the strong view; its first picture was warped, they were not.
        labels: Of the weak view.
    """
    wrong = functional.cross_entropy(scores / LOSS_TEMPERATURE, labels.cell, reduction="none")
    return mean_over(wrong * labels.weight, labels.used)


def balanced(pseudo: Tensor, supervised: Tensor) -> Tensor:
    """Return the pseudo loss rescaled to the supervised one's value, the "dynamic" form.

    Only its gradient then depends on the pseudo labels.
    """
    size = pseudo.detach()
    share = torch.where(size > 0, supervised.detach() / size.clamp(min=1e-30), 0)
    return pseudo * share


def consistent(scores: Tensor) -> Tensor:
    """Return (B, h, h): whether the way to the best match and back ends near where it began.

    With f to the match and g back, |f + g|^2 <= 0.1 (|f|^2 + |g|^2) + 0.5. The program reads g
    bilinearly, at a place that it computes for a grid whose -1 and 1 are the centres of the outer
    cells and hands to a sampler for which they are the edges; so do we.
    """
    side = scores.shape[-1]
    forth = best_places(scores)
    swapped = scores.flatten(2).transpose(1, 2)
    back = flow_to(best_places(torch.unflatten(swapped, 2, (side, side))))
    reading = (forth * 2 / (side - 1) - 1).permute(0, 2, 3, 1)
    read = functional.grid_sample(back, reading, mode="bilinear", align_corners=False)
    out = flow_to(forth)
    lengths = out.square().sum(dim=1) + read.square().sum(dim=1)
    return (out + read).square().sum(dim=1) <= RELATIVE * lengths + ABSOLUTE


def best_places(scores: Tensor) -> Tensor:
    """Return (B, 2, h, h): column and row of the second picture's best cell."""
    side = scores.shape[-1]
    best = scores.argmax(dim=1)
    return torch.stack([best % side, best // side], dim=1).to(scores.dtype)


def in_box(cell: Tensor, box: Tensor, side: int) -> Tensor:
    """Return (B, h, h): whether numbered cells lie in a box, limits included.

    Args:
        cell: (B, h, h) or (1, h, h) numbers.
        box: (B, 4) left, top, right, bottom in cells, rounded half to even here.
        side: Cells along a side.
    """
    left, top, right, bottom = box.round().view(-1, 4, 1, 1).unbind(1)
    row, column = cell // side, cell % side
    return (column >= left) & (column <= right) & (row >= top) & (row <= bottom)
