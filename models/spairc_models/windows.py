"""Attention inside windows, over any number of axes: Swin (Liu et al., ICCV 2021) on a grid.

Every other block looks at windows that are moved by half their length; what comes together there
only because the grid is rolled round does not see each other. VAT has it over a picture's two axes
and over a correlation's four.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

EXPANSION = 4  # hidden channels of the layers after the attention over its own
UNSEEN = -100.0  # added to the scores of tokens that must not see each other
TOKENS_AT_ONCE = 4096  # without gradients: more, and they leave the processor's cache


class Attention(nn.Module):
    """Attention with one head and a learnt bias for every offset, under the official key names.

    Args:
        width: Channels.
        axes: Of the grid.
        window: Tokens along a side of a window.
    """

    relative_position_index: Tensor  # (tokens, tokens) the entry of the table for each pair

    def __init__(self, width: int, axes: int, window: int) -> None:
        super().__init__()
        offsets = (2 * window - 1) ** axes
        self.relative_position_bias_table = nn.Parameter(torch.empty(offsets, 1).normal_(std=0.02))
        self.register_buffer("relative_position_index", _offsets(axes, window))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, unseen: Tensor | None) -> Tensor:
        """Return (B, windows, tokens, width) for the same.

        Args:
            x: The tokens of each window.
            unseen: (windows, tokens, tokens), added to the scores.
        """
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        bias = self.relative_position_bias_table[self.relative_position_index].squeeze(-1)
        mask = bias if unseen is None else (unseen + bias).unsqueeze(0)
        seen = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask.to(query.dtype)
        )
        answer: Tensor = self.proj(seen)
        return answer


class Perceptron(nn.Module):
    """Two layers with a GELU between them, under the official key names."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, EXPANSION * width)
        self.fc2 = nn.Linear(EXPANSION * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., width) for the same."""
        answer: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return answer


class Block(nn.Module):
    """Attention in windows, then a perceptron, each added to what came in.

    Args:
        width: Channels.
        sides: Of the grid, multiples of the window.
        window: Tokens along a side of a window; never longer than the shortest side.
        moved: Whether the windows are moved by half; not where one spans the shortest side.
    """

    attn_mask: Tensor  # (windows, tokens, tokens), where the windows are moved
    order: Tensor  # (windows, tokens) the grid's tokens as the windows hold them

    def __init__(self, width: int, sides: Sequence[int], window: int, *, moved: bool) -> None:
        super().__init__()
        window = min(window, *sides)
        shift = window // 2 if moved and min(sides) > window else 0
        self.register_buffer("attn_mask", _unseen(sides, window, shift) if shift else None)
        self.register_buffer("order", _order(sides, window, shift), persistent=False)
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, len(sides), window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Perceptron(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, tokens, width) for the same, in the same memory where there are no gradients.

        No window needs another one's tokens, so a few at a time go through everything.
        """
        if torch.is_grad_enabled():
            windows = self._within(x[:, self.order], self.attn_mask)
            return windows.flatten(1, 2)[:, self.order.flatten().argsort()]
        step = max(1, TOKENS_AT_ONCE // self.order.shape[1])
        for start in range(0, len(self.order), step):
            here = slice(start, start + step)
            places = self.order[here].flatten()
            tokens = torch.unflatten(x.index_select(1, places), 1, self.order[here].shape)
            unseen = None if self.attn_mask is None else self.attn_mask[here]
            x.index_copy_(1, places, self._within(tokens, unseen).flatten(1, 2))
        return x

    def _within(self, x: Tensor, unseen: Tensor | None) -> Tensor:
        """Return (B, windows, tokens, width) for the same."""
        x = x + self.attn(self.norm1(x), unseen)
        answer: Tensor = x + self.mlp(self.norm2(x))
        return answer


class Blocks(nn.Module):
    """Blocks one after another, every other one moved, under the official key name."""

    def __init__(self, width: int, sides: Sequence[int], window: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(Block(width, sides, window, moved=number % 2 == 1) for number in range(depth))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, width, sides ...) for the same."""
        tokens = x.flatten(2).transpose(1, 2).clone(memory_format=torch.contiguous_format)
        refined: Tensor = self.blocks(tokens)
        return torch.unflatten(refined.transpose(1, 2), 2, x.shape[2:])


def in_windows(x: Tensor, window: int) -> Tensor:
    """Return (B, windows, tokens, C) for a grid."""
    axes = x.ndim - 2
    for axis in reversed(range(1, axes + 1)):
        x = torch.unflatten(x, axis, (-1, window))
    order = [*range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2)]
    moved = x.permute(0, *order, 2 * axes + 1)
    return moved.flatten(1 + axes, 2 * axes).flatten(1, axes)


def _order(sides: Sequence[int], window: int, shift: int) -> Tensor:
    """Return (windows, tokens): the number of each token of each window, moved by `shift`."""
    numbers = torch.arange(math.prod(sides)).view(1, *sides, 1)
    axes = tuple(range(1, 1 + len(sides)))
    return in_windows(numbers.roll([-shift] * len(sides), axes), window)[0, ..., 0]


def _offsets(axes: int, window: int) -> Tensor:
    """Return (tokens, tokens): the number of the offset from one token to another."""
    places = torch.cartesian_prod(*[torch.arange(window)] * axes).view(-1, axes)
    offsets = places[:, None] - places[None, :] + window - 1
    weights = torch.tensor([(2 * window - 1) ** (axes - 1 - axis) for axis in range(axes)])
    return (offsets * weights).sum(dim=-1)


def _unseen(sides: Sequence[int], window: int, shift: int) -> Tensor:
    """Return (windows, tokens, tokens): what is added to the scores in moved windows.

    Along each axis the last window holds two parts that do not belong together.
    """
    grids = []
    for side in sides:
        line = torch.zeros(side)
        line[side - window :] = 1
        line[side - shift :] = 2
        grids.append(line)
    parts = torch.stack(torch.meshgrid(*grids, indexing="ij"), dim=-1)
    tokens = in_windows(parts.unsqueeze(0), window)[0]  # windows, tokens, axes
    numbers = tokens @ torch.tensor([3.0**axis for axis in range(len(sides))])
    return (numbers[:, :, None] != numbers[:, None, :]) * UNSEEN
