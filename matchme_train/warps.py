"""Affine and thin-plate warps with known places, for pictures, points and grids of labels.

A warp tells for every place of the warped picture where it comes from in the original one:
g(y) = A(T(y)), a thin-plate spline T over 3 x 3 control places and then an affine map A (Rocco et
al., "Convolutional neural network architecture for geometric matching", CVPR 2017). Places run
from -1 to 1 between the picture's outer *edges*. A warp is 24 numbers: the affine map's two rows
of three, the spline's nine x and nine y, the control places being counted column by column.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from matchme_train.sections import Amplitudes

_LINE = (-1.0, 0.0, 1.0)
_AXIS = torch.tensor(_LINE, dtype=torch.float64)
_CONTROLS = torch.cartesian_prod(_AXIS, _AXIS)  # (9, 2)
IDENTITY = torch.cat(
    [torch.tensor([1.0, 0, 0, 0, 1, 0], dtype=torch.float64), _CONTROLS.T.flatten()]
)
_OUTSIDE = 1e10  # a place that no sampler finds inside
_SEARCH = 33  # places along a side among which the way back begins
_STEPS = 12  # of Newton's method; from the nearest of those places three or four are enough
_CLOSE = 1e-6  # of the picture's half side: a place that is met


def draw_warp(
    amplitudes: Amplitudes, draws: np.random.Generator, strength: float = 1.0
) -> NDArray[np.float64]:
    """Return the 24 numbers of a random warp.

    Args:
        amplitudes: How large it may be.
        draws: Where the numbers come from.
        strength: Multiplies every amplitude; 0 is no warp.
    """
    parts = (amplitudes.rotation, amplitudes.axis)
    angle, axis = np.deg2rad([strength * draws.uniform(-part, part) for part in parts])
    scales = 1 + strength * draws.uniform(-amplitudes.scale, amplitudes.scale, 2)
    shift = strength * draws.uniform(-amplitudes.shift, amplitudes.shift, 2)
    bend = strength * draws.uniform(-amplitudes.bend, amplitudes.bend, 18)
    linear = _turn(angle) @ _turn(-axis) @ np.diag(scales) @ _turn(axis)
    affine = np.concatenate([linear, shift[:, None]], axis=1)
    return np.concatenate([affine.ravel(), IDENTITY[6:].numpy() + bend])


def origins(warp: Tensor, places: Tensor, precision: torch.dtype = torch.float64) -> Tensor:
    """Return where places of the warped picture come from, (B, N, 2) from -1 to 1.

    Args:
        warp: (B, 24).
        places: (B, N, 2) or (N, 2).
        precision: Of the answer; float32 takes half the time.
    """
    bent = _bent(warp, places.to(precision).expand(len(warp), -1, -1))
    return _affine(warp, bent)


def arrivals(warp: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Return where places of the original are in the warped picture, and whether they are in it.

    There is no formula for the way back through a spline: Newton's method starts at the nearest
    of 33 x 33 places. Where a strong warp folds, one of several answers comes back.

    Args:
        warp: (24,).
        places: (N, 2) from -1 to 1.

    Returns:
        (N, 2) float64 places, and (N,) whether they were found inside the warped picture.
    """
    wanted = places.double()
    starts = grid(_SEARCH).flatten(0, 1)
    images = origins(warp.unsqueeze(0), starts)[0]
    found = starts[torch.cdist(wanted, images).argmin(dim=1)]
    for _ in range(_STEPS):
        found = found - _newton_step(warp, found, wanted)
    miss = (origins(warp.unsqueeze(0), found)[0] - wanted).abs().amax(dim=1)
    return found, (miss < _CLOSE) & (found.abs().amax(dim=1) <= 1)


def grid(side: int) -> Tensor:
    """Return (side, side, 2): the centres of the pixels or cells of a square, -1 to 1, float64."""
    return _places(side, torch.float64)


def origins_of_cells(warp: Tensor, side: int) -> Tensor:
    """Return (B, side, side, 2): where the cells of the warped picture come from, float64."""
    return torch.unflatten(origins(warp, grid(side).flatten(0, 1)), 1, (side, side))


def warped_picture(picture: Tensor, warp: Tensor) -> Tensor:
    """Return a picture as the warp makes it, bilinear, black where it comes from outside.

    Its places are computed in float32, to a thousandth of a pixel: half the time at 512 pixels.

    Args:
        picture: (3, side, side) float32, 0 being black.
        warp: (24,).
    """
    places = _places(picture.shape[-1], torch.float32).flatten(0, 1).unsqueeze(0)
    given = _affine(warp.unsqueeze(0), _bent(warp.unsqueeze(0), places))
    came_from = given.view(1, *picture.shape[1:], 2).to(picture.dtype)
    return functional.grid_sample(picture.unsqueeze(0), came_from, align_corners=False)[0]


