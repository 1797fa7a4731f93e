"""`spairc demo`: build the set, run two matchers under all conditions, report, draw."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from spairc.datasets import load_dataset
from spairc.datasets.dataset import Dataset
from spairc.demo import make_demo_set
from spairc.evaluate import predict
from spairc.files import write_text
from spairc.images import read_image, write_png
from spairc.pictures import InMemory
from spairc.protocols import PROTOCOLS
from spairc.report.differences import certainty
from spairc.report.matches import match_picture
from spairc.report.sheets import save_sheet, sheet_of_severities, sheet_of_types
from spairc.report.summary import Summary, headline, severity_table, summarise
from spairc.report.tables import as_text
from spairc.report.write import write_tables
from spairc.runs import Run
from spairc.spec import CONDITIONS, CORRUPTION_NAMES
from spairc.statistics import Interval
from spairc.types import CLEAN, Condition, Image
from spairc_models import load_model

MATCHERS = ("sift", "hog")  # the second is the first's baseline
SHOWN = Condition("fog", 4)  # the match pictures' condition
PICTURES = 3  # how many match pictures
RESAMPLES = 1000
FEW = "With three pictures a category the intervals are too narrow; SPair-71k has about 27."

Progress = Callable[[int, str], AbstractContextManager[Callable[[int], object]]]


def run_demo(out: Path, progress: Progress) -> tuple[str, Path]:
    """Return the report and the folder that holds it, its tables and its pictures.

    Args:
        out: Where the set, the runs and the report go; what is complete is kept.
        progress: Given a total and a unit, opens a bar and yields its advance.

    Raises:
        BadInput: If the folder cannot be written or holds something else.
    """
    dataset = load_dataset("spair71k", make_demo_set(out / "SPair-demo"))
    with progress(len(MATCHERS) * len(CONDITIONS) * len(dataset), "pair") as advance:
        runs = [
            predict(
                load_model(name),
                dataset,
                out=out / "runs" / name,
                watch=lambda unit: advance(len(unit.pairs)),
            )
            for name in MATCHERS
        ]
    summaries = [summarise(run, PROTOCOLS["paper"], 0.1, runs[-1]) for run in runs]
    folder = out / "report"
    write_tables(summaries, folder)
    _draw(dataset, runs[0], folder)
    certain = certainty(runs, summaries, runs[-1], RESAMPLES)
    sections = [_section(each, certain.intervals(place)) for place, each in enumerate(summaries)]
    text = "\n".join([*sections, f"{certain.note}\n{FEW}\n"])
    write_text(folder / "report.txt", text)
    return text, folder


def _section(summary: Summary, intervals: Mapping[str, Interval]) -> str:
    """Return one model's part of the report."""
    return f"{as_text(severity_table(summary))}\n" + "\n".join(headline(summary, intervals)) + "\n"


def _draw(dataset: Dataset, run: Run, folder: Path) -> None:
    """Draw the corruptions of one picture, and the pairs that a corruption breaks most."""
    key = dataset.table.image_keys[0]
    image = read_image(dataset.path(key))
    save_sheet(folder / "corruptions.png", sheet_of_types(image, key, 3))
    save_sheet(folder / "severities.png", sheet_of_severities(image, key, CORRUPTION_NAMES))
    metric = PROTOCOLS["paper"].metric()
    lost = metric.per_pair(run.answers(CLEAN)) - metric.per_pair(run.answers(SHOWN))
    for rank, position in enumerate(np.argsort(-lost, kind="stable")[:PICTURES], start=1):
        both = [_matches(dataset, run, int(position), each) for each in (CLEAN, SHOWN)]
        write_png(folder / f"matches-{rank}.png", np.concatenate(both))


def _matches(dataset: Dataset, run: Run, position: int, condition: Condition) -> Image:
    """Return one pair's match picture under a condition."""
    pair = dataset[position]
    found = run.answers(condition).found[dataset.table.rows(np.array([position]))]
    pictures = InMemory(dataset)
    source, target = (pictures.read(key, condition) for key in (pair.source, pair.target))
    return match_picture(source, target, pair, found, label=str(condition))
