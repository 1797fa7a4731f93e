"""Asks the process that reads strangers' Parquet files; a file that ends it is damaged."""

import atexit
import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock, Timer

import numpy as np
from numpy.typing import NDArray

from spairc.types import BadInput
from spairc_leaderboard.parquet_worker import COLUMNS, FINE

PATIENCE = 30.0  # seconds for one file; one of SPair-71k takes a tenth of one
Columns = dict[str, NDArray[np.generic]]


def read_columns(path: Path, *, groups: int, points: int, largest: int) -> list[Columns]:
    """Return the columns of each row group of a file that somebody sent.

    Args:
        path: The file, of bounded size.
        groups: How many row groups it must have.
        points: How many rows each of them must have.
        largest: Bytes that a column of a row group may have.

    Raises:
        BadInput: If it is damaged, or of another form.
    """
    with tempfile.NamedTemporaryFile(prefix="spairc-columns-") as out:
        answer = _reader().ask(
            path=str(path.resolve()), out=out.name, groups=groups, points=points, largest=largest
        )
        if answer != FINE:
            raise BadInput(f"{path.name}: {answer}")
        data = Path(out.name).read_bytes()
    if len(data) != groups * points * sum(np.dtype(kind).itemsize for kind in COLUMNS.values()):
        raise BadInput(f"{path.name}: it holds another number of values than of rows")
    return _cut(data, groups, points)


class _Reader:
    """The process, started when it is needed and again when it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = Lock()

    def ask(self, **request: str | int) -> str:
        """Return its answer; that the file is damaged if it died over it."""
        with self._lock:
            process = self._running()
            alarm = Timer(PATIENCE, process.kill)
            alarm.start()
            try:
                answer = _exchange(process, json.dumps(request))
            finally:
                alarm.cancel()
            if not answer:
                self._end()
            return answer or "it is damaged (the reader ended over it)"

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _running(self) -> "subprocess.Popen[str]":
        """Return the process, a new one if there is none."""
        if self._process is None or self._process.poll() is not None:
            self._end()
            # -P: nothing is imported from the folder that one happens to be in.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "spairc_leaderboard.parquet_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        return self._process

    def _end(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    with suppress(BrokenPipeError):  # what it did not read before it died
                        stream.close()
            self._process = None


@cache
def _reader() -> _Reader:
    """Return the one process of this process; starting it takes longer than reading an entry."""
    reader = _Reader()
    atexit.register(reader.close)
    return reader


def _exchange(process: "subprocess.Popen[str]", line: str) -> str:
    """Return the answer to a line; nothing if the process died."""
    if process.stdin is None or process.stdout is None:
        return ""
    try:
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
        return process.stdout.readline().strip()
    except BrokenPipeError:
        return ""


def _cut(data: bytes, groups: int, points: int) -> list[Columns]:
    """Return the columns of each row group out of what the process wrote."""
    found, start = [], 0
    for _ in range(groups):
        columns: Columns = {}
        for name, kind in COLUMNS.items():
            columns[name] = np.frombuffer(data, dtype=kind, count=points, offset=start)
            start += columns[name].nbytes
        found.append(columns)
    return found
