"""CATs++: CATs with convolutions in its transformers (Cho et al., TPAMI 2022).

All bottlenecks of three ResNet stages are correlated, each stage is squeezed by a strided
four-dimensional convolution, and transformers refine the three correlations from coarse to fine:
queries and keys come from the squeezed correlation and a picture's features, values from a
convolution. A soft-argmax over the mean channel gives the flow.

The modules here are the plain form, which training differentiates. Without gradients the network
runs `catspp_blocks`, which gives the same numbers pair by pair in a fraction of memory and time.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from spairc_models import catspp_blocks
from spairc_models.attention import position_code
from spairc_models.conv4d import Conv4d, Planes, transposed
from spairc_models.correlation import in_cells, in_planes, resize_4d, unit
from spairc_models.flow import coordinates, flow_of, flow_to_points, soft_argmax
from spairc_models.hypercorrelation import by_phase, rectified_cosines
from spairc_models.resnet import RESNET_101, ResNet
from spairc_models.workspace import Workspace

SIDE = 512  # pixels of the input
LENGTH_GUARD = 1e-5  # added to a feature's length


@dataclass(frozen=True)
class Settings:
    """What a CATs++ is made of."""

    cells: int = 32  # along a side of the flow; a sixteenth of the input's
    heads: int = 4  # and channels of every refined correlation
    affinity: int = 128  # channels of the features that queries and keys see
    width: int = 512  # channels of queries and of keys, over all heads
    expansion: int = 4  # hidden channels of a transformer over its own
    dropout: float = 0.5  # of the affinity's channels, in training


class Encoder(nn.Module):
    """A stage's correlations squeezed to few channels and half the side; official key names.

    Args:
        levels: Correlations of the stage.
        channels: Out.
    """

    def __init__(self, levels: int, channels: int) -> None:
        super().__init__()
        convolution = Conv4d(levels, channels, Planes(3, 3), Planes(2, 2))
        layers = nn.Sequential(convolution, nn.GroupNorm(1, channels), nn.ReLU())
        self.conv4d = nn.ModuleList([layers])

    def forward(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """Return (B, channels, H, W, h, w) from the stage's features of both pictures."""
        answer: Tensor = self.conv4d[0](rectified_cosines(first, second))
        return answer


class QueryKey(nn.Module):
    """Queries and keys of the second picture's cells, from the correlation and its features.

    Args:
        settings: Sizes.
        kernel: Of the convolution.
        step: Its stride over the first picture's plane.
    """

    def __init__(self, settings: Settings, kernel: Planes, step: int) -> None:
        super().__init__()
        heads, coarse = settings.heads, settings.cells // 4
        self.conv = nn.Sequential(
            Conv4d(heads, heads, kernel, Planes(step, 1)), nn.GroupNorm(1, heads)
        )
        self.linear = nn.Linear(heads * coarse**2 + settings.affinity, 2 * settings.width)

    def forward(self, x: Tensor, affinity: Tensor) -> Tensor:
        """Return (B, cells of the second picture, 2 width): the queries, then the keys.

        Args:
            x: (B, heads, H, W, h, w).
            affinity: (B, affinity, h, w) features of the second picture.
        """
        seen = in_cells(self.conv(x)).flatten(1, 2)
        joined = torch.cat([seen, affinity.flatten(2)], dim=1).transpose(1, 2)
        answer: Tensor = self.linear(joined)
        return answer


