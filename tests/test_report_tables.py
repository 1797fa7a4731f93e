"""Tables in the paper's layouts: marks, captions, published rows, and LaTeX that compiles."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from spairc.cli import main
from spairc.protocols import PROTOCOLS
from spairc.published import TABLE_4, TABLE_5, TABLE_B
from spairc.report import layouts
from spairc.report.details import Detail, details_of
from spairc.report.layouts import table_1, table_4_averages, table_5, table_b
from spairc.report.printed import TABLE_1
from spairc.report.several import datasets_table
from spairc.report.tables import Cell, Table, as_latex, as_markdown, as_text, ranked
from spairc.runs import Run
from spairc.spec import CONDITIONS
from spairc.types import CLEAN, BadInput, Condition

PAPER = PROTOCOLS["paper"]
HOSTILE = [
    "50% & #1",
    "a_b^c~d",
    r"\input{x}",
    "{",
    "}}",
    "[1ex]",
    "*",
    '"`$x$',
    "<b>|",
    "two\nlines",
]
MakeRun = Callable[..., Run]


def of(*rows: tuple[Cell, ...], header: Sequence[str] = ("Model", "a", "b")) -> Table:
    return Table("first line\nsecond line", tuple(header), rows)


def details(make_run: MakeRun, **changes: object) -> list[Detail]:
    """Two complete runs."""
    runs = [make_run(n, seed=i, conditions=CONDITIONS, **changes) for i, n in enumerate("xy")]
    return details_of(runs, PAPER, 0.1, runs[0])


def test_the_best_of_a_column_is_bold_and_the_second_underlined() -> None:
    table = ranked(of(("x", 3.0, 1.0), ("y", 2.0, None), ("z", 1.0, 9.0)))
    assert [line.split(" | ")[1:] for line in as_markdown(table).splitlines()[4:]] == [
        ["**3.0**", "<ins>1.0</ins> |"],
        ["<ins>2.0</ins>", "- |"],
        ["1.0", "**9.0** |"],
    ]
    assert r"x & \textbf{3.0} & \underline{1.0} \\" in as_latex(table)
    assert "*" not in as_text(table)


def test_numbers_that_are_shown_alike_share_a_mark() -> None:
    table = ranked(of(("w", 3.04), ("x", 2.96), ("y", 1.0), ("z", 1.04), header=("Model", "a")))
    assert [table.marks.get((row, 1)) for row in range(4)] == ["best", "best", "second", "second"]


def test_where_lower_is_better_the_lowest_is_the_best() -> None:
    table = ranked(of(("x", 3.0, 3.0), ("y", 2.0, 2.0)), lower=["b"])
    assert table.marks == {(0, 1): "best", (1, 1): "second", (1, 2): "best", (0, 2): "second"}


def test_only_rows_of_a_block_are_compared() -> None:
    rows = [("1", "x", 9.0), ("1", "y", 8.0), ("2", "x", 1.0), ("2", "y", 2.0)]
    table = ranked(of(*rows, header=("Severity", "Model", "a")), first=2, blocks=True)
    found = [table.marks[row, 2] for row in range(4)]
    assert found == ["best", "second", "second", "best"]


def test_one_row_has_no_best() -> None:
    assert ranked(of(("x", 3.0, None))).marks == {}


@pytest.mark.parametrize("name", HOSTILE)
def test_latex_is_balanced_and_as_wide_in_every_row_whatever_the_name(name: str) -> None:
    text = as_latex(ranked(replace(of((name, 1.0, 2.0), ("y", 1.5, 1.0)), title=name)))
    code = re.sub(r"(?m)^%.*$", "", text)
    plain = re.sub(r"\\[{}%&#$_\\]", "", code)
    assert plain.count("{") == plain.count("}")
    depth = np.cumsum([{"{": 1, "}": -1}.get(each, 0) for each in plain])
    assert depth.min() == 0
    rows = [line for line in code.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 3
    assert {re.sub(r"\\&", "", row).count("&") for row in rows} == {2}
    assert not any(row.startswith(("[", "*")) for row in rows)
    assert not re.search(r"(?<!\\)[#$%~^]|(?<!\\)_", re.sub(r"\\text\w+\{\}", "", code))
    assert code.count(r"\begin{") == code.count(r"\end{") == 2
    assert "input" not in re.findall(r"\\([a-z]+)", code)


def test_latex_and_markdown_print_the_title_as_a_caption() -> None:
    table = of(("x", 1.0, 2.0))
    assert r"\caption{first line; second line}" in as_latex(table)
    assert as_markdown(table).startswith("first line; second line\n")


def test_a_wide_latex_table_spans_both_columns() -> None:
    assert r"\begin{table*}" in as_latex(of(tuple("x" * 9), header=tuple("x" * 9)))
    assert r"\begin{table}" in as_latex(of(("x", 1.0, 2.0)))


def test_the_layouts_show_clean_scores_by_category_factor_and_tolerance(make_run: MakeRun) -> None:
    both = details(make_run)
    for place, each in enumerate(both):
        tables = {"1": table_1(both), "5": table_5(both), "B": table_b(both)}
        rows = {name: table.rows[place] for name, table in tables.items() if table is not None}
        headers = {name: table.header for name, table in tables.items() if table is not None}
        cat = each.scores(("category", "cat"))[CLEAN]
        assert rows["1"][headers["1"].index("cat")] == cat
        hard = each.scores(("scale", "hard"))[CLEAN]
        assert rows["5"][headers["5"].index("scale hard")] == hard
        assert rows["B"][headers["B"].index("0.03")] == each.scores(alpha=0.03)[CLEAN]
        assert rows["1"][1] == rows["5"][-1] == rows["B"][-1] == each.summary.scores[CLEAN]


def test_the_averages_of_table_4_stand_between_clean_and_mce(make_run: MakeRun) -> None:
    table = table_4_averages(details(make_run))
    assert table is not None
    assert table.header[:2] == ("Model", "Clean")
    assert table.header[-2:] == ("Average", "mCE")
    assert table.rows[0][-1] == pytest.approx(100)
    assert "mCE against x, lower is better" in table.title
    second = table.rows[1][-1]
    assert isinstance(second, float)
    assert table.marks[int(second < 100), len(table.header) - 1] == "best"


def test_a_run_without_corruptions_has_no_averages(make_run: MakeRun) -> None:
    assert table_4_averages(details_of([make_run(conditions=[CLEAN])], PAPER, 0.1, None)) is None
    fog = details_of([make_run("fog", conditions=[Condition("fog", 3)])], PAPER, 0.1, None)
    assert table_1(fog) is table_5(fog) is table_b(fog) is None


@pytest.fixture
def official(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> list[Detail]:
    """Two runs that pass for runs on SPair-71k's test pairs."""
    monkeypatch.setattr(layouts, "is_official_test_list", lambda _: True)
    return details(make_run, dataset="spair71k")


