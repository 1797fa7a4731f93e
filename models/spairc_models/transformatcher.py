"""TransforMatcher: match-to-match attention (Kim et al., CVPR 2022).

Every pair of cells, 15^4 of them, is a token that holds its cosines at 26 levels of ResNet
features; six transformer blocks of additive attention ("Fastformer", Wu et al. 2021) refine the
tokens, and one number per token is enlarged to 30^4. The two pictures have separate weights.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from spairc_models.correlation import resize_2d, resize_4d, unit
from spairc_models.resnet import RESNET_101, ResNet
from spairc_models.transfer import Transfer

SIDE = 240  # pixels of the input
COARSE = 15  # cells along a side while matches attend to each other
CELLS = 30  # along a side of the answer
READOUT = Transfer(sigma=10, reach=0.05, guard=1e-5)  # of the test program; training reaches 0.1


class Rotation(nn.Module):
    """Angles by which a token's channels are rotated, in proportion to its number.

    "RoFormer" (Su et al. 2021), with the frequencies that are meant for pixels.

    Args:
        channels: Of a head; two share an angle.
    """

    freqs: Tensor  # (channels / 2,) angle from one token to the next

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("freqs", torch.linspace(1, 5, channels // 2) * math.pi)

    def forward(self, count: int) -> tuple[Tensor, Tensor]:
        """Return cosines and sines, (count, channels / 2)."""
        numbers = torch.arange(count, device=self.freqs.device).to(self.freqs.dtype)
        angles = numbers.unsqueeze(1) * self.freqs
        return angles.cos(), angles.sin()


class FastAttention(nn.Module):
    """Additive attention: one query and one key for all tokens of a head.

    The program computes queries, keys, values, their products with the global query and key and
    their projections for every token. But all of that is linear in the token, given the two
    global vectors: here these come from weighted sums of tokens, and every token is multiplied
    once, by the product of all matrices in its way.

    Args:
        width: Channels of the tokens.
        heads: How many attend.
        channels: Of a head.
        rotation: Shared by all blocks.
    """

    def __init__(self, width: int, heads: int, channels: int, rotation: Rotation) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * heads * channels, bias=False)
        self.pos_emb = rotation
        self.to_q_attn_logits = nn.Linear(channels, 1, bias=False)
        self.to_k_attn_logits = nn.Linear(channels // 2, 1, bias=False)
        self.to_r = nn.Linear(channels // 2, channels)
        self.to_out = nn.Linear(heads * channels, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, N, width) for the same."""
        # (heads, channels, width) each: from a token to a head's query, key and value.
        to_query, to_key, to_value = torch.unflatten(
            self.to_qkv.weight, 0, (3, self.heads, -1)
        ).unbind(0)
        turn = self.pos_emb(tokens.shape[1])
        by_query = self.to_q_attn_logits.weight[0].expand(len(tokens), self.heads, -1)
        query = _global(tokens, to_query, by_query, turn)
        by_key = self.to_k_attn_logits.weight[0].repeat_interleave(2) * query
        key = _global(tokens, to_key, by_key, turn)
        # r = to_r(value * key, summed by twos) + query, of each head, then to_out over all heads.
        spread = self.to_r.weight.repeat_interleave(2, dim=1)  # (channels, channels)
        through_value = torch.einsum("rc,bhc,hcw->bhrw", spread, key, to_value)
        through_both = (through_value + to_query).flatten(1, 2)
        matrix = self.to_out.weight @ through_both
        constant = self.to_out(self.to_r.bias.repeat(self.heads))
        answer: Tensor = tokens @ matrix.transpose(1, 2) + constant
        return answer


