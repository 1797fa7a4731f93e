"""Whole runs of COCR's recipes: a teacher, its labels, pre-training, fine-tuning; resume."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from tiny_training import TINY_NETWORK

from matchme_train.checkpoints import RunFolder
from matchme_train.labelling import PSEUDO_PAIRS
from matchme_train.loop import Progress
from matchme_train.recipe import load_recipe
from matchme_train.shown import shown_labels
from matchme_train.stages import length_of
from matchme_train.train import Request, prepare, train
from spairc.pairs import read_pairs
from spairc.types import BadInput

TINY = (
    *TINY_NETWORK,
    "optimiser.batch_size=2",
    "optimiser.learning_rate=1e-3",
    "supervised.epochs=1",
    "cocr.epochs=1",
    "cocr.fine_tuning_epochs=1",
    "cocr.grid=4",
    "cocr.pairs=5",
    "cocr.rounds=1",
    "cocr.share=0.7",
)
SCORRSAN = ("network.layers=[3]", "network.cells=64", "cocr.grid=16")


def request(
    root: Path, out: Path, unlabelled: Path | None, *changes: str, **given: object
) -> Request:
    name = "cocr-scorrsan" if SCORRSAN[0] in changes else "cocr-cats"
    asked = Request(
        recipe=load_recipe(name, [*TINY, *changes]),
        root=root,
        out=out,
        device="cpu",
        unlabelled=unlabelled,
    )
    return replace(asked, **given)  # type: ignore[arg-type]  # fields of a request


@pytest.mark.parametrize("changes", [(), pytest.param(SCORRSAN, marks=pytest.mark.slow)])
def test_the_recipes_run_to_their_end(
    changes: tuple[str, ...], training_root: Path, unlabelled: Path, tmp_path: Path
) -> None:
    told: list[Progress] = []
    prepared = prepare(request(training_root, tmp_path / "run", unlabelled, *changes))
    folder = train(prepared, told.append)
    steps = {each.stage: each.steps for each in told}
    assert steps == {"supervised": 2, "pre-training": 3, "fine-tuning": 2}
    assert all(np.isfinite(each.losses["loss"]) for each in told)
    for name, count in steps.items():
        assert length_of(prepared.material, name) == count
    assert folder.final.read_bytes() == folder.best("fine-tuning").read_bytes()
    labels = read_pairs(folder.path / PSEUDO_PAIRS)
    assert len(labels) == 5
    assert set(labels.categories.tolist()) == {"car", "duck"}
    assert all(key.startswith("unlabelled/") for key in labels.image_keys)
    ((stage, shown),) = shown_labels(prepared.material, folder, prepared.how, 3)
    assert (stage, [each.id for each in shown]) == ("pre-training", labels.ids[:3].tolist())
    assert np.array_equal(shown[2].found + 0.5, labels[2].target_points)
    assert shown[0].second.shape[1::-1] == labels[0].target_size


def test_a_network_that_learns_nothing_ends_as_the_pre_trained_one(
    training_root: Path, unlabelled: Path, tmp_path: Path
) -> None:
    still = ("optimiser.learning_rate=0", "optimiser.backbone_learning_rate=0")
    asked = request(training_root, tmp_path / "run", unlabelled, *still)
    folder = train(prepare(asked))
    names = ("supervised", "pre-training", "fine-tuning")
    teacher, before, after = (load_file(folder.best(name)) for name in names)
    assert all((each == after[name]).all() for name, each in before.items())
    assert any((each != after[name]).any() for name, each in teacher.items())  # it was fresh


class Killed(BaseException):
    """Stands for a power cut."""


def content(folder: RunFolder) -> list[bytes]:
    names = ("steps.csv", "epochs.csv", PSEUDO_PAIRS)
    files = [*(folder.path / name for name in names), folder.final, folder.checkpoints[-1]]
    return [path.read_bytes() for path in files]


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_as_if_it_had_not(
    training_root: Path, unlabelled: Path, tmp_path: Path
) -> None:
    whole = content(
        train(prepare(request(training_root, tmp_path / "whole", unlabelled, checkpoint_every=1)))
    )
    asked = prepare(request(training_root, tmp_path / "cut", unlabelled, checkpoint_every=1))
    for kill in (("supervised", 1), ("pre-training", 2), ("fine-tuning", 1)):

        def watch(told: Progress, place: tuple[str, int] = kill) -> None:
            if (told.stage, told.step) == place:
                raise Killed

        with pytest.raises(Killed):
            train(asked, watch)
    assert content(train(asked)) == whole


@pytest.mark.slow
def test_killed_while_labelling_it_labels_again(
    training_root: Path, unlabelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = content(train(prepare(request(training_root, tmp_path / "whole", unlabelled))))
    asked = prepare(request(training_root, tmp_path / "cut", unlabelled))

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("matchme_train.stages.labels_by", killed)
        with pytest.raises(Killed):
            train(asked)
    assert not (tmp_path / "cut" / PSEUDO_PAIRS).exists()
    assert content(train(asked)) == whole


@pytest.mark.slow
def test_a_teacher_from_a_file_takes_the_supervised_stages_place(
    training_root: Path, unlabelled: Path, tmp_path: Path
) -> None:
    first = train(prepare(request(training_root, tmp_path / "first", unlabelled)))
    told: list[Progress] = []
    asked = request(
        training_root, tmp_path / "run", unlabelled, from_checkpoint=str(first.best("supervised"))
    )
    train(prepare(asked), told.append)
    assert {each.stage for each in told} == {"pre-training", "fine-tuning"}


def test_what_does_not_go_together_is_told_before_anything_is_written(
    training_root: Path, unlabelled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    for asked, message in (
        (request(training_root, out, None), "needs pictures without labels: give --unlabelled"),
        (request(training_root, out, unlabelled, "supervised=false"), "has no first stage"),
        (
            request(training_root, out, unlabelled, f"cocr.saliency={tmp_path / 'none'}"),
            r"has no .*\.png .*for the picture",
        ),
    ):
        with pytest.raises(BadInput, match=message):
            prepare(asked)
    assert not out.exists()
