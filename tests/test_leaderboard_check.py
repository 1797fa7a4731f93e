"""The checker: a changed digit or point is found and named; what is odd is told."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from spairc.cli import main
from spairc.metrics import PCK, mce
from spairc.published import TABLE_4
from spairc.runs import Run, write_points
from spairc.spec import CONDITIONS
from spairc.types import CLEAN, BadInput, Condition
from spairc_leaderboard.check import Report, check_entry
from spairc_leaderboard.entry import (
    Entry,
    Model,
    Recomputed,
    Status,
    content_hash,
)
from spairc_leaderboard.making import Choices, make_entry
from spairc_leaderboard.predictions import digest_of, write_answers
from spairc_leaderboard.push import dry_run
from spairc_leaderboard.repository import open_leaderboard, read_entry, read_status
from spairc_leaderboard.review import check_folder, reproduce, write_record
from spairc_leaderboard.strict import dump_json
from spairc_leaderboard.table import SCHEMA as COLUMNS

MODEL = Model("Other", "", "", "", public_weights=True, weights="none needed", training_data=())
Rows = dict[str, np.ndarray]


def rewrite(folder: Path, **changes: object) -> Entry:
    """Change fields of an entry's file, keeping it well formed."""
    entry = replace(read_entry(folder / "entry.json"), **changes)  # type: ignore[arg-type]  # by name
    (folder / "entry.json").write_bytes(dump_json(entry))
    return entry


def change_rows(folder: Path, name: str, group: int, change: Callable[[Rows], Rows]) -> None:
    """Change one cell's rows, keeping the file well formed."""
    path = folder / "predictions" / f"{name}.parquet"
    file = pq.ParquetFile(path)
    groups = [file.read_row_group(number) for number in range(file.num_row_groups)]
    rows = change({each: groups[group][each].to_numpy().copy() for each in file.schema.names})
    groups[group] = pa.table(rows, schema=groups[group].schema)
    with pq.ParquetWriter(path, groups[0].schema, store_schema=False) as writer:
        for each in groups:
            writer.write_table(each)


def problems(folder: Path) -> Sequence[str]:
    return check_folder(folder)[0].problems


def test_a_good_entry_passes(staged: Path) -> None:
    report, _ = check_folder(staged)
    assert report.passed
    assert report.problems == report.flags == ()


def test_the_numbers_are_those_of_the_run(staged: Path, ranked_run: Run) -> None:
    entry = read_entry(staged / "entry.json")
    for scores, metric in zip(entry.scores, (PCK("square"), PCK("original")), strict=True):
        slow = ranked_run.scores(metric)
        assert list(scores.values) == [str(each) for each in slow]
        assert list(scores.values.values()) == pytest.approx(list(slow.values()), abs=5e-7)
        corrupted = [value for each, value in slow.items() if each != CLEAN]
        assert scores.derived.mpc.value == pytest.approx(np.mean(corrupted), abs=5e-7)
        assert scores.derived.clean.value == scores.values["clean"]
        assert scores.derived.mce is None
        assert scores.derived.mpc.low is not None
        assert scores.derived.mpc.low < scores.derived.mpc.value


@pytest.mark.parametrize("place", ["clean", "fog@3", "jpeg_compression@5"])
def test_a_changed_digit_is_named_by_its_cell(staged: Path, place: str) -> None:
    entry = read_entry(staged / "entry.json")
    scores = entry.scores[1]
    values = {**scores.values, place: round(scores.values[place] - 1e-6, 6)}
    rewrite(staged, scores=(entry.scores[0], replace(scores, values=values)))
    (found,) = problems(staged)
    assert found.startswith(f"original, {place}: claimed ")


@pytest.mark.parametrize("name", ["clean", "mpc", "rpc"])
@pytest.mark.parametrize("end", ["value", "low", "high"])
def test_a_changed_digit_of_what_follows_is_named(staged: Path, name: str, end: str) -> None:
    entry = read_entry(staged / "entry.json")
    scores = entry.scores[0]
    estimate = getattr(scores.derived, name)
    wrong = replace(estimate, **{end: round(getattr(estimate, end) + 1e-6, 6)})
    derived = replace(scores.derived, **{name: wrong})
    rewrite(staged, scores=(replace(scores, derived=derived), entry.scores[1]))
    (found,) = problems(staged)
    shown = {"clean": "clean PCK", "mpc": "mPC", "rpc": "rPC"}[name]
    assert found.startswith(f"paper, {shown}" + ("" if end == "value" else f", {end} end"))


