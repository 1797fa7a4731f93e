"""CNNGeo: a convolutional network for geometric matching (Rocco et al., CVPR 2017).

The cosines of all cells of two pictures, as the channels of a map, are turned into the numbers of a
warp by two convolutions and a linear layer. There is an affine network and a thin-plate network;
the published evaluation can chain two, the second seeing the searched picture as the first warped
it: `Stages`.

Pictures of 240 x 240 and points are those of `corner_aligned`; every point is moved by the warp,
nothing is rounded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spairc_models.correlation import correlate, unit
from spairc_models.geometric import AFFINE, THIN_PLATE, warp_pictures, warp_points
from spairc_models.resnet import RESNET_101
from spairc_models.trunk import Trunk

SIDE = 240  # pixels of the input
CELLS = 15  # along a side of the features
GUARD = 1e-6  # under the root of a length
KERNELS, CHANNELS = (7, 5), (128, 64)  # of the regression's convolutions


class Regression(nn.Module):
    """From a map of cosines to a warp, under the official key names.

    Args:
        outputs: Numbers of the warp.
        cells: Along a side of the map; as many channels as it has places come in.
    """

    def __init__(self, outputs: int, cells: int) -> None:
        super().__init__()
        left = cells - sum(kernel - 1 for kernel in KERNELS)  # no convolution pads
        inputs = (cells**2, *CHANNELS[:-1])
        self.conv = nn.Sequential()
        for given, found, kernel in zip(inputs, CHANNELS, KERNELS, strict=True):
            self.conv.extend([nn.Conv2d(given, found, kernel), nn.BatchNorm2d(found), nn.ReLU()])
        self.linear = nn.Linear(CHANNELS[-1] * left**2, outputs)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (B, outputs) for (B, C, cells, cells) features of length 1."""
        columns = second.mT  # the programs count the second picture's cells column by column
        scores = torch.unflatten(correlate(columns, first), 2, first.shape[2:])
        convolved = self.conv(unit(scores.relu(), inside=GUARD))
        warp: Tensor = self.linear(convolved.flatten(1))
        return warp


class CNNGeo(nn.Module):
    """The network, under the official key names.

    Args:
        outputs: 6 for an affine warp, 18 for a thin plate.
        cells: Along a side of the features; the trunk makes one of 16 pixels.
        blocks: Bottlenecks of each stage of the trunk.
        width: Of the trunk.
    """

    def __init__(
        self,
        outputs: int = AFFINE,
        *,
        cells: int = CELLS,
        blocks: Sequence[int] = RESNET_101,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.FeatureExtraction = Trunk(blocks, width=width)
        self.FeatureRegression = Regression(outputs, cells)

    def encode_features(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return (B, C, h, w) features of length 1 for (B, 3, H, W) normalised pictures."""
        return (features_of(self.FeatureExtraction, pictures),)

    def match_features(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """Return (B, outputs), the warp from the first pictures to the second."""
        warp: Tensor = self.FeatureRegression(first[0], second[0])
        return warp

    def match_points(
        self, first: Sequence[Tensor], second: Sequence[Tensor], points: Tensor
    ) -> Tensor:
        """Return (B, N, 2) pixels in the second picture for points in the first, in the input."""
        return chained([self.match_features(first, second)], points)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (B, outputs) for (B, 3, H, W) pictures."""
        given = self.encode_features(first)
        return self.match_features(given, self.encode_features(second))


class Stages(nn.Module):
    """Two networks, the second of which sees the searched picture as the first warped it.

    Args:
        coarse: The first `CNNGeo`; affine in the published evaluation.
        fine: The second; a thin plate there.
    """

    coarse: Any
    fine: Any

    def __init__(self, coarse: nn.Module, fine: nn.Module) -> None:
        super().__init__()
        self.coarse = coarse
        self.fine = fine

    def encode_features(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return both networks' features and the pictures, which are warped once per pair."""
        return (
            *self.coarse.encode_features(pictures),
            *self.fine.encode_features(pictures),
            pictures,
        )

    def match_features(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """Return (B, coarse's outputs and then fine's)."""
        coarse = self.coarse.match_features(first[:1], second[:1])
        seen = self.fine.encode_features(warp_pictures(second[2].float(), coarse.float()))
        return torch.cat([coarse, self.fine.match_features(first[1:2], seen)], dim=1)

    def match_points(
        self, first: Sequence[Tensor], second: Sequence[Tensor], points: Tensor
    ) -> Tensor:
        """Return (B, N, 2) pixels in the second picture for points in the first, in the input."""
        lengths = [len(stage.FeatureRegression.linear.bias) for stage in (self.coarse, self.fine)]
        return chained(self.match_features(first, second).split_with_sizes(lengths, 1), points)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (B, coarse's outputs and then fine's) for (B, 3, H, W) pictures."""
        given = self.encode_features(first)
        return self.match_features(given, self.encode_features(second))


def settings_of(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Return the settings of a checkpoint, told by its shapes; none if it is of another network."""
    (outputs,) = shapes.get("FeatureRegression.linear.bias", (0,))
    return {"outputs": outputs} if outputs in (AFFINE, THIN_PLATE) else {}


def features_of(trunk: Trunk, pictures: Tensor) -> Tensor:
    """Return (B, C, h, w) features of length 1."""
    return unit(trunk(pictures), inside=GUARD)


def chained(warps: Sequence[Tensor], points: Tensor) -> Tensor:
    """Return where points of the first picture are in the second, (B, N, 2) pixels of the input.

    Args:
        warps: Of each stage. The last one starts at the first picture, so it comes first.
        points: (B, N, 2) pixels.
    """
    places = points * (2 / (SIDE - 1)) - 1
    for warp in reversed(warps):
        places = warp_points(warp.float(), places)
    return (places + 1) * ((SIDE - 1) / 2)
