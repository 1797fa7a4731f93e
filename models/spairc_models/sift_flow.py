"""SIFT flow: dense descriptors that match under a flow which is smooth (Liu et al., TPAMI 2011).

Each cell of the source has a displacement; unlike descriptors, long displacements and differences
between neighbours' displacements cost, the latter up to a limit, so that objects may move against
each other. Belief propagation looks for the cheapest flow. The published program does so at four
resolutions, from every pixel; here one grid of cells is enough for the tolerance of PCK.
"""

from itertools import product
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from spairc.types import Points, Query
from spairc_models.classical import SIFT_SIDE, Grid, sift_grid, unit_grid
from spairc_models.plain_matcher import PlainMatcher, plain_details
from spairc_models.preprocessing import Preprocessing
from spairc_models.readout import cell_corners

# (..., 17, 17, rows, columns): displacements down and right, from -8 to 8, and cells
Costs: TypeAlias = NDArray[np.float32]

# Chosen by PCK on SPair-mini's training split.
_LENGTH = 0.002  # cost of a displacement, per cell
_CHANGE, _LIMIT = 0.1, 0.6  # of a neighbour's being another, per cell, and at most
_REACH = 8  # cells that a displacement has at most in either direction, half of the picture
_ROUNDS = 20  # of messages; a grid is 16 cells wide
_OUTSIDE = 1e3  # cost of a displacement out of the picture


def sift_flow_matcher() -> PlainMatcher:
    """Return the matcher; a point moves as the four cells around it do, weighted bilinearly."""
    preprocessing = Preprocessing(SIFT_SIDE)
    return PlainMatcher(
        name="sift-flow",
        preprocessing=preprocessing,
        describe=lambda square: unit_grid(sift_grid(square)),
        find=_found,
        details=plain_details(SIFT_SIDE, opencv=cv2.getVersionString(), rounds=_ROUNDS),
    )


def _found(query: Query) -> Points:
    """Return where points of the source's square are in the target's, inside of it."""
    moves = flow(query.source, query.target)
    rows, columns = moves.shape[:2]
    per_cell = SIFT_SIDE / np.array([columns, rows])
    corners, weights = cell_corners(query.points / per_cell - 0.5, (rows, columns))
    moved = np.einsum("nkc,nk->nc", moves.reshape(-1, 2)[corners], weights)
    return np.asarray(query.points + moved * per_cell).clip(0, SIFT_SIDE)


def flow(source: Grid, target: Grid) -> Points:
    """Return (rows, columns, 2): how many cells each cell of the source moves right and down.

    Args:
        source: (rows, columns, channels) unit descriptors.
        target: The same of the target.
    """
    costs = data_costs(source, target)
    messages = np.zeros((4, *costs.shape), dtype=np.float32)  # to a cell from above, below, ...
    for _ in range(_ROUNDS):
        messages = passed_on(costs, messages)
    beliefs = costs + messages.sum(axis=0)
    best = beliefs.reshape(-1, *beliefs.shape[2:]).argmin(axis=0)
    down, right = np.divmod(best, beliefs.shape[1])
    return np.stack([right - _REACH, down - _REACH], axis=2).astype(np.float64)


def data_costs(source: Grid, target: Grid) -> Costs:
    """Return what each displacement of each cell costs by itself."""
    rows, columns, channels = source.shape
    unlike = 1 - source.reshape(-1, channels) @ target.reshape(-1, channels).T
    planes = unlike.reshape(rows, columns, rows, columns)
    steps = np.arange(-_REACH, _REACH + 1)
    costs = np.full((len(steps), len(steps), rows, columns), _OUTSIDE, dtype=np.float32)
    for down, right in product(steps.tolist(), repeat=2):
        ys = np.arange(max(0, -down), min(rows, rows - down))[:, None]
        xs = np.arange(max(0, -right), min(columns, columns - right))
        costs[down + _REACH, right + _REACH, ys, xs] = planes[ys, xs, ys + down, xs + right]
    costs += np.float32(_LENGTH) * np.add.outer(abs(steps), abs(steps))[:, :, None, None]
    return costs


def passed_on(costs: Costs, messages: Costs) -> Costs:
    """Return the messages of the next round, from those of the last (Felzenszwalb, IJCV 2006).

    Args:
        costs: Of each displacement by itself.
        messages: (4, ...) to each cell from above, from below, from the left, from the right.
    """
    beliefs = costs + messages.sum(axis=0)
    # What a cell tells its neighbour leaves out what it was told by it.
    said = np.stack([beliefs - messages[back] for back in (1, 0, 3, 2)])
    least = said.min(axis=(1, 2), keepdims=True)
    heard = np.minimum(spread(said), least + np.float32(_LIMIT)) - least
    sent = np.zeros_like(messages)  # nobody speaks from beyond the border
    sent[0, ..., 1:, :], sent[1, ..., :-1, :] = heard[0, ..., :-1, :], heard[1, ..., 1:, :]
    sent[2, ..., 1:], sent[3, ..., :-1] = heard[2, ..., :-1], heard[3, ..., 1:]
    return sent


def spread(costs: Costs) -> Costs:
    """Return the least of each displacement's cost and any other's plus that of the change."""
    found = costs.copy()
    for axis in (1, 2):
        lines = np.moveaxis(found, axis, 0)  # a view
        for order in (range(1, len(lines)), range(len(lines) - 2, -1, -1)):
            step = order.step
            for i in order:
                np.minimum(lines[i], lines[i - step] + np.float32(_CHANGE), out=lines[i])
    return found
