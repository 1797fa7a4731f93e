"""Ask a matcher: encode each picture once per condition, match all pairs, store the answers.

A run is planned (every check that needs no model), begun (its folder), and executed, unit by unit
(`spairc.units`). A unit is written whole when it is done, so a run that was stopped goes on where
it was.
"""

import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import get_args

import numpy as np

from spairc.datasets.check import check_pictures
from spairc.datasets.dataset import Dataset
from spairc.engine import Cluster, Engine, Here, run_units, shard_of
from spairc.files import written_whole
from spairc.images import joint_hash
from spairc.journal import copy_log, log
from spairc.machine import Meter, cores, meter
from spairc.pairs import PairTable
from spairc.pictures import InMemory, Pictures
from spairc.protocols import Direction
from spairc.runs import (
    Run,
    Settings,
    create_run,
    read_points,
    refuse_difference,
    write_points,
)
from spairc.scoring import write_scores
from spairc.spec import CONDITIONS
from spairc.types import BadInput, Condition, Matcher
from spairc.units import Means, Side, Unit, make_answerer, units

_LIBRARIES = ("numpy", "opencv-python", "pillow", "scikit-image", "scipy", "torch", "torchvision")


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


def execute(
    planned: Plan,
    run: Run,
    watch: Watch = lambda _: None,
    *,
    engine: Engine | None = None,
    load: Callable[[], Matcher] | None = None,
    shard: str | None = None,
    room: int | None = None,
) -> None:
    """Do what is missing of a planned run; units are written whole, so nothing is done twice.

    Args:
        planned: The run.
        run: What `begin` returned for it.
        watch: Called after each unit.
        engine: Where units run; in this process if not given.
        load: Makes the matcher in a worker; needed where the engine is another process, and sent
            there: a plain function, or a `functools.partial` of one.
        shard: "i/n" does every n-th unit only; `join` completes the run when all shards are done.
        room: How many pictures' features a worker holds at once, at least 2; all of a unit's by
            default. With fewer, pictures are encoded more than once.

    Raises:
        BadInput: If the matcher gives a bad answer (the pair is named), the disk is full, a worker
            died, or there is too little memory for two pictures.
    """
    if shard is None:
        _sweep(run)
    todo = []
    for unit in shard_of(list(units(planned.pairs, planned.conditions)), shard):
        if _is_done(run, unit):
            watch(unit)
        else:
            todo.append(unit)
    loader, place = load or partial(_itself, planned.matcher), engine or Here()
    means = Means(room, _readers(place))
    make_worker = partial(make_answerer, loader, planned.pictures, planned.side, means)
    energy = Meter([]) if isinstance(place, Cluster) else meter()  # of this machine alone
    for answered in run_units(todo, make_worker, place):
        unit = answered.unit
        write_points(run.unit(unit.condition, unit.number), unit.pairs, answered.found)
        log(run.folder, answered, energy.joules())
        if shard is None:
            _join(run, unit.condition)
        watch(unit)
    if shard is None:
        join(run)


def join(run: Run) -> None:
    """Join what shards left: complete conditions into one file each, and score them.

    Raises:
        BadInput: If no condition is complete, or a file is damaged.
    """
    _sweep(run)
    for condition in CONDITIONS:
        _join(run, condition)
    write_scores(run)


def merge(runs: Sequence[Run], out: Path) -> Run:
    """Return one run that holds what several hold of it: shards, or conditions.

    Args:
        runs: Of the same matcher, pairs and pictures.
        out: The folder of the whole; it may be the first run's.

    Raises:
        BadInput: If settings differ (the difference is named), two runs answer one unit
            differently, or no condition is complete.
    """
    whole = create_run(out, runs[0].settings, runs[0].pairs)
    for run in runs:
        refuse_difference(whole, run.settings)
    for run in runs:
        for name in ("predictions", "units"):
            for path in sorted((run.folder / name).rglob("[!.]*.parquet")):
                _keep(path, whole.folder / path.relative_to(run.folder))
        copy_log(run.folder, whole.folder)
    join(whole)
    return whole


def default_folder(matcher: Matcher) -> Path:
    """Return the run folder that is used when none is given."""
    return Path("runs") / "".join(c if c.isalnum() or c in "-_.+" else "-" for c in matcher.name)


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


def _keep(path: Path, place: Path) -> None:
    """Copy a file of answers to its place, unless the same answers are there."""
    if not place.is_file():
        with written_whole(place) as temporary:
            shutil.copyfile(path, temporary)
    elif not np.array_equal(read_points(place), read_points(path)):
        raise BadInput(f"{path} and {place} are answers to the same pairs, and differ")


def _itself(matcher: Matcher) -> Matcher:
    """Return the matcher: what "loads" it where it is there already."""
    return matcher


def _is_done(run: Run, unit: Unit) -> bool:
    """Return whether a unit's answers are there, joined or not."""
    joined, own = run.predictions(unit.condition), run.unit(unit.condition, unit.number)
    return joined.is_file() or own.is_file()


def _readers(engine: Engine) -> int:
    """Return how many threads of a worker read pictures: its part of the cores, at least two."""
    if isinstance(engine, Cluster):
        return max(2, int(engine.cpus))
    return max(2, cores() // getattr(engine, "workers", 1))


def _sweep(run: Run) -> None:
    """Remove what a killed process left half written; never while other shards may be writing."""
    for path in run.folder.rglob(".*.part"):
        path.unlink(missing_ok=True)


def _join(run: Run, condition: Condition) -> None:
    """Join a condition's units into one file when the last of them is there."""
    categories, inverse = np.unique(run.pairs.categories, return_inverse=True)
    parts = [run.unit(condition, number) for number in range(len(categories))]
    if run.predictions(condition).is_file():  # a kill left some of them behind
        shutil.rmtree(parts[0].parent, ignore_errors=True)
    if not all(part.is_file() for part in parts):
        return
    found = np.empty_like(run.pairs.target_points)
    for number, part in enumerate(parts):
        found[run.pairs.rows(np.flatnonzero(inverse == number))] = read_points(part)
    write_points(run.predictions(condition), run.pairs, found)
    shutil.rmtree(parts[0].parent, ignore_errors=True)
