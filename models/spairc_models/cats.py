"""CATs: cost aggregation with transformers (Cho et al., NeurIPS 2021).

Eight levels of ResNet features are correlated; a transformer whose tokens are the cells of one
picture, each with its row of the correlation and its projected features, refines all levels at
once, first for the cells of the first picture, then for those of the second. A soft-argmax over
the mean level gives the flow. SemiMatch and MatchMe train the same network in other ways.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spairc.types import BadInput
from spairc_models.attention import Attention, Mlp, draw_weights, position_code
from spairc_models.correlation import correlate, mutual_nearest, resize_2d, unit
from spairc_models.flow import TEMPERATURE, coordinates, flow_of, flow_to_points, soft_argmax
from spairc_models.resnet import Extraction, ResNet, channels

SIDE = 256  # pixels of the input
LENGTH_GUARD = 1e-6  # under the root of a feature's length


@dataclass(frozen=True)
class Settings:
    """What a CATs is made of; a published checkpoint tells all but the fields that say so."""

    hyperpixels: tuple[int, ...] = (0, 8, 20, 21, 26, 28, 29, 30)  # layers of the trunk: not told
    cells: int = 16  # along a side of the correlation
    projection: int = 128  # channels of the projected features
    depth: int = 1  # transformer blocks
    heads: int = 6  # not told
    expansion: int = 4  # hidden channels of the blocks over theirs
    temperature: float = TEMPERATURE  # of the soft-argmax: not told; SemiMatch's CATs has 0.1


# The second is checked against the published number of keys only: no answers of it were stored.
PRESETS: Mapping[str, Settings] = {
    "spair": Settings(),
    "pfpascal": Settings(hyperpixels=(2, 17, 21, 22, 25, 26, 28)),
}


class Block(nn.Module):
    """Attention within each level and then between the levels of each cell.

    Args:
        width: Channels of the tokens.
        settings: Heads and expansion.
    """

    def __init__(self, width: int, settings: Settings) -> None:
        super().__init__()
        self.attn = Attention(width, settings.heads)
        self.attn_multiscale = Attention(width, settings.heads)
        self.norm1, self.norm2, self.norm3, self.norm4 = (
            nn.LayerNorm(width, eps=1e-6) for _ in range(4)
        )
        self.mlp = Mlp(width, settings.expansion * width)
        self.mlp2 = Mlp(width, settings.expansion * width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, levels, cells, width) for the same."""
        levels, cells = tokens.shape[1:3]
        x = tokens.flatten(0, 1)
        x = x + self.attn(self.norm1(x))
        x = x + self.mlp2(self.norm4(x))
        x = torch.unflatten(x, 0, (-1, levels)).transpose(1, 2).flatten(0, 1)
        x = x + self.attn_multiscale(self.norm3(x))
        x = x + self.mlp(self.norm2(x))
        return torch.unflatten(x, 0, (-1, cells)).transpose(1, 2)


class Aggregator(nn.Module):
    """The transformer that refines the correlation of all levels.

    Args:
        settings: Its sizes.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        levels, cells = len(settings.hyperpixels), settings.cells
        width = cells**2 + settings.projection
        self.pos_embed_x = position_code(1, levels, 1, cells, width // 2)
        self.pos_embed_y = position_code(1, levels, cells, 1, width // 2)
        self.blocks = nn.Sequential(*(Block(width, settings) for _ in range(settings.depth)))
        self.proj = nn.Linear(width, cells**2)
        self.norm = nn.LayerNorm(width, eps=1e-6)  # never read; the official files hold it
        draw_weights(self)

    def forward(self, correlation: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Return the refined (B, second's cells, first's cells), the mean over levels.

        Args:
            correlation: (B, levels, second's cells, first's cells).
            first: (B, levels, cells, projection) features of the first picture.
            second: Those of the second.
        """
        code = self._position_code()
        tokens = torch.cat([correlation.transpose(2, 3), first], dim=3) + code
        swapped = self.proj(self.blocks(tokens)).transpose(2, 3) + correlation
        tokens = torch.cat([swapped, second], dim=3) + code
        refined: Tensor = self.proj(self.blocks(tokens).mean(dim=1)) + correlation.mean(dim=1)
        return refined

    def _position_code(self) -> Tensor:
        """Return (1, levels, cells, width): half of the channels tell x, half y."""
        cells = self.pos_embed_x.shape[3]
        columns = self.pos_embed_x.expand(-1, -1, cells, -1, -1)
        rows = self.pos_embed_y.expand(-1, -1, -1, cells, -1)
        return torch.cat([columns, rows], dim=4).flatten(2, 3)


