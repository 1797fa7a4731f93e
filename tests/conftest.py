"""What several test files need: the shared folder of real pictures, and a tiny dataset."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from spairc.pairs import PairTable, table_of
from spairc.runs import Run, Settings, create_run, write_points
from spairc.types import CLEAN, Box, Condition, Image, Pair, Size, Variation

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of goldens, real pictures and weights that stands beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (goldens, real pictures, weights), which is not here")
    return SHARED


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's cache out of every test."""
    monkeypatch.setenv("SPAIRC_CACHE", str(tmp_path_factory.mktemp("cache")))


# Name, category, width, height: nothing square, no two sizes alike.
TINY_PICTURES = (
    ("a", "car", 61, 40),
    ("b", "car", 47, 52),
    ("c", "car", 58, 45),
    ("d", "duck", 43, 66),
    ("e", "duck", 70, 39),
)


def tiny_picture(number: int, width: int, height: int) -> Image:
    """A smooth picture with some texture; each number is another one."""
    draws = np.random.default_rng(number)
    coarse = PIL.Image.fromarray(draws.integers(0, 256, (9, 11, 3)).astype(np.uint8))
    return np.asarray(coarse.resize((width, height), PIL.Image.Resampling.BICUBIC))


@pytest.fixture
def tiny_root(tmp_path: Path) -> Path:
    """A data set of five small pictures and eight pairs in SPair-71k's own layout."""
    root = tmp_path / "tiny"
    for number, (name, category, width, height) in enumerate(TINY_PICTURES):
        folder = root / "JPEGImages" / category
        folder.mkdir(parents=True, exist_ok=True)
        picture = PIL.Image.fromarray(tiny_picture(number, width, height))
        picture.save(folder / f"{name}.jpg", quality=95)
    pairs = [
        (one, other)
        for one in TINY_PICTURES
        for other in TINY_PICTURES
        if one[1] == other[1] and one != other
    ]
    names = [write_pair(root, number, *ends) for number, ends in enumerate(pairs)]
    for layout in ("large", "small"):
        path = root / "Layout" / layout / "test.txt"
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(names if layout == "large" else names[:2]) + "\n")
    (root / "ImageAnnotation").mkdir()
    return root


def write_pair(
    root: Path, number: int, source: tuple[str, str, int, int], target: tuple[str, str, int, int]
) -> str:
    """Write one pair annotation; return its name for the layout."""
    ends = {"src": source, "trg": target}
    name = f"{number:06}-{source[0]}-{target[0]}:{source[1]}"
    points = [[8, 9], [30, 11], [21, 33]][: 1 + number % 3]
    annotation = {"pair_id": number, "filename": name, "category": source[1], "mirror": 0}
    annotation |= {"kps_ids": [str(i) for i in range(len(points))]}
    for prefix, (stem, _, width, height) in ends.items():
        shift = ord(stem) - ord("a")
        annotation |= {
            f"{prefix}_imname": f"{stem}.jpg",
            f"{prefix}_imsize": [width, height, 3],
            f"{prefix}_bndbox": [3, 4 + shift, 38, 37],
            f"{prefix}_pose": "Unspecified",
            f"{prefix}_kps": [[x + shift, y] for x, y in points],
        }
    annotation |= dict.fromkeys(("viewpoint_variation", "scale_variation", "occlusion"), 0)
    annotation |= {"truncation": number % 4}
    path = root / "PairAnnotation" / "test" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(annotation))
    return name


def invented_pairs(seed: int, *, pictures: int = 4, known: bool = True) -> PairTable:
    """All ordered pairs of a few pictures of three categories, with random points, boxes, levels.

    Whole numbers, so that some answers are exactly at the tolerance.
    """
    draws = np.random.default_rng(seed)
    found = []
    for category, more in (("car", 0), ("cat", 1), ("cow", 2)):
        names = [f"{category}/{number}" for number in range(pictures + more)]
        sizes = {name: Size(*draws.integers(90, 400, 2).tolist()) for name in names}
        for source, target in [(s, t) for s in names for t in names if s != t]:
            count = int(draws.integers(1, 6))
            left, top = draws.integers(0, 9, 2).tolist()
            box = Box(left, top, left + int(draws.integers(40, 90)), top + 10)
            levels = draws.integers(0, [3, 3, 4, 4]).tolist() if known else [-1] * 4
            pair = Pair(
                id=f"{source}-{target}",
                category=category,
                source=source,
                target=target,
                source_points=draws.integers(0, 80, (count, 2)).astype(float),
                target_points=draws.integers(0, 80, (count, 2)).astype(float),
                source_box=Box(1, 2, 70, 50),
                target_box=box,
                source_size=sizes[source],
                target_size=sizes[target],
                variation=Variation(*levels),
            )
            found.append(pair)
    return table_of(found)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """What writes a run of invented pairs with random answers."""

    def make(
        name: str = "run",
        *,
        seed: int = 0,
        conditions: Sequence[Condition] = (CLEAN, Condition("fog", 3), Condition("snow", 1)),
        pairs: PairTable | None = None,
        **changes: object,
    ) -> Run:
        table = invented_pairs(1) if pairs is None else pairs
        draws = np.random.default_rng(seed)
        settings = Settings(
            package="0",
            model=name,
            details={},
            dataset="invented",
            split="test",
            layout="large",
            pairs=len(table),
            points=len(table.target_points),
            pair_list=table.hash,
            pictures="none",
            corrupted={"spec": "spair-c/0", "format": "lossless"},
            side="both",
            direction="forward",
            versions={},
        )
        run = create_run(tmp_path / name, replace(settings, **changes), table)  # type: ignore[arg-type]  # settings by name
        for condition in conditions:
            scatter = draws.normal(0, 4 + 2 * condition.severity, table.target_points.shape)
            write_points(run.predictions(condition), table, table.target_points + scatter.round())
        return run

    return make
