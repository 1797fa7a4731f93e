"""What a network should answer, from key points: a flow at the cells near the given points.

A flow is (2, h, h) in cells, x first: at each cell of the first picture, how far right and down
its match lies in the second. A cell without a label has the flow (0, 0), and so has one that does
not move: CATs, CATs++, SCorrSAN and SemiMatch tell the two apart nowhere, and neither do we.
"""

import torch
from torch import Tensor


def target_flow(given: Tensor, answers: Tensor, *, cells: int, side: int, field: int) -> Tensor:
    """Return the (2, cells, cells) flow that a pair's key points ask for, in cells, float32.

    A point labels every cell whose centre is within half the field of it, along both axes, limits
    included. Where several points do, the answer is that of the one listed last, and the place
    that it is measured from the mean of all of them, as in the published programs.

    Args:
        given: (N, 2) points in the first picture's square, pixels.
        answers: (N, 2) their true places in the second's.
        cells: Along a side of the flow.
        side: Pixels of the square; a multiple of the cells.
        field: Pixels across; CATs and CATs++ take 35, SCorrSAN 11.
    """
    step = side // cells
    if not len(given):
        return torch.zeros(2, cells, cells)
    centres = torch.arange(cells) * step + step // 2
    near = (given.unsqueeze(2) - centres).abs() <= field // 2  # (N, 2, cells)
    covers = near[:, 1].unsqueeze(2) & near[:, 0].unsqueeze(1)  # (N, rows, columns)
    counts = covers.sum(dim=0)
    means = torch.einsum("nyx,nd->dyx", covers.double(), given.double()) / counts.clamp(min=1)
    order = torch.arange(len(given)).view(-1, 1, 1)
    last = torch.where(covers, order, 0).amax(dim=0)
    flow = (answers.double()[last].movedim(2, 0) - means) / step
    return torch.where(counts > 0, flow, 0).float()


def labelled(flow: Tensor) -> Tensor:
    """Return (B, h, h), true where a (B, 2, h, h) target flow labels the cell."""
    return (flow != 0).any(dim=1)


def places(flow: Tensor) -> Tensor:
    """Return where each cell's match is, (B, 2, h, h) in cells, for a flow of the same shape."""
    return flow + _own_places(flow)


def flow_to(mapping: Tensor) -> Tensor:
    """Return the flow to the places that `places` gives; both (B, 2, h, h) in cells."""
    return mapping - _own_places(mapping)


def _own_places(like: Tensor) -> Tensor:
    """Return (2, h, w): column and row of every cell."""
    height, width = like.shape[-2:]
    rows = torch.arange(height, dtype=like.dtype, device=like.device)
    columns = torch.arange(width, dtype=like.dtype, device=like.device)
    return torch.stack([columns.expand(height, width), rows.unsqueeze(1).expand(height, width)])
