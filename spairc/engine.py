"""Where independent units of work run: in this process, in worker processes, or on a Ray cluster.

A unit is anything that can be sent to another process. What is costly and the same for all units,
a model or a dataset, is made once per worker by `make_worker`; results come back as they are
done, so their order is not that of the units. To add a place: a frozen dataclass with a method
`run`, of the same signature as the three here.

    for result in run_units(units, functools.partial(make_worker, settings), processes(4)):
        ...
"""

import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing import connection
from typing import Any, Protocol, TypeAlias, TypeVar

from spairc.machine import cores
from spairc.types import BadInput

Unit = TypeVar("Unit")
Result = TypeVar("Result")
Work: TypeAlias = Callable[[Unit], Result]  # does one unit
MakeWorker: TypeAlias = Callable[[], Work[Unit, Result]]  # is called once per worker

_DEATHS = 3  # a unit whose worker died this often on a cluster is what kills them
_PATIENCE = 5.0  # seconds until an address that does not answer is given up
_DIED = (
    "a worker process died, perhaps for lack of memory; what is complete is kept: run the same "
    "command again, with fewer --workers"
)


class Engine(Protocol):
    """A place where units can run."""

    def run(
        self, units: Iterable[Unit], make_worker: MakeWorker[Unit, Result]
    ) -> Generator[Result]:
        """Yield the result of every unit, in the order in which they are done."""
        ...


@dataclass(frozen=True)
class Here:
    """This process: one unit after the other, in their order."""

    def run(
        self, units: Iterable[Unit], make_worker: MakeWorker[Unit, Result]
    ) -> Generator[Result]:
        """Yield the result of every unit."""
        work = make_worker()
        for unit in units:
            yield work(unit)


