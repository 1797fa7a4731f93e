"""What a person sees of a training run: the figure, TensorBoard's files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from matchme_train.board import board
from matchme_train.loop import Progress
from spairc.cli import main
from spairc.report.figures.save import as_svg
from spairc.report.figures.training import validation

ROWS = [
    {"stage": "supervised", "validation_pck": "20.0"},
    {"stage": "supervised", "validation_pck": "31.5"},
    {"stage": "supervised", "validation_pck": "30.0"},
    {"stage": "generation-1", "validation_pck": "33.25"},
    {"stage": "generation-1", "validation_pck": "35.0"},
]
SMALL = (
    "network.side=64",
    "network.cells=4",
    "network.blocks=[1,1,1,1]",
    "network.width=4",
    "network.layers=[2,3]",
    "network.weights=random",
    "optimiser.batch_size=2",
)


def test_the_figure_shows_each_stages_epochs_and_marks_its_best() -> None:
    plate = validation(ROWS, "a_model $x$")
    (axes,) = plate.figure.axes
    lines = [line.get_xydata() for line in axes.get_lines()]
    assert np.array_equal(lines[0], [[1, 20], [2, 31.5], [3, 30]])
    assert np.array_equal(lines[1], [[2, 31.5]])
    assert np.array_equal(lines[2], [[4, 33.25], [5, 35]])
    assert np.array_equal(lines[3], [[5, 35]])
    assert axes.get_title() == "a_model $x$"
    assert plate.caption.endswith("supervised 31.5, generation-1 35.0")


def test_the_figure_is_the_same_for_the_same_rows() -> None:
    assert as_svg(validation(ROWS, "m").figure) == as_svg(validation(ROWS, "m").figure)


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
