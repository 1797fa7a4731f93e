"""Which of several runs comes nearest to the published Table 4, cell by cell.

The paper does not say whether one or both pictures of a pair were corrupted, at which size, nor in
which format they were kept. Runs of the published CATs weights under each of these choices tell:
`spairc fit-protocol RUN RUN ...`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spairc.published import TABLE_4, TABLE_4_METRIC, is_official_test_list
from spairc.report.summary import PUBLISHED_BASELINE, Scores
from spairc.report.tables import Cell, Table
from spairc.runs import Run
from spairc.spec import CONDITIONS, CORRUPTED, CORRUPTION_NAMES, SEVERITIES
from spairc.types import CLEAN, BadInput, Condition


@dataclass(frozen=True)
class Fit:
    """How far a run's 75 corrupted cells are from the published ones, in percentage points."""

    name: str
    root_mean_square: float
    mean: float  # above 0: the run's scores are higher
    largest: float  # by amount, with its sign
    largest_cell: Condition
    clean: float  # the run's clean score minus the published one
    farthest: str  # the corruption with the largest mean amount

    def row(self) -> tuple[Cell, ...]:
        """Return the fit as a row of a table."""
        worst = f"{self.largest:+.1f} {self.largest_cell}"
        signed = (f"{value:+.1f}" for value in (self.mean, self.clean))
        return (self.name, self.root_mean_square, *signed, worst, self.farthest)


def fit(name: str, scores: Scores, model: str = PUBLISHED_BASELINE) -> Fit:
    """Return how far these scores are from those of a model in the paper's Table 4.

    Raises:
        BadInput: If one of the 76 conditions is missing.
    """
    missing = [str(condition) for condition in CONDITIONS if condition not in scores]
    if missing:
        raise BadInput(f"{name}: {len(missing)} of 76 conditions are missing; complete the run")
    published = TABLE_4[model].scores()
    distances = np.array([scores[each] - published[each] for each in CORRUPTED])
    largest = int(np.abs(distances).argmax())
    by_corruption = np.abs(distances.reshape(-1, len(SEVERITIES))).mean(axis=1)
    return Fit(
        name=name,
        root_mean_square=float(np.sqrt((distances**2).mean())),
        mean=float(distances.mean()),
        largest=float(distances[largest]),
        largest_cell=CORRUPTED[largest],
        clean=scores[CLEAN] - published[CLEAN],
        farthest=CORRUPTION_NAMES[int(by_corruption.argmax())],
    )


def fit_runs(runs: Sequence[Run]) -> Table:
    """Return a table of runs, the nearest to the published CATs first.

    Raises:
        BadInput: If a run is not of SPair-71k's 12,234 test pairs, or not complete.
    """
    for run in runs:
        if not is_official_test_list(run.pairs):
            raise BadInput(
                f"{run.folder} was run on {run.settings.pairs} pairs; Table 4 is of SPair-71k's "
                f"12,234 test pairs, layout large"
            )
    fits = [fit(_name(run), run.scores(TABLE_4_METRIC)) for run in runs]
    fits.sort(key=lambda each: each.root_mean_square)
    header = ("run", "RMS", "mean", "clean", "largest", "farthest corruption")
    title = f"Distance of {TABLE_4_METRIC} from the published {PUBLISHED_BASELINE}, in points"
    return Table(title, header, tuple(each.row() for each in fits))


def _name(run: Run) -> str:
    """Return what tells runs apart: folder, side, and how the corrupted pictures were kept."""
    kept = ", ".join(str(value) for value in run.settings.corrupted.values())
    return f"{run.folder.name} ({run.settings.side}; {kept})"
