"""Downloads, from a server on this machine that can be told to misbehave."""

import hashlib
import http.server
import io
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Literal
from urllib.parse import unquote

import pytest

from spairc import download as module
from spairc.datasets import DATASETS, load_dataset
from spairc.download import ARCHIVES, Archive, File, download
from spairc.types import BadInput

NAME = "SPair-71k.tar.gz"


@dataclass
class Site:
    """What the server offers and how it behaves; it writes down what it was asked."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # name, Range
    cuts: list[int] = field(default_factory=list)  # bytes after which each next answer breaks off
    status: int = 0  # answer with this error
    ranges: bool = True  # part of a file may be asked for
    tells_length: bool = True
    excess: int = 0  # added to the length that is told
    version: str = '"1"'


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"  # the end of the connection ends an answer
    site: Site

    def do_GET(self) -> None:
        site = self.site
        name = unquote(self.path.rpartition("/")[2])
        asked = self.headers.get("Range")
        site.asked.append((name, asked))
        if site.status or name not in site.files:
            self.send_error(site.status or 404)
            return
        content = site.files[name]
        start = 0
        condition = self.headers.get("If-Range")
        same = condition is None or (condition == site.version and condition.startswith('"'))
        if asked and site.ranges and same:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("ETag", site.version)
        body = content[start:]
        if site.tells_length:
            self.send_header("Content-Length", str(len(body) + site.excess))
        self.end_headers()
        self.wfile.write(body[: site.cuts.pop(0)] if site.cuts else body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    monkeypatch.setattr(module, "_BLOCK", 4096)
    offered = Site()
    handler = type("OwnHandler", (Handler,), {"site": offered})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        offered.address = f"http://127.0.0.1:{server.server_address[1]}/data"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield offered
        server.shutdown()
        thread.join()


def tar(members: dict[str, bytes | tarfile.TarInfo], mode: Literal["w", "w:gz"] = "w:gz") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
            else:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def noise(length: int) -> bytes:
    """Bytes that no compression shortens."""
    return hashlib.shake_256(b"noise").digest(length)


PAIR = "PairAnnotation/test/000001-a-b:car.json"
MEMBERS = {f"SPair-71k/{PAIR}": b"{}", "SPair-71k/JPEGImages/car/a.jpg": noise(50_000)}


@pytest.fixture
def archive(site: Site) -> bytes:
    site.files[NAME] = tar(dict(MEMBERS))
    return site.files[NAME]


def refused(to: Path, address: str, sha256: str | None = None) -> str:
    """The one line that downloading stops with."""
    with pytest.raises(BadInput) as caught:
        download("spair71k", to, address=address, sha256=sha256)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_archive_is_fetched_and_unpacked_with_its_colons(
    site: Site, archive: bytes, tmp_path: Path
) -> None:
    done = download("spair71k", tmp_path, address=f"{site.address}/{NAME}")
    assert done.folder == tmp_path / "SPair-71k"
    assert (done.folder / PAIR).read_bytes() == b"{}"
    assert (done.folder / "JPEGImages/car/a.jpg").read_bytes() == noise(50_000)
    assert done.hashes == {tmp_path / NAME: hashlib.sha256(archive).hexdigest()}


def test_only_the_dataset_and_the_archive_stay(site: Site, archive: bytes, tmp_path: Path) -> None:
    download("spair71k", tmp_path / "new", address=f"{site.address}/{NAME}")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["SPair-71k", NAME]
    assert (tmp_path / "new" / NAME).read_bytes() == archive


def test_progress_is_told_from_start_to_end(site: Site, archive: bytes, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    download(
        "spair71k",
        tmp_path,
        address=f"{site.address}/{NAME}",
        progress=lambda *news: told.append(news),
    )
    size = len(archive)
    assert told[0] == (f"fetch {NAME}", 0, size)
    for step in ("fetch", "check", "unpack"):
        done = [each for each in told if each[0] == f"{step} {NAME}"]
        assert done == sorted(done, key=lambda each: each[1])
        assert done[-1] == (f"{step} {NAME}", size, size)


def test_a_cut_connection_is_taken_up_again_where_it_broke(
    site: Site, archive: bytes, tmp_path: Path
) -> None:
    site.cuts = [10_000, 7_000]
    done = download("spair71k", tmp_path, address=f"{site.address}/{NAME}")
    assert [asked for _, asked in site.asked] == [None, "bytes=10000-", "bytes=17000-"]
    assert done.hashes[tmp_path / NAME] == hashlib.sha256(archive).hexdigest()


def test_a_later_run_goes_on_where_an_earlier_one_stopped(
    site: Site, archive: bytes, tmp_path: Path
) -> None:
    class Stopped(BaseException):
        pass

    def stop(step: str, done: int, total: int) -> None:
        if step == f"fetch {NAME}" and done > 20_000:
            raise Stopped(total)

    with pytest.raises(Stopped):
        download("spair71k", tmp_path, address=f"{site.address}/{NAME}", progress=stop)
    kept = (tmp_path / f"{NAME}.part").stat().st_size
    assert kept > 20_000
    download("spair71k", tmp_path, address=f"{site.address}/{NAME}")
    assert site.asked[1:] == [(NAME, f"bytes={kept}-")]
    assert (tmp_path / NAME).read_bytes() == archive


def stop_after(site: Site, to: Path, count: int) -> None:
    """Leave that many bytes of the archive, as a broken run does."""
    site.cuts = [count, 0, 0, 0, 0]
    assert f"{count} bytes are kept: run again to go on" in refused(to, f"{site.address}/{NAME}")
    site.cuts = []
    site.asked.clear()


def test_a_file_that_changed_on_the_server_is_fetched_from_the_start(
    site: Site, tmp_path: Path
) -> None:
    site.files[NAME] = tar({"SPair-71k/a": bytes(40_000)}, mode="w")
    stop_after(site, tmp_path, 9_000)
    site.files[NAME], site.version = tar({"SPair-71k/a": noise(40_000)}, mode="w"), '"2"'
    done = download("spair71k", tmp_path, address=f"{site.address}/{NAME}")
    assert [asked for _, asked in site.asked] == ["bytes=9000-"]
    assert (done.folder / "a").read_bytes() == noise(40_000)


@pytest.mark.usefixtures("archive")
def test_a_changed_length_is_noticed_where_the_server_tells_no_version(
    site: Site, tmp_path: Path
) -> None:
    site.version = 'W/"weak"'
    stop_after(site, tmp_path, 9_000)
    site.files[NAME] = tar({"SPair-71k/new": noise(40_000)})
    download("spair71k", tmp_path, address=f"{site.address}/{NAME}")
    assert [asked for _, asked in site.asked] == ["bytes=9000-", None]
    assert (tmp_path / NAME).read_bytes() == site.files[NAME]


@pytest.mark.usefixtures("archive")
def test_bytes_from_another_address_are_not_mixed_in(site: Site, tmp_path: Path) -> None:
    stop_after(site, tmp_path, 9_000)
    download("spair71k", tmp_path, address=f"{site.address}/mirror/{NAME}")
    assert site.asked == [(NAME, None)]


@pytest.mark.usefixtures("archive")
def test_bytes_of_unknown_origin_are_not_built_upon(site: Site, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(b"something else")
    download("spair71k", tmp_path, address=f"{site.address}/{NAME}")
    assert site.asked == [(NAME, None)]
    assert (tmp_path / NAME).read_bytes() == site.files[NAME]


@pytest.mark.usefixtures("archive")
def test_a_server_without_ranges_is_asked_for_the_whole_again(site: Site, tmp_path: Path) -> None:
    site.ranges, site.cuts = False, [9_000]
    download("spair71k", tmp_path, address=f"{site.address}/{NAME}")
    assert [asked for _, asked in site.asked] == [None, "bytes=9000-"]
    assert (tmp_path / NAME).read_bytes() == site.files[NAME]


@pytest.mark.usefixtures("archive")
def test_a_server_that_tells_no_length_is_believed_at_the_end(site: Site, tmp_path: Path) -> None:
    site.tells_length = False
    download("spair71k", tmp_path, address=f"{site.address}/{NAME}")
    assert (tmp_path / NAME).read_bytes() == site.files[NAME]


def test_a_file_shorter_than_the_server_tells_is_not_accepted(
    site: Site, archive: bytes, tmp_path: Path
) -> None:
    site.excess = 5
    message = refused(tmp_path, f"{site.address}/{NAME}")
    assert "cannot be fetched" in message
    assert not (tmp_path / NAME).exists()
    assert len(site.asked) < 10
    assert len(archive) > 0


def test_a_complete_part_is_not_asked_for_again(site: Site, archive: bytes, tmp_path: Path) -> None:
    stop_after(site, tmp_path, 9_000)
    (tmp_path / f"{NAME}.part").write_bytes(archive)  # killed between last byte and last name
    download("spair71k", tmp_path, address=f"{site.address}/{NAME}")
    assert site.asked == []


def test_an_archive_that_is_there_is_unpacked_without_a_network(
    archive: bytes, tmp_path: Path
) -> None:
    (tmp_path / NAME).write_bytes(archive)
    done = download("spair71k", tmp_path)
    assert (done.folder / PAIR).exists()


def test_a_dataset_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "SPair-71k").mkdir()
    message = refused(tmp_path, f"http://127.0.0.1:9/{NAME}")
    assert f"{tmp_path}/SPair-71k is there already" in message


@pytest.mark.usefixtures("archive")
@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_refusal_of_the_server_is_told_with_the_remedy(
    site: Site, tmp_path: Path, status: int
) -> None:
    site.status = status
    message = refused(tmp_path, f"{site.address}/{NAME}")
    assert f"the server answered {status}" in message
    assert "fetch it by hand from https://cvlab.postech.ac.kr/research/SPair-71k/" in message
    assert (len(site.asked) == 1) == (status < 500)  # what may pass is tried again


def test_no_network_is_told_with_the_remedy(site: Site, tmp_path: Path) -> None:
    assert site.address
    message = refused(tmp_path, f"http://127.0.0.1:9/{NAME}")  # the discard port: nobody listens
    assert "Connection refused" in message
    assert "try --address" in message


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("file:///etc/passwd", "is none of the web"),
        ("ftp://host/SPair-71k.tar.gz", "is none of the web"),
        ("SPair-71k.tar.gz", "is none of the web"),
        ("https://host/", "names no file"),
        ("https://host/..", "names no file"),
        ("https://host/%2e%2e", "names no file"),
    ],
)
def test_an_address_that_cannot_be_is_refused(tmp_path: Path, address: str, complaint: str) -> None:
    assert complaint in refused(tmp_path, address)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_checksum_is_told_and_nothing_unpacked(
    site: Site, archive: bytes, tmp_path: Path
) -> None:
    message = refused(tmp_path, f"{site.address}/{NAME}", sha256="0" * 64)
    assert f"has SHA-256 {hashlib.sha256(archive).hexdigest()} and not {'0' * 64}" in message
    assert not (tmp_path / "SPair-71k").exists()


def test_a_right_checksum_may_be_in_capitals(site: Site, archive: bytes, tmp_path: Path) -> None:
    wanted = hashlib.sha256(archive).hexdigest().upper()
    assert download("spair71k", tmp_path, address=f"{site.address}/{NAME}", sha256=wanted).hashes


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> dict[str, tarfile.TarInfo]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return {name: member}


def device(name: str) -> dict[str, tarfile.TarInfo]:
    member = tarfile.TarInfo(name)
    member.type = tarfile.CHRTYPE
    return {name: member}


@pytest.mark.parametrize(
    "member",
    [
        {"../outside": b"x"},
        {"SPair-71k/../../outside": b"x"},
        link("SPair-71k/link", "../../outside"),
        link("SPair-71k/link", "/etc/passwd"),
        link("SPair-71k/link", "../outside", tarfile.LNKTYPE),
        device("SPair-71k/null"),
    ],
    ids=["parent", "parent inside", "link", "absolute link", "hard link", "device"],
)
def test_an_archive_that_reaches_outside_is_refused_whole(
    site: Site, tmp_path: Path, member: dict[str, bytes | tarfile.TarInfo]
) -> None:
    site.files[NAME] = tar({**MEMBERS, **member})
    to = tmp_path / "below" / "to"
    assert f"{to / NAME} is not unpacked" in refused(to, f"{site.address}/{NAME}")
    assert [path.name for path in to.iterdir()] == [NAME]
    assert not (tmp_path / "outside").exists()
    assert not (tmp_path / "below/outside").exists()


def zip_link() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        member = zipfile.ZipInfo("PF-dataset/link")
        member.external_attr = 0o120777 << 16
        archive.writestr(member, "/etc/passwd")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (zipped({"PF-dataset/a": b"a", "../outside": b"x"}), "'../outside' leaves its folder"),
        (zipped({"PF-dataset/a": b"a", "/outside": b"x"}), "'/outside' leaves its folder"),
        (zip_link(), "it holds the link PF-dataset/link"),
    ],
)
def test_a_zip_that_reaches_outside_is_refused_whole(
    site: Site, tmp_path: Path, content: bytes, complaint: str
) -> None:
    site.files["set.zip"] = content
    to = tmp_path / "to"
    assert complaint in refused(to, f"{site.address}/set.zip")
    assert [path.name for path in to.iterdir()] == ["set.zip"]
    assert not (tmp_path / "outside").exists()


def middle_changed(content: bytes) -> bytes:
    half = len(content) // 2
    return content[:half] + bytes(99) + content[half + 99 :]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>log in first</html>",
        tar(dict(MEMBERS))[:-20_000],
        middle_changed(tar(dict(MEMBERS))),
        middle_changed(zipped(dict(MEMBERS))),
        zipped(dict(MEMBERS))[:-9],
    ],
    ids=["empty", "page", "tar cut", "tar changed", "zip changed", "zip cut"],
)
def test_a_damaged_archive_is_told_and_nothing_stays_unpacked(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / NAME).write_bytes(content)
    message = refused(tmp_path, f"http://127.0.0.1:9/{NAME}")
    assert f"{tmp_path / NAME} is damaged" in message
    assert "delete it and run again" in message
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.usefixtures("archive")
def test_too_little_space_is_told_before_the_transfer(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=len("small")))
    assert "no space left" in refused(tmp_path, f"{site.address}/{NAME}")
    assert not (tmp_path / f"{NAME}.part").exists()


def test_what_a_killed_unpacking_left_is_cleared(archive: bytes, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(archive)
    left = tmp_path / ".SPair-71k.unpacking/SPair-71k/half"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    done = download("spair71k", tmp_path)
    assert not (done.folder / "half").exists()
    assert not left.exists()


def test_an_archive_without_a_folder_of_its_own_gets_one(archive: bytes, tmp_path: Path) -> None:
    assert archive
    (tmp_path / NAME).write_bytes(tar({"Layout/a": b"1", "JPEGImages/b": b"2"}))
    assert (download("spair71k", tmp_path).folder / "Layout/a").read_bytes() == b"1"


def test_willow_comes_as_zip_and_list_and_opens(
    site: Site, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shared / "data/PF-WILLOW"
    content = {
        f"PF-dataset/{path.relative_to(real)}": path.read_bytes()
        for path in sorted(real.glob("*/*"))
    }
    site.files["PF-dataset.zip"] = zipped(content | {"__MACOSX/PF-dataset/._x": b""})
    site.files["test_pairs_pf.csv"] = (real / "test_pairs.csv").read_bytes()
    local = Archive(
        folder="PF-WILLOW",
        page="https://example.org",
        archive=File(f"{site.address}/PF-dataset.zip"),
        lists={"test_pairs.csv": File(f"{site.address}/test_pairs_pf.csv")},
    )
    monkeypatch.setitem(ARCHIVES, "pf-willow", local)
    done = download("pf_willow", tmp_path)
    assert (tmp_path / "PF-WILLOW/car(G)").is_dir()
    assert len(load_dataset("pf-willow", done.folder)) == 900


def test_the_checksums_of_the_pascal_lists_are_those_of_the_files(shared: Path) -> None:
    for name, file in ARCHIVES["pf-pascal"].lists.items():
        content = (shared / "data/PF-PASCAL-pairs" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file.sha256


def test_every_dataset_can_be_fetched() -> None:
    assert list(ARCHIVES) == list(DATASETS)


def test_an_unknown_dataset_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no dataset is called 'spair'; did you mean 'spair71k'"):
        download("spair", tmp_path)