class CATs(nn.Module):
    """The network, under the official key names; `x_normal` and `y_normal` are trained with it.

    Args:
        settings: A preset, or what `settings_of` read from a checkpoint.
        backbone: A trunk in place of ResNet-101, called as `ResNet` is.
        side: Pixels of the input, the frame of `match_points`.
    """

    def __init__(
        self,
        settings: Settings = PRESETS["spair"],
        backbone: ResNet | None = None,
        *,
        side: int = SIDE,
    ) -> None:
        super().__init__()
        self.side = side
        trunk = ResNet() if backbone is None else backbone
        widths = [trunk.channels[layer] for layer in settings.hyperpixels]
        self.cells, self.temperature = settings.cells, settings.temperature
        self.feature_extraction = Extraction(trunk, settings.hyperpixels)
        self.proj = nn.ModuleList(nn.Linear(width, settings.projection) for width in widths)
        self.decoder = Aggregator(settings)
        self.x_normal = coordinates(settings.cells)
        self.y_normal = coordinates(settings.cells)

    def encode_features(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return what a picture gives to every pair that it is in, in either role.

        Args:
            pictures: (B, 3, H, W), normalised.

        Returns:
            The features of length 1 of each level, (B, C, h, w), and at last the projected
            features of all levels, (B, levels, h w, projection).
        """
        maps = [resize_2d(each, self.cells) for each in self.feature_extraction(pictures)]
        projected = [
            proj(each.flatten(2).transpose(1, 2))
            for proj, each in zip(self.proj, maps, strict=True)
        ]
        lengths_one = (unit(each, inside=LENGTH_GUARD) for each in maps)
        return (*lengths_one, torch.stack(projected, dim=1))

    def refined_correlation(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
        """Return (B, second's cells, first's cells) from what `encode_features` returned."""
        levels = [
            correlate(searched, given)
            for given, searched in zip(first[:-1], second[:-1], strict=True)
        ]
        filtered = mutual_nearest(torch.stack(levels, dim=1))
        refined: Tensor = self.decoder(filtered, first[-1], second[-1])
        return refined

    def match_features(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
        """Return (B, 2, h, w) flow in cells, from the first picture into the second."""
        refined = self.refined_correlation(first, second)
        found = soft_argmax(refined, self.x_normal, self.y_normal, self.temperature)
        return flow_of(found, self.cells)

    def match_points(
        self, first: tuple[Tensor, ...], second: tuple[Tensor, ...], points: Tensor
    ) -> Tensor:
        """Return (B, N, 2) pixels in the second picture for points in the first, in the input."""
        return flow_to_points(self.match_features(first, second), points, self.side)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (B, 2, h, w) flow in cells for (B, 3, H, W) pictures, the given points' first."""
        # In training mode the order is that of the statistics that batch norm keeps.
        searched = self.encode_features(second)
        return self.match_features(self.encode_features(first), searched)


def settings_of(
    shapes: Mapping[str, tuple[int, ...]],
    hyperpixels: tuple[int, ...] | None = None,
    heads: int | None = None,
    temperature: float = TEMPERATURE,
) -> Settings:
    """Return what a checkpoint was made with, from the shapes of its tensors.

    Shapes do not tell which layers of a stage were read, nor how many heads there are. Where the
    arguments do not either, layers come from the preset that has the checkpoint's channels.

    Args:
        shapes: By tensor name.
        hyperpixels: The layers, if they are known.
        heads: Of the attention, if they are known.
        temperature: Of the soft-argmax.

    Raises:
        BadInput: If no preset has such layers, the trunk lacks one, or the heads do not divide
            the channels.
    """
    width = shapes["decoder.proj.weight"][1]
    heads = Settings.heads if heads is None else heads
    if heads < 1 or width % heads:
        raise BadInput(f"heads={heads}: choose a divisor of this CATs' {width} channels")
    layers = _preset_layers(shapes) if hyperpixels is None else hyperpixels
    last = len(channels()) - 1
    if list(layers) != sorted(set(layers)) or not 0 <= layers[0] <= layers[-1] <= last:
        raise BadInput(f"hyperpixels {layers}: name layers from 0 to {last}, in ascending order")
    return Settings(
        hyperpixels=layers,
        cells=shapes["x_normal"][0],
        projection=shapes["proj.0.weight"][0],
        depth=_count(shapes, "decoder.blocks"),
        heads=heads,
        expansion=shapes["decoder.blocks.0.mlp.fc1.weight"][0] // width,
        temperature=temperature,
    )


def _preset_layers(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return the layers of the preset whose layers have the checkpoint's channels."""
    widths = [shapes[f"proj.{level}.weight"][1] for level in range(_count(shapes, "proj"))]
    trunk = channels()
    for preset in PRESETS.values():
        if [trunk[layer] for layer in preset.hyperpixels] == widths:
            return preset.hyperpixels
    raise BadInput(
        f"this CATs reads layers of {', '.join(map(str, widths))} channels, as none of "
        f"{', '.join(PRESETS)} does; name its layers: hyperpixels=0,8,20"
    )


def _count(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> int:
    """Return how many numbered modules stand under the prefix."""
    depth = prefix.count(".") + 1
    return len({key.split(".")[depth] for key in shapes if key.startswith(f"{prefix}.")})
