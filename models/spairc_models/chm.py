"""CHM: convolutional Hough matching (Min and Cho, CVPR 2021).

The features of both pictures at three scales give nine correlations; a convolution over the two
scales and the four axes lets matches vote, the best scale is kept, enlarged, and votes once more.
Kernels are tied: what depends on the lengths of the two offsets and of their difference alone has
55 free values ("psi"). The two pictures have separate trunks.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from spairc_models.correlation import (
    correlate,
    in_cells,
    in_planes,
    mutual_nearest,
    resize_2d,
    resize_4d,
    unit,
)
from spairc_models.resnet import RESNET_101, ResNet
from spairc_models.transfer import Transfer

SIDE = 240  # pixels of the input
SCALES = (0.5, 1.0, 2.0)  # of the area of the feature maps
LENGTH = 5  # of a kernel, along the axes of the pictures
READOUT = Transfer(sigma=17, reach=0.1, guard=0.0)
# Which of the 3 x 3 offsets in scale share a kernel: none, both alike, opposite, one alone.
SCALE_GROUPS = ((4,), (0, 8), (2, 6), (1, 3, 5, 7))


class Hough4d(nn.Module):
    """A four-dimensional convolution of one channel with a tied kernel."""

    groups: Tensor  # (LENGTH, LENGTH, LENGTH, LENGTH) which value each place has

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(_initial_votes())
        self.bias = nn.Parameter(torch.empty(1).uniform_(-1, 1) / LENGTH**2)
        self.register_buffer("groups", torch.from_numpy(_groups()), persistent=False)

    def forward(self, correlation: Tensor) -> Tensor:
        """Return (B, h, w, h', w') for the same."""
        kernels = _kernels(self.weight.unsqueeze(0), self.groups)
        return _vote(correlation.unsqueeze(1), kernels) + self.bias


class Hough6d(nn.Module):
    """A convolution over two axes of scale, three long, and four of place, with tied kernels."""

    groups: Tensor  # (LENGTH, LENGTH, LENGTH, LENGTH) which value each place has

    def __init__(self) -> None:
        super().__init__()
        sizes = np.bincount(_groups().ravel()).tolist()
        self.param = nn.ParameterList(
            _initial_votes() * torch.tensor(sizes) * len(group) for group in SCALE_GROUPS
        )
        self.bias = nn.Parameter(torch.empty(1).uniform_(-1, 1) / (3 * LENGTH**2))
        self.register_buffer("groups", torch.from_numpy(_groups()), persistent=False)

    def forward(self, correlations: Tensor) -> Tensor:
        """Return (B, 3, 3, h, w, h', w') for the same.

        The correlations that share a kernel are added up before they are convolved.
        """
        shares = [param / len(group) for param, group in zip(self.param, SCALE_GROUPS, strict=True)]
        kernels = _kernels(torch.stack(shares), self.groups)
        padded = functional.pad(correlations, (0, 0) * 4 + (1, 1, 1, 1))
        around = padded.unfold(1, 3, 1).unfold(2, 3, 1).flatten(-2)  # the last axis: 9 offsets
        summed = torch.stack(
            [around[..., group].sum(dim=-1) for group in SCALE_GROUPS], dim=3
        )  # (B, 3, 3, groups, h, w, h', w')
        voted = _vote(summed.flatten(0, 2), kernels)
        return torch.unflatten(voted, 0, correlations.shape[:3]) + self.bias


class Learner(nn.Module):
    """Everything after the trunk, under the official key names.

    Args:
        channels: Of the trunk's features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv2ds = nn.ModuleList(
            nn.Conv2d(channels, channels // 4, 3, padding=1, bias=False) for _ in SCALES
        )
        self.chm6d = Hough6d()
        self.chm4d = Hough4d()

    def scaled(self, features: Tensor) -> list[Tensor]:
        """Return the features of length 1 of each scale, (B, C / 4, side, side)."""
        sides = [round(features.shape[-1] * math.sqrt(scale)) for scale in SCALES]
        return [
            unit(convolution(resize_2d(features, side)))
            for convolution, side in zip(self.conv2ds, sides, strict=True)
        ]

    def forward(self, first: list[Tensor], second: list[Tensor]) -> Tensor:
        """Return (B, first's cells, second's cells) votes at twice the resolution."""
        side = first[1].shape[-1]
        pairs = [resize_4d(correlate(given, other), side) for given in first for other in second]
        scores = torch.stack(pairs, dim=1).clamp(min=0)
        scales = (len(first), len(second))
        voted = self.chm6d(torch.unflatten(in_planes(scores), 1, scales))
        best = torch.sigmoid(voted).flatten(1, 2).amax(dim=1)
        votes = self.chm4d(in_planes(resize_4d(in_cells(best), 2 * side)))
        return mutual_nearest(in_cells(functional.softplus(votes)))


