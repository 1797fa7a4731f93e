"""Random numbers that a key and a position determine; `spairc.draws` is their definition."""

import math

import numpy as np
from numpy.typing import NDArray

from spairc.draws import philox, tables
from spairc.draws.protocol import Shape, Window
from spairc.types import BadInput, Image

KEY_BYTES = 8
_WORD = 2**32


class KeyedDraws:
    """The numbers that a key of 8 bytes fixes, on every machine and in every order.

    Args:
        key: As `spairc.spec.draw_key` makes it.

    Raises:
        BadInput: If the key is not 8 bytes long.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise BadInput(f"a key of draws has 8 bytes, not {len(key)}; see spairc.spec.draw_key")
        self.key = key
        self._asked = 0

    def begin(self) -> int:
        """Return the number of the next draw, and count it as made."""
        self._asked += 1
        return self._asked - 1

    def normal(self, shape: Shape, window: Window | None = None) -> NDArray[np.float64]:
        """Return entries of the normal table, chosen by 16 bits each."""
        draw = self.begin()
        if window is None:
            halves = self._half_words(draw, 0, math.prod(shape))
            return tables.normal_table()[halves].reshape(shape)
        positions = np.arange(math.prod(shape)).reshape(shape)[window]
        if not positions.size:
            return np.empty(positions.shape)
        first = int(positions.flat[0])
        halves = self._half_words(draw, first, int(positions.flat[-1]) - first + 1)
        return tables.normal_table()[halves[positions - first]]

    def poisson(self, grey: Image, scale: int) -> NDArray[np.int64]:
        """Return counts from the alias tables of this scale, one word each."""
        thresholds, aliases = tables.poisson_tables(scale)
        words = philox.words(self.key, 0, grey.size, self.begin()).reshape(grey.shape)
        share = _WORD // thresholds.shape[1]
        column = words // np.uint32(share)
        kept = words % np.uint32(share) < thresholds[grey, column]
        return np.where(kept, column, aliases[grey, column]).astype(np.int64)

    def impulses(self, shape: Shape, amount: float) -> NDArray[np.int8]:
        """Return pepper where a word is small and salt where it is large."""
        words = philox.words(self.key, 0, math.prod(shape), self.begin()).reshape(shape)
        few = math.floor(amount * 2**31 + 0.5)
        return (words >= _WORD - few).astype(np.int8) - (words < few).astype(np.int8)

    def uniform(self, low: float, high: float, shape: Shape) -> NDArray[np.float64]:
        """Return the middles of 2**32 steps between `low` and `high`, one word each."""
        words = philox.words(self.key, 0, math.prod(shape), self.begin()).reshape(shape)
        return low + (high - low) * ((words + 0.5) / _WORD)

    def integer(self, below: int) -> int:
        """Return the upper word of `word * below`; words that would favour some are passed over.

        Raises:
            BadInput: If `below` is not between 1 and 2**32.
        """
        if not 1 <= below <= _WORD:
            raise BadInput(f"integers below {below} cannot be drawn; choose from 1 to 2**32")
        draw, word = self.begin(), 0
        while True:
            product = int(philox.words(self.key, word, 1, draw)[0]) * below
            if product % _WORD >= _WORD % below:
                return product // _WORD
            word += 1

    def _half_words(self, draw: int, first: int, count: int) -> NDArray[np.uint16]:
        """Return half words `first` to `first + count - 1` of a draw, the low half first."""
        start = first // 2
        words = philox.words(self.key, start, -(-(first + count) // 2) - start, draw)
        halves = words.astype("<u4", copy=False).view("<u2")
        return halves[first - 2 * start :][:count].astype(np.uint16, copy=False)
