"""The datasets by name, the pictures' own check, and the cache of parsed lists."""

import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from spairc.datasets import DATASETS, Source, load_dataset
from spairc.datasets.check import check_pictures
from spairc.datasets.index import cached_table
from spairc.files import cache_folder
from spairc.images import pixel_hash, read_image
from spairc.pairs import PairTable, table_of
from spairc.types import BadInput, Box, Pair, Size


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("spair", "test", "large"), "no dataset is called 'spair'; did you mean 'spair71k'?"),
        (("coco", "test", "large"), "choose from spair71k, pf-pascal, pf-willow"),
        (("spair71k", "train", "large"), "no spair71k split is called 'train'; did you mean 'trn'"),
        (("pf-willow", "val", "large"), "no pf-willow split is called 'val'; choose from test"),
        (("spair71k", "test", "tiny"), "no spair71k layout is called 'tiny'; choose from large, s"),
        (("pf-willow", "test", "small"), "no pf-willow layout is called 'small'; choose from"),
    ],
)
def test_what_does_not_exist_is_refused_before_the_disk_is_touched(
    arguments: tuple[str, str, str], complaint: str
) -> None:
    name, split, layout = arguments
    with pytest.raises(BadInput, match=complaint.replace("?", r"\?")):
        load_dataset(name, "/nowhere", split=split, layout=layout)


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_root_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"dataset folder {tmp_path / 'gone'} does not exist"):
        load_dataset(name, tmp_path / "gone")


@pytest.mark.parametrize("name", DATASETS)
def test_an_empty_root_is_refused_with_the_command_that_fills_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"spairc download {name} --to DIR"):
        load_dataset(name, tmp_path)


@pytest.mark.parametrize("source", DATASETS.values(), ids=DATASETS)
def test_a_dataset_says_what_it_is_in_one_line(source: Source) -> None:
    assert source.description
    assert "\n" not in source.description
    assert source.page.startswith("https://")


def test_a_name_may_be_written_with_an_underline(shared: Path) -> None:
    assert load_dataset("pf_willow", shared / "data/PF-WILLOW").name == "pf-willow"


def test_the_root_may_be_text(tiny_root: Path) -> None:
    assert load_dataset("spair71k", str(tiny_root)).root == tiny_root


def test_slices_and_selections_keep_what_the_dataset_is(tiny_root: Path) -> None:
    dataset = load_dataset("spair71k", tiny_root)
    assert [pair.id for pair in dataset[2:4]] == [pair.id for pair in dataset][2:4]
    assert dataset[2:4].path("car/a") == dataset.path("car/a")


# Pictures


def test_every_picture_of_the_list_is_hashed_once(tiny_root: Path) -> None:
    dataset = load_dataset("spair71k", tiny_root)
    found = check_pictures(dataset)
    assert list(found) == ["car/a", "car/b", "car/c", "duck/d", "duck/e"]
    assert found["duck/d"] == pixel_hash(read_image(tiny_root / "JPEGImages/duck/d.jpg"))


def test_pictures_that_no_pair_names_are_not_opened(tiny_root: Path) -> None:
    (tiny_root / "JPEGImages/car/spare.jpg").write_bytes(b"no picture")
    assert len(check_pictures(load_dataset("spair71k", tiny_root))) == 5


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def shrink(path: Path) -> None:
    PIL.Image.new("RGB", (31, 45)).save(path)


def turn(path: Path) -> None:
    PIL.Image.new("RGB", (45, 58)).save(path)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (cut, "cannot be read (image file is truncated"),
        (empty, "cannot be read (cannot identify image file"),
        (shrink, "is 31 x 45; spairc needs 32 x 32"),
        (turn, "is 45 x 58 but annotated as 58 x 45"),
        (Path.unlink, "is missing"),
    ],
)
def test_the_first_bad_picture_in_the_order_of_keys_is_named(
    tiny_root: Path, damage: Callable[[Path], None], complaint: str
) -> None:
    dataset = load_dataset("spair71k", tiny_root)
    for name in ("car/c.jpg", "duck/e.jpg"):
        damage(tiny_root / "JPEGImages" / name)
    with pytest.raises(BadInput) as caught:
        check_pictures(dataset)
    assert f"picture {tiny_root}/JPEGImages/car/c.jpg" in str(caught.value)
    assert complaint in str(caught.value)


def test_annotations_that_disagree_over_a_size_are_refused(tiny_root: Path) -> None:
    dataset = load_dataset("spair71k", tiny_root)
    sizes = dataset.table.target_sizes.copy()
    sizes[0] = (50, 50)
    other = replace(dataset, table=replace(dataset.table, target_sizes=sizes))
    with pytest.raises(BadInput, match="annotated as 50 x 50"):
        check_pictures(other)


# The index


