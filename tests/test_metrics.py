"""PCK against a slow loop and two published programs; mCE against the paper's own tables."""

import math
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spairc.metrics import (
    PCK,
    Answers,
    Average,
    Reference,
    Ruler,
    corruption_errors,
    mce,
    mean_corrupted,
    parse_pck,
    relative_corrupted,
    relative_corruption_errors,
    relative_mce,
)
from spairc.pairs import PairTable, table_of
from spairc.protocols import PROTOCOLS
from spairc.spec import CONDITIONS, CORRUPTED, CORRUPTION_NAMES, SEVERITIES
from spairc.types import CLEAN, BadInput, Box, Condition, Pair, Points, Size

TARGET = Size(300, 150)


def pair(points: int = 1, name: str = "p") -> Pair:
    """A pair whose target is 300 x 150 with a box of 100 x 50 and all truths at (20, 30)."""
    return Pair(
        id=name,
        category="car",
        source="car/a",
        target="car/b",
        source_points=np.full((points, 2), 7.0),
        target_points=np.tile([20.0, 30.0], (points, 1)),
        source_box=Box(3, 5, 60, 44),
        target_box=Box(10, 20, 110, 70),
        source_size=Size(90, 70),
        target_size=TARGET,
    )


def answers(*errors: list[tuple[float, float]]) -> Answers:
    """Answers that miss the truth by these (x, y) errors, one list a pair."""
    pairs = table_of([pair(len(each), f"p{i}") for i, each in enumerate(errors)])
    return Answers(pairs, pairs.target_points + np.concatenate([np.array(e) for e in errors]))


def test_a_point_exactly_at_the_tolerance_counts_unless_the_comparator_is_strict() -> None:
    given_answers = answers([(10.0, 0.0), (10.001, 0.0)])
    assert PCK("original")(given_answers) == 50
    assert PCK("original", comparator="<")(given_answers) == 0


def test_the_reference_length_scales_the_tolerance() -> None:
    assert PCK("original", reference="box")(answers([(20.0, 0.0)])) == 0
    assert PCK("original", reference="image")(answers([(20.0, 0.0)])) == 100


def test_squashing_to_a_square_shortens_the_longer_axis() -> None:
    # 300 x 150 -> 1 x 1: the box becomes 1/3 x 1/3, so the tolerance is 10 px in x, 5 px in y
    assert PCK("square")(answers([(9.99, 0.0)])) == 100
    assert PCK("square")(answers([(0.0, 6.0)])) == 0
    assert PCK("original")(answers([(0.0, 6.0)])) == 100


def test_the_two_averages_differ_when_pairs_have_different_numbers_of_points() -> None:
    both = answers([(0, 0)], [(99, 0), (99, 0), (99, 0)])
    assert PCK("original", average="image")(both) == 50
    assert PCK("original", average="point")(both) == 25


@pytest.mark.parametrize(
    ("average", "expected"),
    [
        ("image", (100 + 0 + 50) / 3),
        ("point", 100 * 3 / 7),
        ("image-category", ((100 + 0) / 2 + 50) / 2),
        ("point-category", (100 * 1 / 3 + 100 * 2 / 4) / 2),
        ("point-category-pairs", (2 * 100 * 1 / 3 + 1 * 100 * 2 / 4) / 3),
    ],
)
def test_every_average_on_two_cars_and_a_cat_worked_out_by_hand(
    average: str, expected: float
) -> None:
    some = answers([(0, 0)], [(99, 0), (99, 0)], [(0, 0), (99, 0), (0, 0), (99, 0)])
    pairs = replace(some.pairs, categories=np.array(["car", "car", "cat"]))
    metric = PCK("original", average=average)  # type: ignore[arg-type]  # parametrised
    assert metric(Answers(pairs, some.found)) == pytest.approx(expected)


