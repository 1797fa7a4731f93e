"""Verification tells kinds of faults apart, repair mends just those, and manifests compare."""

import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

from spairc.agreement import agreement
from spairc.build import build
from spairc.cli import main
from spairc.codecs import FORMATS
from spairc.datasets import load_dataset
from spairc.datasets.dataset import Dataset
from spairc.engine import Processes
from spairc.images import read_image
from spairc.manifest import (
    DIFFERENT,
    MANIFEST,
    NEAR,
    SAME,
    UNKNOWN,
    read_entries,
    statistics,
    verify,
    write_entries,
)
from spairc.spec import VERSION, parse_conditions
from spairc.types import BadInput, Image

CELLS = parse_conditions("contrast@2") + parse_conditions("snow@4")
PICTURE = "snow/4/JPEGImages/car/b.jpg"


@pytest.fixture
def dataset(tiny_root: Path) -> Dataset:
    """Eight pairs over five pictures in two categories."""
    return load_dataset("spair71k", tiny_root)


@pytest.fixture
def built(dataset: Dataset, tmp_path: Path) -> Path:
    """The five pictures under two conditions."""
    build(dataset, tmp_path / "built", CELLS)
    return tmp_path / "built"


def rewrite(path: Path, change: Callable[[Image], Image], form: str = "PNG") -> None:
    """Replace a picture by one with changed pixels, in some container."""
    image = change(read_image(path).copy())
    PIL.Image.fromarray(image).save(path, format=form, lossless=True)


def one_level_off(image: Image) -> Image:
    image[::3] ^= 1
    return image


def two_levels_off_in_one_place(image: Image) -> Image:
    image[5, 7, 1] ^= 2
    return image


CHANGES = {
    "another compression": (lambda image: image, "PNG", SAME),
    "another format": (lambda image: image, "WEBP", SAME),
    "the lowest bit": (one_level_off, "PNG", NEAR),
    "two levels": (two_levels_off_in_one_place, "PNG", DIFFERENT),
    "another size": (lambda image: image[:-1], "PNG", DIFFERENT),
}


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_told_how_far_a_changed_file_is_from_what_was_built(built: Path, change: str) -> None:
    function, form, how = CHANGES[change]
    rewrite(built / PICTURE, function, form)
    (fault,) = verify(built)
    assert (fault.path, fault.what, fault.how) == (PICTURE, "changed", how)


def test_a_file_that_is_no_picture_any_more_is_different(built: Path) -> None:
    (built / PICTURE).write_bytes(b"not a picture")
    (fault,) = verify(built)
    assert fault.what == "changed"
    assert fault.how.startswith(f"{DIFFERENT}: ")


def test_without_the_clean_picture_same_pixels_are_told_and_no_more(
    built: Path, dataset: Dataset
) -> None:
    rewrite(built / PICTURE, lambda image: image)
    rewrite(built / "snow/4/JPEGImages/car/a.jpg", one_level_off)
    shutil.rmtree(dataset.root / "JPEGImages")
    assert [fault.how for fault in verify(built)] == [UNKNOWN, SAME]


