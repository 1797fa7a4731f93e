"""The draws of spair-c/1, written from the words of docs/definition.md and from nothing else."""

import hashlib
import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Reals = NDArray[np.float64]


def philox(key: bytes, draw: int, count: int) -> NDArray[np.uint64]:
    """The first words of a draw."""
    low, high = (np.uint64(int.from_bytes(part, "little")) for part in (key[:4], key[4:]))
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a = np.arange((count + 3) // 4, dtype=np.uint64)
    b, c, d = np.full_like(a, draw), np.zeros_like(a), np.zeros_like(a)
    for _ in range(10):
        left, right = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b, c, d = (right >> half) ^ b ^ low, right & mask, (left >> half) ^ d ^ high, left & mask
        low, high = (low + np.uint64(0x9E3779B9)) & mask, (high + np.uint64(0xBB67AE85)) & mask
    return np.stack([a, b, c, d], axis=1).ravel()[:count]


@cache
def normal_table() -> Reals:
    ends = ndtri(np.arange(65537) / 65536)
    density = np.exp(-0.5 * ends**2) / math.sqrt(2 * math.pi)
    return np.asarray(np.round(65536 * (density[:-1] - density[1:]) * 65536) / 65536)


@cache
def poisson_tables(scale: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    columns, all_of_it = 2, math.exp(scale)
    while all_of_it - math.fsum(scale**n / math.factorial(n) for n in range(columns)) >= (
        all_of_it / 2**32
    ):
        columns *= 2
    left = np.array([begins(grey, scale, columns) for grey in range(256)])
    share, closed = 2**32 // columns, np.zeros(left.shape, dtype=bool)
    thresholds, aliases = np.full_like(left, share), np.tile(np.arange(columns), (256, 1))
    row = np.arange(256)
    for _ in range(columns - 1):
        poorest = np.where(closed, 2**40, left).argmin(axis=1)
        closed[row, poorest] = True
        thresholds[row, poorest] = left[row, poorest]
        richest = aliases[row, poorest] = np.where(closed, -1, left).argmax(axis=1)
        left[row, richest] -= share - left[row, poorest]
    return thresholds, aliases


def begins(grey: int, scale: int, columns: int) -> list[int]:
    """R(n) - R(n - 1), in whole numbers: (g s)**n / (255**n n!) times a common denominator."""
    last = columns - 1
    terms = [
        (grey * scale) ** n * 255 ** (last - n) * (math.factorial(last) // math.factorial(n))
        for n in range(columns)
    ]
    whole, sums = sum(terms), np.cumsum(np.array(terms, dtype=object))
    rounded = [(2 * 2**32 * part + whole) // (2 * whole) for part in sums]
    return [after - before for before, after in zip([0, *rounded], rounded, strict=False)]


class Stream:
    """What a cell draws."""

    def __init__(self, image_key: str, corruption: str, severity: int) -> None:
        text = f"spair-c/1\0{image_key}\0{corruption}\0{severity}"
        self.key = hashlib.blake2b(text.encode(), digest_size=8).digest()
        self.asked = 0

    def words(self, count: int) -> NDArray[np.uint64]:
        self.asked += 1
        return philox(self.key, self.asked - 1, count)

    def normal(self, *shape: int) -> Reals:
        count = math.prod(shape)
        words = self.words((count + 1) // 2)
        halves = np.stack([words & np.uint64(0xFFFF), words >> np.uint64(16)], axis=1)
        return np.asarray(normal_table()[halves.ravel()[:count].astype(int)].reshape(shape))

    def uniform(self, low: float, high: float, *shape: int) -> Reals:
        words = self.words(math.prod(shape)).reshape(shape)
        return np.asarray(low + (high - low) * ((words + 0.5) / 2**32))

    def integer(self, below: int) -> int:
        for word in self.words(100).tolist():
            if word * below % 2**32 >= 2**32 % below:
                return int(word * below // 2**32)
        raise AssertionError
