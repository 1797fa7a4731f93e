"""Which commands a row of a table takes, which of them were done, and what is in their way."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from matchme_train.recipe import Recipe, load_recipe, read_recipe
from matchme_train.sections import Unlabelled
from matchme_train.unlabelled import check_folder
from spairc.datasets import DATASETS, load_dataset
from spairc.lookup import lookup
from spairc.protocols import PROTOCOLS
from spairc.reproduce.tables import Plan, Quantity, Training
from spairc.runs import Run, open_run
from spairc.spec import CONDITIONS
from spairc.types import BadInput, Condition
from spairc_models.adapter import PRECISIONS

# How the CATs family's papers count each dataset.
PROTOCOL_OF = {
    "spair71k": "paper",
    "pf-pascal": "pf-pascal-paper",
    "pf-willow": "pf-willow-padded",
}
# Below DATA: the first that is there. `spairc download` and VOC's own archive unpack so.
FOLDERS_OF: Mapping[str, tuple[str, ...]] = {
    "spair71k": ("SPair-71k",),
    "pf-pascal": ("PF-dataset-PASCAL", "PF-PASCAL"),
    "pf-willow": ("PF-WILLOW",),
    "unlabelled": ("VOC2012", "VOCdevkit/VOC2012"),
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where things are, and how commands are run."""

    data: Path
    out: Path
    device: str | None = None
    precision: str = "float32"
    workers: int = 0
    parts: int = 1
    save_memory: bool = False

    def __post_init__(self) -> None:
        """Refuse what `spairc train` would, also where nothing is trained yet."""
        lookup(PRECISIONS, self.precision, "precision")
        if self.parts < 1 or self.workers < 0:
            raise BadInput("--parts must be at least 1, and --workers 0")

    def dataset(self, name: str) -> Path:
        """Return the folder of a dataset, or of the "unlabelled" pictures."""
        places = [self.data / each for each in FOLDERS_OF[name]]
        return next((each for each in places if each.is_dir()), places[0])

    def training(self, name: str) -> Path:
        """Return the folder of a training."""
        return self.out / "train" / name


class Evaluation(NamedTuple):
    """A trained network on a dataset."""

    training: str
    dataset: str

    def folder(self, setting: Setting) -> Path:
        """Return the run folder."""
        other = "" if self.dataset == "spair71k" else f"-on-{self.dataset}"
        return setting.out / f"{self.training}{other}"


