"""Scores of a whole run: every protocol of its direction, every tolerance, every breakdown.

    scores.parquet        one row per condition, protocol and tolerance
    breakdowns.parquet    the same for each part of the pairs: column breakdown, such as "category",
                          and column level, such as "car"

Distances are measured once per condition and frame. A point's rank, the number of tolerances that
are too small for it, then answers for all tolerances and breakdowns at once, so that a complete
run of SPair-71k, 76 conditions of 12,234 pairs, is scored in seconds (`benchmarks/scoring.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spairc.breakdowns import groupings
from spairc.files import written_whole
from spairc.metrics import PCK, Comparator, Frame, Reference, Ruler
from spairc.pairs import PairTable
from spairc.protocols import PROTOCOLS, Protocol
from spairc.runs import Run
from spairc.spec import GROUPS
from spairc.types import BadInput, Condition

ALPHAS = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.10, 0.15)
_GROUP_OF = {name: group for group, names in GROUPS.items() for name in names}

Kind = tuple[Frame, Reference, Comparator]  # what decides which points are hits
Level = tuple[str, str]  # a breakdown and one of its levels: ("category", "car")


@dataclass(frozen=True, eq=False)
class Scored:
    """PCK in percent of C conditions by K protocols, L levels and A tolerances."""

    conditions: tuple[Condition, ...]
    protocols: tuple[Protocol, ...]
    levels: tuple[Level, ...]  # only those that have pairs; the first is ("all", "all")
    alphas: tuple[float, ...]  # rising
    pck: NDArray[np.float64]  # (K, C, L, A)
    pairs: NDArray[np.int64]  # (L,) how many pairs a level has
    points: NDArray[np.int64]  # (L,) how many points they have

    def of(
        self, protocol: str, alpha: float, level: Level = ("all", "all")
    ) -> dict[Condition, float]:
        """Return the score of each condition; nothing if no pair is of that level."""
        if level not in self.levels:
            return {}
        names = [each.name for each in self.protocols]
        place = names.index(protocol), slice(None), self.levels.index(level)
        column = self.pck[place][:, self.alphas.index(alpha)]
        return dict(zip(self.conditions, column.tolist(), strict=True))

    def pairs_of(self, level: Level) -> int:
        """Return how many pairs are of a level."""
        return int(self.pairs[self.levels.index(level)]) if level in self.levels else 0


def score(run: Run, protocols: Sequence[Protocol], alphas: Sequence[float] = ALPHAS) -> Scored:
    """Return the scores of a run's complete conditions, whole and in parts.

    Args:
        run: What to score.
        protocols: All of the run's direction.
        alphas: Tolerances, in any order.

    Raises:
        BadInput: If a protocol is of the other direction, a tolerance is not positive, no condition
            is complete, or a file is damaged.
    """
    alphas = sorted(set(alphas))
    for protocol in protocols:
        check_direction(run, protocol)
        for alpha in alphas:
            protocol.metric(alpha)  # refuses what is not positive
    _check_some(run)
    metrics = [protocol.metric() for protocol in protocols]
    parts = _Parts(run.pairs)
    tallies = _tallies(run, parts, {_kind(metric) for metric in metrics}, alphas)
    pck = [parts.average(tallies[_kind(metric)], metric) for metric in metrics]
    return Scored(
        conditions=run.conditions,
        protocols=tuple(protocols),
        levels=parts.levels,
        alphas=tuple(alphas),
        pck=np.stack(pck),
        pairs=np.add.reduceat(parts.pairs, parts.first_of_level),
        points=np.add.reduceat(parts.points, parts.first_of_level),
    )


def check_direction(run: Run, protocol: Protocol) -> None:
    """Raise BadInput unless the run was asked in the direction that the protocol asks."""
    if run.settings.direction != protocol.direction:
        raise BadInput(
            f"protocol {protocol.name!r} needs answers asked {protocol.direction}; {run.folder} "
            f"was asked {run.settings.direction}: run spairc eval --protocol {protocol.name}"
        )


def protocols_of(run: Run) -> tuple[Protocol, ...]:
    """Return the protocols that a run's answers can be counted by: those of its direction."""
    return tuple(each for each in PROTOCOLS.values() if each.direction == run.settings.direction)


