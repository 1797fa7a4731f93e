"""`spairc train` and `spairc list recipes`, as a person types them."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tiny_training import TINY_NETWORK

from spairc.cli import main

TINY = (
    *TINY_NETWORK,
    "optimiser.batch_size=4",
)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def train(recipe: str, root: Path, out: Path, *more: object) -> Result:
    changes = [part for change in TINY for part in ("--set", change)]
    return run("train", recipe, "--root", root, "--out", out, "--device", "cpu", *changes, *more)


@pytest.fixture
def three_splits(tiny_root: Path) -> Path:
    """The tiny data set, its pairs being those of every split."""
    for split in ("trn", "val"):
        shutil.copytree(tiny_root / "PairAnnotation" / "test", tiny_root / "PairAnnotation" / split)
        listing = tiny_root / "Layout" / "large"
        shutil.copy(listing / "test.txt", listing / f"{split}.txt")
    return tiny_root


def test_a_run_tells_its_epochs_and_where_its_weights_are(
    three_splits: Path, tmp_path: Path
) -> None:
    result = train("supervised-cats", three_splits, tmp_path / "run", "--epochs", 2)
    assert result.exit_code == 0, result.output
    assert "labelled pairs: 8 to learn from, 8 to choose by" in result.output
    assert "supervised epoch 2 of 2: loss" in result.output
    assert "validation PCK@0.1" in result.output
    weights = tmp_path / "run" / "model_best.safetensors"
    assert weights.is_file()
    assert str(weights) in result.output
    record = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert record["recipe"]["supervised"]["epochs"] == 2


def test_the_same_command_again_has_nothing_left_to_do(three_splits: Path, tmp_path: Path) -> None:
    train("supervised-cats", three_splits, tmp_path / "run", "--epochs", 1)
    before = (tmp_path / "run" / "steps.csv").read_text()
    result = train("supervised-cats", three_splits, tmp_path / "run", "--epochs", 1)
    assert result.exit_code == 0
    assert "supervised epoch" not in result.output
    assert (tmp_path / "run" / "steps.csv").read_text() == before


@pytest.mark.parametrize(
    ("recipe", "more", "message"),
    [
        ("supervised-cat", (), "no recipe is called 'supervised-cat'; did you mean"),
        ("supervised-cats", ("--set", "seeed=1"), "did you mean 'seed'"),
        ("supervised-cats", ("--epochs", 0), "supervised.epochs is 0; it must be 1 to"),
        ("supervised-cats", ("--precision", "half"), "no precision is called 'half'"),
        ("supervised-cats", ("--device", "tpu"), "device 'tpu'"),
        ("matchme-cats", (), "give --unlabelled DIR"),
        ("matchme-cats", ("--unlabelled", "nowhere"), "neither PASCAL VOC"),
    ],
)
def test_wrong_input_is_one_line_and_nothing_is_written(
    recipe: str, more: tuple[object, ...], message: str, three_splits: Path, tmp_path: Path
) -> None:
    result = train(recipe, three_splits, tmp_path / "run", *more)
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_trunk_that_is_too_short_for_its_layers_is_told(
    three_splits: Path, tmp_path: Path
) -> None:
    result = train(
        "supervised-cats", three_splits, tmp_path / "run", "--set", "network.layers=[2,30]"
    )
    assert result.exit_code == 2
    assert "network.layers: [30] of a trunk whose last is 4" in result.output
    assert not (tmp_path / "run").exists()


def test_recipes_are_listed_with_their_published_scores() -> None:
    result = run("list", "recipes")
    assert result.exit_code == 0
    line = next(line for line in result.output.splitlines() if line.startswith("matchme-catspp"))
    assert "62.0" in line
