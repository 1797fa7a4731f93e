"""`spairc doctor` tells what is there, and what to do about what is not."""

import importlib.metadata
import json
import shutil
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from spairc import doctor
from spairc.cli import main
from spairc.doctor import Finding, examine
from spairc.files import cache_folder


def named(found: list[Finding]) -> dict[str, Finding]:
    return {each.what: each for each in found}


def without(monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    """Let a package be as if it were not installed."""

    def version(name: str) -> str:
        if name == lacking:
            raise PackageNotFoundError(name)
        return importlib.metadata.version(name)

    monkeypatch.setattr(doctor, "version", version)


def test_every_extra_for_users_is_told_of() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    extras = set(tomllib.loads(text)["project"]["optional-dependencies"])
    assert {f"extra {name}" for name in extras - {"test"}} <= named(examine()).keys()


def test_a_machine_that_runs_these_tests_has_all_that_is_needed() -> None:
    found = named(examine())
    assert found["packages"].state == "ok"
    assert "spairc" in found["packages"].told
    assert "wrong" not in {each.state for each in found.values()}


def test_a_missing_package_is_named_and_the_exit_code_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without(monkeypatch, "pyarrow")
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1
    line = next(line for line in result.output.splitlines() if line.startswith("BAD"))
    assert line.split() == ["BAD", "packages", "no", "pyarrow"]


def test_a_package_that_is_too_old_is_named_with_what_is_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "version", lambda name: "1.0" if name == "pillow" else "99")
    assert named(examine())["packages"].told == "pillow 1.0, not >=11"


def test_a_missing_extra_is_no_fault_and_the_command_that_installs_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without(monkeypatch, "timm")
    told = named(examine())["extra timm"]
    assert (told.state, told.told) == ("absent", "no timm")
    assert "pip install 'spairc[timm]'" in told.advice


def test_a_dataset_is_counted_split_by_split_and_what_lacks_is_told(tiny_root: Path) -> None:
    found = named(examine(tiny_root))
    assert found["spair71k test"].state == "ok"
    assert " pairs in " in found["spair71k test"].told
    nowhere = named(examine(tiny_root / "nowhere"))["spair71k test"]
    assert nowhere.state == "absent"
    assert "nowhere" in nowhere.told


@pytest.mark.parametrize("damage", ["{", '{"checkpoint": "/gone.safetensors"}'])
def test_a_damaged_entry_of_a_trained_model_is_a_fault(
    damage: str,
) -> None:
    entries = cache_folder() / "trained"
    entries.mkdir(parents=True)
    (entries / "matchme-cats.json").write_text(damage)
    assert named(examine())["trained matchme-cats"].state == "wrong"


def test_a_cache_below_a_file_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPAIRC_CACHE", str(tmp_path / "file" / "cache"))
    told = named(examine())["cache"]
    assert told.state == "wrong"
    assert "SPAIRC_CACHE" in told.advice


def test_little_room_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    little = SimpleNamespace(free=4_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: little)
    told = named(examine())["disk"]
    assert told.state == "absent"
    assert told.told.startswith("4 GB free")


def test_the_json_says_what_examine_found() -> None:
    result = CliRunner().invoke(main, ["doctor", "--json"])
    assert result.exit_code == 0
    told = json.loads(result.output)
    assert [each["what"] for each in told] == [each.what for each in examine()]
    assert {tuple(each) for each in told} == {("what", "state", "told", "advice")}
    assert str(cache_folder()) in named([Finding(**each) for each in told])["cache"].told


def test_another_kind_of_dataset_than_there_is_gets_one_line() -> None:
    result = CliRunner().invoke(main, ["doctor", "--dataset", "spair"])
    assert result.exit_code == 2
    assert result.output == "Error: no dataset is called 'spair'; did you mean 'spair71k'?\n"