def test_an_mce_out_of_nothing_is_found(staged: Path) -> None:
    entry = read_entry(staged / "entry.json")
    scores = entry.scores[0]
    derived = replace(scores.derived, mce=scores.derived.clean, rpc=None)
    rewrite(staged, scores=(replace(scores, derived=derived),))
    assert [each.split(":")[0] for each in problems(staged)] == ["paper, rPC", "paper, mCE"]


def test_a_changed_point_is_named_by_its_cell_even_if_no_score_moves(staged: Path) -> None:
    def nudge(rows: Rows) -> Rows:
        rows["y"][17] += 1e-3
        return rows

    change_rows(staged, "snow", 3, nudge)
    assert "snow@4: the answers were changed; entry.json has another digest" in problems(staged)


def test_a_changed_point_with_its_digest_still_fails_by_its_score(staged: Path) -> None:
    entry = read_entry(staged / "entry.json")

    def lose(rows: Rows) -> Rows:
        rows["x"] += 1000
        places = np.stack([rows["x"], rows["y"]], axis=1).astype(float)
        cells = {**entry.predictions.cells, "clean": digest_of(places)}
        rewrite(
            staged,
            predictions=replace(entry.predictions, cells=cells),
            content=content_hash(entry.benchmark, cells),
        )
        return rows

    change_rows(staged, "clean", 0, lose)
    found = problems(staged)
    assert any(each.startswith("paper, clean: claimed") for each in found)
    assert any(each.startswith("the folder must be called shift-e-b-") for each in found)


def doubled(rows: Rows) -> Rows:
    rows["pair"][:5] = rows["pair"][5]
    return rows


def infinite(rows: Rows) -> Rows:
    rows["x"][3] = np.inf
    return rows


def nan(rows: Rows) -> Rows:
    rows["y"][-1] = np.nan
    return rows


def shuffled(rows: Rows) -> Rows:
    order = np.arange(len(rows["pair"]))[::-1]
    return {name: column[order] for name, column in rows.items()}


def foreign(rows: Rows) -> Rows:
    rows["pair"][0] = 10_000
    return rows


def points_again(rows: Rows) -> Rows:
    rows["point"][:] = 0
    return rows


def short(rows: Rows) -> Rows:
    return {name: column[:-1] for name, column in rows.items()}


def severe(rows: Rows) -> Rows:
    rows["severity"][2] = 5
    return rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (doubled, "fog@2: pair 0 is missing"),
        (infinite, "fog@2, pair 1: an answer is not finite; 1 such"),
        (nan, "fog@2, pair 61: an answer is not finite"),
        (shuffled, "fog@2: the pairs are not in the order"),
        (foreign, "fog@2: pair 10000 does not exist; the list has 62"),
        (points_again, "fog@2, pair 0: its points are not there once"),
        (short, "row group 1 has 182 rows; write 183"),
        (severe, "fog@2: a row is of another severity"),
    ],
)
def test_rows_that_are_not_each_pair_once_are_named(
    staged: Path, change: Callable[[Rows], Rows], message: str
) -> None:
    change_rows(staged, "fog", 1, change)
    assert any(message in each for each in problems(staged))


def test_a_file_too_large_is_not_opened(staged: Path) -> None:
    with (staged / "predictions" / "fog.parquet").open("ab") as file:
        file.truncate(10_000_000)
    assert any("10000000 bytes" in each for each in problems(staged))


@pytest.mark.parametrize("name", ["evil.py", "predictions/more.parquet", "a/b.txt"])
def test_a_file_that_no_entry_has_is_refused(staged: Path, name: str) -> None:
    (staged / name).parent.mkdir(exist_ok=True)
    (staged / name).write_text("import os")
    assert "is no file of an entry" in problems(staged)[0]


def test_a_link_among_the_answers_is_refused(staged: Path) -> None:
    path = staged / "predictions" / "fog.parquet"
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert problems(staged) == ("'predictions/fog.parquet' is a link; send the file itself",)


def test_a_missing_file_is_named(staged: Path) -> None:
    (staged / "predictions" / "frost.parquet").unlink()
    assert problems(staged) == ("predictions/frost.parquet is missing",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec": "spair-c/2"}, "spec is spair-c/2 here and spair-c/1 there"),
        ({"pictures": "cd" * 32}, "pictures is cdcdcdcdcdcd... here and abababababab... there"),
        ({"side": "source"}, "side is source here and both there"),
        ({"pair_list": "0" * 64}, "pair_list is 000000000000... here"),
        ({"pairs": 61}, "pairs is 61 here and 62 there"),
    ],
)
def test_an_entry_of_something_else_is_refused(
    staged: Path, changes: dict[str, object], message: str
) -> None:
    entry = read_entry(staged / "entry.json")
    rewrite(staged, benchmark=replace(entry.benchmark, **changes))  # type: ignore[arg-type]  # by name
    assert message in problems(staged)[0]


