"""Whole training runs of tiny networks on tiny pictures: stages, resume, what is refused."""

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_training import TINY_NETWORK

from matchme_train.checkpoints import RunFolder
from matchme_train.loop import Progress
from matchme_train.recipe import Recipe, load_recipe
from matchme_train.train import Request, prepare, register, train
from spairc.types import BadInput

NETWORK = (
    *TINY_NETWORK,
    "optimiser.batch_size=2",
    "optimiser.learning_rate=1e-3",
)
SCORRSAN = ("network.layers=[3]", "network.cells=64")
CATSPP = ("network.side=128", "network.cells=8")
Watcher = Callable[[Progress], object]


@pytest.fixture
def root(training_root: Path) -> Path:
    return training_root


def recipe(name: str, *changes: str) -> Recipe:
    sizes = {"cats": (), "orrsan": SCORRSAN, "scorrsan": SCORRSAN, "catspp": CATSPP}
    family = next(each for each in sizes if name.endswith(each) or name.startswith(each))
    return load_recipe(name, [*NETWORK, *sizes[family], *changes])


def request(root: Path, out: Path, chosen: Recipe, **given: object) -> Request:
    asked = Request(recipe=chosen, root=root, out=out, device="cpu")
    return replace(asked, **given)  # type: ignore[arg-type]  # fields of a request


SHORT_MATCHME = (
    "supervised.epochs=1",
    "matchme.epochs=1",
    "matchme.generations=2",
    "matchme.strengths=[0.5,1]",
    "matchme.warp_strengths=[0.5,1]",
    "matchme.batch_size=2",
    "matchme.threshold=0.05",
)
RUNS: dict[str, tuple[str, ...]] = {
    "supervised-cats": ("supervised.epochs=2",),
    "supervised-catspp": ("supervised.epochs=1",),
    "matchme-cats": SHORT_MATCHME,
    "matchme-catspp": (*SHORT_MATCHME, "matchme.fresh=false"),
    "semimatch-cats": (
        "supervised.epochs=1",
        "semimatch.epochs=1",
        "semimatch.threshold=0.01",
        "semimatch.dynamic=true",
    ),
    "supervised-scorrsan": ("supervised.epochs=1",),
    "scorrsan-mt": ("pseudo.epochs=2", "pseudo.start=1"),
    "scorrsan-st": ("supervised.epochs=1", "pseudo.epochs=1", "pseudo.start=0"),
}
SLOW = ("supervised-scorrsan", "scorrsan-mt", "scorrsan-st", "matchme-catspp", "supervised-catspp")


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=pytest.mark.slow if each in SLOW else ()) for each in RUNS],
)
def test_every_recipe_runs_to_its_end_and_leaves_weights(
    name: str, root: Path, unlabelled: Path, tmp_path: Path
) -> None:
    chosen = recipe(name, *RUNS[name])
    given = {"unlabelled": unlabelled} if chosen.matchme else {}
    told: list[Progress] = []
    folder = train(prepare(request(root, tmp_path / "run", chosen, **given)), told.append)
    assert all(np.isfinite(each.losses["loss"]) for each in told)
    scored = [each for each in told if each.validation_pck is not None]
    assert len(scored) == len((folder.path / "epochs.csv").read_text().splitlines()) - 1
    assert load_file(folder.final).keys() == load_file(folder.best(told[-1].stage)).keys()
    assert len(folder.checkpoints) <= 2
    if name != "supervised-cats" and not name.startswith("supervised"):
        assert any(each.losses.get("pass_rate", 0) > 0 for each in told)
        assert any(each.losses.get("pseudo", 0) > 0 for each in told)


class Killed(BaseException):
    """Stands for a power cut."""


def interrupted(steps: int) -> Watcher:
    count = 0

    def watch(_: Progress) -> None:
        nonlocal count
        count += 1
        if count == steps:
            raise Killed

    return watch


def content(folder: RunFolder) -> dict[str, object]:
    """All that must not depend on interruptions."""
    texts = {name: (folder.path / name).read_text() for name in ("steps.csv", "epochs.csv")}
    best = {path.name: path.read_bytes() for path in sorted(folder.path.glob("best/*"))}
    last = folder.checkpoints[-1]
    return {**texts, **best, "final": folder.final.read_bytes(), last.name: last.read_bytes()}


