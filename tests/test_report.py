"""Tables say what runs say, in every format, and compare like with like only."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from spairc.datasets import load_dataset
from spairc.datasets.dataset import Dataset
from spairc.evaluate import predict
from spairc.metrics import PCK
from spairc.protocols import PROTOCOLS
from spairc.published import OFFICIAL_TEST_PAIRS, TABLE_4
from spairc.report import summary as summaries
from spairc.report.summary import Summary, headline, severity_table, summarise, table_4
from spairc.report.tables import FORMATS, Table, as_csv, as_latex, as_markdown, as_text
from spairc.report.write import write_tables
from spairc.runs import Run
from spairc.spec import CONDITIONS, CORRUPTION_NAMES
from spairc.types import CLEAN, BadInput, Condition, Image, Points, Query

TABLE = Table("a title\nsecond line", ("", "a", "b"), (("x_1", 12.345, None), ("y|2", 7.0, 1e-9)))


def summary(scores: dict[Condition, float], baseline: dict[Condition, float] | None) -> Summary:
    """A summary of invented scores."""
    name = None if baseline is None else "CATs, published"
    return Summary("mine", PCK("square"), "paper", "some pairs", scores, name, baseline)


MATCHME = TABLE_4["MatchMe-CATs"].scores()
CATS = TABLE_4["CATs"].scores()


@dataclass
class Still:
    """A matcher that says that nothing moved, but for a step."""

    name: str = "still"
    step: float = 0.0

    def encode(self, images: Sequence[Image]) -> list[None]:
        """Return nothing: it does not look."""
        return [None for _ in images]

    def match(self, queries: Sequence[Query]) -> list[Points]:
        """Return the given points, moved by the step."""
        return [query.points + self.step for query in queries]


@pytest.fixture
def dataset(tiny_root: Path) -> Dataset:
    """Eight pairs over five pictures in two categories."""
    return load_dataset("spair71k", tiny_root)


@pytest.fixture
def run(dataset: Dataset, tmp_path: Path) -> Run:
    """A run of two conditions."""
    return predict(Still(), dataset, [CLEAN, Condition("fog", 3)], out=tmp_path / "run")


def test_the_terminal_table_aligns_its_columns() -> None:
    assert as_text(TABLE).splitlines() == [
        "a title",
        "second line",
        "",
        "        a    b",
        "--------------",
        "x_1  12.3    -",
        "y|2   7.0  0.0",
    ]


def test_markdown_escapes_what_would_end_a_cell() -> None:
    assert "| y\\|2 | 7.0 | 0.0 |" in as_markdown(TABLE)


def test_latex_escapes_names_and_names_the_metric_in_a_comment() -> None:
    text = as_latex(TABLE)
    assert text.startswith("% a title second line\n")
    assert r"x\_1 & 12.3 & - \\" in text


def test_csv_keeps_full_precision() -> None:
    rows = list(csv.reader(io.StringIO(as_csv(TABLE))))
    assert rows == [["", "a", "b"], ["x_1", "12.345", ""], ["y|2", "7.0", "1e-09"]]


@pytest.mark.parametrize("name", ["<img src=x>", "a|b", "50% & more", "_x_", "line\nbreak"])
def test_no_name_breaks_a_table(name: str) -> None:
    table = Table(name, ("", name), ((name, 1.0),))
    assert as_markdown(table).count("\n") == 5
    assert as_latex(table).count(r"\\") == 2
    assert len(list(csv.reader(io.StringIO(as_csv(table))))) == 2


def test_the_papers_own_scores_give_the_papers_own_errors() -> None:
    table = severity_table(summary(MATCHME, CATS))
    assert table.header[-2:] == ("CE", "rel. CE")
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == list(CORRUPTION_NAMES)
    assert rows["gaussian_noise"][5:] == pytest.approx((36.78, 95.38, 100.25), abs=0.005)


def test_the_headline_tells_the_papers_mce() -> None:
    assert headline(summary(MATCHME, CATS)) == [
        "clean PCK 53.0",
        "mPC 40.9",
        "rPC 77.2 %",
        "mCE 93.4 against CATs, published",
        "relative mCE 94.5 against CATs, published",
    ]


def test_the_headline_says_over_how_many_corruptions_a_relative_error_is_defined() -> None:
    flat = CATS | {Condition("brightness", severity): CATS[CLEAN] for severity in range(1, 6)}
    assert headline(summary(MATCHME, flat))[-1].endswith("(over the 14 corruptions that hurt it)")


def test_without_a_baseline_there_is_no_mce_and_the_headline_says_how_to_get_one() -> None:
    assert headline(summary(MATCHME, None))[-1] == "mCE needs a baseline: --baseline RUN"
    assert severity_table(summary(MATCHME, None)).header[-1] == "average"


def test_a_run_of_some_conditions_has_no_averages_over_what_is_missing() -> None:
    some = {each: MATCHME[each] for each in CONDITIONS if str(each) != "fog@2"}
    rows = {row[0]: row[1:] for row in severity_table(summary(some, CATS)).rows}
    assert rows["fog"] == (49.3, None, 44.9, 43.5, 36.2, None)
    assert headline(summary(some, CATS))[-1] == "1 of 76 conditions are missing: no mPC, no mCE"


def test_table_4_has_the_papers_layout_and_figures() -> None:
    both = [summary(CATS, None), replace(summary(MATCHME, None), model="MatchMe-CATs")]
    table = table_4(both)
    assert len(table.rows) == 12
    assert table.rows[0][:3] == ("1", "mine", 45.0)
    assert table.rows[3][:2] == ("2", "MatchMe-CATs")
    assert table.rows[-2][-1] == pytest.approx(36.7, abs=0.05)
    assert table.rows[-1][-1] == pytest.approx(40.9, abs=0.05)


def test_runs_of_different_pairs_do_not_stand_in_one_table() -> None:
    with pytest.raises(BadInput, match="were not run on the same pairs and pictures"):
        table_4([summary(CATS, None), replace(summary(CATS, None), dataset="others")])


def test_a_summary_of_a_run_names_protocol_and_dataset(run: Run) -> None:
    table = severity_table(summarise(run, PROTOCOLS["original"], 0.05, None))
    assert "PCK@0.05 (box, per image, original), protocol original" in table.title
    assert "spair71k test: 8 pairs, both pictures corrupted, spair-c/" in table.title
    assert [row[0] for row in table.rows] == ["fog"]


def test_a_protocol_of_the_other_direction_is_refused(run: Run) -> None:
    with pytest.raises(BadInput, match=r"needs answers asked reversed; .* was asked forward"):
        summarise(run, PROTOCOLS["pf-pascal-paper"], 0.1, None)


def test_a_baseline_that_was_asked_something_else_is_refused(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    for changes, name in (({"side": "target"}, "side"), ({"dataset": dataset[:4]}, "pair_list")):
        arguments = {"matcher": Still(), "dataset": dataset, "conditions": [CLEAN]} | changes
        other = predict(out=tmp_path / name, **arguments)  # type: ignore[arg-type]  # looped over
        with pytest.raises(BadInput, match=f"is no baseline for this run: {name} is"):
            summarise(run, PROTOCOLS["paper"], 0.1, other)


def test_a_baseline_that_is_not_complete_is_refused(run: Run) -> None:
    with pytest.raises(BadInput, match="is no baseline yet: 74 of its 76 conditions are missing"):
        summarise(run, PROTOCOLS["paper"], 0.1, run)


def test_the_published_baseline_is_refused_for_anything_but_its_own_pairs(run: Run) -> None:
    with pytest.raises(BadInput, match="this run has 8 pairs: give --baseline RUN"):
        summarise(run, PROTOCOLS["paper"], 0.1, "published")


@pytest.mark.parametrize(
    ("protocol", "alpha", "message"),
    [
        ("original", 0.1, r"this run has PCK@0.1 \(box, per image, original\)"),
        ("paper", 0.05, r"this run has PCK@0.05 \(box, per image, square\)"),
    ],
)
def test_the_published_baseline_is_refused_for_another_metric(
    run: Run, monkeypatch: pytest.MonkeyPatch, protocol: str, alpha: float, message: str
) -> None:
    monkeypatch.setattr(summaries, "is_official_test_list", lambda _: True)
    with pytest.raises(BadInput, match=message):
        summarise(run, PROTOCOLS[protocol], alpha, "published")


def test_the_published_baseline_is_used_where_everything_agrees(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summaries, "is_official_test_list", lambda _: True)
    assert summarise(run, PROTOCOLS["paper"], 0.1, "published").baseline == CATS
    assert sum(OFFICIAL_TEST_PAIRS.values()) == 12_234


def test_the_tables_are_written_in_three_formats(run: Run, tmp_path: Path) -> None:
    found = summarise(run, PROTOCOLS["paper"], 0.1, None)
    written = write_tables([found], tmp_path / "tables")
    assert [path.name for path in written] == ["table4.md", "table4.tex", "table4.csv"]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "tables" / "table4.csv").read_text())))
    fog = {row["Severity"]: row["Fog"] for row in rows}
    assert float(fog["3"]) == found.scores[Condition("fog", 3)]
    assert fog["2"] == ""


def test_every_format_shows_nan_as_no_value() -> None:
    table = Table("t", ("", "a"), (("x", math.nan),))
    for name in ("txt", "md", "tex"):
        assert "nan" not in FORMATS[name](table)


def test_scores_do_not_depend_on_the_matchers_float_type(dataset: Dataset, tmp_path: Path) -> None:
    run = predict(Still(step=1 / 3), dataset, [CLEAN], out=tmp_path / "a")
    found = run.answers(CLEAN).found
    np.testing.assert_array_equal(found, found.astype(np.float32))
