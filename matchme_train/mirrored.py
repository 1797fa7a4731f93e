"""Labelled pairs that are learnt a second time, both pictures mirrored: PF-PASCAL's."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from matchme_train.data import Item, Items


@dataclass(frozen=True, eq=False)
class Mirrored:
    """Items whose second half is shown in a mirror, left and right exchanged.

    Points go along, but keep their names: a left wheel becomes no right one. That is done after
    noise and crop, in the square, as in CATs' program.
    """

    items: Items  # an even number

    def __len__(self) -> int:
        return len(self.items)

    def item(self, epoch: int, index: int) -> Item:
        """Return a pair as it is seen in an epoch."""
        plain = self.items.item(epoch, index)
        return plain if index < len(self) // 2 else in_mirror(plain)


def in_mirror(item: Item) -> Item:
    """Return a labelled pair with left and right exchanged in both pictures and in its flow."""
    return replace(
        item,
        first=item.first.flip(-1),
        second=item.second.flip(-1),
        target=None if item.target is None else _mirrored_flow(item.target),
    )


def _mirrored_flow(flow: Tensor) -> Tensor:
    """Return the (2, h, h) flow of mirrored pictures."""
    return flow.flip(-1) * torch.tensor([-1.0, 1.0]).view(2, 1, 1)
