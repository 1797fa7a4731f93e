"""The miniature's arms: how large they are, and the trainer's settings of each."""

from collections.abc import Sequence
from dataclasses import dataclass

BATCH = 4  # labelled pairs a step, and unlabelled ones
STEPS = 11  # of an epoch: 42 labelled pairs in SPair-mini


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large the miniature is."""

    side: int  # pixels of the input
    cells: int  # along a side of the grid
    epochs: int  # of the teacher and of each student
    strengths: tuple[float, ...]  # of photometric noise, by generation
    warp_strengths: tuple[float, ...]
    threshold: float = 0.9  # tau
    rate: float = 5e-4
    seeds: int
    seconds: tuple[float, float, float]  # of a step: supervised, student, noise alone; predicted
    overhead: tuple[float, float]  # seconds of a validation, and of a tested stage; predicted


SCALES: dict[str, Scale] = {
    "quick": Scale(
        side=128,
        cells=8,
        epochs=25,
        strengths=(0.5, 0.75),
        warp_strengths=(1 / 3, 2 / 3),
        seeds=3,
        seconds=(0.17, 0.46, 0.23),
        overhead=(0.5, 15),
    ),
    "full": Scale(
        side=256,
        cells=16,
        epochs=35,
        strengths=(0.5, 0.75, 1.0),
        warp_strengths=(1 / 3, 2 / 3, 1.0),
        seeds=4,
        seconds=(1.9, 4.7, 2.7),
        overhead=(6, 160),
    ),
}


@dataclass(frozen=True)
class Arm:
    """One run of the trainer."""

    recipe: str
    settings: tuple[str, ...]
    stages: tuple[str, ...]  # each of which is tested
    titles: tuple[str, ...]  # what the table calls them
    epochs: int  # in all
    kind: int  # of step: 0 supervised, 1 student, 2 noise alone
    taught: bool = True  # begins with the seed's teacher


def arms_of(scale: Scale) -> dict[str, Arm]:
    """Return the arms in the order of the table, in which they are also run."""
    count = len(scale.strengths)
    longer = (1 + count) * scale.epochs
    stages = tuple(f"generation-{number + 1}" for number in range(count))
    names = tuple(f"student {number + 1}" for number in range(count))
    noise = (scale.strengths, scale.warp_strengths)
    first = (scale.strengths[:1], scale.warp_strengths[:1])
    return {
        "teacher": _supervised("teacher", scale.epochs),
        "students": Arm(
            "matchme-cats",
            _student(scale, *noise, scale.threshold),
            stages,
            names,
            count * scale.epochs,
            1,
        ),
        "longer": _supervised("supervised, same length", longer),
        "without-noise": Arm(
            "matchme-cats",
            _student(scale, (0.0,), (0.0,), scale.threshold),
            stages[:1],
            ("student 1 without noise",),
            scale.epochs,
            1,
        ),
        "noise-alone": Arm(
            "matchme-cats",
            # One unlabelled pair a step, as the trainer wants some; it teaches nothing.
            (*_student(scale, *first, 1.0), "matchme.batch_size=1"),
            stages[:1],
            ("noise alone",),
            scale.epochs,
            2,
        ),
    }


def _supervised(title: str, epochs: int) -> Arm:
    """Return an arm of labelled pairs."""
    setting = f"supervised.epochs={epochs}"
    return Arm("supervised-cats", (setting,), ("supervised",), (title,), epochs, 0, taught=False)


def _student(
    scale: Scale, strengths: Sequence[float], warps: Sequence[float], threshold: float
) -> tuple[str, ...]:
    """Return the settings of MatchMe's generations."""
    return (
        f"matchme.epochs={scale.epochs}",
        f"matchme.generations={len(strengths)}",
        f"matchme.strengths={list(strengths)}",
        f"matchme.warp_strengths={list(warps)}",
        f"matchme.threshold={threshold}",
        f"matchme.batch_size={BATCH}",
        # With "fewest", the two ducks that are left without labels would set the number for all.
        "matchme.unlabelled.balance=oversample",
    )
