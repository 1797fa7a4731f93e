"""VAT: cost aggregation with four-dimensional windows (Hong et al., ECCV 2022).

This is the network of its branch for semantic matching.

All bottlenecks of three ResNet stages are correlated, strided four-dimensional convolutions squeeze
each stage, attention inside windows refines the three from coarse to fine, and a decoder reads the
match of every cell of the first picture from the mean over the second's and from the first's
features: it regresses places from -1 to 1, nothing keeps it inside the picture.

The input is 512 x 512, squashed; the flow of 32 x 32 cells is read at points as CATs' is. Without
gradients the finest correlations are never held whole (`hypercorrelation.squeeze`).
"""

import itertools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spairc_models.conv4d import Conv4d, Planes
from spairc_models.correlation import enlargement, in_cells, in_planes, resize_2d, unit
from spairc_models.flow import flow_of, flow_to_points
from spairc_models.hypercorrelation import by_phase, rectified_cosines, squeeze
from spairc_models.resnet import RESNET_101, ResNet
from spairc_models.windows import Blocks
from spairc_models.workspace import Workspace

SIDE = 512  # pixels of the input
LENGTH_GUARD = 1e-5  # added to a feature's length
KERNEL = Planes(3, 3)
BOTH, FIRST, SECOND = Planes(2, 2), Planes(2, 1), Planes(1, 2)  # strides
STRIDES = ((FIRST, SECOND), (BOTH, SECOND), (BOTH, SECOND, SECOND))  # of each stage's convolutions


@dataclass(frozen=True)
class Settings:
    """What a VAT is made of; stages stand coarse to fine."""

    cells: int = 32  # along a side of the flow; a sixteenth of the input's
    channels: tuple[tuple[int, ...], ...] = ((64, 128), (64, 128), (32, 64, 128))
    groups: tuple[tuple[int, ...], ...] = ((4, 8), (4, 8), (2, 4, 8))  # of their norms
    depths: tuple[int, ...] = (4, 2, 2)  # blocks of attention
    window: int = 4  # cells along an axis of a correlation
    features: tuple[int, ...] = (64, 32, 16)  # channels of the first picture's own
    decoded: tuple[int, ...] = (96, 48)  # channels between the decoder's stages
    decoder_window: int = 8  # cells along an axis of a picture
    hidden: int = 32  # channels before the two of the answer


class Encoder(nn.Module):
    """A stage's correlations squeezed step by step; official key names.

    Args:
        levels: Correlations of the stage.
        channels: Out of each step.
        groups: Of each step's norm.
        strides: Of each step.
    """

    def __init__(
        self, levels: int, channels: Sequence[int], groups: Sequence[int], strides: Sequence[Planes]
    ) -> None:
        super().__init__()
        inputs = (levels, *channels[:-1])
        self.conv4d = nn.ModuleList(
            nn.Sequential(
                Conv4d(given, found, KERNEL, stride),
                nn.GroupNorm(count, found),
                nn.ReLU(inplace=True),
            )
            for given, found, count, stride in zip(inputs, channels, groups, strides, strict=True)
        )

    def forward(
        self, first: Sequence[Tensor], second: Sequence[Tensor], memory: Workspace | None
    ) -> Tensor:
        """Return (B, channels, H, W, h, w) for features of length 1 by level and phase.

        Args:
            first: Of the first pictures.
            second: Of the second ones.
            memory: Where it is given, there are no gradients, and one pair.
        """
        outermost: Any = self.conv4d[0]
        convolution, norm, rectify = outermost
        if memory is None or convolution.stride != BOTH:
            x = convolution(rectified_cosines(first, second))
        else:
            given, other = ([part[0] for part in each] for each in (first, second))
            x = squeeze(given, other, convolution, memory, "squeezed").unsqueeze(0)
        x = rectify(norm(x))
        for step in itertools.islice(self.conv4d, 1, None):
            x = step(x)
        answer: Tensor = x
        return answer


