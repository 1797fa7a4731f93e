"""Four-dimensional convolutions for inference: block by block, one pair at a time.

The neighbours of a block of cells are gathered as the columns of one matrix and multiplied once, so
that nothing transposed or wide is ever held at full size. A correlation is (C, H, W, h, w); it
stands in a `Padded` pair of buffers, one with a margin of 0 around the first plane, one around
the second.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spairc_models.conv4d import Conv4d, Planes
from spairc_models.workspace import Workspace

BLOCK = {"cpu": 1 << 15, "cuda": 1 << 20}  # columns of a matrix that is multiplied at once


@dataclass(frozen=True, eq=False)
class Padded:
    """A correlation, or room for one, with margins that hold the windows at its borders."""

    first: Tensor  # (C, H + k - 1, W + k - 1, h, w)
    second: Tensor  # (C, H, W, h + k' - 1, w + k' - 1)
    kernel: Planes

    @classmethod
    def room(
        cls, name: str, shape: tuple[int, ...], kernel: Planes, memory: Workspace, like: Tensor
    ) -> "Padded":
        """Return room for a correlation of this shape; its margins are 0."""
        channels, height, width, *plane = shape
        more, wider = kernel.first - 1, kernel.second - 1
        first = (channels, height + more, width + more, *plane)
        second = (channels, height, width, *(side + wider for side in plane))
        room = cls(
            memory.take(f"{name} first", *first, like=like),
            memory.take(f"{name} second", *second, like=like),
            kernel,
        )
        _clear_margins(room.first, 1, kernel.first)
        _clear_margins(room.second, 3, kernel.second)
        return room

    @property
    def inside(self) -> tuple[Tensor, Tensor]:
        """Both buffers without their margins, which lie before the plane in half."""
        rows, columns = (_inside(self.kernel.first, side) for side in self.first.shape[1:3])
        down, right = (_inside(self.kernel.second, side) for side in self.second.shape[3:])
        return self.first[:, rows, columns], self.second[..., down, right]

    def neighbours(self, step: int = 1) -> "Neighbours":
        """Return every cell's neighbours; with a step, only those of every other cell."""
        first, second = self.kernel
        over_first = self.first.flatten(3).unfold(1, first, step).unfold(2, first, step)
        over_second = self.second.unfold(3, second, 1).unfold(4, second, 1)
        return Neighbours(
            over_first.permute(0, 4, 5, 1, 2, 3), over_second.permute(0, 5, 6, 1, 2, 3, 4)
        )


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The neighbours of every cell, as overlapping views: nothing is copied yet."""

    first: Tensor  # (C, k, k, H, W, cells of the second plane), neighbours in the first plane
    second: Tensor  # (C', k', k', H, W, h, w), neighbours in the second

    @property
    def at_once(self) -> int:
        """How many columns a block has at most: whole rows of the first plane."""
        height, width, cells = self.first.shape[3:]
        rows = max(1, BLOCK[self.first.device.type] // (width * cells))
        return int(min(height, rows) * width * cells)

    def blocks(self, memory: Workspace) -> Iterator[tuple[slice, Tensor]]:
        """Yield rows of the first plane and their cells' neighbours, one column per cell.

        The columns are valid until the next block.
        """
        parts = (self.first, self.second)
        counts = [part.shape[:3].numel() for part in parts]
        room = memory.take("columns", sum(counts), self.at_once, like=self.first)
        height, width, cells = self.first.shape[3:]
        step = self.at_once // (width * cells)
        for start in range(0, height, step):
            rows = slice(start, min(height, start + step))
            columns = room[:, : (rows.stop - rows.start) * width * cells]
            for part, into in zip(parts, columns.split_with_sizes(counts), strict=True):
                block = part[:, :, :, rows]
                into.view(block.shape).copy_(block)
            yield rows, columns

    def add_to(self, outputs: Tensor, matrix: Tensor, memory: Workspace) -> None:
        """Add the matrix times every cell's neighbours to (outputs, H, W, h, w)."""
        for rows, columns in self.blocks(memory):
            outputs[:, rows].view(len(matrix), -1).addmm_(matrix, columns)


def convolve(x: Padded, layer: Conv4d, memory: Workspace, *, name: str) -> Tensor:
    """Return (outputs, H, W, h, w), what `layer` does to x, in the buffer of that name."""
    around = x.neighbours()
    outputs = biased(layer, around.second.shape[3:], memory, name=name)
    around.add_to(outputs, matrix_of(layer), memory)
    return outputs


