"""The command line as programs use it: --quiet, --json, shell completion."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from spairc.cli import main
from spairc.cli.common import byte_bars, progress
from spairc.metrics import mce
from spairc.protocols import PROTOCOLS
from spairc.report.summary import errors, summarise
from spairc.runs import Run
from spairc.statistics import CLEAN_PCK

PCK = PROTOCOLS["paper"].metric()


def spairc(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def evaluation(root: Path, out: Path, *more: str) -> Result:
    return spairc("eval", "--model", "hog", "--root", root, "--on", "clean", "--out", out, *more)


def test_a_quiet_evaluation_prints_its_table_and_no_remarks(
    tiny_root: Path, tmp_path: Path
) -> None:
    quiet, loud = (
        evaluation(tiny_root, tmp_path / name, *more)
        for name, more in (("quiet", ["--quiet"]), ("loud", []))
    )
    assert "to do: " in loud.stderr
    assert "to do: " not in quiet.stderr
    table = loud.stdout.split("clean PCK")[0]
    assert quiet.stdout.startswith(table)


def test_a_quiet_command_still_tells_its_errors(tmp_path: Path) -> None:
    result = evaluation(tmp_path / "nowhere", tmp_path / "run", "--quiet")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")


@pytest.mark.parametrize(("arguments", "shown"), [([], True), (["--quiet"], False)])
def test_bars_are_shown_unless_it_is_quiet(
    arguments: list[str], shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    from spairc.cli.common import QUIET

    @click.command()
    @QUIET
    def slow() -> None:
        with byte_bars() as tell:
            tell("fetch", 500, 1000)
            tell("fetch", 1000, 1000)
        with progress(3, "unit") as advance:
            advance(3)

    slow.main(arguments, standalone_mode=False)
    assert ("fetch: 100%" in capsys.readouterr().err) == shown


def test_every_command_that_shows_a_bar_can_be_quiet() -> None:
    quiet = {name for name, each in main.commands.items() if "--quiet" in options_of(each)}
    assert quiet == {
        *("build", "compare", "corrupt", "demo", "download", "eval", "train", "verify"),
    }


def options_of(command: click.Command) -> set[str]:
    return {option for each in command.params for option in each.opts}


def test_the_json_of_an_evaluation_holds_what_the_run_scored(
    tiny_root: Path, tmp_path: Path
) -> None:
    result = evaluation(tiny_root, tmp_path / "run", "--json", "--on", "fog@3")
    (told,) = json.loads(result.stdout)
    assert list(told["scores"]) == ["clean", "fog@3"]
    assert told["clean PCK"] == told["scores"]["clean"]
    assert told["run"] == str(tmp_path / "run")
    assert told["mCE"] is None


def test_the_json_of_a_report_has_mce_and_intervals_of_each_run(ranked_run: Run) -> None:
    result = spairc("report", ranked_run.folder, "--baseline", ranked_run.folder, "--json")
    (told,) = json.loads(result.stdout)
    summary = summarise(ranked_run, PROTOCOLS["paper"], 0.1, ranked_run)
    assert told["scores"] == pytest.approx(
        {str(each): score for each, score in summary.scores.items()}
    )
    assert told["mCE"] == mce(errors(summary.scores), errors(summary.scores)) == 100
    assert told["metric"] == str(PCK)
    low, high = told["intervals"][CLEAN_PCK]
    assert low <= told[CLEAN_PCK] <= high


def test_a_number_that_is_not_defined_is_null(make_run: Callable[..., Run]) -> None:
    from spairc.report.record import as_record
    from spairc.statistics import Interval

    run = make_run()
    summary = summarise(run, PROTOCOLS["paper"], 0.1, None)
    told: dict[str, Any] = as_record(summary, run.folder, {"mPC": Interval(2.0, float("nan"), 3.0)})
    assert told["intervals"] == {"mPC": [None, 3.0]}
    json.dumps(told, allow_nan=False)


@pytest.mark.parametrize("more", [["--html", "page.html"], ["--out", "tables"]])
def test_json_beside_what_writes_files_is_refused(ranked_run: Run, more: list[str]) -> None:
    result = spairc("report", ranked_run.folder, "--json", *more)
    assert result.exit_code == 2
    assert not Path(more[1]).exists()
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "offered"),
    [("spairc ev", "eval"), ("spairc leaderboard ch", "check"), ("spairc list mo", "models")],
)
def test_the_shell_completes_commands(words: str, offered: str) -> None:
    environment = {
        **os.environ,
        "_SPAIRC_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    code = "from spairc.cli import main; main(prog_name='spairc')"
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert offered in [line.partition(",")[2] for line in run.stdout.splitlines()]


def every_command() -> list[tuple[str, ...]]:
    """The words of every command, those of groups included."""
    found: list[tuple[str, ...]] = []
    for name, command in main.commands.items():
        inner = command.commands if isinstance(command, click.Group) else {}
        found += [(name, each) for each in inner] or [(name,)]
    return found


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_the_help_of_every_command_fits_a_terminal_and_has_an_example(
    words: tuple[str, ...],
) -> None:
    text = spairc(*words, "--help").output
    assert max(map(len, text.splitlines())) <= 80
    assert f"Example: spairc {' '.join(words)}" in text
