"""Philox4x32-10: random words from a key and a position, with nothing to remember in between.

A counter-based generator (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
1, 2, 3", SC 2011): ten rounds of multiplying, exchanging and mixing in the key turn a counter of
128 bits into 128 random bits. `spairc.draws` tells how counters number the draws.
"""

import numpy as np
from numpy.typing import NDArray

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)  # added to the two halves of the key after every round
WORDS_PER_BLOCK = 4
_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def blocks(key: bytes, first: int, count: int, draw: int) -> NDArray[np.uint32]:
    """Return the words of consecutive counters, shape (count, 4).

    Args:
        key: 8 bytes: two 32-bit words, each with its least significant byte first.
        first: The lowest 32 bits of the first counter.
        count: How many counters.
        draw: The next 32 bits of all counters; the upper 64 bits are zero.
    """
    low, high = (int(word) for word in np.frombuffer(key, dtype="<u4"))
    a = np.arange(first, first + count, dtype=np.uint64)
    b = np.full(count, draw, dtype=np.uint64)
    c = np.zeros(count, dtype=np.uint64)
    d = np.zeros(count, dtype=np.uint64)
    for _ in range(ROUNDS):
        left, right = a * np.uint64(MULTIPLIERS[0]), c * np.uint64(MULTIPLIERS[1])
        a, b = (right >> _HALF) ^ b ^ np.uint64(low), right & _MASK
        c, d = (left >> _HALF) ^ d ^ np.uint64(high), left & _MASK
        low, high = (low + KEY_STEPS[0]) % 2**32, (high + KEY_STEPS[1]) % 2**32
    return np.stack([a, b, c, d], axis=1).astype(np.uint32)


def words(key: bytes, first: int, count: int, draw: int) -> NDArray[np.uint32]:
    """Return words `first` to `first + count - 1` of one draw, shape (count,).

    Word i is word i mod 4 of the block whose counter is i div 4.
    """
    start = first // WORDS_PER_BLOCK
    stop = -(-(first + count) // WORDS_PER_BLOCK)
    flat = blocks(key, start, stop - start, draw).ravel()
    skipped = first - start * WORDS_PER_BLOCK
    return flat[skipped : skipped + count]
