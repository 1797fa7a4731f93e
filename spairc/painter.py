"""What a worker of `build` does: make the files of one clean picture."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import cv2

from spairc.codecs import FORMATS
from spairc.corruptions import corrupt
from spairc.engine import in_worker
from spairc.files import written_whole
from spairc.images import decode_image, pixel_hash, read_image
from spairc.manifest import Entry, statistics
from spairc.spec import VERSION
from spairc.types import BadInput, Condition, Image

_UNWRITTEN = 4  # encoded pictures in memory at a time, while the disk is behind


@dataclass(frozen=True)
class Task:
    """One clean picture, and the files to be made of it."""

    key: str
    original: str  # path below the dataset
    source: str  # hash of its decoded pixels
    cells: tuple[tuple[Condition, str], ...]  # condition, path below the built set


@dataclass(frozen=True)
class Painter:
    """What is the same for all pictures of a set."""

    root: Path  # of the clean pictures
    out: Path
    form: str  # one of `FORMATS`

    def __call__(self, task: Task) -> tuple[str, list[Entry]]:
        """Write the files of a task; return its image key and what the manifest says of them.

        Raises:
            BadInput: If the picture is not what it was when the build began, or a file cannot be
                written.
        """
        clean = self._clean(task)
        with ThreadPoolExecutor(1) as disk:  # the next picture is made while one is written
            entries = list(self._written(disk, clean, task))
        return task.key, entries

    def _clean(self, task: Task) -> Image:
        """Return the clean picture."""
        path = self.root / task.original
        try:
            clean = read_image(path)
        except BadInput as error:
            raise BadInput(f"picture {path} changed during the build ({error})") from error
        if pixel_hash(clean) != task.source:
            raise BadInput(f"picture {path} changed during the build; build again")
        return clean

    def _written(self, disk: ThreadPoolExecutor, clean: Image, task: Task) -> Iterator[Entry]:
        """Yield an entry for each file that is complete."""
        pending: deque[tuple[Future[None], Entry]] = deque()
        for cell, name in task.cells:
            image = corrupt(clean, str(cell.corruption), severity=cell.severity, key=task.key)
            data = FORMATS[self.form].encode(image)
            entry = self._entry(task, cell, name, image, data)
            pending.append((disk.submit(_write, self.out / name, data), entry))
            if len(pending) > _UNWRITTEN:
                yield _finished(pending)
        while pending:
            yield _finished(pending)

    def _entry(self, task: Task, cell: Condition, name: str, image: Image, data: bytes) -> Entry:
        """Return what the manifest says of a file with these bytes."""
        form = FORMATS[self.form]
        stored = image if form.lossless else decode_image(data, self.out / name)
        mean, deviation = statistics(stored)
        return Entry(
            path=name,
            key=task.key,
            corruption=str(cell.corruption),
            severity=cell.severity,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            pixels=pixel_hash(stored),
            mean=mean,
            deviation=deviation,
            original=task.original,
            source=task.source,
            spec=VERSION,
            package=_package(),
            format=form.name,
            codec=form.codec,
        )


def make_painter(painter: Painter) -> Callable[[Task], tuple[str, list[Entry]]]:
    """Return the painter, once its process is told to use one core: the others have theirs."""
    if in_worker():
        cv2.setNumThreads(1)
    return painter


@cache
def _package() -> str:
    """Return the version of spairc."""
    return version("spairc")


def _write(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_bytes(data)


def _finished(pending: deque[tuple[Future[None], Entry]]) -> Entry:
    """Return the entry of the oldest file, once that is written."""
    written, entry = pending.popleft()
    written.result()
    return entry
