"""How pairs divide, what becomes of matches that were right when clean, and the tables of both."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spairc.breakdowns import FACTORS, Fates, Gap, groupings
from spairc.metrics import PCK
from spairc.pairs import PairTable, table_of
from spairc.protocols import PROTOCOLS
from spairc.report.details import (
    Detail,
    alpha_table,
    category_table,
    detail_tables,
    details_of,
    factor_table,
    gap_table,
    group_table,
    points_table,
    side_table,
)
from spairc.report.write import report_tables
from spairc.runs import Run
from spairc.spec import CONDITIONS
from spairc.types import (
    CLEAN,
    UNKNOWN,
    BadInput,
    Box,
    Condition,
    Pair,
    Points,
    Size,
    Variation,
)

FOG, SNOW = Condition("fog", 3), Condition("snow", 1)
PAPER = PROTOCOLS["paper"]

MakeRun = Callable[..., Run]


def detail_of(run: Run, alpha: float = 0.1) -> Detail:
    """A run under the paper's protocol."""
    return details_of([run], PAPER, alpha, None)[0]


def one_pair(points: list[tuple[float, float]], variation: Variation = UNKNOWN) -> PairTable:
    """A pair whose target is 400 x 300, with a box of 100 x 60: a tolerance of 10 pixels."""
    pair = Pair(
        id="p",
        category="car",
        source="car/a",
        target="car/b",
        source_points=np.zeros((len(points), 2)),
        target_points=np.array(points),
        source_box=Box(0, 0, 9, 8),
        target_box=Box(20, 30, 120, 90),
        source_size=Size(90, 70),
        target_size=Size(400, 300),
        variation=variation,
    )
    return table_of([pair])


def levels_of(pairs: PairTable) -> dict[str, list[str | None]]:
    """Each pair's level in every way of dividing."""
    return {
        each.name: [each.levels[place] if place >= 0 else None for place in each.level]
        for each in groupings(pairs)
    }


def test_a_pair_is_in_one_level_of_every_way_of_dividing() -> None:
    pairs = one_pair([(30, 40), (50, 60)], Variation(2, 0, 1, 3))
    assert levels_of(pairs) == {
        "all": ["all"],
        "category": ["car"],
        "viewpoint": ["hard"],
        "scale": ["easy"],
        "truncation": ["source"],
        "occlusion": ["both"],
        "points": ["2"],
    }


def test_asked_the_other_way_round_source_and_target_of_a_breakdown_exchange() -> None:
    pairs = one_pair([(30, 40)], Variation(0, 0, 1, 2))
    assert levels_of(pairs)["truncation"] == ["source"]
    assert levels_of(pairs.swapped())["truncation"] == ["target"]
    assert levels_of(pairs.swapped())["occlusion"] == ["source"]


def test_a_factor_that_no_pair_knows_does_not_divide() -> None:
    assert set(levels_of(one_pair([(30, 40)]))) == {"all", "category", "points"}
    half = levels_of(one_pair([(30, 40)], Variation(viewpoint=1)))
    assert set(half) == {"all", "category", "viewpoint", "points"}


# Truths at x = 30, 55 and 200, tolerance 10. What the first point becomes:
@pytest.mark.parametrize(
    ("x", "fate"),
    [
        (40.0, "kept"),  # exactly at the tolerance
        (40.01, "near"),
        (44.99, "near"),
        (45.0, "other"),  # exactly at the tolerance of the second
        (50.0, "other"),  # at twice the tolerance, but at the second point too
        (65.0, "other"),
        (65.01, "elsewhere"),
        (10.0, "near"),  # exactly at twice the tolerance
        (9.99, "elsewhere"),
        (195.0, "other"),
    ],
)
def test_where_a_point_goes_that_was_right_when_clean(x: float, fate: str) -> None:
    pairs = one_pair([(30.0, 40.0), (55.0, 40.0), (200.0, 40.0)])
    found = pairs.target_points.copy()
    found[0, 0] = x
    fates = Gap(PCK("original"), pairs, pairs.target_points).fates(found)
    assert fates == Fates(kept=2).plus(Fates(**{fate: 1}))


def test_a_strict_comparator_puts_ties_on_the_other_side() -> None:
    pairs = one_pair([(30.0, 40.0), (55.0, 40.0)])
    found = np.array([[40.0, 40.0], [55.0, 40.0]])
    gap = Gap(PCK("original", comparator="<"), pairs, pairs.target_points)
    assert gap.fates(found) == Fates(kept=1, near=1)


