"""What COCR takes from a teacher's scores: one-to-one matches, and how consistent a pair is.

"Weakly Supervised Learning of Semantic Correspondence through Cascaded Online Correspondence
Refinement" (Huang et al., ICCV 2023), supplement. Cells are numbered row by row.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from matchme_train.targets import flow_to


def one_to_one(
    scores: NDArray[np.float32],
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    most: int | None = None,
) -> NDArray[np.int64]:
    """Return matches such that no cell is in two of them, the best first (Algorithm 1).

    Background is left out; then the highest score is taken and its two cells removed, until a
    side is empty. As a score stays what it is, all of them are sorted once, and those with a cell
    that is gone are passed over. Of equal scores the first in row order comes first.

    Args:
        scores: (N, M) of the first picture's cells with the second's.
        first: (N,) whether a cell is no background.
        second: (M,) likewise.
        most: How many matches at most; None takes all.

    Returns:
        (K, 2) numbers of the cells, first's and second's.
    """
    rows, columns = np.flatnonzero(first), np.flatnonzero(second)
    limit = min(len(rows), len(columns), len(rows) if most is None else most)
    inner = scores[np.ix_(rows, columns)]
    order = np.argsort(-inner, axis=None, kind="stable")
    free_row, free_column = [True] * len(rows), [True] * len(columns)
    found: list[tuple[int, int]] = []
    for place in order.tolist():
        if len(found) == limit:
            break
        row, column = divmod(place, len(columns))
        if free_row[row] and free_column[column]:
            free_row[row] = free_column[column] = False
            found.append((row, column))
    places = np.array(found, dtype=np.int64).reshape(-1, 2)
    return np.stack([rows[places[:, 0]], columns[places[:, 1]]], axis=1)


def coarser(scores: Tensor, grid: int) -> Tensor:
    """Return (B, n, n) scores of the first picture's with the second's cells, n = grid squared.

    Where the network has more cells than the grid, the scores within a cell of the grid are
    averaged, over both pictures.

    Args:
        scores: (B, second's cells, first's cells), as `refined_correlation` returns them.
        grid: Cells along a side; those of the network are a multiple.
    """
    cells = math.isqrt(scores.shape[-1])
    width = cells // grid
    split = scores.reshape(-1, *(grid, width, grid, width) * 2)
    averaged = split.mean(dim=(2, 4, 6, 8)).flatten(3, 4).flatten(1, 2)
    return averaged.transpose(1, 2)


def consistency(there: Tensor, back: Tensor, mask: Tensor, tolerance: float) -> Tensor:
    """Return (B,) the share of each pair's cells that come back to where they were.

    A cell's match is looked up in the other direction, bilinearly.

    Args:
        there: (B, 2, h, h) at the first picture's cells, places in the second, in cells.
        back: The other way round.
        mask: (B, h, h) which of the first picture's cells count, at least one of each pair.
        tolerance: How far off they may come back, as a share of the side.
    """
    side = there.shape[-1]
    reading = there.movedim(1, -1) * (2 / (side - 1)) - 1
    returned = functional.grid_sample(back, reading, padding_mode="border", align_corners=True)
    off = torch.linalg.vector_norm(flow_to(returned), dim=1)
    near: Tensor = (off <= tolerance * side) & mask
    return near.sum(dim=(1, 2)) / mask.sum(dim=(1, 2))