def _global(tokens: Tensor, matrix: Tensor, by: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Return (B, heads, channels): the weighted mean over tokens of their rotated vectors.

    Args:
        tokens: (B, N, width).
        matrix: (heads, channels, width), from a token to its vector.
        by: (B, heads, channels); its product with the vector is the weight, before the softmax.
        turn: Cosines and sines, (N, channels / 2).
    """
    channels = matrix.shape[1]
    to_weight = torch.einsum("bhc,hcw->bwh", by, matrix) * channels**-0.5
    weights = (tokens @ to_weight).softmax(dim=1)  # (B, N, heads)
    turned = [
        torch.einsum("bnh,nj,bnw->bhjw", weights, part, tokens) for part in turn
    ]  # (B, heads, channels / 2, width): tokens weighted by head and angle
    pairs = torch.unflatten(matrix, 1, (-1, 2))  # (heads, channels / 2, 2, width)
    straight, across = (torch.einsum("bhjw,hjrw->bhjr", part, pairs) for part in turned)
    first, second = straight.unbind(-1)
    return torch.stack([first - across[..., 1], second + across[..., 0]], dim=-1).flatten(2)


class PreNorm(nn.Module):
    """A layer after a normalisation, under the official key names."""

    def __init__(self, width: int, layer: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fn = layer

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the layer of the normalised tokens."""
        answer: Tensor = self.fn(self.norm(tokens))
        return answer


class Match2Match(nn.Module):
    """The transformer over matches.

    Args:
        levels: Correlations that come in.
        coarse: Cells along a side.
        width: Channels of a token.
        depth: Blocks.
    """

    def __init__(self, levels: int, coarse: int, width: int = 16, depth: int = 6) -> None:
        super().__init__()
        # Never read; the official files hold it.
        self.posenc = nn.Parameter(torch.randn(coarse, coarse, coarse, coarse, width))
        self.to_embedding = nn.Sequential(nn.Identity(), nn.Linear(levels, width))
        self.to_original = nn.Sequential(nn.Linear(width, 1))
        rotation = Rotation(4)
        self.trans_nc = nn.ModuleList(
            nn.ModuleList(
                [
                    PreNorm(width, FastAttention(width, 8, 4, rotation)),
                    PreNorm(
                        width,
                        nn.Sequential(
                            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
                        ),
                    ),
                ]
            )
            for _ in range(depth)
        )

    def forward(self, cosines: Tensor) -> Tensor:
        """Return (B, K, L) refined scores for (B, levels, K, L) cosines, none negative."""
        tokens = self.to_embedding(cosines.flatten(2).transpose(1, 2))
        for block in self.trans_nc:
            for layer in block.children():
                tokens = layer(tokens) + tokens
        refined: Tensor = self.to_original(tokens)
        return refined.view(len(cosines), *cosines.shape[2:])


class TransforMatcher(nn.Module):
    """The network, under the official key names.

    Args:
        blocks: Bottlenecks of each stage of the trunk.
        width: Of the trunk.
        coarse: Cells along a side while matches attend to each other.
    """

    def __init__(
        self, blocks: tuple[int, ...] = RESNET_101, *, width: int = 64, coarse: int = COARSE
    ) -> None:
        super().__init__()
        self.coarse = coarse
        self.backbone = ResNet(blocks, width=width, copies=2)
        self.layers = range(1 + sum(blocks[:2]), 1 + sum(blocks))
        self.match2match = Match2Match(len(self.layers), coarse)

    def encode_features(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return what a picture gives to every pair that it is in, in either role.

        Args:
            pictures: (B, 3, H, W), normalised.

        Returns:
            Per level (B, C, cells), in the first role; then the same in the second.
        """
        given, searched = self._encode(pictures, pictures)
        return (*given, *searched)

    def match_features(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
        """Return (B, first's cells, second's cells) from what `encode_features` returned."""
        levels = len(self.layers)
        return self._refine(list(first[:levels]), list(second[levels:]))

    def match_points(
        self, first: tuple[Tensor, ...], second: tuple[Tensor, ...], points: Tensor
    ) -> Tensor:
        """Return (B, N, 2) pixels in the second picture for points in the first, in the input."""
        return READOUT.points(self.match_features(first, second), points, SIDE)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (B, first's cells, second's cells) for (B, 3, H, W) pictures."""
        return self._refine(*self._encode(first, second))

    def _encode(self, first: Tensor, second: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return both pictures' features of length 1, each from its own half of the trunk."""
        maps = self.backbone(torch.cat([first, second], dim=1), self.layers, rectified=True)
        halves = [
            [resize_2d(unit(half), self.coarse).flatten(2) for half in each.chunk(2, dim=1)]
            for each in maps
        ]
        return [half[0] for half in halves], [half[1] for half in halves]

    def _refine(self, first: list[Tensor], second: list[Tensor]) -> Tensor:
        """Return the refined correlation of features, enlarged."""
        cosines = [
            given.transpose(1, 2) @ searched for given, searched in zip(first, second, strict=True)
        ]
        refined = self.match2match(functional.relu(torch.stack(cosines, dim=1)))
        return resize_4d(refined, CELLS)
