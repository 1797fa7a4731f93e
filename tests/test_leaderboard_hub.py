"""The real client against a Hub on this machine: create, pull requests, conflicts, refusals."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard, constants

from spairc.runs import Run
from spairc.types import BadInput
from spairc_leaderboard.entry import CONDITION_NAMES
from spairc_leaderboard.hub import (
    Hub,
    commit,
    fetch_tables,
    head_of,
    list_files,
    look_at,
    open_hub,
    require_login,
)
from spairc_leaderboard.push import create_leaderboard, entry_paths
from spairc_leaderboard.review import accept, check_merged, check_pull_request, record

# The client itself still calls its HTTP library in a way that the library is going to drop.
pytestmark = pytest.mark.filterwarnings("ignore:Use .content=:DeprecationWarning")


@pytest.fixture
def entry_files(staged: Path) -> dict[str, bytes | None]:
    """The files of a good entry, by their path in the repository."""
    board = staged.parents[1]
    return {path: (board / path).read_bytes() for path in entry_paths(staged.name)}


def refused(act: Callable[[], object]) -> str:
    """Return the one line that a refusal says, without the token that the server repeats."""
    with pytest.raises(BadInput) as error:
        act()
    text = str(error.value)
    assert "\n" not in text
    assert "secret" not in text
    # What the library said, which may repeat the token, is not shown below the line either.
    assert error.value.__suppress_context__ or error.value.__context__ is None
    return text


# Making a leaderboard


def test_a_new_dataset_has_its_card_its_pairs_and_an_empty_table(
    hub_server: Any, ranked_run: Run, tmp_path: Path
) -> None:
    hub = open_hub("org/new")
    create_leaderboard(hub, ranked_run)
    tree = hub_server.main("org/new")
    pair_list = ranked_run.settings.pair_list
    assert f"pairs/{pair_list}.parquet" in tree
    assert tree[f"pairs/{pair_list}.parquet"].large
    board = fetch_tables(hub, tmp_path / "fetched")
    assert [each.pair_list for each in board.benchmarks] == [pair_list]
    assert board.entries == ()
    (tmp_path / "results.parquet").write_bytes(tree["results.parquet"].data)
    table = pq.read_table(tmp_path / "results.parquet")
    assert table.num_rows == 0
    assert set(CONDITION_NAMES) <= set(table.schema.names)
    before = head_of(hub)
    create_leaderboard(hub, ranked_run)
    assert head_of(hub) == before


def test_the_card_declares_tables_that_are_there(hub_server: Any, ranked_run: Run) -> None:
    create_leaderboard(open_hub("org/new"), ranked_run)
    tree = hub_server.main("org/new")
    card = DatasetCard(tree["README.md"].data.decode())
    configs = {each["config_name"]: each for each in card.data["configs"]}
    assert list(configs) == ["results", "pairs"]
    assert configs["results"]["default"]
    for each in configs.values():
        assert any(Path(path).match(each["data_files"]) for path in tree)
    assert "spairc push runs/NAME --repo org/new" in card.text


# Pull requests: one new entry and nothing else


def test_an_entry_is_fetched_by_its_number_checked_merged_and_recorded(
    hub: Hub, hub_server: Any, entry_files: dict[str, bytes | None], tmp_path: Path
) -> None:
    number = hub_server.open_pull("org/board", "Entry", entry_files)
    hub_server.push("org/board", "main", {"README.md": b"# Moved on\n"})
    report, _, seen = check_pull_request(hub, number, tmp_path / "one")
    assert report.passed
    assert set(seen.changed) == set(entry_files)
    accept(hub, seen, report)
    record(hub, report, None, tmp_path / "two")
    board = fetch_tables(hub, tmp_path / "three")
    (listed,) = board.entries
    assert listed.status.recomputed is not None
    assert listed.status.reproduced is None
    assert hub_server.main("org/board")["README.md"].data == b"# Moved on\n"
    again, _ = check_merged(hub, report.name, tmp_path / "four")
    assert again.passed
    assert "is 'merged'" in refused(lambda: check_pull_request(hub, number, tmp_path / "five"))


ENTRY = "entries/evil-0123456789ab"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"README.md": b"# Mine\n"}, "changes or removes 'README.md'"),
        ({"README.md": None}, "changes or removes 'README.md'"),
        ({".github/workflows/a.yml": b"on: push"}, "brings '.github/workflows/a.yml'"),
        ({"results.parquet": b"x"}, "brings 'results.parquet'"),
        ({"STATUS": b"{}"}, "status.json'"),
        ({f"{ENTRY}/entry.json": b"{}"}, "one entry only"),
        ({"entries/../x": b"1"}, "no folder entries/NAME-HASH"),
        ({"ENTRY": None}, "lacks"),
        ({"LARGE": b" " * 300_000}, "has 300000 bytes; at most 262144"),
    ],
)
def test_a_pull_request_that_does_anything_else_is_refused(
    hub: Hub,
    hub_server: Any,
    entry_files: dict[str, bytes | None],
    tmp_path: Path,
    more: dict[str, bytes | None],
    message: str,
) -> None:
    folder = next(iter(entry_files)).rsplit("/", 1)[0]
    names = {"STATUS": "status.json", "ENTRY": "predictions/fog.parquet", "LARGE": "entry.json"}
    changes = {f"{folder}/{names[k]}" if k in names else k: v for k, v in more.items()}
    number = hub_server.open_pull("org/board", "Entry", entry_files | changes)
    assert message in refused(lambda: check_pull_request(hub, number, tmp_path / "fetched"))
    assert hub_server.count("GET .*/resolve/.*entries") == 0


def test_an_entry_is_never_changed_once_it_is_there(
    hub: Hub, hub_server: Any, entry_files: dict[str, bytes | None], tmp_path: Path
) -> None:
    hub_server.push("org/board", "main", entry_files)
    path = next(iter(entry_files))
    number = hub_server.open_pull("org/board", "Entry", {path: b"{}"})
    said = refused(lambda: check_pull_request(hub, number, tmp_path / "fetched"))
    assert f"changes or removes '{path}'" in said


def test_a_wrong_entry_is_reported_and_not_merged(
    hub: Hub, hub_server: Any, entry_files: dict[str, bytes | None], tmp_path: Path
) -> None:
    path = next(iter(entry_files))
    text = (entry_files[path] or b"").replace(b'"licence": "MIT"', b'"licence": 7')
    number = hub_server.open_pull("org/board", "Entry", entry_files | {path: text})
    report, _, seen = check_pull_request(hub, number, tmp_path / "fetched")
    assert report.problems == ("entry.json.model.licence is 7; it must be of type str",)
    assert "did not pass" in refused(lambda: accept(hub, seen, report))
    assert path not in hub_server.main("org/board")


def test_a_pull_request_that_changed_after_the_check_is_not_merged(
    hub: Hub, hub_server: Any, entry_files: dict[str, bytes | None], tmp_path: Path
) -> None:
    number = hub_server.open_pull("org/board", "Entry", entry_files)
    report, _, seen = check_pull_request(hub, number, tmp_path / "fetched")
    hub_server.push("org/board", f"refs/pr/{number}", {"evil.py": b"import os"})
    assert "was changed meanwhile" in refused(lambda: accept(hub, seen, report))
    assert "evil.py" not in hub_server.main("org/board")


def test_a_pull_request_that_changed_in_the_moment_of_merging_is_noticed(
    hub: Hub,
    hub_server: Any,
    entry_files: dict[str, bytes | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number = hub_server.open_pull("org/board", "Entry", entry_files)
    report, _, seen = check_pull_request(hub, number, tmp_path / "fetched")
    path = next(iter(entry_files))
    real = hub.api.merge_pull_request

    def late(*given: Any, **more: Any) -> None:
        hub_server.push("org/board", f"refs/pr/{number}", {path: b"{}"})
        real(*given, **more)

    monkeypatch.setattr(hub.api, "merge_pull_request", late)
    said = refused(lambda: accept(hub, seen, report))
    assert said.startswith(f"{path} was changed while it was merged")


def test_what_is_no_pull_request_is_told(hub: Hub) -> None:
    assert "lacks a file or a pull request" in refused(lambda: look_at(hub, 7))


# Conflicts and refusals


def test_somebody_who_was_faster_is_not_overwritten(
    hub: Hub, hub_server: Any, tmp_path: Path
) -> None:
    parent = head_of(hub)
    hub_server.push("org/board", "main", {"README.md": b"# First\n"})
    (tmp_path / "a").write_text("second")
    said = refused(lambda: commit(hub, {"README.md": tmp_path / "a"}, "Late", parent=parent))
    assert "somebody else changed it meanwhile; run the same command again (HTTP 412)" in said
    assert hub_server.main("org/board")["README.md"].data == b"# First\n"


def test_a_token_that_the_hub_does_not_know(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrongsecret")
    said = refused(lambda: require_login(hub))
    assert "the Hub does not know this token; run hf auth login" in said


def test_no_token_at_all(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    said = refused(lambda: require_login(hub))
    assert said.startswith("there is no token for org/board; run hf auth login")


def test_a_repository_that_is_not_there(hub_server: Any) -> None:  # noqa: ARG001 -- it answers
    said = refused(lambda: head_of(open_hub("org/nowhere")))
    assert said.startswith("there is no dataset org/nowhere")
    assert "spairc push --create" in said


@pytest.mark.parametrize("name", ["board", "a/b/c", "../x", "a b/c", "https://hub/org/board", ""])
def test_a_name_that_is_no_repository_is_refused_before_any_request(name: str) -> None:
    assert "write ORG/NAME" in refused(lambda: open_hub(name))


@pytest.mark.parametrize(
    ("status", "message"),
    [(403, "may not do that"), (429, "fewer requests"), (413, "too large"), (400, "refused it")],
)
def test_each_refusal_says_what_to_do(hub: Hub, hub_server: Any, status: int, message: str) -> None:
    hub_server.break_off("GET .*/revision/main", status, times=9)
    assert message in refused(lambda: head_of(hub))


def test_a_fault_of_the_hub_is_told_as_one(hub: Hub, hub_server: Any) -> None:
    hub_server.break_off("GET .*/revision/main", 500, times=9)
    assert "a fault of its own (HTTP 500)" in refused(lambda: head_of(hub))


def test_a_hub_that_does_not_answer(hub_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_server.make("org/board", {})
    hub_server.break_off("GET .*/revision/main", 0, times=9)
    assert "see to the network" in refused(lambda: head_of(open_hub("org/board")))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    assert "no answer from http://127.0.0.1:1" in refused(lambda: head_of(open_hub("org/board")))


def test_long_listings_are_read_to_their_end(hub: Hub, hub_server: Any) -> None:
    hub_server.page = 2
    hub_server.push("org/board", "main", {f"{number:03}.txt": b"x" for number in range(9)})
    assert len(list_files(hub, "main")) == 9 + len(("README.md", ".gitattributes", "b", "p"))
    assert hub_server.count("GET .*/tree/main") == 7
