"""What the tables of `spairc reproduce` consist of, and what counts as reproduced."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from matchme_train.recipe import load_recipe
from matchme_train.train import Request, _check_request
from spairc.metrics import PCK, mce
from spairc.published import (
    TABLE_3,
    TABLE_4,
    TABLE_5,
    TABLE_6,
    TABLE_A,
    TABLE_B,
    TABLE_C,
    factor_scores,
)
from spairc.report.printed import TABLE_1, TABLE_2
from spairc.reproduce.steps import PROTOCOL_OF, Setting, Train, steps_of
from spairc.reproduce.tables import TABLES, TRAININGS, Plan, Quantity, Row, Training
from spairc.reproduce.verdict import (
    Outcome,
    conclusion,
    outcomes_of,
    result_table,
    summary_table,
)
from spairc.runs import Run
from spairc.spec import CONDITIONS
from spairc.types import CLEAN, BadInput, Condition
from spairc_models import MODELS

ROWS = [(table, name) for table, plan in TABLES.items() for name in plan.rows]


def printed(table: str) -> dict[tuple[str, str], float]:
    """Row and number -> what the plan says is printed."""
    return {
        (row.label, each.name): each.published
        for row in TABLES[table].rows.values()
        for each in row.quantities
    }


def pck(scores: dict[float, float]) -> dict[str, float]:
    return {f"PCK@{alpha:g}": score for alpha, score in scores.items()}


def test_every_training_is_used_and_every_row_has_one() -> None:
    assert {name for _, name in ROWS} == set(TRAININGS)
    assert all(plan.trainings is TRAININGS for plan in TABLES.values())
    assert {each.annotator for each in TRAININGS.values()} <= {None, *TRAININGS}


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_is_a_recipe_with_changes_that_fit_it_and_a_model_that_evaluates_it(
    name: str,
) -> None:
    training = TRAININGS[name]
    load_recipe(training.recipe, training.changes)
    assert MODELS[load_recipe(training.recipe).model].where


@pytest.mark.parametrize("name", TRAININGS)
def test_a_command_gives_its_recipe_what_the_trainer_asks_for(name: str, tmp_path: Path) -> None:
    step = Train(name, TRAININGS[name], setting(tmp_path))
    typed = step.arguments()
    given = dict(zip(typed[2::2], typed[3::2], strict=True))
    _check_request(
        Request(
            recipe=step.recipe,
            root=Path(given["--root"]),
            out=Path(given["--out"]),
            unlabelled=Path(given["--unlabelled"]) if "--unlabelled" in given else None,
            from_checkpoint=given.get("--from-checkpoint"),
        )
    )


@pytest.mark.parametrize(("table", "name"), ROWS)
def test_a_row_without_changes_has_its_recipes_own_published_score(table: str, name: str) -> None:
    training = TRAININGS[name]
    same = ("PCK@0.1", "clean", "all", "pf-pascal @0.1")
    scores = {q.published for q in TABLES[table].rows[name].quantities if q.name in same}
    if not training.changes and (table, name) != ("table5", "semimatch-cats"):  # 50.8 is printed
        assert scores == {load_recipe(training.recipe).published}


def test_tables_1_3_6_a_b_and_c_have_the_numbers_that_are_printed() -> None:
    models = ("CATs", "CATs++", "SemiMatch", "SCorrSAN", "MatchMe-CATs++")
    assert printed("table1") == {(model, "PCK@0.1"): TABLE_1[model][0] for model in models}
    assert printed("table3") == {(label, "PCK@0.1"): score for label, score in TABLE_3.items()}
    assert printed("table6") == {
        (label, name): score
        for label, scores in TABLE_6.items()
        for name, score in pck(scores).items()
    }
    assert printed("tableA") == {(f"tau {t:g}", "PCK@0.1"): s for t, s in TABLE_A.items()}
    assert printed("tableC") == {(f"labels {t:g}", "PCK@0.1"): s for t, s in TABLE_C.items()}
    assert [score for (model, _), score in printed("tableB").items() if model == "CATs"] == list(
        TABLE_B["CATs"]
    )
    assert len(printed("tableB")) == 10 * len(models)


def test_table_2_has_what_is_printed_of_both_datasets_and_leaves_dashes_out() -> None:
    found = printed("table2")
    assert [s for (m, _), s in found.items() if m == "CATs"] == list(TABLE_2["CATs"])
    assert found["MatchMe-CATs++", "pf-willow @0.15"] == 92.9
    assert ("CATs++", "pf-willow @0.15") not in found
    assert len(found) == 17


def test_table_4_has_76_cells_a_model_and_the_mce_that_they_give() -> None:
    found = printed("table4")
    for model in ("CATs", "MatchMe-CATs"):
        cells = {str(condition): score for condition, score in TABLE_4[model].scores().items()}
        assert {name: s for (m, name), s in found.items() if m == model and name in cells} == cells
    assert found["MatchMe-CATs", "mCE, CATs 100"] == pytest.approx(93.37, abs=0.005)
    assert len(found) == 2 * 76 + 1


def test_table_5_has_the_levels_by_the_names_that_they_have_here() -> None:
    found = printed("table5")
    assert found["CATs", "truncation source"] == factor_scores("CATs")["truncation", "source"]
    assert found["CATs", "truncation source"] == TABLE_5["CATs"]["truncation"][2]
    assert len(found) == 5 * 15


@pytest.mark.parametrize(
    ("table", "fields"),
    [
        ("matchme-cats-1-generation", {"generations": 1, "strengths": (1.0,)}),
        ("matchme-cats-no-noise", {"generations": 1, "strengths": (0.0,)}),
        ("matchme-cats-tau-0.3", {"threshold": 0.3, "generations": 3}),
        ("matchme-cats-labels-0.4", {"generations": 1, "warp_strengths": (1.0,)}),
    ],
)
def test_a_change_reaches_the_field_that_the_row_is_about(
    table: str, fields: dict[str, object]
) -> None:
    training = TRAININGS[table]
    changed = load_recipe(training.recipe, training.changes)
    assert {name: getattr(changed.matchme, name) for name in fields} == fields
    step = Train(table, training, Setting(data=Path(), out=Path()))
    assert (step.recipe.registers, step.recipe.published) == (False, None)
    assert changed.labelled == (0.4 if "labels" in table else 1)


@pytest.mark.parametrize(
    ("ours", "comparable", "verdict"),
    [
        (49.9, True, "yes"),
        (50.9, True, "yes"),
        (48.9, True, "yes"),
        (50.95, True, "no"),
        (48.8, True, "no"),
        (49.9, False, "other pairs"),
        (10.0, False, "other pairs"),
        (None, True, "not run"),
    ],
)
def test_only_a_number_of_the_papers_pairs_within_the_tolerance_is_inside(
    ours: float | None, comparable: bool, verdict: str
) -> None:
    wanted = Quantity(name="PCK@0.1", published=49.9, tolerance=1.0)
    assert Outcome("cats", "CATs", wanted, ours, comparable).verdict == verdict


def test_a_number_exactly_at_the_tolerance_is_inside_whatever_rounding_does() -> None:
    assert 64.4 - 63.4 > 1.0
    wanted = Quantity(name="PCK@0.1", published=63.4, tolerance=1.0)
    assert Outcome("cats", "CATs", wanted, 64.4).verdict == "yes"


def outcome(ours: float | None, label: str = "CATs", name: str = "PCK@0.1") -> Outcome:
    return Outcome("cats", label, Quantity(name=name, published=49.9, tolerance=1.0), ours)


@pytest.mark.parametrize(
    ("ours", "told"),
    [
        ((49.5, 50.2), "reproduced: all 2 numbers are inside their tolerance"),
        ((49.5, 47.0), "not reproduced: of 2 numbers 1 inside the tolerance, 1 outside"),
        ((49.5, None), "not reproduced: of 2 numbers 1 inside the tolerance, 1 not run"),
        ((None, None), "not reproduced: of 2 numbers 2 not run"),
        ((49.9, math.nan), "not reproduced: of 2 numbers 1 inside the tolerance, 1 outside"),
    ],
)
def test_success_is_claimed_only_where_every_number_is_inside(
    ours: tuple[float | None, ...], told: str
) -> None:
    assert conclusion([outcome(each) for each in ours]) == told


def test_numbers_of_other_pairs_are_no_success_however_near() -> None:
    found = replace(outcome(49.9), comparable=False)
    told = "not reproduced: of 1 numbers 1 of other pairs than the paper's"
    assert conclusion([found]) == told


def test_the_result_tells_what_is_printed_what_came_out_and_the_difference() -> None:
    table = result_table(TABLES["table1"], [outcome(47.0), outcome(None, "CATs++")])
    expected: tuple[Any, ...] = (
        ("cats", "CATs", "PCK@0.1", 49.9, 47.0, pytest.approx(-2.9), 1.0, "no"),
        ("cats", "CATs++", "PCK@0.1", 49.9, None, None, 1.0, "not run"),
    )
    assert table.rows == expected


def test_the_summary_of_a_long_table_names_what_is_farthest() -> None:
    some = [outcome(50.0, name="clean"), outcome(45.0, name="fog@3"), outcome(None, name="snow@1")]
    table = summary_table(TABLES["table4"], some)
    least: Any = pytest.approx(-4.9)
    assert table.rows == (("cats", "3", "1", "1", "0", "1", "fog@3", least),)


def plan_of(*quantities: Quantity, compares: bool = True) -> Plan:
    return Plan(
        "One row",
        {"mine": Row("Mine", quantities)},
        {name: Training(recipe="supervised-cats") for name in ("mine", "base")},
        lambda _: compares,
    )


FOG = Condition("fog", 3)


@pytest.fixture
def as_spair(make_run_in: Callable[..., Run], tmp_path: Path) -> Callable[..., Run]:
    """What writes a run that says it is of SPair-71k."""
    whose = {"dataset": "spair71k", "model": "cats"}
    return lambda name, **given: make_run_in(tmp_path, name, **whose, **given)


def setting(tmp_path: Path) -> Setting:
    return Setting(data=tmp_path, out=tmp_path)


def test_a_run_under_the_rows_name_is_counted_whoever_made_it(
    as_spair: Callable[..., Run], tmp_path: Path
) -> None:
    run = as_spair("mine", conditions=(CLEAN, FOG))
    quantities = (
        Quantity(name="clean", published=50),
        Quantity(name="narrow", published=50, alpha=0.05),
        Quantity(name="fog", published=50, condition=FOG),
        Quantity(name="hard", published=50, level=("viewpoint", "hard")),
        Quantity(name="snow", published=50, condition=Condition("snow", 1)),
    )
    plan = plan_of(*quantities)
    found = {each.quantity.name: each for each in outcomes_of(plan, "mine", setting(tmp_path))}
    assert found["clean"].ours == pytest.approx(PCK("square")(run.answers(CLEAN)))
    assert found["narrow"].ours == pytest.approx(PCK("square", 0.05)(run.answers(CLEAN)))
    assert found["fog"].ours == pytest.approx(PCK("square")(run.answers(FOG)))
    hard = run.pairs.variations[:, 0] == 2
    by_pair = PCK("square").per_pair(run.answers(CLEAN))
    assert found["hard"].ours == pytest.approx(by_pair[hard].mean())
    assert found["snow"].verdict == "not run"
    plan = plan_of(*quantities[:3])
    assert steps_of(plan, "mine", setting(tmp_path)) == []


def test_numbers_of_another_list_of_pairs_are_never_inside(
    as_spair: Callable[..., Run], tmp_path: Path
) -> None:
    as_spair("mine", conditions=(CLEAN,))
    plan = plan_of(Quantity(name="clean", published=50, tolerance=100), compares=False)
    (found,) = outcomes_of(plan, "mine", setting(tmp_path))
    assert found.verdict == "other pairs"
    as_published = replace(plan, compares=TABLES["table1"].compares)
    (found,) = outcomes_of(as_published, "mine", setting(tmp_path))
    assert found.verdict == "other pairs"


def test_mce_needs_all_conditions_of_both_runs(
    as_spair: Callable[..., Run], tmp_path: Path
) -> None:
    plan = plan_of(Quantity(name="mCE", published=90, baseline="base"))
    runs = [as_spair("mine", conditions=CONDITIONS, seed=1)]
    (found,) = outcomes_of(plan, "mine", setting(tmp_path))
    assert found.verdict == "not run"
    runs.append(as_spair("base", conditions=CONDITIONS, seed=2))
    (found,) = outcomes_of(plan, "mine", setting(tmp_path))
    errors = [
        {condition: 100 - pck for condition, pck in run.scores(PCK("square")).items()}
        for run in runs
    ]
    assert found.ours == pytest.approx(mce(*errors))


def test_what_two_numbers_of_a_row_need_is_done_once(training_root: Path, tmp_path: Path) -> None:
    (tmp_path / "SPair-71k").symlink_to(training_root)
    (tmp_path / "VOC2012").symlink_to(training_root / "JPEGImages")
    done = steps_of(TABLES["table4"], "matchme-cats", setting(tmp_path))
    told = [" ".join(step.arguments()[:3]) for step in done]
    assert told == [
        "train supervised-cats --root",
        "train matchme-cats --root",
        "eval --model matchme-cats",
        "eval --model cats",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "sift"}, "holds a run of sift spair71k test large both forward, not of cats"),
        ({"dataset": "pf-willow"}, "holds a run of cats pf-willow test large both forward"),
        ({"split": "val"}, "holds a run of cats spair71k val"),
        ({"side": "target"}, "large target forward, not of cats spair71k test large both forward"),
        ({"direction": "reversed"}, "both reversed"),
    ],
)
def test_a_run_of_something_else_under_the_rows_name_is_refused(
    changes: dict[str, str], message: str, make_run_in: Callable[..., Run], tmp_path: Path
) -> None:
    make_run_in(
        tmp_path, "mine", conditions=(CLEAN,), **{"dataset": "spair71k", "model": "cats", **changes}
    )
    with pytest.raises(BadInput, match=message):
        steps_of(plan_of(Quantity(name="clean", published=50)), "mine", setting(tmp_path))


def test_a_dataset_is_found_where_its_archive_unpacks(tmp_path: Path) -> None:
    found = setting(tmp_path).dataset
    assert found("unlabelled") == tmp_path / "VOC2012"
    (tmp_path / "VOCdevkit" / "VOC2012").mkdir(parents=True)
    assert found("unlabelled") == tmp_path / "VOCdevkit" / "VOC2012"
    (tmp_path / "VOC2012").mkdir()
    assert found("unlabelled") == tmp_path / "VOC2012"


def test_every_dataset_of_a_table_has_a_protocol() -> None:
    datasets = {q.dataset for p in TABLES.values() for r in p.rows.values() for q in r.quantities}
    assert datasets <= set(PROTOCOL_OF)


DOCS = (Path(__file__).parents[1] / "docs" / "reproduce.md").read_text(encoding="utf-8")


def test_the_page_has_every_table_with_rows_that_are_its_own() -> None:
    found = dict(re.findall(r"^\| `(table\w)` \| (.*?) \|", DOCS, flags=re.MULTILINE))
    assert list(found) == list(TABLES)
    for name, cell in found.items():
        rows = (
            set(TABLES["table1"].rows) if "those of" in cell else set(re.findall(r"`(.+?)`", cell))
        )
        assert rows == set(TABLES[name].rows) or (rows < set(TABLES[name].rows) and "so on" in cell)
