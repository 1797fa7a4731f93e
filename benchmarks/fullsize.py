"""The whole pipeline on a rehearsal set of SPair-71k's real size, stage by stage.

18 categories, 480 pictures of 500x375 that are warped views of real photographs, the 12,234 test
pairs in the official numbers per category, 1 to 16 points a pair, in SPair-71k's own layout. The
set is kept in --out and used again.

    python benchmarks/fullsize.py --out rehearsal [--photographs FOLDER] [--checkpoint FILE]
        [--model torchvision:mobilenet_v2] [--on clean fog@3] [--categories 18]

Complete runs of 76 conditions are scored, resampled and reported with invented answers: those
stages do not depend on where answers come from.
"""

import argparse
import json
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import PIL.Image

from spairc.cli import main as spairc
from spairc.cost import predict_cost
from spairc.datasets import load_dataset
from spairc.datasets.dataset import Dataset
from spairc.datasets.folder import find_pictures
from spairc.demo.photographs import PHOTOGRAPHS
from spairc.demo.views import View
from spairc.evaluate import begin, execute, plan
from spairc.files import cache_folder
from spairc.images import read_image
from spairc.journal import read_journal
from spairc.protocols import PROTOCOLS
from spairc.published import OFFICIAL_TEST_PAIRS
from spairc.runs import Run, create_run, open_run, write_points
from spairc.scoring import pair_hits, write_scores
from spairc.spec import CONDITIONS, parse_conditions
from spairc.statistics import Sample, resample
from spairc.types import Condition, Image, Matcher, Points, Query, Size
from spairc_models import load_model

SIZE = Size(500, 375)
MOST_POINTS = 16  # of a pair
SMALLEST_PHOTOGRAPH = 240  # pixels of the shorter side
PEER_PAIRS = 12  # that are encoded pair by pair, for comparison
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of the set."""

    name: str
    points: Points  # (16, 2)
    box: list[int]


def main() -> None:
    """Run every stage and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, help="pictures to warp; else the demo's")
    parser.add_argument("--model", default="torchvision:mobilenet_v2")
    parser.add_argument("--checkpoint", help="the model's weights; random ones otherwise")
    parser.add_argument("--on", nargs="*", default=["clean", "fog@3"])
    parser.add_argument("--categories", type=int, default=len(OFFICIAL_TEST_PAIRS))
    options = parser.parse_args()
    numbers = dict(list(OFFICIAL_TEST_PAIRS.items())[: options.categories])
    root = options.out / f"SPair-71k-{len(numbers)}"
    if not (root / "Layout").is_dir():  # written last
        photographs = list(photographs_of(options.photographs))
        stage("make the set", lambda: make_set(root, numbers, photographs))
    dataset = opened(root)
    matcher = stage("load the model", lambda: load_model(options.model, **weights_of(options)))
    conditions = [each for text in options.on for each in parse_conditions(text)]
    evaluated(matcher, dataset, conditions, options.out)
    judged(dataset, options.out)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory {peak / 1e6:.2f} GB")


def stage(name: str, work: Callable[[], Result]) -> Result:
    """Do one stage, print its time, return what it gave."""
    start, used = time.perf_counter(), time.process_time()
    result = work()
    seconds, used = time.perf_counter() - start, time.process_time() - used
    print(f"{name:44} {seconds:8.2f} s, {used:8.2f} s of a core", flush=True)
    return result


def weights_of(options: argparse.Namespace) -> dict[str, str]:
    """Return how the model gets its weights; matchers without a network need none."""
    if options.checkpoint:
        return {"checkpoint": options.checkpoint}
    return {"weights": "random"} if ":" in options.model else {}


def opened(root: Path) -> Dataset:
    """Open the set twice: as if for the first time, and again."""
    shutil.rmtree(cache_folder() / "index", ignore_errors=True)
    stage("open the set, first time (target 1.5 s)", lambda: load_dataset("spair71k", root))
    dataset = stage(
        "open the set, second time (target 0.2 s)", lambda: load_dataset("spair71k", root)
    )
    table = dataset.table
    counts = f"{len(table):,} pairs, {len(table.image_keys)} pictures"
    points = f"{len(table.target_points):,} points, {table.counts.min()} to {table.counts.max()}"
    print(f"  {counts}, {points} a pair")
    return dataset


