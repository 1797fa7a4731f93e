"""The table of all entries, flat: what `datasets.load_dataset` and the Hub's viewer show."""

from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from spairc.files import written_whole
from spairc_leaderboard.entry import (
    CONDITION_NAMES,
    Benchmark,
    Derived,
    Estimate,
    Model,
    Scores,
)
from spairc_leaderboard.repository import Listed

_TYPES = {str: pa.string(), int: pa.int64(), bool: pa.bool_()}
_BENCHMARK = {field.name: _TYPES.get(field.type, pa.string()) for field in fields(Benchmark)}  # type: ignore[arg-type]  # types, as no annotation is text
_MODEL = {field.name: _TYPES.get(field.type, pa.string()) for field in fields(Model)}  # type: ignore[arg-type]  # as above
_DERIVED = [f"{field.name}{end}" for field in fields(Derived) for end in ("", "_low", "_high")]
SCHEMA = pa.schema(
    {
        "entry": pa.string(),
        **_MODEL,
        "protocol": pa.string(),
        "metric": pa.string(),
        "baseline": pa.string(),
        **dict.fromkeys(_DERIVED, pa.float64()),
        **dict.fromkeys(CONDITION_NAMES[1:], pa.float64()),
        "recomputed": pa.bool_(),
        "reproduced": pa.bool_(),
        "flags": pa.string(),
        "date": pa.string(),
        "replaces": pa.string(),
        **_BENCHMARK,
    }
)


def results_table(listed: Iterable[Listed]) -> pa.Table:
    """Return a row for each entry and protocol, by benchmark, protocol and mean corrupted PCK."""
    found = [(each, scores) for each in listed for scores in each.entry.scores]
    found.sort(key=_place)
    return pa.Table.from_pylist([_row(*each) for each in found], schema=SCHEMA)


def write_results(path: Path, listed: Iterable[Listed]) -> None:
    """Write the table as Parquet, whole or not at all.

    Raises:
        BadInput: If there is no space or no permission.
    """
    with written_whole(path) as temporary:
        pq.write_table(results_table(listed), temporary, compression="zstd")


def _place(row: tuple[Listed, Scores]) -> tuple[str, str, float, str]:
    """Return what rows are ordered by."""
    entry, scores = row[0].entry, row[1]
    return entry.benchmark.id, scores.protocol, -scores.derived.mpc.value, entry.id


def _row(each: Listed, scores: Scores) -> dict[str, object]:
    """Return one row."""
    entry, status = each.entry, each.status
    model = {name: getattr(entry.model, name) for name in _MODEL}
    model["training_data"] = ", ".join(entry.model.training_data)
    return {
        "entry": entry.id,
        **model,
        "protocol": scores.protocol,
        "metric": scores.metric,
        "baseline": scores.baseline,
        **dict(_derived(scores)),
        **{name: scores.values[name] for name in CONDITION_NAMES[1:]},
        "recomputed": status.recomputed is not None,
        "reproduced": status.reproduced is not None,
        "flags": "; ".join(status.recomputed.flags) if status.recomputed else "",
        "date": entry.date,
        "replaces": entry.replaces,
        **{name: getattr(entry.benchmark, name) for name in _BENCHMARK},
    }


def _derived(scores: Scores) -> Iterator[tuple[str, float | None]]:
    """Yield the derived numbers and the ends of their intervals, by column."""
    for field in fields(scores.derived):
        found: Estimate | None = getattr(scores.derived, field.name)
        for attribute, end in (("value", ""), ("low", "_low"), ("high", "_high")):
            yield f"{field.name}{end}", None if found is None else getattr(found, attribute)
