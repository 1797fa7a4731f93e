"""Work for the tests of the engine: worker processes import it, so it is a module of its own."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from spairc.engine import worker_number
from spairc.types import BadInput


def make_doubler(notes: Path) -> Callable[[int], int]:
    """Return what doubles a number; a file tells of every worker that was made."""
    (notes / f"made-{os.getpid()}").touch()
    return lambda number: 2 * number


def make_refuser(_: Path) -> Callable[[int], int]:
    """Return what refuses 5."""

    def refuse(number: int) -> int:
        if number == 5:
            raise BadInput("unit 5: give an even one")
        return number

    return refuse


def make_broken(_: Path) -> Callable[[int], int]:
    """Return what has a bug."""
    return lambda number: 1 // (number - 3)


def refuse_to_be_made(_: Path) -> Callable[[int], int]:
    """Fail before the first unit."""
    raise BadInput("no weights; give --checkpoint")


def make_dying(notes: Path) -> Callable[[int], int]:
    """Return what kills its own process at 4, the first time."""

    def work(number: int) -> int:
        mark = notes / "died"
        if number == 4 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return 2 * number

    return work


def make_hopeless(_: Path) -> Callable[[int], int]:
    """Return what always kills its own process at 4."""

    def work(number: int) -> int:
        if number == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    return work


def make_slow(notes: Path) -> Callable[[int], int]:
    """Return what takes a while, and notes when a unit begins and when it is done."""
    (notes / f"made-{os.getpid()}").touch()

    def work(number: int) -> int:
        (notes / f"begun-{number}").touch()
        time.sleep(0.3)
        (notes / f"done-{number}").touch()
        return number

    return work


def make_numbered(notes: Path) -> Callable[[int], int]:
    """Return what tells its worker's number, once there are two workers."""
    (notes / f"made-{os.getpid()}").touch()

    def work(_: int) -> int:
        deadline = time.monotonic() + 60
        while len(list(notes.glob("made-*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        return worker_number()

    return work