def evaluated(
    matcher: Matcher, dataset: Dataset, conditions: Sequence[Condition], out: Path
) -> None:
    """Plan a run of some conditions, do it, and compare it with encoding pair by pair."""
    whole = stage("check pictures, plan a complete run", lambda: plan(matcher, dataset))
    print(f"  predicted, complete: {predict_cost(whole)}")
    planned = replace(whole, conditions=tuple(conditions))
    shutil.rmtree(out / "run", ignore_errors=True)
    run = begin(planned, out / "run")
    start = time.perf_counter()
    stage(f"evaluate {len(conditions)} conditions", lambda: execute(planned, run))
    pairs = len(conditions) * len(dataset)
    ours = (time.perf_counter() - start) / pairs
    print(f"  {read_journal(run.folder)}")
    metric = PROTOCOLS["paper"].metric()
    for condition, score in run.scores(metric).items():
        print(f"  {condition!s:20} {metric} {score:.1f}")
    theirs = once_per_pair(matcher, dataset)
    print(f"  a pair: {1000 * ours:.2f} ms; encoding both its pictures, clean: {1000 * theirs:.1f}")
    print(f"  ratio {theirs / ours:.1f}")


def once_per_pair(matcher: Matcher, dataset: Dataset) -> float:
    """Return seconds per pair where both pictures are read and encoded for each."""
    positions = np.linspace(0, len(dataset) - 1, PEER_PAIRS).astype(int)
    start = time.perf_counter()
    for position in positions:
        pair = dataset[int(position)]
        images = [read_image(dataset.path(key)) for key in (pair.source, pair.target)]
        source, target = matcher.encode(images)
        sizes = pair.source_size, pair.target_size
        matcher.match([Query(source, target, pair.source_points, *sizes, pair.category)])
    return (time.perf_counter() - start) / PEER_PAIRS


def judged(dataset: Dataset, out: Path) -> None:
    """Score, resample and report two complete runs."""
    one, two = (invented_run(dataset, out / name, seed) for seed, name in enumerate(("one", "two")))
    stage("score a complete run (target 3 s)", lambda: write_scores(open_run(one.folder)))
    stage("hits of a run's pairs, 1,000 resamples (5 s)", lambda: resampled(open_run(one.folder)))
    command = ["report", str(one.folder), str(two.folder), "--out", str(out / "report")]
    command += ["--baseline", str(two.folder)]
    with (out / "report.txt").open("w", encoding="utf-8") as file, redirect_stdout(file):
        start = time.perf_counter()
        spairc(command, standalone_mode=False)
    print(f"{'spairc report of two runs':44} {time.perf_counter() - start:8.2f} s")


def resampled(run: Run) -> None:
    """Compute every interval of a run that is its own baseline."""
    metric = PROTOCOLS["paper"].metric()
    sample = Sample(run.pairs, run.conditions, metric, pair_hits(run, metric))
    resample([sample], np.random.default_rng(0), baseline=sample, resamples=1000).intervals(0)


def invented_run(dataset: Dataset, folder: Path, seed: int) -> Run:
    """Return a complete run whose answers scatter more with the severity."""
    if (folder / "complete").is_file():
        return open_run(folder)
    shutil.rmtree(folder, ignore_errors=True)
    table, draws = dataset.table, np.random.default_rng(seed)
    settings = open_run(folder.parent / "run").settings
    run = create_run(folder, replace(settings, model=folder.name), table)
    for condition in CONDITIONS:
        scatter = draws.normal(0, 12 + 9 * condition.severity, table.target_points.shape)
        write_points(run.predictions(condition), table, table.target_points + scatter)
    (folder / "complete").touch()
    return run


def photographs_of(folder: Path | None) -> Iterator[Image]:
    """Yield the photographs that are warped, those that are large enough."""
    if folder is None:
        yield from (photograph.read() for photograph in PHOTOGRAPHS.values())
        return
    for name in sorted(find_pictures(folder).values()):
        image = read_image(folder / name)
        if min(image.shape[:2]) >= SMALLEST_PHOTOGRAPH:
            yield image


