"""The report's page tells what the tables tell, lets one choose, and no name breaks it."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from spairc.cli import main
from spairc.datasets import load_dataset
from spairc.evaluate import predict
from spairc.protocols import PROTOCOLS
from spairc.report.details import details_of
from spairc.report.differences import certainty
from spairc.report.page.data import report_of
from spairc.report.page.grid import tint_of
from spairc.report.page.sections import headline_section
from spairc.report.page.toolkit import Html, document, embedded, name_of, tag
from spairc.report.page.write import report_page, write_page
from spairc.report.tables import shown
from spairc.runs import Run
from spairc.scoring import Scored, score
from spairc.spec import CONDITIONS, parse_conditions
from spairc.types import CLEAN, Condition, Image, Points, Query

NASTY = ("<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", "<!--<script>")
SOME = (*parse_conditions("clean"), *parse_conditions("fog"), *parse_conditions("snow"))


class Drifting:
    """A matcher that says that nothing moved, but for more and more the darker the picture is."""

    name = "drifting"

    def encode(self, images: Sequence[Image]) -> list[float]:
        """Return how bright each picture is."""
        return [float(image.mean()) for image in images]

    def match(self, queries: Sequence[Query]) -> list[Points]:
        """Return the given points, moved by the brightness."""
        return [query.points + 0.02 * query.target for query in queries]


def test_text_is_escaped_and_markup_is_not() -> None:
    inner = tag("b", "a < b & 'c'")
    assert tag("p", inner, "<i>") == "<p><b>a &lt; b &amp; &#x27;c&#x27;</b>&lt;i&gt;</p>"


def test_attributes_are_escaped_and_false_ones_left_out() -> None:
    made = tag("a", class_="x", title='"><script>', hidden=True, href=None, data_n=3, open=False)
    assert made == '<a class="x" title="&quot;&gt;&lt;script&gt;" hidden data-n="3"></a>'
    assert tag("input", aria_label="a") == '<input aria-label="a">'


def test_a_name_is_kept_to_itself_and_breaks_where_its_parts_meet() -> None:
    assert name_of("a_b<c") == "<bdi>a_<wbr>b&lt;c</bdi>"


@pytest.mark.parametrize("text", [*NASTY, "]]>", "\u2028", "a & b"])
def test_embedded_data_is_read_back_and_cannot_end_its_element(text: str) -> None:
    made = embedded("data", {"name": text})
    inner = made.removeprefix('<script type="application/json" id="data">').removesuffix(
        "</script>"
    )
    assert not set(inner) & set("<>&\u2028")
    assert json.loads(inner) == {"name": text}


def test_embedded_data_refuses_what_is_no_json() -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        embedded("data", [float("nan")])


def test_the_policy_allows_the_documents_own_style_and_script_alone() -> None:
    made = document("t", [Html("<p>x</p>")], styles=["p{}"], scripts=["run()"])
    policy = html.unescape(re.findall(r'content="(default[^"]*)"', made)[0])
    for kind, name in (("style", "style"), ("script", "script")):
        text = re.findall(rf"<{name}[^>]*>(.*?)</{name}>", made, flags=re.DOTALL)[0]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("value", "step"), [(10.0, 1), (20.0, 10), (15.0, 6), (None, 0), (float("nan"), 0)]
)
def test_tints_go_from_the_lowest_to_the_highest(value: float | None, step: int) -> None:
    assert tint_of(value, 10.0, 20.0) == step
    assert tint_of(value, 10.0, 10.0) == 0


@pytest.fixture(scope="module")
def runs(make_run_in: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """A whole run, one of some conditions, and two with names that are markup."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        make_run_in(folder, "whole", seed=3, conditions=CONDITIONS),
        make_run_in(folder, "some", seed=4, conditions=SOME),
        make_run_in(folder, "nasty-1", model=NASTY[0], seed=5),
        make_run_in(folder, "nasty-2", model=NASTY[1], seed=6),
    ]


