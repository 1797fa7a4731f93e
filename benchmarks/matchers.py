"""The published networks as spairc runs them, beside their own programs: time, memory, answers.

    python benchmarks/matchers.py --peer CATs-PlusPlus [--peer ...] [--packages FOLDER]

CLONE is a checkout of an official repository (`programs.PEERS`); which one, its files tell. Both
sides are processes of their own, get the same random weights and pictures, and are timed in turn,
so that a machine that is busy now and then disturbs both alike. Without a clone, ours alone runs.

Ours encodes every picture once and then matches pairs; a program encodes both pictures of every
pair. So three numbers are told: encoding a picture, a pair whose pictures are encoded already, and
what all pairs of the pictures cost, which is computed from the medians: there are more pairs than
anybody wants to wait for. Where the interesting part of a program comes after the features, it is
timed by itself on both sides. The memory is what a process takes at most while it matches its first
pairs, beyond the network and, with ours, the encoded pictures, which are told as well (Linux only).
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from evaluate import category
from peers import serve, time_part
from programs import PEERS

from spairc.types import Query, Size
from spairc_models import load_model, load_network
from spairc_models.networks import NETWORKS

POINTS = 10  # given in each pair; SPair-71k has 7 on average
AT_ONCE = 8  # pictures that are encoded together, as `spairc eval` does


@dataclass
class Side:
    """What one side took; seconds, and megabytes."""

    pair: list[float] = field(default_factory=list)  # one number a round
    part: list[float] = field(default_factory=list)  # of a pair, in what is timed by itself
    picture: list[float] = field(default_factory=list)
    memory: float = 0.0  # of the first pairs, beyond what was held before
    features: float = 0.0  # of the encoded pictures
    answers: dict[int, np.ndarray] = field(default_factory=dict)  # by number of the pair


def main() -> None:
    """Time the models that were asked for, one after the other."""
    options = parsed()
    torch.set_num_threads(options.threads)
    clones = {told_by(clone): clone for clone in options.peer}
    for name in options.model or clones or ["cats", "catspp"]:
        with tempfile.TemporaryDirectory() as folder:
            prepare(name, Path(folder), options)
            ours = start([__file__, "--serve", name, folder, str(options.threads)])
            command = [str(Path(__file__).with_name("peers.py")), name]
            places = [str(clones.get(name, "")), folder, str(options.threads), *options.packages]
            theirs = start([*command, *places]) if name in clones else None
            print(report(name, options, *measured(ours, theirs, options)), flush=True)


def parsed() -> argparse.Namespace:
    """Return the options; serve instead where this is our own side's process."""
    if sys.argv[1:2] == ["--serve"]:
        serve_ours(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", action="append", default=[], type=Path, metavar="CLONE")
    parser.add_argument("--packages", action="append", default=[], help="what the peers import")
    parser.add_argument("--model", nargs="+", choices=list(PEERS))
    parser.add_argument("--pictures", type=int, default=27, help="whose pairs the cost is told of")
    parser.add_argument("--encoded", type=int, default=27, help="pictures that pairs are drawn of")
    parser.add_argument("--pairs", type=int, default=8, help="that ours matches in a round")
    parser.add_argument("--peer-pairs", type=int, default=2, help="that the peer does in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    return parser.parse_args()


def told_by(clone: Path) -> str:
    """Return the model that a clone is of."""
    for name, peer in PEERS.items():
        if (clone / peer.told_by).is_file():
            return name
    sys.exit(f"{clone} has none of {', '.join(peer.told_by for peer in PEERS.values())}")


def prepare(name: str, folder: Path, options: argparse.Namespace) -> None:
    """Write the pictures, the pairs and the weights that both sides read."""
    images, pairs = category(folder)
    for number, image in enumerate(list(images.values())[: options.encoded]):
        np.save(folder / f"picture-{number:02}.npy", image)
    pictures = [np.load(path) for path in sorted(folder.glob("picture-*.npy"))]
    draws = np.random.default_rng(0)
    ends = [(int(s), int(t)) for s, t, _ in pairs if max(int(s), int(t)) < len(pictures)]
    draws.shuffle(ends)
    asked = []
    for source, target in (ends * options.rounds * options.pairs)[: needed(options)]:
        points = draws.uniform(0, np.array(pictures[source].shape[1::-1]) - 1, (POINTS, 2))
        asked.append({"source": source, "target": target, "points": points.round().tolist()})
    (folder / "pairs.json").write_text(json.dumps(asked))
    torch.save(weights(name, pictures[:4]), folder / "weights.pth")


def needed(options: argparse.Namespace) -> int:
    """Return how many pairs are asked: a first block that is not timed, and one a round."""
    return int(options.pairs * (options.rounds + 1))


def weights(name: str, pictures: Sequence[np.ndarray]) -> Mapping[str, torch.Tensor]:
    """Return random weights whose features tell places apart.

    Batch norm takes its statistics from some of the pictures, or deep layers would say nothing.
    """
    network: Any = load_network(name)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean
    preprocessing = NETWORKS[name].preprocessing(PEERS[name].side)
    normalised = [preprocessing.normalised(each) for each in pictures]
    with torch.no_grad():
        network.train().encode_features(torch.from_numpy(np.stack(normalised)))
    state = dict(network.state_dict())
    with torch.no_grad():
        PEERS[name].settle(state)
    return state


def start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    """Return a side's process once it is ready."""
    process = subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    ready = process.stdout.readline() if process.stdout else ""
    if not ready:
        needed = " ".join(package for peer in PEERS.values() for package in peer.packages)
        sys.exit(
            f"{' '.join(arguments)} did not start, as told above; what the programs import beside "
            f"spairc's own packages: pip install --no-deps --target FOLDER {needed}"
        )
    return process


def ask(process: subprocess.Popen[str], verb: str, numbers: Sequence[int]) -> Any:
    """Return what a side's process answers."""
    if process.stdin is None or process.stdout is None:
        raise ValueError("the process has no pipes")
    print(json.dumps([verb, list(numbers)]), file=process.stdin, flush=True)
    line = process.stdout.readline()
    return json.loads(line) if line else sys.exit("a side ended early, as told above")


def measured(
    ours: subprocess.Popen[str], theirs: subprocess.Popen[str] | None, options: argparse.Namespace
) -> tuple[Side, Side | None]:
    """Return what both sides took, in turn."""
    us, them = Side(), Side()
    for first in range(0, options.encoded, AT_ONCE):
        group = range(first, min(first + AT_ONCE, options.encoded))
        told = ask(ours, "encode", group)
        us.picture.append(told["seconds"] / len(group))
        us.features += told["answer"]
    for round_ in range(options.rounds + 1):
        block = range(round_ * options.pairs, (round_ + 1) * options.pairs)
        pair_round(us, ours, block, counted=round_ > 0)
        if theirs is not None:
            pair_round(them, theirs, block[: options.peer_pairs], counted=round_ > 0)
    for process in (ours, theirs):
        if process is not None:
            process.communicate()
    return us, None if theirs is None else them


def pair_round(
    side: Side, process: subprocess.Popen[str], block: Sequence[int], *, counted: bool
) -> None:
    """Let a side answer some pairs; of the first, which also warms up, only the memory counts."""
    told = ask(process, "pairs", block)
    side.answers |= {n: np.array(a) for n, a in zip(block, told["answer"], strict=True)}
    if counted:
        side.pair.append(told["seconds"] / len(block))
        side.part.append(told["part"] / len(block))
    else:
        side.memory = told["peak"] - told["before"]


def serve_ours(name: str, folder: Path, threads: int) -> None:
    """Serve our own side: encode pictures, match pairs."""
    torch.set_num_threads(threads)
    matcher = load_model(name, checkpoint=str(folder / "weights.pth"), device="cpu")
    pictures = [np.load(path) for path in sorted(folder.glob("picture-*.npy"))]
    asked = json.loads((folder / "pairs.json").read_text())
    features: dict[int, Any] = {}

    def encode(numbers: list[int]) -> float:
        found = matcher.encode([pictures[number] for number in numbers])
        features.update(zip(numbers, found, strict=True))
        return float(sum(part.nbytes for each in found for part in each) / (1 << 20))

    def match(numbers: list[int]) -> list[list[list[float]]]:
        queries = []
        for number in numbers:
            ends = [asked[number][role] for role in ("source", "target")]
            sizes = [Size(*pictures[end].shape[1::-1]) for end in ends]
            points = np.array(asked[number]["points"])
            source, target = (features[end] for end in ends)
            queries.append(Query(source, target, points, sizes[0], sizes[1], "car"))
        return [each.tolist() for each in matcher.match(queries)]

    if PEERS[name].our_part:
        module, part = PEERS[name].our_part.split(":")
        time_part(importlib.import_module(module), part)
    serve({"encode": encode, "pairs": match}, sys.stdout, at_once=threads)


def report(name: str, options: argparse.Namespace, ours: Side, theirs: Side | None) -> str:
    """Return the table of one model."""
    count = options.pictures * (options.pictures - 1)
    encoding, pair = median(ours.picture), median(ours.pair)
    whole = encoding * options.pictures + pair * count
    lines = [
        f"{name}: {options.threads} threads, medians (least to most) of {options.rounds} rounds",
        f"  ours      encoding a picture  {spread(ours.picture)}",
        f"            a pair of encoded   {spread(ours.pair)}",
        (
            f"            {options.pictures} pictures, {count} pairs: {whole:.1f} s,"
            f" {count / whole:.2f} pairs a second"
        ),
        (
            f"            memory beyond network and encoded pictures {ours.memory:,.0f} MB;"
            f" {options.encoded} of them {ours.features:,.0f} MB"
        ),
    ]
    if theirs is None:
        return "\n".join(lines)
    each = median(theirs.pair)
    common = sorted(theirs.answers.keys() & ours.answers.keys())
    apart = max(float(np.abs(ours.answers[n] - theirs.answers[n]).max()) for n in common)
    lines += [
        f"  official  a pair              {spread(theirs.pair)}",
        *part_lines(name, ours.part, theirs.part),
        f"            {count} pairs: {each * count:.1f} s, {1 / each:.2f} pairs a second",
        f"            memory beyond network {theirs.memory:,.0f} MB",
        (
            f"  ratios    pairs a second {each * count / whole:.2f} x (pictures encoded already"
            f" {each / pair:.2f} x), memory {ours.memory / theirs.memory:.2f} x"
        ),
        (
            f"  largest difference {apart:.1e} pixels, of {len(common) * POINTS} points of"
            f" {len(common)} pairs"
        ),
    ]
    return "\n".join(lines)


def part_lines(name: str, ours: Sequence[float], theirs: Sequence[float]) -> list[str]:
    """Return what both sides take for one part, where a model has one that is timed by itself."""
    part = PEERS[name].part
    if not part:
        return []
    return [
        f"            of a pair, {part}: {median(theirs) / median(ours):.2f} x",
        f"              ours              {spread(ours)}",
        f"              official          {spread(theirs)}",
    ]


def spread(seconds: Sequence[float]) -> str:
    """Return the median and the extremes, in milliseconds."""
    least, most = 1000 * min(seconds), 1000 * max(seconds)
    return f"{1000 * median(seconds):8.1f} ms  ({least:.1f} to {most:.1f})"


if __name__ == "__main__":
    main()