def pair_hits(run: Run, metric: PCK) -> NDArray[np.int64]:
    """Return (C, N) how many points of each pair were found under each complete condition.

    Raises:
        BadInput: If no condition is complete, or a file is damaged.
    """
    _check_some(run)
    pairs = run.pairs
    ruler = Ruler(pairs, metric.frame)
    lengths = ruler.lengths(metric.reference)
    hits = np.empty((len(run.conditions), len(pairs)), dtype=np.int64)
    for row, condition in zip(hits, run.conditions, strict=True):
        distances = ruler.distances(run.answers(condition).found)
        ranks = ruler.ranks(distances, lengths, metric.comparator, (metric.alpha,))
        row[:] = np.bincount(pairs.pair_of_point[ranks == 0], minlength=len(pairs))
    return hits


def write_scores(run: Run, alphas: Sequence[float] = ALPHAS) -> Scored:
    """Write scores.parquet and breakdowns.parquet of every complete condition; return the scores.

    Args:
        run: What to score, by every protocol of its direction.
        alphas: Tolerances, in any order.

    Raises:
        BadInput: As `score`, or if there is no space or no permission.
    """
    scored = score(run, protocols_of(run), alphas)
    tables = {
        "scores": pa.table(_columns(scored, slice(1))).drop_columns(["breakdown", "level"]),
        "breakdowns": pa.table(_columns(scored, slice(1, None))),
    }
    for name, table in tables.items():
        with written_whole(run.folder / f"{name}.parquet") as temporary:
            pq.write_table(table, temporary, compression="zstd")
    return scored


class _Parts:
    """The pairs of a list in T parts, and how sums over parts become scores.

    A part is the pairs of one level and one category, because some averages need the categories
    apart.
    """

    def __init__(self, pairs: PairTable) -> None:
        found = groupings(pairs)
        names = [(each.name, level) for each in found for level in each.levels]
        offsets = np.cumsum([0, *(len(each.levels) for each in found)])[:-1]
        level = np.concatenate([g.level + o for g, o in zip(found, offsets, strict=True)])
        known = np.flatnonzero(np.concatenate([each.level >= 0 for each in found]))
        pair = known % len(pairs)
        _, category = np.unique(pairs.categories, return_inverse=True)
        categories = int(category.max()) + 1
        codes, part = np.unique(level[known] * categories + category[pair], return_inverse=True)
        level_of_part = codes // categories
        self.first_of_level = np.flatnonzero(np.diff(level_of_part, prepend=-1))
        self.levels = tuple(names[each] for each in level_of_part[self.first_of_level])
        self.pairs = np.bincount(part)
        self.points = np.bincount(part, pairs.counts[pair]).astype(np.int64)
        # One product gives both sums: of the pairs' shares of hits, and below it of their hits.
        weights = np.concatenate([1 / pairs.counts[pair], np.ones(len(part))])
        places = np.concatenate([part, part + len(codes)]), np.tile(pair, 2)
        self._sums = csr_array((weights, places), (2 * len(codes), len(pairs)))
        self._pair_of_point = pairs.pair_of_point

    def sums(self, ranks: NDArray[np.uint8], tolerances: int) -> NDArray[np.float64]:
        """Return (2, T, A) per part the sum of the pairs' shares of hits, and the sum of hits.

        Args:
            ranks: (P,) how many tolerances are too small for each point.
            tolerances: How many there are, A.
        """
        width = tolerances + 1
        bins = self._pair_of_point * width + ranks
        counts = np.bincount(bins, minlength=self._sums.shape[1] * width).reshape(-1, width)
        sums = np.asarray(self._sums @ counts.astype(np.float64))
        return sums.reshape(2, -1, width)[:, :, :tolerances].cumsum(axis=2)

    def average(self, sums: NDArray[np.float64], metric: PCK) -> NDArray[np.float64]:
        """Return (C, L, A) the scores in percent, averaged as the metric says.

        Args:
            sums: (2, C, T, A) per part, of the pairs' shares of hits and of hits.
            metric: Its average alone matters.
        """
        by_image = metric.average in ("image", "image-category")
        found, asked = (sums[0], self.pairs) if by_image else (sums[1], self.points)
        weights = asked
        if metric.average in ("image-category", "point-category"):
            weights = np.ones_like(asked)
        elif metric.average == "point-category-pairs":
            weights = self.pairs
        weighted = found * (weights / asked)[:, None]
        totals = np.add.reduceat(weights, self.first_of_level)
        scores = np.add.reduceat(weighted, self.first_of_level, axis=1) / totals[:, None]
        return np.asarray(100 * scores)


