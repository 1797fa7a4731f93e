"""The first step of CATs++: many levels of correlation, squeezed to half their side.

At each level the cosines of all cells of one picture with all of the other, negative ones cut, are
convolved with a stride of 2 over one picture's plane and, over the other's, see the largest of
each 2 x 2 cells. At the finest stage a level holds 64^4 numbers, of which only the pooled ones
are needed: `squeeze` multiplies a few rows at a time and keeps these.

For that, cells are counted by their phase (row and column modulo 2), then row by row within a
phase: the four cells of a square then lie in four blocks, and their maximum is that of four long
vectors. A convolution with stride 2 is a dense one over the four phases.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from spairc_models.conv4d import Conv4d, Planes
from spairc_models.conv4d_blocks import Neighbours, Padded, biased
from spairc_models.correlation import in_planes
from spairc_models.workspace import Workspace

PHASES = 4
KERNEL = Planes(2, 2)  # of the dense convolution over the phases
CELLS_AT_ONCE = 128  # of the first picture: more, and their scores leave the processor's cache


def by_phase(maps: Tensor) -> Tensor:
    """Return (B, h w, C), cells counted by phase, for (B, C, h, w) maps."""
    split = torch.unflatten(torch.unflatten(maps, 3, (-1, 2)), 2, (-1, 2))  # B, C, h/2, 2, w/2, 2
    return split.permute(0, 3, 5, 2, 4, 1).flatten(1, 4)


def by_row(cells: Tensor) -> Tensor:
    """Return (B, h w, C), cells counted row by row, for cells counted by phase."""
    half = math.isqrt(cells.shape[1] // PHASES)
    split = torch.unflatten(cells, 1, (2, 2, half, half))
    return split.permute(0, 3, 1, 4, 2, 5).flatten(1, 4)


def rectified_cosines(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Return (B, levels, H, W, h, w) cosines, none negative: all that `squeeze` does not hold.

    Args:
        first: Per level (B, H W, C) features of length 1 of the first picture, by phase.
        second: Those of the second.
    """
    levels = [
        by_row(given) @ by_row(other).transpose(1, 2)
        for given, other in zip(first, second, strict=True)
    ]
    return in_planes(torch.stack(levels, dim=1).clamp(min=0))


def squeeze(
    first: Sequence[Tensor], second: Sequence[Tensor], layer: Conv4d, memory: Workspace, name: str
) -> Tensor:
    """Return (outputs, h, w, h', w'), the strided convolution of one pair's correlations.

    Args:
        first: Per level (4 h w, C) features of length 1 of the first picture, by phase.
        second: Those of the second.
        layer: Has strides of 2 and kernels of 3.
        memory: Holds the result too.
        name: Of its buffer.
    """
    weights = (layer.query_conv.weight, layer.supp_conv.weight)
    by_level = [_dense(weight).flatten(2) for weight in weights]
    matrices = torch.cat(by_level, dim=2).unbind(1)
    sides = [math.isqrt(len(cells[0]) // PHASES) for cells in (first, first, second, second)]
    squeezed = biased(layer, sides, memory, name=name)
    for given, other, matrix in zip(first, second, matrices, strict=True):
        pooled_correlation(given, other, memory).add_to(squeezed, matrix, memory)
    return squeezed


def pooled_correlation(first: Tensor, second: Tensor, memory: Workspace) -> Neighbours:
    """Return what the squeezing convolution sees of one level's correlation.

    Args:
        first: (4 h w, C), by phase.
        second: (4 h' w', C), by phase.
        memory: Holds the result.

    Returns:
        Windows over the first plane's phases, the second plane's squares pooled, and windows over
        the second plane's phases, the first plane's squares pooled.
    """
    side, other = (math.isqrt(len(cells) // PHASES) for cells in (first, second))
    single = first[:0].float()  # the features may be shorter numbers
    room = Padded.room("sums", (PHASES, side, side, other, other), KERNEL, memory, single)
    over_second, over_first = room.inside
    by_square_row = first.view(PHASES, side, side, -1)
    step = max(1, CELLS_AT_ONCE // (PHASES * side))
    for start in range(0, side, step):
        rows = slice(start, start + step)
        cells = by_square_row[:, rows].flatten(0, 2)
        scores = memory.take("scores", len(cells), len(second), like=first)
        torch.mm(cells, second.T, out=scores)
        split = scores.view(PHASES, -1, side, PHASES, other, other)
        over_second[:, rows] = split.amax(dim=3).clamp_(min=0)
        over_first[:, rows] = split.amax(dim=0).clamp_(min=0).movedim(2, 0)
    return room.neighbours()


def _dense(weight: Tensor) -> Tensor:
    """Return (O, I, 4, 2, 2): a 3 x 3 kernel with stride 2 as a 2 x 2 kernel over the phases."""
    split = in_planes(functional.pad(weight, (1, 0, 1, 0)))
    return split.permute(0, 1, 3, 5, 2, 4).flatten(2, 3)
