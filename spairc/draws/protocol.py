"""What a corruption may ask of its random numbers."""

from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spairc.types import Image

Shape: TypeAlias = tuple[int, ...]
Window: TypeAlias = tuple[slice, slice]  # rows, columns


class Draws(Protocol):
    """A stream of random numbers for one corrupted picture; make a fresh one for each.

    Numbers depend on the order in which a corruption asks for them, so each corruption's
    docstring tells its order.
    """

    def normal(self, shape: Shape, window: Window | None = None) -> NDArray[np.float64]:
        """Return independent standard normal numbers.

        Args:
            shape: How many there are: height, width, perhaps channels.
            window: Return this part of them only; the numbers in it are the same as without.
        """
        ...

    def poisson(self, grey: Image, scale: int) -> NDArray[np.int64]:
        """Return one count per value of the picture, of mean `grey / 255 * scale`."""
        ...

    def impulses(self, shape: Shape, amount: float) -> NDArray[np.int8]:
        """Return 1 (salt) and -1 (pepper), each with probability `amount / 2`, and 0 elsewhere."""
        ...

    def uniform(self, low: float, high: float, shape: Shape) -> NDArray[np.float64]:
        """Return independent numbers, evenly spread between `low` and `high`."""
        ...

    def integer(self, below: int) -> int:
        """Return one of 0, 1, ... `below` - 1, each as likely as the others."""
        ...
