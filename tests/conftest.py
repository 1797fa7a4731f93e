"""What several test files need: the shared folder of real pictures, and a tiny dataset."""

import json
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from spairc.pairs import PairTable, table_of
from spairc.runs import Run, Settings, create_run, write_points
from spairc.spec import CONDITIONS
from spairc.types import CLEAN, Box, Condition, Image, Pair, Size, Variation

sys.path.insert(0, str(Path(__file__).parent))  # what several test files share lies beside them
SHARED = Path(__file__).parents[2] / "shared"

# Files that `make quick` leaves out: they run networks, trainings, processes, browsers and servers.
WHOLE = frozenset(
    f"test_{name}"
    for name in (
        *("backbone", "build_options", "build_survives", "convert", "demo_set", "displacement"),
        *("docs", "docs_commands", "draw_kernels", "engine", "evaluate_workers", "figures"),
        *("fullsize", "fuzz", "leaderboard_check", "leaderboard_hostile", "leaderboard_hub"),
        *("leaderboard_push", "matchers", "memory", "models_table", "networks"),
        *("networks_folders", "networks_matchers", "older_networks", "page_leaderboard"),
        *("page_report", "readme", "reproduce_run", "train_cli", "train_cocr_run"),
        *("train_consistency_run", "train_pascal", "train_run", "train_semimatch"),
        *("train_shown", "train_team", "compiled", "correlation", "corruption_references"),
        *("hub_models", "manifest", "networks_blocks", "official", "readout_presets", "recorded"),
        *("same_pixels", "sheets", "train_cocr", "train_mobilenet", "train_probe"),
        *("train_validation", "voting_matchers", "voting_fused", "captioner", "levels"),
        *("geoaware", "hyperfeatures"),
    )
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in `WHOLE`."""
    for item in items:
        if item.path.stem in WHOLE:
            item.add_marker("whole")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of goldens, real pictures and weights that stands beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (goldens, real pictures, weights), which is not here")
    return SHARED


@pytest.fixture(autouse=True, scope="session")
def control_c() -> None:
    """Let programs that tests start hear Ctrl-C, although a shell's background jobs ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
def make_run(tmp_path: Path, make_run_in: Callable[..., Run]) -> Callable[..., Run]:
    """What writes a run of invented pairs with random answers into the test's own folder."""
    return partial(make_run_in, tmp_path)


@pytest.fixture(scope="session")
def make_run_in() -> Callable[..., Run]:
    """What writes such a run into a folder."""

    def make(
        folder: Path,
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
        run = create_run(folder / name, replace(settings, **changes), table)  # type: ignore[arg-type]  # settings by name
        for condition in conditions:
            scatter = draws.normal(0, 4 + 2 * condition.severity, table.target_points.shape)
            write_points(run.predictions(condition), table, table.target_points + scatter.round())
        return run

    return make


CHROMIUM = Path("/usr/bin/chromium")
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One headless browser for all tests of pages."""
    if not CHROMIUM.is_file():
        pytest.skip(f"needs a browser, {CHROMIUM}, which is not here")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """What opens a file in the browser; at the end, nothing may have gone wrong in any page.

    A page may ask for its own file only, write nothing to the console, and open no dialogue.
    """
    contexts, faults = [], []

    def answer(route: Any) -> None:
        if route.request.url.startswith(("file://", "data:")):
            route.continue_()
        else:
            faults.append(f"request: {route.request.url}")
            route.abort()

    def refuse(dialogue: Any) -> None:
        faults.append(f"dialogue: {dialogue.message}")
        dialogue.dismiss()

    def open_page(path: Path, *, width: int = 1280, **settings: Any) -> Any:
        view = {"width": width, "height": 900}
        contexts.append(chromium.new_context(viewport=view, **settings))
        contexts[-1].route("**/*", answer)
        page = contexts[-1].new_page()
        page.on("console", lambda message: faults.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("dialog", refuse)
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def ranked_run(make_run: Callable[..., Run]) -> Run:
    """A complete run that a leaderboard may rank."""
    return make_run(
        "shift",
        conditions=CONDITIONS,
        pictures="ab" * 32,
        corrupted={"spec": "spair-c/1", "format": "lossless"},
        details={"device": "cpu", "precision": "float32", "weights": "none needed", "side": 63},
        versions={"python": "3.11.9", "numpy": "2.4.1"},
    )


@pytest.fixture
def hub_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Hub on this machine, which the real client is pointed at and logged in to."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import hub_server  # found by the line above
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the server speaks LFS
    monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
    with hub_server.running() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture(scope="session")
def staged_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the folder that `staged` copies is kept, once it was made."""
    return tmp_path_factory.mktemp("staged") / "board"


@pytest.fixture
def staged(request: pytest.FixtureRequest, staged_once: Path, tmp_path: Path) -> Path:
    """The folder of the good entry that `ranked_run` gives, in a leaderboard's own folder."""
    from spairc_leaderboard.entry import Model
    from spairc_leaderboard.making import Choices
    from spairc_leaderboard.push import dry_run

    if not staged_once.exists():
        model = Model(
            name="Shift é <b>",
            paper="A paper",
            url="https://example.org/a",
            licence="MIT",
            public_weights=True,
            weights="none needed",
            training_data=("VOC",),
        )
        dry_run(request.getfixturevalue("ranked_run"), Choices(model), staged_once)
    board = tmp_path / "board"
    shutil.copytree(staged_once, board)
    return next((board / "entries").iterdir())


TRAINING_SIZES = ((61, 40), (47, 52), (58, 45), (43, 66))


def write_training_split(root: Path, split: str, first: int) -> None:
    """Three pictures of two categories each, and four pairs, in SPair-71k's own layout."""
    names: list[str] = []
    for category, start in (("car", first), ("duck", first + 50)):
        files = [f"{split}{start + offset}" for offset in range(3)]
        for offset, name in enumerate(files):
            path = root / "JPEGImages" / category / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(tiny_picture(start + offset, *TRAINING_SIZES[offset])).save(path)
        for one, other in ((0, 1), (2, 0)):
            number = len(names)
            name = f"{number:06}-{files[one]}-{files[other]}:{category}"
            names.append(name)
            ends = {"src": one, "trg": other}
            record: dict[str, object] = {"filename": name, "category": category}
            for prefix, index in ends.items():
                shift = 2 * index
                record |= {
                    f"{prefix}_imname": f"{files[index]}.png",
                    f"{prefix}_imsize": [*TRAINING_SIZES[index], 3],
                    f"{prefix}_bndbox": [3, 4, 38, 37],
                    f"{prefix}_kps": [[8 + shift, 9], [30 - shift, 12], [21, 33]],
                }
            factors = ("viewpoint_variation", "scale_variation", "truncation", "occlusion")
            record |= dict.fromkeys(factors, 0)
            path = root / "PairAnnotation" / split / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(record))
    path = root / "Layout" / "large" / f"{split}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(names) + "\n")


@pytest.fixture
def training_root(tmp_path: Path) -> Path:
    """Three splits for whole training runs, in SPair-71k's own layout."""
    for number, split in enumerate(("trn", "val", "test")):
        write_training_split(tmp_path / "set", split, 1000 * (number + 1))
    return tmp_path / "set"


@pytest.fixture
def unlabelled(tmp_path: Path) -> Path:
    """Three pictures each of two categories, and of one that the dataset does not have."""
    for category, first in (("car", 1), ("duck", 11), ("sofa", 21)):
        folder = tmp_path / "more" / category
        folder.mkdir(parents=True)
        for number in range(first, first + 3):
            image = PIL.Image.fromarray(tiny_picture(number, 50 + number, 44))
            image.save(folder / f"u{number}.png")
    return tmp_path / "more"


@pytest.fixture
def hub(hub_server: Any, staged: Path) -> Any:
    """A leaderboard without entries that ranks what `staged` is an entry of."""
    from spairc_leaderboard.hub import open_hub

    board = staged.parents[1]
    files = {
        path.relative_to(board).as_posix(): path.read_bytes()
        for folder in ("benchmarks", "pairs")
        for path in (board / folder).iterdir()
    }
    hub_server.make("org/board", {"README.md": b"# Board\n", **files})
    return open_hub("org/board")


@pytest.fixture(scope="session")
def violations() -> Callable[[Any], list[Any]]:
    """What returns what axe-core finds wrong with a page."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def found(page: Any) -> list[Any]:
        faults = axe.run(page).response["violations"]
        return [(each["id"], [node["html"] for node in each["nodes"]]) for each in faults]

    return found
