"""A build that is killed, starved or disturbed leaves no half file and can be gone on with."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from spairc.build import build
from spairc.corruptions import corrupt
from spairc.datasets import load_dataset
from spairc.datasets.dataset import Dataset
from spairc.engine import Engine, Here, Processes
from spairc.images import read_image
from spairc.lock import locked
from spairc.manifest import LOCK, MANIFEST, PARTS, verify
from spairc.spec import parse_conditions
from spairc.types import BadInput, Condition

CELLS = parse_conditions("digital@5")
FOG = Condition("fog", 3)


@pytest.fixture
def dataset(tiny_root: Path) -> Dataset:
    """Eight pairs over five pictures in two categories."""
    return load_dataset("spair71k", tiny_root)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a built set, annotations apart."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def command(root: Path, out: Path, *patterns: str) -> list[str]:
    """`spairc build` of these cells, by two workers."""
    program = "from spairc.cli import main; main()"
    options = ["--root", str(root), "--out", str(out), "--workers", "2"]
    options += [f"--on={pattern}" for pattern in patterns]
    return [sys.executable, "-c", program, "build", *options]


def killed(arguments: list[str], after: float, *, workers_too: bool) -> bool:
    """Run a command and kill it; return whether it was still running."""
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        time.sleep(after)
        running = process.poll() is None
        if running and workers_too:
            os.killpg(process.pid, signal.SIGKILL)
        elif running:
            process.kill()
    return running


@pytest.mark.parametrize(
    ("kills", "cells"),
    [
        pytest.param(3, ["digital@5"], id="3"),
        pytest.param(20, ["*@1", "*@3", "*@5"], id="20", marks=pytest.mark.slow),
    ],
)
def test_killed_at_random_moments_it_ends_as_an_undisturbed_build(
    tiny_root: Path, tmp_path: Path, kills: int, cells: list[str]
) -> None:
    begun = time.monotonic()
    subprocess.run(command(tiny_root, tmp_path / "whole", *cells), check=True, capture_output=True)
    length = time.monotonic() - begun
    chance, out, done = random.Random(kills), tmp_path / "built", 0  # noqa: S311 -- moments, no secrets
    while done < kills:
        moment, workers_too = chance.uniform(0.3, 1) * length, chance.random() < 0.5
        if killed(command(tiny_root, out, *cells), moment, workers_too=workers_too):
            done += 1
        else:  # the first build was slower, for it prepared the kernels, or the machine was busy
            length *= 0.7
        if (out / MANIFEST).exists():  # it was complete: begin again
            shutil.rmtree(out)
    subprocess.run(command(tiny_root, out, *cells), check=True, capture_output=True)
    assert contents(out) == contents(tmp_path / "whole")
    assert verify(out) == []


def test_a_half_written_file_of_a_killed_build_is_swept_away(
    dataset: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "built"
    build(dataset, tmp_path / "whole", CELLS)
    with pytest.raises(KeyboardInterrupt):
        build(dataset, out, CELLS, watch=_interrupt)
    for name in ("contrast/5/JPEGImages/duck/.d.jpg.k2x_9.part", ".manifest.parquet.q.part"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(b"half")
    (out / LOCK).write_text("process 999999 on nowhere\n")
    build(dataset, out, CELLS)
    assert contents(out) == contents(tmp_path / "whole")


def test_what_a_worker_that_was_replaced_left_behind_is_swept_away(
    dataset: Dataset, tmp_path: Path
) -> None:
    out, left = tmp_path / "built", "contrast/5/JPEGImages/car/.a.jpg.k2x_9.part"
    build(dataset, out, CELLS, watch=lambda _: (out / left).write_bytes(b"half"))
    build(dataset, tmp_path / "whole", CELLS)
    assert contents(out) == contents(tmp_path / "whole")


def test_the_owners_own_hidden_files_are_not_swept_away(dataset: Dataset, tmp_path: Path) -> None:
    build(dataset, tmp_path / "built", CELLS[:1])
    mine = tmp_path / "built/brightness/5/JPEGImages/duck/.notes.txt.part"
    mine.write_text("mine")
    build(dataset, tmp_path / "built", CELLS)
    assert mine.read_text() == "mine"


@contextmanager
def memory_disk(place: Path, options: str) -> Iterator[Path]:
    """A small file system of its own; skips where one may not be mounted."""
    place.mkdir()
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        yield place
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(place)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
@pytest.mark.parametrize("engine", [Here(), Processes(2)], ids=str)
def test_a_disk_that_fills_up_is_one_line_and_leaves_no_half_file(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    plenty = shutil._ntuple_diskusage(9, 0, 10**12)  # the only way to make one
    monkeypatch.setattr(shutil, "disk_usage", lambda _: plenty)  # others fill it meanwhile
    with memory_disk(tmp_path / "disk", "size=120k") as disk:
        with pytest.raises(BadInput, match=r"cannot write .*: no space left; free some, then run"):
            build(dataset, disk / "built", CELLS, engine=engine)
        _check_no_half_file(dataset, disk / "built")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_write_that_fails_half_way_leaves_no_half_file_and_is_gone_on_with(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    plain, calls = Path.write_bytes, []

    def failing(path: Path, data: bytes) -> int:
        calls.append(path)
        if len(calls) < 13:
            return plain(path, data)
        plain(path, data[: len(data) // 2])
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", failing)
        with pytest.raises(BadInput, match="free some"):
            build(dataset, tmp_path / "built", CELLS)
    _check_no_half_file(dataset, tmp_path / "built")
    build(dataset, tmp_path / "built", CELLS)
    build(dataset, tmp_path / "whole", CELLS)
    assert contents(tmp_path / "built") == contents(tmp_path / "whole")


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_a_read_only_folder_is_one_line(dataset: Dataset, tmp_path: Path) -> None:
    with (
        memory_disk(tmp_path / "disk", "size=250k,ro") as disk,
        pytest.raises(BadInput, match=r"built: the file system is read-only; choose another"),
    ):
        build(dataset, disk / "built", CELLS)


def test_two_builds_into_one_folder_at_once_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    out, before = tmp_path / "built", f"is being written by process {os.getpid()} on "
    build(dataset, out, CELLS[:1])
    held = contents(out)
    with locked(out / LOCK):
        with pytest.raises(BadInput, match=before):
            build(dataset, out, CELLS)
        with pytest.raises(BadInput, match=before):
            build(dataset, out, CELLS, shard="1/2")
    assert contents(out) == held
    build(dataset, out, CELLS)


def test_the_lock_of_a_process_that_is_gone_is_taken_over(dataset: Dataset, tmp_path: Path) -> None:
    build(dataset, tmp_path / "built", CELLS[:1])
    (tmp_path / "built" / LOCK).write_text("process 999999 on nowhere\n")
    build(dataset, tmp_path / "built", CELLS)
    assert not (tmp_path / "built" / LOCK).exists()


def test_a_picture_that_changes_during_the_build_is_named(dataset: Dataset, tmp_path: Path) -> None:
    path = dataset.path("car/c")

    def meddle(key: str) -> None:
        if key == "car/a":
            PIL.Image.fromarray(255 - read_image(path)).save(path, format="PNG")

    with pytest.raises(BadInput, match=r"c\.jpg changed during the build"):
        build(dataset, tmp_path / "built", CELLS, watch=meddle)
    assert not list((tmp_path / "built").rglob("c.jpg"))


def test_a_picture_that_is_being_written_during_the_build_is_named(
    dataset: Dataset, tmp_path: Path
) -> None:
    path = dataset.path("car/c")
    half = path.read_bytes()[:-300]
    with pytest.raises(BadInput, match=r"c\.jpg changed during the build"):
        build(dataset, tmp_path / "built", CELLS, watch=lambda _: path.write_bytes(half))
    assert not list((tmp_path / "built").rglob("c.jpg"))


def test_a_killed_copy_of_annotations_is_begun_again(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "built"
    build(dataset, out, CELLS[:1], copy=True)
    shutil.rmtree(out / "brightness/5/Layout")
    unfinished = out / "brightness/5/.Layout.copy.part"
    unfinished.mkdir()
    (unfinished / "half").touch()
    build(dataset, out, CELLS[:1], copy=True)
    assert (out / "brightness/5/Layout/large/test.txt").is_file()
    assert not unfinished.exists()


def sixteen_bit(picture: PIL.Image.Image) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)


KINDS: dict[str, tuple[Callable[[PIL.Image.Image], PIL.Image.Image], str]] = {
    "CMYK": (lambda picture: picture.convert("CMYK"), "JPEG"),
    "palette": (lambda picture: picture.convert("P"), "PNG"),
    "grey": (lambda picture: picture.convert("L"), "JPEG"),
    "black and white": (lambda picture: picture.convert("1"), "PNG"),
    "16 bits": (sixteen_bit, "PNG"),
    "transparent": (lambda picture: picture.convert("RGBA"), "PNG"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_unusual_pictures_are_built_from_what_read_image_makes_of_them(
    dataset: Dataset, tmp_path: Path, kind: str
) -> None:
    convert, form = KINDS[kind]
    path = dataset.path("car/a")
    picture = PIL.Image.fromarray(read_image(path))
    convert(picture).save(path, format=form)
    build(dataset, tmp_path / "built", [FOG])
    expected = corrupt(read_image(path), "fog", severity=3, key="car/a")
    np.testing.assert_array_equal(
        read_image(tmp_path / "built/fog/3/JPEGImages/car/a.jpg"), expected
    )
    assert np.abs(read_image(path).mean() - np.asarray(picture.convert("L")).mean()) < 12


def test_an_orientation_in_the_file_is_not_applied_and_not_passed_on(
    dataset: Dataset, tmp_path: Path
) -> None:
    path = dataset.path("car/a")
    stored, exif = read_image(path), PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    PIL.Image.fromarray(stored).save(path, format="PNG", exif=exif)
    build(dataset, tmp_path / "built", [FOG])
    built = tmp_path / "built/fog/3/JPEGImages/car/a.jpg"
    np.testing.assert_array_equal(
        read_image(built), corrupt(stored, "fog", severity=3, key="car/a")
    )
    with PIL.Image.open(built) as picture:
        assert not picture.getexif()


@pytest.mark.parametrize("size", [(31, 40), (61, 31), (1, 1)])
def test_a_picture_that_is_too_small_is_refused_in_one_line(
    dataset: Dataset, tmp_path: Path, size: tuple[int, int]
) -> None:
    PIL.Image.new("RGB", size).save(dataset.path("car/a"))
    with pytest.raises(BadInput, match=rf"a\.jpg is {size[0]} x {size[1]}; .* needs 32 x 32") as no:
        build(dataset, tmp_path / "built", [FOG])
    assert "\n" not in str(no.value)
    assert not (tmp_path / "built").exists()


def _interrupt(_: str) -> None:
    raise KeyboardInterrupt


def _check_no_half_file(dataset: Dataset, out: Path) -> None:
    """Every picture of an unfinished build is a whole one, and nothing hidden lies around."""
    pictures = list(out.rglob("*.jpg"))
    assert pictures
    for path in pictures:
        corruption, severity, _, category, name = path.relative_to(out).parts
        key = f"{category}/{Path(name).stem}"
        clean = read_image(dataset.path(key))
        expected = corrupt(clean, corruption, severity=int(severity), key=key)
        np.testing.assert_array_equal(read_image(path), expected)
    hidden = {path.name for path in out.rglob(".*")}
    assert hidden <= {PARTS}
