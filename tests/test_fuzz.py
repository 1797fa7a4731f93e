"""No damaged file brings spairc down: a short form of `tests/fuzz.py`, and what it looks for."""

import random
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from spairc.types import BadInput
from spairc.unpack import unpack

sys.path.insert(0, str(Path(__file__).parent))
import fuzz  # found by the line above

ROUNDS = 40


@pytest.fixture
def invented(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target whose reader is as bad as can be."""

    def target(folder: Path) -> tuple[Path, fuzz.Reader]:
        path = folder / "number.txt"
        path.write_text("12345")

        def read() -> int:
            text = path.read_bytes()
            if b"1" not in text:
                raise BadInput("there is no 1")
            return int(text)

        return path, read

    monkeypatch.setattr(fuzz, "TARGETS", {"invented": target})


@pytest.mark.usefixtures("invented")
def test_a_reader_that_falls_over_is_found() -> None:
    found = fuzz.tally("invented", 60)
    assert found.tried == 60
    assert found.read + found.refused + found.faults == 60
    assert min(found.read, found.refused, found.faults) > 0
    assert "ValueError" in found.first_fault


def test_the_same_seed_damages_the_same_way() -> None:
    one, other, third = (
        fuzz.damaged(b"123 abc" * 9, random.Random(seed))  # noqa: S311 -- damage is no secret
        for seed in "aab"
    )
    assert one == other
    assert one != third


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_a_damaged_file_is_read_or_refused_in_a_line(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPAIRC_CACHE", str(tmp_path))
    # Some targets are read by libraries that might end the process: they had one of their own in
    # the long form, and were never seen to.
    found = fuzz.tally(name, ROUNDS, seed=1)
    assert found.faults == 0, found.first_fault
    assert found.refused + found.read == ROUNDS


@pytest.mark.slow
@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_a_thousand_damaged_files_are_read_or_refused(name: str) -> None:
    found = fuzz.tally_apart(name, 1000, seed=2)
    assert found.faults == 0, found.first_fault


def test_an_archive_that_would_fill_the_disk_is_refused(tmp_path: Path) -> None:
    path, out = tmp_path / "bomb.zip", tmp_path / "out"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"{number}.txt", bytes(400_000_000))
    out.mkdir()
    with pytest.raises(BadInput, match="do not trust it"):
        unpack(path, out, lambda *_: None)
    assert not list(out.iterdir())


def test_a_tar_that_claims_more_than_it_has_is_refused_before_it_is_written(tmp_path: Path) -> None:
    path, out = tmp_path / "bomb.tar", tmp_path / "out"
    with path.open("wb") as file:
        for name in ("a", "b"):
            member = tarfile.TarInfo(name)
            member.size = 3_000_000_000
            file.write(member.tobuf())
            file.write(bytes(1024))
    out.mkdir()
    with pytest.raises(BadInput, match="do not trust it"):
        unpack(path, out, lambda *_: None)
    assert not list(out.iterdir())
