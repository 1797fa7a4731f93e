"""A run is what was asked, is complete or resumable, and never hides a bad answer."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from spairc.build import build, open_build
from spairc.datasets import load_dataset
from spairc.datasets.dataset import Dataset
from spairc.evaluate import default_folder, predict
from spairc.metrics import PCK
from spairc.runs import Run, open_run
from spairc.spec import parse_conditions
from spairc.types import CLEAN, BadInput, Condition, Image, Points, Query
from spairc.units import Unit

FOG = Condition("fog", 3)
NOISE = Condition("gaussian_noise", 5)


@dataclass
class Spy:
    """A matcher that answers from the pictures' mean colours and remembers what it was asked."""

    name: str = "spy"
    encoded: list[Image] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)

    def encode(self, images: Sequence[Image]) -> list[float]:
        """Return each picture's mean."""
        self.encoded += images
        return [float(image.mean()) for image in images]

    def match(self, queries: Sequence[Query]) -> list[Points]:
        """Move every point by what the two pictures differ."""
        self.queries += queries
        return [query.points + (query.source - query.target) / 50 for query in queries]


@dataclass
class Wrong(Spy):
    """A matcher whose answer to every pair is this one."""

    answer: object = None

    def match(self, queries: Sequence[Query]) -> list[Points]:
        """Return the wrong answer."""
        return [self.answer for _ in queries]  # type: ignore[misc]  # wrong on purpose


@pytest.fixture
def dataset(tiny_root: Path) -> Dataset:
    """Eight pairs over five pictures in two categories."""
    return load_dataset("spair71k", tiny_root)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a run that its claim of equality covers."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths if p.name != "log.jsonl"}


def test_each_picture_is_encoded_once_per_condition(dataset: Dataset, tmp_path: Path) -> None:
    spy = Spy()
    predict(spy, dataset, [CLEAN, FOG], out=tmp_path / "run")
    assert len(spy.encoded) == 2 * len(dataset.table.image_keys) == 10
    assert len(spy.queries) == 2 * len(dataset) == 16


def test_answers_come_back_in_the_order_of_the_pairs(dataset: Dataset, tmp_path: Path) -> None:
    reordered = dataset.select(np.array([7, 0, 3, 6, 1]))
    run = predict(Spy(), reordered, [CLEAN], out=tmp_path / "run")
    full = predict(Spy(), dataset, [CLEAN], out=tmp_path / "full")
    found = run.answers(CLEAN).found
    rows = dataset.table.rows(np.array([7, 0, 3, 6, 1]))
    np.testing.assert_array_equal(found, full.answers(CLEAN).found[rows])


def test_the_query_holds_neither_the_truth_nor_the_targets_box(
    dataset: Dataset, tmp_path: Path
) -> None:
    spy = Spy()
    predict(spy, dataset, [CLEAN], out=tmp_path / "run")
    query = spy.queries[1]
    told = {"source", "target", "points", "source_size", "target_size", "category"}
    assert set(vars(query)) == told
    np.testing.assert_array_equal(query.points, dataset[1].source_points)
    assert query.source_size == dataset[1].source_size


@pytest.mark.parametrize(
    ("side", "clean_encoded", "fog_encoded"), [("both", 0, 5), ("source", 5, 5), ("target", 5, 5)]
)
def test_only_the_chosen_side_is_corrupted(
    dataset: Dataset, tmp_path: Path, side: str, clean_encoded: int, fog_encoded: int
) -> None:
    clean = {float(image.mean()) for image in encoded_under(dataset, tmp_path / "a", CLEAN, "both")}
    under_fog = encoded_under(dataset, tmp_path / "b", FOG, side)
    known = [float(image.mean()) in clean for image in under_fog]
    assert (sum(known), len(known) - sum(known)) == (clean_encoded, fog_encoded)


def encoded_under(dataset: Dataset, out: Path, condition: Condition, side: str) -> list[Image]:
    """What a matcher is shown."""
    spy = Spy()
    predict(spy, dataset, [condition], out=out, side=side)  # type: ignore[arg-type]  # parametrised
    return spy.encoded


def test_a_source_only_run_asks_with_a_corrupted_source(dataset: Dataset, tmp_path: Path) -> None:
    spy, clean = Spy(), Spy()
    predict(spy, dataset, [FOG], out=tmp_path / "fog", side="source")
    predict(clean, dataset, [CLEAN], out=tmp_path / "clean")
    for query, before in zip(spy.queries, clean.queries, strict=True):
        assert query.source != before.source
        assert query.target == before.target


