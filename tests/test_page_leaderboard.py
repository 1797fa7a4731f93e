"""The leaderboard's site shows what was checked, ranks what compares, and no name breaks it."""

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spairc.cli import main
from spairc.protocols import PROTOCOLS
from spairc.types import BadInput
from spairc_leaderboard.entry import (
    CONDITION_NAMES,
    FILE_NAMES,
    SCHEMA,
    Benchmark,
    Derived,
    Entry,
    Estimate,
    Evaluation,
    File,
    Model,
    Predictions,
    Recomputed,
    Reproduced,
    Scores,
    Status,
    content_hash,
    rounded,
)
from spairc_leaderboard.page import write_site
from spairc_leaderboard.page_boards import Board, boards_of, read_repository
from spairc_leaderboard.strict import dump_json

BENCHMARK = Benchmark(
    spec="spair-c/1",
    format="lossless",
    dataset="spair71k",
    split="test",
    layout="large",
    pair_list="1" * 64,
    pairs=12_234,
    points=88_328,
    pictures="2" * 64,
    side="both",
    direction="forward",
)
CHECKED = Status(SCHEMA, Recomputed("0.1.0", "2026-11-20", ()), None)
AGAIN = replace(CHECKED, reproduced=Reproduced("0.1.0", "2026-11-21", "cpu", 0.25))
FLAGGED = replace(CHECKED, recomputed=Recomputed("0.1.0", "2026-11-20", ("odd & odder",)))
NASTY = ("<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", "<!--<script>")


def scores_of(clean: float, slope: float, protocol: str, baseline: str) -> Scores:
    """Scores that fall with severity, and summaries that follow from nothing."""
    values = {
        name: rounded(max(0, clean - slope * int(name[-1]))) if "@" in name else clean
        for name in CONDITION_NAMES
    }
    mpc = rounded(clean - 3 * slope)
    mce = Estimate(rounded(150 - mpc), rounded(148 - mpc), rounded(152.5 - mpc))
    summaries = Derived(
        clean=Estimate(clean, rounded(clean - 1), rounded(clean + 1)),
        mpc=Estimate(mpc, None, None),
        rpc=Estimate(rounded(100 * mpc / clean), None, None),
        mce=mce if baseline else None,
        relative_mce=None,
    )
    return Scores(protocol, str(PROTOCOLS[protocol].metric()), baseline, values, summaries)


def entry_of(
    name: str,
    clean: float = 40.0,
    *,
    slope: float = 2.5,
    public: bool = True,
    training: tuple[str, ...] = ("ImageNet",),
    protocols: tuple[str, ...] = ("paper",),
    **changes: Any,
) -> Entry:
    """An entry that reads well; what it says was never counted."""
    digest = sha256(f"{name} {clean} {slope}".encode()).hexdigest()
    cells = dict.fromkeys(CONDITION_NAMES, digest)
    baseline = {"paper": "published"}
    scores = [scores_of(clean, slope, each, baseline.get(each, "")) for each in protocols]
    entry = Entry(
        schema=SCHEMA,
        benchmark=BENCHMARK,
        model=Model(
            name, "A paper", "https://example.org/a", "MIT", public, "none needed", training
        ),
        evaluation=Evaluation("sift", "0.1.0", "cpu", "float32", {"side": 64}),
        environment={"python": "3.11"},
        scores=tuple(scores),
        predictions=Predictions(dict.fromkeys(FILE_NAMES, File(10, "3" * 64)), cells),
        content=content_hash(BENCHMARK, cells),
        date="2026-11-19",
        replaces="",
    )
    return replace(entry, **changes)


