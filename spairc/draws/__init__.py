"""Random numbers by key: the same on every machine, in every order, with any number of workers.

A cell is one picture with one corruption at one severity. Its key, 8 bytes, is made in
`spairc.spec`; this is how numbers come from it, so that another language can repeat them.

**Blocks.** The generator is Philox4x32-10 (`philox`). The key's first four bytes, the least
significant first, are the generator's first key word, the last four bytes its second. Block b of
draw d is what comes from the counter (b, d, 0, 0), four words of 32 bits, the lowest counter word
being written first. The check: key 0, block 0 of draw 0 is 6627e8d5 e169c58d bc57ac4c 9b00dbd8.

**Draws.** A corruption asks for arrays of numbers one after another; the first that it asks for
is draw 0, the next is draw 1. Its docstring tells the order. Every draw counts its own words from
zero: *word i* is word i mod 4 of block i div 4, and *half word i* is the lower 16 bits of word
i div 2 if i is even, the upper 16 bits if i is odd. An array's values are numbered from zero in
rows, then columns, then channels; so a value depends on its position alone, and a part of an array
can be had without the rest.

**Normal.** Value i is entry k of a table of 65,536, k being half word i. Entry k is the mean of a
standard normal number given that its distribution function lies between k / 65536 and
(k + 1) / 65536, rounded to the nearest multiple of 2**-16 (`tables.normal_table`).

**Uniform** between l and h. Value i is l + (h - l) u in double precision, with
u = (word i + 1/2) / 2**32.

**Impulses** of amount a. With n = a 2**31, rounded half up, value i is pepper if word i is below
n, salt if it is 2**32 - n or more, and neither otherwise.

**Poisson** of scale s, for a picture value g: the mean is g s / 255. The number of columns C is
the least power of two that a Poisson count of mean s reaches with a probability below 2**-32. Let
R(n) be 2**32 times the probability that a count of mean g s / 255 is at most n, given that it is
below C, rounded to the nearest whole number; column n begins with R(n) - R(n - 1). Then, C - 1
times: take the poorest column that is not closed, close it and note what it has as its threshold;
the richest of the columns still open is its alias and gives it what it lacks to 2**32 / C. Of equal
columns the lowest is taken. The last column keeps 2**32 / C. Value i is drawn with word i: with n
the quotient and r the remainder of the word and 2**32 / C, the count is n if r is below column n's
threshold, and n's alias otherwise.

**Integer** below n. For words 0, 1, ... of the draw in turn: the product of the word and n is cut
into its upper and lower 32 bits; if the lower is at least 2**32 mod n, the upper is the number;
otherwise the next word is tried (Lemire, "Fast random integer generation in an interval", 2019).
"""

from spairc import spec
from spairc.draws.keyed import KeyedDraws
from spairc.draws.legacy import LegacyDraws
from spairc.draws.protocol import Draws

__all__ = ["Draws", "KeyedDraws", "LegacyDraws", "keyed_draws"]


def keyed_draws(image_key: str, corruption: str, severity: int) -> KeyedDraws:
    """Return the draws of one cell of SPair-C.

    Args:
        image_key: The picture's name within its dataset, such as "car/2008_000033".
        corruption: One of `spairc.spec.CORRUPTION_NAMES`.
        severity: 1 to 5.
    """
    return KeyedDraws(spec.draw_key(image_key, corruption, severity))
