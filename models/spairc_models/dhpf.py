"""DHPF: dynamic hyperpixel flow (Min et al., ECCV 2020), a gate per layer of ResNet for each pair.

A gate sees what both pictures' features of a layer are on average and says whether the layer is to
be used; the features of those that are, an eighth of their channels left, are enlarged to 60 x 60
cells and compared by their cosine. Its square, never negative, votes for its offset (`hough`).
Where no gate opens, the first layer alone is used.

The input is 240 x 240, squashed. A point is answered by all cells whose boxes of 11 pixels, 4
apart, cover it: it moves as they do on average, each to its best cell after all scores that are
not mutually best were damped.

The published files hold the gates only, the trunk being ImageNet's: see
`network_matchers.gated_matcher`. Training there samples the gates with noise; here they are what
they are in evaluation, with the gradient of a softmax.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spairc.types import Size
from spairc_models.correlation import correlate, mutual_nearest, resize_2d
from spairc_models.hough import Cells, hough_matching
from spairc_models.hyperpixel import Level, Picture, cosine_rows, enlargement
from spairc_models.resnet import RESNET_101, ResNet

SIDE = 240  # pixels of the input
STEP, REACH = 4, 5  # pixels from one cell to the next, and from a cell to the border of its box
REDUCTION = 8  # channels of a layer over those that are compared
HIDDEN = 32  # channels of a gate
GUARD = 1e-3  # added to the product of two lengths


class DHPF(ResNet):
    """The network: a ResNet's official key names, then those of the published gates.

    Args:
        blocks: Bottlenecks of each stage of the trunk.
        width: Of the trunk.
    """

    def __init__(self, blocks: Sequence[int] = RESNET_101, *, width: int = 64) -> None:
        super().__init__(blocks, width=width)
        self.reduction_ffns = nn.ModuleList(
            nn.Sequential(*_reduced(count, count // REDUCTION)) for count in self.channels
        )
        self.gumbel_ffns = nn.ModuleList(
            nn.Sequential(*_reduced(count, HIDDEN), nn.Conv2d(HIDDEN, 2, 1, bias=False))
            for count in self.channels
        )

    def encode_features(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return what a picture gives to every pair that it is in, in either role.

        Args:
            pictures: (B, 3, H, W), normalised.

        Returns:
            For every layer (B, C, 1, 1) average features, then for every layer (B, c, h, w)
            features of fewer channels.
        """
        averages, reduced = [], []
        everything = range(len(self.channels))
        for layer, features in self.walk(pictures, everything, rectified=False):
            averages.append(features.mean(dim=(2, 3), keepdim=True))
            reduced.append(self.reduction_ffns[layer](features))
        return (*averages, *reduced)

    def gates(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """Return (B, layers): 1 for the layers that are used, 0 for the others.

        Where gradients are asked for they are those of the softmax of both of a gate's answers.
        """
        both = zip(self.gumbel_ffns, first, second, strict=False)
        relevance = torch.cat([gate(one + other) for gate, one, other in both], dim=2)[..., 0]
        share = relevance.float().softmax(dim=1)[:, 1]
        used = (relevance[:, 1] > relevance[:, 0]).to(share.dtype)
        none = used.sum(dim=1, keepdim=True) == 0
        used[:, :1] = torch.where(none, 1, used[:, :1])
        return used + (share - share.detach())

    def appearance(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """Return (B, first's cells, second's cells): squared cosines, none negative."""
        gates = self.gates(first, second)
        count = len(self.channels)
        with torch.autocast(first[0].device.type, enabled=False):
            given, other = ([part.float() for part in each[count:]] for each in (first, second))
            if torch.is_grad_enabled():
                return _differentiable(given, other, gates)
            pairs = zip(zip(*given, strict=True), zip(*other, strict=True), gates, strict=True)
            return torch.stack([_of_pair(one, two, used > 0) for one, two, used in pairs])

    def match_features(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """Return (B, first's cells, second's cells) from what `encode_features` returned.

        As published, no gradient goes through what the votes say of an offset.
        """
        return torch.stack([_voted(one) for one in self.appearance(first, second)])

    def match_points(
        self, first: Sequence[Tensor], second: Sequence[Tensor], points: Tensor
    ) -> Tensor:
        """Return (B, N, 2) pixels in the second picture for points in the first, in the input."""
        return read_matches(self.match_features(first, second), points)

    # The whole network, not its trunk alone.
    def forward(self, first: Tensor, second: Tensor) -> Tensor:  # type: ignore[override]  # as said
        """Return (B, first's cells, second's cells) for (B, 3, H, W) pictures."""
        given = self.encode_features(first)
        return self.match_features(given, self.encode_features(second))


def read_matches(scores: Tensor, points: Tensor) -> Tensor:
    """Return where points of the first picture are in the second, (B, N, 2) pixels of the input.

    A point that no box covers, outside the picture, moves as the cell nearest to it.

    Args:
        scores: (B, first's cells, second's cells), both square.
        points: (B, N, 2) pixels, float32.
    """
    best = mutual_nearest(scores).argmax(dim=2)
    side = round(best.shape[1] ** 0.5)
    cells = torch.arange(side**2, device=scores.device)
    offsets = torch.stack([best % side - cells % side, best // side - cells // side], dim=2)
    distances = (points.unsqueeze(3) - STEP * cells[:side]).abs()  # B, N, 2, side
    covered = distances <= REACH
    nearest = distances == distances.amin(dim=3, keepdim=True)
    near = torch.where(covered.any(dim=3, keepdim=True), covered, nearest).to(points.dtype)
    across, down = near.unbind(dim=2)
    shares = (down.unsqueeze(3) * across.unsqueeze(2)).flatten(2)  # B, N, first's cells
    moves = shares @ (STEP * offsets).to(points.dtype) / shares.sum(dim=2, keepdim=True)
    return points + moves


def _reduced(inputs: int, outputs: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Return what leaves each place fewer channels, none of them negative."""
    return nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def _differentiable(first: Sequence[Tensor], second: Sequence[Tensor], gates: Tensor) -> Tensor:
    """Return (B, first's cells, second's cells), every layer enlarged and weighed by its gate."""
    side = first[0].shape[-1]
    scores = gates.new_zeros(())
    squares = [scores, scores]
    for one, other, gate in zip(first, second, gates.unbind(dim=1), strict=True):
        weight = gate[:, None, None, None]
        wide = [resize_2d(each * weight, side) for each in (one, other)]
        scores = scores + correlate(*wide)
        squares = [total + each.square().sum(1) for total, each in zip(squares, wide, strict=True)]
    # A root of 0 has no gradient; every cell that has features is far from it.
    tiny = torch.finfo(gates.dtype).tiny
    lengths = [total.clamp(min=tiny).sqrt().flatten(1) for total in squares]
    product = lengths[0].unsqueeze(2) * lengths[1].unsqueeze(1)
    return (scores / (product + GUARD)).relu().square()


def _of_pair(first: Sequence[Tensor], second: Sequence[Tensor], used: Tensor) -> Tensor:
    """Return (first's cells, second's cells) of one pair, coarse layers compared as they are."""
    layers = used.nonzero().flatten().tolist()
    side = first[0].shape[-1]
    given, other = (_picture([each[i] for i in layers], side) for each in (first, second))
    scores = torch.stack(list(cosine_rows(given, other))).view(side**2, side**2)
    ones, others = (_lengths(each) for each in (given, other))
    return scores.div_(torch.outer(ones, others).add_(GUARD)).relu_().square_()


def _picture(maps: Sequence[Tensor], side: int) -> Picture:
    """Return the hyperpixels of (C, h, w) features; their products are not divided by lengths."""
    by_side: dict[int, list[Tensor]] = {}
    for each in maps:
        by_side.setdefault(each.shape[-1], []).append(each)
    fine = torch.cat(by_side.pop(side, [maps[0].new_zeros(0, side, side)]))
    coarse = []
    for length, layers in by_side.items():
        wider = enlargement(length, side, fine)
        coarse.append(Level(torch.cat(layers), wider, wider))
    return Picture(fine, tuple(coarse), fine.new_ones(side, side), _cells(side))


def _lengths(picture: Picture) -> Tensor:
    """Return (cells,) the lengths of a picture's hyperpixels."""
    squares = picture.fine.square().sum(dim=0)
    for level in picture.coarse:
        for some in level.enlarged():
            squares = squares + some.square().sum(dim=0)
    return squares.sqrt().flatten()


def _voted(scores: Tensor) -> Tensor:
    """Return (K, L): each score times what all scores say of its offset."""
    side = round(len(scores) ** 0.5)
    votes = hough_matching(scores.detach(), _cells(side), _cells(side))
    if not scores.requires_grad:
        return votes
    said = votes / scores.detach().clamp(min=torch.finfo(scores.dtype).tiny)
    return scores * said


def _cells(side: int) -> Cells:
    """Return where the cells lie."""
    return Cells(side, side, Size(STEP * side, STEP * side), STEP)