class CHM(nn.Module):
    """The network, under the official key names.

    Args:
        blocks: Bottlenecks of each stage of the trunk.
        width: Of the trunk.
    """

    def __init__(self, blocks: tuple[int, ...] = RESNET_101, *, width: int = 64) -> None:
        super().__init__()
        self.layer = sum(blocks[:3])  # the end of the third stage
        self.backbone = ResNet(blocks, width=width, copies=2)
        self.learner = Learner(self.backbone.channels[self.layer])

    def encode_features(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return what a picture gives to every pair that it is in, in either role.

        Args:
            pictures: (B, 3, H, W), normalised.

        Returns:
            The features of each scale in the first role; then the same in the second.
        """
        given, searched = self._encode(pictures, pictures)
        return (*given, *searched)

    def match_features(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
        """Return (B, first's cells, second's cells) from what `encode_features` returned."""
        scales = len(SCALES)
        answer: Tensor = self.learner(list(first[:scales]), list(second[scales:]))
        return answer

    def match_points(
        self, first: tuple[Tensor, ...], second: tuple[Tensor, ...], points: Tensor
    ) -> Tensor:
        """Return (B, N, 2) pixels in the second picture for points in the first, in the input."""
        return READOUT.points(self.match_features(first, second), points, SIDE)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (B, first's cells, second's cells) for (B, 3, H, W) pictures."""
        answer: Tensor = self.learner(*self._encode(first, second))
        return answer

    def _encode(self, first: Tensor, second: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return both pictures' features at each scale, each from its own half of the trunk."""
        joined = torch.cat([first, second], dim=1)
        (features,) = self.backbone(joined, [self.layer], rectified=True)
        given, searched = features.chunk(2, dim=1)
        return self.learner.scaled(given), self.learner.scaled(searched)


def _vote(x: Tensor, kernels: Tensor) -> Tensor:
    """Return (B, h, w, h', w'), the four-dimensional convolution of all channels.

    Each plane of the second picture is convolved with the kernel's part for each offset in the
    first, and then moved by that offset.

    Args:
        x: (B, C, h, w, h', w').
        kernels: (C, LENGTH, LENGTH, LENGTH, LENGTH).
    """
    batch, _, height, width = x.shape[:4]
    planes = x.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    parts = functional.conv2d(planes, kernels.flatten(1, 2).transpose(0, 1), padding=LENGTH // 2)
    by_offset = torch.unflatten(
        torch.unflatten(parts, 1, (LENGTH, LENGTH)), 0, (batch, height, width)
    )
    voted = torch.zeros_like(by_offset[..., 0, 0, :, :])
    for row in range(LENGTH):
        for column in range(LENGTH):
            down, from_down = _moved(row - LENGTH // 2, height)
            right, from_right = _moved(column - LENGTH // 2, width)
            voted[:, down, right] += by_offset[:, from_down, from_right, row, column]
    return voted


def _moved(offset: int, length: int) -> tuple[slice, slice]:
    """Return the places of an axis that have a neighbour at this offset, and the neighbours."""
    low, high = max(0, -offset), min(length, length - offset)
    return slice(low, high), slice(low + offset, high + offset)


def _kernels(values: Tensor, groups: Tensor) -> Tensor:
    """Return (C, LENGTH^4) kernels: each value is shared out among the places of its group.

    Args:
        values: (C, groups).
        groups: (LENGTH, LENGTH, LENGTH, LENGTH) group of each place.
    """
    sizes = torch.bincount(groups.flatten())
    return (values / sizes)[:, groups]


def _groups() -> NDArray[np.int64]:
    """Return the group of each place of a kernel, numbered as they first appear.

    Places share a value when the larger and the smaller of their two offsets' lengths and the
    length of the offsets' difference agree.
    """
    numbers: dict[tuple[int, int, int], int] = {}
    places = [(row, column) for row in range(LENGTH) for column in range(LENGTH)]
    middle = (LENGTH // 2, LENGTH // 2)
    found = []
    for one in places:
        for other in places:
            lengths = (_squared(one, middle), _squared(other, middle))
            key = (max(lengths), min(lengths), _squared(one, other))
            found.append(numbers.setdefault(key, len(numbers)))
    return np.reshape(found, (LENGTH,) * 4)


def _squared(one: tuple[int, int], other: tuple[int, int]) -> int:
    """Return the squared distance of two places."""
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2


def _initial_votes() -> Tensor:
    """Return a small positive value for each group."""
    return torch.randn(int(_groups().max()) + 1).abs() * 1e-3