@dataclass(frozen=True)
class Processes:
    """Worker processes on this machine, started afresh ("spawn"): nothing is inherited.

    Ctrl-C lets the units in work be finished and starts no others. If this process is killed, so
    are the workers.
    """

    workers: int

    def run(
        self, units: Iterable[Unit], make_worker: MakeWorker[Unit, Result]
    ) -> Generator[Result]:
        """Yield the result of every unit.

        Raises:
            BadInput: If a worker process died; whatever else a unit raises comes through.
        """
        spawn = multiprocessing.get_context("spawn")
        numbers = spawn.SimpleQueue()
        for number in range(self.workers):
            numbers.put(number)
        pool = ProcessPoolExecutor(
            self.workers, mp_context=spawn, initializer=_begin, initargs=(make_worker, numbers)
        )
        waiting = iter(units)
        try:
            running = {_submitted(pool, unit) for unit in islice(waiting, self.workers + 1)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {_submitted(pool, unit) for unit in islice(waiting, len(done))}
                yield from _results(done)
        except BrokenProcessPool as error:
            raise BadInput(_DIED) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            numbers.close()


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster: as many workers as fit into its nodes. Needs the extra `ray`.

    A unit whose worker or node died is done by another one.
    """

    address: str | None = None  # as `ray.init` takes it; None starts Ray on this machine
    cpus: float = 1  # of each worker
    gpus: float = 0  # of each worker

    def run(
        self, units: Iterable[Unit], make_worker: MakeWorker[Unit, Result]
    ) -> Generator[Result]:
        """Yield the result of every unit.

        Raises:
            BadInput: If Ray is not installed, there is no such cluster, no node has the CPUs or
                GPUs of one worker, or one unit's workers died again and again; whatever else a
                unit raises comes through.
        """
        ray = _ray()
        own = not ray.is_initialized()
        _connect(ray, self.address, start=own)
        try:
            yield from self._dealt(ray, units, make_worker)
        finally:
            if own:
                ray.shutdown()

    def _dealt(
        self, ray: Any, units: Iterable[Unit], make_worker: MakeWorker[Unit, Result]
    ) -> Iterator[Result]:
        """Yield the results; every worker that is ready is given the next unit."""
        actor = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus)(_Actor)
        made = ray.put(make_worker)
        todo = list(units)
        waiting = list(reversed(range(len(todo))))
        running: dict[Any, tuple[Any, int | None]] = {}  # worker and unit; None while it starts
        deaths: dict[int | None, int] = {}  # by unit

        def start() -> None:
            worker = actor.remote(made)
            running[worker.ready.remote()] = (worker, None)

        for _ in range(min(self._room(ray), len(todo))):
            start()
        while any(task is not None for _, task in running.values()) or waiting:
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            worker, task = running.pop(done)
            try:
                answer = ray.get(done)
            except (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError) as error:
                deaths[task] = deaths.get(task, 0) + 1
                if deaths[task] == _DEATHS:
                    what = "at their start" if task is None else f"of unit {task}"
                    raise BadInput(f"{_DEATHS} Ray workers died {what}; see Ray's logs") from error
                waiting += [] if task is None else [task]
                start()
                continue
            if waiting:
                following = waiting.pop()
                running[worker.do.remote(todo[following])] = (worker, following)
            if task is not None:
                yield _answer(answer)

    def _room(self, ray: Any) -> int:
        """Return how many workers fit into the cluster's nodes."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        need = {"CPU": self.cpus, "GPU": self.gpus}
        room = sum(
            int(min(node.get(name, 0) / each for name, each in need.items() if each))
            for node in nodes
        )
        if not room:
            raise BadInput(
                f"no node of the Ray cluster has {self.cpus:g} CPUs and {self.gpus:g} GPUs; "
                f"start one that has"
            )
        return room


def run_units(
    units: Iterable[Unit], make_worker: MakeWorker[Unit, Result], engine: Engine
) -> Generator[Result]:
    """Yield the result of every unit, as they are done.

    Closing the generator stops the work: no further unit is begun, none is left half done.

    Args:
        units: Independent of one another. They are sent to the workers, so keep them small.
        make_worker: Called once in each worker; returns the function that does a unit. A plain
            function of a module, or a `functools.partial` of one: it is sent to the workers too.
        engine: Where: `Here()`, `Processes(n)`, `Cluster(address)`.

    Raises:
        BadInput: If a worker died or cannot be had. What `make_worker` or a unit raises comes
            through as it is.
    """
    return engine.run(units, make_worker)


def processes(workers: int | None, *, units: int, units_per_worker: int = 1) -> Here | Processes:
    """Return worker processes, or this process where a second one would not pay.

    Args:
        workers: How many; None for one per core.
        units: How many units there are; more workers than units are never started.
        units_per_worker: If the number is not given: units that take as long as a worker's start.

    Raises:
        BadInput: If the number is below 1.
    """
    if workers is not None and workers < 1:
        raise BadInput(f"--workers is {workers}; give 1 or more")
    count = workers or min(cores(), units // units_per_worker)
    count = min(count, units)
    return Here() if count <= 1 else Processes(count)


def in_worker() -> bool:
    """Tell whether this process was started to do units for another one."""
    return bool(_own)


def worker_number() -> int:
    """Return this worker process's number among its fellows, from 0; 0 outside of one."""
    return int(_own.get("number", 0))


def shard_of(units: Sequence[Unit], which: str | None) -> Sequence[Unit]:
    """Return every n-th unit, beginning with the i-th, for "i/n"; all of them for None.

    Raises:
        BadInput: If the text is not of that form or i is not between 1 and n.
    """
    if which is None:
        return units
    first, slash, step = which.partition("/")
    if not (slash and first.isdecimal() and step.isdecimal() and 1 <= int(first) <= int(step)):
        raise BadInput(f"--shard is {which!r}; write i/n with i from 1 to n, such as 2/8")
    return units[int(first) - 1 :: int(step)]


def _submitted(pool: ProcessPoolExecutor, unit: Any) -> Future[Any]:
    """Hand a unit to the pool, which may start a process for it: one that Ctrl-C does not end.

    What is blocked here is blocked in a process that is started meanwhile, from its first moment;
    here it arrives a little later.
    """
    if sys.platform == "win32":
        return pool.submit(_do, unit)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(_do, unit)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ---- in a worker process ----

_own: dict[str, Any] = {}  # "make", "number", and "work" once it was made


def _begin(make_worker: MakeWorker[Any, Any], numbers: Any) -> None:
    """Prepare a worker process; the costly part waits for the first unit, whose error is seen."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _own["make"] = make_worker
    _own["number"] = numbers.get()


def _end_with_parent() -> None:
    """End this process when its parent is gone: a killed parent cannot tell it to."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _do(unit: Any) -> Any:
    """Do one unit in a worker process."""
    if "work" not in _own:
        _own["work"] = _own["make"]()
    return _own["work"](unit)


def _results(done: Iterable[Future[Result]]) -> Iterator[Result]:
    """Yield what the finished units gave; raise what the first failed one raised."""
    failed: list[Future[Result]] = []
    for each in done:
        if each.exception() is None:
            yield each.result()
        else:
            failed.append(each)
    for each in failed:
        each.result()


# ---- on a Ray cluster ----


class _Actor:
    """A worker in a process of Ray's; BadInput is an answer, as Ray wraps what is raised."""

    def __init__(self, make_worker: MakeWorker[Any, Any]) -> None:
        _own["make"] = make_worker

    def ready(self) -> None:
        """Answer, once the process runs."""

    def do(self, unit: Any) -> tuple[Any, str | None]:
        """Return what a unit gave, or its BadInput's text."""
        try:
            return _do(unit), None
        except BadInput as error:
            return None, str(error)


def _ray() -> Any:
    """Import Ray, which few need.

    Raises:
        BadInput: If it is not installed.
    """
    try:
        import ray  # noqa: PLC0415 -- an extra
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise BadInput("--engine ray needs Ray; run: pip install 'spairc[ray]'") from None
    return ray


def _connect(ray: Any, address: str | None, *, start: bool) -> None:
    """Connect to the cluster, or start one here.

    Raises:
        BadInput: If there is no cluster at the address.
    """
    if not start:
        return
    _knock(address)
    try:
        ray.init(address=address, log_to_driver=False, include_dashboard=False, logging_level=40)
    except (ConnectionError, ValueError, RuntimeError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(
            f"no Ray cluster at {address or 'this machine'} ({line}); "
            f"start one with: ray start --head"
        ) from error


def _knock(address: str | None) -> None:
    """Refuse an address where nothing listens, which Ray would try for many minutes."""
    host, _, port = str(address).rpartition("://")[2].partition("?")[0].rpartition(":")
    if address is None or not (host and port.isdecimal()):
        return  # "auto", or one of Ray's own kinds
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise BadInput(
            f"no Ray cluster at {address} ({error}); start one with: ray start --head"
        ) from error


def _answer(answer: tuple[Result, str | None]) -> Result:
    """Return a unit's result, or raise its BadInput."""
    result, complaint = answer
    if complaint is not None:
        raise BadInput(complaint)
    return result