def test_published_rows_stand_below_runs_that_were_counted_likewise(
    official: list[Detail],
) -> None:
    for make, known in (
        (table_4_averages, TABLE_4),
        (table_5, [name for name in TABLE_5 if name not in ("HPF", "NC-Net")]),
        (table_b, TABLE_B),
    ):
        table = make(official)
        assert table is not None
        assert [row[0] for row in table.rows[2:]] == [f"{name} (published)" for name in known]
        assert "published: as the paper prints it" in table.title


def test_published_factors_are_exchanged_back_for_the_cats_family(official: list[Detail]) -> None:
    table = table_5(official)
    assert table is not None
    rows = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert rows["CATs (published)"]["truncation target"] == 42.0  # printed under "source"
    assert rows["CATs (published)"]["truncation source"] == 49.4
    assert "HPF (published)" not in rows  # counted in original pixels
    assert "source and target of truncation and occlusion exchanged; here they are" in table.title


def test_published_rows_have_as_many_cells_as_the_categories_of_spair() -> None:
    assert {len(row) for row in TABLE_1.values()} == {19}


@pytest.mark.parametrize(
    ("change", "tables"),
    [({"dataset": "pf-willow"}, "145B"), ({"split": "val"}, "145B"), ({"side": "source"}, "4")],
)
def test_published_rows_do_not_stand_beside_other_lists_or_sides(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], tables: str
) -> None:
    monkeypatch.setattr(layouts, "is_official_test_list", lambda _: True)
    both = details(make_run, **({"dataset": "spair71k"} | change))
    made = {"4": table_4_averages, "5": table_5, "B": table_b}
    for name in set(tables) & set(made):
        table = made[name](both)
        assert table is not None
        assert len(table.rows) == 2