def test_the_padded_reference_is_about_the_largest_coordinate() -> None:
    # Truths from (200, 100) to (220, 110) in a 300 x 150 picture. In the square of 256: x is at
    # most 187.7 and y 187.7, so with the padding of -1 the length is 188.7 and not 17.1.
    truth = np.array([[200.0, 100.0], [220.0, 110.0]])
    box = Box(200, 100, 220, 110)  # what PF-WILLOW's reader gives: the extent of the points
    table = table_of([replace(pair(2), target_points=truth, target_box=box)])
    limit = 0.1 * (220 * 256 / 300 + 1) * 300 / 256  # in x, original pixels

    def found(error: float, reference: str) -> float:
        metric = PCK("square", reference=reference)  # type: ignore[arg-type]  # two of them
        return metric(Answers(table, truth + np.array([error, 0.0])))

    assert found(limit - 0.01, "padded") == 100
    assert found(limit + 0.01, "padded") == 0
    assert found(1.99, "box") == 100
    assert found(2.01, "box") == 0


def test_no_protocol_counts_padding_unless_its_name_says_so() -> None:
    padded = [each.name for each in PROTOCOLS.values() if each.reference == "padded"]
    assert padded == ["pf-willow-padded"]


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("alpha", [0.1, 0.05])
def test_a_protocols_metric_is_parsed_back_from_its_name(name: str, alpha: float) -> None:
    metric = PROTOCOLS[name].metric(alpha)
    assert parse_pck(str(metric)) == metric
    assert PROTOCOLS[name].name == name


@given(seed=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("frame", ["original", "square"])
@pytest.mark.parametrize("comparator", ["<=", "<"])
def test_a_rank_tells_for_each_tolerance_what_the_metric_tells(
    frame: str, comparator: str, seed: int
) -> None:
    alphas = (0.01, 0.05, 0.1, 0.3)
    some = random_answers(seed)
    some = Answers(some.pairs, some.found.round())
    ruler = Ruler(some.pairs, frame)  # type: ignore[arg-type]  # parametrised
    lengths = ruler.lengths("box")
    ranks = ruler.ranks(ruler.distances(some.found), lengths, comparator, alphas)  # type: ignore[arg-type]  # parametrised
    for place, alpha in enumerate(alphas):
        metric = PCK(frame, alpha, comparator=comparator)  # type: ignore[arg-type]  # parametrised
        np.testing.assert_array_equal(metric.hits(some), ranks <= place)


def test_ranks_count_the_published_ties(shared: Path) -> None:
    golden = dict(np.load(shared / "golden" / "pck.npz"))
    some = published_answers(golden)
    alphas = (0.01, 0.05, 0.1)
    for frame, name in (("square", "cats_pck_bbox"), ("original", "dift_pck")):
        ruler = Ruler(some.pairs, frame)  # type: ignore[arg-type]  # looped over
        ranks = ruler.ranks(ruler.distances(some.found), ruler.lengths("box"), "<=", alphas)
        for place, alpha in enumerate(alphas):
            hits = np.bincount(some.pairs.pair_of_point, ranks <= place)
            expected = golden[f"{name}_{alpha:g}"]
            np.testing.assert_allclose(100 * hits / some.pairs.counts, expected, rtol=1e-6)


def test_an_answer_that_is_no_number_is_never_a_hit() -> None:
    some = answers([(math.nan, 0.0), (0.0, 0.0)])
    for frame in ("original", "square"):
        assert PCK(frame)(some) == 50


@pytest.mark.parametrize("frame", ["original", "square"])
@pytest.mark.parametrize("reference", get_args(Reference))
@pytest.mark.parametrize("average", get_args(Average))
@pytest.mark.parametrize("comparator", ["<=", "<"])
@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.15, 0.01])
def test_a_metric_is_parsed_back_from_its_name(
    frame: str, reference: str, average: str, comparator: str, alpha: float
) -> None:
    metric = PCK(frame, alpha, reference, average, comparator)  # type: ignore[arg-type]  # parametrised
    assert parse_pck(str(metric)) == metric


