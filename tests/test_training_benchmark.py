"""The benchmark of training beside a peer: turns and report; no clone is needed."""

import importlib.util
import queue
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from spairc.datasets import load_dataset

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def training() -> ModuleType:
    """The script; what it imports stands beside it."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("training", BENCHMARKS / "training.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["training"] = module
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_the_report_has_the_ratio_of_the_medians(training: ModuleType) -> None:
    options = SimpleNamespace(
        frozen=False, batch=4, threads=2, workers=0, device="cpu", precision="float32"
    )
    options.rounds, options.steps = 3, 2
    ours = training.Side([1.0, 1.0, 9.0], [0.01, 0.02, 0.9], 100.0)
    theirs = training.Side([1.5, 1.4, 3.0], [0.1, 0.1, 0.1], 400.0)
    text = training.report(options, {"ours": ours, "official": theirs})
    assert "ours      1.000 s a step (1.000 to 9.000), 4.00 pairs a second" in text
    assert "waited for data 2.0 %; peak memory 100 MB" in text
    assert "steps a second 1.50 x (0.33 to 1.50 by round), memory 0.25 x" in text


def test_a_round_is_told_by_the_step_and_its_wait_as_a_share(training: ModuleType) -> None:
    side = training.Side()
    answer = {"waited": 0.5, "on_device": 7.0}
    side.add({"seconds": 4.0, "peak": 300.0, "answer": answer}, 2)
    side.add({"seconds": 8.0, "peak": 200.0, "answer": answer}, 2)
    assert (side.seconds, side.waited) == ([2.0, 4.0], [0.125, 0.0625])
    assert (side.memory, side.on_device) == (300.0, 7.0)


def test_a_loop_does_as_many_steps_as_it_is_asked_for_and_ends_when_nobody_asks(
    training: ModuleType,
) -> None:
    turns, done = training.Turns(), queue.Queue[int]()

    def loop() -> None:
        with suppress(SystemExit):  # which ends a process, and in a thread would be a fault
            turns.begin()
            for number in range(100):
                done.put(number)
                turns.waited += 0.25
                turns.step()

    thread = threading.Thread(target=loop)
    thread.start()
    assert turns.asked([3])["waited"] == 0.75
    assert turns.asked([2])["waited"] == 0.5
    turns.end()
    thread.join(10)
    assert not thread.is_alive()
    assert done.qsize() == 5


@pytest.mark.slow  # warps photographs
def test_the_rehearsal_set_has_training_pairs_enough(
    training: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    root = training.rehearsal(tmp_path / "set", 91)
    sizes = [len(load_dataset("spair71k", root, split=each)) for each in ("trn", "val")]
    assert sizes == [180, 180]
