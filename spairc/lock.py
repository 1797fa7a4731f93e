"""One builder per folder: a lock that the operating system lifts when its owner ends, however."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from spairc.files import explained
from spairc.types import BadInput

if sys.platform == "win32":
    import msvcrt

    def _locked(file: IO[str], *, shared: bool, wait: bool) -> None:  # noqa: ARG001 -- Windows has no shared ones
        """Lock the file; raise OSError if another process has it."""
        file.seek(1 << 30)  # beyond the text, which must stay readable
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        file.seek(0)
else:
    import fcntl

    def _locked(file: IO[str], *, shared: bool, wait: bool) -> None:
        """Lock the file; raise OSError if another process has it."""
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
    """Hold a lock file, which tells who holds it: process id and host.

    A file that was left behind by a process that is gone locks nothing and is taken over. The
    last holder removes it.

    Args:
        path: The lock file.
        shared: Others may hold it shared as well.
        wait: Wait for the others instead of refusing.

    Raises:
        BadInput: If another process holds it, or it cannot be written.
    """
    file = _held(path, shared=shared, wait=wait)
    try:
        with explained(path):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}\n")
            file.flush()
        yield
    finally:
        _let_go(path, file)


def _held(path: Path, *, shared: bool, wait: bool) -> IO[str]:
    """Return the lock file, open and locked.

    Between opening and locking another process may remove the file: then what is locked is not
    what others will find, and the next try opens the new one.
    """
    while True:
        with explained(path):
            file = path.open("a+", encoding="utf-8")
        try:
            _locked(file, shared=shared, wait=wait)
        except (BlockingIOError, PermissionError):
            file.seek(0)
            owner = file.read().strip() or "another process"
            file.close()
            raise BadInput(
                f"{path.parent} is being written by {owner}; wait for it, or choose another --out"
            ) from None
        if _is_at(path, file):
            return file
        file.close()


def _is_at(path: Path, file: IO[str]) -> bool:
    """Tell whether an open file is still the one of that name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _let_go(path: Path, file: IO[str]) -> None:
    """Remove the lock file if nobody else holds it, and close it."""
    with file, suppress(OSError):  # another one holds it too, or Windows keeps what is open
        _locked(file, shared=False, wait=False)
        if _is_at(path, file):
            path.unlink()