def test_the_clean_pictures_of_a_copied_set_can_be_given(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "copied"
    build(dataset, out, CELLS, copy=True)
    rewrite(out / PICTURE, one_level_off)
    assert [fault.how for fault in verify(out)] == [UNKNOWN]
    assert [fault.how for fault in verify(out, root=dataset.root)] == [NEAR]


def test_a_lossy_set_is_judged_by_what_its_files_decode_to(
    dataset: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "lossy"
    build(dataset, out, CELLS, form="jpeg")
    rewrite(out / PICTURE, one_level_off)
    assert [fault.how for fault in verify(out)] == [NEAR]


def test_worker_processes_find_the_same_faults(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "built"
    build(dataset, out, parse_conditions("digital"))
    rewrite(out / "pixelate/2/JPEGImages/car/b.jpg", one_level_off)
    (out / "contrast/1/JPEGImages/duck/e.jpg").unlink()
    looked_at: list[int] = []
    faults = verify(out, engine=Processes(2), watch=looked_at.append)
    assert faults == verify(out)
    assert [fault.what for fault in faults] == ["missing", "changed"]
    assert sum(looked_at) == 125


def test_repair_makes_anew_what_verify_rejects_and_nothing_else(
    dataset: Dataset, built: Path
) -> None:
    before = {p: p.read_bytes() for p in built.rglob("*.jpg")}
    rotten = built / "contrast/2/JPEGImages/duck/d.jpg"
    rotten.write_bytes(bytes(len(before[rotten])))  # of the same size: a build would keep it
    rewrite(built / PICTURE, one_level_off)
    (built / "snow/4/JPEGImages/car/c.jpg").unlink()
    rejected = {built / fault.path for fault in verify(built)}
    assert len(rejected) == 3
    times = {p: p.stat().st_mtime_ns for p in before if p not in rejected}
    build(dataset, built, CELLS, repair=True)
    assert {p: p.read_bytes() for p in built.rglob("*.jpg")} == before
    assert {p: p.stat().st_mtime_ns for p in times} == times
    assert verify(built) == []


def test_repair_leaves_a_file_that_is_not_ours_alone(dataset: Dataset, built: Path) -> None:
    (built / "notes.txt").write_text("mine")
    build(dataset, built, CELLS, repair=True)
    assert [str(fault) for fault in verify(built)] == ["extra: notes.txt"]


def test_the_manifest_tells_versions_and_statistics(built: Path) -> None:
    for entry in read_entries(built / MANIFEST):
        image = read_image(built / entry.path)
        assert entry.mean == pytest.approx(image.mean())
        assert entry.deviation == pytest.approx(image.std())
        assert (entry.spec, entry.package) == (VERSION, version("spairc"))
        assert (entry.format, entry.codec) == ("png", FORMATS["png"].codec)
        assert entry.original == f"JPEGImages/{entry.key}.jpg"


def test_the_statistics_come_from_exact_sums() -> None:
    image = np.random.default_rng(8).integers(0, 256, (701, 1203, 3)).astype(np.uint8)
    values = image.ravel().tolist()
    mean = Fraction(sum(values), len(values))
    variance = Fraction(sum(value * value for value in values), len(values)) - mean**2
    assert statistics(image)[0] == float(mean)
    assert statistics(image)[1] == pytest.approx(math.sqrt(variance), rel=1e-15)


@pytest.mark.parametrize("value", [0, 255])
def test_a_flat_picture_has_no_deviation(value: int) -> None:
    assert statistics(np.full((37, 41, 3), value, dtype=np.uint8)) == (value, 0)


def test_two_builds_agree(dataset: Dataset, built: Path, tmp_path: Path) -> None:
    build(dataset, tmp_path / "other", CELLS)
    found = agreement(built, tmp_path / "other")
    assert (found.same, found.differences, found.pixels_agree) == (10, (), True)


def test_sets_of_other_containers_have_the_same_pixels(
    dataset: Dataset, built: Path, tmp_path: Path
) -> None:
    build(dataset, tmp_path / "other", CELLS, form="webp", suffix=".webp")
    found = agreement(built, tmp_path / "other")
    assert found.counts == {SAME: 10}
    assert found.pixels_agree


def test_manifests_compare_without_any_picture(
    dataset: Dataset, built: Path, tmp_path: Path
) -> None:
    build(dataset, tmp_path / "other", CELLS[:1], form="jpeg")
    one, other = tmp_path / "one.parquet", tmp_path / "other.parquet"
    shutil.copy(built / MANIFEST, one)
    shutil.copy(tmp_path / "other" / MANIFEST, other)
    found = agreement(one, other)
    assert found.counts == {f"only in {one}": 5, f"{DIFFERENT} pixels": 5}
    assert not found.pixels_agree
    assert str(found.differences[0]).startswith("contrast@2 car/a: ")


def test_with_the_pictures_at_hand_one_grey_level_is_told_from_more(
    built: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(built, other, symlinks=True)
    entries = {entry.path: entry for entry in read_entries(other / MANIFEST)}
    for path, entry in entries.items():
        if entry.corruption == "snow":
            rewrite(other / path, one_level_off)
            entries[path] = replace(entry, sha256="0", pixels="0")
    rewrite(other / PICTURE, two_levels_off_in_one_place)
    write_entries(other / MANIFEST, entries.values())
    assert agreement(built, other).counts == {NEAR: 4, DIFFERENT: 1}


def test_sets_of_other_clean_pictures_are_told(
    dataset: Dataset, built: Path, tmp_path: Path
) -> None:
    rewrite(dataset.path("duck/e"), one_level_off)
    build(dataset, tmp_path / "other", CELLS)
    found = agreement(built, tmp_path / "other")
    assert {each.key for each in found.differences} == {"duck/e"}
    assert list(found.counts) == [
        f"{DIFFERENT}: made from another clean picture or by another specification"
    ]


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_the_command_tells_faults_and_repairs_them(
    dataset: Dataset, built: Path, tmp_path: Path
) -> None:
    build(dataset, tmp_path / "other", CELLS, form="webp")
    rewrite(built / PICTURE, one_level_off)
    assert run("verify", built) == (1, f"changed: {PICTURE}\n  {NEAR}\n{built}: 1 faults\n")
    on = ("--on", "contrast@2", "--on", "snow@4")
    code, _ = run("build", "--root", dataset.root, "--out", built, *on, "--repair")
    assert code == 0
    assert run("verify", built) == (0, f"{built}: all files as built\n")
    code, text = run("verify", built, "--against", tmp_path / "other")
    assert code == 0
    assert text.endswith(f"0 files are the same\n10 {SAME}\n")
    build(dataset, tmp_path / "less", CELLS[:1])
    code, text = run("verify", built, "--against", tmp_path / "less")
    assert code == 1
    assert text.endswith(f"5 files are the same\n5 only in {built}\n")


def test_the_command_builds_some_categories_in_shards_and_other_formats(
    dataset: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "built"
    common = ("build", "--root", dataset.root, "--out", out, "--on", "fog@3", "--category", "car")
    for shard in ("1/2", "2/2"):
        options = ("--format", "webp", "--suffix", ".webp", "--shard", shard, "--workers", "1")
        code, text = run(*common, *options)
        assert code == 0, text
    entries = read_entries(out / MANIFEST)
    assert [entry.path for entry in entries] == [
        f"fog/3/JPEGImages/car/{name}.webp" for name in "abc"
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--category", "cra"), "no category is called 'cra'; did you mean 'car'"),
        (("--format", "gif"), "no format is called 'gif'"),
        (("--workers", "0"), "--workers is 0"),
        (("--engine", "rya"), "no engine is called 'rya'; did you mean 'ray'"),
        (("--engine", "ray", "--workers", "3"), "--workers is for --engine local"),
        (("--address", "auto"), "--address is Ray's; give --engine ray too"),
        (("--on", "clean"), "nothing to build: give --on a corruption"),
        (("--shard", "7"), "--shard is '7'; write i/n"),
    ],
)
def test_wrong_options_of_build_are_one_line_and_nothing_is_written(
    dataset: Dataset, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    code, text = run("build", "--root", dataset.root, "--out", tmp_path / "built", *options)
    assert code == 2
    assert message in text
    assert not (tmp_path / "built").exists()


def test_a_manifest_of_another_shape_is_refused(built: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [asdict(entry) for entry in read_entries(built / MANIFEST)]
    pq.write_table(pa.Table.from_pylist(rows).drop_columns(["codec"]), built / MANIFEST)
    with pytest.raises(BadInput, match=r"manifest\.parquet is damaged"):
        verify(built)


def test_a_truncated_manifest_is_refused(built: Path) -> None:
    (built / MANIFEST).write_bytes((built / MANIFEST).read_bytes()[:-100])
    with pytest.raises(BadInput, match=r"manifest\.parquet is damaged"):
        verify(built)
