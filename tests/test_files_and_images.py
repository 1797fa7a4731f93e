"""Files are whole or absent, names stay in their folder, pictures are read as the loaders do."""

import errno
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from spairc.files import inside, make_folder, write_text, written_whole
from spairc.images import image_size, joint_hash, pixel_hash, read_image, write_png
from spairc.types import BadInput, Image, Size


def gradient(height: int = 33, width: int = 47) -> Image:
    """A picture in which no two rows, columns or channels are alike."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 5, columns * 3, rows + columns], axis=2).astype(np.uint8)


def names(folder: Path) -> list[str]:
    """What a folder holds."""
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b.txt", "ä\n")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "ä\n".encode()
    assert names(tmp_path / "a") == ["b.txt"]


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), written_whole(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "no space left"), (errno.EROFS, "read-only"), (errno.EDQUOT, "quota")],
)
def test_what_the_disk_refuses_is_said_in_one_line(
    tmp_path: Path, number: int, advice: str
) -> None:
    with pytest.raises(BadInput, match=advice), written_whole(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise OSError(number, "from the system")
    assert names(tmp_path) == []


def test_an_unexpected_system_error_is_no_bad_input(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="I/O"), written_whole(tmp_path / "a.txt"):
        raise OSError(errno.EIO, "I/O")


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"cannot write .*file"):
        make_folder(tmp_path / "file")
    with pytest.raises(BadInput, match="a part of this path is a file"):
        make_folder(tmp_path / "file" / "below")


@pytest.mark.parametrize("name", ["a.jpg", "car/a.jpg", "car(G)/a b.jpg", "..a/b"])
def test_plain_names_stay_in_their_folder(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path, name, where="list").is_relative_to(tmp_path)


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/passwd", "", "a\\b", "a\0b", "C:/x", "a/.."]
)
def test_a_name_that_leaves_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match=r"list: the file name .* leaves its folder"):
        inside(tmp_path, name, where="list")


def test_a_png_gives_the_same_pixels_back(tmp_path: Path) -> None:
    write_png(tmp_path / "a.jpg", gradient())  # the content counts, not the suffix
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), gradient())
    assert image_size(tmp_path / "a.jpg") == Size(47, 33)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_other_kinds_of_pictures_are_read_as_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "tif" if mode == "CMYK" else "png"
    path = tmp_path / f"a.{suffix}"
    PIL.Image.fromarray(gradient()).convert(mode).save(path)
    image = read_image(path)
    assert image.shape == (33, 47, 3)
    assert image.dtype == np.uint8
    expected = np.asarray(PIL.Image.fromarray(gradient()).convert(mode).convert("RGB"))
    np.testing.assert_array_equal(image, expected)


def test_a_16_bit_picture_keeps_its_upper_8_bits(tmp_path: Path) -> None:
    deep = (gradient()[..., 0].astype(np.uint16) << 8) + 200
    PIL.Image.fromarray(deep).save(tmp_path / "deep.png")
    expected = np.repeat(gradient()[..., :1], 3, axis=2)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), expected)


def test_an_exif_orientation_is_not_applied(tmp_path: Path) -> None:
    picture = PIL.Image.fromarray(gradient())
    exif = picture.getexif()
    exif[0x0112] = 6  # rotated by 90 degrees
    picture.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), gradient())


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"a\.jpg is missing; complete the dataset"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_picture_that_was_cut_short_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    PIL.Image.fromarray(gradient(200, 300)).save(path)
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(BadInput, match=rf"cut\.{suffix} cannot be read .*; fetch it again"):
        read_image(path)


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no picture")
    with pytest.raises(BadInput, match=r"a\.jpg cannot be read"):
        read_image(tmp_path / "a.jpg")


def test_a_header_that_claims_an_absurd_size_is_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    write_png(path, gradient())
    data = bytearray(path.read_bytes())
    data[16:24] = (50_000).to_bytes(4, "big") * 2  # IHDR's width and height
    path.write_bytes(data)
    with pytest.raises(BadInput, match=r"bomb\.png"):
        read_image(path)


def test_the_pixel_hash_knows_the_shape() -> None:
    image = gradient(34, 46)
    assert pixel_hash(image) != pixel_hash(image.reshape(46, 34, 3))
    assert pixel_hash(image) == pixel_hash(np.asfortranarray(image))


def test_the_joint_hash_does_not_depend_on_order() -> None:
    assert joint_hash({"a": "1", "b": "2"}) == joint_hash({"b": "2", "a": "1"})
    assert joint_hash({"a": "1", "b": "2"}) != joint_hash({"a": "2", "b": "1"})
