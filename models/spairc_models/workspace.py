"""Memory that is taken once and used again.

On a CPU the first touch of fresh memory costs more than the sums that fill it: CATs++ would ask
the system for about a gigabyte a pair. What works through many pairs passes one `Workspace` along.
"""

import math

from torch import Tensor


class Workspace:
    """Named buffers; whoever takes one by the same name gets the same memory."""

    def __init__(self) -> None:
        self._scratch: dict[str, Tensor] = {}
        self._zeroed: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def take(self, name: str, *shape: int, like: Tensor) -> Tensor:
        """Return a buffer that holds anything, of the type and device of `like`."""
        count = math.prod(shape)
        held = self._scratch.get(name)
        if held is None or held.numel() < count or not _alike(held, like):
            held = self._scratch[name] = like.new_empty(count)
        return held[:count].view(shape)

    def take_zeroed(self, name: str, *shape: int, like: Tensor) -> Tensor:
        """Return a buffer that is 0 when its name and shape are first asked for.

        Later it holds what was left in it: who writes only a part finds the rest still 0.
        """
        held = self._zeroed.get((name, shape))
        if held is None or not _alike(held, like):
            held = self._zeroed[name, shape] = like.new_zeros(shape)
        return held


def _alike(one: Tensor, other: Tensor) -> bool:
    """Return whether type and device agree."""
    return one.dtype == other.dtype and one.device == other.device
