"""Keypoints stay where they are: no corruption moves structure by as much as half a pixel.

`docs/displacement.csv` holds what `benchmarks/displacement.py` measured on many photographs; here
it is measured again on the six that scikit-image and matplotlib ship.
"""

import csv
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from spairc import spec
from spairc.corruptions import corrupt
from spairc.types import Image

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "docs" / "displacement.csv"
# Pixels, of means. At the picture's edges, where blur mixes in the mirrored picture and windows see
# but one side, twice as much.
MOST = {"x": 0.5, "y": 0.5, "outward": 1.0}
CELLS = [(str(cell.corruption), cell.severity) for cell in spec.CORRUPTED]
# Blur and noise at their strongest, and what is made of blocks, streaks or clouds.
DOUBTED = [
    *(("pixelate", severity) for severity in spec.SEVERITIES),
    *(("snow", 4), ("fog", 5), ("spatter", 5), ("defocus_blur", 3), ("gaussian_noise", 5)),
]


def load(name: str) -> ModuleType:
    """A benchmark as a module: benchmarks are scripts, not a package."""
    found = spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


displacement = load("displacement")


@pytest.fixture(scope="module")
def photographs() -> dict[str, Image]:
    answer: dict[str, Image] = displacement.photographs([])
    return answer


def measured(pictures: dict[str, Image], corruption: str, severity: int) -> dict[str, str]:
    cell = next(c for c in spec.CORRUPTED if (c.corruption, c.severity) == (corruption, severity))
    moves = [
        displacement.measure(image, corrupt(image, corruption, severity=severity, key=name))
        for name, image in pictures.items()
    ]
    answer: dict[str, str] = displacement.row(cell, moves)
    return answer


def assert_stays(line: dict[str, str]) -> None:
    for name, most in MOST.items():
        low, high = float(line[f"{name}_low"]), float(line[f"{name}_high"])
        assert -most < low <= high < most, (name, line)


@pytest.fixture(scope="module")
def committed() -> list[dict[str, str]]:
    with TABLE.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_committed_table_has_a_line_for_each_of_the_75_cells(
    committed: list[dict[str, str]],
) -> None:
    assert [(line["corruption"], int(line["severity"])) for line in committed] == CELLS


@pytest.mark.parametrize("number", range(75))
def test_in_the_committed_table_no_interval_of_a_mean_leaves_half_a_pixel(
    committed: list[dict[str, str]], number: int
) -> None:
    line = committed[number]
    assert int(line["windows"]) > 500
    assert float(line["lost_percent"]) < 30
    assert_stays(line)


@pytest.mark.parametrize(("corruption", "severity"), DOUBTED)
def test_structure_stays_where_it_is(
    photographs: dict[str, Image], corruption: str, severity: int
) -> None:
    two = {name: photographs[name] for name in ("coffee", "motorcycle")}
    assert_stays(measured(two, corruption, severity))


@pytest.mark.slow
@pytest.mark.parametrize(("corruption", "severity"), CELLS)
def test_structure_stays_where_it_is_on_all_photographs_in_all_cells(
    photographs: dict[str, Image], corruption: str, severity: int
) -> None:
    assert_stays(measured(photographs, corruption, severity))


@pytest.mark.parametrize(("right", "down"), [(1, 0), (0, -2), (-1, 1)])
def test_a_picture_that_did_move_is_found_out(
    photographs: dict[str, Image], right: int, down: int
) -> None:
    image = photographs["coffee"]
    moved = np.roll(image, (down, right), axis=(0, 1))
    noisy = corrupt(moved, "gaussian_noise", severity=3, key="a")
    line = displacement.row(spec.CORRUPTED[2], [displacement.measure(image, noisy)])
    assert float(line["x"]) == pytest.approx(right, abs=0.15)
    assert float(line["y"]) == pytest.approx(down, abs=0.15)
    assert float(line["corner_x"]) == pytest.approx(right, abs=0.4)


def test_a_picture_that_was_stretched_is_found_out_at_its_edges(
    photographs: dict[str, Image],
) -> None:
    image = photographs["coffee"]
    height, width = image.shape[:2]
    # Without two rows and columns at each side, enlarged again: edges move outward by up to two.
    y, x = (np.linspace(2, length - 3, length).round().astype(int) for length in (height, width))
    line = displacement.row(spec.CORRUPTED[0], [displacement.measure(image, image[y][:, x])])
    assert float(line["outward_low"]) > 0.5
    assert abs(float(line["x"])) < 0.3
