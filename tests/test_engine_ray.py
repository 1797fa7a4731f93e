"""On a Ray cluster of two nodes units give the same results, also when workers and nodes die.

Each test is a program of its own: Ray starts processes and threads that outlive a test.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spairc.build import build
from spairc.datasets import load_dataset
from spairc.manifest import verify
from spairc.spec import parse_conditions

TESTS = Path(__file__).parent
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'spairc[ray]'"
    ),
]
PROGRAM = """
from functools import partial
from pathlib import Path

import engine_workers
import ray
from ray.cluster_utils import Cluster as TwoNodes

from spairc.engine import Cluster, run_units
from spairc.types import BadInput

nodes = TwoNodes(initialize_head=True, head_node_args={{"num_cpus": 1}})
second = nodes.add_node(num_cpus=1)
nodes.wait_for_nodes()
engine, notes = Cluster(nodes.address), Path({notes!r})
{body}
nodes.shutdown()
"""


def run(tmp_path: Path, body: str) -> str:
    """Run some lines on a cluster of two nodes of one CPU each; return what they print."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(notes=str(tmp_path), body=body))
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},  # the nodes' workers import from there too
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_both_nodes_work_and_every_unit_is_done_once(tmp_path: Path) -> None:
    body = "print(sorted(run_units(range(40), partial(engine_workers.make_slow, notes), engine)))"
    assert str(list(range(40))) in run(tmp_path, body)
    assert len(list(tmp_path.glob("made-*"))) == 2


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    body = "print(sorted(run_units(range(20), partial(engine_workers.make_dying, notes), engine)))"
    assert str([2 * n for n in range(20)]) in run(tmp_path, body)
    assert (tmp_path / "died").exists()


def test_a_node_that_is_lost_is_done_without(tmp_path: Path) -> None:
    body = """
results = run_units(range(30), partial(engine_workers.make_slow, notes), engine)
found = [next(results), next(results), next(results)]
nodes.remove_node(second, allow_graceful=False)
print(sorted(found + list(results)))
"""
    assert str(list(range(30))) in run(tmp_path, body)


@pytest.mark.parametrize(
    ("maker", "message"),
    [
        ("make_hopeless", "3 Ray workers died of unit 4"),
        ("make_refuser", "unit 5: give an even one"),
        ("refuse_to_be_made", "no weights; give --checkpoint"),
    ],
)
def test_what_goes_wrong_is_bad_input(tmp_path: Path, maker: str, message: str) -> None:
    body = f"""
try:
    list(run_units(range(9), partial(engine_workers.{maker}, notes), engine))
except BadInput as error:
    print("refused:", error)
"""
    assert f"refused: {message}" in run(tmp_path, body)


def test_a_bug_arrives_as_the_bug(tmp_path: Path) -> None:
    body = """
try:
    list(run_units(range(9), partial(engine_workers.make_broken, notes), engine))
except ZeroDivisionError:
    print("divided by zero")
"""
    assert "divided by zero" in run(tmp_path, body)


def test_more_than_a_node_has_is_refused(tmp_path: Path) -> None:
    body = """
for engine in (Cluster(nodes.address, cpus=2), Cluster(nodes.address, gpus=1)):
    try:
        list(run_units(range(9), partial(engine_workers.make_doubler, notes), engine))
    except BadInput as error:
        print(error)
"""
    text = run(tmp_path, body)
    assert "no node of the Ray cluster has 2 CPUs and 0 GPUs" in text
    assert "no node of the Ray cluster has 1 CPUs and 1 GPUs" in text


def test_no_cluster_at_the_address_is_refused(tmp_path: Path) -> None:
    body = """
for address in ("127.0.0.1:9", "ray://127.0.0.1:9"):
    try:
        list(run_units(range(9), partial(engine_workers.make_doubler, notes), Cluster(address)))
    except BadInput as error:
        print(error)
"""
    text = run(tmp_path, body)
    assert "no Ray cluster at 127.0.0.1:9 (" in text
    assert "no Ray cluster at ray://127.0.0.1:9 (" in text


def test_a_set_built_on_a_cluster_is_the_one_that_is_built_here(
    tiny_root: Path, tmp_path: Path
) -> None:
    cells = parse_conditions("weather")
    build(load_dataset("spair71k", tiny_root), tmp_path / "here", cells)
    body = f"""
import os, signal
from spairc.build import build
from spairc.datasets import load_dataset
from spairc.spec import parse_conditions

def kill_a_worker(key):
    if key == "car/b":
        for process in Path("/proc").glob("[0-9]*"):
            try:
                name = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if name.startswith(b"ray::_Actor"):
                os.kill(int(process.name), signal.SIGKILL)
                print("killed", flush=True)
                return

dataset = load_dataset("spair71k", {str(tiny_root)!r})
out, cells = Path({str(tmp_path / "there")!r}), parse_conditions("weather")
build(dataset, out, cells, engine=engine, watch=kill_a_worker)
"""
    assert "killed" in run(tmp_path, body)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert verify(tmp_path / "there") == []


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a built set, annotations apart."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
