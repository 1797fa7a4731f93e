"""How alike every place of one picture is to every place of another, and what is done to that.

A correlation is (..., K, L): K cells of one picture against L cells of the other, each square
and counted row by row; in planes it is (..., H, W, h, w).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

_NOTHING = 1e-30  # in place of a largest score of 0, so that 0 / 0 does not arise


def unit(features: Tensor, *, inside: float = 0.0, outside: float = 0.0) -> Tensor:
    """Return features of length 1 at each place; programs differ in how they guard against 0.

    Args:
        features: (B, C, ...), the channels second.
        inside: Added to the squared length, under the root (NC-Net, CATs, SCorrSAN: 1e-6).
        outside: Added to the length (CATs++: 1e-5).
    """
    if inside:
        length = (features.square().sum(dim=1, keepdim=True) + inside).sqrt()
    else:  # this one has a gradient at 0
        length = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / (length + outside)


def correlate(one: Tensor, other: Tensor) -> Tensor:
    """Return (B, K, L) scalar products of (B, C, height, width) features; cosines of unit ones."""
    return one.flatten(2).transpose(1, 2) @ other.flatten(2)


def mutual_nearest(correlation: Tensor, *, guard: float = 0.0) -> Tensor:
    """Return each score times its ratio to the best of its row and to the best of its column.

    Scores that are each other's best stay as they are (Rocco et al., "Neighbourhood consensus
    networks", NeurIPS 2018, equation 4).

    Args:
        correlation: (..., K, L), none negative.
        guard: Added to the best scores (NC-Net: 1e-5).
    """
    best_of_row = _largest(correlation, dim=-1) + guard
    best_of_column = _largest(correlation, dim=-2) + guard
    return correlation * ((correlation / best_of_row) * (correlation / best_of_column))


def _largest(correlation: Tensor, dim: int) -> Tensor:
    """Return the largest score along one axis, never 0."""
    largest = correlation.max(dim=dim, keepdim=True).values
    return largest + _NOTHING * (largest == 0)


def resize_4d(correlation: Tensor, side: int) -> Tensor:
    """Return (..., K, L) resized to side^2 cells of both pictures; linear, outer centres fixed.

    Both resizes are products with a matrix, which needs no reordering of the four axes.
    """
    first, second = (math.isqrt(cells) for cells in correlation.shape[-2:])
    resized = correlation
    if second != side:
        resized = resized @ enlargement(second, side, correlation)
    if first != side:
        resized = enlargement(first, side, correlation).T @ resized
    return resized


def enlargement(given: int, side: int, like: Tensor) -> Tensor:
    """Return (given^2, side^2): how much of each cell goes into each cell of a resized square.

    Args:
        given: Cells along a side before.
        side: Cells along a side after.
        like: Has the type and device that the matrix shall have.
    """
    lines = torch.eye(given, dtype=like.dtype, device=like.device).unsqueeze(0)
    line = functional.interpolate(lines, side, mode="linear", align_corners=True)[0]
    return torch.kron(line, line)


def resize_2d(maps: Tensor, side: int) -> Tensor:
    """Return (B, C, h, w) resized to side x side; linear, the outer cell centres stay fixed."""
    if maps.shape[-2:] == (side, side):
        return maps
    return functional.interpolate(maps, (side, side), mode="bilinear", align_corners=True)


def in_planes(correlation: Tensor) -> Tensor:
    """Return (..., H, W, h, w) for (..., K, L); no copy is made."""
    side, other = (math.isqrt(cells) for cells in correlation.shape[-2:])
    return torch.unflatten(torch.unflatten(correlation, -1, (other, other)), -3, (side, side))


def in_cells(correlation: Tensor) -> Tensor:
    """Return (..., K, L) for (..., H, W, h, w); no copy is made where the memory allows."""
    return correlation.flatten(-2).flatten(-3, -2)
