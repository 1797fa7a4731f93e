"""What came out beside what was printed, and whether that counts as reproduced."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from spairc.files import make_folder, write_text
from spairc.metrics import mce
from spairc.protocols import PROTOCOLS
from spairc.report.tables import FORMATS, Cell, Table
from spairc.reproduce.steps import PROTOCOL_OF, Evaluation, Setting, evaluations_of, needs_of
from spairc.reproduce.tables import WHY, Plan, Quantity
from spairc.runs import Run
from spairc.scoring import Scored, score
from spairc.spec import CONDITIONS
from spairc.types import Condition

Verdict = Literal["yes", "no", "not run", "other pairs"]

_HEADER = ("row", "as printed", "number", "printed", "ours", "difference", "tolerance", "inside")
_ROUNDING = 1e-9  # points: 50.9 - 49.9 is a little more than 1


@dataclass(frozen=True)
class Outcome:
    """One number of a table, as it came out."""

    training: str  # of the row
    label: str  # of the row
    quantity: Quantity
    ours: float | None  # None where it was not run
    comparable: bool = True  # whether it is of the pairs that the paper counted

    @property
    def verdict(self) -> Verdict:
        """Whether it is inside its tolerance; only numbers of the paper's pairs can be."""
        if self.ours is None:
            return "not run"
        if not self.comparable:
            return "other pairs"
        apart = abs(self.ours - self.quantity.published)
        return "yes" if apart <= self.quantity.tolerance + _ROUNDING else "no"


def outcomes_of(plan: Plan, name: str, setting: Setting) -> list[Outcome]:
    """Return the numbers of a row, as far as they were run.

    Args:
        plan: The table.
        name: The row's training.
        setting: Where the runs are.

    Raises:
        BadInput: If a folder holds another run, or a file is damaged.
    """
    row = plan.rows[name]
    measured: dict[Evaluation, _Measured] = {}
    for evaluation in evaluations_of(plan, name, setting):
        run = evaluation.run()
        if run is not None:
            measured[evaluation.what] = _Measured(run, row.quantities)
    return [_outcome(plan, name, each, measured) for each in row.quantities]


def result_table(plan: Plan, outcomes: list[Outcome]) -> Table:
    """Return what was printed beside what came out."""
    rows: list[tuple[Cell, ...]] = []
    for each in outcomes:
        wanted, ours = each.quantity, each.ours
        apart = None if ours is None else ours - wanted.published
        numbers = (wanted.published, ours, apart, wanted.tolerance)
        rows.append((each.training, each.label, wanted.name, *numbers, each.verdict))
    return Table(plan.title, _HEADER, tuple(rows))


def conclusion(outcomes: list[Outcome]) -> str:
    """Return what may be claimed of these numbers, in a sentence."""
    counts = {
        verdict: sum(each.verdict == verdict for each in outcomes)
        for verdict in ("yes", "no", "other pairs", "not run")
    }
    if counts["yes"] == len(outcomes):
        return f"reproduced: all {len(outcomes)} numbers are inside their tolerance"
    words = {
        "yes": "inside the tolerance",
        "no": "outside",
        "other pairs": "of other pairs than the paper's",
        "not run": "not run",
    }
    told = ", ".join(f"{count} {words[verdict]}" for verdict, count in counts.items() if count)
    return f"not reproduced: of {len(outcomes)} numbers {told}"


def summary_table(plan: Plan, outcomes: list[Outcome]) -> Table:
    """Return one line a row, for a table with more numbers than one reads on a terminal."""
    header = ("row", "numbers", "inside", "outside", "other pairs", "not run", "farthest", "by")
    rows: list[tuple[Cell, ...]] = []
    for name in dict.fromkeys(each.training for each in outcomes):
        mine = [each for each in outcomes if each.training == name]
        verdicts = [each.verdict for each in mine]
        counts = [str(verdicts.count(each)) for each in ("yes", "no", "other pairs", "not run")]
        rows.append((name, str(len(mine)), *counts, *_farthest(mine)))
    return Table(plan.title, header, tuple(rows))


def write_result(table: Table, name: str, setting: Setting) -> list[Path]:
    """Write the table as Markdown and CSV below the runs; return the files.

    Raises:
        BadInput: If the folder cannot be written.
    """
    folder = make_folder(setting.out / "reproduce")
    written = []
    for suffix in ("md", "csv"):
        path = folder / f"{name}.{suffix}"
        text = FORMATS[suffix](table)
        write_text(path, f"{text}\n{WHY}\n" if suffix == "md" else text)
        written.append(path)
    return written


class _Measured:
    """A run and the scores that a row needs of it."""

    def __init__(self, run: Run, quantities: tuple[Quantity, ...]) -> None:
        self.run = run
        self.protocol = PROTOCOLS[PROTOCOL_OF[run.settings.dataset]]
        self._alphas = sorted({each.alpha for each in quantities})

    @cached_property
    def _scored(self) -> Scored:
        return score(self.run, [self.protocol], self._alphas)

    def of(self, quantity: Quantity) -> Mapping[Condition, float]:
        """Return the scores of the complete conditions."""
        if not self.run.conditions:
            return {}
        return self._scored.of(self.protocol.name, quantity.alpha, quantity.level)


def _outcome(
    plan: Plan, name: str, quantity: Quantity, measured: Mapping[Evaluation, _Measured]
) -> Outcome:
    """Return one number as it came out."""
    label, needed = plan.rows[name].label, needs_of(name, quantity)
    runs = [measured[each] for each in needed if each in measured]
    missing = len(runs) < len(needed) or any(
        not set(conditions).issubset(measured[each].run.conditions)
        for each, conditions in needed.items()
    )
    if missing:
        return Outcome(name, label, quantity, None)
    scores = [each.of(quantity) for each in runs]
    comparable = all(plan.compares(each.run) for each in runs)
    if quantity.baseline is None:
        ours = scores[0].get(quantity.condition)  # a level may have no pairs
    else:
        ours = mce(*({c: 100 - each[c] for c in CONDITIONS} for each in scores))
    return Outcome(name, label, quantity, ours, comparable)


def _farthest(outcomes: list[Outcome]) -> tuple[Cell, Cell]:
    """Return the name of the number that is farthest from what was printed, and how far."""
    apart = {
        each.quantity.name: each.ours - each.quantity.published
        for each in outcomes
        if each.ours is not None
    }
    if not apart:
        return (None, None)
    name = max(apart, key=lambda each: abs(apart[each]))
    return (name, apart[name])