def test_the_papers_metric_prints_as_in_the_readme() -> None:
    assert str(PCK("square")) == "PCK@0.1 (box, per image, square)"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frame": "round"}, "frame is 'round'; choose from original, square"),
        (
            {"frame": "square", "reference": "head"},
            "reference is 'head'; choose from box, image, padded",
        ),
        ({"frame": "square", "alpha": 0.0}, "alpha is 0.0; it must be above 0"),
        ({"frame": "square", "alpha": math.nan}, "alpha is nan; it must be above 0"),
    ],
)
def test_an_unknown_setting_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        PCK(**settings)  # type: ignore[arg-type]  # wrong on purpose


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(BadInput, match="no metric is called 'AUC'"):
        parse_pck("AUC")


def test_nothing_to_score_is_an_error_and_not_a_zero() -> None:
    nothing = answers([(0, 0)]).pairs[:0]
    with pytest.raises(BadInput, match="no predictions"):
        PCK("square")(Answers(nothing, np.empty((0, 2))))


def test_answers_of_other_pairs_are_refused() -> None:
    with pytest.raises(BadInput, match="1 answers for 2 points"):
        Answers(table_of([pair(2)]), np.zeros((1, 2)))


def slow_pck(metric: PCK, table: PairTable, found: Points) -> float:
    """PCK from its definition: pair by pair, point by point, in plain Python."""
    per_pair: dict[str, list[list[bool]]] = {}
    row = 0
    for each in table:
        width, height = each.target_size
        scale_x, scale_y = (256 / width, 256 / height) if metric.frame == "square" else (1.0, 1.0)
        limit = metric.alpha * slow_length(metric.reference, each, scale_x, scale_y)
        hits = []
        for truth in each.target_points:
            error_x = (found[row][0] - truth[0]) * scale_x
            error_y = (found[row][1] - truth[1]) * scale_y
            distance = math.hypot(error_x, error_y)
            hits.append(distance <= limit if metric.comparator == "<=" else distance < limit)
            row += 1
        per_pair.setdefault(each.category, []).append(hits)
    first, _, then = metric.average.partition("-")
    groups = list(per_pair.values())
    if not then:
        return slow_mean(first, [hits for group in groups for hits in group])
    weights = [len(group) if then == "category-pairs" else 1 for group in groups]
    means = [slow_mean(first, group) for group in groups]
    return sum(m * w for m, w in zip(means, weights, strict=True)) / sum(weights)


def slow_mean(first: str, pairs: list[list[bool]]) -> float:
    """The percentage of hits, over all points or over each pair first."""
    if first == "point":
        every = [hit for hits in pairs for hit in hits]
        return 100 * sum(every) / len(every)
    return 100 * sum(sum(hits) / len(hits) for hits in pairs) / len(pairs)


def slow_length(reference: str, each: Pair, scale_x: float, scale_y: float) -> float:
    """The reference length from its definition."""
    if reference == "padded":
        xs = [x * scale_x for x, _ in each.target_points] + [-1.0]
        ys = [y * scale_y for _, y in each.target_points] + [-1.0]
        longer: float = max(max(xs) - min(xs), max(ys) - min(ys))
        return longer
    width, height = each.target_size
    box = each.target_box if reference == "box" else Box(0, 0, width, height)
    return max((box.right - box.left) * scale_x, (box.bottom - box.top) * scale_y)


def random_answers(seed: int) -> Answers:
    """Some pairs of random sizes, boxes and points, and random answers near the truth."""
    draws = np.random.default_rng(seed)
    pairs = []
    for number in range(draws.integers(1, 9)):
        count = int(draws.integers(1, 7))
        size = Size(*draws.integers(40, 600, 2).tolist())
        left, top = draws.uniform(0, 20, 2)
        box = Box(left, top, left + draws.uniform(5, 300), top + draws.uniform(5, 300))
        points = draws.uniform(0, 39, (count, 2))
        new = replace(pair(count, f"p{number}"), target_points=points)
        category = ("car", "cat", "cow")[draws.integers(3)]
        pairs.append(replace(new, target_box=box, target_size=size, category=category))
    table = table_of(pairs)
    noise = draws.normal(0, 15, table.target_points.shape)
    return Answers(table, table.target_points + noise)