@dataclass(frozen=True, eq=False)
class Train:
    """A `spairc train` to be done."""

    name: str
    plan: Training
    setting: Setting

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe with its changes.

        Raises:
            BadInput: If there is none of that name, or a change does not fit it.
        """
        return load_recipe(self.plan.recipe, self.changes)

    @property
    def changes(self) -> tuple[str, ...]:
        """What the command sets: a changed recipe does not take the model's name in the cache."""
        if not self.plan.changes:
            return ()
        return (*self.plan.changes, "registers=false", "published=false")

    def is_done(self) -> bool:
        """Return whether the run is there and finished.

        Raises:
            BadInput: If what is there is of another recipe, or its record is damaged.
        """
        folder = self.setting.training(self.name)
        record, result = folder / "recipe.json", folder / "model_best.safetensors"
        if not record.exists() and not result.exists():
            return False
        try:
            told = json.loads(record.read_text(encoding="utf-8"))["recipe"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{record} is missing or damaged ({error}); remove {folder}") from None
        if read_recipe(told, str(record)) != self.recipe:
            raise BadInput(
                f"{folder} holds another recipe than {' '.join(self.arguments()[1:2])} as this "
                f"table takes it; move it away or choose another --out"
            )
        return result.is_file()

    def arguments(self) -> list[str]:
        """Return what is typed after `spairc`."""
        setting = self.setting
        typed = ["train", self.plan.recipe, "--root", str(setting.dataset(self.recipe.dataset))]
        if self._unlabelled is not None:
            typed += ["--unlabelled", str(setting.dataset("unlabelled"))]
        if self.plan.annotator is not None:
            typed += ["--from-checkpoint", str(setting.training(self.plan.annotator))]
        typed += [part for change in self.changes for part in ("--set", change)]
        return [*typed, *self._how(), "--out", str(setting.training(self.name))]

    def _how(self) -> list[str]:
        """Return the options that tell how a network is trained, where they are not the usual."""
        setting, usual = self.setting, Setting(data=Path(), out=Path())
        typed: list[str] = []
        for name in ("device", "precision", "workers", "parts"):
            value = getattr(setting, name)
            typed += [] if value == getattr(usual, name) else [f"--{name}", str(value)]
        wants_less = setting.save_memory and self.recipe.network.name == "catspp"
        return [*typed, "--save-memory"] if wants_less else typed

    def check(self) -> None:
        """Raise BadInput if the recipe or the data are not there."""
        name, unlabelled = self.recipe.dataset, self._unlabelled
        root = self.setting.dataset(name)
        training, *_ = [load_dataset(name, root, split=each) for each in ("trn", "val", "test")]
        if unlabelled is not None:
            categories = sorted(set(training.table.categories.tolist()))
            check_folder(self.setting.dataset("unlabelled"), categories, unlabelled.fewest)

    @property
    def _unlabelled(self) -> Unlabelled | None:
        """How the recipe uses pictures without labels; None if it does without."""
        method = self.recipe.matchme or self.recipe.cocr or self.recipe.cycle
        return None if method is None else method.unlabelled


@dataclass(frozen=True, eq=False)
class Evaluate:
    """A `spairc eval` to be done."""

    what: Evaluation
    conditions: frozenset[Condition]
    trained: Train

    def run(self) -> Run | None:
        """Return the run as far as it is; None if it was not begun.

        Raises:
            BadInput: If the folder holds something else.
        """
        folder = self.what.folder(self.trained.setting)
        if not (folder / "run.json").is_file():
            return None
        run = open_run(folder)
        told, dataset = run.settings, self.what.dataset
        direction = PROTOCOLS[PROTOCOL_OF[dataset]].direction
        found = (told.model, told.dataset, told.split, told.layout, told.side, told.direction)
        layout = DATASETS[dataset].layouts[0]
        wanted = (self.trained.recipe.model, dataset, "test", layout, "both", direction)
        if found != wanted:
            raise BadInput(
                f"{folder} holds a run of {' '.join(found)}, not of {' '.join(wanted)}; move it "
                f"away or choose another --out"
            )
        return run

    def is_done(self) -> bool:
        """Return whether every condition that is needed is complete.

        Raises:
            BadInput: As `run`.
        """
        run = self.run()
        return run is not None and self.conditions.issubset(run.conditions)

    def arguments(self) -> list[str]:
        """Return what is typed after `spairc`."""
        setting, dataset = self.trained.setting, self.what.dataset
        typed = ["eval", "--model", self.trained.recipe.model]
        typed += ["--checkpoint", str(setting.training(self.trained.name))]
        typed += [] if dataset == "spair71k" else ["--dataset", dataset]
        typed += ["--root", str(setting.dataset(dataset)), "--protocol", PROTOCOL_OF[dataset]]
        if len(self.conditions) < len(CONDITIONS):
            named = [str(each) for each in CONDITIONS if each in self.conditions]
            typed += [part for name in named for part in ("--on", name)]
        typed += [] if setting.device is None else ["--device", setting.device]
        return [*typed, "--out", str(self.what.folder(setting))]

    def check(self) -> None:
        """Raise BadInput if the data are not there."""
        dataset = self.what.dataset
        load_dataset(dataset, self.trained.setting.dataset(dataset))


Step = Train | Evaluate


def evaluations_of(plan: Plan, name: str, setting: Setting) -> list[Evaluate]:
    """Return what a row's numbers are measured on, the baseline's run included."""
    needed: dict[Evaluation, set[Condition]] = {}
    for quantity in plan.rows[name].quantities:
        for what, conditions in needs_of(name, quantity).items():
            needed.setdefault(what, set()).update(conditions)
    return [
        Evaluate(what, frozenset(conditions), _train(plan.trainings, what.training, setting))
        for what, conditions in needed.items()
    ]


def needs_of(name: str, quantity: Quantity) -> dict[Evaluation, tuple[Condition, ...]]:
    """Return the evaluations that a number needs, the row's own first; and their conditions."""
    if quantity.baseline is None:
        return {Evaluation(name, quantity.dataset): (quantity.condition,)}
    return {Evaluation(each, quantity.dataset): CONDITIONS for each in (name, quantity.baseline)}


def steps_of(plan: Plan, name: str, setting: Setting) -> list[Step]:
    """Return what is left to do for a row, in order; nothing if all that it needs was run.

    Raises:
        BadInput: If a folder holds another run, or the recipe or the data are missing.
    """
    left: list[Step] = []
    for evaluation in evaluations_of(plan, name, setting):
        if not evaluation.is_done():
            left += [*_trainings(plan.trainings, evaluation.trained), evaluation]
    for step in left:
        step.check()
    return list({tuple(step.arguments()): step for step in left}.values())


def _trainings(trainings: Mapping[str, Training], last: Train) -> list[Train]:
    """Return a training that is left to do, after those that it starts from."""
    if last.is_done():
        return []
    annotator = last.plan.annotator
    if annotator is None:
        return [last]
    return [*_trainings(trainings, _train(trainings, annotator, last.setting)), last]


def _train(trainings: Mapping[str, Training], name: str, setting: Setting) -> Train:
    """Return a training by its name."""
    return Train(name, trainings[name], setting)