@pytest.mark.parametrize(
    "kills",
    [
        (4, 1, 5),
        *(pytest.param((steps,), marks=pytest.mark.slow) for steps in (1, 2, 3, 7, 9)),
    ],
)
def test_a_run_that_was_killed_goes_on_as_if_it_had_not(
    kills: tuple[int, ...], root: Path, unlabelled: Path, tmp_path: Path
) -> None:
    chosen = recipe("matchme-cats", *SHORT_MATCHME)
    given = {"unlabelled": unlabelled, "checkpoint_every": 1}
    whole = content(train(prepare(request(root, tmp_path / "whole", chosen, **given))))
    asked = prepare(request(root, tmp_path / "cut", chosen, **given))
    for steps in kills:
        with pytest.raises(Killed):
            train(asked, interrupted(steps))
    assert content(train(asked)) == whole


@pytest.mark.slow
def test_dropout_goes_on_where_it_was(root: Path, tmp_path: Path) -> None:
    chosen = recipe("supervised-catspp", "supervised.epochs=1")
    whole = content(train(prepare(request(root, tmp_path / "whole", chosen, checkpoint_every=1))))
    asked = prepare(request(root, tmp_path / "cut", chosen, checkpoint_every=1))
    with pytest.raises(Killed):
        train(asked, interrupted(1))
    assert content(train(asked)) == whole


@pytest.mark.slow  # each process imports torch
def test_worker_processes_change_nothing(root: Path, tmp_path: Path) -> None:
    chosen = recipe("supervised-cats", "supervised.epochs=1")
    folders = [
        train(prepare(request(root, tmp_path / str(workers), chosen, workers=workers)))
        for workers in (0, 2)
    ]
    assert content(folders[0]) == content(folders[1])


def test_bfloat16_trains_to_a_loss_near_float32s(root: Path, tmp_path: Path) -> None:
    losses = []
    for precision in ("float32", "bfloat16"):
        told: list[Progress] = []
        chosen = recipe("supervised-cats", "supervised.epochs=1")
        asked = request(root, tmp_path / precision, chosen, precision=precision)
        train(prepare(asked), told.append)
        losses.append(told[0].losses["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert losses[1] != losses[0]


@pytest.mark.parametrize(
    "option", ["matchme.distance=cross-entropy", "matchme.kernel=1", "matchme.cycle=true"]
)
def test_what_the_paper_leaves_open_changes_what_a_student_learns_of_pairs_without_labels(
    option: str, root: Path, unlabelled: Path, tmp_path: Path
) -> None:
    first = recipe("supervised-cats", "supervised.epochs=1")
    given = str(train(prepare(request(root, tmp_path / "first", first))).final)
    pseudo = []
    for number, changes in enumerate([(), (option,)]):
        chosen = recipe("matchme-cats", *SHORT_MATCHME, *changes)
        asked = request(root, tmp_path / f"run{number}", chosen, unlabelled=unlabelled)
        told: list[Progress] = []

        def noted(each: Progress, told: list[Progress] = told) -> None:
            told.append(each)
            interrupted(1)(each)

        with pytest.raises(Killed):
            train(prepare(replace(asked, from_checkpoint=given)), noted)
        pseudo.append(told[0].losses["pseudo"])
    assert np.isfinite(pseudo).all()
    assert pseudo[0] != pseudo[1]


def test_training_leaves_torchs_random_numbers_as_they_were(root: Path, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    train(
        prepare(request(root, tmp_path / "run", recipe("supervised-cats", "supervised.epochs=1")))
    )
    assert torch.equal(torch.get_rng_state(), before)


def test_a_supervised_network_learns_its_pairs(root: Path, tmp_path: Path) -> None:
    changes = (
        "supervised.epochs=10",
        "supervised.noise.chance=0",
        "supervised.noise.crop=0",
        "optimiser.batch_size=4",
        "optimiser.backbone_learning_rate=1e-3",
    )
    told: list[Progress] = []
    train(
        prepare(request(root, tmp_path / "run", recipe("supervised-cats", *changes))), told.append
    )
    epochs = [each.losses["loss"] for each in told if each.validation_pck is not None]
    assert epochs[-1] < 0.8 * epochs[0]


def test_the_last_stage_is_used_and_not_its_teacher(
    root: Path, unlabelled: Path, tmp_path: Path
) -> None:
    chosen = recipe("matchme-cats", *SHORT_MATCHME)
    folder = train(prepare(request(root, tmp_path / "run", chosen, unlabelled=unlabelled)))
    final = folder.final.read_bytes()
    assert final != folder.best("supervised").read_bytes()
    assert final in [folder.best(f"generation-{number}").read_bytes() for number in (1, 2)]


def test_an_annotator_from_a_file_takes_the_supervised_stages_place(
    root: Path, unlabelled: Path, tmp_path: Path
) -> None:
    first = recipe("supervised-cats", "supervised.epochs=1")
    given = train(prepare(request(root, tmp_path / "first", first)))
    chosen = recipe("matchme-cats", *SHORT_MATCHME)
    asked = request(
        root, tmp_path / "run", chosen, unlabelled=unlabelled, from_checkpoint=str(given.final)
    )
    told: list[Progress] = []
    train(prepare(asked), told.append)
    assert {each.stage for each in told} == {"generation-1", "generation-2"}


def test_a_loss_that_is_no_number_stops_the_run_and_names_its_pairs(
    root: Path, tmp_path: Path
) -> None:
    chosen = recipe("supervised-cats", "supervised.epochs=1")
    asked = prepare(request(root, tmp_path / "run", chosen, checkpoint_every=1))
    with pytest.raises(Killed):
        train(asked, interrupted(2))  # the checkpoint after the first step is there
    path = RunFolder(tmp_path / "run").checkpoints[-1]
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    state = load_file(path)
    state["0/x_normal"] = torch.full_like(state["0/x_normal"], torch.nan)
    save_file(state, path, metadata)
    with pytest.raises(BadInput, match=r"epoch 0, step 1: the loss is nan; its pairs are 00"):
        train(asked)


def test_a_folder_of_another_run_is_refused_and_the_field_named(root: Path, tmp_path: Path) -> None:
    train(
        prepare(request(root, tmp_path / "run", recipe("supervised-cats", "supervised.epochs=1")))
    )
    other = recipe("supervised-cats", "supervised.epochs=1", "optimiser.factor=0.25")
    with pytest.raises(BadInput, match=r"optimiser\.factor was 0\.5 and is now 0\.25"):
        train(prepare(request(root, tmp_path / "run", other)))


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("matchme-cats", {}, "needs pictures without labels"),
        ("supervised-cats", {"unlabelled": Path("more")}, "uses no --unlabelled"),
        ("supervised-cats", {"from_checkpoint": "x.pth"}, "has no annotator"),
        ("supervised-cats", {"checkpoint_every": 0}, "at least 1"),
        ("supervised-cats", {"root": Path("nowhere")}, "nowhere"),
    ],
)
def test_what_does_not_go_together_is_told_before_anything_is_written(
    name: str, given: dict[str, Any], message: str, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=message):
        prepare(request(**{"root": root, "out": tmp_path / "run", "chosen": recipe(name), **given}))
    assert not (tmp_path / "run").exists()


def test_an_annotator_of_another_network_is_refused_before_anything_is_written(
    root: Path, unlabelled: Path, tmp_path: Path
) -> None:
    small = recipe("supervised-cats", "supervised.epochs=1")
    given = train(prepare(request(root, tmp_path / "first", small)))
    wider = recipe("matchme-cats", *SHORT_MATCHME, "network.width=8")
    asked = request(
        root, tmp_path / "run", wider, unlabelled=unlabelled, from_checkpoint=str(given.final)
    )
    with pytest.raises(BadInput, match="does not fit the recipe's network"):
        prepare(asked)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("share", "pairs"), [(1.0, 4), (0.5, 2), (0.01, 2)])
