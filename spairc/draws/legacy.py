"""A replay of the numbers that published corruption programs draw from numpy."""

import numpy as np
from numpy.typing import NDArray

from spairc.draws.protocol import Shape, Window
from spairc.types import BadInput, Image

_SEEDS = 2**32


class LegacyDraws:
    """What a published program draws after `numpy.random.seed(seed)`; a fresh one per picture.

    Impulse noise is the exception: there the published programs use scikit-image, which draws
    from `numpy.random.default_rng(seed)`.

    Args:
        seed: 0 to 2**32 - 1.

    Raises:
        BadInput: If the seed is out of that range.
    """

    def __init__(self, seed: int) -> None:
        if not 0 <= seed < _SEEDS:
            raise BadInput(f"seed {seed} does not exist; choose from 0 to 4294967295")
        self._state = np.random.RandomState(seed)  # the stream to be replayed
        self._generator = np.random.default_rng(seed)

    def normal(self, shape: Shape, window: Window | None = None) -> NDArray[np.float64]:
        """Return standard normal numbers; all are drawn even if a window is asked for."""
        numbers = self._state.standard_normal(shape)
        return numbers if window is None else numbers[window]

    def poisson(self, grey: Image, scale: int) -> NDArray[np.int64]:
        """Return counts of mean `grey / 255 * scale`, computed in that order."""
        return self._state.poisson(grey / 255 * scale).astype(np.int64, copy=False)

    def impulses(self, shape: Shape, amount: float) -> NDArray[np.int8]:
        """Return where scikit-image's "s&p" puts salt (1) and pepper (-1)."""
        flipped = self._generator.random(shape) <= amount
        salted = self._generator.random(shape) <= 1 / 2
        return np.where(flipped, np.where(salted, 1, -1), 0).astype(np.int8)

    def uniform(self, low: float, high: float, shape: Shape) -> NDArray[np.float64]:
        """Return numbers between `low` and `high`."""
        return np.asarray(self._state.uniform(low, high, shape))

    def integer(self, below: int) -> int:
        """Return one of 0 to `below` - 1."""
        return int(self._state.randint(below))
