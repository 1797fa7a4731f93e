"""A matcher of squashed pictures, made of two numpy functions; no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from spairc.types import Features, Image, Points, Query
from spairc_models.preprocessing import Preprocessing


@dataclass(frozen=True, eq=False)
class PlainMatcher:
    """A matcher made of two functions, each of which has one picture or one pair at a time."""

    name: str
    preprocessing: Preprocessing
    describe: Callable[[Image], Features]  # of the (side, side, 3) square
    find: Callable[[Query], Points]  # points of the source's square to those of the target's
    details: Mapping[str, str | int | float]

    def encode(self, images: Sequence[Image]) -> list[Features]:
        """Return one features object per picture."""
        return [self.describe(self.preprocessing.square(image)) for image in images]

    def match(self, queries: Sequence[Query]) -> list[Points]:
        """Return, per query, where its points are in the target: (N, 2) original pixels."""
        return [self._answer(query) for query in queries]

    def _answer(self, query: Query) -> Points:
        """Return one query's answer; it depends on nothing else that was asked."""
        frame = self.preprocessing.frame
        points = frame(query.source_size).from_original(query.points)
        return frame(query.target_size).to_original(self.find(replace(query, points=points)))


def plain_details(side: int, **others: str | float) -> Mapping[str, str | int | float]:
    """Return what a run's record says of such a matcher, whose squares are so wide, and more."""
    return {
        "device": "cpu",
        "precision": "float32",
        "side": side,
        "resize": "squash",
        "weights": "none needed",
        **others,
    }
