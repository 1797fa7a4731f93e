"""Fetch a dataset's official archive: goes on after a break, checked, unpacked whole or not at all.

A transfer in progress is two files beside the archive's final place: `NAME.part`, the bytes so
far, and `NAME.part.json`, which server, file and version they came from. The archive itself is
kept; remove it when you like.
"""

import hashlib
import http.client
import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

from spairc.files import explained, make_folder, write_text
from spairc.lookup import lookup
from spairc.types import BadInput
from spairc.unpack import Progress, content_of, unpack, unpacking

_BLOCK = 1 << 20  # bytes
_PATIENCE = 30  # seconds without a byte
_TRIES = 4  # in a row that bring nothing
_PAUSE = 0.5  # seconds between tries, twice as long after each that brought nothing


@dataclass(frozen=True)
class File:
    """A file on the web."""

    address: str
    sha256: str | None = None  # where it is known; the datasets' authors publish none


@dataclass(frozen=True)
class Archive:
    """What makes up a dataset on the web."""

    folder: str  # made below the folder that the user names
    page: str  # for fetching by hand
    archive: File
    lists: Mapping[str, File] = field(default_factory=dict)  # file name -> what the archive lacks


@dataclass(frozen=True)
class Downloaded:
    """What a download left on the disk."""

    folder: Path  # the dataset's
    hashes: Mapping[Path, str]  # each file that was fetched -> its SHA-256


_WILLOW = "https://www.di.ens.fr/willow/research"
_NCNET = (
    "https://raw.githubusercontent.com/ignacio-rocco/ncnet/116a9141f3a5ae16affa1f7c3c9f83899960ea3e"
)
ARCHIVES: dict[str, Archive] = {
    "spair71k": Archive(
        folder="SPair-71k",
        page="https://cvlab.postech.ac.kr/research/SPair-71k/",
        archive=File("https://cvlab.postech.ac.kr/research/SPair-71k/data/SPair-71k.tar.gz"),
    ),
    "pf-pascal": Archive(
        folder="PF-dataset-PASCAL",
        page=f"{_WILLOW}/proposalflow/",
        archive=File(f"{_WILLOW}/proposalflow/dataset/PF-dataset-PASCAL.zip"),
        lists={
            "train_pairs.csv": File(
                f"{_NCNET}/datasets/pf-pascal/image_pairs/train_pairs.csv",
                "e7604e992744706b0ec0ed9fad240b5e0e45f38c13eaf567af0338ec8a50f40f",
            ),
            "val_pairs.csv": File(
                f"{_NCNET}/datasets/pf-pascal/image_pairs/val_pairs.csv",
                "a9dd7f303abc7ee31c51fe73f39923a6880d4dc9aa4d7af38d5f15a7345407f5",
            ),
            "test_pairs.csv": File(
                f"{_NCNET}/datasets/pf-pascal/image_pairs/test_pairs.csv",
                "1891bfd52cac67898aa5b65a50818e315e5228b956fdda1baad400e6a89c6fe6",
            ),
        },
    ),
    "pf-willow": Archive(
        folder="PF-WILLOW",
        page=f"{_WILLOW}/proposalflow/",
        archive=File(f"{_WILLOW}/proposalflow/dataset/PF-dataset.zip"),
        lists={"test_pairs.csv": File(f"{_WILLOW}/cnngeometric/other_resources/test_pairs_pf.csv")},
    ),
}


def _silent(step: str, done: int, total: int) -> None:
    """Show nothing."""


def download(
    name: str,
    to: Path,
    *,
    address: str | None = None,
    sha256: str | None = None,
    progress: Progress = _silent,
) -> Downloaded:
    """Fetch and unpack a dataset; go on with what an earlier, broken run left.

    Args:
        name: An entry of `ARCHIVES`.
        to: The folder that gets the archive and, unpacked, the dataset's folder.
        address: Another place (http or https) to fetch the archive from.
        sha256: What the archive at `address` has to have, in hexadecimal.
        progress: Called with "fetch NAME", "check NAME" or "unpack NAME" and how far it is, in
            bytes; the total is 0 where the server does not tell.

    Raises:
        BadInput: If there is no such dataset, it is there already, the network or the disk fails,
            or the archive is not what it should be. What was fetched stays for the next run.
    """
    what = lookup(ARCHIVES, name.replace("_", "-"), "dataset")
    archive = what.archive if address is None else File(address, sha256)
    folder = to / what.folder
    if folder.exists():
        raise BadInput(f"{folder} is there already; use it with --root, or move it away first")
    make_folder(to)
    kept = to / _file_name(archive.address)
    hashes = {kept: _fetch(archive, kept, what.page, progress)}
    lists = {to / f"{what.folder}.{each}": file for each, file in what.lists.items()}
    for path, file in lists.items():
        hashes[path] = _fetch(file, path, what.page, progress)
    with unpacking(to / f".{what.folder}.unpacking") as temporary:
        unpack(kept, temporary, progress)
        content = content_of(temporary)
        for path, each in zip(lists, what.lists, strict=True):
            shutil.copyfile(path, content / each)
        content.replace(folder)
    return Downloaded(folder=folder, hashes=MappingProxyType(hashes))


