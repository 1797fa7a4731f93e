"""The miniature of MatchMe: its arms, its few labelled pictures, its intervals."""

import importlib
import json
import sys
from collections import Counter
from itertools import permutations
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest

from spairc.datasets import load_dataset
from spairc.metrics import Answers
from spairc.statistics import Sample, resampled_weights
from spairc.types import CLEAN, BadInput, Condition
from tests.conftest import invented_pairs, tiny_picture

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SIZES = {"car": {"trn": 7, "val": 2, "test": 3}, "duck": {"trn": 4, "val": 3, "test": 2}}


@pytest.fixture(scope="module")
def scripts() -> dict[str, ModuleType]:
    """The benchmark's files, which stand beside each other."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        names = ("miniature", "miniature_arms", "miniature_data", "miniature_tables")
        return {name.partition("_")[2]: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(BENCHMARKS))


def picture_record(category: str, number: int) -> dict[str, Any]:
    """A picture's annotation; every third lacks the second point."""
    points = {str(i): [5 + 9 * i + number, 7 + 5 * i] for i in range(4)}
    width, height = 60 + number, 44
    return {
        "category": category,
        "image_width": width,
        "image_height": height,
        "bndbox": [3, 4, 40 + number, 30],
        "pose": "Unspecified",
        **dict.fromkeys(("azimuth_id", "truncated", "occluded", "difficult"), 0),
        "kps": {name: None if number % 3 == 0 and name == "1" else p for name, p in points.items()},
    }


def write_set(root: Path, category: str, split: str, first: int, count: int) -> list[str]:
    """A split of one category: every ordered pair; return their names."""
    numbers = range(first, first + count)
    for number in numbers:
        record = picture_record(category, number - first)
        picture = tiny_picture(number, record["image_width"], record["image_height"])
        for path in (
            root / "JPEGImages" / category / f"p{number}.png",
            root / "ImageAnnotation" / category / f"p{number}.json",
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".png":
                PIL.Image.fromarray(picture).save(path)
            else:
                path.write_text(json.dumps(record))
    names: list[str] = []
    for one, other in permutations(numbers, 2):
        name = f"{len(names) + 1000 * first:06}-p{one}-p{other}:{category}"
        pair: dict[str, Any] = {"filename": name, "category": category}
        for prefix, number in (("src", one), ("trg", other)):
            record = picture_record(category, number - first)
            size = [record["image_width"], record["image_height"], 3]
            pair |= {f"{prefix}_imname": f"p{number}.png", f"{prefix}_imsize": size}
            pair |= {f"{prefix}_bndbox": record["bndbox"], f"{prefix}_kps": [[8, 9], [31, 20]]}
        factors = ("viewpoint_variation", "scale_variation", "truncation", "occlusion")
        pair |= dict.fromkeys(factors, 0)
        path = root / "PairAnnotation" / split / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(pair))
        names.append(name)
    return names


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two categories with few pictures, in SPair-71k's layout."""
    root, first = tmp_path_factory.mktemp("original"), 10
    for split in ("trn", "val", "test"):
        names: list[str] = []
        for category, counts in SIZES.items():
            names += write_set(root, category, split, first, counts[split])
            first += 20
        listing = root / "Layout" / "large" / f"{split}.txt"
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text("".join(f"{name}\n" for name in names))
    return root


def test_labelled_pairs_are_those_among_the_few_pictures_of_a_seed(
    scripts: dict[str, ModuleType], original: Path, tmp_path: Path
) -> None:
    few = scripts["data"].few_pictures(original, tmp_path / "few", 3)
    counts = Counter(key.partition("/")[0] for key in few.labelled)
    assert counts == {"car": 4, "duck": 2}  # two ducks must stay without labels
    table = load_dataset("spair71k", few.root, split="trn").table
    assert len(table) == few.pairs == 4 * 3 + 2 * 1
    assert set(table.image_keys) == set(few.labelled)
    others = scripts["data"].few_pictures(original, tmp_path / "other", 4)
    assert others.labelled != few.labelled


def test_the_pool_is_what_has_no_labels(
    scripts: dict[str, ModuleType], original: Path, tmp_path: Path
) -> None:
    few = scripts["data"].few_pictures(original, tmp_path / "few", 3)
    pool = {f"{path.parent.name}/{path.stem}" for path in few.pool.glob("*/*")}
    training = load_dataset("spair71k", original, split="trn").table
    assert pool == set(training.image_keys) - set(few.labelled)