def put(repository: Path, entry: Entry, status: Status | None = CHECKED) -> Path:
    """Write an entry where it belongs; return its folder."""
    folder = repository / "entries" / entry.id
    folder.mkdir(parents=True)
    (folder / "entry.json").write_bytes(dump_json(entry))
    if status is not None:
        (folder / "status.json").write_bytes(dump_json(status))
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Eight folders: good, better, unchecked, older, of another protocol, nasty twice, broken."""
    root = tmp_path / "repository"
    root.mkdir()
    put(root, entry_of("Steady", 51.25, public=False, training=("SPair-71k trn",)), AGAIN)
    old = entry_of("Wobbly", 44.5, date="2026-10-01")
    put(root, old)
    put(root, entry_of("Wobbly", 47.75, replaces=old.id), FLAGGED)
    put(root, entry_of("Boaster", 99.0, slope=0.5), None)
    put(root, entry_of("Second", 30.0, protocols=("original", "paper")))
    for number, name in enumerate(NASTY[:2]):
        put(root, entry_of(name, 20.0 + number))
    broken = put(root, entry_of("Broken", 10.0))
    (broken / "entry.json").write_text("{}")
    return root


@pytest.fixture
def site(repository: Path, tmp_path: Path) -> Path:
    """The page of that repository."""
    write_site(repository, tmp_path / "site", "org/spair-c")
    return tmp_path / "site" / "index.html"


def board_of(repository: Path, protocol: str = "paper") -> Board:
    """The board of a protocol."""
    listed, _ = read_repository(repository)
    return next(each for each in boards_of(listed) if each.protocol == protocol)


def test_checked_and_published_rows_are_ranked_by_mce_and_claims_come_last(
    repository: Path,
) -> None:
    rows = board_of(repository).rows
    assert [row.name for row in rows[:3]] == ["MatchMe-CATs", "CATs", "Steady"]
    assert [row.place for row in rows[:3]] == [1, 2, 3]
    assert (rows[-1].name, rows[-1].status, rows[-1].place) == ("Boaster", "unchecked", None)


def test_the_papers_rows_are_published_and_have_the_papers_mce(repository: Path) -> None:
    matchme, cats = board_of(repository).rows[:2]
    assert (matchme.status, cats.status) == ("published", "published")
    assert matchme.derived.mce is not None
    assert cats.derived.mce is not None
    assert matchme.derived.mce.value == pytest.approx(93.37, abs=0.01)
    assert cats.derived.mce.value == 100


def test_what_cannot_be_compared_is_on_a_board_of_its_own(repository: Path) -> None:
    board = board_of(repository, "original")
    assert [row.name for row in board.rows] == ["Second"]
    assert board.rows[0].derived.mce is None


def test_an_empty_repository_still_shows_what_was_published(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    board = board_of(tmp_path / "empty")
    assert [row.name for row in board.rows] == ["MatchMe-CATs", "CATs"]
    assert write_site(tmp_path / "empty", tmp_path / "site")


def test_a_replaced_entry_leaves_the_ranking_and_stays_in_the_history(repository: Path) -> None:
    board = board_of(repository)
    assert [row.values["clean"] for row in board.rows if row.name == "Wobbly"] == [47.75]
    assert [row.values["clean"] for row in board.older] == [44.5]


@pytest.mark.parametrize("status", [None, CHECKED])
def test_nobody_hides_an_entry_by_a_claim_or_under_another_name(
    tmp_path: Path, status: Status | None
) -> None:
    old = entry_of("Honest")
    put(tmp_path, old)
    name = "Honest" if status is None else "Rival"
    put(tmp_path, entry_of(name, 60.0, replaces=old.id), status)
    names = [row.name for row in board_of(tmp_path).rows if row.listed is not None]
    assert sorted(names) == sorted(["Honest", name])


@pytest.mark.parametrize("text", ["", "{}", '{"schema": 1}', "[" * 100_000, '"\\ud800"', "\0"])
def test_an_entry_that_cannot_be_read_is_listed_as_refused_with_the_reason(
    tmp_path: Path, text: str
) -> None:
    folder = put(tmp_path, entry_of("Broken"))
    (folder / "entry.json").write_text(text)
    listed, refused = read_repository(tmp_path)
    assert listed == ()
    assert [each.folder for each in refused] == [folder.name]
    assert refused[0].reason


def test_folders_and_links_that_are_no_entries_are_refused(tmp_path: Path) -> None:
    moved = put(tmp_path, entry_of("Moved"))
    moved.rename(moved.with_name("elsewhere"))
    (tmp_path / "entries" / "empty").mkdir()
    (tmp_path / "entries" / "link").symlink_to(moved.with_name("elsewhere"))
    (tmp_path / "entries" / "note.txt").write_text("hello")
    listed, refused = read_repository(tmp_path)
    assert listed == ()
    assert [each.folder for each in refused] == ["elsewhere", "empty", "link", "note.txt"]


def test_a_damaged_status_is_no_status_and_the_entry_is_refused(tmp_path: Path) -> None:
    folder = put(tmp_path, entry_of("Forged"))
    (folder / "status.json").write_text('{"schema": 1, "recomputed": true, "reproduced": null}')
    assert read_repository(tmp_path)[0] == ()


def test_a_repository_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is no folder; give a clone of the dataset, or ORG/NAME"):
        read_repository(tmp_path / "nowhere")


def test_the_site_is_four_files_and_a_static_space(site: Path) -> None:
    names = ["README.md", "index.html", "leaderboard.json", "workflow.yml"]
    assert sorted(each.name for each in site.parent.iterdir()) == names
    readme = (site.parent / "README.md").read_text()
    assert readme.startswith("---\ntitle: SPair-C leaderboard\nsdk: static\napp_file: index.html\n")
    assert '- "org/spair-c"' in readme
    assert "DATASET: org/spair-c" in (site.parent / "workflow.yml").read_text()


def test_the_data_beside_the_page_holds_every_value_in_full(site: Path) -> None:
    data = json.loads((site.parent / "leaderboard.json").read_text())
    rows = {row["name"]: row for row in data["boards"][0]["rows"]}
    assert len(rows["Steady"]["values"]) == 76
    assert rows["Steady"]["values"][:3] == [51.25, 48.75, 46.25]
    assert rows["Wobbly"]["facts"][-1] == ["flags", "odd & odder"]


def test_the_same_entries_give_the_same_site(repository: Path, tmp_path: Path) -> None:
    first, second = (write_site(repository, tmp_path / name) for name in ("a", "b"))
    assert [each.read_bytes() for each in first] == [each.read_bytes() for each in second]


def test_the_command_makes_the_site_of_a_repository_on_the_hub(
    repository: Path, tmp_path: Path, hub_server: Any
) -> None:
    paths = [path for path in repository.rglob("*") if path.is_file()]
    files = {path.relative_to(repository).as_posix(): path.read_bytes() for path in paths}
    hub_server.make("org/pages", files)
    out = tmp_path / "out"
    arguments = ["leaderboard", "page", "--repo", "org/pages", "--out", str(out)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert f"wrote {out / 'index.html'}" in result.output
    data = json.loads((out / "leaderboard.json").read_text())
    assert [each["folder"][:6] for each in data["refused"]] == ["broken"]
    assert '- "org/pages"' in (out / "README.md").read_text()
    write_site(repository, tmp_path / "local")
    assert data == json.loads((tmp_path / "local" / "leaderboard.json").read_text())


def test_a_repository_that_is_neither_a_folder_nor_a_name_is_refused(tmp_path: Path) -> None:
    arguments = ["leaderboard", "page", "--repo", str(tmp_path / "x"), "--out", str(tmp_path)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "write ORG/NAME, as the Hub shows it" in result.output


def shown_names(page: Any) -> list[str]:
    """The models of the shown board, from top to bottom."""
    found: list[str] = page.locator(".board:visible tbody tr:visible th").all_text_contents()
    return found


def cell(page: Any, model: str, column: int) -> str:
    """The text of a model's cell."""
    row = page.locator(".board:visible tbody tr", has_text=model).first
    text: str = row.locator("th, td").nth(column).text_content()
    return text