def test_the_reversed_direction_asks_for_the_swapped_pairs(
    dataset: Dataset, tmp_path: Path
) -> None:
    spy = Spy()
    run = predict(spy, dataset, [CLEAN], out=tmp_path / "run", direction="reversed")
    np.testing.assert_array_equal(spy.queries[2].points, dataset[2].target_points)
    assert run.pairs.hash == dataset.table.swapped().hash


def test_the_same_run_twice_gives_the_same_files(dataset: Dataset, tmp_path: Path) -> None:
    for name in ("one", "two"):
        predict(Spy(), dataset, [CLEAN, FOG], out=tmp_path / name)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_conditions_may_be_added_later_in_any_order(dataset: Dataset, tmp_path: Path) -> None:
    predict(Spy(), dataset, [NOISE], out=tmp_path / "parts")
    predict(Spy(), dataset, [CLEAN, FOG], out=tmp_path / "parts")
    predict(Spy(), dataset, [CLEAN, NOISE, FOG], out=tmp_path / "whole")
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert open_run(tmp_path / "parts").conditions == (CLEAN, NOISE, FOG)


@pytest.mark.parametrize("stop", range(6))
def test_a_run_that_was_stopped_goes_on_and_ends_as_an_undisturbed_one(
    dataset: Dataset, tmp_path: Path, stop: int
) -> None:
    predict(Spy(), dataset, [CLEAN, FOG, NOISE], out=tmp_path / "whole")
    seen: list[Unit] = []

    def interrupt(unit: Unit) -> None:
        seen.append(unit)
        if len(seen) > stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(Spy(), dataset, [CLEAN, FOG, NOISE], out=tmp_path / "run", watch=interrupt)
    spy = Spy()
    predict(spy, dataset, [CLEAN, FOG, NOISE], out=tmp_path / "run")
    assert len(spy.queries) < 3 * len(dataset)
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_finished_run_is_not_run_again(dataset: Dataset, tmp_path: Path) -> None:
    predict(Spy(), dataset, [CLEAN], out=tmp_path / "run")
    spy = Spy()
    predict(spy, dataset, [CLEAN], out=tmp_path / "run")
    assert spy.encoded == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"matcher": Spy("other")}, "model was 'spy' and is now 'other'; choose another --out"),
        ({"side": "source"}, "side was 'both' and is now 'source'"),
        ({"direction": "reversed"}, "pair_list was"),
    ],
)
def test_other_settings_in_the_same_folder_are_refused_with_the_difference_named(
    dataset: Dataset, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    predict(Spy(), dataset, [CLEAN], out=tmp_path / "run")
    before = contents(tmp_path / "run")
    with pytest.raises(BadInput, match=message):
        predict(**{"matcher": Spy(), "dataset": dataset, "out": tmp_path / "run"} | changes)  # type: ignore[arg-type]  # parametrised
    assert contents(tmp_path / "run") == before


def test_a_folder_that_holds_something_else_is_left_alone(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(BadInput, match="exists and holds no run; choose another --out"):
        predict(Spy(), dataset, [CLEAN], out=tmp_path)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.zeros((1, 3)), r"has shape \(1, 3\), not \(1, 2\)"),
        (np.zeros(2), r"has shape \(2,\), not \(1, 2\)"),
        (np.array([[1.0, np.nan]]), "is not finite"),
        (np.array([[np.inf, 2.0]]), "is not finite"),
        (np.array([[-700.0, 2.0]]), "is far outside the target of 47 x 52"),
    ],
)
def test_a_bad_answer_stops_the_run_and_names_pair_and_condition(
    dataset: Dataset, tmp_path: Path, answer: object, message: str
) -> None:
    with pytest.raises(BadInput, match=f"pair 000000-a-b:car, fog@3: the matcher's .*{message}"):
        predict(Wrong(answer=answer), dataset, [FOG], out=tmp_path / "run")
    assert not list((tmp_path / "run").rglob("units/**/*.parquet"))


