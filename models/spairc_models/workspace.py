"""Memory that is taken once and used again.

On a CPU the first touch of fresh memory costs more than the sums that fill it: CATs++ would ask
the system for about a gigabyte a pair. What works through many pairs passes one `Workspace` along.
"""

import math

from torch import Tensor


class Workspace:
    """Named buffers; whoever takes one by the same name gets the same memory.

    What is never needed at the same time shares a name.
    """

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int, like: Tensor) -> Tensor:
        """Return a buffer that holds anything, of the type and device of `like`."""
        count = math.prod(shape)
        held = self._held.get(name)
        alike = held is not None and held.dtype == like.dtype and held.device == like.device
        if held is None or not alike or held.numel() < count:
            held = self._held[name] = like.new_empty(count)
        return held[:count].view(shape)