def test_the_truth_is_the_list_that_its_name_says(
    staged: Path, make_run: Callable[..., Run]
) -> None:
    path = next((staged.parents[1] / "pairs").iterdir())
    other = make_run("half", pairs=make_run("whole").pairs[:9])
    path.write_bytes((other.folder / "pairs.parquet").read_bytes())
    assert problems(staged) == (f"{path.name} is not the pair list that its name says",)


def other_run(make_run: Callable[..., Run], like: Run, seed: int) -> Run:
    settings = like.settings
    return make_run(
        f"other-{seed}",
        seed=seed,
        conditions=CONDITIONS,
        pictures=settings.pictures,
        corrupted=settings.corrupted,
        details=settings.details,
    )


def add(run: Run, board: Path, choices: Choices) -> tuple[Path, Report]:
    """Write a second entry into a leaderboard's folder, and check it there."""
    leaderboard = open_leaderboard(board)
    folder = make_entry(run, leaderboard, choices, board / "entries")
    return folder, check_entry(folder, leaderboard)


def marked(staged: Path) -> Path:
    """Mark the first entry as checked, so that it may be a baseline."""
    status = Status(1, Recomputed("0", "2026-11-20", ()), reproduced=None)
    (staged / "status.json").write_bytes(dump_json(status))
    return staged.parents[1]


def test_mce_is_against_an_entry_that_was_checked(
    staged: Path, make_run: Callable[..., Run], ranked_run: Run
) -> None:
    run = other_run(make_run, ranked_run, 5)
    with pytest.raises(BadInput, match="has not been recomputed yet"):
        add(run, staged.parents[1], Choices(MODEL, baseline=staged.name))
    folder, report = add(run, marked(staged), Choices(MODEL, baseline=staged.name))
    assert report.passed
    scores, theirs = read_entry(folder / "entry.json").scores[0], read_entry(staged / "entry.json")
    errors = [100 - each for each in scores.values.values()][1:]
    base = [100 - each for each in theirs.scores[0].values.values()][1:]
    sums = [np.sum(np.reshape(each, (15, 5)), axis=1) for each in (errors, base)]
    assert scores.derived.mce is not None
    assert scores.derived.mce.value == pytest.approx(100 * np.mean(sums[0] / sums[1]), abs=1e-5)
    rewrite(folder, scores=(replace(scores, baseline="published"),))
    assert "the published baseline is PCK@0.1" in problems(folder)[0]