def test_a_damaged_picture_is_named_before_any_work(dataset: Dataset, tmp_path: Path) -> None:
    path = dataset.path("duck/e")
    path.write_bytes(path.read_bytes()[:-100])
    spy = Spy()
    with pytest.raises(BadInput, match=r"e\.jpg cannot be read"):
        predict(spy, dataset, [CLEAN], out=tmp_path / "run")
    assert spy.encoded == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"conditions": []}, "nothing to evaluate"),
        ({"side": "left"}, "side is 'left'; choose from both, source, target"),
        ({"direction": "up"}, "direction is 'up'; choose from forward, reversed"),
    ],
)
def test_settings_that_do_not_exist_are_refused(
    dataset: Dataset, tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        predict(Spy(), dataset, out=tmp_path / "run", **arguments)  # type: ignore[arg-type]  # wrong on purpose


def test_a_run_from_a_built_folder_is_the_same_run(dataset: Dataset, tmp_path: Path) -> None:
    conditions = parse_conditions("*@4")
    build(dataset, tmp_path / "built", conditions)
    pictures = open_build(tmp_path / "built", dataset, conditions)
    predict(Spy(), dataset, conditions, out=tmp_path / "memory")
    predict(Spy(), dataset, conditions, out=tmp_path / "folder", pictures=pictures)
    assert contents(tmp_path / "memory") == contents(tmp_path / "folder")


def test_the_record_tells_what_the_answers_depend_on(dataset: Dataset, tmp_path: Path) -> None:
    predict(Spy(), dataset, [CLEAN], out=tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["schema"] == 1
    assert (record["pairs"], record["points"]) == (8, len(dataset.table.source_points))
    assert record["pair_list"] == dataset.table.hash
    assert record["corrupted"]["spec"].startswith("spair-c/")
    assert {"numpy", "python", "pillow"} <= record["versions"].keys()


def test_scores_are_stored_with_their_metrics_full_name(dataset: Dataset, tmp_path: Path) -> None:
    run = predict(Spy(), dataset, [CLEAN, FOG], out=tmp_path / "run")
    rows = pq.read_table(tmp_path / "run" / "scores.parquet").to_pylist()
    metric = PCK("original", 0.05)
    (row,) = [each for each in rows if each["metric"] == str(metric) and each["severity"] == 3]
    assert row["pck"] == metric(run.answers(FOG))
    assert {each["protocol"] for each in rows} >= {"paper", "original"}


def test_stored_answers_tell_pair_and_point(dataset: Dataset, tmp_path: Path) -> None:
    run = predict(Spy(), dataset, [CLEAN], out=tmp_path / "run")
    table = pq.read_table(run.predictions(CLEAN)).to_pydict()
    expected = [(i, j) for i, pair in enumerate(dataset) for j in range(len(pair.source_points))]
    assert list(zip(table["pair"], table["point"], strict=True)) == expected


def test_a_run_whose_record_is_damaged_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    run = predict(Spy(), dataset, [CLEAN], out=tmp_path / "run")
    record = run.folder / "run.json"
    text = record.read_text()
    for damaged, message in (
        (text[:-9], "is damaged"),
        (
            text.replace('"schema": 1', '"schema": 7'),
            "a newer spairc: schema 7, and .* up to 1; up",
        ),
        (text.replace('"schema": 1', '"schema": "one"'), "damaged: its schema is 'one'"),
        ("[1, 2]", "damaged: its schema is None"),
        (text.replace('"side"', '"sides"'), "side, sides missing or too much"),
    ):
        record.write_text(damaged)
        with pytest.raises(BadInput, match=message):
            open_run(run.folder)


def test_a_pair_list_that_was_exchanged_is_noticed(dataset: Dataset, tmp_path: Path) -> None:
    run = predict(Spy(), dataset, [CLEAN], out=tmp_path / "run")
    other = predict(Spy(), dataset[:4], [CLEAN], out=tmp_path / "other")
    (other.folder / "pairs.parquet").replace(run.folder / "pairs.parquet")
    with pytest.raises(BadInput, match=r"pairs\.parquet is not the list that was run"):
        open_run(run.folder).answers(CLEAN)


def test_a_damaged_prediction_file_is_named(dataset: Dataset, tmp_path: Path) -> None:
    run = predict(Spy(), dataset, [CLEAN], out=tmp_path / "run")
    run.predictions(CLEAN).write_bytes(b"PAR1")
    with pytest.raises(BadInput, match=r"clean\.parquet is damaged .*; remove it"):
        run.answers(CLEAN)


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is no run folder: it has no run\.json"):
        open_run(tmp_path)
    with pytest.raises(BadInput, match="no condition is complete"):
        Run(tmp_path, None).scores(PCK("square"))  # type: ignore[arg-type]  # not reached


def test_the_default_folder_is_a_plain_name() -> None:
    assert default_folder(Spy("torchvision:a/b ../c")) == Path("runs/torchvision-a-b-..-c")
