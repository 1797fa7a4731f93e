"""Processes that train together, as `accelerate launch` starts them.

Each takes its share of every batch. What a loss is made of (flows, labels, masks) is gathered from
all, so that every process computes the loss of the whole batch, whatever it is divided by: labelled
cells, confident ones, the share that is kept. Its gradient comes back through the process's own
share, and the gradients are added up. So several processes do what one would do with the whole
batch; batch norm alone, where it is trained, sees each share by itself.

(`DistributedDataParallel` averages the gradients of losses that each process divides by its own
numbers, and knows only those that come through `forward`.)
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather, reduce
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from spairc.types import BadInput
from spairc_models.adapter import choose_device

T = TypeVar("T")
_PATIENCE = timedelta(hours=6)  # the others wait while the first validates


@dataclass(frozen=True)
class Team:
    """Which of how many processes this is."""

    size: int = 1
    place: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process validates, writes files and talks."""
        return self.place == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """Return this process's part of a batch; all get as many, the last some twice.

        Args:
            items: Of the whole batch, one or more.
        """
        each = -(-len(items) // self.size)
        places = range(self.place * each, (self.place + 1) * each)
        return [items[place % len(items)] for place in places]

    def whole(self, part: Tensor, count: int) -> Tensor:
        """Return what all processes have of a batch; a gradient goes through one's own part only.

        Args:
            part: (B, ...) of this process, as `share` dealt it.
            count: Items of the whole batch.
        """
        if self.size == 1:
            return part
        sent = part.detach().to(torch.uint8) if part.dtype == torch.bool else part.detach()
        parts = list(gather(sent.contiguous()).to(part.dtype).split(len(part)))
        parts[self.place] = part
        return torch.cat(parts)[:count]

    def add_gradients(self, networks: Sequence[nn.Module]) -> None:
        """Add up what the processes' own shares contribute to each gradient."""
        if self.size == 1:
            return
        parameters = [each for network in networks for each in network.parameters()]
        gradients = [each.grad for each in parameters if each.grad is not None]
        vector_to_parameters(reduce(parameters_to_vector(gradients), "sum"), gradients)

    def told(self, value: T) -> T:
        """Return what the first process says."""
        if self.size == 1:
            return value
        (answer,) = broadcast_object_list([value])
        return answer  # type: ignore[no-any-return]  # the library's answers have no types

    def wait(self) -> None:
        """Return when all processes are here."""
        if self.size > 1:
            PartialState().wait_for_everyone()


ALONE = Team()


def join_team(device: str | None) -> tuple[Team, torch.device]:
    """Return this process's team and its device; it is alone unless a launcher started it.

    Args:
        device: "cpu", "cuda", "cuda:1"; None takes a GPU where there is one.

    Raises:
        BadInput: If there is no such device, or several processes are to share one GPU.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE, choose_device(device)
    if device not in (None, "cpu", "cuda"):
        raise BadInput(f"--device {device}: several processes have a GPU each; give cuda, or none")
    wants_cpu = device == "cpu" or choose_device(device).type == "cpu"
    state = PartialState(cpu=wants_cpu, timeout=_PATIENCE)
    return Team(state.num_processes, state.process_index), torch.device(state.device)