def test_validation_has_a_pair_of_each_validation_and_labelled_picture_by_shared_points(
    scripts: dict[str, ModuleType], original: Path, tmp_path: Path
) -> None:
    few = scripts["data"].few_pictures(original, tmp_path / "few", 3)
    table = load_dataset("spair71k", few.root, split="val").table
    own = set(load_dataset("spair71k", original, split="val").table.ids.tolist())
    added = [pair for pair in table if pair.id not in own]
    assert len(table) - len(added) == 2 + 6
    ends = [{pair.source, pair.target} for pair in added]
    labelled = set(few.labelled)
    assert len({frozenset(each) for each in ends}) == len(added) == 2 * 4 + 3 * 2
    assert all(len(each & labelled) == 1 for each in ends)
    assert Counter(pair.source in labelled for pair in added) == {True: 7, False: 7}
    for pair in added:
        numbers = [
            json.loads((original / "ImageAnnotation" / f"{key}.json").read_text())["kps"]
            for key in (pair.source, pair.target)
        ]
        shared = [name for name in numbers[0] if numbers[0][name] and numbers[1][name]]
        assert pair.source_points.tolist() == [numbers[0][name] for name in shared]
        assert pair.target_points.tolist() == [numbers[1][name] for name in shared]


def test_the_test_split_stays_as_it_is(
    scripts: dict[str, ModuleType], original: Path, tmp_path: Path
) -> None:
    few = scripts["data"].few_pictures(original, tmp_path / "few", 3)
    assert load_dataset("spair71k", few.root).table.hash == (
        load_dataset("spair71k", original).table.hash
    )


def test_a_category_with_too_few_pictures_is_refused(scripts: dict[str, ModuleType]) -> None:
    table = invented_pairs(1, pictures=3)
    with pytest.raises(BadInput, match="car has 3 training pictures"):
        scripts["data"].chosen_pictures(table, 0)


def test_labels_are_judged_in_cells_and_by_whether_they_are_used(
    scripts: dict[str, ModuleType],
) -> None:
    table = invented_pairs(2)
    used = np.random.default_rng(3).random(len(table.target_points)) < 0.4
    sizes = table.target_sizes[table.pair_of_point]
    # Those that are used are off by (3, 4) cells of 8, the others not at all.
    found = table.target_points + used[:, None] * np.array([3, 4]) * sizes / 8
    told = scripts["data"].quality(Answers(table, found), used, 8)
    assert told.used_error == pytest.approx(5)
    assert told.other_error == 0
    assert (told.used_pck, told.other_pck) == (0, 100)
    assert told.used == pytest.approx(100 * used.mean())


@pytest.mark.parametrize("size", ["quick", "full"])
def test_every_arm_is_a_recipe_and_the_long_one_is_as_long_as_teacher_and_students(
    scripts: dict[str, ModuleType], size: str, tmp_path: Path
) -> None:
    scale = scripts["arms"].SCALES[size]
    arms = scripts["arms"].arms_of(scale)
    assert arms["longer"].epochs == arms["teacher"].epochs + arms["students"].epochs
    kinds = {
        name: scripts[""].Job(scale, 1, name, tmp_path, tmp_path / "w.pth", tmp_path).recipe
        for name in arms
    }
    assert kinds["students"].matchme.generations == len(scale.strengths)
    assert kinds["without-noise"].matchme.warp_strengths == (0.0,)
    assert kinds["without-noise"].matchme.strengths == (0.0,)
    assert kinds["noise-alone"].matchme.threshold == 1
    assert kinds["noise-alone"].matchme.strengths == kinds["students"].matchme.strengths[:1]
    assert kinds["teacher"].matchme is None
    assert {each.network.cells for each in kinds.values()} == {scale.cells}


def slow_interval(hits: list[np.ndarray], table: Any, drawn: np.ndarray, seed: int) -> list[float]:
    """The mean over drawn seeds of resampled PCK, resample by resample, from the definition."""
    resamples = len(drawn)
    weights = np.zeros((1 + resamples, len(table)))
    for positions, each in resampled_weights(table, np.random.default_rng(seed), resamples):
        weights[:, positions] = each
    values = []
    for number in range(1 + resamples):
        chosen = range(len(hits)) if number == 0 else drawn[number - 1]
        scores = []
        for which in chosen:
            total = over = 0.0
            for pair in range(len(table)):
                weight = weights[number, pair]
                total += weight * hits[which][pair] / table.counts[pair]
                over += weight
            scores.append(100 * total / over)
        values.append(sum(scores) / len(scores))
    return values


