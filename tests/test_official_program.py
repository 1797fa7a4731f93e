"""`spairc compare` against archives that the published program itself made."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from spairc.build import build
from spairc.comparison import OURS, CellReport, compare
from spairc.datasets import load_dataset
from spairc.datasets.dataset import Dataset
from spairc.images import read_image
from spairc.spec import parse_conditions

CELLS = parse_conditions("*@3")
# What it draws is not what ours draws: pixels differ, and how much there is of it does not.
DRAWN = {"gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"}
PLACED = {"snow", "frost", "fog", "spatter"}  # few large things: their histograms differ as well
# Corrupts the pictures of an .npz, squashed to a square first where a side is given, and keeps
# them under CORRUPTION/SEVERITY/KEY, as JPEG of a quality where one is given.
PROGRAM = """
import sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
import numpy as np, PIL.Image
from imagecorruptions import corrupt
names, side, quality = sys.argv[3].split(), int(sys.argv[4]), int(sys.argv[5])
np.random.seed(5)
for key, image in np.load(sys.argv[1]).items():
    if side:
        square = PIL.Image.fromarray(image).resize((side, side), PIL.Image.Resampling.BILINEAR)
        image = np.asarray(square)
    for name in names:
        path = Path(sys.argv[2], name, "3", key + (".jpg" if quality else ".png"))
        path.parent.mkdir(parents=True, exist_ok=True)
        made = PIL.Image.fromarray(corrupt(image, corruption_name=name, severity=3))
        made.save(path, **({"quality": quality} if quality else {}))
"""


@pytest.fixture
def program() -> Path:
    """The folder that `benchmarks/corruptions.py` installs the published program into."""
    folder = platformdirs.user_cache_path("spairc") / "peers" / "imagecorruptions-imaug-1.1.5"
    if not (folder / "imagecorruptions").is_dir():
        pytest.skip("needs imagecorruptions-imaug; benchmarks/corruptions.py installs it")
    return folder


def archive(program: Path, dataset: Dataset, folder: Path, side: int, quality: int) -> Path:
    """What the program makes of all pictures at severity 3."""
    pictures = {key: read_image(dataset.path(key)) for key in dataset.table.image_keys}
    np.savez(folder / "pictures.npz", allow_pickle=False, **pictures)
    names = " ".join(str(cell.corruption) for cell in CELLS)
    places = (str(folder / "pictures.npz"), str(folder / "theirs"))
    subprocess.run(
        [sys.executable, "-c", PROGRAM, *places, names, str(side), str(quality)],
        env={**os.environ, "PYTHONPATH": str(program)},
        check=True,
    )
    return folder / "theirs"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "side", "quality"),
    [
        (OURS, 0, 0),
        ("ours, JPEG 85", 0, 85),
        ("224 first", 224, 0),
        ("224 first, JPEG 85", 224, 85),
        ("256 first, JPEG 85", 256, 85),
    ],
)
def test_the_published_programs_archive_is_recognised_for_what_it_is(
    program: Path, tiny_root: Path, tmp_path: Path, variant: str, side: int, quality: int
) -> None:
    dataset = load_dataset("spair71k", tiny_root)
    build(dataset, tmp_path / "ours", CELLS)
    reports = compare(archive(program, dataset, tmp_path, side, quality), tmp_path / "ours")
    found: dict[str, CellReport] = {str(report.condition.corruption): report for report in reports}
    assert found.keys() == {str(cell.corruption) for cell in CELLS}
    for name, report in found.items():
        assert report.missing == 0
        assert report.quality == (quality or None)
        if name not in DRAWN | PLACED:
            assert report.nearest == variant, name
            assert report.distances[variant].pixels < 0.5, name
        if name in DRAWN:
            assert report.distances[variant].histograms < 0.3, name  # few pixels
            assert report.distances[variant].pixels > 1, name