def _kind(metric: PCK) -> Kind:
    """Return what decides which points the metric counts as hits."""
    return (metric.frame, metric.reference, metric.comparator)


def _tallies(
    run: Run, parts: _Parts, kinds: set[Kind], alphas: Sequence[float]
) -> dict[Kind, NDArray[np.float64]]:
    """Return for each kind (2, C, T, A) sums of the pairs' shares of hits, and sums of hits."""
    shape = (2, len(run.conditions), len(parts.pairs), len(alphas))
    tallies = {kind: np.empty(shape) for kind in kinds}
    rulers = {frame: Ruler(run.pairs, frame) for frame, _, _ in kinds}
    lengths = {kind: rulers[kind[0]].lengths(kind[1]) for kind in kinds}
    for row, condition in enumerate(run.conditions):
        found = run.answers(condition).found
        distances = {frame: ruler.distances(found) for frame, ruler in rulers.items()}
        for kind, tally in tallies.items():
            frame, _, comparator = kind
            ranks = rulers[frame].ranks(distances[frame], lengths[kind], comparator, alphas)
            tally[:, row] = parts.sums(ranks, len(alphas))
    return tallies


def _check_some(run: Run) -> None:
    """Raise BadInput unless a condition is complete."""
    if not run.conditions:
        raise BadInput(f"{run.folder}: no condition is complete; run spairc eval on it again")


def _columns(scored: Scored, chosen: slice) -> dict[str, pa.Array]:
    """Return the columns of a table of scores, a row per condition, protocol, level and alpha."""
    levels = scored.levels[chosen]
    pck = scored.pck[:, :, chosen].transpose(1, 0, 2, 3)  # condition, protocol, level, alpha
    grid = np.indices(pck.shape, dtype=np.int32)
    condition, protocol, level, alpha = (axis.ravel() for axis in grid)
    of_condition = scored.conditions
    metrics = [str(p.metric(a)) for p in scored.protocols for a in scored.alphas]
    names = [each.corruption or "clean" for each in of_condition]
    return {
        "condition": _named([str(each) for each in of_condition], condition),
        "corruption": _named(names, condition),
        "severity": np.array([each.severity for each in of_condition], dtype=np.int8)[condition],
        "group": _named([_GROUP_OF.get(name, name) for name in names], condition),
        "protocol": _named([each.name for each in scored.protocols], protocol),
        "alpha": np.array(scored.alphas)[alpha],
        "metric": _named(metrics, protocol * len(scored.alphas) + alpha),
        "breakdown": _named([name for name, _ in levels], level),
        "level": _named([name for _, name in levels], level),
        "pck": pck.ravel(),
        "pairs": scored.pairs[chosen][level],
        "points": scored.points[chosen][level],
    }


def _named(names: Sequence[str], codes: NDArray[np.int32]) -> pa.DictionaryArray:
    """Return names by their position, each distinct one stored once."""
    distinct, position = np.unique(names, return_inverse=True)
    return pa.DictionaryArray.from_arrays(position.astype(np.int32)[codes], distinct.tolist())
