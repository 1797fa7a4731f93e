"""CATs++ after the trunk, without gradients: pair by pair, block by block, in memory used again.

The arithmetic is that of the modules in `catspp`; only the order of sums differs. What is held at
full size is held once: the correlation, its transpose, its normalised copies with margins, the
values and the attention.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spairc_models.conv4d_blocks import (
    Padded,
    convolve,
    convolve_sparsely,
    convolve_twice,
    lengths,
)
from spairc_models.correlation import resize_4d
from spairc_models.hypercorrelation import squeeze
from spairc_models.workspace import Workspace


def refine(
    learner: Any, first: Sequence[Tensor], second: Sequence[Tensor], memory: Workspace
) -> Tensor:
    """Return (B, first's cells, second's cells), as `catspp.Aggregator` does.

    Args:
        learner: The `catspp.Aggregator`.
        first: What `encode_features` returned for the pictures whose points are given.
        second: The same for the pictures that are searched.
        memory: Passed from call to call, it saves fresh memory.
    """
    pairs = zip(zip(*first, strict=True), zip(*second, strict=True), strict=True)
    # Autocast, where it is on, has given its shorter numbers to the trunk and to the features;
    # sums in buffers need one type.
    with torch.autocast(first[0].device.type, enabled=False):
        return torch.stack([_refine_pair(learner, given, other, memory) for given, other in pairs])


def _refine_pair(
    learner: Any, first: Sequence[Tensor], second: Sequence[Tensor], memory: Workspace
) -> Tensor:
    """Return (first's cells, second's cells) for one pair."""
    stages = zip(learner.stages_of(first), learner.stages_of(second), strict=True)
    refined: list[Tensor] = []
    for stage, ((given, near), (other, far)) in enumerate(stages):
        convolution, norm, _ = learner.early_conv[stage].conv4d[0]
        x = squeeze(given, other, convolution, memory, f"refined {stage}")
        _normalise(x, norm, [x], memory)
        x.relu_()
        if refined:
            _cells(x).add_(resize_4d(refined[-1], x.shape[-1]))
        _transform(x, learner.transformers[stage].layer[0], near.float(), far.float(), memory)
        refined.append(_cells(x))
    return refined[-1].mean(dim=0)


def _transform(x: Tensor, layer: Any, first: Tensor, second: Tensor, memory: Workspace) -> None:
    """Add to x, (C, H, W, h, w), what the layer makes of it from either picture's side."""
    swapped = memory.take("swapped", *_exchanged(x).shape, like=x).copy_(_exchanged(x))
    x += _layer(x, layer, second, memory)
    x += _exchanged(_layer(swapped, layer, first, memory))


def _layer(x: Tensor, layer: Any, affinity: Tensor, memory: Workspace) -> Tensor:
    """Return (C, H, W, h, w), what `catspp.Layer` makes of x."""
    seen = Padded.room("seen", tuple(x.shape), lengths(layer.v[0]), memory, x)
    _normalise(x, layer.norm1, seen.inside, memory)
    query, key = layer.placed(_query_key(seen, layer.qk, affinity, memory))
    share = _share(query, key, memory)
    value = convolve(seen, layer.v[0], memory, name="gifts")  # there are none yet
    _normalise(value, layer.v[1], [value], memory)
    answer = memory.take("answer", *x.shape, like=x)
    torch.baddbmm(_cells(x), _cells(value), share.transpose(1, 2), out=_cells(answer))
    _normalise(answer, layer.norm2, seen.inside, memory)
    inner, _, outer = layer.mlp.mlp
    for part in convolve_twice(seen, inner, outer, memory).inside:
        answer += part
    answer += outer.bias().view(-1, 1, 1, 1, 1)
    return answer


def _share(query: Tensor, key: Tensor, memory: Workspace) -> Tensor:
    """Return (heads, tokens, tokens), how much each token takes of each.

    It lies where sums will be, and its logarithms where the answer will.

    Args:
        query: (1, heads, tokens, channels).
        key: The same.
        memory: Holds the result.
    """
    heads, tokens, channels = query.shape[1:]
    scores, share = (
        memory.take(name, heads, tokens, tokens, like=query) for name in ("answer", "sums first")
    )
    scale = channels**-0.5
    torch.baddbmm(scores, query[0], key[0].mT, beta=0, alpha=scale, out=scores)
    return torch.softmax(scores, dim=-1, out=share)


def _query_key(seen: Padded, query_key: Any, affinity: Tensor, memory: Workspace) -> Tensor:
    """Return (1, tokens, 2 width), as `catspp.QueryKey` does."""
    convolution, norm = query_key.conv
    found = convolve_sparsely(seen, convolution, memory, name="sparse")
    _normalise(found, norm, [found], memory)
    joined = torch.cat([found.flatten(3).flatten(0, 2), affinity.flatten(1)])
    answer: Tensor = query_key.linear(joined.T.unsqueeze(0))
    return answer


def _normalise(x: Tensor, norm: nn.GroupNorm, into: Sequence[Tensor], memory: Workspace) -> None:
    """Write x, its mean 0, its variance 1 and each channel scaled and moved, to all of `into`."""
    centred = memory.take("columns", *x.shape, like=x)  # between two convolutions it is free
    torch.sub(x, x.mean(), out=centred)
    flat = centred.view(-1)
    variance = torch.dot(flat, flat) / flat.numel()
    scale = norm.weight * (variance + norm.eps).rsqrt()
    shape = (-1, *[1] * (x.dim() - 1))
    for part in into:
        torch.addcmul(norm.bias.view(shape), centred, scale.view(shape), out=part)


def _exchanged(x: Tensor) -> Tensor:
    """Return (C, h, w, H, W) for (C, H, W, h, w); no copy is made."""
    return x.permute(0, 3, 4, 1, 2)


def _cells(x: Tensor) -> Tensor:
    """Return (C, H W, h w) for (C, H, W, h, w), in the same memory."""
    channels, height, width, *plane = x.shape
    return x.view(channels, height * width, plane[0] * plane[1])
