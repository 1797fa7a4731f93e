"""Sending a run: one pull request, whatever breaks off; the same run is found."""

import logging
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from spairc.cli import main
from spairc.runs import Run
from spairc.spec import CONDITIONS
from spairc.types import BadInput
from spairc_leaderboard.entry import FILE_NAMES, Model
from spairc_leaderboard.hub import Hub
from spairc_leaderboard.making import Choices
from spairc_leaderboard.push import entry_paths, push

# The client itself still calls its HTTP library in a way that the library is going to drop.
pytestmark = pytest.mark.filterwarnings("ignore:Use .content=:DeprecationWarning")
SHIFT = Model("Shift", "", "", "", public_weights=True, weights="none needed", training_data=())
CHOICES = Choices(SHIFT)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client's pauses between attempts take no time."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)


def spairc(*words: object) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert "secret" not in result.output
    return result


def test_a_push_opens_one_pull_request_with_one_folder(
    hub: Hub, hub_server: Any, ranked_run: Run
) -> None:
    before = hub_server.main("org/board")
    pushed = push(ranked_run, hub, CHOICES)
    assert pushed.url == f"{hub_server.url}/datasets/org/board/discussions/1"
    assert not pushed.found
    assert hub_server.main("org/board") == before
    tree = hub_server.repositories["org/board"].at("refs/pr/1").tree
    assert set(tree) - set(before) == set(entry_paths(pushed.name))
    assert all(tree[path].large == path.endswith(".parquet") for path in entry_paths(pushed.name))


def test_a_second_push_of_the_same_run_finds_the_first(
    hub: Hub, hub_server: Any, ranked_run: Run
) -> None:
    first = push(ranked_run, hub, CHOICES)
    renamed = Choices(Model("Mine", "", "", "", False, "none needed", ()))
    second = push(ranked_run, hub, renamed)
    assert (second.found, second.url, second.name) == (True, first.url, first.name)
    tree = hub_server.repositories["org/board"].at("refs/pr/1").tree
    files = {path: tree[path].data for path in entry_paths(first.name)}
    hub_server.push("org/board", "main", files)
    hub_server.repositories["org/board"].pulls[0]["status"] = "merged"
    third = push(ranked_run, hub, CHOICES)
    assert third.found
    assert third.url.endswith(f"/tree/main/entries/{first.name}")
    assert len(hub_server.repositories["org/board"].pulls) == 1


def test_a_title_alone_is_not_believed(hub: Hub, hub_server: Any, ranked_run: Run) -> None:
    name = push(ranked_run, hub, CHOICES).name
    hub_server.repositories["org/board"].pulls.clear()
    hub_server.open_pull("org/board", f"Entry {name}", {"entries/x": b"1", "y": b"2"})
    pushed = push(ranked_run, hub, CHOICES)
    assert not pushed.found
    assert pushed.url.endswith("/discussions/2")


def test_a_push_that_broke_off_goes_on_where_it_was(
    hub: Hub,
    hub_server: Any,
    ranked_run: Run,
    no_waiting: None,  # noqa: ARG001 -- pauses
) -> None:
    there = len(hub_server.objects)
    hub_server.break_off("PUT /upload", 0, times=1000, after=7)
    with pytest.raises(BadInput, match="run the same command again; what has arrived is not sent"):
        push(ranked_run, hub, CHOICES)
    arrived = len(hub_server.objects) - there
    assert arrived == 7
    assert hub_server.repositories["org/board"].pulls == []
    hub_server.broken.clear()
    hub_server.log.clear()
    assert not push(ranked_run, hub, CHOICES).found
    assert hub_server.count("PUT /upload") == len(FILE_NAMES) - arrived
    assert len(hub_server.repositories["org/board"].pulls) == 1


def test_a_commit_without_an_answer_leaves_nothing_half_done(
    hub: Hub, hub_server: Any, ranked_run: Run
) -> None:
    hub_server.break_off("POST .*/commit/main", 0)
    with pytest.raises(BadInput, match="see to the network, then run the same command again"):
        push(ranked_run, hub, CHOICES)
    assert push(ranked_run, hub, CHOICES).url.endswith("/discussions/1")


