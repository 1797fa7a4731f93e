"""Unpack an archive whole or not at all; nothing of it leaves its folder or fills the disk."""

import errno
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from spairc.files import explained, inside
from spairc.types import BadInput

Progress: TypeAlias = Callable[[str, int, int], None]  # what is done, how far, of how much (bytes)

_BLOCK = 1 << 20  # bytes
_GROWTH = 20  # times its size that an archive may unpack to, and one gigabyte: photographs do not
_DAMAGED = (  # and OSError without a number, of gzip and bz2
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a compression that zipfile does not know
    RuntimeError,  # encrypted
    UnicodeDecodeError,  # in a name
    zlib.error,
)


@contextmanager
def unpacking(temporary: Path) -> Iterator[Path]:
    """Yield an empty folder of this name; nothing of it stays."""
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with explained(temporary):
            temporary.mkdir()
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def unpack(archive: Path, folder: Path, progress: Progress) -> None:
    """Unpack a tar or zip archive; nothing may leave the folder.

    Raises:
        BadInput: If a member would, or the archive is damaged or of another kind.
    """
    try:
        if tarfile.is_tarfile(archive):
            _unpack_tar(archive, folder, progress)
        else:
            _unpack_zip(archive, folder, progress)
    except tarfile.FilterError as error:
        raise BadInput(f"{archive} is not unpacked: {error}; do not trust it") from error
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk's doing; a damaged archive sends its reader to places before the start
        raise BadInput(f"{archive} is damaged ({error}); delete it and run again") from error


def _unpack_tar(archive: Path, folder: Path, progress: Progress) -> None:
    """Unpack a tar archive, compressed in any way."""
    total = archive.stat().st_size
    unpacked = 0
    with archive.open("rb") as file, tarfile.open(fileobj=file) as members:
        for member in members:
            unpacked += member.size
            _check_growth(archive, unpacked)
            members.extract(member, folder, filter="data")
            progress(f"unpack {archive.name}", file.tell(), total)
        rest = members.fileobj
        while rest is not None and rest.read(_BLOCK):
            pass  # tarfile stops at the last member; the checksum of the whole stands at the end


def _unpack_zip(archive: Path, folder: Path, progress: Progress) -> None:
    """Unpack a zip archive; it tells the members' sizes, so that the space is checked first."""
    with zipfile.ZipFile(archive) as members:
        listed = members.infolist()
        total = sum(member.file_size for member in listed)
        _check_growth(archive, total)
        if total > shutil.disk_usage(folder).free:
            raise BadInput(f"no space left in {folder.parent} for {archive}; free some first")
        done = 0
        for member in listed:
            inside(folder, member.filename, where=archive)
            if stat.S_ISLNK(member.external_attr >> 16):
                raise BadInput(f"{archive} is not unpacked: it holds the link {member.filename}")
            members.extract(member, folder)
            done += member.file_size
            progress(f"unpack {archive.name}", done, total)


def _check_growth(archive: Path, unpacked: int) -> None:
    """Refuse an archive that would fill the disk with next to nothing."""
    if unpacked > _GROWTH * archive.stat().st_size + 1_000_000_000:
        raise BadInput(
            f"{archive} is not unpacked: {archive.stat().st_size:,} bytes would become more than "
            f"{unpacked:,}; do not trust it"
        )


def content_of(folder: Path) -> Path:
    """Return the one folder that an archive unpacked to, or the whole if there are several."""
    made = [each for each in folder.iterdir() if each.name != "__MACOSX"]
    alone = len(made) == 1 and made[0].is_dir() and not made[0].is_symlink()
    return made[0] if alone else folder
