"""NC-Net: neighbourhood consensus networks (Rocco et al., NeurIPS 2018), as for PF-PASCAL.

All cosines of two pictures' features are convolved three times over their four axes, so that
matches support the ones beside them; before and after, those that are not mutual best are damped.
The consensus is asked from either picture's side and the answers are added up.

The input is `corner_aligned`'s, 400 x 400 pixels, of which the trunk makes 25 x 25 cells. Of the
two rules by which the published program counts points, this is the one of its evaluation on
PF-PASCAL ("scnet"): both pictures' points are scaled to a square of 224 pixels first (`SCNET`).
The other one ("pf") counts in each picture's own pixels.

Each cell of the first picture is answered by its best cell of the second; a point by the four cells
around it, bilinearly. A point beyond the last cells' centres the published evaluation reads past
the end of its table; here it is read as one before the first cells' centres is.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from spairc_models.conv4d_spectral import Layer, convolve
from spairc_models.correlation import correlate, in_cells, in_planes, mutual_nearest, unit
from spairc_models.resnet import RESNET_101
from spairc_models.trunk import Trunk

SIDE = 400  # pixels of the input
KERNELS, CHANNELS = (5, 5, 5), (16, 16, 1)  # of the checkpoint for PF-PASCAL
FEATURE_GUARD = 1e-6  # under the root of a feature's length
MUTUAL_GUARD = 1e-5  # added to the best scores


class Conv4d(nn.Module):
    """Holds a four-dimensional convolution as the official files do: the first axis leads.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        length: Of the kernel along each of the four axes, odd.
    """

    def __init__(self, inputs: int, outputs: int, length: int) -> None:
        super().__init__()
        bound = (inputs * length**4) ** -0.5
        shape = (length, outputs, inputs, length, length, length)
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def both_ways(self) -> tuple[Tensor, Tensor]:
        """Return (outputs, inputs, k, k, k, k) kernels: as it is, and with the planes exchanged."""
        kernel = self.weight.permute(1, 2, 0, 3, 4, 5)
        return kernel, kernel.permute(0, 1, 4, 5, 2, 3)


class Consensus(nn.Module):
    """The convolutions under the official key names.

    Args:
        kernels: Length of each.
        channels: That each puts out; the last 1.
    """

    def __init__(self, kernels: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        inputs = [1, *channels[:-1]]
        layers = zip(inputs, channels, kernels, strict=True)
        self.conv = nn.Sequential()
        for given, found, length in layers:
            self.conv.extend([Conv4d(given, found, length), nn.ReLU()])

    def forward(self, scores: Tensor) -> Tensor:
        """Return (B, H, W, h, w) for the same: the sum of what either picture's side answers.

        To exchange the planes, convolve, and exchange them back is to convolve with the planes of
        the kernel exchanged; so both sides go along together.
        """
        x = torch.stack([scores, scores], dim=1).unsqueeze(2)  # B, sides, channels, H, W, h, w
        for layer in self.conv:
            if isinstance(layer, Conv4d):
                kernels = torch.stack(layer.both_ways())
                x = convolve(x, Layer(kernels, torch.stack([layer.bias] * 2))).relu_()
        return x.sum(dim=(1, 2))


class NCNet(nn.Module):
    """The network, under the official key names.

    Args:
        kernels: Lengths of the consensus' convolutions.
        channels: That they put out.
        blocks: Bottlenecks of each stage of the trunk.
        width: Of the trunk.
    """

    def __init__(
        self,
        kernels: Sequence[int] = KERNELS,
        channels: Sequence[int] = CHANNELS,
        *,
        blocks: Sequence[int] = RESNET_101,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.FeatureExtraction = Trunk(blocks, width=width)
        self.NeighConsensus = Consensus(kernels, channels)

    def encode_features(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return (B, C, h, w) features of length 1 for (B, 3, H, W) normalised pictures."""
        return (unit(self.FeatureExtraction(pictures), inside=FEATURE_GUARD),)

    def match_features(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """Return (B, first's cells, second's cells) from what `encode_features` returned."""
        # Autocast's shorter numbers end here: the transforms have none.
        with torch.autocast(first[0].device.type, enabled=False):
            scores = correlate(first[0].float(), second[0].float())
            damped = mutual_nearest(scores, guard=MUTUAL_GUARD)
            agreed = in_cells(self.NeighConsensus(in_planes(damped)))
            return mutual_nearest(agreed, guard=MUTUAL_GUARD)

    def match_points(
        self, first: Sequence[Tensor], second: Sequence[Tensor], points: Tensor
    ) -> Tensor:
        """Return (B, N, 2) pixels in the second picture for points in the first, in the input."""
        asked = points * (2 / (SIDE - 1)) - 1
        return (read_matches(self.match_features(first, second), asked) + 1) * ((SIDE - 1) / 2)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (B, first's cells, second's cells) for (B, 3, H, W) pictures."""
        given = self.encode_features(first)
        return self.match_features(given, self.encode_features(second))


def settings_of(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return the settings of a checkpoint, told by its shapes; none if it is of another network."""
    found = [
        shape
        for key, shape in shapes.items()
        if key.startswith("NeighConsensus.conv.") and key.endswith(".weight")
    ]
    if not found or any(len(shape) != 6 for shape in found):  # noqa: PLR2004 -- channels, four axes
        return {}
    return {
        "kernels": tuple(shape[0] for shape in found),
        "channels": tuple(shape[1] for shape in found),
    }


def read_matches(scores: Tensor, points: Tensor) -> Tensor:
    """Return where points of the first picture are in the second, (B, N, 2) from -1 to 1.

    Outside the outer cells' centres the distances to the nearest two still tell the shares.

    Args:
        scores: (B, first's cells, second's cells), both square.
        points: (B, N, 2), -1 and 1 being the centres of the outer cells.
    """
    side, other = (math.isqrt(cells) for cells in scores.shape[1:])
    best = scores.argmax(dim=2)  # B, first's cells
    places = torch.stack([best % other, best // other], dim=2) * (2 / (other - 1)) - 1
    line = torch.linspace(-1, 1, side, dtype=points.dtype, device=points.device)
    low = (torch.searchsorted(line, points.contiguous()) - 1).clamp(0, side - 2)
    before, after = (points - line[low]).abs(), (points - line[low + 1]).abs()
    shares = torch.stack([after, before]) / (before + after)  # of the lower and the upper cell
    corners = torch.stack([low, low + 1])
    found = torch.zeros_like(points)
    for across, down in itertools.product((0, 1), repeat=2):
        cells = corners[down, ..., 1] * side + corners[across, ..., 0]
        share = shares[down, ..., 1] * shares[across, ..., 0]
        there = places.gather(1, cells.unsqueeze(2).expand(-1, -1, 2))
        found = found + share.unsqueeze(2) * there
    return found
