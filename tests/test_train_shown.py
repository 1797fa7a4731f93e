"""What a person sees of a training run: the figure, TensorBoard's files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_training import TINY_NETWORK

from matchme_train.board import board
from matchme_train.checkpoints import RunFolder
from matchme_train.loop import Progress
from matchme_train.recipe import load_recipe, with_epochs
from matchme_train.shown import Labels, shown_labels
from matchme_train.train import Request, prepare
from spairc.cli import main
from spairc.images import read_image
from spairc.protocols import PROTOCOLS
from spairc.report.figures.save import as_svg
from spairc.report.figures.training import validation

METRIC = PROTOCOLS["paper"].metric()
ROWS = [
    {"stage": "supervised", "validation_pck": "20.0"},
    {"stage": "supervised", "validation_pck": "31.5"},
    {"stage": "supervised", "validation_pck": "30.0"},
    {"stage": "generation-1", "validation_pck": "33.25"},
    {"stage": "generation-1", "validation_pck": "35.0"},
]
SMALL = (
    *TINY_NETWORK,
    "optimiser.batch_size=2",
)


def test_the_figure_shows_each_stages_epochs_and_marks_its_best() -> None:
    plate = validation(ROWS, "a_model $x$", METRIC)
    (axes,) = plate.figure.axes
    lines = [line.get_xydata() for line in axes.get_lines()]
    assert np.array_equal(lines[0], [[1.0, 20.0], [2.0, 31.5], [3.0, 30.0]])
    assert np.array_equal(lines[1], [[2, 31.5]])
    assert np.array_equal(lines[2], [[4.0, 33.25], [5.0, 35.0]])
    assert np.array_equal(lines[3], [[5, 35]])
    assert axes.get_title() == "a_model $x$"
    assert plate.caption.endswith("supervised 31.5, generation-1 35.0")


def test_the_figure_is_the_same_for_the_same_rows() -> None:
    assert as_svg(validation(ROWS, "m", METRIC).figure) == as_svg(
        validation(ROWS, "m", METRIC).figure
    )


def test_tensorboard_gets_losses_by_step_and_validation_by_epoch(tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="needs the extra tensorboard",
    )
    told = Progress(stage="s", epoch=1, epochs=2, step=3, steps=4, losses={"loss": 0.5})
    with board(tmp_path) as watch:
        watch(told)
        watch(replace(told, step=4, losses={"loss": 0.3}, validation_pck=41.0))
    found = event_accumulator.EventAccumulator(str(tmp_path))
    found.Reload()
    assert found.Tags()["scalars"] == ["s/loss", "s/validation_pck"]
    assert [(each.step, each.value) for each in found.Scalars("s/loss")] == [(7, 0.5)]
    assert [(each.step, each.value) for each in found.Scalars("s/validation_pck")] == [(2, 41.0)]


@pytest.mark.slow
def test_a_run_of_matchme_leaves_pictures_of_its_pseudo_labels(
    training_root: Path, unlabelled: Path, tmp_path: Path
) -> None:
    changes: tuple[str, ...] = (
        *SMALL,
        "matchme.generations=2",
        "matchme.strengths=[0.5,1]",
        "registers=false",
    )
    changes += ("matchme.warp_strengths=[0.5,1]", "matchme.batch_size=2", "matchme.threshold=0.05")
    words = [word for change in changes for word in ("--set", change)]
    run = tmp_path / "run"
    asked = ("--root", str(training_root), "--unlabelled", str(unlabelled), "--out", str(run))
    found = CliRunner().invoke(
        main, ["train", "matchme-cats", *asked, "--device", "cpu", "--epochs", "1", *words]
    )
    assert found.exit_code == 0, found.output
    for name in ("generation-1", "generation-2"):
        path = run / "pseudo-labels" / f"{name}.png"
        assert str(path) in found.output
        assert read_image(path).std() > 10
    chosen = load_recipe("matchme-cats", changes)
    request = Request(recipe=with_epochs(chosen, 1), root=training_root, out=run, device="cpu")
    prepared = prepare(replace(request, unlabelled=unlabelled))
    shown = dict(shown_labels(prepared.material, RunFolder(run), prepared.how, pairs=2))
    first, second = (shown[name] for name in ("generation-1", "generation-2"))
    assert [each.id for each in first] == [each.id for each in second]
    for each in first:
        count = len(each.given)
        assert each.cells == 16
        assert f"{count} of 16 cells" in each.caption
        assert (each.confidence > 0.05).all()
        assert len(each.found) == len(each.confidence) == count
        height, width = each.first.shape[:2]
        centres = {((column + 0.5) * width / 4 - 0.5) for column in range(4)}
        assert set(each.given[:, 0]) <= centres
        assert (each.given[:, 1] < height).all()
    assert any(len(each.given) for each in first)


def test_of_many_labels_some_are_drawn_evenly_and_of_few_all() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    many, few = (
        Labels("p", picture, picture, places, places, np.ones(len(places), np.float32), 256, 0.7)
        for places in (np.zeros((200, 2)), np.zeros((3, 2)))
    )
    assert len(many.drawn) == 64
    assert (many.drawn[0], many.drawn[-1]) == (0, 199)
    assert set(np.diff(many.drawn).tolist()) == {3, 4}
    assert few.drawn.tolist() == [0, 1, 2]
    assert few.caption == "3 of 256 cells above 0.7 (1 %): p"
    assert replace(few, threshold=None).caption == "3 of 256 cells have a label (1 %): p"


def test_a_run_leaves_its_figure_and_what_tensorboard_reads(
    training_root: Path, tmp_path: Path
) -> None:
    words = [word for change in SMALL for word in ("--set", change)]
    asked = ("--root", str(training_root), "--out", str(tmp_path / "run"), "--device", "cpu")
    found = CliRunner().invoke(
        main,
        ["train", "supervised-cats", *asked, "--epochs", "2", "--tensorboard", *words],
    )
    assert found.exit_code == 0, found.output
    assert "validation.png" in found.output
    for name in ("validation.png", "validation.svg", "validation.pdf"):
        assert (tmp_path / "run" / name).stat().st_size > 1000
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