class HiddenLayers(nn.Module):
    """Two four-dimensional convolutions with a GELU between them.

    Args:
        channels: In and out.
        hidden: Between.
        kernel: Of both.
    """

    def __init__(self, channels: int, hidden: int, kernel: Planes) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            Conv4d(channels, hidden, kernel), nn.GELU(), Conv4d(hidden, channels, kernel)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, H, W, h, w) for the same."""
        answer: Tensor = self.mlp(x)
        return answer


class Layer(nn.Module):
    """A transformer layer whose tokens are the second picture's cells.

    Args:
        settings: Sizes.
        cells: Along a side of this stage's correlation.
        kernel: Of its convolutions.
    """

    def __init__(self, settings: Settings, cells: int, kernel: Planes) -> None:
        super().__init__()
        heads = settings.heads
        self.heads = heads
        self.pos_embed = position_code(1, cells**2, 1, settings.width // heads)
        self.qk = QueryKey(settings, kernel, 4 * cells // settings.cells)
        self.v = nn.Sequential(Conv4d(heads, heads, kernel), nn.GroupNorm(1, heads))
        self.mlp = HiddenLayers(heads, settings.expansion * heads, kernel)
        self.norm1 = nn.GroupNorm(1, heads)
        self.norm2 = nn.GroupNorm(1, heads)

    def forward(self, x: Tensor, affinity: Tensor) -> Tensor:
        """Return (B, heads, H, W, h, w) for the same and (B, affinity, h, w) features."""
        seen = self.norm1(x)
        value = in_cells(self.v(seen))  # (B, heads, H W, h w)
        query, key = self.placed(self.qk(seen, affinity))
        share = torch.softmax(query @ key.transpose(2, 3) / query.shape[3] ** 0.5, dim=-1)
        x = x + (value @ share.transpose(2, 3)).view(x.shape)
        answer: Tensor = x + self.mlp(self.norm2(x))
        return answer

    def placed(self, query_key: Tensor) -> tuple[Tensor, Tensor]:
        """Return `QueryKey`'s answer by heads, with the code of the tokens' positions."""
        query, key = (
            # The official channels count heads fastest.
            torch.unflatten(part, 2, (-1, self.heads)).permute(0, 3, 1, 2)
            + self.pos_embed.transpose(1, 2)
            for part in query_key.chunk(2, dim=-1)
        )
        return query, key


class Transformer(nn.Module):
    """One layer, under the official key name, asked from the side of either picture.

    Args:
        settings: Sizes.
        cells: Along a side of this stage's correlation.
        kernel: Of its convolutions.
    """

    def __init__(self, settings: Settings, cells: int, kernel: Planes) -> None:
        super().__init__()
        self.layer = nn.ModuleList([Layer(settings, cells, kernel)])

    def forward(self, x: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Return x plus what the layer makes of it with either picture's affinity."""
        (layer,) = self.layer
        answer: Tensor = x + layer(x, second) + transposed(layer(transposed(x), first))
        return answer