class Windows4d(nn.Module):
    """Attention over a correlation's four axes, under the official key names.

    Args:
        settings: Sizes.
        width: Channels.
        sides: Of the correlation.
        depth: Blocks.
    """

    def __init__(self, settings: Settings, width: int, sides: Sequence[int], depth: int) -> None:
        super().__init__()
        height, wide, down, across = sides
        first, second = (1, width // 2, height, wide, 1, 1), (1, width // 2, 1, 1, down, across)
        self.query_pos_embed = nn.Parameter(torch.empty(first).normal_(std=0.02))
        self.supp_pos_embed = nn.Parameter(torch.empty(second).normal_(std=0.02))
        self.layer = Blocks(width, sides, settings.window, depth)
        self.norm = nn.LayerNorm(width)  # never read; the official files hold it

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W, h, w), x and what its windows add.

        The published program adds the code of the positions in place, so it stays in the sum.
        """
        half = x.shape[1] // 2
        placed = torch.cat(
            [x[:, :half] + self.query_pos_embed, x[:, half:] + self.supp_pos_embed], 1
        )
        answer: Tensor = placed + self.layer(placed)
        return answer


class Windows2d(nn.Module):
    """Attention over a picture's two axes, under the official key names."""

    def __init__(self, settings: Settings, width: int) -> None:
        super().__init__()
        sides = (settings.cells, settings.cells)
        self.layers = nn.ModuleList([Blocks(width, sides, settings.decoder_window, 2)])
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, h, w), x and what its windows add."""
        (layer,) = self.layers
        refined: Tensor = self.norm(layer(x).movedim(1, -1))
        return x + refined.movedim(-1, 1)


def _named(module: nn.Module) -> nn.Module:
    """Return the module under the official name "transformer"."""
    return nn.Sequential(OrderedDict(transformer=module))


class Aggregator(nn.Module):
    """Everything after the trunk, under the official key names, from coarse to fine.

    Args:
        settings: Sizes.
        levels: Correlations of each stage, the coarsest first.
        inputs: Channels of each stage's features.
    """

    def __init__(self, settings: Settings, levels: Sequence[int], inputs: Sequence[int]) -> None:
        super().__init__()
        cells, width = settings.cells, settings.channels[0][-1]
        sides = [(side, side, cells // 4, cells // 4) for side in (cells // 4, cells // 2, cells)]
        given = (width, *settings.decoded)
        widths = [sum(pair) for pair in zip(given, settings.features, strict=True)]
        stages = zip(levels, settings.channels, settings.groups, STRIDES, strict=True)
        self.levels = tuple(levels)
        self.cells = cells
        self.encoders = nn.ModuleList(Encoder(*stage) for stage in stages)
        self.transformer = nn.ModuleList(
            _named(Windows4d(settings, width, side, depth))
            for side, depth in zip(sides, settings.depths, strict=True)
        )
        self.swin_decoder = nn.ModuleList(
            nn.Sequential(_named(Windows2d(settings, wide)), nn.Conv2d(wide, out, 1))
            for wide, out in zip(widths, settings.decoded, strict=False)
        )
        self.swin_decoder.append(nn.Sequential(_named(Windows2d(settings, widths[-1]))))
        self.decoder = nn.Sequential(
            nn.Conv2d(widths[-1], settings.hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(settings.hidden, 2, 3, padding=1),
        )
        self.proj_query_feat = nn.ModuleList(
            nn.Sequential(nn.Conv2d(wide, out, 1), nn.ReLU(inplace=True))
            for wide, out in zip(inputs, settings.features, strict=True)
        )

    def forward(
        self, first: Sequence[Tensor], second: Sequence[Tensor], memory: Workspace | None
    ) -> Tensor:
        """Return (B, 2, cells, cells) places from -1 to 1 for two pictures as encoded."""
        ends = list(itertools.accumulate(self.levels))
        refined: Tensor | None = None
        for stage, (end, count) in enumerate(zip(ends, self.levels, strict=True)):
            levels = slice(end - count, end)
            x = self.encoders[stage](first[levels], second[levels], memory)
            if refined is not None:
                x = x + _enlarged(refined, x.shape[2])
            refined = self.transformer[stage](x)
        return self._decoded(refined, first[ends[-1] :])

    def _decoded(self, refined: Any, features: Sequence[Tensor]) -> Tensor:
        """Return the places for the finest correlation and the first picture's features."""
        x = refined.mean(dim=(-2, -1))
        for layers, own in zip(self.swin_decoder, features, strict=True):
            x = layers(torch.cat([x, own], dim=1))
        answer: Tensor = self.decoder(x)
        return answer


