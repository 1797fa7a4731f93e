"""What the papers print, as data, with the places where a printed figure contradicts its cells.

Percent, PCK@0.1 (box, per image, square), mean over the 12,234 pairs of SPair-71k's large test
list. Source: "Match me if you can", ACCV 2024.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spairc.breakdowns import FACTORS
from spairc.metrics import PCK
from spairc.pairs import PairTable
from spairc.spec import SEVERITIES
from spairc.types import CLEAN, EXCHANGED, Condition

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
            Condition(name, severity): score
            for name, scores in self.cells.items()
            for severity, score in zip(SEVERITIES, scores, strict=True)
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

# Table 5, as printed: PCK by factor of difficulty, the levels in the order of `FACTORS`.
# For the models of `ASKED_REVERSED`, "source" and "target" of truncation and occlusion are
# exchanged against the others and against spairc; `factor_scores` puts them right.
TABLE_5: dict[str, dict[str, tuple[float, ...]]] = {
    "NC-Net": {
        "all": (26.4,),
        "viewpoint": (34.0, 18.6, 12.8),
        "scale": (31.7, 23.8, 14.2),
        "truncation": (29.1, 22.9, 23.4, 21.0),
        "occlusion": (29.0, 21.1, 21.8, 19.6),
    },
    "HPF": {
        "all": (28.2,),
        "viewpoint": (35.6, 20.3, 15.5),
        "scale": (33.0, 26.1, 15.8),
        "truncation": (31.0, 24.6, 24.0, 23.7),
        "occlusion": (30.8, 23.5, 22.8, 21.8),
    },
    "CATs": {
        "all": (49.9,),
        "viewpoint": (54.6, 44.5, 43.6),
        "scale": (54.5, 49.2, 36.3),
        "truncation": (53.7, 42.0, 49.4, 40.6),
        "occlusion": (52.7, 44.5, 44.9, 42.0),
    },
    "CATs++": {
        "all": (59.8,),
        "viewpoint": (63.5, 55.9, 53.0),
        "scale": (62.8, 59.6, 50.2),
        "truncation": (61.8, 55.2, 56.3, 54.8),
        "occlusion": (63.6, 52.4, 57.9, 50.8),
    },
    "SemiMatch": {
        "all": (50.8,),
        "viewpoint": (54.8, 44.1, 46.2),
        "scale": (55.3, 50.2, 36.6),
        "truncation": (54.2, 43.2, 50.0, 42.7),
        "occlusion": (53.6, 45.1, 44.9, 43.3),
    },
    "SCorrSAN": {
        "all": (55.3,),
        "viewpoint": (59.2, 51.2, 48.9),
        "scale": (58.7, 55.0, 45.0),
        "truncation": (59.2, 46.1, 55.0, 46.9),
        "occlusion": (57.8, 50.2, 50.7, 48.7),
    },
    "MatchMe-CATs++": {
        "all": (62.0,),
        "viewpoint": (66.0, 57.9, 55.0),
        "scale": (64.7, 61.4, 54.4),
        "truncation": (65.5, 54.5, 60.9, 55.1),
        "occlusion": (64.3, 57.3, 57.6, 56.2),
    },
}

# Their programs search what the list calls the source.
ASKED_REVERSED = ("CATs", "CATs++", "SemiMatch", "SCorrSAN", "MatchMe-CATs++")

# Table B, on clean pictures: PCK at alpha 0.01, 0.02 and so on.
TABLE_B_ALPHAS = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.10)
TABLE_B: dict[str, tuple[float, ...]] = {
    "CATs": (1.93, 7.0, 13.8, 20.9, 27.7, 33.6, 38.6, 43.0, 46.8, 49.9),
    "CATs++": (4.3, 14.6, 25.0, 33.9, 40.8, 46.4, 50.8, 54.3, 57.3, 59.8),
    "SemiMatch": (2.1, 7.7, 15.0, 22.4, 29.0, 34.8, 39.7, 43.9, 47.6, 50.7),
    "SCorrSAN": (3.6, 12.1, 21.3, 29.3, 35.8, 41.0, 45.2, 48.8, 51.7, 55.3),
    "MatchMe-CATs++": (6.1, 18.5, 29.9, 38.6, 45.1, 50.0, 53.9, 57.0, 59.7, 62.0),
}

# Table 3: PCK@0.1 of CATs++ by what its training has besides labelled pairs.
TABLE_3: dict[str, float] = {
    "CATs++": 59.8,
    "+ CNNGeoU": 60.1,
    "+ PWarpC": 60.5,
    "+ SCorrSAN": 61.0,
    "+ MatchMe": 62.0,
}

# Table 6: PCK by alpha, each row without what the rows above it lack too. The last row is CATs,
# whose PCK@0.05 Table B prints as 27.7.
TABLE_6: dict[str, dict[float, float]] = {
    "MatchMe-CATs": {0.05: 29.6, 0.1: 53.0},
    "- iterative training": {0.05: 28.8, 0.1: 52.0},
    "- data noise": {0.05: 28.5, 0.1: 51.6},
    "- unpaired data": {0.05: 26.9, 0.1: 49.9},
}

# Table A: PCK@0.1 of MatchMe-CATs by its threshold tau. Table C: after one generation, by the share
# of the labels.
TABLE_A: dict[float, float] = {0.1: 52.7, 0.3: 52.6, 0.5: 52.6, 0.7: 53.0, 0.9: 52.3}
TABLE_C: dict[float, float] = {0.2: 50.2, 0.4: 50.5, 0.6: 50.7, 0.8: 51.1, 1.0: 52.0}

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


def factor_scores(model: str) -> dict[tuple[str, str], float]:
    """Return a model's row of Table 5 by factor and level, such as ("truncation", "source").

    Here, as everywhere in spairc, the source is the picture with the given points, so what the
    table prints for the CATs family under the one name stands under the other.

    Args:
        model: A row of `TABLE_5`.
    """
    found = {}
    for factor, printed in TABLE_5[model].items():
        exchange = model in ASKED_REVERSED and factor in ("truncation", "occlusion")
        for number, level in enumerate(FACTORS.get(factor, ("all",))):
            found[factor, level] = printed[EXCHANGED[number] if exchange else number]
    return found


def is_official_test_list(table: PairTable) -> bool:
    """Return whether the list has SPair-71k's test pairs: as many in each category.

    The list itself is not shipped, so this is a check of counts; a run is compared with a
    published number only where it holds.
    """
    categories, counts = np.unique(table.categories, return_counts=True)
    return dict(zip(categories.tolist(), counts.tolist(), strict=True)) == OFFICIAL_TEST_PAIRS