def published_steps(warp: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return the two sampling grids of SemiMatch's program, (B, side, side, 2), float64.

    Its affine grid has -1 and 1 at the edges, its spline's at the centres of the outer cells, and
    both are read by a sampler for which they are the edges. What comes from beyond the centres of
    the outer cells is lost, so that even a warp by nothing costs the outer ring.
    """
    line = torch.linspace(-1, 1, side, dtype=torch.float64)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    corners = torch.stack([columns, rows], dim=-1).flatten(0, 1)
    whole = warp.double()
    affine = _affine(whole, grid(side).flatten(0, 1).expand(len(warp), -1, -1))
    spline = _bent(whole, corners.expand(len(warp), -1, -1))
    limit = 1 - 1 / side + 1e-9  # the rounding of an identity must not cost more
    steps = []
    for step in (affine, spline):
        inside = (step.abs() <= limit).all(dim=-1, keepdim=True)
        steps.append(torch.unflatten(torch.where(inside, step, _OUTSIDE), 1, (side, side)))
    return steps[0], steps[1]


def resampled(
    maps: Tensor, steps: Sequence[Tensor], mode: Literal["nearest", "bilinear"]
) -> Tensor:
    """Return (B, C, h, h) maps read through one sampling grid after the other; 0 outside."""
    for step in steps:
        places = step.to(maps)
        maps = functional.grid_sample(maps, places, mode=mode, align_corners=False)
    return maps


@lru_cache(maxsize=8)
def _places(side: int, precision: torch.dtype) -> Tensor:
    """Return what `grid` tells, which is not to be written to."""
    line = (2 * torch.arange(side, dtype=torch.float64) + 1) / side - 1
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([columns, rows], dim=-1).to(precision)


def _turn(angle: float) -> NDArray[np.float64]:
    """Return the 2 x 2 matrix of a rotation."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _affine(warp: Tensor, places: Tensor) -> Tensor:
    """Return A of (B, N, 2) places, in their precision."""
    matrix = torch.unflatten(warp[:, :6].to(places.dtype), 1, (2, 3))
    moved: Tensor = places @ matrix[:, :, :2].transpose(1, 2) + matrix[:, None, :, 2]
    return moved


def _bent(warp: Tensor, places: Tensor) -> Tensor:
    """Return T of (B, N, 2) places, in their precision."""
    weights = _coefficients(warp).to(places.dtype)
    linear = torch.cat([torch.ones_like(places[..., :1]), places], dim=-1)
    return torch.cat([_radial(places), linear], dim=-1) @ weights


def _coefficients(warp: Tensor) -> Tensor:
    """Return (B, 12, 2): the spline's weights and its linear part, for x and y."""
    targets = torch.unflatten(warp[:, 6:].double(), 1, (2, 9)).transpose(1, 2)
    return _SOLVER @ targets


def _radial(places: Tensor) -> Tensor:
    """Return (..., 9): r^2 log r^2 of the distances to the control places; 0 at r = 0."""
    line = _AXIS.to(places.dtype)
    across, down = ((places[..., axis, None] - line).square() for axis in (0, 1))
    squared = (across.unsqueeze(-1) + down.unsqueeze(-2)).flatten(-2)
    # As `xlogy`, but faster: at no distance a product with 0.
    values: Tensor = squared * squared.clamp(min=torch.finfo(squared.dtype).tiny).log()
    return values


def _solver() -> Tensor:
    """Return (12, 9): from the control places' images to the spline's coefficients."""
    linear = torch.cat([torch.ones(9, 1, dtype=torch.float64), _CONTROLS], dim=1)
    system = torch.zeros(12, 12, dtype=torch.float64)
    system[:9, :9] = _radial(_CONTROLS)
    system[:9, 9:] = linear
    system[9:, :9] = linear.T
    inverse: Tensor = torch.linalg.inv(system)
    return inverse[:, :9]


def _newton_step(warp: Tensor, found: Tensor, wanted: Tensor) -> Tensor:
    """Return (N, 2): by how much to correct places whose origins should be the wanted ones."""
    miss = origins(warp.unsqueeze(0), found)[0] - wanted
    slope = warp[:6].double().view(2, 3)[:, :2] @ _slope_of_spline(warp, found)
    # A fold has no inverse; the least-squares step stays finite there.
    step: Tensor = torch.linalg.lstsq(slope, miss.unsqueeze(2)).solution.squeeze(2)
    return step.clamp(-0.5, 0.5)


def _slope_of_spline(warp: Tensor, places: Tensor) -> Tensor:
    """Return (N, 2, 2): the derivative of T at places, rows for x and y of the image."""
    weights = _coefficients(warp.unsqueeze(0))[0]
    away = places.unsqueeze(1) - _CONTROLS  # (N, 9, 2)
    squared = away.square().sum(dim=-1, keepdim=True)
    floor = torch.finfo(torch.float64).tiny
    radial = 2 * away * (squared.clamp(min=floor).log() + 1)
    return torch.einsum("ncd,ck->nkd", radial, weights[:9]) + weights[10:].T


_SOLVER = _solver()
