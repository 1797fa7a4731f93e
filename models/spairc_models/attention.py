"""The transformer parts that networks share, under the key names of timm."""

import torch
from torch import Tensor, nn
from torch.nn import functional

INITIAL_STD = 0.02  # of linear layers and position codes, as in timm


class Attention(nn.Module):
    """Self-attention of several heads over the second last axis.

    Args:
        channels: Of the tokens; a multiple of `heads`.
        heads: How many share the channels.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (..., N, channels) tokens, each a mixture of all N."""
        split = torch.unflatten(self.qkv(tokens), -1, (3, self.heads, -1)).movedim(-2, -4)
        query, key, value = split.unbind(-2)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        answer: Tensor = self.proj(mixed.transpose(-2, -3).flatten(-2))
        return answer


class Mlp(nn.Module):
    """Two linear layers with a GELU between them.

    Args:
        channels: In and out.
        hidden: Between.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (..., channels) for (..., channels)."""
        answer: Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return answer


def draw_weights(network: nn.Module) -> None:
    """Draw linear layers as timm draws those of a vision transformer; biases start at 0."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=INITIAL_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def position_code(*shape: int) -> nn.Parameter:
    """Return a trained position code of this shape."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=INITIAL_STD))
