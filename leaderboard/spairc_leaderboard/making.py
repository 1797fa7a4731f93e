"""From a run folder to an entry: every answer, every number, in a folder of its own."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spairc.files import make_folder, written_whole
from spairc.lookup import lookup
from spairc.pairs import PairTable, write_pairs
from spairc.protocols import PROTOCOLS
from spairc.runs import Run
from spairc.spec import CONDITIONS
from spairc.types import BadInput, Condition
from spairc_leaderboard.check import baseline_values
from spairc_leaderboard.counting import Cell, Values, count_cell, default_baseline, scores_of
from spairc_leaderboard.entry import (
    FILE_NAMES,
    SCHEMA,
    Benchmark,
    Entry,
    Evaluation,
    File,
    Model,
    Predictions,
    Scalar,
    content_hash,
    rounded,
)
from spairc_leaderboard.predictions import conditions_of, digest_of, write_answers
from spairc_leaderboard.repository import Leaderboard
from spairc_leaderboard.strict import dump_json

NO_BASELINE = "none"
_TOLD_APART = ("device", "precision", "weights")  # of a matcher's details; fields of their own


@dataclass(frozen=True)
class Choices:
    """What a submitter decides; everything else is in the run folder."""

    model: Model
    protocols: tuple[str, ...] = ()  # none: those of the run's direction that are always told
    baseline: str | None = None  # an entry, "published", "none"; None: Table 4 where it may
    replaces: str = ""


def benchmark_of_run(run: Run) -> Benchmark:
    """Return what a run was asked.

    Raises:
        BadInput: If its record is not what `spairc eval` writes.
    """
    settings = run.settings
    return Benchmark(
        spec=settings.corrupted["spec"],
        format=settings.corrupted["format"],
        dataset=settings.dataset,
        split=settings.split,
        layout=settings.layout,
        pair_list=settings.pair_list,
        pairs=settings.pairs,
        points=settings.points,
        pictures=settings.pictures,
        side=settings.side,
        direction=settings.direction,
    )


def content_of_run(run: Run) -> str:
    """Return what names a run, before anything of it is counted.

    Raises:
        BadInput: If a condition is missing or damaged.
    """
    _check_complete(run)
    cells = {str(each): digest_of(run.answers(each).found) for each in CONDITIONS}
    return content_hash(benchmark_of_run(run), cells)


def default_protocols(direction: str) -> tuple[str, ...]:
    """Return the protocols that every entry is counted by unless others are asked for."""
    return ("paper", "original") if direction == "forward" else ("cats",)


def weights_of(run: Run) -> str:
    """Return the SHA-256 of a run's weights, or what its matcher says instead."""
    return str(run.settings.details.get("weights") or "not told")


def make_entry(run: Run, board: Leaderboard, choices: Choices, entries: Path) -> Path:
    """Return the folder of a run's entry, written into `entries`.

    Args:
        run: A complete one.
        board: What it is to be an entry of; read for the baseline.
        choices: What the submitter decides.
        entries: Where the entry's folder is made.

    Raises:
        BadInput: If the run is not complete or damaged, a protocol or baseline is not for it, or a
            text of the choices is not as `entry.Model` wants it.
    """
    _check_complete(run)
    benchmark = benchmark_of_run(run)
    protocols = choices.protocols or default_protocols(benchmark.direction)
    baselines = _baselines(benchmark, run.pairs, protocols, choices.baseline, board)
    staging = make_folder(entries / ".new")
    cells, files = _write_answers(run, protocols, staging / "predictions")
    digests = {str(each): cells[each].digest for each in CONDITIONS}
    entry = Entry(
        schema=SCHEMA,
        benchmark=benchmark,
        model=choices.model,
        evaluation=_evaluation(run),
        environment=dict(run.settings.versions),
        scores=scores_of(run.pairs, cells, protocols, baselines),
        predictions=Predictions(files, digests),
        content=content_hash(benchmark, digests),
        date=datetime.now(UTC).date().isoformat(),
        replaces=choices.replaces,
    )
    with written_whole(staging / "entry.json") as temporary:
        temporary.write_bytes(dump_json(entry))
    return staging.rename(entries / entry.id)


def write_benchmark(run: Run, folder: Path) -> Benchmark:
    """Write what a repository needs to rank runs like this one: its benchmark and its pairs.

    Raises:
        BadInput: If there is no space or no permission.
    """
    benchmark = benchmark_of_run(run)
    with written_whole(folder / "benchmarks" / f"{benchmark.id}.json") as temporary:
        temporary.write_bytes(dump_json(benchmark))
    write_pairs(folder / "pairs" / f"{benchmark.pair_list}.parquet", run.pairs)
    return benchmark


def _check_complete(run: Run) -> None:
    """Refuse a run that lacks conditions."""
    missing = [str(each) for each in CONDITIONS if each not in run.conditions]
    if missing:
        raise BadInput(
            f"{run.folder} lacks {len(missing)} of the 76 conditions, {missing[0]} among them; an "
            f"entry needs all: run spairc eval on it again without --on"
        )


def _baselines(
    benchmark: Benchmark,
    pairs: PairTable,
    protocols: tuple[str, ...],
    asked: str | None,
    board: Leaderboard,
) -> dict[str, tuple[str, Values]]:
    """Return what mCE divides by, for each protocol that has it."""
    found = {}
    for name in protocols:
        metric = lookup(PROTOCOLS, name, "protocol").metric()
        chosen = default_baseline(benchmark, pairs, metric) if asked is None else asked
        if chosen and chosen != NO_BASELINE:
            found[name] = chosen, baseline_values(chosen, benchmark, pairs, name, board)
    return found


def _write_answers(
    run: Run, protocols: tuple[str, ...], folder: Path
) -> tuple[dict[Condition, Cell], dict[str, File]]:
    """Return what was counted, and the files that were written."""
    metrics = [PROTOCOLS[name].metric() for name in protocols]
    cells: dict[Condition, Cell] = {}
    files = {}
    for name in FILE_NAMES:
        found = [(each, run.answers(each).found) for each in conditions_of(name)]
        cells |= {each: count_cell(run.pairs, places, metrics) for each, places in found}
        path = folder / f"{name}.parquet"
        write_answers(path, run.pairs, found)
        data = path.read_bytes()
        files[name] = File(len(data), hashlib.sha256(data).hexdigest())
    return cells, files


def _evaluation(run: Run) -> Evaluation:
    """Return how the answers were made, from the run's record."""
    details = run.settings.details
    return Evaluation(
        matcher=run.settings.model,
        package=run.settings.package,
        device=str(details.get("device") or ""),
        precision=str(details.get("precision") or ""),
        settings=_scalars({k: v for k, v in details.items() if k not in _TOLD_APART}),
    )


def _scalars(details: Mapping[str, Any]) -> dict[str, Scalar]:
    """Return a matcher's settings as single values; a nested one becomes its JSON text."""
    return {name: _scalar(value) for name, value in details.items() if value is not None}


def _scalar(value: Any) -> Scalar:
    """Return a setting as one value."""
    if isinstance(value, float):
        return rounded(value)
    if isinstance(value, str | int):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