@pytest.mark.parametrize(("protocol", "alpha"), [("original", 0.1), ("paper", 0.05)])
def test_published_rows_do_not_stand_beside_another_metric(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, protocol: str, alpha: float
) -> None:
    monkeypatch.setattr(layouts, "is_official_test_list", lambda _: True)
    run = make_run(dataset="spair71k")
    table = table_b(details_of([run], PROTOCOLS[protocol], alpha, None))
    assert table is not None
    assert len(table.rows) == 1


def on(make_run: MakeRun, dataset: str, pairs: int, model: str = "m", **changes: object) -> Run:
    """A run on clean pictures of what passes for a list of so many pairs."""
    name = f"{dataset}-{model}"
    given = {"dataset": dataset, "pairs": make_run("all").pairs, "model": model} | changes
    return replace_pairs(make_run(name, conditions=[CLEAN], **given), pairs)


def replace_pairs(run: Run, pairs: int) -> Run:
    """The run, its record telling another number of pairs."""
    return Run(run.folder, replace(run.settings, pairs=pairs))


def test_runs_on_several_datasets_stand_side_by_side(make_run: MakeRun) -> None:
    willow = on(make_run, "pf-willow", 900)
    pascal = on(make_run, "pf-pascal", 299, direction="reversed")
    table = datasets_table([willow, pascal, on(make_run, "pf-willow", 900, "n", seed=1)])
    assert table.header[1:4] == ("pf-pascal @0.05", "pf-pascal @0.1", "pf-pascal @0.15")
    rows = {row[0]: row[1:] for row in table.rows}
    expected = [
        PROTOCOLS[name].metric(alpha)(run.answers(CLEAN))
        for name, run in (("pf-pascal-paper", pascal), ("pf-willow-padded", willow))
        for alpha in (0.05, 0.1, 0.15)
    ]
    assert rows["m"] == pytest.approx(expected)
    assert rows["n"][:3] == (None, None, None)
    assert rows["CATs (published)"] == (75.4, 92.6, 96.4, 50.3, 79.2, 90.3)
    assert "pf-willow test: 900 pairs, PCK (padded, per image, square), protocol" in table.title


def test_published_numbers_stand_only_in_columns_of_their_own_list(make_run: MakeRun) -> None:
    runs = [on(make_run, "pf-willow", 900), on(make_run, "pf-pascal", 30)]
    rows = {row[0]: row[1:] for row in datasets_table(runs).rows}
    assert rows["CATs (published)"] == (None, None, None, 50.3, 79.2, 90.3)
    assert "MMNet (published)" not in rows


def test_runs_on_several_datasets_are_refused_where_they_do_not_fit(make_run: MakeRun) -> None:
    willow = on(make_run, "pf-willow", 900)
    with pytest.raises(BadInput, match="is a second run of m on pf-willow"):
        datasets_table([willow, willow])
    with pytest.raises(BadInput, match="which no paper does; run it forward"):
        datasets_table([on(make_run, "pf-willow", 900, "r", direction="reversed")])
    with pytest.raises(BadInput, match="no dataset is called 'invented'"):
        datasets_table([willow, make_run("other")])


def test_report_of_several_datasets_writes_table_2(make_run: MakeRun) -> None:
    folders = [str(on(make_run, name, 9).folder) for name in ("pf-willow", "spair71k")]
    result = CliRunner().invoke(main, ["report", *folders])
    assert result.exit_code == 0, result.output
    assert "protocol pf-willow-padded" in result.output
    assert result.output.endswith("wrote 3 files to " + f"{folders[0]}/report: table2\n")
    result = CliRunner().invoke(main, ["report", *folders, "--baseline", folders[0]])
    assert result.exit_code == 2
    assert "the runs are on several datasets" in result.output
