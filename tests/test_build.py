"""A built set holds what the spec says, is complete or resumable, and verify finds every fault."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spairc.build import build, open_build
from spairc.corruptions import corrupt
from spairc.datasets import load_dataset
from spairc.datasets.dataset import Dataset
from spairc.images import pixel_hash, read_image, write_png
from spairc.manifest import MANIFEST, RECORD, read_entries, verify, write_entries
from spairc.spec import parse_conditions
from spairc.types import CLEAN, BadInput, Condition

CELLS = parse_conditions("digital@5")


@pytest.fixture
def dataset(tiny_root: Path) -> Dataset:
    """Eight pairs over five pictures in two categories."""
    return load_dataset("spair71k", tiny_root)


@pytest.fixture
def built(dataset: Dataset, tmp_path: Path) -> Path:
    """The five pictures under five conditions."""
    build(dataset, tmp_path / "built", CELLS)
    return tmp_path / "built"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a built set, annotations apart."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_the_pictures_are_the_corrupted_ones_and_lossless(
    dataset: Dataset, built: Path, cell: Condition
) -> None:
    for key in dataset.table.image_keys:
        clean = read_image(dataset.path(key))
        expected = corrupt(clean, str(cell.corruption), severity=cell.severity, key=key)
        path = built / str(cell.corruption) / str(cell.severity) / dataset.pictures[key]
        np.testing.assert_array_equal(read_image(path), expected)


def test_a_cell_is_a_root_that_the_loader_reads_as_it_reads_the_dataset(
    dataset: Dataset, built: Path
) -> None:
    cell = load_dataset("spair71k", built / "contrast" / "5")
    assert cell.table.hash == dataset.table.hash
    assert set(cell.pictures) == set(dataset.pictures)


def test_annotations_can_be_copied_instead_of_linked(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "copied"
    build(dataset, out, CELLS[:1], copy=True)
    assert not any(path.is_symlink() for path in out.rglob("*"))
    shutil.rmtree(dataset.root)
    assert len(load_dataset("spair71k", out / "brightness" / "5")) == 8
    assert verify(out) == []


def test_the_manifest_tells_of_every_file(dataset: Dataset, built: Path) -> None:
    entries = read_entries(built / MANIFEST)
    assert len(entries) == 5 * 5
    for entry in entries:
        assert entry.bytes == (built / entry.path).stat().st_size
        assert entry.pixels == pixel_hash(read_image(built / entry.path))
        assert entry.source == pixel_hash(read_image(dataset.path(entry.key)))


def test_a_fresh_set_has_no_fault(built: Path) -> None:
    assert verify(built) == []


def test_one_changed_byte_is_found_and_the_file_is_named(built: Path) -> None:
    path = built / "pixelate" / "5" / "JPEGImages" / "car" / "b.jpg"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert [str(fault) for fault in verify(built)] == ["changed: pixelate/5/JPEGImages/car/b.jpg"]


def test_missing_and_extra_files_are_named(built: Path) -> None:
    (built / "contrast/5/JPEGImages/duck/d.jpg").unlink()
    (built / "contrast/5/JPEGImages/duck/x.jpg").write_bytes(b"x")
    (built / "notes.txt").write_text("mine")
    assert {str(fault) for fault in verify(built)} == {
        "missing: contrast/5/JPEGImages/duck/d.jpg",
        "extra: contrast/5/JPEGImages/duck/x.jpg",
        "extra: notes.txt",
    }


def test_cells_may_be_added_later_in_any_order(dataset: Dataset, tmp_path: Path) -> None:
    for cell in reversed(CELLS):
        build(dataset, tmp_path / "parts", [cell])
    build(dataset, tmp_path / "whole", CELLS)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


@pytest.mark.parametrize("stop", range(4))
def test_a_build_that_was_stopped_goes_on_and_ends_as_an_undisturbed_one(
    dataset: Dataset, tmp_path: Path, stop: int
) -> None:
    build(dataset, tmp_path / "whole", CELLS)
    seen: list[str] = []

    def interrupt(key: str) -> None:
        seen.append(key)
        if len(seen) > stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(dataset, tmp_path / "built", CELLS, watch=interrupt)
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "built").rglob("JPEGImages/*/*")}
    assert len(kept) == 5 * (stop + 1)
    build(dataset, tmp_path / "built", CELLS)
    assert contents(tmp_path / "built") == contents(tmp_path / "whole")
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


def test_a_picture_that_was_lost_is_made_again(built: Path, dataset: Dataset) -> None:
    before = contents(built)
    (built / "saturate/5/JPEGImages/duck/e.jpg").unlink()
    build(dataset, built, CELLS)
    assert contents(built) == before


def test_a_folder_of_another_spec_is_refused(dataset: Dataset, built: Path) -> None:
    record = built / RECORD
    record.write_text(record.read_text().replace("spair-c/", "spair-c/9"))
    before = contents(built)
    with pytest.raises(BadInput, match=r"holds another build: spec was 'spair-c/9.' and is now"):
        build(dataset, built, CELLS)
    with pytest.raises(BadInput, match=r"holds spair-c/9.; this version of spairc makes"):
        open_build(built, dataset, CELLS)
    assert contents(built) == before


def test_a_folder_that_holds_something_else_is_left_alone(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(BadInput, match="exists and holds no built set; choose another --out"):
        build(dataset, tmp_path / "mine", CELLS)
    assert contents(tmp_path / "mine") == {"thesis.txt": b"mine"}


def test_a_damaged_picture_is_named_before_anything_is_written(
    dataset: Dataset, tmp_path: Path
) -> None:
    path = dataset.path("car/c")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BadInput, match=r"c\.jpg cannot be read"):
        build(dataset, tmp_path / "built", CELLS)
    assert not (tmp_path / "built").exists()


def test_too_little_space_is_said_before_the_first_picture(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 8, 1))
    with pytest.raises(BadInput, match=r"no space left for .*built: it needs about .* GB more"):
        build(dataset, tmp_path / "built", CELLS)
    assert not list((tmp_path / "built").rglob("*.jpg"))


def test_a_set_built_from_other_pictures_is_refused(built: Path, dataset: Dataset) -> None:
    path = dataset.path("car/a")
    image = read_image(path).copy()
    image[0, 0] ^= 1
    write_png(path, image)
    with pytest.raises(BadInput, match="was built from other pictures"):
        open_build(built, dataset, CELLS)


def test_an_incomplete_set_is_refused_before_an_evaluation(built: Path, dataset: Dataset) -> None:
    open_build(built, dataset, [CLEAN, *CELLS])
    with pytest.raises(BadInput, match=r"fog/3/JPEGImages/car/a\.jpg is missing"):
        open_build(built, dataset, [CLEAN, Condition("fog", 3)])


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": 1}'])
def test_a_damaged_record_is_refused(built: Path, content: str) -> None:
    (built / RECORD).write_text(content)
    with pytest.raises(BadInput, match=r"build\.json is damaged"):
        verify(built)


def test_a_folder_that_was_never_built_cannot_be_verified(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is no built set: it has no build\.json"):
        verify(tmp_path)


def test_a_manifest_entry_that_leaves_the_folder_is_refused(built: Path) -> None:
    entries = read_entries(built / MANIFEST)
    write_entries(built / MANIFEST, [replace(entries[0], path="../../etc/passwd")])
    with pytest.raises(BadInput, match="leaves its folder"):
        verify(built)
