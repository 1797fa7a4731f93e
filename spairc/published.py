"""What the papers print, as data, with the places where a printed figure contradicts its cells.

Percent, PCK@0.1 (box, per image, square), mean over the 12,234 pairs of SPair-71k's large test
list. Source: "Match me if you can", ACCV 2024.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spairc.metrics import PCK
from spairc.pairs import PairTable
from spairc.spec import CORRUPTION_NAMES, SEVERITIES
from spairc.types import CLEAN, Condition

TABLE_4_METRIC = PCK("square")


@dataclass(frozen=True)
class Published:
    """One model's row block of the paper's Table 4."""

    clean: float
    cells: Mapping[str, tuple[float, ...]]  # corruption -> severities 1 to 5
    printed_averages: Mapping[str, float]  # as printed, over the five severities

    def scores(self) -> dict[Condition, float]:
        """Return the 76 scores in percent."""
        corrupted = {
            Condition(name, severity): self.cells[name][severity - 1]
            for name in CORRUPTION_NAMES
            for severity in SEVERITIES
        }
        return {CLEAN: self.clean, **corrupted}


TABLE_4: dict[str, Published] = {
    "CATs": Published(
        clean=49.9,
        cells={
            "gaussian_noise": (45.0, 40.7, 35.3, 27.9, 19.7),
            "shot_noise": (44.8, 41.1, 35.5, 27.8, 22.7),
            "impulse_noise": (42.0, 38.1, 35.2, 27.9, 21.8),
            "speckle_noise": (45.9, 44.3, 37.9, 34.1, 29.4),
            "defocus_blur": (41.0, 35.9, 27.7, 21.6, 17.1),
            "gaussian_blur": (45.5, 38.1, 29.8, 23.6, 16.1),
            "snow": (39.3, 28.8, 28.8, 23.6, 23.9),
            "frost": (42.3, 34.6, 29.1, 27.9, 25.4),
            "fog": (43.7, 41.9, 38.3, 35.7, 27.6),
            "spatter": (48.3, 42.7, 37.5, 35.1, 29.0),
            "brightness": (48.8, 48.1, 47.3, 46.1, 44.1),
            "contrast": (46.3, 44.4, 40.9, 31.3, 20.5),
            "saturate": (48.9, 48.1, 48.4, 46.5, 43.9),
            "pixelate": (47.7, 46.8, 43.3, 36.5, 33.6),
            "jpeg_compression": (46.2, 44.5, 43.8, 40.4, 37.0),
        },
        printed_averages={
            "gaussian_noise": 33.7,
            "shot_noise": 34.4,
            "impulse_noise": 33.0,
            "speckle_noise": 38.3,
            "defocus_blur": 28.7,
            "gaussian_blur": 30.6,
            "snow": 28.9,
            "frost": 31.9,
            "fog": 37.4,
            "spatter": 38.5,
            "brightness": 46.9,
            "contrast": 36.7,
            "saturate": 47.2,
            "pixelate": 41.6,
            "jpeg_compression": 42.4,
        },
    ),
    "MatchMe-CATs": Published(
        clean=53.0,
        cells={
            "gaussian_noise": (47.9, 44.7, 39.5, 31.4, 20.4),
            "shot_noise": (48.5, 45.2, 40.2, 30.9, 24.3),
            "impulse_noise": (45.7, 42.4, 39.5, 30.8, 22.5),
            "speckle_noise": (49.5, 47.8, 41.9, 38.3, 32.6),
            "defocus_blur": (46.9, 43.4, 36.5, 29.2, 22.6),
            "gaussian_blur": (50.4, 44.9, 39.2, 31.6, 19.3),
            "snow": (44.2, 35.7, 35.3, 30.1, 31.1),
            "frost": (47.0, 40.6, 34.6, 33.2, 29.5),
            "fog": (49.3, 47.4, 44.9, 43.5, 36.2),
            "spatter": (51.0, 46.0, 42.1, 39.1, 32.6),
            "brightness": (52.3, 51.7, 51.5, 50.3, 48.2),
            "contrast": (50.8, 49.6, 46.8, 37.5, 17.4),
            "saturate": (52.1, 51.6, 51.7, 50.1, 39.2),
            "pixelate": (50.7, 50.5, 45.5, 38.0, 34.9),
            "jpeg_compression": (49.8, 48.8, 47.0, 43.5, 39.2),
        },
        printed_averages={
            "gaussian_noise": 36.8,
            "shot_noise": 37.8,
            "impulse_noise": 36.2,
            "speckle_noise": 42.0,
            "defocus_blur": 35.7,
            "gaussian_blur": 37.1,
            "snow": 35.3,
            "frost": 37.0,
            "fog": 44.3,
            "spatter": 42.2,
            "brightness": 50.8,
            "contrast": 40.4,
            "saturate": 48.9,
            "pixelate": 43.9,
            "jpeg_compression": 46.1,
        },
    ),
}

# Printed averages that their own cells contradict: (model, corruption) -> what the cells give.
TABLE_4_ERRATA: dict[tuple[str, str], float] = {("MatchMe-CATs", "jpeg_compression"): 45.66}

# SPair-71k, Layout/large/test.txt: ordered pairs per category, 12,234 in all.
OFFICIAL_TEST_PAIRS: dict[str, int] = {
    "aeroplane": 690,
    "bicycle": 650,
    "bird": 702,
    "boat": 702,
    "bottle": 870,
    "bus": 644,
    "car": 564,
    "cat": 600,
    "chair": 646,
    "cow": 640,
    "dog": 600,
    "horse": 600,
    "motorbike": 702,
    "person": 650,
    "pottedplant": 862,
    "sheep": 664,
    "train": 756,
    "tvmonitor": 692,
}


def is_official_test_list(table: PairTable) -> bool:
    """Return whether the list has SPair-71k's test pairs: as many in each category.

    The list itself is not shipped, so this is a check of counts; a run is compared with a
    published number only where it holds.
    """
    categories, counts = np.unique(table.categories, return_counts=True)
    return dict(zip(categories.tolist(), counts.tolist(), strict=True)) == OFFICIAL_TEST_PAIRS