def _file_name(address: str) -> str:
    """Return the name that an archive is kept under."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise BadInput(f"address {address!r} is none of the web; write http://... or https://...")
    name = PurePosixPath(unquote(parts.path)).name
    if not name or name.startswith("."):
        raise BadInput(f"address {address!r} names no file; give that of the archive itself")
    return name


def _fetch(file: File, path: Path, page: str, progress: Progress) -> str:
    """Bring a file to `path`, unless it is there; return its SHA-256."""
    if not path.exists():
        part = path.with_name(f"{path.name}.part")
        _insist(file.address, part, page, progress)
        part.replace(path)
        _record_of(part).unlink(missing_ok=True)
    found = _hash(path, progress)
    if file.sha256 is not None and found != file.sha256.lower():
        raise BadInput(
            f"{path} has SHA-256 {found} and not {file.sha256}; delete it and run again, or fetch "
            f"it by hand from {page}"
        )
    return found


def _insist(address: str, part: Path, page: str, progress: Progress) -> None:
    """Repeat until all bytes are in `part`; give up after a few tries that bring nothing new."""
    farthest, idle = _length(part), 0
    while True:
        try:
            _transfer(address, part, progress)
        except urllib.error.HTTPError as error:
            reason = f"the server answered {error.code} {error.reason}"
            final = error.code < http.HTTPStatus.INTERNAL_SERVER_ERROR  # the same the next time
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)  # it is longer than the file that is there now
                final = False
            error.close()
        except (OSError, http.client.HTTPException) as error:
            reason, final = str(error) or type(error).__name__, False
        else:
            return
        idle = 0 if _length(part) > farthest else idle + 1
        farthest = max(farthest, _length(part))
        if final or idle == _TRIES:
            raise BadInput(
                f"{address} cannot be fetched ({reason}); {_length(part)} bytes are kept: run "
                f"again to go on, try --address, or fetch it by hand from {page}"
            )
        time.sleep(_PAUSE * 2**idle)


def _transfer(address: str, part: Path, progress: Progress) -> None:
    """Fetch what `part` lacks, in one connection."""
    known = _record(part, address)
    start = _length(part) if known else 0
    if known and start == known["length"]:
        return
    with _opened(address, start, known.get("version")) as response:
        partial = response.status == http.HTTPStatus.PARTIAL_CONTENT
        total = _total(response, start if partial else 0)
        if partial and total != known.get("length"):
            part.unlink()
            raise http.client.HTTPException("the file on the server has changed")
        start = start if partial else 0
        _check_space(part, start, total)
        if not partial:
            version = response.headers.get("ETag") or response.headers.get("Last-Modified")
            told = {"address": address, "length": total, "version": version}
            part.unlink(missing_ok=True)
            write_text(_record_of(part), json.dumps(told))
        done = _append(response, part, start, lambda done: progress(_doing(part), done, total))
    if total and done != total:
        raise http.client.HTTPException(f"the connection broke off at {done} of {total} bytes")


def _opened(address: str, start: int, version: str | None) -> http.client.HTTPResponse:
    """Return the server's answer, from byte `start` on if it can and its file is still the same."""
    headers = {"User-Agent": "spairc", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if version and not version.startswith("W/"):  # a weak one may not stand here
            headers["If-Range"] = version
    request = urllib.request.Request(address, headers=headers)  # noqa: S310 -- `_file_name` checked it
    answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_PATIENCE)  # noqa: S310 -- as above
    return answer


def _total(response: http.client.HTTPResponse, start: int) -> int:
    """Return the whole file's length; 0 where the server does not tell."""
    if start:
        span, _, total = response.headers.get("Content-Range", "").partition("/")
        if not span.startswith(f"bytes {start}-") or not total.isdecimal():
            raise http.client.HTTPException("the server sent another part than was asked for")
        return int(total)
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else 0


def _append(
    response: http.client.HTTPResponse, part: Path, start: int, watch: Callable[[int], None]
) -> int:
    """Write what the server sends behind the first `start` bytes; return the length then."""
    with explained(part):
        file = part.open("ab")
    with file:
        done = start
        watch(done)
        while block := response.read(_BLOCK):
            with explained(part):
                file.write(block)
                file.flush()
            done += len(block)
            watch(done)
    return done


def _check_space(part: Path, start: int, total: int) -> None:
    """Raise BadInput if the rest and what it unpacks to, at least as much again, will not fit."""
    free = shutil.disk_usage(part.parent).free
    need = 2 * total - start
    if need > free:
        raise BadInput(
            f"no space left in {part.parent}: {need / 1e9:.2f} GB are needed and {free / 1e9:.2f} "
            f"GB are free; free some or choose another folder with --to"
        )


def _record_of(part: Path) -> Path:
    """Return where it stands what the bytes so far belong to."""
    return part.with_name(f"{part.name}.json")


def _record(part: Path, address: str) -> dict[str, Any]:
    """Return what the bytes so far belong to; nothing if that is unknown or something else."""
    try:
        known = json.loads(_record_of(part).read_bytes())
    except (OSError, ValueError):
        return {}
    matches = isinstance(known, dict) and known.get("address") == address and known.get("length")
    return known if matches and part.exists() else {}


def _length(path: Path) -> int:
    """Return how many bytes a file has; 0 if it is not there."""
    return path.stat().st_size if path.exists() else 0


def _doing(part: Path) -> str:
    """Return what to call a transfer."""
    return f"fetch {part.name.removesuffix('.part')}"


def _hash(path: Path, progress: Progress) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    total = path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            progress(f"check {path.name}", file.tell(), total)
    return digest.hexdigest()