def test_what_was_wrong_when_clean_cannot_break_but_mend() -> None:
    pairs = one_pair([(30.0, 40.0), (90.0, 40.0)])
    clean = pairs.target_points + 50
    gap = Gap(PCK("original"), pairs, clean)
    assert gap.fates(pairs.target_points) == Fates(mended=2)
    assert gap.fates(clean) == Fates(wrong=2)


def test_a_point_of_another_pair_is_not_another_point_of_the_target() -> None:
    first, second = one_pair([(30.0, 40.0)]), one_pair([(90.0, 40.0)])
    pairs = table_of([first[0], replace(second[0], id="q")])
    found = np.array([[90.0, 40.0], [90.0, 40.0]])
    gap = Gap(PCK("original"), pairs, pairs.target_points)
    assert gap.fates(found) == Fates(kept=1, elsewhere=1)


def slow_fates(metric: PCK, pairs: PairTable, clean: Points, found: Points) -> Fates:
    """The fates from their definition, point by point."""
    total, row = Fates(), 0
    for pair in pairs:
        scale = 256 / np.array(pair.target_size) if metric.frame == "square" else np.ones(2)
        box = np.array(pair.target_box) * np.tile(scale, 2)
        limit = metric.alpha * max(box[2] - box[0], box[3] - box[1])
        truth = pair.target_points * scale
        for number in range(len(truth)):
            before, after = clean[row] * scale, found[row] * scale
            far = np.linalg.norm(truth - after, axis=1)
            right = np.linalg.norm(truth[number] - before) <= limit
            others = np.delete(far, number)
            if far[number] <= limit:
                fate = "kept" if right else "mended"
            elif not right:
                fate = "wrong"
            elif (others <= limit).any():
                fate = "other"
            else:
                fate = "near" if far[number] <= 2 * limit else "elsewhere"
            total = total.plus(Fates(**{fate: 1}))
            row += 1
    return total


