"""How far does each corruption move structure? Keypoints must stay where they are annotated.

    python benchmarks/displacement.py [FOLDER ...] --out docs/displacement.csv

Two measurements on photographs. *Windows*: cross-correlation of a window of the clean picture with
the same window of the corrupted one, to a twentieth of a pixel. *Corners*: those of the clean
picture and the nearest of the corrupted one. Signed means tell of a shift; *outward*, at the
picture's edges, of a stretch. Intervals are of 95 %, pictures being drawn with replacement; the
scatter is the deviation of single windows, most of it the noise's and not the structure's.
"""

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import cv2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from skimage import data
from skimage.registration import phase_cross_correlation

from spairc import spec
from spairc.corruptions import corrupt
from spairc.images import read_image
from spairc.types import Condition, Image

Plane: TypeAlias = NDArray[np.float32]
PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket")  # those that scikit-image ships
WINDOW = 128  # pixels a side
GRID = (4, 5)  # windows from top to bottom, from left to right; the outermost touch the edges
PARTS = 20  # of a pixel
FARTHEST = 6.0  # pixels: what a window is said to have moved beyond that is no answer
CORNERS = 200  # at most, of a picture
NEAR = 3.0  # pixels: a corner this far away is the same one
TEXTURE = 2.0  # deviation in grey levels that a window needs
LARGEST = 640  # pixels: what a larger photograph is cut to
REPEATS = 1000  # of the bootstrap


@dataclass(frozen=True)
class Moves:
    """Displacements x, y that one picture showed in one cell, in pixels, right and down."""

    windows: NDArray[np.float64]  # (n, 2)
    outward: NDArray[np.float64]  # (m,): away from the middle, in windows that touch an edge
    corners: NDArray[np.float64]  # (k, 2)
    lost: int  # windows that gave no answer


def structure(image: Image) -> Plane:
    """Return the picture's brightness without its finest grain and without its slow changes."""
    grey = image.mean(axis=2, dtype=np.float32)
    fine = cv2.GaussianBlur(grey, (0, 0), 1.0)
    return np.asarray(fine - cv2.GaussianBlur(grey, (0, 0), 8.0))


def corners(image: Image) -> NDArray[np.float32]:
    """Return the strongest corners' places x, y to a fraction of a pixel, (n, 2)."""
    grey = cv2.GaussianBlur(image.mean(axis=2).astype(np.uint8), (0, 0), 1.0)
    found = cv2.goodFeaturesToTrack(grey, CORNERS, 0.02, 8)
    if found is None:
        return np.empty((0, 2), dtype=np.float32)
    until = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 30, 0.01)
    return np.asarray(cv2.cornerSubPix(grey, found, (3, 3), (-1, -1), until)).reshape(-1, 2)


def grid(height: int, width: int) -> list[tuple[int, int]]:
    """Return the windows' upper left corners y, x."""
    rows = np.linspace(0, height - WINDOW, GRID[0]).astype(int)
    columns = np.linspace(0, width - WINDOW, GRID[1]).astype(int)
    return [(y, x) for y in rows.tolist() for x in columns.tolist()]


def window_moves(clean: Plane, corrupted: Plane) -> Iterator[tuple[int, int, float, float]]:
    """Yield, of each window with texture, its corner y and x and how far it moved in x and y."""
    taper = np.outer(np.hanning(WINDOW), np.hanning(WINDOW)).astype(np.float32)
    for y, x in grid(*clean.shape):
        first, second = (plane[y : y + WINDOW, x : x + WINDOW] for plane in (clean, corrupted))
        if first.std() < TEXTURE:
            continue
        back, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]  # skimage has no types
            first * taper, second * taper, upsample_factor=PARTS, normalization=None
        )
        yield y, x, -float(back[1]), -float(back[0])


