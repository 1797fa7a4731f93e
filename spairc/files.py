"""Files are written whole or not at all, and their names never leave their folder."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import platformdirs

from spairc.types import BadInput

_USER_CAN_FIX = {
    errno.ENOSPC: "no space left; free some, then run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space, then run the same command again",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "no permission; choose another folder",
    errno.EPERM: "no permission; choose another folder",
    errno.ENOENT: "no such place; choose another folder",
    errno.ENOTDIR: "a part of this path is a file; choose another folder",
    errno.EEXIST: "this is a file; choose another folder",
}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals that a user can mend into BadInput."""
    try:
        yield
    except OSError as error:
        advice = _USER_CAN_FIX.get(error.errno or 0)
        if advice is None:
            raise
        raise BadInput(f"cannot write {path}: {advice}") from error


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the final name if all went well.

    The bytes reach the disk before the name does, so a power cut leaves the old file or the new
    one. Folders above `path` are made.

    Raises:
        BadInput: If there is no space, no permission, or the file system is read-only.
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _to_disk(temporary)
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all.

    Raises:
        BadInput: As `written_whole`.
    """
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def make_folder(path: Path) -> Path:
    """Make the folder and those above it; return it.

    Raises:
        BadInput: If it cannot be made or nothing can be written into it.
    """
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path


def cache_folder() -> Path:
    """Return the folder of what spairc can make or fetch again; SPAIRC_CACHE names another one."""
    given = os.environ.get("SPAIRC_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("spairc")


def inside(root: Path, name: str, *, where: Path | str) -> Path:
    """Return `root / name` for a file name that came from a dataset or a submission.

    Args:
        root: The folder that the name must stay in.
        name: The foreign name, `/` between its parts.
        where: The file that the name was read from, for the message.

    Raises:
        BadInput: If the name is absolute, climbs out with `..`, or is not a plain name.
    """
    parts = PurePosixPath(name).parts
    plain = parts and "\\" not in name and "\0" not in name and not name.startswith("/")
    if not plain or ".." in parts or ":" in parts[0][:2]:
        raise BadInput(f"{where}: the file name {name!r} leaves its folder; correct it there")
    return root.joinpath(*parts)


def _to_disk(path: Path) -> None:
    """Wait until the file's bytes are on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    """Return the process's umask; it can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