def convolve_sparsely(x: Padded, layer: Conv4d, memory: Workspace, *, name: str) -> Tensor:
    """Return what `layer` does to x, with its stride over the first plane."""
    step = layer.stride.first
    rows = torch.unflatten(x.inside[0], 1, (-1, step))
    largest = torch.unflatten(rows, 3, (-1, step)).amax(dim=(2, 4))
    pooled = Padded.room("pooled", tuple(largest.shape), x.kernel, memory, x.first)
    pooled.inside[1].copy_(largest)
    around = Neighbours(x.neighbours(step).first, pooled.neighbours().second)
    outputs = biased(layer, around.second.shape[3:], memory, name=name)
    around.add_to(outputs, matrix_of(layer), memory)
    return outputs


def biased(layer: Conv4d, cells: Sequence[int], memory: Workspace, *, name: str) -> Tensor:
    """Return (outputs, H, W, h, w) that hold the layer's bias, in the buffer of that name."""
    bias = layer.bias().view(-1, 1, 1, 1, 1)
    return memory.take(name, len(bias), *cells, like=bias).copy_(bias)


def convolve_twice(x: Padded, inner: Conv4d, outer: Conv4d, memory: Workspace) -> Padded:
    """Return outer(GELU(inner(x))) but for outer's bias, as the sum of two insides.

    The hidden channels live a block at a time. The outer convolution runs the other way round:
    each hidden cell is spread over the cells that it contributes to, because its few outputs are
    cheaper to move than its many inputs.
    """
    around = x.neighbours()
    matrix, bias, spreading = matrix_of(inner), inner.bias(), _spreading_matrix(outer)
    hidden_room = memory.take("hidden", len(matrix), around.at_once, like=bias)
    gift_room = memory.take("gifts", len(spreading), around.at_once, like=bias)
    shape = (outer.query_conv.out_channels, *around.second.shape[3:])
    sums = Padded.room("sums", shape, lengths(outer), memory, bias)
    sums.first.zero_()
    sums.second.zero_()
    for rows, columns in around.blocks(memory):
        hidden, gifts = (room[:, : columns.shape[1]] for room in (hidden_room, gift_room))
        torch.addmm(bias, matrix, columns, out=hidden)
        torch.mm(spreading, functional.gelu(hidden), out=gifts)
        _spread(gifts, sums, rows)
    return sums


def lengths(layer: Conv4d) -> Planes:
    """Return the lengths of a layer's kernel."""
    return Planes(layer.query_conv.kernel_size[0], layer.supp_conv.kernel_size[0])


def matrix_of(layer: Conv4d) -> Tensor:
    """Return (outputs, neighbours): the weights in the order of a block's columns."""
    weights = (layer.query_conv.weight, layer.supp_conv.weight)
    return torch.cat([weight.flatten(1) for weight in weights], dim=1)


def _spreading_matrix(layer: Conv4d) -> Tensor:
    """Return (neighbours of all outputs, inputs): what a hidden cell gives to its neighbours."""
    weights = (layer.query_conv.weight, layer.supp_conv.weight)
    mirrored = [weight.flip(2, 3).permute(0, 2, 3, 1).flatten(0, 2) for weight in weights]
    return torch.cat(mirrored)


def _spread(gifts: Tensor, sums: Padded, rows: slice) -> None:
    """Add what a block of cells gives to its neighbours.

    Args:
        gifts: (C k k + C k' k', cells), by channel and neighbour.
        sums: Takes them.
        rows: Which rows of the first plane the block is.
    """
    channels, _, width, *plane = sums.inside[0].shape
    given, searched = sums.kernel
    cells = (rows.stop - rows.start, width, *plane)
    counts = [channels * given**2, channels * searched**2]
    over_first, over_second = gifts.split_with_sizes(counts)
    for row, column, gift in _by_neighbour(over_first, given, (channels, *cells)):
        there = slice(rows.start + row, rows.stop + row)
        sums.first[:, there, column : column + width] += gift
    for row, column, gift in _by_neighbour(over_second, searched, (channels, *cells)):
        down, right = slice(row, row + plane[0]), slice(column, column + plane[1])
        sums.second[:, rows, :, down, right] += gift


def _by_neighbour(
    gifts: Tensor, length: int, shape: tuple[int, ...]
) -> Iterator[tuple[int, int, Tensor]]:
    """Yield row and column of each neighbour within its window, and what it is given."""
    by_neighbour = gifts.view(shape[0], length, length, *shape[1:])
    for row in range(length):
        for column in range(length):
            yield row, column, by_neighbour[:, row, column]


def _clear_margins(room: Tensor, axis: int, length: int) -> None:
    """Set to 0 what lies outside a plane, given by its first axis, for windows of this length."""
    for side in (axis, axis + 1):
        inside = _inside(length, room.shape[side])
        room.narrow(side, 0, inside.start).zero_()
        room.narrow(side, inside.stop, room.shape[side] - inside.stop).zero_()


def _inside(length: int, whole: int) -> slice:
    """Return the part of an axis without the margin of a window of this length."""
    before = length // 2
    return slice(before, whole - (length - 1 - before))
