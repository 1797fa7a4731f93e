"""Philox4x32-10: random words from a key and a position, with nothing to remember in between.

A counter-based generator (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
1, 2, 3", SC 2011): ten rounds of multiplying, exchanging and mixing in the key turn a counter of
128 bits into 128 random bits. docs/definition.md tells how counters number the draws.
"""

import numpy as np
from numpy.typing import NDArray

from spairc.draws.compiled import kernel

ROUNDS = 10
WORDS_PER_BLOCK = 4
_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_TIMES_FIRST = np.uint64(0xD2511F53)
_TIMES_THIRD = np.uint64(0xCD9E8D57)
_LOW_STEP = np.uint64(0x9E3779B9)  # added to the two halves of the key after every round
_HIGH_STEP = np.uint64(0xBB67AE85)


def words(key: bytes, first: int, count: int, draw: int) -> NDArray[np.uint32]:
    """Return words `first` to `first + count - 1` of one draw, shape (count,).

    Word i is word i mod 4 of the block whose counter is i div 4.

    Args:
        key: 8 bytes: two 32-bit words, each with its least significant byte first.
        first: Which word; it decides the lowest 32 bits of the counter.
        count: How many words.
        draw: The next 32 bits of all counters; the upper 64 bits are zero.
    """
    start = first // WORDS_PER_BLOCK
    stop = -(-(first + count) // WORDS_PER_BLOCK)
    whole = np.empty((stop - start) * WORDS_PER_BLOCK, dtype=np.uint32)
    fill(*halves(key), draw, start, whole)
    skipped = first - start * WORDS_PER_BLOCK
    return whole[skipped : skipped + count]


def halves(key: bytes) -> tuple[int, int]:
    """Return the two words of a key of 8 bytes."""
    return int.from_bytes(key[:4], "little"), int.from_bytes(key[4:], "little")


@kernel
def fill(low: int, high: int, draw: int, first: int, out: NDArray[np.uint32]) -> None:
    """Write the words of consecutive counters.

    Args:
        low: The first word of the key.
        high: The second.
        draw: The next 32 bits of all counters; the upper 64 bits are zero.
        first: The lowest 32 bits of the first counter.
        out: Four words for each counter.
    """
    key, other, second = np.uint64(low), np.uint64(high), np.uint64(draw)
    for block in range(out.size // WORDS_PER_BLOCK):
        a, b = np.uint64(first + block) & _MASK, second
        c = d = np.uint64(0)
        for turn in range(ROUNDS):
            left, right = a * _TIMES_FIRST, c * _TIMES_THIRD
            a = (right >> _HALF) ^ b ^ ((key + np.uint64(turn) * _LOW_STEP) & _MASK)
            c = (left >> _HALF) ^ d ^ ((other + np.uint64(turn) * _HIGH_STEP) & _MASK)
            b, d = right & _MASK, left & _MASK
        # One index after another, not a slice: so that eight blocks are made at a time.
        out[4 * block], out[4 * block + 1] = a, b
        out[4 * block + 2], out[4 * block + 3] = c, d
