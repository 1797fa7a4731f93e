"""log.jsonl tells what units took, and survives kills and joins."""

import json
from pathlib import Path

import pytest

from spairc.journal import Journal, copy_log, read_journal


def line(category: str, **changes: object) -> str:
    """What the log holds of a unit."""
    known = {"condition": "fog@3", "category": category, "pairs": 3, "seconds": 4.0, "waited": 1.0}
    return json.dumps(known | {"encoded": 5, "changed": {}, "joules": 3600.0} | changes) + "\n"


def test_the_share_of_waiting_and_the_energy_are_told(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(line("car") + line("duck", seconds=6.0, waited=0.5))
    assert read_journal(tmp_path) == Journal(2, 10.0, 1.5, 7200.0, 0)
    assert str(read_journal(tmp_path)) == (
        "2 units in 10.0 s of work; the matcher waited 15 % of it for pictures; energy: 2.0 Wh"
    )


def test_energy_that_one_unit_lacks_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(line("car") + line("duck", joules=None))
    assert str(read_journal(tmp_path)).endswith("energy: not readable")


@pytest.mark.parametrize("damage", ["", '{"condition": "fo', "[1]\n", '{"condition": "fog@3"}\n'])
def test_a_line_that_a_kill_cut_short_is_passed_over(tmp_path: Path, damage: str) -> None:
    (tmp_path / "log.jsonl").write_text(line("car") + damage)
    assert read_journal(tmp_path).units == 1


def test_a_unit_that_was_done_twice_counts_once(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(line("car", changed={"pairs": 4}) + line("car"))
    assert read_journal(tmp_path) == Journal(1, 4.0, 1.0, 3600.0, 0)


def test_a_run_without_a_log_took_nothing(tmp_path: Path) -> None:
    assert read_journal(tmp_path) == Journal(0, 0.0, 0.0, None, 0)
    assert "0 units in 0.0 s" in str(read_journal(tmp_path))


def test_a_log_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    known = {"condition": "clean", "category": "a", "pairs": 3, "seconds": 4.0, "waited": 1.0}
    (tmp_path / "log.jsonl").write_text(json.dumps(known) + "\n")
    assert read_journal(tmp_path) == Journal(1, 4.0, 1.0, None, 0)


def test_logs_are_joined_with_their_runs(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.jsonl").write_text(line(name).rstrip("\n"))
    (tmp_path / "whole").mkdir()
    for name in ("one", "two"):
        copy_log(tmp_path / name, tmp_path / "whole")
    copy_log(tmp_path / "whole", tmp_path / "whole")
    assert read_journal(tmp_path / "whole").units == 2
    assert (tmp_path / "whole" / "log.jsonl").read_text().count("\n") == 2


def test_what_a_reader_must_know_is_a_line() -> None:
    note = Journal(9, 1.0, 0.0, None, 2).note
    assert note is not None
    assert note.startswith("memory was short in 2 of 9 units")