def test_mce_is_against_table_4_only_where_that_is_what_was_measured(
    ranked_run: Run, make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spairc_leaderboard.counting.is_official_test_list", lambda _: True)
    settings = ranked_run.settings
    run = make_run(
        "official",
        conditions=CONDITIONS,
        dataset="spair71k",
        pictures=settings.pictures,
        corrupted=settings.corrupted,
    )
    folder, report = dry_run(run, Choices(MODEL), tmp_path / "board")
    assert report.passed
    paper, original = read_entry(folder / "entry.json").scores
    assert (paper.baseline, original.baseline) == ("published", "")
    mine, theirs = (
        {each: 100 - value for each, value in scores.items()}
        for scores in (run.scores(PCK("square")), TABLE_4["CATs"].scores())
    )
    assert paper.derived.mce is not None
    assert paper.derived.mce.value == pytest.approx(mce(mine, theirs), abs=5e-7)
    assert original.derived.mce is None
    monkeypatch.undo()
    assert "the published baseline is" in problems(folder)[0]


def test_only_an_earlier_entry_of_the_same_model_is_replaced(
    staged: Path, make_run: Callable[..., Run], ranked_run: Run
) -> None:
    run = other_run(make_run, ranked_run, 6)
    _, report = add(run, staged.parents[1], Choices(MODEL, replaces=staged.name))
    assert "replaces" in report.problems[0]
    same = replace(MODEL, name=read_entry(staged / "entry.json").model.name)
    _, report = add(run, staged.parents[1], Choices(same, replaces=staged.name))
    assert report.passed


def test_answers_of_another_entry_are_told_and_not_failed(staged: Path, ranked_run: Run) -> None:
    _, report = add(ranked_run, staged.parents[1], Choices(MODEL))
    assert report.passed
    cells = "clean, gaussian_noise@1, gaussian_noise@2 and 73 more"
    assert report.flags == (f"the answers are those of {staged.name} under {cells}",)


def test_answers_that_are_the_truth_or_the_same_twice_are_told(
    ranked_run: Run, tmp_path: Path
) -> None:
    truth = ranked_run.pairs.target_points
    for condition in (Condition("fog", 1), Condition("fog", 4)):
        write_points(ranked_run.predictions(condition), ranked_run.pairs, truth)
    _, report = dry_run(ranked_run, Choices(MODEL), tmp_path / "board")
    assert report.passed
    assert report.flags == (
        "half of all answers are within 1 px of the truth: fog@1, fog@4",
        "over 5% of the answers equal the truth: fog@1, fog@4",
        "the answers are the same under fog@1, fog@4",
    )


def test_an_incomplete_run_is_refused(ranked_run: Run, tmp_path: Path) -> None:
    ranked_run.predictions(Condition("snow", 2)).unlink()
    with pytest.raises(BadInput, match=r"lacks 1 of the 76 conditions, snow@2 among them"):
        dry_run(ranked_run, Choices(MODEL), tmp_path / "board")


def test_a_protocol_of_the_other_direction_is_refused(ranked_run: Run, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cats is not asked forward"):
        dry_run(ranked_run, Choices(MODEL, protocols=("cats",)), tmp_path / "board")


def test_the_same_answers_give_the_same_files(
    staged: Path, ranked_run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "clean.parquet"
    write_answers(path, ranked_run.pairs, [(CLEAN, ranked_run.answers(CLEAN).found)])
    assert path.read_bytes() == (staged / "predictions" / "clean.parquet").read_bytes()


def test_the_checker_alone_writes_the_mark_and_the_table(staged: Path) -> None:
    report, board = check_folder(staged)
    write_record(board, report, None)
    status = read_status(staged / "status.json")
    assert status.recomputed is not None
    assert status.reproduced is None
    table = pq.read_table(board.folder / "results.parquet")
    assert table.schema.names == COLUMNS.names
    assert table["entry"].to_pylist() == [staged.name] * 2
    assert table["recomputed"].to_pylist() == [True, True]
    assert table["fog@3"][1].as_py() == read_entry(staged / "entry.json").scores[0].values["fog@3"]
    with pytest.raises(BadInput, match="did not pass"):
        write_record(board, replace(report, problems=("x",)), None)


def test_public_weights_that_give_the_same_again_reproduce(
    staged: Path, ranked_run: Run, make_run: Callable[..., Run]
) -> None:
    report, board = check_folder(staged)
    mark = reproduce(report, ranked_run)
    assert (mark.device, mark.largest_difference) == ("cpu", 0)
    write_record(board, report, mark)
    write_record(board, report, None)
    assert read_status(staged / "status.json").reproduced == mark
    with pytest.raises(BadInput, match=r"is not reproduced: paper, gaussian_noise@1 is"):
        reproduce(report, other_run(make_run, ranked_run, 9))


@pytest.mark.parametrize(
    ("model", "message"),
    [({"public_weights": False}, "no public weights"), ({"weights": "0" * 64}, "--checkpoint")],
)
def test_only_the_same_public_weights_reproduce(
    staged: Path, ranked_run: Run, model: dict[str, object], message: str
) -> None:
    entry = read_entry(staged / "entry.json")
    rewrite(staged, model=replace(entry.model, **model))  # type: ignore[arg-type]  # by name
    with pytest.raises(BadInput, match=message):
        reproduce(check_folder(staged)[0], ranked_run)


def test_the_command_tells_passing_failing_and_misuse_apart(staged: Path, tmp_path: Path) -> None:
    def run(*words: object) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["leaderboard", "check", *map(str, words)])
        return result.exit_code, result.output

    assert run(staged) == (0, f"{staged.name}: every number is what its answers give\n")
    text = (staged / "entry.json").read_text()
    given = json.loads(text)
    given["scores"][0]["values"]["fog@3"] = 12.5
    (staged / "entry.json").write_text(json.dumps(given))
    code, said = run(staged)
    assert code == 1
    assert said.startswith("wrong: paper, fog@3: claimed 12.500000, recomputed ")
    assert run(tmp_path)[0] == 2
    assert run()[0] == run(staged, "--pr", 3)[0] == run(staged, "--merge")[0] == 2
    assert run(staged, "--", "--model", "sift")[0] == 2


def test_a_dry_run_shows_the_entry_and_leaves_nothing(ranked_run: Run, tmp_path: Path) -> None:
    words = ["push", str(ranked_run.folder), "--dry-run", "--name", "My model"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0
    assert "my-model-" in result.output
    assert "PCK@0.1 (box, per image, square), protocol paper" in result.output
    assert "passed the checker; nothing was sent" in result.output
    kept = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "kept")])
    assert check_folder(Path(kept.output.split()[-1]))[0].passed
    again = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "kept")])
    assert again.exit_code == 2
    assert "is not empty" in again.output
