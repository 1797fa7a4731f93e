"""Training on PF-PASCAL: its list's direction and mirrored rows, its validation, its recipes."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import scipy.io
import torch
from safetensors.torch import load_file
from tiny_training import TINY_NETWORK

from matchme_train.checkpoints import RunFolder
from matchme_train.data import Chances, Item, Labelled
from matchme_train.loop import Progress
from matchme_train.mirrored import Mirrored, in_mirror
from matchme_train.networks import make_network
from matchme_train.recipe import Recipe, load_recipe
from matchme_train.sections import Network
from matchme_train.targets import target_flow
from matchme_train.tasks import TASKS
from matchme_train.train import Request, prepare, train
from matchme_train.validation import validation_pck
from spairc.datasets import load_dataset
from spairc.types import BadInput

SIZES = {"x": (61, 43), "y": (47, 72), "z": (90, 38)}
TINY = (
    *TINY_NETWORK,
    "optimiser.batch_size=2",
    "supervised.epochs=1",
)
CATSPP = ("network.side=128", "network.cells=8")
NETWORK = Network(
    name="cats", side=64, cells=4, blocks=(1, 1, 1, 1), width=4, layers=(2, 3), weights="random"
)


def write_list(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three pictures; three pairs to learn from, each a second time to be mirrored."""
    root = tmp_path / "PF-dataset-PASCAL"
    draws = np.random.default_rng(4)
    for stem, (width, height) in SIZES.items():
        path = root / "JPEGImages" / f"{stem}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = PIL.Image.fromarray(draws.integers(0, 256, (9, 11, 3)).astype(np.uint8))
        coarse.resize((width, height), PIL.Image.Resampling.BICUBIC).save(path, quality=95)
        path = root / "Annotations" / "bicycle" / f"{stem}.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        points = draws.uniform(0.1, 0.9, (3, 2)) * (width, height)
        scipy.io.savemat(path, {"kps": points, "bbox": np.array([[2, 3, width - 4, height - 5]])})

    def row(source: str, target: str, *rest: object) -> list[object]:
        return [f"JPEGImages/{source}.jpg", f"JPEGImages/{target}.jpg", 2, *rest]

    pairs = (("x", "y"), ("z", "y"), ("x", "z"))
    header = ["source_image", "target_image", "class", "flip"]
    rows = [row(*pair, flip) for flip in (1, 0) for pair in pairs]
    write_list(root / "train_pairs.csv", header, rows)
    write_list(root / "val_pairs.csv", header, [row("y", "z", 0), row("x", "z", 0)])
    return root


def request(root: Path, out: Path, name: str, *changes: str, **given: object) -> Request:
    chosen: Recipe = load_recipe(name, [*TINY, *changes])
    asked = Request(recipe=chosen, root=root, out=out, device="cpu")
    return replace(asked, **given)  # type: ignore[arg-type]  # fields of a request


def test_pairs_are_learnt_as_they_are_asked_and_a_second_time_for_the_mirror(root: Path) -> None:
    listed = load_dataset("pf-pascal", root, split="trn")
    learnt = TASKS["pf-pascal"].trained(listed)
    ends = [(pair.source, pair.target) for pair in learnt]
    assert ends == [("y", "x"), ("y", "z"), ("z", "x")] * 2
    assert np.array_equal(learnt[4].source_points, listed[1].target_points)
    assert TASKS["spair71k"].trained(listed).table.hash == listed.table.hash


def test_a_mirrored_pairs_flow_is_that_of_its_mirrored_points() -> None:
    draws = np.random.default_rng(8)
    given, answers = (torch.from_numpy(draws.uniform(2, 62, (5, 2))).float() for _ in range(2))
    flow = partial(target_flow, cells=4, side=64, field=35)
    first = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))
    plain = Item(id="p", first=first, second=first.flip(-2), target=flow(given, answers))
    mirrored = in_mirror(plain)
    assert torch.equal(mirrored.first[:, :, 0], first[:, :, 63])
    assert torch.equal(mirrored.second[:, 5, 7], plain.second[:, 5, 56])
    turned = [torch.stack([64 - points[:, 0], points[:, 1]], dim=1) for points in (given, answers)]
    wanted = flow(*turned)
    assert mirrored.target is not None
    torch.testing.assert_close(mirrored.target, wanted, atol=1e-5, rtol=0)
    assert (wanted != 0).any()


