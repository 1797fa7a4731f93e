"""Every command of the pages is executed, in the order in which a reader meets them.

The datasets are small and invented. Where a page names weights, a network of full size or the Hub,
a matcher without weights, a tiny network and a Hub on this machine stand for them.
"""

import re
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from tiny_training import TINY_NETWORK

import spairc_models
from matchme_train import recipe as recipes
from spairc.cli import main
from spairc.demo import make_demo_set
from spairc.types import Image, Matcher, Query

ROOT = Path(__file__).parents[1]
STAND_INS = ("cats", "torchvision:resnet101")  # need weights that are not here
TRAINED = ("supervised-cats", "matchme-cats")  # by the pages
TINY = (  # a network that trains in a second
    *TINY_NETWORK,
    "optimiser.batch_size=4",
)

# The client itself still calls its HTTP library in a way that the library is going to drop.
pytestmark = pytest.mark.filterwarnings("ignore:Use .content=:DeprecationWarning")


class Shifted:
    """Says that all points moved by two pixels, but up to one in the noise."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.details = {"weights": "ab" * 32, "device": "cpu", "precision": "float32", "side": 64}

    def encode(self, images: Sequence[Image]) -> list[float]:
        return [float(image.mean()) for image in images]

    def match(self, queries: Sequence[Query]) -> list[NDArray[np.float64]]:
        return [query.points + 2 + query.source % 2 for query in queries]


def commands(name: str) -> list[str]:
    """Every line of a page's shell blocks, continued ones joined, remarks dropped."""
    text = (ROOT / name).read_text(encoding="utf-8")
    shell = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    return [line.split(" #")[0].strip() for line in shell.splitlines() if line.strip()]


@pytest.fixture
def world(
    tmp_path: Path, training_root: Path, unlabelled: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with what the pages speak of, in which they are read."""
    (tmp_path / "data").mkdir()
    for name in ("SPair-71k", "data/SPair-71k"):
        (tmp_path / name).symlink_to(training_root)
    (tmp_path / "VOC2012").symlink_to(unlabelled)
    for name in ("dog.jpg", "holiday/beach.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(7).integers(0, 256, (40, 52, 3)).astype(np.uint8)
        PIL.Image.fromarray(noise).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    real_model, real_recipe = spairc_models.load_model, recipes.load_recipe

    def load_model(name: str, /, **options: Any) -> Matcher:
        return Shifted(name) if name in STAND_INS else real_model(name, **options)

    def load_recipe(name: str, changes: Sequence[str] = ()) -> recipes.Recipe:
        if name not in TRAINED:
            return real_recipe(name, changes)
        return recipes.with_epochs(real_recipe(name, [*changes, *TINY]), 1)

    monkeypatch.setattr(spairc_models, "load_model", load_model)
    monkeypatch.setattr(recipes, "load_recipe", load_recipe)
    return tmp_path


def carry_out(line: str, replaced: Mapping[str, str] = MappingProxyType({})) -> str:
    """Execute a line of a page; return what it printed."""
    for old, new in replaced.items():
        line = line.replace(old, new)
    # Worker processes would not know the stand-ins.
    words = shlex.split(re.sub(r"--workers \d+", "--workers 1", line))
    result = CliRunner().invoke(main, words[1:])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, f"{line}: {result.output}"
    return result.output


def executed(
    name: str,
    besides: Callable[[str], object] | None = None,
    replaced: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Execute a page's commands in order; return how many there were."""
    lines = [line for line in commands(name) if line.startswith("spairc ")]
    for line in lines:
        if besides is not None:
            besides(line)
        carry_out(line, replaced)
    return len(lines)


def test_the_other_lines_of_the_pages_are_these() -> None:
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    lines = [line for page in pages for line in commands(str(page.relative_to(ROOT)))]
    others = {line.split()[0] for line in lines if not line.startswith("spairc ")}
    assert others <= {"make", "hf", "pip", "git", "cd", "python", 'M="--option'}


def test_pages_whose_commands_are_not_executed_here_are_these() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    pages = [f"docs/{each.name}" for each in (ROOT / "docs").glob("*.md")]
    told = {page for page in pages if any(line.startswith("spairc ") for line in commands(page))}
    elsewhere = {
        "docs/own-model.md",  # tests/test_docs.py
        "docs/reproduce.md",  # tests/test_reproduce_run.py, on tables of its own
        "docs/results.md",  # needs MobileNetV2's weights; its options are checked in test_docs.py
    }
    assert elsewhere <= told
    here = {page for page in told if f'ed("{page}"' in text or f'commands("{page}")' in text}
    assert here | elsewhere == told


def test_the_commands_of_the_page_on_building(world: Path) -> None:
    shutil.copy(ROOT / "README.md", world / "unrelated.md")

    def archive(line: str) -> None:
        if line.startswith("spairc compare"):
            shutil.copytree(world / "whole", world / "SPair-C-of-others", symlinks=True)

    assert executed("docs/build.md", archive) >= 10
    assert (world / "distances.csv").is_file()
    assert (world / "holiday-c" / "snow" / "5" / "beach.png").is_file()


def test_the_commands_of_the_page_on_protocols(world: Path) -> None:
    assert executed("docs/protocols.md") == 3
    assert (world / "runs" / "sift" / "scores.parquet").is_file()


def test_the_commands_of_the_page_on_evaluation(world: Path) -> None:
    assert executed("docs/evaluation.md") == 2
    assert (world / "runs" / "sift" / "run.json").is_file()


@pytest.mark.slow
def test_the_commands_of_the_page_on_training(world: Path) -> None:
    assert executed("docs/train.md") == 4
    assert (world / "runs" / "matchme-cats" / "run.json").is_file()


def test_the_command_of_the_page_on_checkpoints(world: Path) -> None:
    assert executed("docs/checkpoints.md", replaced={"FOLDER": str(world)}) == 1


def test_the_commands_of_the_readme(
    world: Path, hub_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spairc import download

    fetched = []

    def fetch(name: str, to: Path, **_: object) -> download.Downloaded:
        fetched.append((name, to))
        return download.Downloaded(to / "SPair-71k", {})

    monkeypatch.setattr(download, "download", fetch)
    make_demo_set("demo-set")

    def board(line: str) -> None:
        if line.startswith("spairc leaderboard page"):
            carry_out("spairc push runs/cats --repo org/spair-c --create")

    assert executed("README.md", board) >= 16
    assert fetched == [("spair71k", Path("data"))]
    assert (world / "site" / "index.html").is_file()
    assert "org/spair-c" in hub_server.repositories


def test_the_commands_of_the_page_on_the_leaderboard(world: Path, hub_server: Any) -> None:
    lines = [line for line in commands("docs/leaderboard.md") if line.startswith("spairc ")]
    evaluate, dry, push, create, *checks = lines
    carry_out(evaluate)
    carry_out(f"{dry} --out clone")
    entry = next((world / "clone" / "entries").iterdir()).name
    carry_out(f"{push} --create")  # somebody made the dataset before
    assert "this run is there already" in carry_out(push)
    assert "this run is there already" in carry_out(create)
    assert any("--rerun" in line for line in checks)
    assert list(hub_server.repositories) == ["org/spair-c"]
    for line in checks:
        carry_out(line, {"NAME-HASH": entry, "--pr 7": "--pr 1"})
