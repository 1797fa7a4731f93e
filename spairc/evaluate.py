"""Ask a matcher: encode each picture once per condition, match all pairs, store the answers.

The unit of work is (condition, category): about 27 pictures and 680 pairs of SPair-71k. A unit
is written whole when it is done, so a run that was stopped goes on where it was. Batches are
formed from the unit alone; answers do not depend on what else was run.
"""

import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from spairc.datasets.check import check_pictures
from spairc.datasets.dataset import Dataset
from spairc.images import joint_hash
from spairc.pairs import PairTable
from spairc.pictures import InMemory, Pictures
from spairc.protocols import Direction
from spairc.runs import Run, Settings, create_run, read_points, write_points, write_scores
from spairc.spec import CONDITIONS
from spairc.types import CLEAN, BadInput, Condition, Features, Matcher, Points, Query

Side = Literal["both", "source", "target"]

_FAR = 10  # times the target's longer side: no match is there, only a mistaken frame
_LIBRARIES = ("numpy", "opencv-python", "pillow", "scikit-image", "scipy", "torch", "torchvision")


@dataclass(frozen=True)
class Unit:
    """One category under one condition."""

    condition: Condition
    number: int  # of the category, in the order of their names
    category: str
    pairs: PairTable


Watch = Callable[[Unit], object]  # told of every unit that is complete


@dataclass(frozen=True, eq=False)
class Plan:
    """A run that was checked and can begin; nothing is written yet."""

    matcher: Matcher
    settings: Settings
    pairs: PairTable  # as they are asked
    conditions: tuple[Condition, ...]
    pictures: Pictures
    side: Side


def predict(  # noqa: PLR0913 -- each is a setting of its own; all but two have a default
    matcher: Matcher,
    dataset: Dataset,
    conditions: Sequence[Condition] = CONDITIONS,
    *,
    out: Path | None = None,
    side: Side = "both",
    direction: Direction = "forward",
    pictures: Pictures | None = None,
    watch: Watch = lambda _: None,
) -> Run:
    """Return the run of a matcher on a dataset under these conditions.

    What is complete in `out` already is kept; what is missing is done.

    Args:
        matcher: Asked from source to target.
        dataset: The pairs and their pictures.
        conditions: What to do to the pictures.
        out: The run folder; `runs/NAME` if not given.
        side: Which picture of a pair is corrupted; the paper's tables need "both".
        direction: "reversed" asks from the listed target to the listed source.
        pictures: Where corrupted pictures come from; they are made in memory if not given.
        watch: Called after each unit.

    Raises:
        BadInput: As `plan`, `begin` and `execute`.
    """
    planned = plan(matcher, dataset, conditions, side=side, direction=direction, pictures=pictures)
    run = begin(planned, out)
    execute(planned, run, watch)
    return run


def plan(
    matcher: Matcher,
    dataset: Dataset,
    conditions: Sequence[Condition] = CONDITIONS,
    *,
    side: Side = "both",
    direction: Direction = "forward",
    pictures: Pictures | None = None,
) -> Plan:
    """Return the run that `predict` would do, after every check that needs no model.

    Args as `predict`.

    Raises:
        BadInput: If there is nothing to do, or a picture is missing or damaged.
    """
    if not len(dataset) or not conditions:
        raise BadInput("nothing to evaluate: no pairs or no conditions")
    for name, value, choices in (("side", side, Side), ("direction", direction, Direction)):
        if value not in get_args(choices):
            raise BadInput(f"{name} is {value!r}; choose from {', '.join(get_args(choices))}")
    asked = dataset.table if direction == "forward" else dataset.table.swapped()
    source = pictures or InMemory(dataset)
    settings = _settings(matcher, dataset, asked, side, direction, source)
    return Plan(matcher, settings, asked, tuple(conditions), source, side)


def begin(planned: Plan, out: Path | None = None) -> Run:
    """Return the folder of a planned run: a new one, or the same run's to go on with.

    Args:
        planned: The run.
        out: Its folder; `runs/NAME` if not given.

    Raises:
        BadInput: If the folder holds another run or cannot be written.
    """
    return create_run(out or default_folder(planned.matcher), planned.settings, planned.pairs)


def execute(planned: Plan, run: Run, watch: Watch = lambda _: None) -> None:
    """Do what is missing of a planned run.

    Args:
        planned: The run.
        run: What `begin` returned for it.
        watch: Called after each unit.

    Raises:
        BadInput: If the matcher gives a bad answer (the pair is named), or the disk is full.
    """
    for unit in units(planned.pairs, planned.conditions):
        if not run.predictions(unit.condition).is_file():
            _complete(run, unit, planned.matcher, planned.pictures, planned.side)
            _join(run, unit.condition)
        watch(unit)
    write_scores(run)


def default_folder(matcher: Matcher) -> Path:
    """Return the run folder that is used when none is given."""
    return Path("runs") / "".join(c if c.isalnum() or c in "-_.+" else "-" for c in matcher.name)


def units(pairs: PairTable, conditions: Sequence[Condition]) -> Iterator[Unit]:
    """Yield the units of work, condition by condition."""
    categories = np.unique(pairs.categories)
    tables = [pairs.select(np.flatnonzero(pairs.categories == each)) for each in categories]
    for condition in conditions:
        for number, (category, table) in enumerate(zip(categories, tables, strict=True)):
            yield Unit(condition, number, str(category), table)


