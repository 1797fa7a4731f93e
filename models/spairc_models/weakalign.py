"""WeakAlign: weakly supervised alignment (Rocco et al., CVPR 2018), CNNGeo's network in two stages.

One trunk, an affine warp, then a thin plate for what is left: the searched picture is warped by
the first and goes through the trunk again, once per pair. Input is `cnngeo`'s, and so
are points, by way of the square of `corner_aligned`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spairc_models.cnngeo import CELLS, Regression, chained, features_of
from spairc_models.geometric import AFFINE, THIN_PLATE, warp_pictures
from spairc_models.resnet import RESNET_101
from spairc_models.trunk import Trunk


class WeakAlign(nn.Module):
    """The network, under the official key names.

    Args:
        cells: Along a side of the features; the trunk makes one of 16 pixels.
        blocks: Bottlenecks of each stage of the trunk.
        width: Of the trunk.
    """

    def __init__(
        self, *, cells: int = CELLS, blocks: Sequence[int] = RESNET_101, width: int = 64
    ) -> None:
        super().__init__()
        self.FeatureExtraction = Trunk(blocks, width=width)
        self.FeatureRegression = Regression(AFFINE, cells)
        self.FeatureRegression2 = Regression(THIN_PLATE, cells)

    def encode_features(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return (B, C, h, w) features of length 1 and the (B, 3, H, W) pictures themselves."""
        return features_of(self.FeatureExtraction, pictures), pictures

    def match_features(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """Return (B, 24): the affine warp, and the thin plate that is applied before it."""
        affine = self.FeatureRegression(first[0], second[0])
        warped = warp_pictures(second[1].float(), affine.float())
        seen = features_of(self.FeatureExtraction, warped)
        return torch.cat([affine, self.FeatureRegression2(first[0], seen)], dim=1)

    def match_points(
        self, first: Sequence[Tensor], second: Sequence[Tensor], points: Tensor
    ) -> Tensor:
        """Return (B, N, 2) pixels in the second picture for points in the first, in the input."""
        warps = self.match_features(first, second)
        return chained(warps.split_with_sizes([AFFINE, THIN_PLATE], 1), points)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (B, 24) for (B, 3, H, W) pictures."""
        given = self.encode_features(first)
        return self.match_features(given, self.encode_features(second))
