"""A set can be built in other formats, by several workers or shards, and of any data set."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import scipy.io
from click.testing import CliRunner

from spairc.build import build, open_build
from spairc.cli import main
from spairc.codecs import FORMATS
from spairc.corruptions import corrupt
from spairc.datasets import load_dataset
from spairc.datasets.dataset import Dataset
from spairc.engine import Processes
from spairc.images import image_size, pixel_hash, read_image
from spairc.lock import locked
from spairc.manifest import LOCK, MANIFEST, PARTS, read_entries, read_record, verify
from spairc.spec import VERSION, parse_conditions
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


def kind(path: Path) -> str | None:
    """What a file is, whatever its name says."""
    with PIL.Image.open(path) as picture:
        return picture.format


@pytest.mark.parametrize("form", ["png", "webp"])
def test_lossless_formats_hold_the_exact_pixels_under_the_annotated_name(
    dataset: Dataset, tmp_path: Path, form: str
) -> None:
    build(dataset, tmp_path / "built", [FOG], form=form)
    path = tmp_path / "built/fog/3/JPEGImages/duck/d.jpg"
    expected = corrupt(read_image(dataset.path("duck/d")), "fog", severity=3, key="duck/d")
    np.testing.assert_array_equal(read_image(path), expected)
    assert kind(path) == form.upper()
    assert open_build(tmp_path / "built", dataset, [FOG]).origin == {
        "spec": VERSION,
        "format": "lossless",
    }


def test_a_lossy_format_is_named_in_the_manifest_the_record_and_a_run(
    dataset: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "built"
    build(dataset, out, [FOG], form="jpeg")
    assert read_record(out).format == "jpeg 95 4:4:4"
    assert open_build(out, dataset, [FOG]).origin["format"] == "jpeg 95 4:4:4"
    assert "**lossy**" in (out / "README.md").read_text()
    for entry in read_entries(out / MANIFEST):
        image = read_image(out / entry.path)
        assert kind(out / entry.path) == "JPEG"
        assert entry.format == "jpeg 95 4:4:4"
        assert entry.pixels == pixel_hash(image)
        assert entry.mean == pytest.approx(image.mean())
        assert entry.deviation == pytest.approx(image.std())
    assert verify(out) == []


@pytest.mark.parametrize("form", FORMATS)
def test_honest_suffixes_can_be_asked_for_and_loaders_find_them(
    dataset: Dataset, tmp_path: Path, form: str
) -> None:
    suffix, out = FORMATS[form].suffix, tmp_path / "built"
    build(dataset, out, [FOG], form=form, suffix=suffix)
    cell = load_dataset("spair71k", out / "fog/3")
    assert cell.table.hash == dataset.table.hash
    assert {Path(name).suffix for name in cell.pictures.values()} == {suffix}
    assert open_build(out, dataset, [FOG]).read("car/a", FOG).shape == (40, 61, 3)
    assert verify(out) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "jpg"}, "no format is called 'jpg'; did you mean"),
        ({"suffix": ".jpg"}, "--suffix '.jpg' is not png's; give .png"),
        ({"form": "webp", "suffix": ".png"}, "is not webp's; give .webp"),
        ({"shard": "3/2"}, "--shard is '3/2'; write i/n"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_written(
    dataset: Dataset, tmp_path: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        build(dataset, tmp_path / "built", [FOG], **options)  # type: ignore[arg-type]  # by name
    assert not (tmp_path / "built").exists()


def test_a_folder_of_another_format_is_not_gone_on_with(dataset: Dataset, tmp_path: Path) -> None:
    build(dataset, tmp_path / "built", [FOG])
    with pytest.raises(BadInput, match="format was 'png' and is now 'webp'"):
        build(dataset, tmp_path / "built", [FOG], form="webp")


def test_worker_processes_build_the_same_bytes(dataset: Dataset, tmp_path: Path) -> None:
    build(dataset, tmp_path / "one", CELLS)
    build(dataset, tmp_path / "two", CELLS, engine=Processes(2))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert verify(tmp_path / "two", engine=Processes(2)) == []


def test_shards_make_together_what_one_build_makes(dataset: Dataset, tmp_path: Path) -> None:
    build(dataset, tmp_path / "whole", CELLS)
    for shard in ("2/3", "1/3", "3/3"):
        build(dataset, tmp_path / "shards", CELLS, shard=shard)
    assert contents(tmp_path / "shards") == contents(tmp_path / "whole")


def test_a_shard_makes_its_own_pictures_only(dataset: Dataset, tmp_path: Path) -> None:
    build(dataset, tmp_path / "built", [FOG], shard="2/2")
    keys = {entry.key for entry in read_entries(tmp_path / "built" / MANIFEST)}
    assert keys == set(dataset.table.image_keys[1::2])


def test_shards_may_be_built_at_once_but_each_once_only(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "built"
    build(dataset, out, [FOG], shard="1/3")
    with locked(out / LOCK, shared=True), locked(out / f"{LOCK}-2-of-3"):  # as shard 2 holds them
        build(dataset, out, [FOG], shard="3/3")
        with pytest.raises(BadInput, match=r"is being written by process \d+ on"):
            build(dataset, out, [FOG], shard="2/3")
        with pytest.raises(BadInput, match=r"is being written by process \d+ on"):
            build(dataset, out, [FOG])
    build(dataset, out, [FOG], shard="2/3")
    build(dataset, tmp_path / "whole", [FOG])
    assert contents(out) == contents(tmp_path / "whole")


def test_a_part_of_the_data_set_can_be_built_first_and_the_rest_later(
    dataset: Dataset, tmp_path: Path
) -> None:
    ducks = dataset.select(np.flatnonzero(dataset.table.categories == "duck"))
    build(ducks, tmp_path / "built", CELLS)
    assert {each.key for each in read_entries(tmp_path / "built" / MANIFEST)} == {
        "duck/d",
        "duck/e",
    }
    build(dataset, tmp_path / "built", CELLS)
    build(dataset, tmp_path / "whole", CELLS)
    assert contents(tmp_path / "built") == contents(tmp_path / "whole")
    open_build(tmp_path / "built", ducks, CELLS)


def test_an_unfinished_set_can_be_evaluated_on_what_it_has(
    dataset: Dataset, tmp_path: Path
) -> None:
    def stop(key: str) -> None:
        if key == "car/b":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(dataset, tmp_path / "built", CELLS, watch=stop)
    assert (tmp_path / "built" / PARTS).is_dir()
    cars = dataset.select(np.array([0]))
    assert cars.table.image_keys == ("car/a", "car/b")
    open_build(tmp_path / "built", cars, CELLS)


def test_other_pictures_in_the_same_folder_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    build(dataset, tmp_path / "built", [FOG])
    path = dataset.path("car/b")
    PIL.Image.fromarray(255 - read_image(path)).save(path, format="PNG")
    with pytest.raises(BadInput, match="picture car/b was another one"):
        build(dataset, tmp_path / "built", CELLS)


def test_a_stored_picture_that_is_not_as_built_is_not_evaluated(
    dataset: Dataset, tmp_path: Path
) -> None:
    build(dataset, tmp_path / "built", [FOG])
    path = tmp_path / "built/fog/3/JPEGImages/car/a.jpg"
    PIL.Image.fromarray(255 - read_image(path)).save(path, format="PNG")
    pictures = open_build(tmp_path / "built", dataset, [FOG])
    assert pictures.read("car/b", FOG).shape == (52, 47, 3)
    with pytest.raises(BadInput, match=r"a\.jpg is not as it was built; run spairc build with"):
        pictures.read("car/a", FOG)


def test_the_card_tells_what_the_set_is(dataset: Dataset, tmp_path: Path) -> None:
    build(dataset, tmp_path / "built", CELLS)
    card = (tmp_path / "built" / "README.md").read_text()
    assert "5 pictures, read as SPair-71k, split test, under 5 corruptions: 5 of the 75" in card
    for words in (VERSION, "Match me if you can", "## Licence", "spairc verify", "SPair-71k: A"):
        assert words in card


def test_pf_willow_is_built_and_read_back_by_its_own_loader(shared: Path, tmp_path: Path) -> None:
    dataset = load_dataset("pf-willow", shared / "data" / "PF-WILLOW")
    some = dataset.select(np.flatnonzero(dataset.table.categories == dataset[0].category)[:6])
    build(some, tmp_path / "built", [Condition("contrast", 4)])
    for key in some.table.image_keys:
        name = tmp_path / "built/contrast/4" / dataset.pictures[key]
        expected = corrupt(read_image(dataset.path(key)), "contrast", severity=4, key=key)
        np.testing.assert_array_equal(read_image(name), expected)
    assert "PF-WILLOW-C" in (tmp_path / "built/README.md").read_text()


def write_small_pf_pascal(root: Path) -> None:
    """Two pictures with one pair, the way PF-PASCAL has them."""
    for stem, size, seed in (("x", (61, 43), 1), ("y", (47, 72), 2)):
        path = root / f"JPEGImages/{stem}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3)).astype(np.uint8)
        PIL.Image.fromarray(noise).save(path)
        marks = root / f"Annotations/bicycle/{stem}.mat"
        marks.parent.mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(marks, {"kps": [[4.0, 5.0], [30.5, 21.0]], "bbox": [[1, 2, 45, 41]]})
    names = [f"PF-dataset-PASCAL/JPEGImages/{stem}.jpg" for stem in "xy"]
    row = ",".join([*names, "2", "4.5;30", "5;21", "9;20.125", "8;30"])
    (root / "test_pairs.csv").write_text(f"source_image,target_image,class,XA,YA,XB,YB\n{row}\n")


@pytest.mark.parametrize("copy", [False, True])
def test_pf_pascal_is_built_and_a_cell_is_a_root_for_its_loader(
    tmp_path: Path, *, copy: bool
) -> None:
    write_small_pf_pascal(tmp_path / "pascal")
    dataset, out = load_dataset("pf-pascal", tmp_path / "pascal"), tmp_path / "built"
    build(dataset, out, [FOG], copy=copy)
    cell = load_dataset("pf-pascal", out / "fog/3")
    assert cell.table.hash == dataset.table.hash
    expected = corrupt(read_image(dataset.path("y")), "fog", severity=3, key="y")
    np.testing.assert_array_equal(read_image(cell.path("y")), expected)
    assert verify(out) == []
    assert "# PF-PASCAL-C" in (out / "README.md").read_text()


@pytest.mark.slow
def test_a_whole_cell_of_pf_willow_is_a_root_for_its_loader(shared: Path, tmp_path: Path) -> None:
    dataset = load_dataset("pf-willow", shared / "data" / "PF-WILLOW")
    build(dataset, tmp_path / "built", [Condition("pixelate", 1)])
    cell = load_dataset("pf-willow", tmp_path / "built/pixelate/1")
    assert cell.table.hash == dataset.table.hash
    assert verify(tmp_path / "built") == []


def test_the_sizes_of_formats_are_in_the_expected_order(dataset: Dataset, tmp_path: Path) -> None:
    sizes = []
    for form in ("jpeg", "webp", "png"):
        build(dataset, tmp_path / form, [Condition("gaussian_blur", 3)], form=form)
        sizes.append(sum(each.bytes for each in read_entries(tmp_path / form / MANIFEST)))
    assert all(smaller < larger for smaller, larger in pairwise(sizes))
    assert image_size(tmp_path / "webp/gaussian_blur/3/JPEGImages/car/c.jpg") == (58, 45)


@pytest.mark.parametrize(
    ("options", "cells"),
    [
        ("--corruption fog --severity 3", {"fog/3"}),
        (
            "--corruption fog --corruption contrast --severity 5 --severity 2 --corruption fog",
            {"fog/2", "fog/5", "contrast/2", "contrast/5"},
        ),
        ("--corruption blur --severity 4", {"defocus_blur/4", "gaussian_blur/4"}),
        ("--corruption contrast", {f"contrast/{severity}" for severity in range(1, 6)}),
    ],
)
def test_every_corruption_named_is_made_at_every_severity_named(
    tiny_root: Path, tmp_path: Path, options: str, cells: set[str]
) -> None:
    where = ["--root", str(tiny_root), "--out", str(tmp_path / "set"), "--workers", "1"]
    result = CliRunner().invoke(main, ["build", *where, "--limit", "2", *options.split()])
    assert result.exit_code == 0, result.output
    made = {
        str(path.parent.relative_to(tmp_path / "set"))
        for path in tmp_path.glob("set/*/*/JPEGImages")
    }
    assert made == cells


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--on fog@3 --severity 2", "leave out --corruption and --severity, or --on"),
        ("--on fog@3 --corruption fog", "leave out --corruption and --severity, or --on"),
        ("--corruption fogg", "did you mean 'fog'?"),
        ("--corruption fog@3", "no corruption is called 'fog@3'"),
        ("--severity 6", "severity 6 does not exist; choose from 1, 2, 3, 4, 5"),
        ("--severity -1", "severity -1 does not exist"),
    ],
)
def test_cells_that_contradict_or_do_not_exist_are_one_line(
    tiny_root: Path, tmp_path: Path, options: str, message: str
) -> None:
    where = ["--root", str(tiny_root), "--out", str(tmp_path / "set")]
    result = CliRunner().invoke(main, ["build", *where, *options.split()])
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.count("\n") == 1
    assert not (tmp_path / "set").exists()
