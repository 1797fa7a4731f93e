"""log.jsonl: what each unit of a run took. Times and energy, outside every claim of equality.

    {"condition": "fog@3", "category": "car", "pairs": 564, "seconds": 3.1, "waited": 0.2,
     "encoded": 25, "changed": {}, "joules": null}

`waited` are the seconds in which the matcher waited for pictures; `changed` tells how many
pictures or pairs were taken at a time where memory was short; `joules` is what the machine took
since the unit that was done before, whatever else it did, and null where that cannot be read.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spairc.files import explained
from spairc.units import Answered

NAME = "log.jsonl"
_NUMBERS = ("seconds", "waited", "pairs")  # what a line must have to count


@dataclass(frozen=True)
class Journal:
    """What the units of a run took together."""

    units: int
    seconds: float  # of work, over all workers
    waited: float  # of them, in which the matcher waited for pictures
    joules: float | None  # None where some unit's could not be read
    changed: int  # units whose batches were made smaller for want of memory

    def __str__(self) -> str:
        share = 100 * self.waited / self.seconds if self.seconds else 0.0
        energy = "not readable" if self.joules is None else f"{self.joules / 3600:,.1f} Wh"
        return (
            f"{self.units:,} units in {self.seconds:,.1f} s of work; the matcher waited "
            f"{share:.0f} % of it for pictures; energy: {energy}"
        )

    @property
    def note(self) -> str | None:
        """What a reader of the scores must know; None if there is nothing."""
        if not self.changed:
            return None
        return (
            f"memory was short in {self.changed:,} of {self.units:,} units: their batches were "
            f"made smaller, so last digits may differ from a run with more memory"
        )


def log(folder: Path, answered: Answered, joules: float | None) -> None:
    """Append what a unit took to the log of its run.

    Raises:
        BadInput: If there is no space or no permission.
    """
    line = {
        "condition": str(answered.unit.condition),
        "category": answered.unit.category,
        "pairs": len(answered.unit.pairs),
        "seconds": round(answered.seconds, 3),
        "waited": round(answered.waited, 3),
        "encoded": answered.encoded,
        "changed": dict(answered.changed),
        "joules": None if joules is None else round(joules, 3),
    }
    with explained(folder / NAME), (folder / NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_journal(folder: Path) -> Journal:
    """Return what the units of the run in this folder took together.

    A line that a kill cut short is passed over; of a unit that was done twice the last counts.
    """
    last = {(each["condition"], each["category"]): each for each in _lines(folder / NAME)}
    known = [each["joules"] for each in last.values() if each.get("joules") is not None]
    return Journal(
        units=len(last),
        seconds=_sum(last.values(), "seconds"),
        waited=_sum(last.values(), "waited"),
        joules=float(sum(known)) if known and len(known) == len(last) else None,
        changed=sum(bool(each.get("changed")) for each in last.values()),
    )


def copy_log(source: Path, target: Path) -> None:
    """Append the log of one run folder to that of another, as they are joined.

    Raises:
        BadInput: If there is no space or no permission.
    """
    if (source / NAME).is_file() and source.resolve() != target.resolve():
        text = (source / NAME).read_text(encoding="utf-8", errors="replace")
        with explained(target / NAME), (target / NAME).open("a", encoding="utf-8") as file:
            file.write(text if text.endswith("\n") or not text else f"{text}\n")


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the lines of a log that are whole."""
    if not path.is_file():
        return
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict) and {"condition", "category", *_NUMBERS} <= line.keys():
            yield line


def _sum(lines: Iterable[Mapping[str, Any]], name: str) -> float:
    """Return the sum of a number over lines."""
    return float(sum(each[name] for each in lines))
