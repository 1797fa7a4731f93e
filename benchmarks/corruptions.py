"""How fast are the 75 corruptions, beside the published program, on the same machine and picture?

    python benchmarks/corruptions.py

The peer is `imagecorruptions-imaug`, the fork of imagecorruptions that still runs. It has the same
import name as imagecorruptions, so it is installed into a folder of its own and works in a process
of its own. Both have one thread, and take turns at all 75 cells; what is measured is processor
time, so that what else the machine does counts little. Ratios are ratios of medians.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from statistics import median
from typing import TypeAlias

import numpy as np
from skimage import data

from spairc import spec
from spairc.corruptions import corrupt
from spairc.draws import LegacyDraws
from spairc.files import cache_folder
from spairc.types import Condition, Image

PEER = "imagecorruptions-imaug==1.1.5"
MILLI = 1e3
SEED = 7
PASSES = {"peer": 1, "keyed": 10, "legacy": 3}  # over the 75 cells, in one turn
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
# What the peer's process does: take a picture, then time one cell for each line it is sent.
PEER_PROGRAM = """
import sys, time, warnings
warnings.simplefilter("ignore")
import cv2, numpy as np
from imagecorruptions import corrupt
cv2.setNumThreads(1)
image = np.load(sys.argv[1])
for line in sys.stdin:
    name, severity = line.split()
    start = time.process_time()
    corrupt(image, corruption_name=name, severity=int(severity))
    print(time.process_time() - start, flush=True)
"""
Times: TypeAlias = dict[str, dict[Condition, list[float]]]  # who -> cell -> seconds, a round each


def picture() -> Image:
    """Return a photograph of 500 x 375 pixels, the size of most pictures of SPair-71k."""
    coffee = data.coffee()  # type: ignore[no-untyped-call]  # skimage has no types
    return np.ascontiguousarray(coffee[:375, 50:550])


def installed_peer() -> Path:
    """Return the folder that the peer is installed in; at the first time, install it."""
    folder = cache_folder() / "peers" / PEER.replace("==", "-")
    if not (folder / "imagecorruptions").is_dir():
        print(f"installing {PEER} into {folder}")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*command, "--target", str(folder), PEER], check=True)
    return folder


class Peer:
    """The published program, in a process of its own.

    Args:
        folder: Where it is installed.
        image: A file that numpy saved the picture in.
    """

    def __init__(self, folder: Path, image: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PEER_PROGRAM, str(image)],
            env={**os.environ, "PYTHONPATH": str(folder), **ONE_THREAD},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, cell: Condition) -> float:
        """Return how long one cell took."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the peer's process has no pipes")
        self._process.stdin.write(f"{cell.corruption} {cell.severity}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def end(self) -> None:
        """End the process."""
        self._process.communicate()


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Return how long a piece of work took: processor time, unless another clock is given."""
    start = clock()
    work()
    return clock() - start


def make(image: Image, cell: Condition, *, legacy: bool = False, key: str = "a") -> Image:
    """Return one cell of the picture."""
    draws = LegacyDraws(SEED) if legacy else None
    return corrupt(image, str(cell.corruption), severity=cell.severity, key=key, draws=draws)


def measured(image: Image, peer: Peer, rounds: int) -> Times:
    """Return all times. Who is faster makes more passes in its turn: so turns last about as long.

    The first pass of a turn does not count: another program had the machine before.
    """
    makers: dict[str, Callable[[Condition], float]] = {
        "peer": peer.seconds,
        "keyed": lambda cell: seconds(lambda: make(image, cell)),
        "legacy": lambda cell: seconds(lambda: make(image, cell, legacy=True)),
    }
    times: Times = {who: {cell: [] for cell in spec.CORRUPTED} for who in makers}
    for _, who in product(range(rounds), makers):
        for turn in range(PASSES[who] + 1):
            for cell in spec.CORRUPTED:
                found = makers[who](cell)
                if turn:
                    times[who][cell].append(found)
    return times


def sums(cells: dict[Condition, list[float]], corruption: str | None) -> list[float]:
    """Return, per round, the milliseconds of a corruption's five severities, or of all 75 cells."""
    rows = [each for cell, each in cells.items() if corruption in (None, cell.corruption)]
    return [MILLI * sum(column) for column in zip(*rows, strict=True)]


def spread(values: list[float]) -> str:
    """Return median and range."""
    return f"{median(values):8.1f} ({min(values):7.1f} to {max(values):7.1f})"


def table(times: Times) -> str:
    """Return milliseconds and ratios, one corruption a line."""
    head = f"{'five severities, ms':20}" + "".join(f"{who:>28}" for who in times)
    lines = [head + f"{'peer/keyed':>12}{'peer/legacy':>12}"]
    for corruption in (*spec.CORRUPTION_NAMES, None):
        values = {who: sums(cells, corruption) for who, cells in times.items()}
        middle = {who: median(each) for who, each in values.items()}
        ratios = (middle["peer"] / middle[who] for who in ("keyed", "legacy"))
        line = f"{corruption or 'all 75 cells':20}"
        line += "".join(f"{spread(each):>28}" for each in values.values())
        lines.append(line + "".join(f"{ratio:11.1f}x" for ratio in ratios))
    return "\n".join(lines)


def gain_of_threads(image: Image, rounds: int, threads: int) -> tuple[list[float], list[float]]:
    """Return seconds for 75 cells of several pictures, with one thread and with more, in turns."""
    work = [(f"picture {n}", cell) for n in range(2 * threads) for cell in spec.CORRUPTED]
    found: dict[int, list[float]] = {1: [], threads: []}
    for _ in range(rounds):
        for number, values in found.items():
            with ThreadPoolExecutor(number) as pool:
                jobs = lambda pool=pool: list(  # noqa: E731 -- one round of work
                    pool.map(lambda job: make(image, job[1], key=job[0]), work)
                )
                values.append(seconds(jobs, time.perf_counter))
    return found[1], found[threads]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=7, help="how often each takes its turn")
    parser.add_argument("--threads", type=int, default=2, help="to compare with one")
    arguments = parser.parse_args()
    image, folder = picture(), installed_peer()
    saved = folder / "picture.npy"
    np.save(saved, image)
    peer = Peer(folder, saved)
    times = measured(image, peer, arguments.rounds)
    peer.end()
    height, width = image.shape[:2]
    print(f"{width} x {height} pixels, one thread, median (range) of {arguments.rounds} turns")
    print(table(times))
    alone, together = gain_of_threads(image, arguments.rounds, arguments.threads)
    print(
        f"{arguments.threads} threads over pictures: {median(alone) / median(together):.2f} x "
        f"(one {spread(alone)} s, {arguments.threads} {spread(together)} s)"
    )


if __name__ == "__main__":
    main()