def sort_button(page: Any, label: str) -> Any:
    """The button of a column of the shown board."""
    return page.locator(".board:visible").get_by_role("button", name=label, exact=True)


def test_the_page_shows_what_was_checked_and_claims_only_when_asked(
    site: Path, visit: Callable[..., Any]
) -> None:
    page = visit(site)
    assert shown_names(page)[:4] == ["MatchMe-CATs", "CATs", "Steady", "Wobbly"]
    assert "Boaster" not in shown_names(page)
    page.get_by_label("not checked", exact=True).check()
    assert shown_names(page)[-1] == "Boaster"
    assert cell(page, "Boaster", 0) == "-"
    assert cell(page, "Steady", 3) == "106.2 [104.2, 108.8]"


def test_columns_sort_as_numbers_both_ways_and_what_is_missing_comes_last(
    site: Path, visit: Callable[..., Any]
) -> None:
    page = visit(site)
    page.get_by_label("not checked", exact=True).check()
    sort_button(page, "Clean").click()
    first = shown_names(page)
    assert first[:3] == ["Boaster", "MatchMe-CATs", "Steady"]
    assert page.locator(".board:visible [aria-sort]").get_attribute("aria-sort") == "descending"
    sort_button(page, "Clean").press("Enter")
    assert shown_names(page) == first[::-1]
    for _ in range(2):
        sort_button(page, "#").click()
        assert shown_names(page)[-1] == "Boaster"


