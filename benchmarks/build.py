"""Rehearse `spairc build` at its real size, and the reference program on a sample.

480 pictures of 500 x 375, as SPair-71k's test split has, are made from scikit-image's photographs
by seeded crops, turns and mirrors. All 75 cells are built in the default format, a sample of the
pictures in the others. The peer reads, corrupts and writes (PNG by Pillow) a sample with as many
processes.

    python benchmarks/build.py [--pictures 480] [--workers 2] [--on "*@*"] [--folder /scratch]

The full run needs about 12 GB; what was built is removed at the end.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import skimage.data
from corruptions import ONE_THREAD, PEER, installed_peer

from spairc.spec import parse_conditions
from spairc.types import Image

WIDTH, HEIGHT = 500, 375
CATEGORIES = 18
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
PEER_PROGRAM = """
import sys, warnings
warnings.simplefilter("ignore")
from multiprocessing import Pool
from pathlib import Path
import numpy as np, PIL.Image
from imagecorruptions import corrupt

def work(path):
    image = np.array(PIL.Image.open(path).convert("RGB"))
    for cell in sys.argv[3].split(","):
        name, severity = cell.split("@")
        made = corrupt(image, corruption_name=name, severity=int(severity))
        out = Path(sys.argv[2]) / name / severity / (Path(path).stem + ".png")
        out.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.uint8(made)).save(out)

if __name__ == "__main__":
    with Pool(int(sys.argv[1])) as pool:
        pool.map(work, sys.argv[4:], chunksize=1)
"""


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    seconds: float
    processor: float  # seconds, over all cores
    memory: int  # bytes, at the peak of its largest process
    files: int
    disk: int  # bytes


def main() -> None:
    """Make the pictures, build, time the peer, print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--pictures", type=int, default=480)
    parser.add_argument("--sample", type=int, default=24, help="pictures in the other formats")
    parser.add_argument("--peer", type=int, default=4, help="pictures that the peer does")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--on", default="*@*", help="the cells; fewer for a quick run")
    parser.add_argument("--folder", type=Path, help="for pictures and sets; a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        run(Path(place), options)


def run(place: Path, options: argparse.Namespace) -> None:
    """Do it all in one folder."""
    cells = [str(cell) for cell in parse_conditions(options.on)]
    root = make_root(place / "root", options.pictures)
    few = make_root(place / "few", min(options.sample, options.pictures))
    warm(few, place)
    print(f"{options.pictures} pictures of {WIDTH} x {HEIGHT}, {len(cells)} cells", end="")
    print(f", {options.workers} workers; kernels were prepared before")
    ours = build(root, place / "png", "png", options)
    show("png", ours, options.workers)
    for form in ("webp", "jpeg"):
        show(f"{form}, a sample", build(few, place / form, form, options), options.workers)
    theirs = peer(few, place, cells, options)
    show(f"{PEER}, a sample", theirs, options.workers)
    ratio = (ours.files / ours.seconds) / (theirs.files / theirs.seconds)
    print(f"pictures per second, ours in png over the reference: {ratio:.1f}")


def warm(root: Path, place: Path) -> None:
    """Have the kernels compiled, as happens once per machine."""
    arguments = ["build", "--root", str(root), "--out", str(place / "warm"), "--limit", "2"]
    subprocess.run([*spairc(), *arguments, "--workers", "1"], check=True, capture_output=True)


def build(root: Path, out: Path, form: str, options: argparse.Namespace) -> Cost:
    """Run `spairc build` and return what it took; its progress goes to the terminal."""
    arguments = ["build", "--root", str(root), "--out", str(out), "--format", form]
    arguments += ["--on", options.on, "--workers", str(options.workers)]
    return measured([*spairc(), *arguments], out)


def peer(root: Path, place: Path, cells: list[str], options: argparse.Namespace) -> Cost:
    """Run the reference program on some pictures and return what it took."""
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(installed_peer())}
    script = place / "peer.py"
    script.write_text(PEER_PROGRAM)
    paths = [str(path) for path in sorted(root.rglob("*.jpg"))[: options.peer]]
    arguments = [str(options.workers), str(place / "theirs"), ",".join(cells), *paths]
    return measured([sys.executable, str(script), *arguments], place / "theirs", environment)


