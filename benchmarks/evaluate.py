"""Encode each picture once, or both pictures of every pair: pairs per second, side by side.

One category of SPair-71k's test list at its real size (27 pictures, 690 ordered pairs) is made
from the demonstration's photographs. The peer is what published evaluation loops do: it encodes
both pictures of every pair, with the same matcher in the same process. Blocks of pairs of the two
are timed in turn, so that a machine that is busy now and then disturbs both alike.

    python benchmarks/evaluate.py [--checkpoint mobilenet_v2.pth] [--rounds 7]
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from statistics import median

import numpy as np

from spairc.datasets import load_dataset
from spairc.demo import make_demo_set
from spairc.images import read_image
from spairc.types import Features, Image, Matcher, Pair, Query
from spairc_models import load_model

PICTURES, PAIRS = 27, 690  # SPair-71k's test pictures and pairs of aeroplanes
BLOCK = 8  # pairs that the peer does in a round


def main() -> None:
    """Time both and print the ratio of their medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", help="weights of mobilenet_v2; random ones otherwise")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    weights = {"checkpoint": options.checkpoint} if options.checkpoint else {"weights": "random"}
    matcher = load_model("torchvision:mobilenet_v2", device="cpu", **weights)
    with tempfile.TemporaryDirectory() as folder:
        images, pairs = category(Path(folder))
    once_per_pair(matcher, images, pairs[:2])
    ours, theirs = [], []
    for round_ in range(options.rounds):
        block = pairs[round_ * BLOCK :][:BLOCK]
        theirs.append(timed(once_per_pair, matcher, images, block) / BLOCK)
        ours.append(timed(once_per_picture, matcher, images, pairs) / PAIRS)
    report("encode once per picture", ours)
    report("encode once per pair", theirs)
    print(f"ratio of the medians: {median(theirs) / median(ours):.1f}")


def category(folder: Path) -> tuple[dict[str, Image], list[tuple[str, str, Pair]]]:
    """Return 27 pictures and 690 pairs between them, points taken from the demonstration."""
    dataset = load_dataset("spair71k", make_demo_set(folder / "set"))
    photographs = [read_image(dataset.path(key)) for key in dataset.table.image_keys]
    mirrored = [np.ascontiguousarray(image[:, ::-1]) for image in photographs]
    images = {str(n): image for n, image in enumerate((photographs + mirrored)[:PICTURES])}
    ends = list(permutations(images, 2))[:PAIRS]
    return images, [(*each, dataset[n % len(dataset)]) for n, each in enumerate(ends)]


def once_per_picture(
    matcher: Matcher, images: dict[str, Image], pairs: Sequence[tuple[str, str, Pair]]
) -> None:
    """Evaluate as spairc does."""
    features = dict(zip(images, matcher.encode(list(images.values())), strict=True))
    matcher.match([query(images, s, t, pair, features[s], features[t]) for s, t, pair in pairs])


def once_per_pair(
    matcher: Matcher, images: dict[str, Image], pairs: Sequence[tuple[str, str, Pair]]
) -> None:
    """Evaluate as published loops do."""
    for source, target, pair in pairs:
        features = matcher.encode([images[source], images[target]])
        matcher.match([query(images, source, target, pair, *features)])


def query(
    images: dict[str, Image], source: str, target: str, pair: Pair, *features: Features
) -> Query:
    """Return what the matcher is asked; the points need not mean anything."""
    sizes = [pair.source_size.__class__(*images[key].shape[1::-1]) for key in (source, target)]
    inside = np.minimum(pair.source_points, np.array(sizes[0]) - 1.0)
    first, second = features
    return Query(first, second, inside, sizes[0], sizes[1], pair.category)


def timed(function: object, *arguments: object) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    function(*arguments)  # type: ignore[operator]  # one of the two above
    return time.perf_counter() - start


def report(name: str, seconds: Sequence[float]) -> None:
    """Print the median time of a pair and its spread."""
    times = [1000 * each for each in seconds]
    print(f"{name:24} {median(times):8.2f} ms a pair  ({min(times):.2f} to {max(times):.2f})")


if __name__ == "__main__":
    main()
