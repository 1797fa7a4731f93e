"""The rehearsal set has the real size and shape; here one small category of it."""

import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from spairc.datasets import load_dataset
from spairc.datasets.check import check_pictures
from spairc.images import read_image
from spairc.published import OFFICIAL_TEST_PAIRS
from spairc.types import Image, Size

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "fullsize.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The benchmark, imported from its file."""
    spec = importlib.util.spec_from_file_location("fullsize", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def photograph() -> Image:
    """A smooth picture that is wider than high."""
    y, x = np.mgrid[:300, :430]
    waves = [np.sin(x / 17 + k) + np.cos(y / 11 - k) for k in range(3)]
    return np.asarray(60 * np.stack(waves, axis=-1) + 127).clip(0, 255).astype(np.uint8)


def test_a_category_has_its_pairs_both_ways_and_as_few_pictures_as_have_them(
    script: ModuleType, photograph: Image, tmp_path: Path
) -> None:
    script.make_set(tmp_path / "set", {"cat": 18, "sofa": 6}, [photograph])
    dataset = load_dataset("spair71k", tmp_path / "set")
    table = dataset.table
    assert Counter(table.categories.tolist()) == {"cat": 18, "sofa": 6}
    assert len(table.image_keys) == 5 + 3
    ends = set(zip(table.sources.tolist(), table.targets.tolist(), strict=True))
    assert ends == {(target, source) for source, target in ends}
    assert len(ends) == 24
    assert 1 <= table.counts.min() <= table.counts.max() <= 16
    assert (table.source_sizes == Size(500, 375)).all()
    assert len(check_pictures(dataset)) == 8
    assert len(load_dataset("spair71k", tmp_path / "set", layout="small")) == 2


def test_a_point_shows_the_same_part_in_both_pictures(
    script: ModuleType, photograph: Image, tmp_path: Path
) -> None:
    draws = np.random.default_rng(3)
    pictures = script.make_pictures(tmp_path, "cat", 6, photograph, draws)
    files = [tmp_path / "JPEGImages" / "cat" / f"{each.name}.jpg" for each in pictures]
    colours = []
    for path, picture in zip(files, pictures, strict=True):
        x, y = picture.points.round().astype(int).T
        colours.append(read_image(path)[y, x].astype(int))
    spread = np.ptp(np.array(colours), axis=0)
    assert np.median(spread) < 12  # grey levels; elsewhere the picture runs from 7 to 247


def test_480_pictures_have_the_official_number_of_pairs(script: ModuleType) -> None:
    assert script.MOST_POINTS == 16
    assert tuple(script.SIZE) == (500, 375)
    needed = [
        next(n for n in range(2, count + 2) if n * (n - 1) >= count)
        for count in OFFICIAL_TEST_PAIRS.values()
    ]
    assert sum(needed) == 480
