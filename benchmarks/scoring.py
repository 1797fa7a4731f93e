"""How long a complete run of SPair-71k takes to score and to resample; the targets are 3 s and 5 s.

The run is synthetic and of the real size: 76 conditions of 12,234 pairs with the official counts
per category, answers that scatter more with the severity. Imports and writing it are not counted.

    python benchmarks/scoring.py [--runs 5]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from spairc.metrics import Answers
from spairc.pairs import PairTable
from spairc.protocols import PROTOCOLS
from spairc.published import OFFICIAL_TEST_PAIRS
from spairc.runs import Run, Settings, create_run, open_run, write_points
from spairc.scoring import ALPHAS, pair_hits, protocols_of, write_scores
from spairc.spec import CONDITIONS
from spairc.statistics import Sample, resample

RESAMPLES = 1000
PEER_CONDITIONS = 1  # the loop is timed on so many of the 76 and scaled up
SIZES = ((500, 375), (375, 500), (500, 333))


def main() -> None:
    """Make the run, time both, print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    repeats = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder) / "run")
        print(f"{len(CONDITIONS)} conditions, {len(run.pairs)} pairs, {run.settings.points} points")
        ours = measured("score everything", repeats, lambda: write_scores(fresh(run)))
        measured(f"{RESAMPLES} resamples", repeats, lambda: all_intervals(fresh(run)))
        once = measured("loop over PCK, 1 of 76 conditions", 1, lambda: loop(fresh(run)))
    peer = once * len(CONDITIONS) / PEER_CONDITIONS
    print(f"the loop, scaled to 76 conditions: {peer:.0f} s, {peer / ours:.0f} x as long")


def fresh(run: Run) -> Run:
    """Return the run opened anew: nothing is remembered between two measurements."""
    return open_run(run.folder)


def measured(what: str, repeats: int, work: Callable[[], object]) -> float:
    """Print and return the median time of some runs, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    median = statistics.median(times)
    print(f"{what}: {median:.2f} s (median of {repeats}, {min(times):.2f} to {max(times):.2f})")
    return median


def all_intervals(run: Run) -> None:
    """Compute every interval of a run that is its own baseline."""
    metric = PROTOCOLS["paper"].metric()
    sample = Sample(run.pairs, run.conditions, metric, pair_hits(run, metric))
    draws = np.random.default_rng(0)
    resampled = resample([sample], draws, baseline=sample, resamples=RESAMPLES)
    resampled.intervals(0)


def loop(run: Run) -> None:
    """Score as one would without `spairc.scoring`: a PCK object for each number."""
    protocols = protocols_of(run)
    factors = [(c, v) for c in range(4) for v in np.unique(run.pairs.variations[:, c])]
    for condition in run.conditions[:PEER_CONDITIONS]:
        answers = run.answers(condition)
        masks = [run.pairs.categories == name for name in np.unique(run.pairs.categories)]
        masks += [run.pairs.variations[:, column] == value for column, value in factors]
        masks += [run.pairs.counts == count for count in np.unique(run.pairs.counts)]
        parts = [answers, *(part(answers, mask) for mask in masks)]
        for protocol in protocols:
            for alpha in ALPHAS:
                for each in parts:
                    protocol.metric(alpha)(each)


def part(answers: Answers, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Answers:
    """Return the answers to some of the pairs."""
    positions = np.flatnonzero(mask)
    return Answers(answers.pairs.select(positions), answers.found[answers.pairs.rows(positions)])


def make_run(folder: Path) -> Run:
    """Write a run of the real size and open it."""
    draws = np.random.default_rng(71)
    pairs = make_pairs(draws)
    run = create_run(folder, settings_of(pairs), pairs)
    for condition in CONDITIONS:
        scatter = draws.normal(0, 12 + 9 * condition.severity, pairs.target_points.shape)
        write_points(run.predictions(condition), pairs, pairs.target_points + scatter)
    return run


def settings_of(pairs: PairTable) -> Settings:
    """Return a record that fits the pairs."""
    return Settings(
        package="0",
        model="synthetic",
        details={},
        dataset="synthetic",
        split="test",
        layout="large",
        pairs=len(pairs),
        points=len(pairs.target_points),
        pair_list=pairs.hash,
        pictures="none",
        corrupted={"spec": "none", "format": "lossless"},
        side="both",
        direction="forward",
        versions={},
    )


def make_pairs(draws: np.random.Generator) -> PairTable:
    """Return invented pairs, as many per category as SPair-71k's test list has."""
    ends = [
        (category, f"{category}/{one:02}", f"{category}/{other:02}")
        for category, count in OFFICIAL_TEST_PAIRS.items()
        for one, other in ordered_pairs(count)
    ]
    categories, sources, targets = map(np.array, zip(*ends, strict=True))
    number = len(ends)
    counts = draws.integers(1, 14, number)  # 7 on average, as the real list
    sizes = {key: SIZES[draws.integers(len(SIZES))] for key in np.union1d(sources, targets)}
    source_sizes, target_sizes = (np.array([sizes[k] for k in keys]) for keys in (sources, targets))
    boxes = np.tile([60.0, 40.0, 330.0, 310.0], (number, 1))
    total = int(counts.sum())
    return PairTable(
        ids=np.array([f"{i:06}" for i in range(number)]),
        categories=categories,
        sources=sources,
        targets=targets,
        first_point=np.concatenate([[0], np.cumsum(counts)]),
        source_points=draws.uniform(60, 310, (total, 2)).round(),
        target_points=draws.uniform(60, 310, (total, 2)).round(),
        source_boxes=boxes,
        target_boxes=boxes,
        source_sizes=source_sizes,
        target_sizes=target_sizes,
        variations=draws.integers(0, [3, 3, 4, 4], (number, 4)).astype(np.int8),
    )


def ordered_pairs(count: int) -> list[tuple[int, int]]:
    """Return the first so many ordered pairs of as few pictures as have them."""
    pictures = next(n for n in range(2, count + 2) if n * (n - 1) >= count)
    every = [(i, j) for i in range(pictures) for j in range(pictures) if i != j]
    return every[:count]


if __name__ == "__main__":
    main()