@given(seed=st.integers(0, 2**32 - 1), alpha=st.sampled_from([0.01, 0.05, 0.1, 0.3]))
@pytest.mark.parametrize("frame", ["original", "square"])
@pytest.mark.parametrize("reference", get_args(Reference))
@pytest.mark.parametrize("average", get_args(Average))
def test_equals_a_slow_loop_written_from_the_definition(
    frame: str, reference: str, average: str, seed: int, alpha: float
) -> None:
    metric = PCK(frame, alpha, reference, average)  # type: ignore[arg-type]  # parametrised
    some = random_answers(seed)
    assert metric(some) == pytest.approx(slow_pck(metric, some.pairs, some.found))


def published_answers(golden: dict[str, np.ndarray]) -> Answers:
    """The 40 invented pairs that the published evaluators counted."""
    pairs = []
    for i, count in enumerate(golden["count"]):
        pairs.append(
            Pair(
                id=str(i),
                category=str(golden["category"][i]),
                source=f"a/{i}",
                target=f"b/{i}",
                source_points=golden["query"][i, :count].astype(float),
                target_points=golden["truth"][i, :count].astype(float),
                source_box=Box(0, 0, 1, 1),
                target_box=Box(*golden["box_second"][i].astype(float)),
                source_size=Size(*golden["size_first"][i].tolist()),
                target_size=Size(*golden["size_second"][i].tolist()),
            )
        )
    found = [golden["predicted"][i, :count] for i, count in enumerate(golden["count"])]
    return Answers(table_of(pairs), np.concatenate(found).astype(float))


@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.01])
def test_counts_as_the_cats_evaluator_does_ties_included(shared: Path, alpha: float) -> None:
    golden = dict(np.load(shared / "golden" / "pck.npz"))
    some = published_answers(golden)
    for reference, short in (("box", "bbox"), ("image", "img")):
        metric = PCK("square", alpha, reference)  # type: ignore[arg-type]  # looped over
        expected = golden[f"cats_pck_{short}_{alpha:g}"]
        np.testing.assert_allclose(metric.per_pair(some), expected, rtol=1e-6)
        assert metric(some) == pytest.approx(float(golden[f"cats_mean_{short}_{alpha:g}"]))


@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.01])
def test_counts_as_the_dift_evaluator_does_ties_included(shared: Path, alpha: float) -> None:
    golden = dict(np.load(shared / "golden" / "pck.npz"))
    some = published_answers(golden)
    expected = golden[f"dift_pck_{alpha:g}"]
    np.testing.assert_allclose(PCK("original", alpha).per_pair(some), expected)
    per_point = PCK("original", alpha, average="point")(some)
    assert per_point == pytest.approx(float(golden[f"dift_per_point_{alpha:g}"]))


def errors(clean: float, rise: float) -> dict[Condition, float]:
    """Errors that start at `clean` and rise by `rise` with each severity."""
    return {each: clean + rise * each.severity for each in CONDITIONS}


def test_the_baseline_itself_has_an_mce_of_100() -> None:
    assert mce(errors(40, 3), errors(40, 3)) == pytest.approx(100)
    assert relative_mce(errors(40, 3), errors(40, 3)) == pytest.approx(100)


def test_mce_divides_sums_over_severities_and_then_averages_over_corruptions() -> None:
    mine = errors(40, 3)
    mine[Condition("fog", 5)] += 50
    fog = 100 * (5 * 40 + 3 * 15 + 50) / (5 * 50 + 4 * 15)
    rest = 100 * (5 * 40 + 3 * 15) / (5 * 50 + 4 * 15)
    assert corruption_errors(mine, errors(50, 4))["fog"] == pytest.approx(fog)
    assert mce(mine, errors(50, 4)) == pytest.approx((fog + 14 * rest) / 15)