def test_the_second_half_of_the_pairs_is_mirrored_with_noise_of_its_own(root: Path) -> None:
    learnt = TASKS["pf-pascal"].trained(load_dataset("pf-pascal", root, split="trn"))
    still = Labelled(learnt, NETWORK, Chances("cats", 0), (1, 2))
    items = Mirrored(still)
    assert len(items) == 6
    assert torch.equal(items.item(0, 2).first, still.item(0, 2).first)
    assert torch.equal(items.item(0, 5).first, still.item(0, 2).first.flip(-1))
    noisy = Mirrored(Labelled(learnt, NETWORK, Chances("cats", 0.9, 0.9), (1, 2)))
    assert not torch.equal(noisy.item(0, 5).first, noisy.item(0, 2).first.flip(-1))


def test_validation_asks_from_the_listed_target_and_measures_by_the_picture(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load_dataset("pf-pascal", root, split="val")
    network = make_network(NETWORK, 0)
    # Everything moves by 24 pixels to the right, so that the two directions have other scores.
    flow = torch.tensor([1.5, 0.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    monkeypatch.setattr(network, "match_features", lambda *_: flow)
    found = validation_pck(network, NETWORK, dataset, TASKS["pf-pascal"].protocol)
    shares = []
    for pair in dataset:
        given = np.floor(pair.target_points * 64 / np.array(pair.target_size))
        truth = pair.source_points * 64 / np.array(pair.source_size)
        shares.append((np.linalg.norm(given - truth + np.array([24, 0]), axis=1) <= 6.4).mean())
    assert found == pytest.approx(100 * np.mean(shares))
    assert found > 0


@pytest.mark.parametrize(
    "name",
    [
        "supervised-pfpascal-cats",
        pytest.param("supervised-pfpascal-catspp", marks=pytest.mark.slow),
    ],
)
def test_the_recipes_run_to_their_end(name: str, root: Path, tmp_path: Path) -> None:
    changes = CATSPP if name.endswith("catspp") else ()
    told: list[Progress] = []
    prepared = prepare(request(root, tmp_path / "run", name, *changes))
    assert prepared.notes[0] == "labelled pairs: 6 to learn from, 2 to choose by"
    folder = train(prepared, told.append)
    assert [each.step for each in told] == [1, 2, 3, 3]
    assert all(np.isfinite(each.losses["loss"]) for each in told)
    assert folder.final.is_file()


@pytest.fixture
def started(training_root: Path, tmp_path: Path) -> Callable[[str], str]:
    """What trains a network on SPair-71k's layout; its weights are where the others begin."""

    def make(name: str) -> str:
        changes = CATSPP if name.endswith("catspp") else ()
        asked = request(training_root, tmp_path / "first", name, *changes)
        return str(train(prepare(asked)).final)

    return make


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("pfpascal-cats", "supervised-cats"),
        pytest.param("pfpascal-catspp", "supervised-catspp", marks=pytest.mark.slow),
    ],
)
def test_fine_tuning_goes_on_with_the_given_weights(
    name: str, first: str, root: Path, tmp_path: Path, started: Callable[[str], str]
) -> None:
    changes = CATSPP if name.endswith("catspp") else ()
    given = started(first)
    still = ("optimiser.learning_rate=0", "optimiser.backbone_learning_rate=0")
    folder = train(
        prepare(request(root, tmp_path / "run", name, *changes, *still, from_checkpoint=given))
    )
    weights = load_file(folder.final)
    assert all(torch.equal(each, weights[name]) for name, each in load_file(given).items())


def test_a_fine_tuning_that_was_killed_goes_on_as_if_it_had_not(
    root: Path, tmp_path: Path, started: Callable[[str], str]
) -> None:
    class Killed(BaseException):
        pass

    def kill(told: Progress) -> None:
        if told.step == 2:
            raise Killed

    def content(folder: RunFolder) -> list[bytes]:
        files = [folder.final, folder.checkpoints[-1], folder.path / "steps.csv"]
        return [path.read_bytes() for path in files]

    given = {"from_checkpoint": started("supervised-cats"), "checkpoint_every": 1}
    name = "pfpascal-cats"
    whole = content(train(prepare(request(root, tmp_path / "whole", name, **given))))
    asked = prepare(request(root, tmp_path / "cut", name, **given))
    with pytest.raises(Killed):
        train(asked, kill)
    assert content(train(asked)) == whole


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("pfpascal-cats", {}, "goes on with a trained one: give --from-checkpoint"),
        ("supervised-pfpascal-cats", {"from_checkpoint": "x.pth"}, "has no annotator"),
        ("supervised-cats", {}, "SPair-71k|spair71k"),
    ],
)
def test_what_does_not_go_together_is_told_before_anything_is_written(
    name: str, given: dict[str, object], message: str, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=message):
        prepare(request(root, tmp_path / "run", name, **given))
    assert not (tmp_path / "run").exists()
