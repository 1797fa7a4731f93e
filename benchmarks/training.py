"""Training steps per second of supervised-cats, beside the official CATs program's own loop.

    python benchmarks/training.py --peer Cost-Aggregation-transformers --packages FOLDER
        [--root SPair-71k] [--small] [--batch 4] [--workers 0] [--frozen]
    python benchmarks/training.py --device cuda --precision bfloat16 --batch 32 --workers 8

CLONE is a checkout of SunghwanHong/Cost-Aggregation-transformers. Both sides are processes of
their own that train the same network (ResNet-101, random weights) on the same pairs with the same
batch size and go on in turn, some steps each, so that a machine that is busy now and then
disturbs both alike. Ours is `spairc train` as it is; theirs is its `train_epoch` with its data
set, augmentation, loader and optimiser. Reading and preparing pictures counts on both sides.
Without a clone, ours alone runs; without --root, on warped views of the demonstration's photographs
of SPair-71k's size.

Its data set needs albumentations, which pip puts into a folder of its own:
`pip install --no-deps --target FOLDER albumentations==1.3.0`.
"""

import argparse
import importlib
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from matchers import ask, start
from peers import MEGABYTE, pretend, serve

OFFICIAL = "SPair-71k"  # the folder that the official data set looks for
PAIRS = 90  # of the rehearsal set, in each of its categories
SMALL = {"batch": 2, "rounds": 3, "steps": 1}


@dataclass
class Side:
    """What one side took."""

    seconds: list[float] = field(default_factory=list)  # of a step, one number a round
    waited: list[float] = field(default_factory=list)  # share of a round spent waiting for data
    memory: float = 0.0  # megabytes that the process held at most
    busy: list[float] = field(default_factory=list)  # percent of the time a GPU had work
    on_device: float = 0.0  # megabytes of a GPU

    def add(self, told: dict[str, Any], steps: int) -> None:
        """Take up a round."""
        self.seconds.append(told["seconds"] / steps)
        self.waited.append(told["answer"]["waited"] / told["seconds"])
        self.memory = max(self.memory, told["peak"])
        self.on_device = max(self.on_device, told["answer"]["on_device"])


class Turns:
    """Lets a training loop go on for some steps whenever it is asked to.

    The loop runs in the main thread, whose number of threads torch was told; another one serves.
    """

    def __init__(self) -> None:
        self._asked: queue.Queue[int | None] = queue.Queue()
        self._done: queue.Queue[float] = queue.Queue()
        self._left = 0
        self.waited = 0.0  # seconds for data, in this turn

    def asked(self, numbers: list[int]) -> dict[str, float]:
        """Return when the loop has done so many steps, with what it told."""
        self._asked.put(numbers[0])
        waited = self._done.get()
        on_device = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        return {"waited": waited, "on_device": on_device / MEGABYTE}

    def begin(self) -> None:
        """Wait for the next turn; end the process if there is none."""
        asked = self._asked.get()
        if asked is None:
            sys.exit()
        self._left, self.waited = asked, 0.0

    def end(self) -> None:
        """Tell the loop that there are no more turns."""
        self._asked.put(None)

    def step(self) -> None:
        """Take note of a step that is done; after a turn's last wait for the next turn."""
        self._left -= 1
        if self._left == 0:
            self._done.put(self.waited)
            self.begin()

    def serve(self) -> None:
        """Answer in a thread of its own what the other process asks."""
        out, sys.stdout = sys.stdout, sys.stderr  # whatever a program prints must not get between

        def answer() -> None:
            serve({"steps": self.asked}, out)
            self.end()

        threading.Thread(target=answer, daemon=True).start()


