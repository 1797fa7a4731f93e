"""Any folder of pictures, and any batch, is corrupted by the same engine."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

import spairc
from spairc.cli import main
from spairc.corrupt_folder import corrupt_batch, pictures_of
from spairc.corruptions import corrupt
from spairc.images import read_image
from spairc.manifest import MANIFEST, read_entries, verify
from spairc.types import BadInput, Image

NAMES = ("beach.jpg", "days/two/sea.png", "days/hut.webp")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures in nested folders, and a text."""
    root = tmp_path / "holiday"
    for number, name in enumerate(NAMES):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(picture(number)).save(path)
    (root / "notes.txt").write_text("mine")
    (root / ".hidden.png").write_text("no picture")
    return root


def picture(number: int) -> Image:
    """A smooth picture; each number is another one."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 7, 3)).astype(np.uint8)
    resized = PIL.Image.fromarray(coarse).resize((50 + number, 41 - number))
    return np.asarray(resized)


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_the_command_corrupts_every_picture_under_its_own_name(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, text = run("corrupt", folder, "--out", out, "--on", "fog@3", "--on", "blur@*")
    assert code == 0, text
    entries = read_entries(out / MANIFEST)
    assert len(entries) == 3 * 11
    for name in NAMES:
        key = name.rpartition(".")[0]
        expected = corrupt(read_image(folder / name), "fog", severity=3, key=key)
        np.testing.assert_array_equal(read_image(out / "fog/3" / name), expected)
        assert (out / "defocus_blur/5" / name).is_file()
    assert verify(out, root=folder) == []
    assert "holiday-C" in (out / "README.md").read_text()


def test_it_is_gone_on_with_and_other_cells_can_be_added(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("corrupt", folder, "--out", out, "--on", "fog@3")
    before = (out / "fog/3/beach.jpg").stat().st_mtime_ns
    code, _ = run("corrupt", folder, "--out", out, "--on", "fog")
    assert code == 0
    assert (out / "fog/3/beach.jpg").stat().st_mtime_ns == before
    assert len(read_entries(out / MANIFEST)) == 15


def test_other_formats_and_suffixes(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--on", "fog@3", "--format", "jpeg", "--suffix", ".jpg")
    assert run("corrupt", folder, "--out", out, *options)[0] == 0
    assert {entry.path for entry in read_entries(out / MANIFEST)} == {
        "fog/3/beach.jpg",
        "fog/3/days/two/sea.jpg",
        "fog/3/days/hut.jpg",
    }


def test_wrong_input_is_one_line(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for arguments, message in (
        ((tmp_path / "none", "--out", out), "none does not exist; give a folder of pictures"),
        ((folder / "notes.txt", "--out", out), "is a file; give a folder"),
        ((folder, "--out", folder / "c"), "is inside"),
        ((folder, "--out", out, "--on", "clean"), "nothing to build"),
        ((folder, "--out", out, "--suffix", ".gif"), "--suffix '.gif' is not png's"),
    ):
        code, text = run("corrupt", *arguments)
        assert code == 2
        assert message in " ".join(text.split())
        assert not out.exists()


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.txt").touch()
    with pytest.raises(BadInput, match="holds no pictures"):
        pictures_of(tmp_path)


def test_two_pictures_of_one_key_are_refused(folder: Path) -> None:
    (folder / "beach.png").write_bytes((folder / "beach.jpg").read_bytes())
    with pytest.raises(BadInput, match=r"beach\.jpg and beach\.png have one key, beach"):
        pictures_of(folder)


def test_a_small_or_damaged_picture_is_named(folder: Path) -> None:
    PIL.Image.new("RGB", (31, 90)).save(folder / "thin.png")
    with pytest.raises(BadInput, match=r"thin\.png is 31 x 90; spairc needs 32 x 32"):
        pictures_of(folder)
    (folder / "thin.png").write_bytes(b"none")
    with pytest.raises(BadInput, match=r"thin\.png cannot be read"):
        pictures_of(folder)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_batch_is_what_its_pictures_are_one_by_one(threads: int) -> None:
    images, keys = [picture(number) for number in range(5)], list("abcde")
    batch = corrupt_batch(images, "snow", severity=2, keys=keys, threads=threads)
    for image, key, found in zip(images, keys, batch, strict=True):
        np.testing.assert_array_equal(found, corrupt(image, "snow", severity=2, key=key))


def test_an_array_is_a_batch_too() -> None:
    images = np.stack([picture(0), picture(0)])
    one, other = spairc.corrupt_batch(images, "shot_noise", severity=1, keys=["a", "b"])  # type: ignore[arg-type]  # an array is a sequence
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("keys", [["a"], ["a", "a"], ["a", "b", "c"]])
def test_each_picture_of_a_batch_needs_a_key_of_its_own(keys: list[str]) -> None:
    with pytest.raises(BadInput, match=r"2 pictures and \d different keys; give each its own"):
        corrupt_batch([picture(0), picture(1)], "fog", severity=1, keys=keys)


def test_a_wrong_corruption_or_number_of_threads_is_refused() -> None:
    with pytest.raises(BadInput, match="no corruption is called 'fgo'"):
        corrupt_batch([picture(0)], "fgo", severity=1, keys=["a"])
    with pytest.raises(BadInput, match="threads is 0; give 1 or more"):
        corrupt_batch([picture(0)], "fog", severity=1, keys=["a"], threads=0)
