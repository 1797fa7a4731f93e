"""The nouns that every part of spairc speaks in; numpy only.

Said once, here: the *source* picture has the given points, the *target* picture is searched. A
picture is uint8 (H, W, 3) RGB. Points are float64 (N, 2), x then y, in pixels of the *original*
picture, the centre of the top left pixel being (0, 0).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]  # (H, W, 3) RGB
Points: TypeAlias = NDArray[np.float64]  # (N, 2) x, y in original pixels
Features: TypeAlias = Any  # what `Matcher.encode` returns; opaque to everyone but that matcher


class BadInput(Exception):  # noqa: N818 -- "error" is the program's; this one the user can mend
    """Something that the user can fix: says what was given, what is allowed and what to do.

    The command line shows it as one line and exits with code 2.
    """


class Size(NamedTuple):
    """Width and height of a picture, in pixels."""

    width: int
    height: int


class Box(NamedTuple):
    """An object's bounding box, in original pixels; it may touch or leave the border."""

    left: float
    top: float
    right: float
    bottom: float


# Truncation or occlusion of a pair as it reads the other way round; the last answers -1, unknown.
EXCHANGED = (0, 2, 1, 3, -1)


class Variation(NamedTuple):
    """SPair-71k's four factors of difficulty; -1 where a dataset does not know one."""

    viewpoint: int = -1  # 0 easy, 1 medium, 2 hard: azimuth distance 0-1, 2-3, 4
    scale: int = -1  # 0 easy, 1 medium, 2 hard: ratio of box areas < 2, 2-4, >= 4
    truncation: int = -1  # 0 none, 1 source, 2 target, 3 both
    occlusion: int = -1  # 0 none, 1 source, 2 target, 3 both

    def swapped(self) -> "Variation":
        """Return the factors of the same pair read from target to source."""
        return self._replace(
            truncation=EXCHANGED[self.truncation], occlusion=EXCHANGED[self.occlusion]
        )


@dataclass(frozen=True)
class Condition:
    """What was done to the pictures: nothing, or one corruption at one severity.

    Prints as `clean` or `fog@3`; `spairc.spec.parse_condition` reads it back.
    """

    corruption: str | None = None
    severity: int = 0  # 1 to 5; 0 where nothing was done

    def __str__(self) -> str:
        return "clean" if self.corruption is None else f"{self.corruption}@{self.severity}"


CLEAN = Condition()
UNKNOWN = Variation()


@dataclass(frozen=True, eq=False)
class Pair:
    """Two pictures of one kind of thing and the points that they share."""

    id: str  # as the dataset names it: "000298-2008_000033-2009_001056:car"
    category: str
    source: str  # image key: path inside the dataset, no suffix: "car/2008_000033"
    target: str
    source_points: Points
    target_points: Points  # row i shows the same part as row i of source_points
    source_box: Box
    target_box: Box
    source_size: Size
    target_size: Size
    variation: Variation = UNKNOWN

    def swapped(self) -> "Pair":
        """Return the pair that is asked the other way round, under the same id."""
        return Pair(
            id=self.id,
            category=self.category,
            source=self.target,
            target=self.source,
            source_points=self.target_points,
            target_points=self.source_points,
            source_box=self.target_box,
            target_box=self.source_box,
            source_size=self.target_size,
            target_size=self.source_size,
            variation=self.variation.swapped(),
        )


@dataclass(frozen=True, eq=False)
class Query:
    """All that a matcher may know of a pair: never the truth, never the target's box."""

    source: Features
    target: Features
    points: Points  # in the source
    source_size: Size
    target_size: Size
    category: str


class Matcher(Protocol):
    """Two methods, because that is where the speed is: encode once, match many times."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    def encode(self, images: Sequence[Image]) -> list[Features]:
        """Return one features object per picture, complete for both roles of a picture."""
        ...

    def match(self, queries: Sequence[Query]) -> list[Points]:
        """Return, per query, where its points are in the target: (N, 2) original pixels."""
        ...
