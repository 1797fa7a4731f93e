"""The nouns, looking things up, and what SPair-C is as data."""

import hashlib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spairc.lookup import import_object, lookup
from spairc.spec import (
    CONDITIONS,
    CORRUPTED,
    CORRUPTION_NAMES,
    GROUPS,
    VERSION,
    check_severity,
    draw_key,
    parse_condition,
    parse_conditions,
)
from spairc.types import CLEAN, BadInput, Box, Condition, Pair, Size, Variation

PAIR = Pair(
    id="000001-a-b:car",
    category="car",
    source="car/a",
    target="car/b",
    source_points=np.array([[3.0, 4.0], [60.5, 7.0]]),
    target_points=np.array([[9.0, 8.0], [40.0, 2.0]]),
    source_box=Box(1, 2, 70, 40),
    target_box=Box(0, 0, 50, 21),
    source_size=Size(90, 70),
    target_size=Size(51, 33),
    variation=Variation(viewpoint=2, scale=1, truncation=1, occlusion=3),
)


def test_the_75_cells_stand_in_the_papers_order_after_clean() -> None:
    assert len(CORRUPTED) == 75
    assert CONDITIONS[0] == CLEAN
    assert [str(each) for each in CORRUPTED[:6]] == [
        *(f"gaussian_noise@{severity}" for severity in range(1, 6)),
        "shot_noise@1",
    ]
    assert str(CONDITIONS[-1]) == "jpeg_compression@5"


@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_a_condition_is_parsed_back_from_how_it_prints(condition: Condition) -> None:
    assert parse_condition(str(condition)) == condition


@pytest.mark.parametrize(
    ("pattern", "printed"),
    [
        ("fog@3", ["fog@3"]),
        ("clean", ["clean"]),
        ("snow", [f"snow@{severity}" for severity in range(1, 6)]),
        ("snow@*", [f"snow@{severity}" for severity in range(1, 6)]),
        ("blur@2", ["defocus_blur@2", "gaussian_blur@2"]),
        ("*@5", [f"{name}@5" for name in CORRUPTION_NAMES]),
        ("all", [str(each) for each in CONDITIONS]),
    ],
)
def test_a_pattern_means_its_conditions_in_the_order_of_the_tables(
    pattern: str, printed: list[str]
) -> None:
    assert [str(each) for each in parse_conditions(pattern)] == printed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fog@6", "severity 6 does not exist; choose from 1, 2, 3, 4, 5"),
        ("fog@0", "severity 0 does not exist"),
        ("fgo@3", "no corruption is called 'fgo'; did you mean 'fog'?"),
        ("fog@three", "condition 'fog@three': write clean, or a corruption and severity: fog@3"),
        ("fog@³", "condition 'fog@³': write clean"),
        ("fog", "condition 'fog': write clean, or a corruption and severity: fog@3"),
        ("clean@1", "no corruption is called 'clean@1'|no corruption is called 'clean'"),
        ("", "no corruption is called ''"),
    ],
)
def test_what_names_no_condition_is_refused_with_what_would(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message.replace("?", r"\?")):
        parse_condition(text)


def test_the_key_of_a_cell_is_the_digest_that_the_spec_describes() -> None:
    text = f"{VERSION}\0car/2008_000033\0fog\x003"
    expected = hashlib.blake2b(text.encode(), digest_size=8).digest()
    assert draw_key("car/2008_000033", "fog", 3) == expected


def test_one_picture_has_one_key_however_its_name_is_composed() -> None:
    assert draw_key("café/1", "fog", 3) == draw_key("café/1", "fog", 3)


def test_no_two_cells_share_a_key() -> None:
    keys = {
        draw_key(picture, str(each.corruption), each.severity)
        for picture in ("car/a", "car/b")
        for each in CORRUPTED
    }
    assert len(keys) == 150


def test_every_corruption_is_in_one_group() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(CORRUPTION_NAMES)


def test_swapping_a_pair_exchanges_the_sides_and_their_truncation() -> None:
    swapped = PAIR.swapped()
    assert (swapped.source, swapped.target) == ("car/b", "car/a")
    assert swapped.target_box == PAIR.source_box
    assert swapped.source_size == PAIR.target_size
    np.testing.assert_array_equal(swapped.target_points, PAIR.source_points)
    assert swapped.variation == Variation(viewpoint=2, scale=1, truncation=2, occlusion=3)


def test_swapping_twice_gives_the_pair_back() -> None:
    twice = PAIR.swapped().swapped()
    for field in fields(Pair):
        assert np.array_equal(getattr(twice, field.name), getattr(PAIR, field.name))


def test_unknown_factors_stay_unknown_when_swapped() -> None:
    assert replace(PAIR, variation=Variation()).swapped().variation == Variation(-1, -1, -1, -1)


def test_a_lookup_returns_the_entry() -> None:
    assert lookup({"fog": 1, "snow": 2}, "snow", "corruption") == 2


def test_a_lookup_that_fails_names_the_nearest_entry() -> None:
    with pytest.raises(BadInput, match=r"no model is called 'cat'; did you mean 'cats'\?"):
        lookup({"hog": 1, "cats": 2}, "cat", "model")


def test_a_lookup_with_nothing_near_names_all_entries() -> None:
    with pytest.raises(BadInput, match="no model is called 'zzz'; choose from hog, cats"):
        lookup({"hog": 1, "cats": 2}, "zzz", "model")


def test_an_import_path_gives_the_object() -> None:
    assert import_object("spairc.types:BadInput", "model") is BadInput


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("spairc.types", "write package.module:Name"),
        ("spairc.types:", "write package.module:Name"),
        ("../x:Name", "write package.module:Name"),
        ("spairc.nowhere:Name", "no module called 'spairc.nowhere'; is its folder on PYTHONPATH"),
        ("nowhere.at_all:Name", "no module called 'nowhere'"),
        ("spairc.types:Nothing", "spairc.types has no 'Nothing'"),
    ],
)
def test_an_import_path_that_leads_nowhere_is_refused(path: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        import_object(path, "model")


def test_an_error_inside_an_imported_module_is_shown_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_matcher.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        import_object("broken_matcher:Matcher", "model")


@pytest.mark.parametrize("severity", [True, 3.0, 0, 6, -1, "3", None])
def test_a_severity_is_one_of_five_whole_numbers(severity: Any) -> None:
    with pytest.raises(BadInput, match="choose from 1, 2, 3, 4, 5"):
        check_severity(severity)
    check_severity(5)