@pytest.fixture(scope="module")
def report(runs: list[Run], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their page, without pictures."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(path, details_of(runs, PROTOCOLS["paper"], 0.1, None), None, None)
    return path


def cells(page: Any, row: int) -> list[str]:
    """The texts of a row of the main table."""
    found: list[str] = (
        page.locator("#scores tbody tr").nth(row).locator("th, td").all_text_contents()
    )
    return found


def models(page: Any) -> list[str]:
    """The models of the main table, from top to bottom."""
    found: list[str] = page.locator("#scores tbody th").all_text_contents()
    return found


def sort(page: Any, label: str) -> None:
    """Press the button of a column of the main table."""
    page.locator("#scores").get_by_role("button", name=label, exact=True).click()


def scored(run: Run, protocol: str, alpha: float = 0.1) -> Scored:
    """The run's scores by one protocol."""
    return score(run, [PROTOCOLS[protocol]], [alpha])


def test_a_script_shows_the_same_table_as_there_is_without_one(
    report: Path, visit: Callable[..., Any]
) -> None:
    with_script, without = (
        visit(report, java_script_enabled=enabled).locator("#scores") for enabled in (True, False)
    )
    assert with_script.locator("caption").inner_html() == without.locator("caption").inner_html()
    bodies = [each.locator("tbody").inner_html() for each in (with_script, without)]
    # One is sorted by all digits that there are, the other by six.
    alike = [re.sub(r'( data-value="\d+\.\d{2})\d*', r"\1", each) for each in bodies]
    assert alike[0] == alike[1]
    words, plain = (each.locator("thead th").all_text_contents() for each in (with_script, without))
    assert words == plain


def test_every_choice_shows_the_scores_that_were_computed(
    report: Path, runs: list[Run], visit: Callable[..., Any]
) -> None:
    page = visit(report)
    page.get_by_label("Corruption", exact=True).select_option("fog")
    page.get_by_label("Category", exact=True).select_option("cat")
    page.get_by_label("Tolerance alpha", exact=True).select_option("0.05")
    page.get_by_label("Protocol", exact=True).select_option("dift")
    found = scored(runs[1], "dift", 0.05).of("dift", 0.05, ("category", "cat"))
    fog = [found[Condition("fog", severity)] for severity in range(1, 6)]
    expected = [found[CLEAN], *fog, float(np.mean(fog))]
    assert cells(page, 1) == ["some", *map(shown, expected)]
    caption = page.locator("#scores caption").text_content()
    assert "PCK@0.05 (box, per point, original), protocol dift; category cat, 20 pairs" in caption
    told = page.locator("#scores td").first.get_attribute("title")
    assert told == "clean pictures; PCK@0.05 (box, per point, original), protocol dift"


def test_one_severity_shows_that_severity_and_a_missing_condition_shows_nothing(
    report: Path, runs: list[Run], visit: Callable[..., Any]
) -> None:
    page = visit(report)
    page.get_by_label("Severity", exact=True).select_option("severity 4")
    page.get_by_label("Corruption", exact=True).select_option("weather")
    found = scored(runs[1], "paper").of("paper", 0.1)
    clean, snow, fog = (found[Condition(*each)] for each in ((), ("snow", 4), ("fog", 4)))
    assert cells(page, 1) == ["some", shown(clean), shown(snow), "-", shown(fog), "-", "-"]


def test_columns_sort_both_ways_with_missing_last_and_keep_their_order(
    report: Path, runs: list[Run], visit: Callable[..., Any]
) -> None:
    page = visit(report)
    clean = {run.settings.model: scored(run, "paper").of("paper", 0.1)[CLEAN] for run in runs}
    falling = sorted(clean, key=lambda name: -clean[name])
    sort(page, "Clean")
    assert models(page) == falling
    sort(page, "Clean")
    assert models(page) == falling[::-1]
    page.get_by_label("Corruption", exact=True).select_option("noise")
    assert models(page) == falling[::-1]
    for _ in range(2):
        sort(page, "Gauss.")
        assert models(page)[0] == "whole"
    sort(page, "Model")
    assert models(page)[-1] == "whole"


def test_a_model_that_is_not_chosen_is_not_shown(report: Path, visit: Callable[..., Any]) -> None:
    page = visit(report)
    page.get_by_label("whole", exact=True).uncheck()
    assert "whole" not in models(page)
    assert len(models(page)) == 3


def test_no_name_leaves_its_place(report: Path, visit: Callable[..., Any]) -> None:
    page = visit(report)
    assert set(NASTY[:2]) <= set(models(page))
    assert page.locator("script").count() == 2
    assert page.locator('img[src="x"]').count() == 0
    assert NASTY[1] in page.title()


def test_without_the_dataset_the_page_says_why_there_are_no_match_pictures(report: Path) -> None:
    text = report.read_text()
    assert "they need the dataset. Make this page with --root FOLDER" in text
    assert text.count('<figure class="plate') >= 4


def test_the_same_run_gives_the_same_page(make_run: Callable[..., Run]) -> None:
    details = details_of([make_run()], PROTOCOLS["original"], 0.05, None)
    assert report_page(details, None, None) == report_page(details, None, None)


def test_intervals_and_real_differences_stand_on_the_page(make_run: Callable[..., Run]) -> None:
    both = [make_run(name, seed=seed, conditions=CONDITIONS) for seed, name in enumerate("ab")]
    details = details_of(both, PROTOCOLS["paper"], 0.1, both[0])
    certain = certainty(both, [each.summary for each in details], both[0], 50)
    text = re.sub("<[^>]*>", "", headline_section([report_of(each) for each in details], certain))
    assert f"{certain.intervals(1)['mCE']}" in text
    assert "mCE against a" in text
    assert "Which differences are real" in text


def test_the_command_writes_the_page_and_the_slider_goes_through_the_severities(
    tiny_root: Path, tmp_path: Path, visit: Callable[..., Any]
) -> None:
    dataset = load_dataset("spair71k", tiny_root)
    run = predict(Drifting(), dataset, SOME, out=tmp_path / "run")
    path = tmp_path / "page" / "report.html"
    options = ["--resamples", "0", "--html", str(path), "--root", str(tiny_root)]
    result = CliRunner().invoke(main, ["report", str(run.folder), *options])
    assert result.exit_code == 0, result.output
    assert f"wrote {path}" in result.output
    page = visit(path)
    pair = page.locator(".pair").first
    slider = pair.get_by_role("slider")
    told = [pair.locator("output").text_content()]
    for _ in range(5):
        slider.press("ArrowRight")
        told.append(pair.locator("output").text_content())
        assert pair.locator("li:visible").count() == 1
    name = told[-1].split(", ")[1].split("@")[0]
    assert [text.split(", ")[1].split(":")[0] for text in told] == [
        "clean",
        *(f"{name}@{severity}" for severity in range(1, 6)),
    ]
    assert slider.get_attribute("aria-valuetext") == told[-1]
    assert all("PCK@0.1 (box, per image, square), protocol paper" in text for text in told)
    sizes = pair.locator("img").evaluate_all("all => all.map(each => each.naturalWidth)")
    assert len(sizes) == 6
    assert 0 < max(sizes) <= 640


def test_a_folder_as_the_page_and_pictures_for_nothing_are_refused(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = make_run()
    for options, message in (
        (["--html", str(tmp_path)], "is a folder; give the name of a file"),
        (["--root", str(tmp_path)], "give --figures FOLDER or --html FILE too"),
    ):
        result = CliRunner().invoke(main, ["report", str(run.folder), *options])
        assert result.exit_code == 2
        assert message in result.output


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
@pytest.mark.parametrize("width", [360, pytest.param(1280, marks=pytest.mark.slow)])
def test_axe_finds_nothing_and_a_phone_does_not_scroll_sideways(
    report: Path,
    visit: Callable[..., Any],
    violations: Callable[[Any], list[Any]],
    scheme: str,
    width: int,
) -> None:
    page = visit(report, width=width, color_scheme=scheme)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
