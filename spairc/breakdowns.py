"""Ways of dividing a list of pairs, and what becomes of matches that were right when clean.

To add a way: a line in `GROUPINGS`.

Where a breakdown says source, it means the picture with the given points, and target the picture
that is searched. The paper's Table 5 prints the CATs family (CATs, CATs++, SemiMatch, SCorrSAN,
MatchMe) under the names of SPair-71k's list, whose source those programs search: its columns
"source" and "target" of truncation and occlusion are exchanged for that family, against these
and against HPF's and NC-Net's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spairc.metrics import PCK, Distances, Ruler, distance, ruler_of
from spairc.pairs import PairTable
from spairc.types import Points, Variation

NEAR = 2.0  # times the tolerance: within it, a broken match is still near the truth


@dataclass(frozen=True, eq=False)
class Grouping:
    """One way of dividing N pairs; a pair is in one level or in none."""

    name: str
    levels: tuple[str, ...]
    level: NDArray[np.int64]  # (N,) index into `levels`; -1 where it is not known


def _by_nothing(pairs: PairTable) -> Grouping:
    """Return one level that holds every pair."""
    return Grouping("all", ("all",), np.zeros(len(pairs), dtype=np.int64))


def _by_category(pairs: PairTable) -> Grouping:
    """Return a level per category, in the order of their names."""
    names, level = np.unique(pairs.categories, return_inverse=True)
    return Grouping("category", tuple(names.tolist()), level)


def _by_points(pairs: PairTable) -> Grouping:
    """Return a level per number of points that a pair has."""
    counts, level = np.unique(pairs.counts, return_inverse=True)
    return Grouping("points", tuple(map(str, counts.tolist())), level)


def _by_factor(name: str, levels: tuple[str, ...]) -> Callable[[PairTable], Grouping]:
    """Return what divides pairs by one of SPair-71k's factors of difficulty."""
    column = Variation._fields.index(name)
    return lambda pairs: Grouping(name, levels, pairs.variations[:, column].astype(np.int64))


# The paper's Table 5, with the names of SPair-71k's levels 0, 1, 2 and so on.
FACTORS: dict[str, tuple[str, ...]] = {
    "viewpoint": ("easy", "medium", "hard"),
    "scale": ("easy", "medium", "hard"),
    "truncation": ("none", "source", "target", "both"),
    "occlusion": ("none", "source", "target", "both"),
}

# The order is the order of tables and of rows in breakdowns.parquet.
GROUPINGS: dict[str, Callable[[PairTable], Grouping]] = {
    "all": _by_nothing,
    "category": _by_category,
    **{name: _by_factor(name, levels) for name, levels in FACTORS.items()},
    "points": _by_points,
}


def groupings(pairs: PairTable) -> tuple[Grouping, ...]:
    """Return every way in which these pairs divide; not those by a factor that none of them has."""
    every = [make(pairs) for make in GROUPINGS.values()]
    return tuple(each for each in every if (each.level >= 0).any())


class Fates(NamedTuple):
    """How many points went where between clean pictures and corrupted ones."""

    kept: int = 0  # right both times
    near: int = 0  # broken: right when clean; now wrong, but within NEAR times the tolerance
    other: int = 0  # broken: now at another true point of the target
    elsewhere: int = 0  # broken: anywhere else
    mended: int = 0  # wrong when clean, right now
    wrong: int = 0  # wrong both times

    @property
    def broken(self) -> int:
        """Right when clean, wrong now."""
        return self.near + self.other + self.elsewhere

    def plus(self, other: "Fates") -> "Fates":
        """Return the counts of both together."""
        return Fates(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


@dataclass(frozen=True, eq=False)
class Gap:
    """The robustness gap of one run under one metric, on condition of having been right.

    PCK under a corruption mixes points that were never found with those that the corruption broke.
    Here the clean answers decide which points can break, and the broken ones are told apart by
    where they went, much as Ronchi & Perona (2017) tell apart the errors of human pose. Points
    are counted, whatever the metric averages over.
    """

    metric: PCK
    pairs: PairTable
    clean: Points  # (P, 2) the answers on clean pictures

    def fates(self, found: Points) -> Fates:
        """Return what became of the points.

        A broken answer is at another point if that one is within the tolerance; the truth itself
        is then farther off than the tolerance, so this goes before being near.

        Args:
            found: (P, 2) the answers on corrupted pictures.
        """
        distances = self._ruler.distances(found)
        right = self._within(distances, self._lengths)
        lost = np.flatnonzero(self._right & ~right)
        at_other = self._at_another(found, lost)
        near = ~at_other & self._within(distances[lost], self._lengths[lost], NEAR)
        return Fates(
            kept=int((self._right & right).sum()),
            near=int(near.sum()),
            other=int(at_other.sum()),
            elsewhere=int((~at_other & ~near).sum()),
            mended=int((~self._right & right).sum()),
            wrong=int((~self._right & ~right).sum()),
        )

    @cached_property
    def _ruler(self) -> Ruler:
        """What measures in the metric's frame."""
        return ruler_of(self.pairs, self.metric.frame)

    @cached_property
    def _lengths(self) -> Distances:
        """(P,) what the tolerance is a fraction of."""
        return self._ruler.lengths(self.metric.reference)

    @cached_property
    def _right(self) -> NDArray[np.bool_]:
        """(P,) whether each point was found on clean pictures."""
        return self._within(self._ruler.distances(self.clean), self._lengths)

    def _within(
        self, distances: Distances, lengths: Distances, times: float = 1.0
    ) -> NDArray[np.bool_]:
        """Return whether each distance is within so many times the tolerance."""
        alphas = (times * self.metric.alpha,)
        return np.asarray(
            self._ruler.ranks(distances, lengths, self.metric.comparator, alphas) == 0
        )

    def _at_another(self, found: Points, lost: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return for each of the rows `lost` whether another true point of the pair is there.

        The first points of all pairs are looked at together, then the second ones, and so on.
        """
        counts = self.pairs.counts[self.pairs.pair_of_point[lost]]
        order = np.argsort(-counts, kind="stable")  # pairs with many points come first
        rows, counts = lost[order], counts[order]
        first = self.pairs.first_point[self.pairs.pair_of_point[rows]]
        placed, lengths = self._ruler.placed(found[rows], rows), self._lengths[rows]
        hit = np.zeros(len(rows), dtype=np.bool_)
        for number in range(int(counts.max(initial=0))):
            some = slice(int(np.searchsorted(-counts, -number)))  # those that have so many
            distances = distance(placed[some], self._ruler.truth[first[some] + number])
            hit[some] |= self._within(distances, lengths[some])  # never its own: it was lost
        answer = np.empty_like(hit)
        answer[order] = hit
        return answer
