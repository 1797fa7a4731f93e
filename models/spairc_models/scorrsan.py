"""SCorrSAN: semantic correspondence from sparse annotations (Huang et al., ECCV 2022).

One level of ResNet features, to which each cell's likeness to its neighbours in eight directions
is added; their correlation, filtered, is enlarged four times along all four axes and read by a
soft-argmax. The paper speaks of a kernel soft-argmax; its program has a plain one.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from spairc_models.correlation import (
    correlate,
    enlargement,
    mutual_nearest,
    resize_2d,
    resize_4d,
    unit,
)
from spairc_models.flow import coordinates, flow_at, flow_of, reading_of, soft_argmax
from spairc_models.resnet import Extraction, ResNet

SIDE = 256  # pixels of the input
CELLS = 64  # along a side of the flow
LAYER = 30  # the last bottleneck of the third stage
INPUTS = 1024  # channels of that layer
LENGTH_GUARD = 1e-6  # under the root of a feature's length


class SpatialContext(nn.Module):
    """Features joined with their likeness to their neighbours ("efficient SCE" in the paper).

    Args:
        channels: In.
        outputs: Channels out.
        reach: Neighbours per direction and the cell itself, an odd number.
    """

    def __init__(self, channels: int, outputs: int, reach: int) -> None:
        super().__init__()
        self.reach = reach
        self.conv = nn.Conv2d(channels + 4 * reach, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, h, w), never negative, for (B, channels, h, w)."""
        height, width = features.shape[-2:]
        directions = functional.normalize(features, dim=1)
        around = functional.pad(directions, [self.reach // 2] * 4)
        likeness = [
            (around[:, :, row : row + height, column : column + width] * directions).sum(dim=1)
            for row, column in self._offsets()
        ]
        joined = torch.cat([features, torch.stack(likeness, dim=1)], dim=1)
        return torch.relu(self.conv(joined))

    def _offsets(self) -> list[tuple[int, int]]:
        """Return row and column of the neighbours: diagonal, column, other diagonal, row."""
        steps, middle = range(self.reach), self.reach // 2
        return [
            *((step, step) for step in steps),
            *((step, middle) for step in steps),
            *((step, self.reach - 1 - step) for step in steps),
            *((middle, step) for step in steps),
        ]


class SCorrSAN(nn.Module):
    """The network, under the official key names; `x_normal` and `y_normal` are trained with it.

    Args:
        outputs: Channels of the features that are compared: 2048 for SPair-71k, 1024 for
            PF-PASCAL.
        reach: Neighbours in one line: 7 for SPair-71k, 13 for PF-PASCAL.
        backbone: A trunk in place of ResNet-101, called as `ResNet` is.
        layer: Of the trunk.
        side: Pixels of the input, the frame of `match_points`.
    """

    def __init__(
        self,
        *,
        outputs: int = 2048,
        reach: int = 7,
        backbone: ResNet | None = None,
        layer: int = LAYER,
        side: int = SIDE,
    ) -> None:
        super().__init__()
        self.side = side
        trunk = ResNet() if backbone is None else backbone
        self.cells = CELLS
        self.feature_extraction = Extraction(trunk, [layer])
        self.SCEs = nn.ModuleList([SpatialContext(trunk.channels[layer], outputs, reach)])
        self.x_normal = coordinates(CELLS)
        self.y_normal = coordinates(CELLS)

    def encode_features(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return (B, outputs, h, w) features of length 1 for (B, 3, H, W) pictures."""
        (features,) = self.feature_extraction(pictures)
        return (unit(self.SCEs[0](features), inside=LENGTH_GUARD),)

    def refined_correlation(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
        """Return (B, second's cells, first's cells), enlarged, from what was encoded."""
        return resize_4d(_filtered(first[0], second[0]), CELLS)

    def match_features(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
        """Return (B, 2, h, w) flow in cells, from the first picture into the second."""
        refined = self.refined_correlation(first, second)
        return flow_of(soft_argmax(refined, self.x_normal, self.y_normal), CELLS)

    def match_points(
        self, first: tuple[Tensor, ...], second: tuple[Tensor, ...], points: Tensor
    ) -> Tensor:
        """Return (B, N, 2) pixels in the second picture for points in the first, in the input.

        The flow is computed at the cells that are read and only there, which is what makes the
        enlarged correlation cheap: a pair asks some 30 of its 4,096 columns.
        """
        reading = reading_of(points, self.side, CELLS)
        side = first[0].shape[-1]
        asked = reading.corners.flatten(1)
        mixed = enlargement(side, CELLS, first[0])[:, asked].movedim(1, 0)
        columns = (_filtered(first[0], second[0]) @ mixed).transpose(1, 2)
        scores = resize_2d(torch.unflatten(columns, 2, (side, side)), CELLS)
        mapping = soft_argmax(scores.flatten(2).transpose(1, 2), self.x_normal, self.y_normal)
        flow = flow_at(mapping, asked, CELLS)
        return reading.points(torch.unflatten(flow, 2, reading.corners.shape[1:]))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (B, 2, h, w) flow in cells for (B, 3, H, W) pictures, the given points' first."""
        # In training mode the order is that of the statistics that batch norm keeps.
        searched = self.encode_features(second)
        return self.match_features(self.encode_features(first), searched)


def _filtered(first: Tensor, second: Tensor) -> Tensor:
    """Return the mutually filtered correlation, (B, second's cells, first's cells)."""
    return mutual_nearest(correlate(second, first))
