"""Random numbers by key: the same on every machine, in every order, with any number of workers.

A cell is one picture with one corruption at one severity. Its key, 8 bytes, is made in
`spairc.spec`. A corruption asks for arrays of numbers one after another, the first being draw 0,
the next draw 1; its docstring tells the order. Philox4x32-10 (`philox`) turns key, draw and
position into words of 32 bits; tables (`tables`) turn words into normal, uniform, Poisson and whole
numbers and impulses. A value depends on its position in its array alone, so a part can be had
without the rest.

docs/definition.md defines all this, in words from which another language can repeat the numbers.
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