def test_intervals_are_over_pictures_and_seeds_at_once(
    scripts: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = scripts["tables"]
    monkeypatch.setattr(tables, "RESAMPLES", 25)
    pairs = invented_pairs(5, pictures=6)
    cells = (CLEAN, Condition("snow", 3))
    draws = np.random.default_rng(6)
    hits = {
        (title, seed): draws.integers(0, pairs.counts + 1, (2, len(pairs)))
        for title in ("teacher", "student")
        for seed in (2, 0, 1)
    }
    samples = {
        Path(f"{title}-{seed}"): Sample(pairs, cells, tables.METRIC, each)
        for (title, seed), each in hits.items()
    }
    monkeypatch.setattr(tables, "_sample", samples.__getitem__)
    found = [tables.Trained(title, seed, Path(f"{title}-{seed}"), {}) for title, seed in hits]
    scores = tables.scores_of(found, np.random.default_rng(7))
    # The draws of seeds follow those of pictures from the same generator.
    after = np.random.default_rng(7)
    list(resampled_weights(pairs, after, 25))
    drawn = after.integers(3, size=(25, 2))
    for title in ("teacher", "student"):
        for cell in (0, 1):
            own = [hits[title, seed][cell] for seed in (0, 1, 2)]
            expected = slow_interval(own, pairs, drawn, 7)
            assert scores[title][:, cell] == pytest.approx(expected)
    less = tables.intervals(scores["student"] - scores["teacher"])
    gaps = (scores["student"] - scores["teacher"])[1:, 0]
    assert (less[0].low, less[0].high) == pytest.approx(np.quantile(gaps, [0.025, 0.975]))
    assert len(less) == 3


def test_the_plan_is_printed_without_a_run(
    scripts: dict[str, ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["miniature.py", "set", "--weights", "w.pth", "--quick", "--plan", "--seeds", "4"]
    monkeypatch.setattr(sys, "argv", given)
    scripts[""].main()
    told = capsys.readouterr().out
    assert "student 1, student 2: 50 epochs of 11 steps, 4 seeds" in told
    assert "brightness@3" in told
    assert not list(tmp_path.iterdir())


def test_processor_time_goes_on_where_a_stopped_arm_was(
    scripts: dict[str, ModuleType], tmp_path: Path
) -> None:
    path = tmp_path / "seconds.json"
    first = scripts[""].Clock(path).write()
    assert 0 <= first < 1
    path.write_text("100.5\n")
    assert 100.5 <= scripts[""].Clock(path).write() < 101.5
    assert float(path.read_text()) >= 100.5


def test_another_miniatures_folder_is_refused(
    scripts: dict[str, ModuleType], tmp_path: Path
) -> None:
    (tmp_path / "miniature.json").write_text("{}\n")
    options = type("Options", (), {"root": tmp_path, "out": tmp_path, "weights": tmp_path})
    with pytest.raises(BadInput, match="holds another miniature"):
        scripts[""].begin(options, scripts["arms"].SCALES["quick"])


@pytest.mark.slow
def test_the_whole_chain_runs_and_finished_arms_are_kept(
    scripts: dict[str, ModuleType],
    shared: Path,
    original: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)  # for the workers, who get this process's path
    weights = shared / "weights" / "mobilenet_v2_imagenet.pth"
    sizes = ["--quick", "--epochs", "1", "--seeds", "1", "--workers", "2"]
    given = [str(original), "--weights", str(weights), "--out", str(tmp_path), *sizes]
    monkeypatch.setattr(sys, "argv", ["miniature.py", *given])
    scripts[""].main()
    first = capsys.readouterr().out
    scripts[""].main()
    again = capsys.readouterr().out
    assert first.count("processor time") == again.count(": kept") == 5
    table = (tmp_path / "table.md").read_text()
    assert table in first
    assert table in again
    assert [line for line in table.splitlines() if line.startswith("| noise alone |")]
    rows = (tmp_path / "values.csv").read_text().splitlines()
    assert "noise alone,0,pass rate,0" in rows
    assert sum(row.startswith("student 2,0,PCK ") for row in rows) == 7
