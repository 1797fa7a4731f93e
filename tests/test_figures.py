"""Figures show the tables' numbers, in print, in grey, to everybody; names stay names."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

from spairc.cli import main
from spairc.protocols import PROTOCOLS
from spairc.report.details import details_of
from spairc.report.figures import FIGURES, as_pdf, as_png, as_svg, draw, gather, save
from spairc.report.figures.cells import difference, heat
from spairc.report.figures.material import Material
from spairc.report.figures.style import COLOURS, Plate, drawable, fitted, look, new_figure
from spairc.report.layouts import table_4_averages, table_b
from spairc.report.summary import severity_table
from spairc.runs import Run
from spairc.spec import CONDITIONS, CORRUPTION_NAMES
from spairc.types import CLEAN, BadInput, Condition

PAPER = PROTOCOLS["paper"]
LONG = (
    "a_very_long_name_of_a_model$with_$dollars_and_{braces}_and_many_more_words_than_fit_on_a_page"
)
MakeRun = Callable[..., Run]


# Made and drawn once: it takes seconds, and nothing changes them.
_MADE: list[Material] = []
_DRAWN: dict[str, Plate] = {}


@pytest.fixture
def whole(make_run: MakeRun) -> Material:
    """Two complete runs with intervals."""
    if not _MADE:
        runs = [make_run(name, seed=seed, conditions=CONDITIONS) for seed, name in enumerate("ab")]
        _MADE.append(gather(runs, PAPER, resamples=20))
    return _MADE[0]


@pytest.fixture
def plates(whole: Material) -> dict[str, Plate]:
    """All their figures."""
    if not _DRAWN:
        _DRAWN.update(draw(whole))
    return _DRAWN


def called(material: Material, names: Sequence[str]) -> Material:
    """The first run so many times, under these names."""
    first, certain = material.details[0], material.certain
    assert certain is not None
    details = [replace(first, summary=replace(first.summary, model=name)) for name in names]
    scores = certain.resampled.scores[:1] * len(names)
    more = replace(certain, resampled=replace(certain.resampled, scores=scores))
    return replace(material, labels=tuple(names), details=tuple(details), certain=more)


def shown(name: str, material: Material) -> Figure:
    """One of the figures."""
    with look():
        plate = FIGURES[name](material)
    assert plate is not None
    return plate.figure


def words(figure: Figure) -> list[Text]:
    """Every text that is shown; not the labels of ticks beyond the ends of an axis."""
    with look():
        figure.draw_without_rendering()
    beyond = set()
    for panel in figure.axes:
        for axis in (panel.xaxis, panel.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [each for each in axis.get_major_ticks() if not low <= each.get_loc() <= high]
            beyond |= {text for each in ticks for text in (each.label1, each.label2)}
    every = [each for each in figure.findobj(Text) if each not in beyond]
    return [each for each in every if each.get_visible() and each.get_text()]


def lines(figure: Figure, panel: int) -> list[NDArray[np.float64]]:
    """What the curves of a panel show."""
    every = [np.asarray(each.get_ydata(), dtype=float) for each in figure.axes[panel].lines]
    return [each for each in every if len(each) > 2]  # others divide groups


def test_the_curves_show_the_numbers_of_the_table(whole: Material) -> None:
    figure = shown("severities", whole)
    for run, each in enumerate(whole.details):
        for panel, row in enumerate(severity_table(each.summary).rows):
            assert lines(figure, panel)[run].tolist() == pytest.approx(
                [each.summary.scores[CLEAN], *row[1:6]]
            )


def test_models_side_by_side_show_the_averages_of_the_table(whole: Material) -> None:
    table = table_4_averages(whole.details)
    assert table is not None
    figure = shown("corruptions", whole)
    for run, row in enumerate(table.rows):
        assert lines(figure, 0)[run].tolist() == pytest.approx(row[1:])


def test_the_tolerances_show_the_numbers_of_table_b(whole: Material) -> None:
    table = table_b(whole.details)
    assert table is not None
    figure = shown("alphas", whole)
    for run, row in enumerate(table.rows):
        assert lines(figure, 0)[run].tolist() == pytest.approx(row[1:])


def test_the_cells_show_the_numbers_of_the_table(whole: Material, plates: dict[str, Plate]) -> None:
    tables = [severity_table(each.summary) for each in whole.details]
    cells = [np.array([row[1:6] for row in table.rows], dtype=float) for table in tables]
    for name, expected in (("heat-2", cells[1]), ("difference-2-1", cells[1] - cells[0])):
        [mesh] = plates[name].figure.axes[0].collections
        assert np.ravel(np.asarray(mesh.get_array())).tolist() == pytest.approx(
            expected.ravel().tolist()
        )
        texts = [
            each.get_text().replace("\N{MINUS SIGN}", "-")
            for each in plates[name].figure.axes[0].texts
        ]
        assert [float(each) for each in texts] == pytest.approx(expected.ravel().tolist(), abs=0.05)


def test_a_difference_is_bold_where_its_interval_excludes_zero(
    whole: Material, plates: dict[str, Plate]
) -> None:
    texts = plates["difference-2-1"].figure.axes[0].texts
    bold = {number for number, each in enumerate(texts) if each.get_fontweight() == "bold"}
    expected = set()
    for number, condition in enumerate(CONDITIONS[1:]):
        interval = whole.interval(1, [condition], less=0)
        if interval is not None and interval.excludes_zero:
            expected.add(number)
    assert bold == expected
    assert 0 < len(bold) < 75


@pytest.mark.parametrize(
    "names",
    [
        ["m"],
        pytest.param([LONG, "n"], marks=pytest.mark.slow),
        [f"{LONG}{i}" if i % 3 else f"m{i}" for i in range(8)],
    ],
)
def test_no_text_leaves_a_figure_or_lies_on_another(whole: Material, names: list[str]) -> None:
    material, last = called(whole, names), len(names) - 1
    with look():
        plates = {name: make(material) for name, make in FIGURES.items()}
        plates |= {"heat": heat(material, last), "difference": difference(material, last, 0)}
    for name, plate in plates.items():
        assert plate is not None
        figure = plate.figure
        texts = words(figure)
        canvas = figure.bbox.padded(1)
        boxes = [(each, each.get_window_extent()) for each in texts]
        for text, box in boxes:
            assert canvas.containsx(box.x0), f"{name}: {text.get_text()}"
            assert canvas.containsx(box.x1), f"{name}: {text.get_text()}"
            assert canvas.containsy(box.y0), f"{name}: {text.get_text()}"
            assert canvas.containsy(box.y1), f"{name}: {text.get_text()}"
            assert float(text.get_fontsize()) >= 7
        straight = [(text, box) for text, box in boxes if text.get_rotation() in (0, 90)]
        for (one, first), (other, second) in combinations(straight, 2):
            apart = first.padded(-1).overlaps(second.padded(-1))
            assert not apart, f"{name}: {one.get_text()} and {other.get_text()}"


def test_figures_are_as_wide_as_one_or_two_columns_of_print(plates: dict[str, Plate]) -> None:
    widths = {name: plate.figure.get_figwidth() for name, plate in plates.items()}
    assert set(widths.values()) == {3.5, 7.0}
    assert widths["heat-1"] == 3.5


def simulated(colours: Sequence[str]) -> NDArray[np.float64]:
    """Colours as readers without green cones see them (Machado et al. 2009), in CIELAB."""
    from skimage.color import rgb2lab

    matrix = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
    numbers = [[int(each[i : i + 2], 16) / 255 for i in (1, 3, 5)] for each in colours]
    linear = np.array(numbers) ** 2.2 @ np.array(matrix).T
    return np.asarray(rgb2lab(linear.clip(0, 1) ** (1 / 2.2)))


def test_no_two_colours_look_alike_to_readers_without_green() -> None:
    seen = simulated(COLOURS)
    for first, second in combinations(range(len(COLOURS)), 2):
        apart = float(np.linalg.norm(seen[first] - seen[second]))
        assert apart > 12, f"{COLOURS[first]} and {COLOURS[second]}"


def test_the_same_runs_give_the_same_bytes_whatever_the_users_settings(whole: Material) -> None:
    figures = [shown("alphas", whole)]
    with mpl.rc_context({"font.size": 20, "svg.hashsalt": "x", "savefig.dpi": 20}):
        figures.append(shown("alphas", whole))
        for written in (as_svg, as_pdf, as_png):
            first, second = (written(each) for each in figures)
            assert first == second
        assert mpl.rcParams["font.size"] == 20
    assert b"dc:date" not in as_svg(figures[0])


@pytest.mark.parametrize("name", ["$x$", "_hidden", r"\frac{1}{0$", "<img src=x>", "50% & #1"])
def test_a_name_is_shown_as_it_is(whole: Material, name: str) -> None:
    figure = shown("corruptions", called(whole, [name, "other"]))
    [text] = [each for each in words(figure) if each.get_text() == name]
    assert not text.get_parse_math()
    assert b"<img" not in as_svg(figure)


def test_letters_that_the_font_lacks_become_question_marks() -> None:
    assert drawable("a\n模型\u202eb") == "a ???b"


def test_names_that_are_cut_stay_apart() -> None:
    names = fitted(new_figure(3.5, 2), [f"{LONG}x{'y' * i}z{LONG}" for i in range(3)], 2.0)
    assert len(set(names)) == 3
    assert all("…" in each for each in names)
    assert names[0].endswith("a_page")


def test_a_run_of_few_conditions_has_the_figures_that_it_can_have(make_run: MakeRun) -> None:
    fog = [Condition("fog", severity) for severity in (1, 3)]
    plates = draw(gather([make_run("one", conditions=[CLEAN, *fog])], PAPER, resamples=0))
    assert list(plates) == ["severities", "corruptions", "alphas", "heat-1"]
    [curve] = lines(plates["severities"].figure, 0)
    assert np.isnan(curve).tolist() == [False, False, True, False]  # severity 2 was not run
    assert "mean over severities 1, 3" in plates["corruptions"].caption
    clean = draw(gather([make_run("two", conditions=[CLEAN])], PAPER, resamples=0))
    assert list(clean) == ["alphas"]


def test_only_conditions_that_all_runs_have_are_drawn(make_run: MakeRun) -> None:
    runs = [make_run("one"), make_run("two", conditions=[CLEAN, Condition("fog", 3)])]
    figure = draw(gather(runs, PAPER, resamples=20))["severities"].figure
    assert [panel.get_title() for panel in figure.axes] == ["fog"]


def test_every_caption_tells_protocol_and_pairs(plates: dict[str, Plate]) -> None:
    for plate in plates.values():
        assert "(box, per image, square), protocol paper; invented test: " in plate.caption


@pytest.mark.parametrize("setting", ["pair_list", "pictures", "side"])
def test_runs_that_do_not_compare_are_refused(make_run: MakeRun, setting: str) -> None:
    one = make_run("one")
    changes: dict[str, dict[str, object]] = {
        "pair_list": {"pairs": one.pairs[:9]},
        "pictures": {"pictures": "others"},
        "side": {"side": "target"},
    }
    other = make_run("two", **changes[setting])
    with pytest.raises(BadInput, match=f"do not compare: {setting} is"):
        gather([one, other], PAPER)


def test_runs_without_a_common_condition_are_refused(make_run: MakeRun) -> None:
    runs = [make_run("one", conditions=[CLEAN]), make_run("two", conditions=[Condition("fog", 1)])]
    with pytest.raises(BadInput, match="no condition in common"):
        gather(runs, PAPER, resamples=0)


def test_two_runs_of_one_model_in_folders_of_one_name_are_told_apart(make_run: MakeRun) -> None:
    runs = [make_run("one/run", model="m"), make_run("two/run", model="m")]
    labels = [each.summary.model for each in details_of(runs, PAPER, 0.1, None)]
    assert labels == [f"m ({run.folder})" for run in runs]


def test_saving_writes_three_formats(whole: Material, tmp_path: Path) -> None:
    written = save(shown("alphas", whole), tmp_path / "deep", "cells")
    starts = {path.name: path.read_bytes()[:5] for path in written}
    assert starts == {"cells.pdf": b"%PDF-", "cells.svg": b"<?xml", "cells.png": b"\x89PNG\r"}


def test_report_draws_and_says_what_match_pictures_need(make_run: MakeRun, tmp_path: Path) -> None:
    run, out = make_run(), tmp_path / "figures"
    arguments = ["report", str(run.folder), "--resamples", "0"]
    result = CliRunner().invoke(main, [*arguments, "--figures", str(out)])
    assert result.exit_code == 0, result.output
    assert "give the dataset's folder: --root FOLDER" in result.stderr
    assert (out / "severities.svg").exists()
    assert (out / "captions.md").read_text().startswith("* **severities** - PCK against severity")
    result = CliRunner().invoke(main, [*arguments, "--root", str(tmp_path)])
    assert result.exit_code == 2
    assert "--root and --corrupted are for pictures" in result.output


def test_the_groups_of_all_corruptions_have_colours() -> None:
    from spairc.report.figures.style import GROUP_COLOUR

    assert list(GROUP_COLOUR) == list(CORRUPTION_NAMES)