class VAT(nn.Module):
    """The network, under the official key names.

    Args:
        settings: Sizes.
        blocks: Bottlenecks of each stage of the trunk.
        width: Of the trunk.
    """

    def __init__(
        self,
        settings: Settings = Settings(),
        *,
        blocks: Sequence[int] = RESNET_101,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.cells = settings.cells
        self.backbone = ResNet(blocks, width=width)
        ends = [sum(blocks[:stage]) for stage in (4, 3, 2, 1)]
        self.stages = [range(low + 1, high + 1) for high, low in itertools.pairwise(ends)]
        learner = Aggregator(
            settings,
            [len(stage) for stage in self.stages],
            [self.backbone.channels[end] for end in ends[:3]],
        )
        self.hpn_learner = nn.ModuleDict({"ours": learner})

    def encode_features(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return what a picture gives to every pair that it is in, in either role.

        Args:
            pictures: (B, 3, H, W), normalised.

        Returns:
            For the last three stages, the last first, and every level of them, (B, h w, C)
            features of length 1, their cells in the order of `by_phase`; then the stages'
            (B, C, cells, cells) projections.
        """
        layers = [layer for stage in self.stages[::-1] for layer in stage]
        found: dict[int, Tensor] = {}
        projections: list[Tensor] = []
        stages = list(zip(self.stages, self.learner.proj_query_feat, strict=True))
        for layer, features in self.backbone.walk(pictures, layers, rectified=False):
            found[layer] = by_phase(unit(features, outside=LENGTH_GUARD))
            projections += [
                resize_2d(project(features), self.cells)
                for stage, project in stages
                if layer == stage[-1]
            ]
        return (*(found[layer] for stage in self.stages for layer in stage), *projections[::-1])

    def match_features(
        self, first: Sequence[Tensor], second: Sequence[Tensor], memory: Workspace | None = None
    ) -> Tensor:
        """Return (B, 2, h, w) flow in cells from what `encode_features` returned.

        Args:
            first: Of the picture whose points are given.
            second: Of the picture that is searched.
            memory: Saves time when it is passed from pair to pair, in inference.
        """
        # Autocast, where it is on, has given its shorter numbers to the trunk and to the features.
        with torch.autocast(first[0].device.type, enabled=False):
            given, other = ([part.float() for part in each] for each in (first, second))
            if torch.is_grad_enabled():
                places = self.learner(given, other, None)
            else:
                places = self._pair_by_pair(given, other, memory or Workspace())
        return flow_of(places.flatten(2), self.cells)

    def _pair_by_pair(
        self, first: Sequence[Tensor], second: Sequence[Tensor], memory: Workspace
    ) -> Tensor:
        """Return (B, 2, cells, cells) places from -1 to 1."""
        found = []
        for pair in range(len(first[0])):
            here = slice(pair, pair + 1)
            given, other = ([part[here] for part in each] for each in (first, second))
            found.append(self.learner(given, other, memory))
        return torch.cat(found)

    def match_points(
        self,
        first: Sequence[Tensor],
        second: Sequence[Tensor],
        points: Tensor,
        memory: Workspace | None = None,
    ) -> Tensor:
        """Return (B, N, 2) pixels in the second picture for points in the first, in the input."""
        return flow_to_points(self.match_features(first, second, memory), points, SIDE)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (B, 2, h, w) flow in cells for (B, 3, H, W) pictures, the given points' first."""
        given = self.encode_features(first)
        return self.match_features(given, self.encode_features(second))

    @property
    def learner(self) -> Any:
        """What comes after the trunk."""
        return self.hpn_learner["ours"]


def _enlarged(x: Tensor, side: int) -> Tensor:
    """Return (B, C, side, side, h, w), the first plane resized linearly, outer centres fixed."""
    cells = in_cells(x)
    wider = enlargement(x.shape[2], side, x).T @ cells
    return in_planes(wider)
