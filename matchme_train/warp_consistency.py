"""PWarpC: matches by way of another picture must be the warp that is known (Truong et al. 2022).

From a pair comes a third picture, the first one warped. Its cells' matches in the second picture,
and those of the second in the first, are probabilities; their product must be the warp, and so
must the direct matches of the warped picture in the first. The loss, its smoothed truth and its
balances are those of the paper's program ("Probabilistic warp consistency for weakly-supervised
semantic correspondences", CVPR 2022), which reads the flow of no cell; key points are added with
the network's own end-point error, as its settings for networks that answer with a flow do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from matchme_train.annotate import read_flow
from matchme_train.consistency_settings import WarpConsistency
from matchme_train.data import Batch
from matchme_train.losses import end_point_error, mean_over
from matchme_train.methods import Losses
from matchme_train.targets import labelled

_GUARD = 1e-7  # added to a probability whose logarithm is taken
_BALANCE_GUARD = 1e-6  # added to a loss that another is divided by
_NEAREST = 1e-5  # cells: a neighbour nearer than this counts as this near
_BLUR = 3 / 2 / 2.354  # cells: deviation of the blur of the smoothed truth, over 3 x 3 cells
_AROUND = (-1, 0, 1, 2)  # rows and columns that a smoothed truth reaches, from its own cell on


def probabilities(scores: Tensor, temperature: float) -> Tensor:
    """Return (B, K, N) matching probabilities: a softmax over the searched picture's cells.

    Args:
        scores: (B, K, N) refined correlation, the searched picture's cells along the middle axis.
        temperature: Divides them.
    """
    whole = scores.to(torch.promote_types(scores.dtype, torch.float32))
    return torch.softmax(whole / temperature, dim=1)


def composed(forth: Tensor, back: Tensor) -> Tensor:
    """Return (B, T, N) probabilities of matches by way of a third picture, never in low precision.

    Args:
        forth: (B, K, N) from the N cells asked to the third picture's.
        back: (B, T, K) from there on.
    """
    with torch.autocast(forth.device.type, enabled=False):
        return back @ forth


def inside(known: Tensor) -> Tensor:
    """Return (B, h, h): whether places, (B, 2, h, h) in cells, are between the outer centres."""
    return ((known >= 0) & (known <= known.shape[-1] - 1)).all(dim=1)


def truth_by_way(product: Tensor, known: Tensor) -> Tensor:
    """Return (B, h, h): how probable the true match is, its place rounded to a cell.

    Args:
        product: (B, K, N) probabilities.
        known: (B, 2, h, h) true places, in cells; where they are not `inside`, any answer comes.
    """
    side = known.shape[-1]
    column, row = known.round().long().clamp(0, side - 1).unbind(1)
    number = (row * side + column).flatten(1).unsqueeze(1)
    return torch.unflatten(product.gather(1, number).squeeze(1), 1, (side, side))


def most_probable_loss(truth: Tensor, counts: Tensor, share: float) -> Tensor:
    """Return the mean cross-entropy of the cells whose true match is most probable.

    The others may not be visible in the third picture. The share is taken over the whole batch.

    Args:
        truth: (B, h, h) from `truth_by_way`.
        counts: (B, h, h) which cells have a true match.
        share: Of these, how many are kept, rounded down, but at least one.
    """
    found = truth[counts]
    if not len(found):
        return truth.sum() * 0
    kept = torch.topk(found, max(1, int(share * len(found)))).values
    return -(kept + _GUARD).log().mean()


def smoothed_cross_entropy(chances: Tensor, known: Tensor) -> Tensor:
    """Return (B, h, h): the cross-entropy of each cell's matches against its smoothed truth.

    The truth is shared among the four cells around the place by the inverse of their distances,
    and then blurred over 3 x 3 cells; what falls outside the picture is lost, so that the shares
    of a place at the edge do not sum to 1.

    Args:
        chances: (B, K, N) probabilities.
        known: (B, 2, h, h) true places, in cells; where they are not `inside`, any answer comes.
    """
    side = known.shape[-1]
    low = known.detach().floor().clamp(0, side - 1)
    shares = smoothed_truth(known - low, low, side)
    offsets = torch.tensor(_AROUND, device=known.device)
    column, row = low.long().unbind(1)
    columns = (column.unsqueeze(1) + offsets.view(4, 1, 1)).clamp(0, side - 1)
    rows = (row.unsqueeze(1) + offsets.view(4, 1, 1)).clamp(0, side - 1)
    numbers = rows.unsqueeze(2) * side + columns.unsqueeze(1)  # (B, rows, columns, h, h)
    read = chances.gather(1, numbers.flatten(1, 2).flatten(2))
    # Where a probability and the guard exceed 1, the program counts nothing.
    wrong = -(read + _GUARD).log().clamp(max=0)
    return torch.unflatten((shares.flatten(1, 2).flatten(2) * wrong).sum(dim=1), 1, (side, side))


def smoothed_truth(fraction: Tensor, low: Tensor, side: int) -> Tensor:
    """Return (B, 4, 4, h, h) shares of the rows and columns of `_AROUND`.

    Args:
        fraction: (B, 2, h, h) from the lower cell to the place, x and y.
        low: (B, 2, h, h) the lower cell's column and row.
        side: Cells along a side.
    """
    x, y = fraction.unbind(1)
    corners = torch.stack(
        [torch.stack([torch.hypot(x - right, y - down) for right in (0, 1)]) for down in (0, 1)]
    ).movedim(2, 0)  # (B, down, right, h, h)
    near = corners.clamp(min=_NEAREST).reciprocal()
    near = near / near.sum(dim=(1, 2), keepdim=True)
    near = near * _in_picture(low, torch.tensor([0, 1], device=low.device), side)
    batch, *_, height, width = near.shape
    maps = near.permute(0, 3, 4, 1, 2).reshape(-1, 1, 2, 2)
    blurred = functional.conv2d(functional.pad(maps, (2, 2, 2, 2)), _kernel().to(maps))
    spread = blurred.view(batch, height, width, 4, 4).permute(0, 3, 4, 1, 2)
    return spread * _in_picture(low, torch.tensor(_AROUND, device=low.device), side)


def balanced(loss: Tensor, size: Tensor) -> Tensor:
    """Return a loss rescaled to the value of another, which it has no gradient of."""
    return loss * (size.detach() / (loss.detach() + _BALANCE_GUARD))


@dataclass(frozen=True)
class ByKnownWarps:
    """PWarpC's strongly supervised form, on one network and labelled pairs.

    Every picture is encoded once, where the program encodes it for each of its matches: the same
    but for the channels that dropout takes and for batch norm's running statistics.
    """

    settings: WarpConsistency

    def losses(
        self,
        networks: Sequence[nn.Module],
        pairs: Batch,
        unlabelled: Batch | None,  # noqa: ARG002 -- the interface's; it uses none
        epoch: int,  # noqa: ARG002 -- likewise
    ) -> Losses:
        """Return the losses of a step."""
        network: Any
        (network,) = networks
        if pairs.known is None or pairs.clean_first is None or pairs.target is None:
            raise TypeError("PWarpC needs labelled pairs with a known warp")
        warped, first, second = (
            network.encode_features(each) for each in (pairs.first, pairs.clean_first, pairs.second)
        )
        target = pairs.whole(pairs.target)
        flow = read_flow(network, network.refined_correlation(first, second))
        error = end_point_error(pairs.whole(flow), target, labelled(target))
        forth, back, direct = (
            probabilities(network.refined_correlation(*both), self.settings.temperature)
            for both in ((warped, second), (second, first), (warped, first))
        )
        counts = pairs.whole(inside(pairs.known))
        truth = pairs.whole(truth_by_way(composed(forth, back), pairs.known))
        triplet = most_probable_loss(truth, counts, self.settings.share)
        straight = mean_over(pairs.whole(smoothed_cross_entropy(direct, pairs.known)), counts)
        triplet = triplet + (balanced(straight, triplet) if self.settings.balance else straight)
        kept = self.settings.share * counts.float().mean()
        return Losses(triplet + self._weighed(error, triplet), error, triplet.detach(), kept)

    def _weighed(self, error: Tensor, triplet: Tensor) -> Tensor:
        """Return the key points' loss as it is added."""
        if self.settings.balance_labelled:
            return balanced(error, triplet)
        return self.settings.labelled_weight * error


def _in_picture(low: Tensor, offsets: Tensor, side: int) -> Tensor:
    """Return (B, n, n, h, h): which rows and columns, counted from a cell, there are."""
    places = low.unsqueeze(2) + offsets.view(1, 1, -1, 1, 1)  # (B, 2, n, h, h)
    columns, rows = ((places >= 0) & (places < side)).unbind(1)
    return rows.unsqueeze(2) & columns.unsqueeze(1)


def _kernel() -> Tensor:
    """Return the (1, 1, 3, 3) blur of the smoothed truth; it sums to 1."""
    line = torch.exp(-torch.arange(-1, 2, dtype=torch.float64).square() / (2 * _BLUR**2))
    blur = torch.outer(line, line)
    return (blur / blur.sum()).view(1, 1, 3, 3)
