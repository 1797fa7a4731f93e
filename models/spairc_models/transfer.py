"""From correlations to points, as CHM and TransforMatcher do it.

Every cell of the first picture is answered by a mean place in the second, under a softmax of its
scores after a Gaussian around the best; a given point is the mean of the cells near it. Both
programs live in a frame in which -1 and 1 are the borders for points and the outer cell centres
for cells, and so does this.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

ROOT_GUARD = 1e-5  # under the root of a distance


@dataclass(frozen=True)
class Transfer:
    """How one of the programs reads its correlation."""

    sigma: float  # of the Gaussian, in cells
    reach: float  # how far from a point its cells lie, in the frame from -1 to 1
    guard: float  # added to the sum of a point's weights

    def points(self, correlation: Tensor, points: Tensor, side: int) -> Tensor:
        """Return where points of the first picture are in the second, (B, N, 2) pixels.

        A point that no cell is near, as happens outside the picture, gets the answer of the cell
        nearest to it; the programs give the middle of the picture or no number.

        Args:
            correlation: (B, first's cells, second's cells), both square.
            points: (B, N, 2) in pixels of the first picture's square, float32.
            side: Pixels of that square.
        """
        half = side // 2
        scores = correlation.to(torch.promote_types(correlation.dtype, torch.float32))
        cells = _grid(math.isqrt(scores.shape[1]), scores)
        weights = self._weights((points - half) / half, cells)
        asked = weights.any(dim=1).any(dim=0).nonzero().squeeze(1)
        answers = self._answers(scores[:, asked])
        return weights[:, :, asked] @ answers * half + half

    def _weights(self, points: Tensor, cells: Tensor) -> Tensor:
        """Return (B, N, cells): how much each cell tells of a point."""
        squared = (cells - points.unsqueeze(2)).square().sum(dim=3)
        near = (self.reach - (squared + ROOT_GUARD).sqrt()).clamp(min=0)
        total = near.sum(dim=2, keepdim=True)
        nearest = functional.one_hot(squared.argmin(dim=2), len(cells)).to(near.dtype)
        return torch.where(total == 0, nearest, near / (total + self.guard))

    def _answers(self, scores: Tensor) -> Tensor:
        """Return (B, M, 2) places from -1 to 1 for (B, M, second's cells) scores."""
        side = math.isqrt(scores.shape[2])
        best = scores.argmax(dim=2, keepdim=True)
        cells = torch.arange(side * side, device=scores.device)
        rows, columns = cells // side - best // side, cells % side - best % side
        squared = rows.square() + columns.square()
        kernel = torch.exp(-squared.to(scores.dtype) / (2 * self.sigma**2))
        return (kernel * scores).softmax(dim=2) @ _grid(side, scores)


def _grid(side: int, like: Tensor) -> Tensor:
    """Return (side^2, 2): x and y of the cells, from -1 to 1, row by row."""
    line = torch.linspace(-1, 1, side, dtype=like.dtype, device=like.device)
    return torch.stack([line.repeat(side), line.repeat_interleave(side)], dim=1)
