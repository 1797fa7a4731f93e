"""PCK with its settings in its name, and the error summaries over corruptions.

Every metric is a pure function of stored columns: no model, no picture, no GPU. To add one: a
function of `Answers`, or a frozen dataclass whose `str` tells all its settings.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from spairc.pairs import PairTable
from spairc.spec import CORRUPTED, CORRUPTION_NAMES, SEVERITIES
from spairc.types import CLEAN, BadInput, Condition, Points

Frame = Literal["original", "square"]
Reference = Literal["box", "image"]
Average = Literal["image", "point"]
Comparator = Literal["<=", "<"]

SQUARE_SIDE = 256  # CATs'; CATs++'s 512 scales everything by two, which rounds to the same
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
        reference: The length: the longer side of the target's "box", or of the target "image".
        average: Over each "image" pair first and then over pairs, or over all "point"s at once;
            DIFT's paper tells 52.9 and 59.5 for the same answers.
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
        return float(self.per_pair(answers).mean())

    def per_pair(self, answers: Answers) -> NDArray[np.float64]:
        """Return (N,) the percentage of each pair's points that was found."""
        pairs = answers.pairs
        found = np.bincount(pairs.pair_of_point, self.hits(answers), minlength=len(pairs))
        return np.asarray(100 * found / pairs.counts)

    def hits(self, answers: Answers) -> NDArray[np.bool_]:
        """Return (P,) whether each point was found."""
        measure = _in_square if self.frame == "square" else _in_original
        distance, limit = measure(answers, self.reference, self.alpha)
        return np.asarray(distance <= limit if self.comparator == "<=" else distance < limit)


def parse_pck(name: str) -> PCK:
    """Return the metric that prints as `name`.

    Raises:
        BadInput: If no setting of PCK prints so.
    """
    form = r"PCK@([0-9.e-]+) \((\w+), per (\w+), (\w+)(?:, (<))?\)"
    found = re.fullmatch(form, name)
    if found is None:
        raise BadInput(f"no metric is called {name!r}; write PCK@0.1 (box, per image, square)")
    alpha, reference, average, frame, comparator = found.groups()
    settings = {"reference": reference, "average": average, "comparator": comparator or "<="}
    return PCK(frame, float(alpha), **settings)  # type: ignore[arg-type]  # PCK checks them


def _in_original(
    answers: Answers, reference: Reference, alpha: float
) -> tuple[NDArray[np.float64], float]:
    """Return (P,) distances in units of the reference length, and the limit.

    In float64, divided before they are compared, as DIFT's program does: exact ties count.
    """
    pairs = answers.pairs
    difference = answers.found - pairs.target_points
    distance = np.sqrt((difference**2).sum(axis=1))
    return distance / _extents(pairs, reference).max(axis=1)[pairs.pair_of_point], alpha


def _in_square(
    answers: Answers, reference: Reference, alpha: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (P,) distances in the squashed frame, and the limits.

    In float32 throughout, as CATs' program counts: exact ties then fall as they do there.
    """
    pairs = answers.pairs
    scale = (SQUARE_SIDE / pairs.target_sizes).astype(np.float32)
    per_point = scale[pairs.pair_of_point]
    truth = pairs.target_points.astype(np.float32) * per_point
    difference = answers.found.astype(np.float32) * per_point - truth
    distance = np.sqrt((difference**2).sum(axis=1))
    longer = _scaled_extents(pairs, reference, scale).max(axis=1)
    return distance, (longer * np.float32(alpha))[pairs.pair_of_point]


def _extents(pairs: PairTable, reference: Reference) -> NDArray[np.float64]:
    """Return (N, 2) width and height of the target's box or picture, original pixels."""
    if reference == "image":
        return pairs.target_sizes.astype(np.float64)
    return pairs.target_boxes[:, 2:] - pairs.target_boxes[:, :2]


def _scaled_extents(
    pairs: PairTable, reference: Reference, scale: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return (N, 2) the same in the squashed frame; corners are scaled, then subtracted."""
    if reference == "image":
        return np.full((len(pairs), 2), SQUARE_SIDE, dtype=np.float32)
    corners = pairs.target_boxes.astype(np.float32) * np.tile(scale, 2)
    return np.asarray(corners[:, 2:] - corners[:, :2])


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
