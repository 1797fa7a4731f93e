"""Random numbers that a key and a position determine; docs/definition.md defines them."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from spairc.draws import philox, tables
from spairc.draws.compiled import kernel
from spairc.draws.protocol import Shape, Window
from spairc.types import BadInput, Image

KEY_BYTES = 8
_WORD = 2**32
_PART = 2**16  # words at a time
_FEW = 2**11  # words at a time inside a kernel


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

    def words_in_parts(
        self, count: int, values_per_word: int = 1
    ) -> Iterator[tuple[slice, NDArray[np.uint32]]]:
        """Yield the next draw's words for some values after the others: which values, and words.

        Parts are small enough to stay in the processor's cache. A part's words are overwritten
        by the next part's.

        Args:
            count: How many values there are.
            values_per_word: 1, or 2 where each takes half a word.
        """
        low, high = philox.halves(self.key)
        draw = self.begin()
        needed = philox.WORDS_PER_BLOCK * -(-count // (philox.WORDS_PER_BLOCK * values_per_word))
        words = np.empty(min(_PART, needed), dtype=np.uint32)
        values = len(words) * values_per_word
        for first in range(0, count, values):
            philox.fill(low, high, draw, first // (values_per_word * philox.WORDS_PER_BLOCK), words)
            yield slice(first, min(first + values, count)), words

    def normal(self, shape: Shape, window: Window | None = None) -> NDArray[np.float64]:
        """Return entries of the normal table, chosen by 16 bits each."""
        draw = self.begin()
        first, last = 0, shape[0]
        if window is not None:
            first, last, _ = window[0].indices(shape[0])
        row = math.prod(shape[1:])
        numbers = np.empty(max(last - first, 0) * row)
        start = first * row // 2  # the word of the first half word
        words = philox.words(self.key, start, numbers.size // 2 + 1, draw)
        _choose(words, first * row % 2, tables.normal_units(), numbers)
        rows = numbers.reshape(-1, *shape[1:])
        return rows if window is None else rows[:, window[1]]

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
        few = tables.few_words(amount)
        return (words >= _WORD - few).astype(np.int8) - (words < few).astype(np.int8)

    def uniform(self, low: float, high: float, shape: Shape) -> NDArray[np.float64]:
        """Return the middles of 2**32 steps between `low` and `high`, one word each."""
        numbers = np.empty(shape)
        _spread(*philox.halves(self.key), self.begin(), low, high, numbers.reshape(-1))
        return numbers

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


@kernel
def _choose(
    words: NDArray[np.uint32], skipped: int, units: NDArray[np.int32], out: NDArray[np.float64]
) -> None:
    """Write the entries that half words choose, the first `skipped` (0 or 1) being left out."""
    if skipped and out.size:
        out[0] = units[words[0] >> np.uint32(16)] * tables.NORMAL_UNIT
        words, out = words[1:], out[1:]
    for i in range(out.size // 2):
        word = words[i]
        out[2 * i] = units[word & np.uint32(0xFFFF)] * tables.NORMAL_UNIT
        out[2 * i + 1] = units[word >> np.uint32(16)] * tables.NORMAL_UNIT
    if out.size % 2:
        out[-1] = units[words[out.size // 2] & np.uint32(0xFFFF)] * tables.NORMAL_UNIT


@kernel
def _spread(
    key: int, key_rest: int, draw: int, low: float, high: float, out: NDArray[np.float64]
) -> None:
    """Write the middles of a draw's words' steps between `low` and `high`."""
    words = np.empty(_FEW, dtype=np.uint32)
    for first in range(0, out.size, _FEW):
        some = out[first : first + _FEW]
        philox.fill(key, key_rest, draw, first // 4, words[: (some.size + 3) // 4 * 4])
        for i in range(some.size):
            some[i] = low + (high - low) * ((words[i] + 0.5) / _WORD)
