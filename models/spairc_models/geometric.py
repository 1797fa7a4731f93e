"""Affine and thin-plate warps of points and pictures, as CNNGeo and WeakAlign regress them.

Coordinates run from -1 to 1 over the outer pixel centres. A warp leads from the picture whose
points are given to the one that is searched; it is six numbers (two rows of an affine matrix) or
eighteen (where nine control points go: nine x, then nine y).
"""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

AFFINE, THIN_PLATE = 6, 18  # numbers of a warp
# (9, 2) x and y of the control points, x the slower
_CONTROLS = np.stack(np.meshgrid([-1.0, 0, 1], [-1.0, 0, 1], indexing="ij"), axis=-1).reshape(9, 2)


def warp_points(warps: Tensor, points: Tensor) -> Tensor:
    """Return where points of the first picture are in the second, (B, N, 2) from -1 to 1.

    Args:
        warps: (B, 6) or (B, 18).
        points: (B, N, 2).
    """
    if warps.shape[1] == AFFINE:
        matrix = torch.unflatten(warps, 1, (2, 3))
        return points @ matrix[:, :, :2].mT + matrix[:, None, :, 2]
    controls = torch.unflatten(warps, 1, (2, -1)).mT  # B, 9, 2
    return _basis(points) @ (torch.from_numpy(_solution()).to(controls) @ controls)


def warp_pictures(pictures: Tensor, warps: Tensor) -> Tensor:
    """Return second pictures as the first ones see them, (B, C, side, side); outside they are 0.

    Args:
        pictures: (B, C, side, side).
        warps: (B, 6) or (B, 18).
    """
    side = pictures.shape[-1]
    line = torch.linspace(-1, 1, side, dtype=warps.dtype, device=warps.device)
    grid = torch.stack([line.repeat(side), line.repeat_interleave(side)], dim=1)
    places = warp_points(warps, grid.expand(len(warps), -1, -1))
    return functional.grid_sample(
        pictures, torch.unflatten(places, 1, (side, side)), align_corners=True
    )


def _basis(points: Tensor) -> Tensor:
    """Return (..., N, 12): r^2 log r^2 of the distance r to each control point, then 1, x, y.

    The thin-plate kernel of Bookstein, "Principal warps" (TPAMI 1989), is half of that; the
    programs leave the half out.
    """
    controls = torch.from_numpy(_CONTROLS).to(points)
    squared = (points.unsqueeze(-2) - controls).square().sum(dim=-1)
    kernel = squared * squared.clamp(min=torch.finfo(squared.dtype).tiny).log()
    return torch.cat([kernel, torch.ones_like(points[..., :1]), points], dim=-1)


@cache
def _solution() -> NDArray[np.float64]:
    """Return (12, 9): the weights of the basis, for where each control point goes."""
    interpolation = _basis(torch.from_numpy(_CONTROLS)).numpy()  # 9, 12
    plane = interpolation[:, 9:]
    system = np.block([[interpolation], [plane.T, np.zeros((3, 3))]])
    return np.asarray(np.linalg.inv(system)[:, :9])