def main() -> None:
    """Let both sides train in turn and print what a step took."""
    options = parsed()
    if options.serve:
        torch.set_num_threads(options.threads)
        {"ours": train_ours, "official": train_official}[options.serve](options)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = options.root or rehearsal(Path(folder, "set"), needed(options))
        given = [*sys.argv[1:], "--root", str(root.resolve()), "--folder", folder]
        names = ["ours", *(["official"] if options.peer else [])]
        sides = {name: start([__file__, *given, "--serve", name]) for name in names}
        print(report(options, measured(sides, options)))


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, metavar="CLONE")
    parser.add_argument("--packages", action="append", default=[], help="what the peer imports")
    parser.add_argument("--root", type=Path, help="SPair-71k, or what is laid out as it")
    parser.add_argument("--small", action="store_true", help=f"quick: {SMALL}")
    parser.add_argument("--batch", type=int, default=4, help="pairs of a step")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="that each side does in a round")
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare pairs")
    parser.add_argument("--frozen", action="store_true", help="the trunk is not trained")
    parser.add_argument("--set", action="append", default=[], help="a field of our recipe")
    parser.add_argument("--device", default="cpu", help="ours alone: cuda")
    parser.add_argument("--precision", default="float32", help="of ours; the peer has float32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--serve", choices=["ours", "official"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.small:
        vars(options).update(SMALL)
    if options.peer and options.device != "cpu":
        parser.error("the peer runs on a CPU; leave out --peer or --device")
    return options


def needed(options: argparse.Namespace) -> int:
    """Return how many pairs a side sees: one round warms up."""
    return int((options.rounds + 1) * options.steps * options.batch)


def rehearsal(root: Path, pairs: int) -> Path:
    """Make a set of SPair-71k's layout and picture size, its training pairs being its others too.

    Args:
        root: Of the set.
        pairs: It has at least so many.
    """
    from fullsize import make_set, photographs_of  # noqa: PLC0415 -- neither side needs it

    photographs = list(photographs_of(None))
    names = [f"category{number}" for number in range(-(-pairs // PAIRS))]
    make_set(root, dict.fromkeys(names, PAIRS), photographs)
    for split in ("trn", "val"):
        shutil.copytree(root / "PairAnnotation" / "test", root / "PairAnnotation" / split)
        for layout in ("large", "small"):
            folder = root / "Layout" / layout
            shutil.copyfile(folder / "test.txt", folder / f"{split}.txt")
    return root


def measured(sides: dict[str, Any], options: argparse.Namespace) -> dict[str, Side]:
    """Return what each side took, in turn; the first round warms up."""
    taken = {name: Side() for name in sides}
    for number in range(options.rounds + 1):
        for name, process in sides.items():
            with utilisation(options.device) as busy:
                told = ask(process, "steps", [options.steps])
            if number:
                taken[name].add(told, options.steps)
                taken[name].busy += busy
                print(f"round {number}, {name}: {taken[name].seconds[-1]:.2f} s a step", flush=True)
    for process in sides.values():
        process.communicate()
    return taken


class utilisation:  # noqa: N801 -- read as a verb's object: with utilisation(device)
    """Collects what nvidia-smi tells of a GPU meanwhile; nothing on a CPU."""

    def __init__(self, device: str) -> None:
        self._device, self._told = device, list[float]()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> list[float]:
        if self._device.startswith("cuda"):
            query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
            self._process = subprocess.Popen(
                ["nvidia-smi", *query, "--loop-ms=200"],  # noqa: S607 -- wherever it is
                stdout=subprocess.PIPE,
                text=True,
            )
        return self._told

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._told += [float(line) for line in self._process.communicate()[0].split()]


def train_ours(options: argparse.Namespace) -> None:
    """Train as `spairc train supervised-cats` does, some steps at a time."""
    # The official side's process is not to hold these.
    from matchme_train.loop import Progress  # noqa: PLC0415 -- see above
    from matchme_train.recipe import load_recipe  # noqa: PLC0415 -- see above
    from matchme_train.train import Request, prepare, train  # noqa: PLC0415 -- see above

    changes = ["network.weights=random", f"optimiser.batch_size={options.batch}"]
    if options.frozen:
        changes.append("optimiser.backbone_learning_rate=0")
    request = Request(
        recipe=load_recipe("supervised-cats", [*changes, *options.set]),
        root=options.root,
        out=options.folder / "run",
        device=options.device,
        precision=options.precision,
        workers=options.workers,
    )
    prepared = prepare(request)
    if needed(options) > len(prepared.material.training):
        sys.exit(f"{options.root} has too few pairs for one epoch: {needed(options)} are needed")
    turns = Turns()
    turns.serve()
    turns.begin()

    def watch(told: Progress) -> None:
        turns.waited += told.waited
        turns.step()

    train(prepared, watch)


def train_official(options: argparse.Namespace) -> None:
    """Train with the official program's data set, loader, loss, optimiser and loop."""
    sys.path[0:1] = [str(options.peer), *options.packages]
    pretend()
    # Albumentations' other domain is for none of the program's operations, and needs scikit-learn.
    other = "albumentations.augmentations.domain_adaptation"
    sys.modules[other] = types.ModuleType(other)
    data = options.folder / "data"
    data.mkdir()
    (data / OFFICIAL).symlink_to(options.root, target_is_directory=True)
    load = importlib.import_module("data.download").load_dataset
    dataset = load("spair", str(data), "auto", torch.device("cpu"), "trn", True, 16)
    layers = [0, 8, 20, 21, 26, 28, 29, 30]
    network = importlib.import_module("models.cats").CATs(
        depth=1, hyperpixel_ids=layers, freeze=options.frozen
    )
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=options.batch, num_workers=options.workers, shuffle=True
    )
    turns = Turns()
    turns.serve()
    turns.begin()
    importlib.import_module("utils_training.optimize").train_epoch(
        torch.nn.DataParallel(network),
        _official_optimiser(network),
        Timed(loader, turns),
        torch.device("cpu"),
        0,
        types.SimpleNamespace(add_scalar=lambda *_: None),
    )


def _official_optimiser(network: torch.nn.Module) -> torch.optim.Optimizer:
    """Return what the official script makes; it stands outside of any function there."""
    groups: dict[bool, list[torch.nn.Parameter]] = {False: [], True: []}
    for name, parameter in network.named_parameters():
        groups["feature_extraction" in name].append(parameter)
    rates = {False: 3e-5, True: 3e-6}
    return torch.optim.AdamW(
        [{"params": groups[trunk], "lr": rate} for trunk, rate in rates.items()], weight_decay=0.05
    )


@dataclass
class Timed:
    """A loader that tells how long its batches were waited for, and counts steps by them."""

    loader: Any
    turns: Turns

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.loader)
        for number in range(len(self.loader)):
            if number:  # whoever asks for a batch is done with the one before
                self.turns.step()
            asked = time.perf_counter()
            batch = next(batches)
            self.turns.waited += time.perf_counter() - asked
            yield batch


def report(options: argparse.Namespace, sides: dict[str, Side]) -> str:
    """Return the table."""
    trunk = "frozen" if options.frozen else "trained"
    title = (
        f"supervised-cats, trunk {trunk}, {options.batch} pairs a step, {options.threads} threads, "
        f"{options.workers} workers, {options.device}, ours in {options.precision}; "
        f"medians (least to most) of {options.rounds} rounds of {options.steps} steps"
    )
    lines = [title]
    lines += [f"  {name:9} {told(side, options.batch)}" for name, side in sides.items()]
    if "official" in sides:
        ours, theirs = sides["ours"], sides["official"]
        ratio = median(theirs.seconds) / median(ours.seconds)
        rounds = [b / a for a, b in zip(ours.seconds, theirs.seconds, strict=True)]
        lines.append(
            f"  steps a second {ratio:.2f} x ({min(rounds):.2f} to {max(rounds):.2f} by round), "
            f"memory {ours.memory / theirs.memory:.2f} x"
        )
    return "\n".join(lines)


def told(side: Side, batch: int) -> str:
    """Return what a side took, as text."""
    seconds = median(side.seconds)
    parts = [
        f"{seconds:.3f} s a step ({spread(side.seconds)}), {batch / seconds:.2f} pairs a second",
        f"waited for data {100 * median(side.waited):.1f} %",
        f"peak memory {side.memory:,.0f} MB",
    ]
    if side.busy:
        parts.append(f"GPU busy {mean(side.busy):.0f} %, {side.on_device:,.0f} MB")
    return "; ".join(parts)


def spread(seconds: Sequence[float]) -> str:
    """Return the extremes."""
    return f"{min(seconds):.3f} to {max(seconds):.3f}"


if __name__ == "__main__":
    main()
