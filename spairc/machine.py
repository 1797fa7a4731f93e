"""What this machine has, and how workers share it: cores, memory, devices, counters of energy."""

import ctypes
import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

_POWERCAP = Path("/sys/class/powercap")  # Linux: what Intel's and AMD's processors tell
_LIMITS = (  # of a container, in bytes
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_UNKNOWN_MEMORY = 8_000_000_000  # bytes, where the system does not tell


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def memory(limits: Sequence[Path] = _LIMITS) -> int:
    """Return the bytes of the machine's memory, or of the container's if that has less.

    Args:
        limits: Files that may hold a container's limit.
    """
    found = _UNKNOWN_MEMORY
    if hasattr(os, "sysconf"):
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in limits:
        with suppress(OSError, ValueError):  # no such file, or "max"
            found = min(found, int(path.read_text()))
    return found


def dealt(given: str | None, *, workers: int, there: int) -> tuple[str, ...]:
    """Return the devices that workers take in turn, worker i the i-th of them; none to choose from.

    Args:
        given: What the user named: "cuda:0,cuda:1"; "cuda" and None are all GPUs of the machine.
        workers: How many processes share them.
        there: How many GPUs there are.
    """
    if given is not None and "," in given:
        return tuple(each.strip() for each in given.split(","))
    if given not in (None, "cuda") or there < 2 or workers < 2:  # noqa: PLR2004 -- one is no choice
        return () if given is None else (given,)
    return tuple(f"cuda:{number}" for number in range(min(there, workers)))


@dataclass(frozen=True)
class Counter:
    """One counter of energy, which only rises until it begins again."""

    read: Callable[[], float]  # joules
    span: float = math.inf  # joules after which it begins again at 0


class Meter:
    """Tells the energy that the machine took since it was last asked."""

    def __init__(self, counters: Sequence[Counter]) -> None:
        self._counters = tuple(counters)
        self._last = [each.read() for each in self._counters]

    def joules(self) -> float | None:
        """Return the joules since the last call; None if the machine has no counter."""
        if not self._counters:
            return None
        now = [each.read() for each in self._counters]
        taken = sum(
            after - before + (each.span if after < before else 0.0)
            for each, before, after in zip(self._counters, self._last, now, strict=True)
        )
        self._last = now
        return taken


def meter() -> Meter:
    """Return what measures the processors and GPUs of this machine, as far as they can be read.

    All that the machine does is in it, whoever does it; memory, fans and losses are not.
    """
    return Meter([*processor_counters(), *gpu_counters()])


def processor_counters(folder: Path = _POWERCAP) -> list[Counter]:
    """Return a counter per processor; many systems let the administrator alone read them.

    Args:
        folder: Where Linux shows them.
    """
    found = []
    for zone in sorted(folder.glob("intel-rapl:*")):  # AMD's too; cores and memory are subzones
        with suppress(OSError, ValueError):
            if (zone / "name").read_text().startswith("package"):
                _microjoules(zone / "energy_uj")
                span = _microjoules(zone / "max_energy_range_uj")
                found.append(Counter(partial(_microjoules, zone / "energy_uj"), span))
    return found


def gpu_counters(library: Any = None) -> list[Counter]:
    """Return a counter per NVIDIA GPU, from the driver's own library; none if there is no driver.

    Args:
        library: Replaces the driver's, for tests.
    """
    if library is None:
        try:
            library = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            return []
    number = ctypes.c_uint()
    if library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(ctypes.byref(number)):
        return []
    found = []
    for index in range(number.value):
        gpu = ctypes.c_void_p()
        if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(gpu)):
            continue
        with suppress(OSError):
            _gpu_joules(library, gpu)
            found.append(Counter(partial(_gpu_joules, library, gpu)))
    return found


def _microjoules(path: Path) -> float:
    """Return a counter's joules."""
    return int(path.read_text()) / 1e6


def _gpu_joules(library: Any, gpu: ctypes.c_void_p) -> float:
    """Return what a GPU took since its driver was loaded; OSError if it does not tell."""
    millijoules = ctypes.c_ulonglong()
    if library.nvmlDeviceGetTotalEnergyConsumption(gpu, ctypes.byref(millijoules)):
        raise OSError
    return millijoules.value / 1e3
