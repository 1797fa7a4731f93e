"""Whole runs of PWarpC, CNNGeoU and SCorrSAN's teaching with CATs++, in small."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from matchme_train.checkpoints import RunFolder
from matchme_train.data import Batch
from matchme_train.loop import Progress, Stage, batches_of
from matchme_train.recipe import load_recipe
from matchme_train.stages import length_of, make_stage, stage_names
from matchme_train.team import Team
from matchme_train.train import Prepared, Request, prepare, train
from spairc.types import BadInput

TRUNK = ("network.blocks=[1,1,1,1]", "network.width=4", "network.weights=random")
COMMON = (*TRUNK, "optimiser.batch_size=2", "optimiser.learning_rate=1e-3")
CATS = ("network.name=cats", "network.side=64", "network.cells=4", "network.layers=[2,3]")
CATSPP = ("network.side=128", "network.cells=8")
METHODS: dict[str, tuple[str, ...]] = {
    "pwarpc-catspp": (
        "supervised.epochs=1",
        "warp_consistency.epochs=1",
        "warp_consistency.optimiser.batch_size=2",
    ),
    "cnngeou-catspp": (
        "supervised.epochs=1",
        "cycle.epochs=2",
        "cycle.batch_size=2",
        "cycle.absolute=3",
    ),
    "scorrsan-mt-catspp": ("pseudo.epochs=2", "pseudo.start=1"),
}
NEEDS = {"cnngeou-catspp": "unlabelled"}
SLOW = pytest.mark.slow
ON_CATS = [("pwarpc-catspp", CATS), pytest.param("cnngeou-catspp", CATS, marks=SLOW)]


def prepared(
    name: str, sizes: tuple[str, ...], root: Path, out: Path, more: Path, **given: object
) -> Prepared:
    chosen = load_recipe(name, [*COMMON, *sizes, *METHODS[name]])
    asked = Request(
        recipe=chosen, root=root, out=out, device="cpu", unlabelled=more if name in NEEDS else None
    )
    return prepare(replace(asked, **given))  # type: ignore[arg-type]  # fields of a request


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("cnngeou-catspp", CATS), *(pytest.param(each, CATSPP, marks=SLOW) for each in METHODS)],
)
def test_a_recipe_runs_to_its_end_and_learns_from_more_than_labels(
    name: str, sizes: tuple[str, ...], training_root: Path, unlabelled: Path, tmp_path: Path
) -> None:
    asked = prepared(name, sizes, training_root, tmp_path / "run", unlabelled)
    told: list[Progress] = []
    folder = train(asked, told.append)
    names = stage_names(asked.material.recipe, None)
    steps = [each for each in told if each.validation_pck is None]
    assert len(steps) == sum(length_of(asked.material, stage) for stage in names)
    last = [each.losses for each in steps if each.stage == names[-1]]
    assert all(np.isfinite(each["loss"]) for each in last)
    assert any(each["pseudo"] > 0 and 0 < each["pass_rate"] <= 1 for each in last if len(each) > 2)
    assert folder.final.read_bytes() == folder.best(names[-1]).read_bytes()


class Killed(BaseException):
    """Stands for a power cut."""


def interrupted(steps: int) -> Callable[[Progress], object]:
    left = iter(range(steps - 1))

    def watch(_: Progress) -> None:
        if next(left, None) is None:
            raise Killed

    return watch


def content(folder: RunFolder) -> list[bytes]:
    tables = [(folder.path / name).read_bytes() for name in ("steps.csv", "epochs.csv")]
    return [*tables, folder.final.read_bytes(), folder.checkpoints[-1].read_bytes()]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "sizes"), ON_CATS)
def test_a_run_that_was_killed_goes_on_as_if_it_had_not(
    name: str, sizes: tuple[str, ...], training_root: Path, unlabelled: Path, tmp_path: Path
) -> None:
    whole, cut = (
        prepared(name, sizes, training_root, tmp_path / each, unlabelled, checkpoint_every=1)
        for each in ("whole", "cut")
    )
    for steps in (2, 3):
        with pytest.raises(Killed):
            train(cut, interrupted(steps))
    assert content(train(cut)) == content(train(whole))


@dataclass(frozen=True, eq=False)
class Mate(Team):
    """One of two processes, which has what the other one gathers."""

    others: list[Tensor] = field(default_factory=list)
    own: list[Tensor] = field(default_factory=list)

    def whole(self, part: Tensor, count: int) -> Tensor:
        self.own.append(part.detach())
        if not self.others:
            return part
        other = self.others[len(self.own) - 1]
        return torch.cat([part, other] if self.leads else [other, part])[:count]


def half_of(batch: Batch, mate: Mate) -> Batch:
    parts = {
        name: torch.stack(mate.share(list(value)))
        for name, value in vars(batch).items()
        if isinstance(value, Tensor)
    }
    return replace(batch, team=mate, count=len(batch.ids), **parts)  # type: ignore[arg-type]  # tensors


def halves(both: tuple[Batch, Batch | None], mate: Mate) -> tuple[Batch, Batch | None]:
    labelled, others = both
    return half_of(labelled, mate), None if others is None else half_of(others, mate)


def gradients(stage: Stage, both: tuple[Batch, Batch | None]) -> tuple[float, list[Tensor]]:
    network = stage.networks[0].eval()
    network.zero_grad()
    total = stage.method.losses(stage.networks, *both, 1).total
    total.backward()  # type: ignore[no-untyped-call]  # torch's own
    found = [torch.zeros(1) if each.grad is None else each.grad for each in network.parameters()]
    return float(total.detach()), [each.clone() for each in found]


@pytest.mark.parametrize(("name", "sizes"), ON_CATS)
def test_two_processes_have_the_loss_and_the_gradients_of_one(
    name: str, sizes: tuple[str, ...], training_root: Path, unlabelled: Path, tmp_path: Path
) -> None:
    first = prepared(name, sizes, training_root, tmp_path / "run", unlabelled)
    folder = train(first)
    stage = make_stage(first.material, 1, folder, first.how)
    both = next(batches_of(stage, 0, 0, first.how))
    seen: list[list[Tensor]] = []
    for place in (0, 1):  # what each gathers, before it knows the other's
        mate = Mate(2, place)
        gradients(stage, halves(both, mate))
        seen.append(mate.own)
    totals, parts = [], []
    for place in (0, 1):
        mate = Mate(2, place, seen[1 - place])
        total, part = gradients(stage, halves(both, mate))
        totals.append(total)
        parts.append(part)
    alone, wanted = gradients(stage, both)
    assert totals == pytest.approx([alone, alone], rel=1e-4)
    one, other, whole = (torch.cat([each.flatten() for each in all_]) for all_ in (*parts, wanted))
    miss, length = (float(torch.linalg.vector_norm(each)) for each in (one + other - whole, whole))
    assert miss < 1e-3 * length
    assert float(torch.linalg.vector_norm(one - other)) > 0.1 * length


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("pwarpc-catspp", {"unlabelled": Path("more")}, "uses no --unlabelled"),
        ("cnngeou-catspp", {"unlabelled": None}, "needs pictures without labels"),
        ("scorrsan-mt-catspp", {"from_checkpoint": "a.pth"}, "--from-checkpoint is not for it"),
    ],
)
def test_what_a_recipe_does_not_take_is_refused_in_one_line(
    name: str, given: dict[str, object], message: str, training_root: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=message) as refusal:
        prepared(name, CATSPP, training_root, tmp_path / "run", tmp_path, **given)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("warp_consistency.families.kinds=[spine]", "takes a list"),
        ('warp_consistency.families.kinds=["spine"]', "did you mean 'spline'"),
        ("warp_consistency.families.corner=0.5", "families.corner is 0.5; it must be 0 to 0.49"),
        ("warp_consistency.share=2", "warp_consistency.share is 2.0; it must be 0 to 1"),
        ("warp_consistency.temperature=0", "must be 0.0001 to"),
        ("warp_consistency.top=0.3", "field of"),
        ("cycle.epochs=2", "warp_consistency and cycle exclude"),
    ],
)
def test_wrong_fields_are_refused_by_name(change: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_recipe("pwarpc-catspp", [change])


def test_a_given_checkpoint_stands_for_the_supervised_stage() -> None:
    for name, last in (("pwarpc-catspp", "warp-consistency"), ("cnngeou-catspp", "cycle")):
        recipe = load_recipe(name)
        assert stage_names(recipe, None) == ("supervised", last)
        assert stage_names(recipe, "catspp.pth") == (last,)
    assert stage_names(load_recipe("scorrsan-mt-catspp"), None) == ("mutual",)