def corner_moves(clean: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how far corners moved that were found again nearby, (n, 2)."""
    if not len(clean) or not len(found):
        return np.empty((0, 2))
    steps = found[None] - clean[:, None]
    nearest = np.linalg.norm(steps, axis=2).argmin(axis=1)
    moved = steps[np.arange(len(clean)), nearest].astype(np.float64)
    near: NDArray[np.float64] = moved[np.linalg.norm(moved, axis=1) < NEAR]
    return near


def measure(clean: Image, corrupted: Image) -> Moves:
    """Return how far structure moved from one picture to the other."""
    height, width = clean.shape[:2]
    inside: list[tuple[float, float]] = []
    outward: list[float] = []
    lost = 0
    for y, x, right, down in window_moves(structure(clean), structure(corrupted)):
        if max(abs(right), abs(down)) > FARTHEST:
            lost += 1
            continue
        inside.append((right, down))
        outward.extend(
            value
            for touches, value in (
                (x == 0, -right),
                (x == width - WINDOW, right),
                (y == 0, -down),
                (y == height - WINDOW, down),
            )
            if touches
        )
    return Moves(
        windows=np.array(inside).reshape(-1, 2),
        outward=np.array(outward),
        corners=corner_moves(corners(clean), corners(corrupted)),
        lost=lost,
    )


def mean_and_interval(parts: Sequence[NDArray[np.float64]]) -> tuple[float, float, float]:
    """Return the mean of all values, and its interval if pictures are drawn with replacement."""
    sums, counts = np.array([part.sum() for part in parts]), np.array([part.size for part in parts])
    drawn = np.random.default_rng(0).integers(0, len(parts), (REPEATS, len(parts)))
    means = sums[drawn].sum(axis=1) / np.maximum(counts[drawn].sum(axis=1), 1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(sums.sum() / max(counts.sum(), 1)), float(low), float(high)


def row(cell: Condition, moves: Sequence[Moves]) -> dict[str, str]:
    """Return one line of the table."""
    values: dict[str, str] = {"corruption": str(cell.corruption), "severity": str(cell.severity)}
    parts = {
        "x": [each.windows[:, 0] for each in moves],
        "y": [each.windows[:, 1] for each in moves],
        "outward": [each.outward for each in moves],
        "corner_x": [each.corners[:, 0] for each in moves],
        "corner_y": [each.corners[:, 1] for each in moves],
    }
    windows = sum(len(each.windows) for each in moves)
    lost = sum(each.lost for each in moves)
    values |= {"pictures": str(len(moves)), "windows": str(windows)}
    values |= {"lost_percent": f"{100 * lost / max(windows + lost, 1):.1f}"}
    for name, each in parts.items():
        mean, low, high = mean_and_interval(each)
        values |= {name: f"{mean:.3f}", f"{name}_low": f"{low:.3f}", f"{name}_high": f"{high:.3f}"}
    for name in ("x", "y"):
        values[f"scatter_{name}"] = f"{np.concatenate(parts[name]).std():.3f}"
    return values


def table(pictures: dict[str, Image], threads: int = 2) -> Iterator[dict[str, str]]:
    """Yield one line for each of the 75 cells."""

    def moves(cell: Condition, named: tuple[str, Image]) -> Moves:
        key, image = named
        found = corrupt(image, str(cell.corruption), severity=cell.severity, key=key)
        return measure(image, found)

    with ThreadPoolExecutor(threads) as pool:
        for cell in spec.CORRUPTED:
            yield row(cell, list(pool.map(partial(moves, cell), pictures.items())))


def photographs(folders: Sequence[Path]) -> dict[str, Image]:
    """Return the photographs that scikit-image and matplotlib ship, and those of the folders."""
    named: dict[str, Image] = {name: getattr(data, name)() for name in PHOTOGRAPHS}
    named["motorcycle"] = data.stereo_motorcycle()[0]  # type: ignore[no-untyped-call]  # as above
    named["hopper"] = read_image(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg")
    for folder in folders:
        named |= {path.stem: read_image(path) for path in sorted(folder.rglob("*.jpg"))}
    cut = {name: np.ascontiguousarray(image[:LARGEST, :LARGEST]) for name, image in named.items()}
    return {name: image for name, image in cut.items() if min(image.shape[:2]) > 2 * WINDOW}


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folders", nargs="*", type=Path, help="more photographs, as .jpg")
    parser.add_argument("--out", type=Path, help="a CSV file; printed without it")
    arguments = parser.parse_args()
    pictures = photographs(arguments.folders)
    with open(arguments.out, "w", newline="") if arguments.out else sys.stdout as file:  # noqa: PTH123 -- or the screen
        writer: csv.DictWriter[str] | None = None
        for line in table(pictures):
            if writer is None:
                writer = csv.DictWriter(file, list(line), lineterminator="\n")
                writer.writeheader()
            writer.writerow(line)
            file.flush()


if __name__ == "__main__":
    main()
