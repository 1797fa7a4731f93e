"""The schema: what an entry may say, and how strictly it is read."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from spairc.spec import CONDITIONS
from spairc.types import BadInput
from spairc_leaderboard.entry import (
    UNCHECKED,
    Entry,
    Estimate,
    Recomputed,
    Status,
    rounded,
)
from spairc_leaderboard.repository import open_leaderboard, read_entry, read_status
from spairc_leaderboard.strict import build, dump_json, parse_json
from spairc_leaderboard.wording import check_address, check_line, identity, is_identity

STORED = Path(__file__).with_name("leaderboard_entry_1.json")  # kept for ever


@pytest.fixture
def entry() -> Entry:
    return read_entry(STORED)


def test_an_entry_is_written_and_read_back_the_same(entry: Entry) -> None:
    assert build(Entry, parse_json(dump_json(entry), "entry.json"), "entry.json") == entry


def test_an_entry_has_its_76_values_by_both_protocols(entry: Entry) -> None:
    names = [str(condition) for condition in CONDITIONS]
    assert [each.protocol for each in entry.scores] == ["paper", "original"]
    assert all(list(each.values) == names for each in entry.scores)
    assert list(entry.predictions.cells) == names


def test_the_folder_is_named_by_the_model_and_the_answers(staged: Path) -> None:
    entry = read_entry(staged / "entry.json")
    assert staged.name == entry.id == f"shift-e-b-{entry.content[:12]}"


def test_what_is_no_model_name_at_all_still_has_a_folder() -> None:
    assert identity("模型", "a" * 64) == "model-aaaaaaaaaaaa"
    assert identity("../../etc", "b" * 64) == "etc-bbbbbbbbbbbb"
    assert is_identity(identity("x" * 500, "c" * 64))


@pytest.mark.parametrize("name", ["", "..", "a-0123456789a", "A-0123456789ab", "a/b-0123456789ab"])
def test_what_is_no_folder_of_an_entry_is_told_apart(name: str) -> None:
    assert not is_identity(name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 61,
        "two\nlines",
        "\x1b[31mred",
        "a\u202eb",
        "zero\u200bwidth",
        "\ud800",
        " space",
        "e\u0301",
        "z\u0316\u0317\u0318\u0319",
    ],
)
def test_a_name_is_one_line_that_can_be_seen(text: str) -> None:
    with pytest.raises(BadInput, match="name"):
        check_line("name", text, 60)


@pytest.mark.parametrize("text", ["<img src=x onerror=alert(1)>", "模型 é", "=1+1", "a' OR 1=1"])
def test_any_visible_name_is_allowed_because_it_is_only_shown(text: str) -> None:
    check_line("name", text, 60)


@pytest.mark.parametrize(
    "text",
    [
        "http://example.org",
        "javascript:alert(1)",
        "https://",
        'https://a"onclick="b',
        "https://user:secret@example.org",
        "https://[x",
        "https://exämple.org",
    ],
)
def test_an_address_is_plain_https(text: str) -> None:
    with pytest.raises(BadInput, match="https"):
        check_address("url", text)


def test_a_score_has_no_more_digits_than_are_compared() -> None:
    assert rounded(100 / 3) == 33.333333
    with pytest.raises(BadInput, match="6 decimals"):
        Estimate(33.3333333, None, None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "no valid JSON"),
        (b"\xff", "no valid JSON"),
        (b'{"a": NaN}', "no valid JSON"),
        (b'{"a": 1e999}', "no valid JSON"),
        (b'{"a": 1, "a": 2}', "no valid JSON"),
        (b"[" * 100_000, "no valid JSON"),
        (b"1" * 5_000, "no valid JSON"),
    ],
)
def test_json_is_strict(data: bytes, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        parse_json(data, "entry.json")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema",), 2, "schema is 2"),
        (("schema",), True, "of type int"),
        (("surprise",), 1, "surprise.* is unknown"),
        (("benchmark", "side"), "left", "choose from both"),
        (("benchmark", "pairs"), 0, "cannot be"),
        (("benchmark", "pairs"), 2.5, "of type int"),
        (("model", "name"), None, "of type str"),
        (("model", "public_weights"), 1, "of type bool"),
        (("model", "training_data"), ["x"] * 11, "at most 10"),
        (("evaluation", "settings", "a"), [1], "of type"),
        (("evaluation", "settings", "a"), 2**60, "too large"),
        (("scores", 0, "protocol"), "mine", "no protocol"),
        (("scores", 0, "metric"), "PCK@1e-e (box, per image, square)", "not paper's"),
        (("scores", 1, "protocol"), "paper", "metric is"),
        (("scores", 0, "baseline"), "../../x", "baseline"),
        (("scores", 0, "values", "clean"), 101, "between 0 and 100"),
        (("scores", 0, "values", "clean"), "50", "a number"),
        (("scores", 0, "values", "fog@6"), 50, "nothing is called 'fog@6'"),
        (("scores",), [], "at least one"),
        (("predictions", "cells", "clean"), "00", "64 hexadecimal"),
        (("predictions", "files", "../x"), {"bytes": 1, "sha256": "0" * 64}, "nothing is called"),
        (("replaces",), "../../x", "folder name"),
        (("date",), "2026-13-01", "year-month-day"),
    ],
)
def test_a_false_field_is_refused_and_named(
    entry: Entry, path: tuple[str | int, ...], value: object, message: str
) -> None:
    given = json.loads(dump_json(entry))
    place = given
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    with pytest.raises(BadInput, match=message):
        build(Entry, given, "entry.json")


def test_a_missing_field_is_named(entry: Entry) -> None:
    given = json.loads(dump_json(entry))
    del given["model"]["licence"]
    with pytest.raises(BadInput, match="model: 'licence' is missing"):
        build(Entry, given, "entry.json")


def test_a_condition_is_missing_and_named(entry: Entry) -> None:
    scores = entry.scores[0]
    values = {name: value for name, value in scores.values.items() if name != "snow@2"}
    with pytest.raises(BadInput, match="snow@2"):
        replace(scores, values=values)


def test_two_benchmarks_never_have_one_identity(entry: Entry) -> None:
    other = replace(entry.benchmark, side="source")
    assert other.id != entry.benchmark.id
    assert entry.benchmark.id == replace(entry.benchmark).id


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "entry.json").write_bytes(b" " * 300_000)
    with pytest.raises(BadInput, match="300000 bytes"):
        read_entry(tmp_path / "entry.json")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "entry.json").symlink_to(STORED)
    with pytest.raises(BadInput, match="no plain file"):
        read_entry(tmp_path / "entry.json")


def test_an_unchecked_entry_has_no_mark(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    assert read_status(file) == UNCHECKED
    status = Status(1, Recomputed("0.1.0", "2026-11-20", ("odd",)), reproduced=None)
    file.write_bytes(dump_json(status))
    assert read_status(file) == status


def test_an_entry_in_a_foreign_folder_is_refused(staged: Path) -> None:
    staged.rename(staged.with_name("other-0123456789ab"))
    with pytest.raises(BadInput, match="rename its folder"):
        open_leaderboard(staged.parents[1])


def test_a_changed_benchmark_is_noticed_by_its_name(staged: Path) -> None:
    file = next((staged.parents[1] / "benchmarks").iterdir())
    file.write_text(file.read_text().replace('"both"', '"source"'))
    with pytest.raises(BadInput, match="it was changed"):
        open_leaderboard(staged.parents[1])


def test_an_entry_of_schema_1_can_be_read_for_ever() -> None:
    entry = read_entry(STORED)
    assert entry.id == f"shift-e-b-{entry.content[:12]}"
    assert dump_json(entry) == STORED.read_bytes()
    assert entry.model.training_data == ("VOC",)
