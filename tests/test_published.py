"""The published figures agree with each other, except where the errata say that they do not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spairc.breakdowns import FACTORS
from spairc.metrics import corruption_errors, mce, relative_corruption_errors, relative_mce
from spairc.published import (
    ASKED_REVERSED,
    OFFICIAL_TEST_PAIRS,
    TABLE_3,
    TABLE_4,
    TABLE_4_ERRATA,
    TABLE_5,
    TABLE_6,
    TABLE_A,
    TABLE_B,
    TABLE_B_ALPHAS,
    TABLE_C,
    factor_scores,
)
from spairc.spec import CORRUPTION_NAMES
from spairc.types import Condition


def errors(model: str) -> dict[Condition, float]:
    """100 - PCK of a model of Table 4."""
    return {condition: 100 - score for condition, score in TABLE_4[model].scores().items()}


@pytest.mark.parametrize("model", TABLE_4)
@pytest.mark.parametrize("name", CORRUPTION_NAMES)
def test_printed_averages_follow_from_their_cells_or_stand_in_the_errata(
    model: str, name: str
) -> None:
    published = TABLE_4[model]
    average = float(np.mean(published.cells[name]))
    if (model, name) in TABLE_4_ERRATA:
        assert average == pytest.approx(TABLE_4_ERRATA[model, name])
        assert abs(average - published.printed_averages[name]) > 0.1
    else:
        assert published.printed_averages[name] == pytest.approx(average, abs=0.0501)


def test_matchme_has_the_mce_that_the_cells_of_table_4_give() -> None:
    assert mce(errors("MatchMe-CATs"), errors("CATs")) == pytest.approx(93.37, abs=0.005)
    assert relative_mce(errors("MatchMe-CATs"), errors("CATs")) == pytest.approx(94.52, abs=0.005)


@pytest.mark.parametrize(("name", "value"), [("gaussian_noise", 95.38), ("saturate", 96.63)])
def test_single_corruption_errors_equal_those_worked_out_by_hand(name: str, value: float) -> None:
    found = corruption_errors(errors("MatchMe-CATs"), errors("CATs"))
    assert found[name] == pytest.approx(value, abs=0.005)


def test_matchme_loses_more_than_cats_only_where_it_does_in_the_paper() -> None:
    relative = relative_corruption_errors(errors("MatchMe-CATs"), errors("CATs"))
    worse = {name for name, value in relative.items() if value > 100}
    assert worse == {"gaussian_noise", "saturate", "pixelate"}


def test_the_official_test_list_has_12234_pairs() -> None:
    assert sum(OFFICIAL_TEST_PAIRS.values()) == 12_234


def test_tables_5_and_b_are_those_of_the_reference(shared: Path) -> None:
    reference = json.loads((shared / "reference" / "published.json").read_text())
    printed = reference["spair71k_factors_table5"]
    levels = {factor: [f"{factor} {level}" for level in names] for factor, names in FACTORS.items()}
    assert {
        model: {factor: [row[name] for name in names] for factor, names in levels.items()}
        for model, row in printed.items()
    } == {model: {factor: list(TABLE_5[model][factor]) for factor in FACTORS} for model in TABLE_5}
    by_alpha = {f"{alpha:.2f}": place for place, alpha in enumerate(TABLE_B_ALPHAS)}
    for model, row in reference["spair71k_alpha_tableB"].items():
        assert row == {alpha: TABLE_B[model][place] for alpha, place in by_alpha.items()}


def test_tables_3_6_a_and_c_are_those_of_the_reference(shared: Path) -> None:
    reference = json.loads((shared / "reference" / "published.json").read_text())
    by_name: dict[str, Any] = {
        "training_methods_table3": TABLE_3,
        "threshold_tableA": TABLE_A,
        "labelled_fraction_tableC": TABLE_C,
    }
    for name, table in by_name.items():
        assert reference[name] == {str(key): score for key, score in table.items()}
    assert reference["ablation_table6"] == {
        row: {f"{alpha:.2f}": score for alpha, score in scores.items()}
        for row, scores in TABLE_6.items()
    }


def test_source_and_target_of_the_cats_family_are_put_right() -> None:
    cats, hpf = factor_scores("CATs"), factor_scores("HPF")
    assert (cats["truncation", "source"], cats["truncation", "target"]) == (49.4, 42.0)
    assert (cats["occlusion", "source"], cats["occlusion", "both"]) == (44.9, 42.0)
    assert (hpf["truncation", "source"], hpf["truncation", "target"]) == (24.6, 24.0)
    assert cats["viewpoint", "hard"] == 43.6


def test_a_model_that_was_asked_reversed_has_a_row_and_each_row_is_complete() -> None:
    assert set(ASKED_REVERSED) <= TABLE_5.keys()
    assert all(len(factor_scores(model)) == 15 for model in TABLE_5)
    assert all(list(row) == sorted(row) and len(row) == 10 for row in TABLE_B.values())
