"""The benchmark of matchers beside a peer: the plumbing, with a small program as the peer."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def matchers() -> ModuleType:
    """The script; what it imports stands beside it."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("matchers", BENCHMARKS / "matchers.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["matchers"] = module
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(BENCHMARKS))


PROGRAMS = ["cats", "catspp", "scorrsan", "transformatcher", "chm", "vat", "dhpf", "ncnet"]


@pytest.mark.parametrize("name", [*PROGRAMS, "cnngeo", "weakalign"])
def test_a_clone_is_known_by_its_files(matchers: ModuleType, tmp_path: Path, name: str) -> None:
    file = tmp_path / matchers.PEERS[name].told_by
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    assert matchers.told_by(tmp_path) == name


def test_a_clone_that_holds_files_of_two_programs_is_the_later_ones(
    matchers: ModuleType, tmp_path: Path
) -> None:
    for file in ("geotnf/point_tnf.py", "train_weak.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert matchers.told_by(tmp_path) == "weakalign"


def test_a_part_of_both_sides_is_told_where_a_program_has_one(matchers: ModuleType) -> None:
    told = "\n".join(matchers.part_lines("ncnet", [0.2, 0.4, 0.3], [0.9, 0.6, 0.6]))
    assert "NeighConsensus.forward: 2.00 x" in told
    assert matchers.part_lines("cats", [0.0], [0.0]) == []


def test_the_report_computes_all_pairs_from_the_medians(matchers: ModuleType) -> None:
    options = type("Options", (), {"threads": 2, "rounds": 3, "pictures": 5, "encoded": 3})
    ours = matchers.Side([0.1, 0.1, 0.9], [], [0.5], 100.0, 30.0, {0: np.zeros((2, 2))})
    theirs = matchers.Side([1.0, 0.9, 1.2], [], [], 400.0, 0.0, {0: np.full((2, 2), 0.25)})
    text = matchers.report("cats", options, ours, theirs)
    # 5 pictures of 0.5 s and 20 pairs of 0.1 s against 20 pairs of 1 s.
    assert "5 pictures, 20 pairs: 4.5 s, 4.44 pairs a second" in text
    assert "20 pairs: 20.0 s, 1.00 pairs a second" in text
    assert "pairs a second 4.44 x (pictures encoded already 10.00 x), memory 0.25 x" in text
    assert "largest difference 2.5e-01 pixels" in text


FAKE = {
    "models/cats.py": """
from spairc_models.cats import CATs as Ours
print("noise that must not get in between")
def CATs(depth, hyperpixel_ids, freeze):
    return Ours()
""",
    "utils_training/utils.py": """
from spairc_models.flow import flow_to_points
def flow2kps(points, flow, n_pts):
    return flow_to_points(flow, points.transpose(1, 2), 256).transpose(1, 2)
""",
}


@pytest.mark.slow
def test_both_sides_run_and_agree(
    matchers: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, code in FAKE.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(code)
    sizes = ["--encoded", "3", "--pairs", "2", "--peer-pairs", "1", "--rounds", "1"]
    monkeypatch.setattr(sys, "argv", ["matchers.py", "--peer", str(tmp_path), *sizes])
    matchers.main()
    text = capsys.readouterr().out
    assert "of 20 points of 2 pairs" in text
    difference = float(text.split("largest difference ")[1].split()[0])
    assert difference < 0.05
