"""What bfloat16 does to answers: PCK with real weights, displacement with random ones.

    python benchmarks/precision.py SPair-mini [--checkpoint mobilenet_v2.pth] [--pairs 6]

PCK is that of MobileNetV2's nearest features on all pairs of the clean set. The networks have no
public weights here: theirs are random, and what is told is how far, in pixels of the original
picture, bfloat16 moves their answers. Random features tell places apart less well than trained
ones do, so the displacement says that nothing breaks, not what PCK a trained network would lose.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from spairc.datasets import load_dataset
from spairc.evaluate import predict
from spairc.images import read_image
from spairc.protocols import PROTOCOLS
from spairc.types import CLEAN, Points, Query
from spairc_models import load_model
from spairc_models.adapter import PRECISIONS

NETWORKS = ("cats", "scorrsan", "chm", "catspp")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="a set in SPair-71k's layout")
    parser.add_argument("--checkpoint", help="weights of mobilenet_v2; random ones otherwise")
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--model", nargs="*", default=NETWORKS, help="networks that are displaced")
    options = parser.parse_args()
    weights = {"checkpoint": options.checkpoint} if options.checkpoint else {"weights": "random"}
    for given in ({"precision": "float32"}, {"precision": "bfloat16"}, {"compiled": True}):
        told = ", ".join(f"{name}={value}" for name, value in given.items())
        print(f"mobilenet_v2  {told:18}  {pck(options.root, {**weights, **given})}", flush=True)
    for name in options.model:
        single, half = (answers(name, options.root, options.pairs, each) for each in PRECISIONS)
        moved = np.linalg.norm(single - half, axis=1)
        print(
            f"{name}  mean displacement {moved.mean():.2f} pixels, median {np.median(moved):.2f}, "
            f"largest {moved.max():.2f}, of {len(moved)} points of {options.pairs} pairs",
            flush=True,
        )


def pck(root: Path, given: dict[str, Any]) -> str:
    """Return the scores of MobileNetV2's nearest features, a protocol each."""
    matcher = load_model("torchvision:mobilenet_v2", device="cpu", **given)
    with tempfile.TemporaryDirectory() as folder:
        run = predict(matcher, load_dataset("spair71k", root), [CLEAN], out=Path(folder, "run"))
        metrics = [PROTOCOLS[name].metric() for name in ("paper", "original")]
        return ", ".join(f"{metric} {run.scores(metric)[CLEAN]:.2f}" for metric in metrics)


def answers(name: str, root: Path, count: int, precision: str) -> Points:
    """Return a network's answers to pairs spread over the set, one after the other."""
    matcher = load_model(name, weights="random", device="cpu", precision=precision)
    dataset = load_dataset("spair71k", root)
    found = []
    for number in np.linspace(0, len(dataset) - 1, count).astype(int):
        pair = dataset[int(number)]
        ends = [read_image(dataset.path(key)) for key in (pair.source, pair.target)]
        sizes = (pair.source_size, pair.target_size)
        source, target = matcher.encode(ends)
        query = Query(source, target, pair.source_points, *sizes, pair.category)
        found += matcher.match([query])
    return np.concatenate(found)


if __name__ == "__main__":
    main()