@given(seed=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("frame", ["original", "square"])
def test_fates_equal_a_slow_loop_written_from_their_definition(frame: str, seed: int) -> None:
    draws = np.random.default_rng(seed)
    first = one_pair(draws.uniform(20, 110, (draws.integers(1, 7), 2)).tolist())[0]
    second = one_pair(draws.uniform(20, 110, (draws.integers(1, 7), 2)).tolist())[0]
    pairs = table_of([first, replace(second, id="q", target_size=Size(170, 240))])
    clean, found = (
        pairs.target_points + draws.normal(0, s, (len(pairs.target_points), 2)) for s in (8, 20)
    )
    metric = PCK(frame)  # type: ignore[arg-type]  # parametrised
    fates = Gap(metric, pairs, clean).fates(found)
    assert fates == slow_fates(metric, pairs, clean, found)
    assert sum(fates) == len(found)


def test_the_categories_of_a_table_have_their_own_scores_and_their_mean(make_run: MakeRun) -> None:
    run = make_run()
    table = category_table([detail_of(run)])
    assert table.header == ("", "pairs", "clean", "mean of 2 corrupted")
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == ["car", "cat", "cow", "all pairs", "mean of categories"]
    scores = run.scores(PAPER.metric())
    assert rows["all pairs"][1:] == pytest.approx((scores[CLEAN], (scores[FOG] + scores[SNOW]) / 2))
    assert rows["cow"][0] == "30"
    macro = PROTOCOLS["paper-macro"].metric()(run.answers(CLEAN))
    assert rows["mean of categories"][1] == pytest.approx(macro)


def test_the_factors_name_every_level_and_say_whose_columns_are_exchanged(
    make_run: MakeRun,
) -> None:
    pairs = make_run("known").pairs
    variations = pairs.variations.copy()
    variations[:, 3] = 0
    table = factor_table([detail_of(make_run("some", pairs=replace(pairs, variations=variations)))])
    assert [row[0] for row in table.rows] == [f"{f} {v}" for f, vs in FACTORS.items() for v in vs]
    assert "Table 5 prints the CATs family with source and target" in table.title
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["occlusion none"][0] == str(len(pairs))
    assert rows["occlusion both"] == ("0", None, None)


def test_the_tolerances_rise_and_so_do_their_scores(make_run: MakeRun) -> None:
    table = alpha_table([detail_of(make_run(), alpha=0.3)])
    assert [row[0] for row in table.rows][-3:] == ["0.1", "0.15", "0.3"]
    clean = [float(row[1] or 0) for row in table.rows]
    assert clean == sorted(clean)
    assert clean[0] < clean[-1]


def test_a_group_is_the_mean_of_its_corruptions_and_has_no_value_unless_all_are_there(
    make_run: MakeRun,
) -> None:
    run = make_run(conditions=CONDITIONS)
    rows = {row[1]: row[2:] for row in group_table([detail_of(run)]).rows}
    scores = run.scores(PAPER.metric())
    blur = [scores[Condition(name, 2)] for name in ("defocus_blur", "gaussian_blur")]
    assert rows["blur"][1] == pytest.approx(np.mean(blur))
    assert rows["all"][5] == pytest.approx(np.mean([scores[each] for each in CONDITIONS[1:]]))
    assert group_table([detail_of(make_run("few"))]).rows == ()


def test_the_gap_adds_up_and_needs_the_clean_condition(make_run: MakeRun) -> None:
    run = make_run()
    rows = {row[1]: [float(c or 0) for c in row[2:]] for row in gap_table([detail_of(run)]).rows}
    assert list(rows) == ["snow", "fog", "all"]
    for kept, broken, near, other, elsewhere, _ in rows.values():
        assert kept + broken == pytest.approx(100)
        assert near + other + elsewhere == pytest.approx(100)
    fates = Gap(PAPER.metric(), run.pairs, run.answers(CLEAN).found).fates(run.answers(FOG).found)
    assert rows["fog"][1] == pytest.approx(100 * fates.broken / (fates.broken + fates.kept))
    assert gap_table([detail_of(make_run("no-clean", conditions=[FOG]))]).rows == ()


def test_several_runs_stand_side_by_side_over_the_conditions_they_share(make_run: MakeRun) -> None:
    runs = [make_run("one"), make_run("two", seed=2, conditions=[CLEAN, FOG])]
    table = points_table([detail_of(run) for run in runs])
    corrupted = "mean of 1 corrupted"
    names = [f"{run} {part}" for run in ("one", "two") for part in ("clean", corrupted)]
    assert table.header == ("", "pairs", *names)
    for place, run in enumerate(runs):
        counts = run.pairs.counts == 3
        expected = PAPER.metric().per_pair(run.answers(FOG))[counts].mean()
        row = next(row for row in table.rows if row[0] == "3")
        assert row[3 + 2 * place] == pytest.approx(expected)


def test_runs_of_several_sides_stand_in_a_table_by_side(make_run: MakeRun) -> None:
    runs = [make_run("m", side="source"), make_run("n", seed=3, side="target", model="m")]
    tables = report_tables(details_of(runs, PAPER, 0.1, None), None)
    assert "table4" not in tables
    table = tables["sides"]
    assert table.header == ("corrupted picture", "source", "target")
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["clean"][1] == pytest.approx(runs[1].scores(PAPER.metric())[CLEAN])
    assert "all corrupted" not in rows


def test_sides_of_different_models_are_not_compared(make_run: MakeRun) -> None:
    runs = [make_run("m", side="source"), make_run("n", side="target")]
    with pytest.raises(BadInput, match=r"corrupt other sides, and model differs too"):
        side_table([detail_of(run) for run in runs])


def test_runs_of_other_pairs_have_no_common_details(make_run: MakeRun) -> None:
    run = make_run("a")
    other = make_run("b", pairs=run.pairs[: len(run.pairs) - 1])
    with pytest.raises(BadInput, match="were not run on the same pairs"):
        detail_tables([detail_of(run), detail_of(other)])


def test_runs_that_share_no_condition_have_no_details(make_run: MakeRun) -> None:
    runs = [make_run("a", conditions=[CLEAN]), make_run("b", conditions=[FOG])]
    assert detail_tables([detail_of(run) for run in runs]) == {}


def test_what_a_dataset_does_not_know_has_no_table(make_run: MakeRun, tmp_path: Path) -> None:
    pairs = make_run("known").pairs
    unknown = np.full_like(pairs.variations, -1)
    run = make_run("unknown", pairs=replace(pairs, variations=unknown))
    assert run.folder.parent == tmp_path
    assert list(detail_tables([detail_of(run)])) == ["categories", "points", "alphas", "gap"]