class Aggregator(nn.Module):
    """Everything after the trunk, under the official key names, from coarse to fine.

    Args:
        settings: Sizes.
        levels: Correlations of each stage, the coarsest first.
        channels: Of each stage's features.
    """

    def __init__(self, settings: Settings, levels: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        finest = settings.cells
        self.levels = tuple(levels)
        self.saves_memory = False  # in training, for more time
        stages = [(finest // 4, Planes(3, 3)), (finest // 2, Planes(3, 3)), (finest, Planes(5, 3))]
        self.early_conv = nn.ModuleList(Encoder(count, settings.heads) for count in levels)
        self.transformers = nn.ModuleList(
            Transformer(settings, cells, kernel) for cells, kernel in stages
        )
        self.affinity_proj = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, settings.affinity, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Dropout2d(settings.dropout),
            )
            for width in channels
        )
        self.x_normal = coordinates(finest)
        self.y_normal = coordinates(finest)

    def forward(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """Return (B, first's cells, second's cells) for what both pictures were encoded as."""
        stages = zip(self.stages_of(first), self.stages_of(second), strict=True)
        refined: list[Tensor] = []
        for stage, ((given, near), (other, far)) in enumerate(stages):
            found = self._done(self.early_conv[stage], given, other)
            if refined:
                found = found + in_planes(resize_4d(in_cells(refined[-1]), found.shape[-1]))
            refined.append(self._done(self.transformers[stage], found, near, far))
        return in_cells(refined[-1]).mean(dim=1)

    def _done(self, module: nn.Module, *given: Any) -> Tensor:
        """Return what a module answers; what its gradient needs is kept, or computed again."""
        kept = not self.saves_memory
        answer: Tensor = module(*given) if kept else checkpoint(module, *given, use_reentrant=False)
        return answer

    def stages_of(self, features: Sequence[Tensor]) -> list[tuple[Sequence[Tensor], Tensor]]:
        """Return each stage's levels and its affinity, the coarsest stage first."""
        ends = list(itertools.accumulate(self.levels))
        levels = [features[end - count : end] for end, count in zip(ends, self.levels, strict=True)]
        return list(zip(levels, features[ends[-1] :], strict=True))


class CATsPlusPlus(nn.Module):
    """The network, under the official key names; its places are trained with it.

    Args:
        settings: Sizes.
        blocks: Bottlenecks of each stage of the trunk.
        width: Of the trunk.
        side: Pixels of the input, the frame of `match_points`.
    """

    def __init__(
        self,
        settings: Settings = Settings(),
        *,
        blocks: Sequence[int] = RESNET_101,
        width: int = 64,
        side: int = SIDE,
    ) -> None:
        super().__init__()
        self.side = side
        self.cells = settings.cells
        self.backbone = ResNet(blocks, width=width)
        ends = [sum(blocks[:stage]) for stage in (4, 3, 2, 1)]
        self.stages = [range(low + 1, high + 1) for high, low in itertools.pairwise(ends)]
        self.hpn_learner = Aggregator(
            settings,
            [len(stage) for stage in self.stages],
            [self.backbone.channels[end] for end in ends[:3]],
        )

    def encode_features(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return what a picture gives to every pair that it is in, in either role.

        Args:
            pictures: (B, 3, H, W), normalised.

        Returns:
            For the last three stages, the last first, and every level of them, (B, h w, C)
            features of length 1, their cells in the order of `by_phase`; then the stages'
            (B, affinity, h / 2, w / 2) projections.
        """
        layers = [layer for stage in self.stages[::-1] for layer in stage]
        found: dict[int, Tensor] = {}
        projections: list[Tensor] = []
        stages = list(zip(self.stages, self.hpn_learner.affinity_proj, strict=True))
        for layer, features in self.backbone.walk(pictures, layers, rectified=False):
            found[layer] = by_phase(unit(features, outside=LENGTH_GUARD))
            projections += [project(features) for stage, project in stages if layer == stage[-1]]
        return (*(found[layer] for stage in self.stages for layer in stage), *projections[::-1])

    def refined_correlation(
        self, first: Sequence[Tensor], second: Sequence[Tensor], memory: Workspace | None = None
    ) -> Tensor:
        """Return (B, second's cells, first's cells) from what `encode_features` returned.

        Args:
            first: Of the picture whose points are given.
            second: Of the picture that is searched.
            memory: Saves time when it is passed from pair to pair, in inference.
        """
        if torch.is_grad_enabled():
            refined: Tensor = self.hpn_learner(first, second)
        else:
            room = Workspace() if memory is None else memory
            refined = catspp_blocks.refine(self.hpn_learner, first, second, room)
        return refined.transpose(1, 2)

    def match_features(
        self, first: Sequence[Tensor], second: Sequence[Tensor], memory: Workspace | None = None
    ) -> Tensor:
        """Return (B, 2, h, w) flow in cells; arguments as those of `refined_correlation`."""
        refined = self.refined_correlation(first, second, memory)
        learner = self.hpn_learner
        return flow_of(soft_argmax(refined, learner.x_normal, learner.y_normal), self.cells)

    def match_points(
        self,
        first: Sequence[Tensor],
        second: Sequence[Tensor],
        points: Tensor,
        memory: Workspace | None = None,
    ) -> Tensor:
        """Return (B, N, 2) pixels in the second picture for points in the first, in the input."""
        return flow_to_points(self.match_features(first, second, memory), points, self.side)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (B, 2, h, w) flow in cells for (B, 3, H, W) pictures, the given points' first."""
        # In training mode the order is that of the statistics that batch norm keeps.
        given = self.encode_features(first)
        return self.match_features(given, self.encode_features(second))