def test_a_run_of_other_pairs_is_refused_before_anything_is_sent(
    hub: Hub, hub_server: Any, make_run: Any
) -> None:
    whole = make_run("whole").pairs
    part = make_run("part", pairs=whole[:20], conditions=CONDITIONS, pictures="ab" * 32)
    with pytest.raises(BadInput, match="does not rank this: pairs is 20 here and 62 there"):
        push(part, hub, CHOICES)
    one_side = make_run("side", side="source", conditions=CONDITIONS, pictures="ab" * 32)
    with pytest.raises(BadInput, match="side is source here and both there"):
        push(one_side, hub, CHOICES)
    assert hub_server.count("POST") == 0


def test_an_incomplete_run_is_refused_before_any_request(
    hub: Hub, hub_server: Any, make_run: Any
) -> None:
    with pytest.raises(BadInput, match="lacks 73 of the 76 conditions"):
        push(make_run(pictures="ab" * 32), hub, CHOICES)
    assert hub_server.log == []


@pytest.mark.slow
def test_from_nothing_to_a_checked_leaderboard_by_commands(
    hub_server: Any, ranked_run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    repo = ("--repo", "org/new")
    made = spairc("push", ranked_run.folder, *repo, "--create", "--public-weights")
    assert made.exit_code == 0, made.output
    assert f"pull request: {hub_server.url}/datasets/org/new/discussions/1" in made.output
    assert "this run is there already" in spairc("push", ranked_run.folder, *repo).output
    looked = spairc("leaderboard", "check", "--pr", 1, *repo)
    assert looked.exit_code == 0
    assert "merged" not in looked.output
    merged = spairc("leaderboard", "check", "--pr", 1, *repo, "--merge")
    assert "merged: pull request 1" in merged.output
    tree = hub_server.main("org/new")
    (name,) = {path.split("/")[1] for path in tree if path.startswith("entries/")}
    assert b'"reproduced": null' in tree[f"entries/{name}/status.json"].data
    again = spairc("leaderboard", "check", name, *repo, "--rerun", ranked_run.folder, "--record")
    assert again.exit_code == 0, again.output
    tree = hub_server.main("org/new")
    assert b'"largest_difference": 0.0' in tree[f"entries/{name}/status.json"].data
    assert "is 'merged'" in spairc("leaderboard", "check", "--pr", 1, *repo).output
    clone = tmp_path / "clone"
    for path, blob in tree.items():
        (clone / path).parent.mkdir(parents=True, exist_ok=True)
        (clone / path).write_bytes(blob.data)
    here = spairc("leaderboard", "check", clone / "entries" / name)
    against = spairc("leaderboard", "check", clone / "entries" / name, *repo)
    assert here.exit_code == against.exit_code == 0
    assert "secret" not in caplog.text


def test_every_open_pull_request_is_judged_and_the_good_one_merged(
    hub: Hub, hub_server: Any, staged: Path
) -> None:
    board = staged.parents[1]
    files = {path: (board / path).read_bytes() for path in entry_paths(staged.name)}
    wrong = files[f"entries/{staged.name}/entry.json"].replace(b'"MIT"', b"7")
    hub_server.open_pull("org/board", "A", {"README.md": b"# Mine\n"})
    hub_server.open_pull("org/board", "B", files | {f"entries/{staged.name}/entry.json": wrong})
    hub_server.open_pull("org/board", "C", files)
    result = spairc("leaderboard", "check", "--open", "--repo", hub.repository, "--merge")
    assert result.exit_code == 1
    assert "wrong: pull request 1 changes or removes 'README.md'" in result.output
    assert "licence is 7" in result.output
    assert f"{staged.name}: every number is what its answers give" in result.output
    states = [each["status"] for each in hub_server.repositories["org/board"].pulls]
    assert states == ["open", "open", "merged"]
    assert f"entries/{staged.name}/status.json" in hub_server.main("org/board")


@pytest.mark.parametrize(
    ("token", "repository", "message"),
    [
        ("hf_wrongsecret", "org/board", "the Hub does not know this token"),
        ("", "org/board", "there is no token for org/board"),
        (None, "org/nowhere", "there is no dataset org/nowhere"),
        (None, "nowhere", "write ORG/NAME"),
    ],
)
def test_the_command_refuses_in_one_line(
    hub: Hub,  # noqa: ARG001 -- it is the one that is there
    ranked_run: Run,
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
    repository: str,
    message: str,
) -> None:
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nowhere/token")
    result = spairc("push", ranked_run.folder, "--repo", repository)
    assert result.exit_code == 2
    assert result.output.startswith(f"Error: {message}") or message in result.output
    assert result.output.count("\n") == 1
