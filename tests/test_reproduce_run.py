"""`spairc reproduce` from end to end, with a table of tiny networks on tiny pictures."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tiny_training import TINY_NETWORK

import spairc.cli.train as command
from spairc.cli import main
from spairc.reproduce.tables import TABLES, Plan, Quantity, Row, Training

NETWORK = (
    *TINY_NETWORK,
    "optimiser.batch_size=2",
    "supervised.epochs=1",
)
STUDENT = (
    "matchme.epochs=1",
    "matchme.generations=2",
    "matchme.strengths=[0.5,1]",
    "matchme.warp_strengths=[0.5,1]",
    "matchme.batch_size=2",
    "matchme.threshold=0.05",
)
ANY = Quantity(name="PCK@0.1", published=50.0, tolerance=50.0)  # whatever comes out is inside


def table(tolerance: float = 50.0) -> Plan:
    return Plan(
        "A table of tests",
        {
            "teacher": Row("Teacher", (replace(ANY, tolerance=tolerance),)),
            "student": Row("Student", (ANY, replace(ANY, name="PCK@0.05", alpha=0.05))),
        },
        {
            "teacher": Training(recipe="supervised-cats", changes=NETWORK),
            "student": Training(
                recipe="matchme-cats", changes=(*NETWORK, *STUDENT), annotator="teacher"
            ),
        },
        lambda _: True,
    )


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Callable[[Plan], None]:
    """What makes a table known as "tiny"."""
    return lambda plan: monkeypatch.setitem(TABLES, "tiny", plan)


@pytest.fixture
def data(training_root: Path, unlabelled: Path, tmp_path: Path) -> Path:
    """A folder of datasets as a person has it."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "SPair-71k").symlink_to(training_root)
    (folder / "VOC2012").symlink_to(unlabelled)
    return folder


def run(data: Path, out: Path, *more: object, name: str = "tiny") -> Result:
    typed = ["reproduce", name, "--data", data, "--out", out, "--device", "cpu", *more]
    return CliRunner().invoke(main, [str(each) for each in typed])


def commands(result: Result) -> list[str]:
    """The commands that were run, by their first words."""
    lines = [line for line in result.output.splitlines() if line.startswith("$ ")]
    return [" ".join(line.split()[2:4]) for line in lines]