def test_mce_equals_a_second_formula_on_arrays() -> None:
    # Each corruption's error is the baseline's weighted mean of the five ratios of errors.
    draws = np.random.default_rng(5)
    mine, theirs = draws.uniform(20, 90, (2, len(CORRUPTION_NAMES), len(SEVERITIES)))
    weights = theirs / theirs.sum(axis=1, keepdims=True)
    expected = 100 * (weights * (mine / theirs)).sum(axis=1).mean()
    found, baseline = (
        dict(zip(CORRUPTED, each.ravel().tolist(), strict=True)) for each in (mine, theirs)
    )
    assert mce(found, baseline) == pytest.approx(expected)
    drop, their_drop = ((each - 10).mean(axis=1) for each in (mine, theirs))
    clean = {CLEAN: 10.0}
    relative = 100 * np.mean(drop / their_drop)
    assert relative_mce(found | clean, baseline | clean) == pytest.approx(relative)


def test_relative_mce_subtracts_each_ones_own_clean_error() -> None:
    assert relative_mce(errors(40, 3), errors(60, 4)) == pytest.approx(75)


def test_a_baseline_that_loses_one_point_in_all_still_has_a_relative_error() -> None:
    flat = errors(40, 3) | {Condition("fog", severity): 40.0 for severity in range(1, 6)}
    one = flat | {Condition("fog", 2): 41.0}
    assert relative_corruption_errors(errors(40, 3), one)["fog"] == pytest.approx(4500)
    less = flat | {Condition("fog", 2): 40.75}
    assert math.isnan(relative_corruption_errors(errors(40, 3), less)["fog"])


def test_a_baseline_without_an_error_under_a_corruption_is_refused() -> None:
    perfect = errors(40, 3) | {Condition("snow", severity): 0.0 for severity in range(1, 6)}
    with pytest.raises(BadInput, match="no error under snow; choose another baseline"):
        mce(errors(40, 3), perfect)


def test_a_baseline_with_the_least_error_is_divided_by() -> None:
    least = errors(40, 3) | {Condition("snow", severity): 0.125 for severity in range(1, 6)}
    assert corruption_errors(errors(0, 1), least)["snow"] == pytest.approx(100 * 15 / 0.625)


def test_what_finds_nothing_on_clean_pictures_has_no_rpc() -> None:
    scores = dict.fromkeys(CORRUPTED, 2.0) | {CLEAN: 0.0}
    with pytest.raises(BadInput, match="rPC is not defined"):
        relative_corrupted(scores)
    assert relative_corrupted(scores | {CLEAN: 0.5}) == pytest.approx(400)


def test_a_corruption_under_which_the_baseline_loses_nothing_has_no_relative_error() -> None:
    flat = errors(40, 3)
    for severity in range(1, 6):
        flat[Condition("brightness", severity)] = 40.1
    relative = relative_corruption_errors(errors(40, 3), flat)
    assert math.isnan(relative["brightness"])
    assert relative_mce(errors(40, 3), flat) == pytest.approx(100)
    with pytest.raises(BadInput, match="loses nothing under any corruption"):
        relative_mce(errors(40, 3), errors(40, 0))


def test_a_missing_condition_is_named_and_never_skipped() -> None:
    without = {each: 1.0 for each in CORRUPTED if str(each) != "snow@2"}
    for given_errors, baseline in ((without, errors(1, 1)), (errors(1, 1), without)):
        with pytest.raises(BadInput, match="snow@2"):
            mce(given_errors, baseline)
    with pytest.raises(BadInput, match="clean condition is missing"):
        relative_mce(dict.fromkeys(CORRUPTED, 1.0), errors(1, 1))


def test_mpc_is_the_mean_over_cells_and_rpc_its_share_of_clean() -> None:
    scores = errors(60, -4)
    assert scores[CLEAN] == 60
    assert mean_corrupted(scores) == pytest.approx(48)
    assert relative_corrupted(scores) == pytest.approx(80)