def _settings(
    matcher: Matcher,
    dataset: Dataset,
    asked: PairTable,
    side: Side,
    direction: Direction,
    pictures: Pictures,
) -> Settings:
    """Return the run's record; decodes every picture once, so a bad one is named before work."""
    return Settings(
        package=version("spairc"),
        model=matcher.name,
        details=dict(getattr(matcher, "details", {})),
        dataset=dataset.name,
        split=dataset.split,
        layout=dataset.layout,
        pairs=len(asked),
        points=len(asked.source_points),
        pair_list=asked.hash,
        pictures=joint_hash(check_pictures(dataset)),
        corrupted=pictures.origin,
        side=side,
        direction=direction,
        versions={"python": platform.python_version(), **dict(_versions())},
    )


def _versions() -> Iterator[tuple[str, str]]:
    """Yield the installed libraries that pixels and features depend on."""
    for name in _LIBRARIES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _complete(run: Run, unit: Unit, matcher: Matcher, pictures: Pictures, side: Side) -> None:
    """Answer one unit and write it, unless that was done already."""
    path = run.unit(unit.condition, unit.number)
    if path.is_file():
        return
    start = time.perf_counter()
    found = answer(unit, matcher, pictures, side)
    write_points(path, unit.pairs, found)
    line = {
        "condition": str(unit.condition),
        "category": unit.category,
        "pairs": len(unit.pairs),
        "seconds": round(time.perf_counter() - start, 3),
    }
    with (run.folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(line, ensure_ascii=False) + "\n")


def answer(unit: Unit, matcher: Matcher, pictures: Pictures, side: Side) -> Points:
    """Return the (P, 2) answers to a unit's pairs, in their order.

    Raises:
        BadInput: If an answer has the wrong shape, is not finite or lies far outside the target;
            names pair and condition.
    """
    source = unit.condition if side in ("both", "source") else CLEAN
    target = unit.condition if side in ("both", "target") else CLEAN
    needed = {(key, source) for key in unit.pairs.sources.tolist()}
    needed |= {(key, target) for key in unit.pairs.targets.tolist()}
    order = sorted(needed, key=lambda each: (each[0], each[1].severity))
    features = _encoded(matcher, pictures, order)
    queries = queries_of(unit.pairs, features, source, target)
    answers = matcher.match(queries)
    _check(answers, unit)
    return np.concatenate(answers).astype(np.float64)


def queries_of(
    pairs: PairTable,
    features: Mapping[tuple[str, Condition], Features],
    source: Condition,
    target: Condition,
) -> list[Query]:
    """Return what a matcher is asked, a query per pair.

    Args:
        pairs: The pairs.
        features: By image key and condition.
        source: What was done to the sources.
        target: What was done to the targets.
    """
    return [
        Query(
            source=features[pair.source, source],
            target=features[pair.target, target],
            points=pair.source_points,
            source_size=pair.source_size,
            target_size=pair.target_size,
            category=pair.category,
        )
        for pair in pairs
    ]


def _encoded(
    matcher: Matcher, pictures: Pictures, order: Sequence[tuple[str, Condition]]
) -> dict[tuple[str, Condition], Features]:
    """Return the features of each picture under its condition."""
    features = matcher.encode([pictures.read(key, condition) for key, condition in order])
    if len(features) != len(order):
        raise BadInput(f"{matcher.name}: encode gave {len(features)} for {len(order)} pictures")
    return dict(zip(order, features, strict=True))


def _check(answers: Sequence[Points], unit: Unit) -> None:
    """Raise BadInput for the first answer that is none."""
    if len(answers) != len(unit.pairs):
        raise BadInput(f"the matcher gave {len(answers)} answers for {len(unit.pairs)} pairs")
    for pair, found in zip(unit.pairs, answers, strict=True):
        where = f"pair {pair.id}, {unit.condition}"
        if np.shape(found) != pair.source_points.shape:
            shape, expected = np.shape(found), pair.source_points.shape
            raise BadInput(f"{where}: the matcher's answer has shape {shape}, not {expected}")
        if not np.isfinite(found).all():
            raise BadInput(f"{where}: the matcher's answer is not finite")
        if np.abs(found).max() > _FAR * max(pair.target_size):
            width, height = pair.target_size
            raise BadInput(
                f"{where}: the matcher's answer is far outside the target of {width} x {height}; "
                f"it must be in original pixels"
            )


def _join(run: Run, condition: Condition) -> None:
    """Join a condition's units into one file when the last of them is there."""
    categories, inverse = np.unique(run.pairs.categories, return_inverse=True)
    parts = [run.unit(condition, number) for number in range(len(categories))]
    if not all(part.is_file() for part in parts):
        return
    found = np.empty_like(run.pairs.target_points)
    for number, part in enumerate(parts):
        found[run.pairs.rows(np.flatnonzero(inverse == number))] = read_points(part)
    write_points(run.predictions(condition), run.pairs, found)
    for part in parts:
        part.unlink()
    parts[0].parent.rmdir()
