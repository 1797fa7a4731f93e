"""PCK with its settings in its name, and the error summaries over corruptions.

Every metric is a pure function of stored columns: no model, no picture, no GPU. To add one: a
function of `Answers`, or a frozen dataclass whose `str` tells all its settings.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from spairc.pairs import PairTable
from spairc.spec import CORRUPTED, CORRUPTION_NAMES, SEVERITIES
from spairc.types import CLEAN, BadInput, Condition, Points

Frame = Literal["original", "square"]
Reference = Literal["box", "image", "padded"]
Average = Literal["image", "point", "image-category", "point-category", "point-category-pairs"]
Comparator = Literal["<=", "<"]
Distances = NDArray[np.floating[Any]]  # float32 in the square, float64 in the original frame

SQUARE_SIDE = 256  # CATs'; CATs++'s 512 scales everything by two, which rounds to the same
PADDING = -1.0  # what CATs' PF-WILLOW reader fills unused places of a pair's points with
SMALLEST_DROP = 1.0  # percentage points, summed over severities; below it a ratio means nothing


@dataclass(frozen=True, eq=False)
class Answers:
    """What a matcher answered under one condition, beside what was asked."""

    pairs: PairTable
    found: Points  # (P, 2) where it put the points of `pairs`, original target pixels

    def __post_init__(self) -> None:
        """Refuse answers that do not fit the pairs."""
        if self.found.shape != self.pairs.target_points.shape:
            raise BadInput(
                f"{len(self.found)} answers for {len(self.pairs.target_points)} points; "
                f"score a run with its own pair list"
            )


@dataclass(frozen=True)
class PCK:
    """Percentage of keypoints found within `alpha` times a reference length of the truth.

    Papers differ in the last four settings, each of which moves the score; hence they are part of
    the metric's name, "PCK@0.1 (box, per image, square)", and `frame` has no default: in the
    squashed square scores are 3 to 4 points lower.

    Args:
        frame: Where distances are measured: in the "original" target picture, or after it has been
            squashed to a "square", as the CATs family does (CATs' `utils_training/evaluation.py`;
            DIFT, SD+DINO and GeoAware-SC measure in the original).
        alpha: Tolerance, as a fraction of the reference length.
        reference: The length: the longer side of the target's "box", or of the target "image". And
            "padded", for comparison with published PF-WILLOW numbers only: the extent of the true
            points as the programs of DHPF, CHM, CATs, CATs++, SCorrSAN and TransforMatcher take it,
            counting the padding of -1 (-2 in some) in the minimum. That is about the largest
            coordinate, so the tolerance is too wide.
        average: What is averaged first, from left to right. "image": over the points of each image
            pair, then over pairs. "point": over all points at once; DIFT's paper tells 52.9 and
            59.5 for the same answers. "image-category" and "point-category": so in each category,
            then over categories, each counting once. "point-category-pairs": categories count by
            their pairs (SD+DINO's weighted PCK).
        comparator: Whether a point exactly at the tolerance counts; SD+DINO and GeoAware-SC say
            "<", everybody else "<=".

    Raises:
        BadInput: If a setting is none of those, or alpha is not positive.
    """

    frame: Frame
    alpha: float = 0.1
    reference: Reference = "box"
    average: Average = "image"
    comparator: Comparator = "<="

    def __post_init__(self) -> None:
        """Check every setting."""
        allowed = {"frame": Frame, "reference": Reference, "average": Average}
        for name, values in {**allowed, "comparator": Comparator}.items():
            if getattr(self, name) not in get_args(values):
                choices = ", ".join(get_args(values))
                raise BadInput(f"PCK: {name} is {getattr(self, name)!r}; choose from {choices}")
        if not 0 < self.alpha < np.inf:
            raise BadInput(f"PCK: alpha is {self.alpha}; it must be above 0")

    def __str__(self) -> str:
        settings = [self.reference, f"per {self.average}", self.frame]
        settings += [] if self.comparator == "<=" else [self.comparator]
        return f"PCK@{self.alpha:g} ({', '.join(settings)})"

    def __call__(self, answers: Answers) -> float:
        """Return the score in percent.

        Raises:
            BadInput: If there is nothing to score.
        """
        if len(answers.pairs) == 0:
            raise BadInput(f"{self}: no predictions")
        if self.average == "point":
            return 100 * float(self.hits(answers).mean())
        if self.average == "image":
            return float(self.per_pair(answers).mean())
        return self._over_categories(answers)

    def per_pair(self, answers: Answers) -> NDArray[np.float64]:
        """Return (N,) the percentage of each pair's points that was found."""
        pairs = answers.pairs
        found = np.bincount(pairs.pair_of_point, self.hits(answers), minlength=len(pairs))
        return np.asarray(100 * found / pairs.counts)

    def hits(self, answers: Answers) -> NDArray[np.bool_]:
        """Return (P,) whether each point was found."""
        ruler = ruler_of(answers.pairs, self.frame)
        distances, lengths = ruler.distances(answers.found), ruler.lengths(self.reference)
        ranks = ruler.ranks(distances, lengths, self.comparator, (self.alpha,))
        return np.asarray(ranks == 0)

    def _over_categories(self, answers: Answers) -> float:
        """Return the mean over categories of the score in each."""
        pairs = answers.pairs
        _, category, sizes = np.unique(pairs.categories, return_inverse=True, return_counts=True)
        if self.average == "image-category":
            found, asked = np.bincount(category, self.per_pair(answers)), sizes
        else:
            of_point = category[pairs.pair_of_point]
            found = 100 * np.bincount(of_point, self.hits(answers))
            asked = np.bincount(of_point)
        weights = sizes if self.average == "point-category-pairs" else None
        return float(np.average(found / asked, weights=weights))


def parse_pck(name: str) -> PCK:
    """Return the metric that prints as `name`.

    Raises:
        BadInput: If no setting of PCK prints so.
    """
    form = r"PCK@([0-9.e-]+) \(([\w-]+), per ([\w-]+), (\w+)(?:, (<))?\)"
    found = re.fullmatch(form, name)
    if found is None:
        raise BadInput(f"no metric is called {name!r}; write PCK@0.1 (box, per image, square)")
    alpha, reference, average, frame, comparator = found.groups()
    settings = {"reference": reference, "average": average, "comparator": comparator or "<="}
    return PCK(frame, float(alpha), **settings)  # type: ignore[arg-type]  # PCK checks them


@dataclass(frozen=True, eq=False)
class Ruler:
    """Measures answers to one list of pairs in one frame.

    What depends on the pairs alone is computed once, so one ruler serves all conditions of a run.
    The numbers are those of the published programs, exact ties included. Original frame: float64,
    the distance divided by the length and then compared, as DIFT's program does. Square: float32
    throughout, the distance compared with alpha times the length, as CATs' program does.
    """

    pairs: PairTable
    frame: Frame
    _lengths: dict[Reference, Distances] = field(default_factory=dict, init=False, repr=False)

    def placed(self, points: Points, rows: NDArray[np.int64] | None = None) -> Distances:
        """Return original target pixels in the frame.

        Args:
            points: (P, 2), or one place for each of `rows`.
            rows: The rows of the pair list's points that the places belong to; all by default.
        """
        if self.frame == "original":
            return points
        scale = self._scale_of_point if rows is None else self._scale_of_point[rows]
        return points.astype(np.float32) * scale

    @cached_property
    def truth(self) -> Distances:
        """(P, 2) the true places in the frame."""
        return self.placed(self.pairs.target_points)

    def distances(self, found: Points) -> Distances:
        """Return (P,) how far each answer is from the truth, in the frame."""
        return distance(self.placed(found), self.truth)

    def lengths(self, reference: Reference) -> Distances:
        """Return (P,) the reference length for each point, in the frame."""
        if reference not in self._lengths:
            extents = _EXTENTS[reference](self)
            self._lengths[reference] = extents.max(axis=1)[self.pairs.pair_of_point]
        return self._lengths[reference]

    def ranks(
        self,
        distances: Distances,
        lengths: Distances,
        comparator: Comparator,
        alphas: Sequence[float],
    ) -> NDArray[np.uint8]:
        """Return how many of the alphas are too small for each distance: 0 is a hit under all.

        Args:
            distances: Of any points, in the frame.
            lengths: The reference length for each.
            comparator: Whether a distance exactly at the tolerance is a hit.
            alphas: Rising.
        """
        within = np.less_equal if comparator == "<=" else np.less
        square = self.frame == "square"
        compared = distances if square else distances / lengths
        ranks = np.zeros(len(distances), dtype=np.uint8)
        for alpha in alphas:
            ranks += ~within(compared, lengths * np.float32(alpha) if square else alpha)
        return ranks

    @cached_property
    def scale(self) -> NDArray[np.float32]:
        """(N, 2) from original to squashed pixels; of use in the square only."""
        return (SQUARE_SIDE / self.pairs.target_sizes).astype(np.float32)

    @cached_property
    def _scale_of_point(self) -> NDArray[np.float32]:
        """(P, 2) the same by point."""
        return self.scale[self.pairs.pair_of_point]


def _image_extents(ruler: Ruler) -> Distances:
    """Return (N, 2) width and height of the target picture."""
    sizes = ruler.pairs.target_sizes
    if ruler.frame == "square":
        return np.full(sizes.shape, SQUARE_SIDE, dtype=np.float32)
    return sizes.astype(np.float64)


def _box_extents(ruler: Ruler) -> Distances:
    """Return (N, 2) width and height of the target box; corners are scaled, then subtracted."""
    corners: Distances = ruler.pairs.target_boxes
    if ruler.frame == "square":
        corners = corners.astype(np.float32) * np.tile(ruler.scale, 2)
    return np.asarray(corners[:, 2:] - corners[:, :2])


def _padded_extents(ruler: Ruler) -> Distances:
    """Return (N, 2) extent of the true points and of the padding."""
    first = ruler.pairs.first_point[:-1]
    lowest = np.minimum.reduceat(ruler.truth, first, axis=0)
    highest = np.maximum.reduceat(ruler.truth, first, axis=0)
    return np.asarray(highest - np.minimum(lowest, lowest.dtype.type(PADDING)))


_EXTENTS: dict[Reference, Callable[[Ruler], Distances]] = {
    "box": _box_extents,
    "image": _image_extents,
    "padded": _padded_extents,
}


@lru_cache(maxsize=8)
def ruler_of(pairs: PairTable, frame: Frame) -> Ruler:
    """Return the ruler of a list, the same one again as long as few lists are measured."""
    return Ruler(pairs, frame)


def distance(first: Distances, second: Distances) -> Distances:
    """Return (P,) the distances between two lists of (P, 2) places, in their own precision."""
    difference = first - second
    return np.sqrt(difference[:, 0] ** 2 + difference[:, 1] ** 2)


def corruption_errors(
    errors: Mapping[Condition, float], baseline: Mapping[Condition, float]
) -> dict[str, float]:
    """Return CE per corruption, x 100: summed error over the baseline's summed error.

    Hendrycks & Dietterich 2019, section 4: CE_c = sum_s E(model) / sum_s E(baseline).

    Args:
        errors: 100 - PCK for each of the 75 corrupted conditions, in percent.
        baseline: The same for the model that counts as 100.

    Raises:
        BadInput: If a condition is missing, or the baseline makes no error at all.
    """
    mine, theirs = _sums(errors, "errors"), _sums(baseline, "baseline")
    for name, total in theirs.items():
        if total <= 0:
            raise BadInput(f"the baseline makes no error under {name}; choose another baseline")
    return {name: 100 * mine[name] / theirs[name] for name in CORRUPTION_NAMES}


def mce(errors: Mapping[Condition, float], baseline: Mapping[Condition, float]) -> float:
    """Return the mean corruption error, x 100; the baseline itself has 100, lower is better.

    Args and Raises as `corruption_errors`.
    """
    return float(np.mean(list(corruption_errors(errors, baseline).values())))


def relative_corruption_errors(
    errors: Mapping[Condition, float], baseline: Mapping[Condition, float]
) -> dict[str, float]:
    """Return per corruption, x 100, what is lost against clean over what the baseline loses.

    NaN where the baseline loses less than one percentage point over the five severities: the
    ratio would be noise. Args and Raises as `corruption_errors`; the clean error is needed too.
    """
    mine, theirs = _losses(errors, "errors"), _losses(baseline, "baseline")
    return {
        name: 100 * mine[name] / theirs[name] if theirs[name] >= SMALLEST_DROP else np.nan
        for name in CORRUPTION_NAMES
    }


def relative_mce(errors: Mapping[Condition, float], baseline: Mapping[Condition, float]) -> float:
    """Return the mean of the relative corruption errors that are defined; do not rank by it.

    Args as `relative_corruption_errors`.

    Raises:
        BadInput: As `corruption_errors`, or if none of the fifteen is defined.
    """
    values = np.array(list(relative_corruption_errors(errors, baseline).values()))
    if np.isnan(values).all():
        raise BadInput("the baseline loses nothing under any corruption; choose another baseline")
    return float(np.nanmean(values))


def mean_corrupted(scores: Mapping[Condition, float]) -> float:
    """Return mPC, the mean score over the 75 corrupted conditions (Michaelis et al. 2019).

    Raises:
        BadInput: If a condition is missing.
    """
    return float(sum(_sums(scores, "scores").values()) / len(CORRUPTED))


def relative_corrupted(scores: Mapping[Condition, float]) -> float:
    """Return rPC in percent, mPC over the clean score (Michaelis et al. 2019).

    Raises:
        BadInput: If a condition is missing, or nothing was found on clean pictures.
    """
    clean = _clean(scores, "scores")
    if clean <= 0:
        raise BadInput("nothing was found on clean pictures, so rPC is not defined")
    return 100 * mean_corrupted(scores) / clean


def _sums(values: Mapping[Condition, float], what: str) -> dict[str, float]:
    """Return the sum over the five severities, by corruption."""
    missing = [str(condition) for condition in CORRUPTED if condition not in values]
    if missing:
        raise BadInput(
            f"{what}: {len(missing)} of the 75 conditions are missing, {missing[0]} among them; "
            f"evaluate all conditions"
        )
    return {
        name: sum(values[Condition(name, severity)] for severity in SEVERITIES)
        for name in CORRUPTION_NAMES
    }


def _losses(errors: Mapping[Condition, float], what: str) -> dict[str, float]:
    """Return the summed error beyond the clean error, by corruption."""
    clean = _clean(errors, what)
    return {name: total - len(SEVERITIES) * clean for name, total in _sums(errors, what).items()}


def _clean(values: Mapping[Condition, float], what: str) -> float:
    """Return the clean value."""
    if CLEAN not in values:
        raise BadInput(f"{what}: the clean condition is missing; evaluate it too")
    return values[CLEAN]