@pytest.mark.parametrize(
    ("act", "names"),
    [
        (lambda page: page.get_by_label("Name contains").fill("WOBB"), ["Wobbly"]),
        (lambda page: page.get_by_label("published", exact=True).uncheck(), ["Steady", "Wobbly"]),
        (lambda page: page.get_by_label("recomputed", exact=True).uncheck(), ["MatchMe-CATs"]),
        (lambda page: page.get_by_label("public only").check(), ["MatchMe-CATs", "CATs", "Wobbly"]),
        (
            lambda page: page.get_by_label("Training data").select_option("SPair-71k trn"),
            ["Steady"],
        ),
        (
            lambda page: page.get_by_label("Protocol and benchmark").select_option(index=1),
            ["Second"],
        ),
    ],
)
def test_filters_leave_the_rows_that_they_name(
    site: Path, visit: Callable[..., Any], act: Callable[[Any], None], names: list[str]
) -> None:
    page = visit(site)
    act(page)
    found = shown_names(page)
    assert found[: len(names)] == names
    count = page.locator(".board:visible .told").text_content()
    assert count.startswith(f"{len(found)} of ")


def test_two_models_are_compared_cell_by_cell(site: Path, visit: Callable[..., Any]) -> None:
    page = visit(site)
    page.get_by_label("First", exact=True).select_option(index=2)
    page.get_by_label("Second", exact=True).select_option(index=3)
    table = page.locator("#difference")
    assert "Steady less Wobbly" in table.locator("caption").text_content()
    assert table.locator("tbody tr").count() == 16
    fog = table.locator("tbody tr", has_text="fog").locator("td").all_text_contents()
    assert fog == ["+3.5"] * 6
    page.get_by_label("Second", exact=True).select_option(index=0)
    noise = table.locator("tbody tr", has_text="gaussian noise").locator("td").nth(2)
    assert noise.text_content() == "+4.2"  # 51.25 - 3 * 2.5 less 39.5, a half to the even digit
    assert noise.get_attribute("title") == "gaussian_noise@3: 43.8 and 39.5"
    assert "odd & odder" not in page.locator("#facts").text_content()


def test_the_history_tells_every_version(site: Path, visit: Callable[..., Any]) -> None:
    rows = visit(site).locator("#history-0 tbody tr")
    assert [text[:6] for text in rows.locator("th").all_text_contents()] == ["Wobbly"] * 2
    dates = [rows.nth(i).locator("td").first.text_content() for i in range(2)]
    assert dates == ["2026-10-01", "2026-11-19"]


def test_no_name_leaves_its_place(site: Path, visit: Callable[..., Any]) -> None:
    page = visit(site)
    assert set(NASTY[:2]) <= set(shown_names(page))
    page.get_by_label("First", exact=True).select_option(index=4)
    page.get_by_label("Second", exact=True).select_option(index=5)
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2
    assert NASTY[1] in page.locator("#difference caption").text_content()
    assert page.locator("#refused-table tbody tr").count() == 1


def test_without_scripts_the_rankings_can_be_read(site: Path, visit: Callable[..., Any]) -> None:
    page = visit(site, java_script_enabled=False)
    assert page.locator(".board").count() == page.locator(".board:visible").count() == 2
    assert not page.locator("#choices").is_visible()
    assert "Steady" in shown_names(page)


@pytest.mark.slow
def test_a_thousand_entries_sort_and_filter_right(
    tmp_path: Path, visit: Callable[..., Any]
) -> None:
    for number in range(1000):
        put(tmp_path, entry_of(f"Model {number}", 20 + number * 37 % 1000 / 64))
    write_site(tmp_path, tmp_path / "site")
    page = visit(tmp_path / "site" / "index.html")
    assert page.locator(".board tbody tr").count() == 1002
    sort_button(page, "Clean").click()
    sort_button(page, "Clean").click()
    read = "cells => cells.map(each => Number(each.dataset.value))"
    values = page.locator(".board tbody td:nth-child(5)").evaluate_all(read)
    assert values == sorted(values)
    assert len(set(values)) == 1002
    best = len(shown_names(page))
    assert best == page.locator(".board tbody tr:visible").count() == 100
    page.get_by_label("Name contains").fill("model 99")
    assert len(shown_names(page)) == 11
    assert not page.locator(".board .more").is_visible()
    page.get_by_label("Name contains").fill("")
    page.get_by_role("button", name="Show all").click()
    assert page.locator(".board tbody tr:visible").count() == 1002


@pytest.mark.parametrize("scheme", ["dark", pytest.param("light", marks=pytest.mark.slow)])
@pytest.mark.parametrize("width", [1280, pytest.param(360, marks=pytest.mark.slow)])
def test_axe_finds_nothing_and_a_phone_does_not_scroll_sideways(
    site: Path,
    visit: Callable[..., Any],
    violations: Callable[[Any], list[Any]],
    scheme: str,
    width: int,
) -> None:
    page = visit(site, width=width, color_scheme=scheme)
    page.get_by_label("not checked", exact=True).check()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