def table(x: float) -> PairTable:
    """One pair, told apart by one coordinate."""
    pair = Pair(
        id="1",
        category="car",
        source="car/a",
        target="car/b",
        source_points=np.array([[x, 3.0]]),
        target_points=np.array([[1.0, 2.0]]),
        source_box=Box(0, 1, 9, 8),
        target_box=Box(2, 3, 7, 9),
        source_size=Size(60, 40),
        target_size=Size(35, 50),
    )
    return table_of([pair])


class Parser:
    """Counts how often it is asked, and answers with that number."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> PairTable:
        self.calls += 1
        return table(float(self.calls))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one.json").write_text("{}")
    (tmp_path / "two.json").write_text("[]")
    return tmp_path


FILES = ["one.json", "two.json"]


def entries() -> list[Path]:
    return sorted((cache_folder() / "index").iterdir())


def test_what_was_parsed_is_not_parsed_again(folder: Path) -> None:
    parser = Parser()
    first = cached_table("list", folder, FILES, parser)
    again = cached_table("list", folder, FILES, parser)
    assert parser.calls == 1
    for field in fields(PairTable):
        one, other = getattr(first, field.name), getattr(again, field.name)
        assert one.dtype.kind == other.dtype.kind
        assert np.array_equal(one, other)


def test_a_relative_root_finds_the_same_entry(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parser = Parser()
    cached_table("list", folder, FILES, parser)
    monkeypatch.chdir(folder.parent)
    cached_table("list", Path(folder.name), FILES, parser)
    assert parser.calls == 1


def rewrite(path: Path) -> None:
    path.write_text("{ }")


def retouch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def rewrite_in_secret(path: Path) -> None:
    state = path.stat()
    path.write_text("[]")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def swap(path: Path) -> None:
    other = path.with_name("two.json")
    content = other.read_text(), path.read_text()
    path.write_text(content[0])
    other.write_text(content[1])


@pytest.mark.parametrize("change", [rewrite, retouch, rewrite_in_secret, swap])
def test_a_changed_file_is_parsed_again(folder: Path, change: Callable[[Path], None]) -> None:
    parser = Parser()
    cached_table("list", folder, FILES, parser)
    change(folder / "one.json")
    assert cached_table("list", folder, FILES, parser).source_points[0, 0] == 2


@pytest.mark.parametrize("files", [FILES[:1], FILES[::-1]])
def test_other_files_are_another_list(folder: Path, files: list[str]) -> None:
    parser = Parser()
    cached_table("list", folder, FILES, parser)
    cached_table("list", folder, files, parser)
    assert parser.calls == 2


def test_lists_and_folders_do_not_get_in_each_others_way(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    for name in FILES:
        (other / name).write_text("1")
    parser = Parser()
    asked = [("list", folder), ("list-b", folder), ("list", other)]
    found = [cached_table(name, root, FILES, parser) for name, root in asked * 2]
    assert [each.source_points[0, 0] for each in found] == [1, 2, 3, 1, 2, 3]


def test_entries_of_earlier_states_are_removed(folder: Path) -> None:
    for content in ("1", "22", "333"):
        (folder / "one.json").write_text(content)
        cached_table("list", folder, FILES, Parser())
    assert len(entries()) == 1


def cut_entry(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut_entry, empty, make_folder])
def test_a_damaged_entry_is_made_again(folder: Path, damage: Callable[[Path], None]) -> None:
    parser = Parser()
    cached_table("list", folder, FILES, parser)
    damage(entries()[0])
    assert cached_table("list", folder, FILES, parser).source_points[0, 0] == 2


def test_an_entry_with_one_wrong_bit_is_not_believed(folder: Path) -> None:
    parser = Parser()
    cached_table("list", folder, FILES, parser)
    length = entries()[0].stat().st_size
    for count, place in enumerate(range(0, length, length // 29), start=2):
        content = bytearray(entries()[0].read_bytes())
        content[min(place, len(content) - 1)] ^= 4
        entries()[0].write_bytes(content)
        assert cached_table("list", folder, FILES, parser).source_points[0, 0] == count


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_cache_that_cannot_be_written_is_done_without(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SPAIRC_CACHE", str(tmp_path / place))
    parser = Parser()
    for count in (1, 2):
        assert cached_table("list", folder, FILES, parser).source_points[0, 0] == count


def test_a_file_that_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(BadInput, match=r"three\.json cannot be read \(No such file"):
        cached_table("list", folder, [*FILES, "three.json"], Parser())


def test_complaints_of_the_parser_are_passed_on_and_nothing_is_kept(folder: Path) -> None:
    def complain() -> PairTable:
        raise BadInput("no list")

    with pytest.raises(BadInput, match="no list"):
        cached_table("list", folder, FILES, complain)
    assert not (cache_folder() / "index").exists()
