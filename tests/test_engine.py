"""Units give the same results wherever they run; what goes wrong in a worker arrives as it is."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path
from types import ModuleType

import pytest

from spairc.engine import (
    Cluster,
    Engine,
    Here,
    Processes,
    processes,
    run_units,
    shard_of,
    worker_number,
)
from spairc.types import BadInput

TESTS = Path(__file__).parent


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of units, importable here and in worker processes."""
    monkeypatch.syspath_prepend(str(TESTS))
    import engine_workers  # found by the line above

    return engine_workers


def results(
    make: Callable[[Path], Callable[[int], int]], notes: Path, engine: Engine, count: int = 9
) -> list[int]:
    return sorted(run_units(range(count), partial(make, notes), engine))


@pytest.mark.parametrize("engine", [Here(), Processes(2)], ids=str)
def test_every_unit_is_done_once(workers: ModuleType, tmp_path: Path, engine: Engine) -> None:
    assert results(workers.make_doubler, tmp_path, engine) == [2 * n for n in range(9)]


def test_a_worker_is_made_once_in_each_process_and_in_none_else(
    workers: ModuleType, tmp_path: Path
) -> None:
    results(workers.make_doubler, tmp_path, Processes(2), count=30)
    made = {path.name for path in tmp_path.glob("made-*")}
    assert 1 <= len(made) <= 2
    assert f"made-{os.getpid()}" not in made


def test_workers_are_numbered_from_0(workers: ModuleType, tmp_path: Path) -> None:
    assert set(results(workers.make_numbered, tmp_path, Processes(2))) == {0, 1}
    assert worker_number() == 0


def test_no_units_make_no_results(workers: ModuleType, tmp_path: Path) -> None:
    assert results(workers.make_doubler, tmp_path, Processes(2), count=0) == []


@pytest.mark.parametrize("engine", [Here(), Processes(2)], ids=str)
@pytest.mark.parametrize(
    ("maker", "message"),
    [("make_refuser", "unit 5: give an even one"), ("refuse_to_be_made", "give --checkpoint")],
)
def test_bad_input_in_a_worker_arrives_as_bad_input(
    workers: ModuleType, tmp_path: Path, engine: Engine, maker: str, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        results(getattr(workers, maker), tmp_path, engine)


@pytest.mark.parametrize("engine", [Here(), Processes(2)], ids=str)
def test_a_bug_in_a_worker_arrives_as_the_bug(
    workers: ModuleType, tmp_path: Path, engine: Engine
) -> None:
    with pytest.raises(ZeroDivisionError):
        results(workers.make_broken, tmp_path, engine)


def test_a_dead_worker_is_a_clear_error(workers: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"a worker process died.*with fewer --workers"):
        results(workers.make_dying, tmp_path, Processes(2))


def test_what_was_done_before_the_end_is_given_and_no_process_stays(
    workers: ModuleType, tmp_path: Path
) -> None:
    with closing(run_units(range(50), partial(workers.make_slow, tmp_path), Processes(2))) as found:
        next(found)
    begun = {path.name.removeprefix("begun-") for path in tmp_path.glob("begun-*")}
    done = {path.name.removeprefix("done-") for path in tmp_path.glob("done-*")}
    assert begun == done  # none is left half done
    assert len(done) < 10
    assert multiprocessing.active_children() == []


def started(notes: Path, count: int) -> subprocess.Popen[bytes]:
    """A program of its own that has slow units done by two workers."""
    program = (
        "import sys, functools, pathlib\n"
        f"sys.path.insert(0, {str(TESTS)!r})\n"
        "if __name__ == '__main__':\n"
        "    import engine_workers\n"
        "    from spairc.engine import Processes, run_units\n"
        f"    make = functools.partial(engine_workers.make_slow, pathlib.Path({str(notes)!r}))\n"
        f"    list(run_units(range({count}), make, Processes(2)))\n"
    )
    script = notes / "program.py"
    script.write_text(program)
    return subprocess.Popen(
        [sys.executable, str(script)], stderr=subprocess.PIPE, start_new_session=True
    )


def wait_for(notes: Path, pattern: str) -> None:
    deadline = time.monotonic() + 60
    while not list(notes.glob(pattern)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_control_c_leaves_no_half_unit(tmp_path: Path) -> None:
    with started(tmp_path, 500) as program:
        wait_for(tmp_path, "begun-*")
        os.killpg(program.pid, signal.SIGINT)  # as the terminal does: to all of them
        _, errors = program.communicate(timeout=60)
    begun = {path.name.removeprefix("begun-") for path in tmp_path.glob("begun-*")}
    done = {path.name.removeprefix("done-") for path in tmp_path.glob("done-*")}
    assert begun == done
    assert errors.strip().endswith(b"KeyboardInterrupt")
    assert len(done) < 500


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to see processes")
def test_workers_end_with_the_program_that_started_them(tmp_path: Path) -> None:
    with started(tmp_path, 500) as program:
        wait_for(tmp_path, "begun-*")
        program.kill()
    deadline = time.monotonic() + 30
    while any(_session(path) == program.pid for path in Path("/proc").glob("[0-9]*")):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)


def _session(process: Path) -> int:
    """The session that a process belongs to; -1 if it is gone or only waits to be buried."""
    try:
        state, _, _, session, *_ = (process / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return -1
    return -1 if state == "Z" else int(session)


def test_few_units_stay_in_this_process() -> None:
    assert processes(None, units=5, units_per_worker=6) == Here()
    assert processes(1, units=5) == Here()
    assert processes(8, units=3) == Processes(3)


def test_a_number_of_workers_below_one_is_refused() -> None:
    with pytest.raises(BadInput, match="--workers is 0; give 1 or more"):
        processes(0, units=5)


def test_shards_are_disjoint_and_complete() -> None:
    shards = [list(shard_of(range(11), f"{i}/4")) for i in range(1, 5)]
    assert shards[1] == [1, 5, 9]
    assert sorted(chain(*shards)) == list(range(11))
    assert list(shard_of(range(3), None)) == [0, 1, 2]


@pytest.mark.parametrize("text", ["0/4", "5/4", "2", "a/b", "1/0", "-1/4", "1/4/2"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="write i/n with i from 1 to n"):
        shard_of(range(9), text)


def test_ray_that_is_not_installed_is_named_with_its_extra(
    workers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadInput, match=r"pip install 'spairc\[ray\]'"):
        results(workers.make_doubler, tmp_path, Cluster())
