"""How long the commands of a table will take on this machine."""

from dataclasses import dataclass
from functools import lru_cache

from matchme_train.loop import How
from matchme_train.probe import Seen, machine_of, stage_costs, untrained
from matchme_train.sections import Network
from spairc.cost import Allowance, duration, predict_cost
from spairc.datasets import load_dataset
from spairc.evaluate import plan as plan_run
from spairc.protocols import PROTOCOLS
from spairc.reproduce.steps import PROTOCOL_OF, Evaluate, Setting, Step, Train
from spairc.spec import CONDITIONS
from spairc.types import CLEAN, Condition
from spairc_models.adapter import choose_device


@dataclass(frozen=True)
class Forecast:
    """What a command will take."""

    seconds: float
    told: str  # how it comes about


def machine(setting: Setting) -> str:
    """Return what the times are true of.

    Raises:
        BadInput: If there is no such device.
    """
    return machine_of(choose_device(setting.device))


def forecast(step: Step, seen: Seen) -> Forecast:
    """Return what a command will take, by a few steps or pairs of it.

    Args:
        step: The command.
        seen: What was measured for commands before it, on the same device; more is added.

    Raises:
        BadInput: If there is no such device, or a training step does not fit into its memory.
    """
    return _training(step, seen) if isinstance(step, Train) else _evaluation(step)


def hours(seconds: float) -> str:
    """Return a time in hours, or as people say it where that is short."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else duration(seconds)  # noqa: PLR2004 -- an hour


def _training(step: Train, seen: Seen) -> Forecast:
    """Return what a training will take: its steps, and its validations."""
    setting, recipe = step.setting, step.recipe
    how = How(
        device=choose_device(setting.device),
        precision=setting.precision,
        workers=setting.workers,
        checkpoint_every=1_000_000_000,  # never, in so few steps
        parts=setting.parts,
        save_memory=setting.save_memory and recipe.network.name == "catspp",
    )
    training = load_dataset(recipe.dataset, setting.dataset(recipe.dataset), split="trn")
    annotated = step.plan.annotator is not None
    costs = stage_costs(recipe, training, how, seen, annotated=annotated)
    one = _predicted(recipe.network, setting, recipe.dataset, "val", (CLEAN,))
    validating = one * sum(each.validations for each in costs)
    parts = [f"{each.name} {each.steps:,} steps {hours(each.seconds)}" for each in costs]
    told = ", ".join([*parts, f"validation {hours(validating)}"])
    return Forecast(sum(each.seconds for each in costs) + validating, told)


def _evaluation(step: Evaluate) -> Forecast:
    """Return what is left of an evaluation, as `spairc eval` predicts it."""
    setting, dataset = step.trained.setting, step.what.dataset
    run = step.run()
    done = () if run is None else run.conditions
    left = tuple(each for each in CONDITIONS if each in step.conditions and each not in done)
    seconds = _predicted(step.trained.recipe.network, setting, dataset, "test", left)
    return Forecast(seconds, f"{len(left)} of 76 conditions")


@lru_cache(maxsize=64)
def _predicted(
    network: Network,
    setting: Setting,
    dataset: str,
    split: str,
    conditions: tuple[Condition, ...],
) -> float:
    """Return the seconds that `spairc eval` would predict for a network of this kind."""
    pairs = load_dataset(dataset, setting.dataset(dataset), split=split)
    direction = PROTOCOLS[PROTOCOL_OF[dataset]].direction
    matcher = untrained(network, "untrained", setting.device)
    planned = plan_run(matcher, pairs, conditions, direction=direction)
    on_gpu = choose_device(setting.device).type == "cuda"
    return predict_cost(planned, allowance=Allowance(devices=int(on_gpu))).seconds