def spairc() -> list[str]:
    """Return the start of a command line."""
    return [sys.executable, "-c", "from spairc.cli import main; main()"]


def measured(arguments: list[str], out: Path, environment: dict[str, str] | None = None) -> Cost:
    """Run a program to its end and return what it and its processes took."""
    start = time.perf_counter()
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"{arguments[0]} ... {out} ended with exit code {process.returncode}")
    pictures = [path for path in out.glob("*/[1-5]/**/*.*") if path.suffix in (".jpg", ".png")]
    return Cost(
        seconds=seconds,
        processor=usage.ru_utime + usage.ru_stime,
        memory=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        files=len(pictures),
        disk=sum(path.stat().st_size for path in pictures),
    )


def show(name: str, cost: Cost, workers: int) -> None:
    """Print one line."""
    print(
        f"{name}: {cost.files} files in {cost.seconds:.1f} s, "
        f"{cost.files / cost.seconds:.1f} pictures per second, "
        f"{cost.processor / cost.seconds:.2f} of {workers} cores busy, "
        f"at most {cost.memory / 1e6:.0f} MB a process, "
        f"{cost.disk / 1e6:.0f} MB on disk, {cost.disk / cost.files / 1e3:.0f} kB a file",
        flush=True,
    )


def make_root(root: Path, count: int) -> Path:
    """Write a data set in SPair-71k's layout: each picture paired with the next of its category."""
    draws = np.random.default_rng(71)
    photographs = [np.asarray(getattr(skimage.data, name)()) for name in PHOTOGRAPHS]
    names: dict[str, list[str]] = {}
    for number in range(count):
        category = f"category{number % min(CATEGORIES, count // 2):02}"
        path = root / "JPEGImages" / category / f"{number:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = PIL.Image.fromarray(view(photographs[number % len(photographs)], draws))
        picture.save(path, quality=95)
        names.setdefault(category, []).append(path.stem)
    pairs = [(c, *ends) for c, members in names.items() for ends in pairwise(members)]
    written = [write_pair(root, number, *pair) for number, pair in enumerate(pairs)]
    layout = root / "Layout" / "large" / "test.txt"
    layout.parent.mkdir(parents=True)
    layout.write_text("\n".join(written) + "\n")
    return root


def view(photograph: Image, draws: np.random.Generator) -> Image:
    """Return a seeded part of a photograph: cropped, turned, perhaps mirrored."""
    height, width = photograph.shape[:2]
    scale = draws.uniform(0.6, 1) * min(width / WIDTH, height / HEIGHT)
    centre = (draws.uniform(0.35, 0.65) * width, draws.uniform(0.35, 0.65) * height)
    turn = cv2.getRotationMatrix2D(centre, draws.uniform(-12, 12), 1 / scale)
    turn[:, 2] += np.array([WIDTH / 2, HEIGHT / 2]) - centre
    border = cv2.BORDER_REFLECT_101
    made = cv2.warpAffine(
        photograph, turn, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=border
    )
    return np.ascontiguousarray(made[:, :: draws.choice((-1, 1))], dtype=np.uint8)


def write_pair(root: Path, number: int, category: str, source: str, target: str) -> str:
    """Write one annotation and return its name; its points need not mean anything."""
    name = f"{number:06}-{source}-{target}:{category}"
    record: dict[str, object] = {"category": category, "kps_ids": ["0"]}
    record |= dict.fromkeys(("viewpoint_variation", "scale_variation", "truncation"), 0)
    record |= {"occlusion": 0}
    for prefix, stem in (("src", source), ("trg", target)):
        record |= {
            f"{prefix}_imname": f"{stem}.jpg",
            f"{prefix}_imsize": [WIDTH, HEIGHT, 3],
            f"{prefix}_bndbox": [50, 40, 450, 330],
            f"{prefix}_kps": [[200, 150]],
        }
    path = root / "PairAnnotation" / "test" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return name


if __name__ == "__main__":
    main()
