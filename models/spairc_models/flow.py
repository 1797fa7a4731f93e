"""From refined correlations to flow, and from flow to points.

A flow is (B, 2, h, w) in cells: at each cell of the first picture, how far right and down its
match lies in the second. The first picture is the one whose points are given. Cells are numbered
row by row.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

TEMPERATURE = 0.02  # of the CATs family's soft-argmax; "SFNet" (Lee et al., CVPR 2019) has 1 / 50


def coordinates(cells: int) -> nn.Parameter:
    """Return the places of the cells along an axis, from -1 to 1; the programs train them."""
    return nn.Parameter(torch.linspace(-1, 1, cells, dtype=torch.float64).float())


def soft_argmax(
    scores: Tensor, x_normal: Tensor, y_normal: Tensor, temperature: float = TEMPERATURE
) -> Tensor:
    """Return where the second picture answers each cell, (B, 2, N), x then y, from -1 to 1.

    It is the mean place under a softmax over the second picture's cells.

    Args:
        scores: (B, h w, N), the cells of the second picture along the middle axis.
        x_normal: (w,) the places of the columns; trained with the network.
        y_normal: (h,) the places of the rows.
        temperature: Of the softmax.
    """
    flat = _weights(scores, temperature)
    weights = torch.unflatten(flat, 1, (len(y_normal), len(x_normal)))
    # Row by row first: one sum over thousands of cells would lose the last digits.
    readers = torch.stack([x_normal, torch.ones_like(x_normal)])
    by_row = readers @ weights  # (B, h, 2, N): x times weight, weight
    x_sum, mass = by_row.sum(dim=1).unbind(1)
    y_sum = y_normal @ by_row[:, :, 1]
    return torch.stack([x_sum, y_sum], dim=1) / mass.unsqueeze(1)


def confidence(scores: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Return (B, N): the largest share under the softmax that `soft_argmax` takes the mean of.

    Args:
        scores: (B, K, N), the cells of the second picture along the middle axis.
        temperature: Of the softmax.
    """
    return _weights(scores, temperature).sum(dim=1).reciprocal()


def _weights(scores: Tensor, temperature: float) -> Tensor:
    """Return the exponentials of a softmax along the middle axis; the largest is 1."""
    # The largest score goes before the division, which would round large scores coarsely.
    whole = scores.to(torch.promote_types(scores.dtype, torch.float32))
    shifted = whole - whole.detach().amax(dim=1, keepdim=True)
    return shifted.div_(temperature).exp_()


def flow_at(mapping: Tensor, numbers: Tensor, side: int) -> Tensor:
    """Return (B, 2, M) flow in cells, for the places that `soft_argmax` found.

    Args:
        mapping: (B, 2, M) from -1 to 1, the centres of the outer cells.
        numbers: (M,) or (B, M), the cells of the first picture that were asked.
        side: Cells along a side.
    """
    asked = torch.stack([numbers % side, numbers // side], dim=-2)
    return (mapping + 1) * (side - 1) / 2 - asked


def flow_of(mapping: Tensor, side: int) -> Tensor:
    """Return (B, 2, side, side) flow in cells; as `flow_at`, every cell having been asked."""
    everywhere = torch.arange(side * side, device=mapping.device)
    return torch.unflatten(flow_at(mapping, everywhere, side), 2, (side, side))


@dataclass(frozen=True, eq=False)
class Reading:
    """How the flow at points is mixed from the flow at cells."""

    pixels: Tensor  # (B, N, 2) the points, cut to whole pixels
    corners: Tensor  # (B, N, 4) numbers of the cells around each
    shares: Tensor  # (B, N, 4) what each contributes; they sum to 1
    step: float  # pixels per cell

    def points(self, flow: Tensor) -> Tensor:
        """Return (B, N, 2) pixels in the second picture for (B, 2, N, 4) flow at the corners."""
        mixed = (flow * self.shares.unsqueeze(1)).sum(dim=-1)
        return self.pixels + mixed.transpose(1, 2) * self.step


def reading_of(points: Tensor, side: int, cells: int) -> Reading:
    """Return how CATs, CATs++, SCorrSAN and SemiMatch read their flow at points.

    Each point is cut to the pixel that it lies in, and clamped into the picture; its fraction is
    lost. The flow of that pixel is the flow enlarged bilinearly with pixel centres at halves,
    though the networks' own grid has -1 and 1 on the centres of the outer cells.

    Args:
        points: (B, N, 2) in pixels of the first picture's square, float32.
        side: Pixels of that square.
        cells: Cells along a side of the flow.
    """
    pixels = points.long().clamp(0, side - 1)
    scale = torch.tensor(cells / side, dtype=points.dtype, device=points.device)
    places = ((pixels + 0.5) * scale - 0.5).clamp(min=0)
    low = places.long().clamp(max=cells - 1)
    high = (low + 1).clamp(max=cells - 1)
    (left, top), (right, bottom) = low.unbind(-1), high.unbind(-1)
    corners = [row * cells + column for row in (top, bottom) for column in (left, right)]
    x, y = (places - low).unbind(-1)
    shares = [(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x]
    return Reading(pixels, torch.stack(corners, -1), torch.stack(shares, -1), side / cells)


def flow_to_points(flow: Tensor, points: Tensor, side: int) -> Tensor:
    """Return where points of the first picture are in the second, (B, N, 2) pixels.

    Args:
        flow: (B, 2, h, h) in cells.
        points: (B, N, 2) in pixels of the first picture's square.
        side: Pixels of that square.
    """
    reading = reading_of(points, side, flow.shape[-1])
    asked = reading.corners.flatten(1).unsqueeze(1).expand(-1, 2, -1)
    read = flow.flatten(2).gather(2, asked)
    return reading.points(torch.unflatten(read, 2, reading.corners.shape[1:]))