def make_set(root: Path, numbers: dict[str, int], photographs: Sequence[Image]) -> None:
    """Write pictures, annotations and lists."""
    shutil.rmtree(root, ignore_errors=True)
    names: dict[str, list[str]] = {"large": [], "small": []}
    for number, (category, count) in enumerate(numbers.items()):
        draws = np.random.default_rng(number)
        pictures = make_pictures(
            root, category, count, photographs[number % len(photographs)], draws
        )
        made = make_pairs(root, category, pictures, count, len(names["large"]), draws)
        names["large"] += made
        names["small"] += made[: 2 * (len(made) // 10)]  # a fifth, both ways
    for layout, lines in names.items():
        path = root / "Layout" / layout / "test.txt"
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_pictures(
    root: Path, category: str, count: int, photograph: Image, draws: np.random.Generator
) -> list[Picture]:
    """Write as few pictures as have so many ordered pairs; return them."""
    height, width = photograph.shape[:2]
    zoom = 0.8 * min(width / SIZE.width, height / SIZE.height)
    middle = np.array([width, height]) / 2
    spread = 0.28 * zoom * SIZE.height
    points = middle + draws.uniform(-spread, spread, (MOST_POINTS, 2))
    folder = root / "JPEGImages" / category
    folder.mkdir(parents=True)
    pictures = []
    for number in range(next(n for n in range(2, count + 2) if n * (n - 1) >= count)):
        view = View(
            photograph="",
            size=SIZE,
            centre=tuple(middle + draws.uniform(-0.05, 0.05, 2) * zoom * SIZE.width),
            zoom=zoom * draws.uniform(0.9, 1.15),
            angle=draws.uniform(-20, 20),
            stretch=draws.uniform(0.92, 1.08),
            bend=draws.uniform(2, 8) * zoom,
            seed=int(draws.integers(1 << 30)),
        )
        x, y = np.moveaxis(view.grid().astype(np.float32), -1, 0)
        image = cv2.remap(photograph, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        name = f"{category}_{number:02}"
        PIL.Image.fromarray(image).save(folder / f"{name}.jpg", quality=95)
        pictures.append(annotated(root, category, name, view.from_photograph(points)))
    return pictures


def annotated(root: Path, category: str, name: str, points: Points) -> Picture:
    """Write a picture's own annotation; return the picture."""
    points = points.round(1).clip(0, np.array(SIZE) - 1)
    low, high = points.min(axis=0) - 20, points.max(axis=0) + 20
    box = [*low.clip(0).astype(int).tolist(), *high.clip(None, SIZE).astype(int).tolist()]
    annotation = {
        "filename": f"{name}.jpg",
        "image_width": SIZE.width,
        "image_height": SIZE.height,
        "image_depth": 3,
        "category": category,
        "pose": "Unspecified",
        "truncated": 0,
        "occluded": 0,
        "difficult": 0,
        "bndbox": box,
        "kps": {str(i): point for i, point in enumerate(points.tolist())},
        "azimuth_id": 0,
    }
    write_json(root / "ImageAnnotation" / category / f"{name}.json", annotation)
    return Picture(name, points, box)


def make_pairs(
    root: Path,
    category: str,
    pictures: Sequence[Picture],
    count: int,
    first: int,
    draws: np.random.Generator,
) -> list[str]:
    """Write so many pairs, each beside its reverse; return their names."""
    names: list[str] = []
    for one, other in list(combinations(pictures, 2))[: count // 2]:
        chosen = np.sort(draws.permutation(MOST_POINTS)[: draws.integers(1, MOST_POINTS + 1)])
        viewpoint, scale = draws.integers(0, 3, 2).tolist()
        truncation, occlusion = draws.integers(0, 4, 2).tolist()
        for source, target in ((one, other), (other, one)):
            name = f"{first + len(names):06}-{source.name}-{target.name}:{category}"
            sides = {"src": source, "trg": target}
            annotation = {"filename": name, "category": category, "mirror": 0}
            annotation |= {"kps_ids": [str(i) for i in chosen]}
            for prefix, picture in sides.items():
                annotation |= {
                    f"{prefix}_imname": f"{picture.name}.jpg",
                    f"{prefix}_imsize": [*SIZE, 3],
                    f"{prefix}_bndbox": picture.box,
                    f"{prefix}_pose": "Unspecified",
                    f"{prefix}_kps": picture.points[chosen].tolist(),
                }
            annotation |= {"viewpoint_variation": viewpoint, "scale_variation": scale}
            exchange = (0, 2, 1, 3) if source is other else (0, 1, 2, 3)
            annotation |= {"truncation": exchange[truncation], "occlusion": exchange[occlusion]}
            write_json(root / "PairAnnotation" / "test" / f"{name}.json", annotation)
            names.append(name)
    return names


def write_json(path: Path, content: dict[str, object]) -> None:
    """Write one annotation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    main()
