"""Several processes do what one does with the whole batch; so do several parts of a batch."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_training import TINY_NETWORK
from torch.autograd.graph import saved_tensors_hooks

from matchme_train.checkpoints import RunFolder
from matchme_train.loop import batches_of
from matchme_train.networks import begin_training
from matchme_train.recipe import load_recipe
from matchme_train.stages import make_stage
from matchme_train.team import ALONE, Team
from matchme_train.train import Request, prepare, train
from spairc.types import BadInput

# The trunk stays as it is, and with it batch norm, which would see each process's share by itself.
SMALL = (
    *TINY_NETWORK,
    "optimiser.batch_size=3",
    "optimiser.learning_rate=1e-3",
    "optimiser.backbone_learning_rate=0",
    "supervised.epochs=2",
)
MATCHME = (
    "supervised.epochs=1",
    "matchme.epochs=1",
    "matchme.generations=1",
    "matchme.strengths=[1]",
    "matchme.warp_strengths=[0.5]",
    "matchme.batch_size=3",
    "matchme.threshold=0.05",
)
CATSPP = ("network.side=128", "network.cells=8", "supervised.epochs=1", "optimiser.batch_size=1")
SCORRSAN = ("network.layers=[3]", "network.cells=64", "pseudo.epochs=2", "pseudo.start=1")
SEMIMATCH = (
    "supervised.epochs=1",
    "semimatch.epochs=1",
    "semimatch.threshold=0.01",
    "semimatch.optimiser.batch_size=3",
    "semimatch.optimiser.learning_rate=1e-3",
    "semimatch.optimiser.backbone_learning_rate=0",
)
COCR = (
    "optimiser.learning_rate=1e-4",  # three stages: AdamW makes steps of rounding's signs
    "supervised.epochs=1",
    "cocr.epochs=1",
    "cocr.fine_tuning_epochs=1",
    "cocr.grid=4",
    "cocr.pairs=5",
    "cocr.rounds=1",
)
# With CATs, which has no dropout: every process would draw its own.
ON_CATS = ("network.name=cats", "supervised.epochs=1")
PWARPC = (
    *ON_CATS,
    "warp_consistency.epochs=1",
    "warp_consistency.optimiser.batch_size=3",
    "warp_consistency.optimiser.learning_rate=1e-3",
    "warp_consistency.optimiser.backbone_learning_rate=0",
)
CNNGEOU = (*ON_CATS, "cycle.epochs=1", "cycle.batch_size=3", "cycle.absolute=3")


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [1, 4, 5])
def test_shares_are_equally_long_and_hold_the_whole_batch_in_its_order(
    size: int, count: int
) -> None:
    items = list("abcde"[:count])
    shares = [Team(size, place).share(items) for place in range(size)]
    assert len({len(share) for share in shares}) == 1
    assert [item for share in shares for item in share][:count] == items


def test_one_process_alone_changes_nothing() -> None:
    part = torch.rand(3, 2, requires_grad=True)
    assert ALONE.whole(part, 3) is part
    assert ALONE.share([5, 6]) == [5, 6]
    assert ALONE.told("x") == "x"


def noted(sizes: list[int], tensor: torch.Tensor) -> torch.Tensor:
    sizes.append(tensor.nbytes)
    return tensor


def unchanged(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def options(changes: tuple[str, ...]) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


def launched(recipe: str, root: Path, out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A training run of two processes on this machine's processor."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    # A port of its own: tests may run side by side.
    port = ["--main_process_port", "0", "--num_machines", "1", "--mixed_precision", "no"]
    asked = ["-m", "matchme_train", recipe, "--root", str(root), "--out", str(out)]
    return subprocess.run(
        [*launch, *port, *asked, "--device", "cpu", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "SPAIRC_CACHE": str(out.parent / "cache")},
    )


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute as the launched processes do: AdamW makes much of last digits of gradients near 0."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow  # two processes import torch
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("supervised-cats", ()),
        ("matchme-cats", MATCHME),
        ("semimatch-cats", SEMIMATCH),
        ("pwarpc-catspp", PWARPC),
        ("cnngeou-catspp", CNNGEOU),
        ("cocr-cats", COCR),
        (
            "scorrsan-mt",
            ("network.layers=[3]", "network.cells=64", "pseudo.epochs=2", "pseudo.start=1"),
        ),
    ],
)
def test_two_processes_do_what_one_does_with_the_same_batch(
    recipe: str, changes: tuple[str, ...], training_root: Path, unlabelled: Path, tmp_path: Path
) -> None:
    asked = (*SMALL, *changes) if recipe != "scorrsan-mt" else (*SMALL[:-1], *changes)
    needs = recipe in ("matchme-cats", "cnngeou-catspp", "cocr-cats")
    more = ["--unlabelled", str(unlabelled)] if needs else []
    found = launched(recipe, training_root, tmp_path / "two", *options(asked), *more)
    assert found.returncode == 0, found.stderr[-2000:]
    assert found.stdout.count("weights:") == 1  # one of them talks
    request = Request(
        recipe=load_recipe(recipe, asked),
        root=training_root,
        out=tmp_path / "one",
        device="cpu",
        unlabelled=unlabelled if more else None,
    )
    alone, together = load_file(train(prepare(request)).final), tmp_path / "two"
    for name, tensor in load_file(together / "model_best.safetensors").items():
        assert torch.allclose(tensor, alone[name], atol=1e-5), name
    one, two = ((tmp_path / each / "epochs.csv").read_text() for each in ("one", "two"))
    first, second = (
        [float(cell) for line in text.splitlines()[1:] for cell in line.split(",")[2:] if cell]
        for text in (one, two)
    )
    assert second == pytest.approx(first, rel=1e-4, abs=1e-4)


@pytest.mark.slow
def test_what_one_process_refuses_ends_all_with_one_line(
    training_root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "taken"
    out.mkdir()
    (out / "something").write_text("of mine")
    found = launched("supervised-cats", training_root, out, *options(SMALL))
    assert found.returncode != 0
    assert "holds no training run" in found.stderr
    assert [path.name for path in out.iterdir()] == ["something"]


@pytest.mark.parametrize(
    "parts", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)]
)
def test_a_batch_in_parts_weighs_each_part_by_its_pairs(
    parts: int, training_root: Path, tmp_path: Path
) -> None:
    recipe = load_recipe("supervised-cats", (*SMALL, "supervised.epochs=1"))
    request = Request(
        recipe=recipe, root=training_root, out=tmp_path / "run", device="cpu", parts=parts
    )
    prepared = prepare(request)
    stage = make_stage(prepared.material, 0, RunFolder(tmp_path / "run"), prepared.how)
    pairs = [pairs for pairs, _ in batches_of(stage, 0, 0, prepared.how)][:parts]
    assert sum(part.count for part in pairs) == 3  # the first step's batch; one pair is left
    begin_training(stage.networks[0], recipe.optimiser)
    losses = [
        float(stage.method.losses(stage.networks, part, None, 0).total.detach()) for part in pairs
    ]
    wanted = np.average(losses, weights=[part.count for part in pairs])
    train(prepared)
    first = (tmp_path / "run" / "steps.csv").read_text().splitlines()[1].split(",")
    assert float(first[3]) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.slow
def test_memory_is_saved_and_nothing_else_changes(training_root: Path, tmp_path: Path) -> None:
    recipe = load_recipe("supervised-catspp", (*SMALL, *CATSPP))
    request = Request(recipe=recipe, root=training_root, out=tmp_path / "run", device="cpu")
    flows, kept = [], []
    for saves in (False, True):
        prepared = prepare(replace(request, save_memory=saves))
        stage = make_stage(prepared.material, 0, RunFolder(tmp_path / "run"), prepared.how)
        network = stage.networks[0]
        begin_training(network, recipe.optimiser)
        network.eval()  # without dropout
        batch, _ = next(batches_of(stage, 0, 0, prepared.how))
        sizes: list[int] = []
        with saved_tensors_hooks(partial(noted, sizes), unchanged):
            loss = stage.method.losses([network], batch, None, 0).total
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        flows.append([each.grad for each in network.parameters() if each.grad is not None])
        kept.append(sum(sizes))
    assert kept[1] < 0.7 * kept[0]
    for one, other in zip(*flows, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"parts": 0}, "at least 1"),
        ({"save_memory": True}, "--save-memory is for catspp"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    given: dict[str, object], reason: str, training_root: Path, tmp_path: Path
) -> None:
    recipe = load_recipe("supervised-cats", SMALL)
    asked: dict[str, object] = {"recipe": recipe, "root": training_root, "out": tmp_path / "run"}
    with pytest.raises(BadInput, match=reason):
        prepare(Request(**asked, **given))  # type: ignore[arg-type]  # fields of a request