def test_of_the_labels_a_share_is_used_and_of_each_category_one_pair_at_least(
    share: float, pairs: int, root: Path, tmp_path: Path
) -> None:
    prepared = prepare(
        request(root, tmp_path / "run", recipe("supervised-cats", f"labelled={share}"))
    )
    table = prepared.material.training.table
    assert len(table) == pairs
    assert set(table.categories.tolist()) == {"car", "duck"}
    assert prepared.notes[0].startswith(f"labelled pairs: {pairs} ")


def test_a_finished_run_is_registered_under_its_models_name(root: Path, tmp_path: Path) -> None:
    chosen = recipe("supervised-cats", "supervised.epochs=1")
    folder = train(prepare(request(root, tmp_path / "run", chosen)))
    path = register(folder, chosen)
    told = json.loads(path.read_text())
    assert path.name == "cats.json"
    assert Path(told["checkpoint"]) == folder.final.resolve()
    assert told["network"]["layers"] == [2, 3]


def test_a_full_disk_loses_no_checkpoint(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = recipe("supervised-cats", "supervised.epochs=2")
    whole = content(train(prepare(request(root, tmp_path / "whole", chosen, checkpoint_every=1))))
    asked = prepare(request(root, tmp_path / "full", chosen, checkpoint_every=1))
    write, calls = Path.write_bytes, 0

    def full(path: Path, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls > 4:
            write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "full")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(BadInput, match="no space left"):
        train(asked)
    folder = RunFolder(tmp_path / "full")
    assert len(folder.checkpoints) == 2
    assert not list(folder.path.rglob("*.part"))
    monkeypatch.undo()
    monkeypatch.setenv("SPAIRC_CACHE", str(tmp_path / "cache"))
    assert content(train(asked)) == whole
