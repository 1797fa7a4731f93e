"""What the tables of matchers are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is known of a matcher before it is loaded."""

    # "package.module:function", called with the options it names; "" where no program is public
    where: str
    description: str  # one line
    paper: str  # authors and year, for the table
    licence: str  # of the published code or weights
    side: int | None  # pixels of the square input; None where the network decides
    protocol: str = "paper"  # of the reported numbers: a key of `spairc.protocols.PROTOCOLS`
    reported: Mapping[str, float] = field(default_factory=dict)  # dataset -> PCK@0.1 in percent
    needs_weights: bool = True
    weights: str = ""  # where they are public; "" where they are not
    recipe: str = ""  # `spairc train RECIPE` makes them; "" where there is no recipe
    nearest: str = ""  # of a model without a program: the entry most like it that runs
