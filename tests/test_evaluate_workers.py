"""Workers, shards and kills change nothing: predictions and scores equal an undisturbed run's."""

import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spairc.cli import main
from spairc.datasets import load_dataset
from spairc.engine import Processes
from spairc.evaluate import begin, execute, merge, plan
from spairc.journal import read_journal
from spairc.runs import Run, open_run
from spairc.spec import parse_conditions
from spairc.types import BadInput
from spairc_models import load_model

CONDITIONS = (*parse_conditions("clean"), *parse_conditions("digital@3"))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a run that its claim of equality covers."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths if p.name != "log.jsonl"}


def run_in(root: Path, out: Path, shard: str | None = None, workers: int = 1) -> Run:
    """Run HOG on the tiny set."""
    planned = plan(load_model("hog"), load_dataset("spair71k", root), CONDITIONS)
    run = begin(planned, out)
    engine = Processes(workers) if workers > 1 else None
    execute(planned, run, engine=engine, load=partial(load_model, "hog"), shard=shard)
    return run


def spairc(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_two_worker_processes_give_the_files_of_one(tiny_root: Path, tmp_path: Path) -> None:
    run_in(tiny_root, tmp_path / "one")
    run_in(tiny_root, tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_shards_in_folders_of_their_own_merge_to_the_whole_run(
    tiny_root: Path, tmp_path: Path
) -> None:
    run_in(tiny_root, tmp_path / "whole")
    parts = [tmp_path / f"part{i}" for i in (1, 2, 3)]
    for i, part in enumerate(parts, start=1):
        run_in(tiny_root, part, shard=f"{i}/3")
        assert open_run(part).conditions == ()
    result = spairc("merge", *parts, "--out", tmp_path / "merged")
    assert result.exit_code == 0, result.output
    assert "6 of 76 conditions are complete" in result.output
    assert contents(tmp_path / "merged") == contents(tmp_path / "whole")
    assert read_journal(tmp_path / "merged").units == 2 * len(CONDITIONS)


def test_shards_in_one_folder_are_joined_by_merging_it_with_itself(
    tiny_root: Path, tmp_path: Path
) -> None:
    run_in(tiny_root, tmp_path / "whole")
    for i in (2, 1):
        run_in(tiny_root, tmp_path / "shared", shard=f"{i}/2")
    merge([open_run(tmp_path / "shared")], tmp_path / "shared")
    assert contents(tmp_path / "shared") == contents(tmp_path / "whole")


def test_runs_of_other_settings_are_not_merged(tiny_root: Path, tmp_path: Path) -> None:
    one = run_in(tiny_root, tmp_path / "one")
    planned = plan(load_model("sift"), load_dataset("spair71k", tiny_root), CONDITIONS)
    other = begin(planned, tmp_path / "other")
    with pytest.raises(BadInput, match="model was 'hog' and is now 'sift'"):
        merge([one, other], tmp_path / "merged")


def test_answers_that_differ_are_not_merged(tiny_root: Path, tmp_path: Path) -> None:
    one, other = (run_in(tiny_root, tmp_path / name) for name in ("one", "other"))
    name = "predictions/contrast@3.parquet"
    (other.folder / name).write_bytes((one.folder / "predictions/clean.parquet").read_bytes())
    with pytest.raises(BadInput, match="are answers to the same pairs, and differ"):
        merge([one, other], tmp_path / "merged")


def test_the_log_tells_how_long_the_matcher_waited_for_pictures(
    tiny_root: Path, tmp_path: Path
) -> None:
    run = run_in(tiny_root, tmp_path / "run")
    lines = (run.folder / "log.jsonl").read_text().splitlines()
    assert len(lines) == 2 * len(CONDITIONS)
    assert all('"waited": ' in line for line in lines)


def test_what_a_killed_process_left_half_written_is_swept_away(
    tiny_root: Path, tmp_path: Path
) -> None:
    run_in(tiny_root, tmp_path / "whole")
    run_in(tiny_root, tmp_path / "killed", shard="1/3")
    for name in ("units/contrast@3/.000.parquet.v41c.part", "predictions/.clean.parquet.x.part"):
        (tmp_path / "killed" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "killed" / name).write_bytes(b"half")
    run_in(tiny_root, tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_units_that_a_kill_left_beside_their_joined_file_are_removed(
    tiny_root: Path, tmp_path: Path
) -> None:
    run_in(tiny_root, tmp_path / "whole")
    run = run_in(tiny_root, tmp_path / "killed", shard="1/2")
    (left,) = [path for path in run.folder.rglob("units/clean/*") if path.name == "000.parquet"]
    content = left.read_bytes()
    run_in(tiny_root, tmp_path / "killed")
    left.parent.mkdir(parents=True)
    left.write_bytes(content)
    run_in(tiny_root, tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def eval_command(root: Path, out: Path, *options: str) -> list[str]:
    """A command line that evaluates HOG under all conditions, in a process of its own."""
    command = [sys.executable, "-c", "from spairc.cli import main; main()", "eval"]
    return [*command, "--model", "hog", "--root", str(root), "--out", str(out), *options]


def killed_and_resumed(root: Path, out: Path, kills: int, *options: str) -> None:
    """Start `spairc eval`, kill it at a random moment, again and again; then let it end."""
    command = eval_command(root, out, *options)
    moments = random.Random(7)  # noqa: S311 -- moments, no secrets
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        before = len(list(out.rglob("*.parquet"))) if out.exists() else 0
        while time.monotonic() < until and process.poll() is None:
            if len(list(out.rglob("*.parquet"))) > before + 1:
                break
            time.sleep(0.02)
        time.sleep(moments.random() / 2)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "options"),
    [(3, ()), (3, ("--workers", "2")), (20, ()), (20, ("--workers", "2"))],
)
def test_a_run_killed_at_random_moments_ends_as_an_undisturbed_one(
    tiny_root: Path, tmp_path: Path, kills: int, options: tuple[str, ...]
) -> None:
    killed_and_resumed(tiny_root, tmp_path / "killed", kills, *options)
    killed_and_resumed(tiny_root, tmp_path / "whole", 0)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=str)
def test_control_c_leaves_whole_units_and_says_how_to_go_on(
    tiny_root: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    out = tmp_path / "stopped"
    process = subprocess.Popen(
        eval_command(tiny_root, out, *options), stderr=subprocess.PIPE, start_new_session=True
    )
    until = time.monotonic() + 60
    while time.monotonic() < until and len(list(out.rglob("[!.]*.parquet"))) < 4:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: to all of them
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"stopped; the same command goes on from here" in errors
    assert b"Traceback" not in errors
    assert list(out.rglob("*.part")) == []
    assert len(open_run(out).conditions) < 76
    killed_and_resumed(tiny_root, out, 0, *options)
    killed_and_resumed(tiny_root, tmp_path / "whole", 0)
    assert contents(out) == contents(tmp_path / "whole")


def test_an_interrupt_is_told_and_ends_with_code_1(
    tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spairc.evaluate.execute", interrupt)
    result = spairc("eval", "--model", "hog", "--root", tiny_root, "--out", tmp_path / "run")
    assert result.exit_code == 1
    assert "stopped; the same command goes on from here" in result.stderr
