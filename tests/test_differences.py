"""What a report says of certainty: intervals behind numbers, and which differences are real."""

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from spairc.cli import main
from spairc.protocols import PROTOCOLS
from spairc.published import TABLE_4
from spairc.report.differences import certainty, difference_table, interval_table, told_at_once
from spairc.report.summary import headline, summarise
from spairc.runs import Run, write_points
from spairc.spec import CONDITIONS
from spairc.statistics import Interval
from spairc.types import CLEAN

PAPER = PROTOCOLS["paper"]

MakeRun = Callable[..., Run]


def test_a_report_says_which_differences_are_real_and_who_is_better(make_run: MakeRun) -> None:
    good, bad = (
        make_run(name, conditions=CONDITIONS, seed=seed) for name, seed in (("a", 1), ("b", 2))
    )
    summaries = [summarise(run, PAPER, 0.1, bad) for run in (good, bad)]
    certain = certainty([good, bad], summaries, bad, 200)
    table_of_all = difference_table(certain)
    assert {"clean PCK", "mCE", "weather", "fog"} <= {row[0] for row in table_of_all.rows}
    rows: dict[Any, Any] = {
        row[0]: row[1:] for row in difference_table(certain, told_at_once(certain)).rows
    }
    assert set(rows) == {"clean PCK", "mPC", "rPC", "mCE", "relative mCE"}
    metric = PAPER.metric()
    expected = good.scores(metric)[CLEAN] - bad.scores(metric)[CLEAN]
    assert rows["clean PCK"][:3] == pytest.approx(("a", "b", expected))
    for _, _, estimate, low, high, real, better in rows.values():
        assert real == ("yes" if low > 0 or high < 0 else "no")
        assert (better is None) == (real == "no")
        assert low <= estimate <= high
    first = interval_table(certain).rows[0]
    assert first[:2] == ("clean PCK", "a")


def test_a_lower_error_is_better_and_a_higher_score(make_run: MakeRun) -> None:
    good = make_run("good", conditions=CONDITIONS)
    bad = make_run("bad", conditions=CONDITIONS)
    for condition in CONDITIONS:
        far = good.pairs.target_points + (3.0 if condition == CLEAN else 400.0)
        write_points(bad.predictions(condition), good.pairs, far)
    baseline = TABLE_4["CATs"].scores()
    summaries = [summarise(run, PAPER, 0.1, None) for run in (good, bad)]
    certain = certainty([good, bad], summaries, baseline, 100)
    rows = {row[0]: row for row in difference_table(certain, ["mPC", "mCE"]).rows}
    assert rows["mPC"][6:] == ("yes", "good")
    assert float(rows["mPC"][3] or 0) > 0 > float(rows["mCE"][3] or 0)
    assert rows["mCE"][6:] == ("yes", "good")


def test_two_runs_of_one_model_are_told_apart_by_their_folders(make_run: MakeRun) -> None:
    runs = [make_run("one", model="m"), make_run("two", model="m", seed=1)]
    summaries = [summarise(run, PAPER, 0.1, None) for run in runs]
    assert certainty(runs, summaries, None, 50).labels == ("m (one)", "m (two)")


def test_the_headline_shows_the_interval_behind_its_number(make_run: MakeRun) -> None:
    summary = summarise(make_run(), PAPER, 0.1, None)
    lines = headline(summary, {"clean PCK": Interval(50, 48.16, 51)})
    assert lines[0] == f"clean PCK {summary.scores[CLEAN]:.1f} [48.2, 51.0]"
    assert headline(summary)[0] == f"clean PCK {summary.scores[CLEAN]:.1f}"


def test_report_prints_intervals_and_differences(make_run: MakeRun) -> None:
    runs = [make_run("one"), make_run("two", seed=1)]
    arguments = ["report", *(str(run.folder) for run in runs), "--resamples", "100"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "100 resamples of the pictures in each category" in result.output
    assert "quantity   first  second  difference" in result.output
    written = {path.name for path in (runs[0].folder / "report").iterdir()}
    assert {"differences.csv", "intervals.md", "categories.tex", "gap.csv"} <= written
    result = CliRunner().invoke(main, [*arguments[:-1], "0"])
    assert "resamples" not in result.output


def test_report_goes_on_without_intervals_where_there_are_too_few_pictures(
    make_run: MakeRun,
) -> None:
    pairs = make_run("all").pairs
    run = make_run("few", pairs=pairs[:1])
    result = CliRunner().invoke(main, ["report", str(run.folder)])
    assert result.exit_code == 0, result.output
    assert "no intervals: " in result.stderr
    assert "clean PCK" in result.stdout