def test_a_dry_run_tells_commands_and_times_and_runs_nothing(
    tiny: Callable[[Plan], None], data: Path, tmp_path: Path
) -> None:
    tiny(table())
    result = run(data, tmp_path / "out", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "Times are those of a CPU with" in result.output
    assert f"--unlabelled {data}/VOC2012 --from-checkpoint {tmp_path}/out/train/t" in result.output
    assert "generation-1 2 steps" in result.output
    assert "nothing was run" in result.output
    assert not (tmp_path / "out").exists()


def test_a_table_is_trained_evaluated_and_judged_and_then_done(
    tiny: Callable[[Plan], None], data: Path, tmp_path: Path
) -> None:
    tiny(table())
    out = tmp_path / "out"
    result = run(data, out)
    assert result.exit_code == 0, result.output
    train, evaluate = "train supervised-cats", "eval --model"
    assert commands(result) == [train, evaluate, "train matchme-cats", evaluate]
    assert "tiny: reproduced: all 3 numbers are inside their tolerance" in result.output
    written = (out / "reproduce" / "tiny.csv").read_text().splitlines()
    assert written[0] == "row,as printed,number,printed,ours,difference,tolerance,inside"
    assert [line.split(",")[0] for line in written[1:]] == ["teacher", "student", "student"]
    assert all(line.endswith(",yes") for line in written[1:])
    assert "tolerances are chosen" in (out / "reproduce" / "tiny.md").read_text()
    again = run(data, out)
    assert again.exit_code == 0
    assert commands(again) == []
    assert "  done" in run(data, out, "--dry-run").output


def test_only_the_rows_that_were_asked_for_decide_and_the_others_are_not_run(
    tiny: Callable[[Plan], None], data: Path, tmp_path: Path
) -> None:
    tiny(table(tolerance=0.0))
    result = run(data, tmp_path / "out", "--only", "teacher")
    assert result.exit_code == 1
    assert "tiny (teacher): not reproduced: of 1 numbers 1 outside" in result.output
    written = (tmp_path / "out" / "reproduce" / "tiny.csv").read_text().splitlines()
    assert [line.rpartition(",")[2] for line in written[1:]] == ["no", "not run", "not run"]
    tiny(table())
    result = run(data, tmp_path / "out", "--only", "teacher")
    assert result.exit_code == 0
    assert commands(result) == []


class Killed(BaseException):
    """Stands for a power cut."""


@pytest.mark.parametrize(
    ("row", "kills", "left"),
    [
        ("teacher", (2,), ["train supervised-cats", "eval --model"]),
        pytest.param(  # in the teacher's epoch, and in the student's last generation
            "student", (2, 9), ["train matchme-cats", "eval --model"], marks=pytest.mark.slow
        ),
    ],
)
def test_a_table_that_was_killed_goes_on_with_the_same_command(
    row: str,
    kills: tuple[int, ...],
    left: list[str],
    tiny: Callable[[Plan], None],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny(table())
    watcher, seen = command._watcher, 0

    def fragile(*given: object) -> Callable[[object], None]:
        watch = watcher(*given)  # type: ignore[arg-type]  # as it was called

        def told(progress: object) -> None:
            nonlocal seen
            seen += 1
            watch(progress)  # type: ignore[arg-type]  # as it was told
            if seen in kills:
                raise Killed

        return told

    monkeypatch.setattr(command, "_watcher", fragile)
    for _ in kills:
        with pytest.raises(Killed):
            run(data, tmp_path / "out", "--only", row)
    result = run(data, tmp_path / "out", "--only", row)
    assert result.exit_code == 0, result.output
    assert commands(result) == left
    assert seen == kills[-1] + 3  # two steps and a validation: what was done is not done again
    monkeypatch.setattr(command, "_watcher", watcher)
    run(data, tmp_path / "whole", "--only", row)
    results = [
        (tmp_path / name / "reproduce" / "tiny.csv").read_text() for name in ("out", "whole")
    ]
    assert results[0] == results[1]


def with_missing_recipe() -> Plan:
    plan = table()
    return replace(
        plan,
        trainings={**plan.trainings, "student": Training(recipe="matchme-dogs")},
    )


def test_a_row_that_cannot_be_run_is_told_in_a_line_and_the_others_are_run(
    tiny: Callable[[Plan], None], data: Path, tmp_path: Path
) -> None:
    tiny(with_missing_recipe())
    result = run(data, tmp_path / "out")
    assert result.exit_code == 1
    first = result.output.splitlines()[0]
    assert first.startswith("row student cannot be run: no recipe is called 'matchme-dogs'")
    assert commands(result) == ["train supervised-cats", "eval --model"]
    assert "of 3 numbers 1 inside the tolerance, 2 not run" in result.output


def test_a_training_of_another_recipe_under_the_rows_name_is_refused(
    tiny: Callable[[Plan], None], data: Path, tmp_path: Path
) -> None:
    tiny(table())
    assert run(data, tmp_path / "out", "--only", "teacher").exit_code == 0
    (tmp_path / "out" / "teacher").rename(tmp_path / "elsewhere")
    plan = table()
    other = Training(recipe="supervised-cats", changes=(*NETWORK, "supervised.noise.crop=0"))
    tiny(replace(plan, trainings={**plan.trainings, "teacher": other}))
    result = run(data, tmp_path / "out", "--only", "teacher")
    assert result.exit_code == 2
    assert "holds another recipe than supervised-cats as this table takes it" in result.output


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("table7", (), "no table is called 'table7'; did you mean"),
        ("tiny", ("--only", "teachers"), "no row is called 'teachers'; did you mean 'teacher'?"),
        ("tiny", ("--only", "student"), "row student cannot be run: no recipe is called"),
        ("tiny", ("--data", "nowhere"), "--data nowhere is no folder"),
        ("tiny", ("--device", "tpu"), "device 'tpu': choose from cpu"),
        ("tiny", ("--precision", "half", "--dry-run"), "no precision is called 'half'"),
        ("tiny", ("--parts", "0", "--dry-run"), "--parts must be at least 1"),
    ],
)
def test_wrong_input_is_one_line_and_nothing_is_written(
    name: str,
    more: tuple[str, ...],
    message: str,
    tiny: Callable[[Plan], None],
    data: Path,
    tmp_path: Path,
) -> None:
    tiny(with_missing_recipe())
    result = run(data, tmp_path / "out", *more, name=name)
    assert result.exit_code == 2
    assert message in result.output.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("missing", ["SPair-71k", "VOC2012"])
def test_data_that_are_missing_are_told_before_any_work(
    missing: str, tiny: Callable[[Plan], None], data: Path, tmp_path: Path
) -> None:
    tiny(table())
    (data / missing).unlink()
    result = run(data, tmp_path / "out", "--only", "student")
    assert result.exit_code == 2
    assert len(result.output.strip().splitlines()) == 1
    assert "row student cannot be run:" in result.output
    assert missing in result.output
    assert not (tmp_path / "out").exists()
