"""Memory, devices and energy: what is there is found, what is not is told as such."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spairc.cli import evaluate as cli
from spairc.engine import Cluster, Here, Processes
from spairc.machine import (
    Counter,
    Meter,
    cores,
    dealt,
    gpu_counters,
    memory,
    processor_counters,
)
from spairc.types import BadInput


def test_a_containers_limit_is_its_memory(tmp_path: Path) -> None:
    limit, none = tmp_path / "memory.max", tmp_path / "other"
    limit.write_text("123456\n")
    none.write_text("max\n")
    assert memory([none, limit, tmp_path / "missing"]) == 123456
    assert memory([none]) > 123456
    assert cores() >= 1


@pytest.mark.parametrize(
    ("given", "workers", "there", "devices"),
    [
        ("cuda", 5, 2, ("cuda:0", "cuda:1")),
        (None, 2, 4, ("cuda:0", "cuda:1")),
        ("cuda", 1, 4, ("cuda",)),
        (None, 1, 4, ()),
        ("cuda", 3, 1, ("cuda",)),
        ("cuda:1", 3, 4, ("cuda:1",)),
        ("cuda:0, cuda:3", 1, 4, ("cuda:0", "cuda:3")),
    ],
)
def test_workers_take_the_gpus_in_turn(
    given: str | None, workers: int, there: int, devices: tuple[str, ...]
) -> None:
    assert dealt(given, workers=workers, there=there) == devices


class OnGpu:
    """A matcher whose features live on a GPU of 24 GB."""

    name = "on-gpu"
    memory = 24_000_000_000


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """What pretends that there are so many GPUs."""
    from spairc_models import adapter

    def pretend(count: int) -> None:
        monkeypatch.setattr(adapter, "device_count", lambda: count)

    return pretend


def test_the_nth_worker_loads_its_model_onto_the_nth_gpu(
    gpus: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(2)
    _, devices = cli._devices_of(OnGpu(), Processes(5), "cuda")  # type: ignore[arg-type]  # never asked
    assert devices == ("cuda:0", "cuda:1")
    monkeypatch.setattr(cli, "_matcher_of", lambda **model: model["device"])
    chosen: list[Any] = []
    for number in range(5):
        monkeypatch.setattr("spairc.engine.worker_number", lambda number=number: number)
        chosen.append(cli._matcher_in_worker(None, devices, device="cuda"))
    assert chosen == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]


def test_a_gpu_that_is_not_there_is_refused_before_work_begins(
    gpus: Callable[[int], None],
) -> None:
    gpus(2)
    with pytest.raises(BadInput, match="device 'cuda:7': this machine has 2 CUDA devices"):
        cli._devices_of(OnGpu(), Processes(2), "cuda:0,cuda:7")  # type: ignore[arg-type]  # never asked


def test_a_matcher_that_needs_no_gpu_is_dealt_none() -> None:
    assert cli._devices_of(SimpleNamespace(), Processes(2), None) == (Processes(2), ())


def test_there_is_a_worker_for_each_device_that_was_named() -> None:
    where: dict[str, Any] = {"workers": None, "place": "local", "address": None, "cpus": None}
    assert cli._engine_of("cuda:0,cuda:1,cuda:2", **where) == Processes(3)
    assert cli._engine_of(None, **where) == Here()
    assert cli._engine_of("cuda:0,cuda:1", **{**where, "workers": 4}) == Processes(4)


def test_a_task_on_ray_has_one_gpu_or_so_many_cores(gpus: Callable[[int], None]) -> None:
    gpus(1)
    where: dict[str, Any] = {"workers": None, "place": "ray", "address": None, "cpus": 3}
    engine = cli._engine_of(None, **where)
    assert engine == Cluster(cpus=3, gpus=0)
    assert cli._threads_of(engine) == 3
    with_gpu, devices = cli._devices_of(OnGpu(), engine, None)  # type: ignore[arg-type]  # never asked
    assert (with_gpu, devices) == (Cluster(cpus=3, gpus=1), ("cuda",))
    with pytest.raises(BadInput, match="Ray gives a GPU to each task"):
        cli._engine_of("cuda:0,cuda:1", **where)
    with pytest.raises(BadInput, match="--cpus is of a Ray worker"):
        cli._engine_of(None, **{**where, "place": "local"})


def zone(folder: Path, name: str, kind: str, energy: int) -> Path:
    """One counter as Linux shows it."""
    path = folder / name
    path.mkdir(parents=True)
    (path / "name").write_text(f"{kind}\n")
    (path / "energy_uj").write_text(f"{energy}\n")
    (path / "max_energy_range_uj").write_text("9000000\n")
    return path


def test_the_energy_of_processors_is_read_and_their_parts_are_not_counted_twice(
    tmp_path: Path,
) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 8_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 77)
    zone(tmp_path, "intel-rapl:2", "psys", 77)
    meter = Meter(processor_counters(tmp_path))
    (first / "energy_uj").write_text("3500000")
    (second / "energy_uj").write_text("500000")  # it began again after 9 J
    assert meter.joules() == pytest.approx(2.5 + 1.5)
    assert meter.joules() == 0


def test_a_counter_that_may_not_be_read_is_none(tmp_path: Path) -> None:
    (zone(tmp_path, "intel-rapl:0", "package-0", 1) / "energy_uj").unlink()
    assert processor_counters(tmp_path) == []
    assert processor_counters(tmp_path / "missing") == []
    assert Meter([]).joules() is None


class Driver:
    """Stands for NVIDIA's library: two GPUs, of which the second does not tell its energy."""

    def __init__(self, status: int = 0) -> None:
        self.status, self.millijoules = status, 5000

    def nvmlInit_v2(self) -> int:  # noqa: N802 -- the library's name
        return self.status

    def nvmlDeviceGetCount_v2(self, number: Any) -> int:  # noqa: N802 -- the library's name
        number._obj.value = 2
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, gpu: Any) -> int:  # noqa: N802 -- the library's name
        gpu._obj.value = index + 1
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: ctypes.c_void_p, energy: Any) -> int:  # noqa: N802 -- the library's name
        energy._obj.value = self.millijoules
        return 0 if gpu.value == 1 else 3


def test_the_energy_of_gpus_is_read_from_their_driver() -> None:
    driver = Driver()
    counters = gpu_counters(driver)
    assert len(counters) == 1
    meter = Meter(counters)
    driver.millijoules = 7500
    assert meter.joules() == pytest.approx(2.5)


def test_a_driver_that_does_not_start_gives_no_counter() -> None:
    assert gpu_counters(Driver(status=9)) == []


def test_several_counters_are_added() -> None:
    values = iter([1.0, 10.0, 4.0, 11.0])
    assert Meter([Counter(lambda: next(values)), Counter(lambda: next(values))]).joules() == 4.0
