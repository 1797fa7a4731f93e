"""The run folder: what was run, what was answered, and the scores that follow from it.

    run.json                     what was run: everything that a result depends on
    pairs.parquet                the pairs as they were asked
    units/fog@3/004.parquet      answers of one category, until its condition is complete
    predictions/fog@3.parquet    answers of a condition: pair, point, x, y
    scores.parquet               PCK by condition, protocol and tolerance (`spairc.scoring`)
    breakdowns.parquet           the same by category, factor of difficulty, number of points
    log.jsonl                    times; outside every claim of equality

Answers are float32 original pixels of the target. Scores can be computed again from the folder
alone, by any metric, without model or pictures.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spairc.files import make_folder, write_text, written_whole
from spairc.metrics import PCK, Answers
from spairc.pairs import PairTable, read_pairs, write_pairs
from spairc.spec import CONDITIONS
from spairc.types import BadInput, Condition, Points

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that a run's answers depend on."""

    schema: int = SCHEMA
    package: str  # version of spairc
    model: str  # what tables call it
    details: Mapping[str, Any]  # device, precision, weights' SHA-256, input size: the matcher's own
    dataset: str
    split: str
    layout: str
    pairs: int
    points: int
    pair_list: str  # hash of the pair table as asked
    pictures: str  # hash over all clean pictures' decoded pixels
    corrupted: Mapping[str, str]  # where corrupted pictures came from: spec version, format
    side: str  # "both", "source" or "target": which picture of a pair was corrupted
    direction: str  # "forward", or "reversed": from the listed target to the listed source
    versions: Mapping[str, str]  # of the libraries that the pixels and the features depend on


@dataclass(frozen=True, eq=False)
class Run:
    """A run folder, opened."""

    folder: Path
    settings: Settings

    @cached_property
    def pairs(self) -> PairTable:
        """The pairs as they were asked.

        Raises:
            BadInput: If the list is missing, damaged, or not the one of the run's record.
        """
        table = read_pairs(self.folder / "pairs.parquet")
        if table.hash != self.settings.pair_list:
            raise BadInput(f"{self.folder}: pairs.parquet is not the list that was run")
        return table

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The complete conditions, in the order of the tables."""
        return tuple(each for each in CONDITIONS if self.predictions(each).is_file())

    def predictions(self, condition: Condition) -> Path:
        """Return the file with the answers of a condition."""
        return self.folder / "predictions" / f"{condition}.parquet"

    def unit(self, condition: Condition, number: int) -> Path:
        """Return the file with the answers of one category, by its number."""
        return self.folder / "units" / str(condition) / f"{number:03}.parquet"

    def answers(self, condition: Condition) -> Answers:
        """Return what was answered under a condition.

        Raises:
            BadInput: If the condition is not complete, or its file is damaged.
        """
        return Answers(self.pairs, read_points(self.predictions(condition)))

    def scores(self, metric: PCK) -> dict[Condition, float]:
        """Return the score of each complete condition, in percent.

        Raises:
            BadInput: If no condition is complete, or a file is damaged.
        """
        if not self.conditions:
            raise BadInput(f"{self.folder}: no condition is complete; run spairc eval on it again")
        return {condition: metric(self.answers(condition)) for condition in self.conditions}


def create_run(folder: Path, settings: Settings, pairs: PairTable) -> Run:
    """Return the run in this folder: a new one, or the same one to go on with.

    Raises:
        BadInput: If the folder holds a run with other settings (the difference is named) or
            something else, or cannot be written.
    """
    record = folder / "run.json"
    if record.exists():
        run = open_run(folder)
        refuse_difference(run, settings)
        return run
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder} exists and holds no run; choose another --out")
    make_folder(folder)
    write_pairs(folder / "pairs.parquet", pairs)
    write_text(record, json.dumps(asdict(settings), indent=2, ensure_ascii=False) + "\n")
    return Run(folder, settings)


def open_run(folder: Path) -> Run:
    """Return the run in this folder.

    Raises:
        BadInput: If there is none, or its record is damaged or of another schema.
    """
    record = folder / "run.json"
    try:
        given = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise BadInput(f"{folder} is no run folder: it has no run.json; run spairc eval") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{record} is damaged ({error}); run spairc eval again") from error
    _check_schema(record, given)
    names = {field.name for field in fields(Settings)}
    if given.keys() != names:
        odd = ", ".join(sorted(given.keys() ^ names))
        raise BadInput(f"{record} is damaged: {odd} missing or too much; run spairc eval again")
    return Run(folder, Settings(**given))


def _check_schema(record: Path, given: object) -> None:
    """Raise BadInput unless a record is of a schema that is read here."""
    schema = given.get("schema") if isinstance(given, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise BadInput(
            f"{record} was written by a newer spairc: schema {schema}, and this one reads up to "
            f"{SCHEMA}; update it with: pip install -U spairc"
        )
    if schema != SCHEMA:
        raise BadInput(f"{record} is damaged: its schema is {schema!r}; run spairc eval again")


def write_points(path: Path, pairs: PairTable, found: Points) -> None:
    """Write answers as Parquet, one row a point, whole or not at all.

    Args:
        path: The file.
        pairs: What was asked.
        found: (P, 2) original target pixels; stored as float32.

    Raises:
        BadInput: If there is no space or no permission.
    """
    stored = found.astype(np.float32)
    point = np.arange(len(found)) - pairs.first_point[pairs.pair_of_point]
    columns = {
        "pair": pairs.pair_of_point.astype(np.int32),
        "point": point.astype(np.int16),
        "x": np.ascontiguousarray(stored[:, 0]),
        "y": np.ascontiguousarray(stored[:, 1]),
    }
    # Byte planes of the coordinates: a third less than with dictionaries, and read faster.
    split = {"x": "BYTE_STREAM_SPLIT", "y": "BYTE_STREAM_SPLIT"}
    how = {"compression": "zstd", "use_dictionary": ["pair", "point"], "column_encoding": split}
    with written_whole(path) as temporary:
        pq.write_table(pa.table(columns), temporary, **how)


def read_points(path: Path) -> Points:
    """Return the (P, 2) answers that `write_points` wrote.

    Raises:
        BadInput: If the file is missing or damaged.
    """
    try:
        with pq.ParquetFile(path) as file:  # far less ado than a data set of one file
            table = file.read(columns=["x", "y"], use_threads=False)
    except FileNotFoundError:
        raise BadInput(f"{path} is missing; run spairc eval again to complete the run") from None
    except (pa.ArrowException, ValueError, OSError) as error:
        raise BadInput(f"{path} is damaged ({error}); remove it and run spairc eval") from error
    return np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1).astype(np.float64)


def refuse_difference(run: Run, settings: Settings) -> None:
    """Check that an existing run has these settings.

    Raises:
        BadInput: If it has not; names the first setting that differs.
    """
    old = json.loads(json.dumps(asdict(run.settings)))
    new = json.loads(json.dumps(asdict(settings)))
    for name, value in new.items():
        if old[name] != value:
            raise BadInput(
                f"{run.folder} holds a run with other settings: {name} was {old[name]!r} and is "
                f"now {value!r}; choose another --out"
            )
