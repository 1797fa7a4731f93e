"""Somebody else's SPair-C is recognised however its folders are called, and told from ours."""

import csv
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

from spairc.build import build
from spairc.cli import main
from spairc.comparison import OURS, compare, distance, jpeg_quality, squash
from spairc.corruptions import corrupt
from spairc.datasets import load_dataset
from spairc.datasets.dataset import Dataset
from spairc.evaluate import predict
from spairc.images import read_image
from spairc.official import find_archive, open_corrupted, place_of
from spairc.rescale import as_seen, to_original
from spairc.spec import CORRUPTED, VERSION, parse_conditions
from spairc.types import CLEAN, BadInput, Condition, Features, Image, Points, Query, Size

CELLS = (*parse_conditions("contrast@2"), *parse_conditions("gaussian_noise@4"))


@pytest.fixture
def dataset(tiny_root: Path) -> Dataset:
    """Eight pairs over five pictures in two categories."""
    return load_dataset("spair71k", tiny_root)


def reference(image: Image, condition: Condition) -> Image:
    """Two corruptions as they are published, value by value, with numpy's own random numbers."""
    height, width, _ = image.shape
    out = np.empty_like(image)
    factor = (0.4, 0.3, 0.2, 0.1, 0.05)[condition.severity - 1]
    deviation = (0.08, 0.12, 0.18, 0.26, 0.38)[condition.severity - 1]
    draws = np.random.default_rng(condition.severity)
    for channel in range(3):
        mean = np.mean(image[..., channel] / 255)
        for y in range(height):
            for x in range(width):
                value = image[y, x, channel] / 255
                if condition.corruption == "contrast":
                    value = (value - mean) * factor + mean
                else:
                    value += deviation * draws.normal()
                out[y, x, channel] = int(min(max(value, 0), 1) * 255)
    return out


def archive(
    dataset: Dataset,
    folder: Path,
    name: str = "{c.corruption}/{c.severity}/JPEGImages/{key}.png",
    cells: tuple[Condition, ...] = CELLS,
    *,
    side: int | None = None,
    quality: int | None = None,
) -> Path:
    """What another program would publish: every picture under these cells."""
    for key in dataset.table.image_keys:
        clean = read_image(dataset.path(key))
        image = clean if side is None else squash(clean, side)
        for cell in cells:
            path = folder / name.format(c=cell, key=key, stem=key.rpartition("/")[2])
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = PIL.Image.fromarray(reference(image, cell))
            options: dict[str, Any] = {} if quality is None else {"quality": quality}
            picture.save(path, **options)
    return folder


@pytest.mark.parametrize(
    ("folders", "condition"),
    [
        ("fog/3", "fog@3"),
        ("3/fog", "fog@3"),
        ("SPair-C/weather/Fog/severity_3/JPEGImages", "fog@3"),
        ("fog_3", "fog@3"),
        ("fog-severity-3", "fog@3"),
        ("3_fog", "fog@3"),
        ("JPEG/s5/JPEGImages", "jpeg_compression@5"),
        ("jpeg_compression/level 1", "jpeg_compression@1"),
        ("JPEGcompression/05", "jpeg_compression@5"),
        ("gaussian-blur/2", "gaussian_blur@2"),
        ("Gaussian_Blur/Severity2", "gaussian_blur@2"),
        ("GaussianNoise/4", "gaussian_noise@4"),
        ("blur/gaussian/4", "gaussian_blur@4"),
        ("noise/Gaussian/4", "gaussian_noise@4"),
        ("sev1/defocus", "defocus_blur@1"),
        ("shot/1", "shot_noise@1"),
        ("fog_3/severity 3", "fog@3"),
        ("saturation/3", "saturate@3"),
        ("clean", None),
        ("JPEGImages", None),
        ("fogbank/3", None),
    ],
)
def test_folders_are_recognised_in_any_nesting_and_spelling(
    folders: str, condition: str | None
) -> None:
    place = place_of([*folders.split("/"), "car", "a"])
    assert (None if place.condition is None else str(place.condition)) == condition
    assert place.rest[-2:] == ("car", "a")


@pytest.mark.parametrize("condition", CORRUPTED, ids=str)
def test_every_cell_is_recognised_by_its_own_name(condition: Condition) -> None:
    parts = [str(condition.corruption), str(condition.severity), "car", "a"]
    assert place_of(parts).condition == condition


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ("fog/snow/3", "its folders name fog and snow; rename one"),
        ("fog_2/3", "its folders name 2 and 3; rename one"),
        ("gaussian/3", "gaussian is noise or blur; rename the folder"),
    ],
)
def test_contradicting_folders_are_refused(folders: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        place_of([*folders.split("/"), "a"])


LAYOUTS = (
    "{c.corruption}/{c.severity}/JPEGImages/{key}.png",
    "SPair-C/severity_{c.severity}/{c.corruption}/{key}.bmp",
    "{c.corruption}_{c.severity}/{stem}.webp",
    "{c.corruption}/{key}/../../s{c.severity}/{key}.png",
)


@pytest.mark.parametrize("name", LAYOUTS)
def test_any_layout_gives_the_same_pictures(dataset: Dataset, tmp_path: Path, name: str) -> None:
    folder = archive(dataset, tmp_path / "theirs", name.replace("{key}/../../", ""))
    pictures = open_corrupted(folder, dataset, CELLS)
    for key in dataset.table.image_keys:
        expected = reference(read_image(dataset.path(key)), CELLS[0])
        found = pictures.read(key, CELLS[0])
        if not name.endswith("webp"):  # lossy
            np.testing.assert_array_equal(found, expected)
        assert found.shape == expected.shape
        np.testing.assert_array_equal(pictures.read(key, CLEAN), read_image(dataset.path(key)))


def test_the_records_say_which_archive_it_was(dataset: Dataset, tmp_path: Path) -> None:
    folder = archive(dataset, tmp_path / "theirs", side=64)
    origin = open_corrupted(folder, dataset, CELLS).origin
    lines = [
        f"{cell} {key} "
        + hashlib.sha256(
            (folder / f"{cell.corruption}/{cell.severity}/JPEGImages/{key}.png").read_bytes()
        ).hexdigest()
        for cell in CELLS
        for key in dataset.table.image_keys
    ]
    assert origin["archive"] == hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert origin["spec"] == f"archive {origin['archive'][:12]}"
    assert origin["format"] == "png, 64 x 64"


def test_a_set_of_our_own_is_opened_by_its_manifest(dataset: Dataset, tmp_path: Path) -> None:
    build(dataset, tmp_path / "ours", CELLS)
    pictures = open_corrupted(tmp_path / "ours", dataset, CELLS)
    assert pictures.origin == {"spec": VERSION, "format": "lossless"}


def test_what_is_missing_is_named(dataset: Dataset, tmp_path: Path) -> None:
    folder = archive(dataset, tmp_path / "theirs")
    (folder / "contrast/2/JPEGImages/car/b.png").unlink()
    with pytest.raises(BadInput) as refusal:
        open_corrupted(folder, dataset, [CLEAN, *CELLS, Condition("fog", 3)])
    assert f"{folder} lacks fog@3, contrast@2 (1 of 5 pictures: car/b); complete it" in str(
        refusal.value
    ) or "lacks contrast@2 (1 of 5 pictures: car/b), fog@3; complete it" in str(refusal.value)
    open_corrupted(folder, dataset, [CELLS[1]])


def test_two_files_for_one_picture_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    folder = archive(dataset, tmp_path / "theirs")
    path = folder / "contrast/2/JPEGImages/car/b.png"
    (path.with_suffix(".jpg")).write_bytes(path.read_bytes())
    with pytest.raises(
        BadInput, match=r"b\.png and .*b\.jpg are both car/b under contrast@2; keep"
    ):
        open_corrupted(folder, dataset, CELLS)


def test_a_picture_without_a_severity_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    folder = archive(dataset, tmp_path / "theirs", "{c.corruption}/{key}.png", CELLS[:1])
    with pytest.raises(BadInput, match=r"no folder above it tells the severity, 1 to 5"):
        open_corrupted(folder, dataset, CELLS)


def test_a_folder_without_corruptions_is_no_archive(dataset: Dataset) -> None:
    with pytest.raises(BadInput, match=r"is no built set: .* and no archive: no folder in it"):
        open_corrupted(dataset.root, dataset, CELLS)


def test_one_name_for_two_different_pictures_needs_category_folders() -> None:
    with pytest.raises(BadInput, match=r"a may be car/a or duck/a; sort its pictures into folders"):
        _flat({"car/a": "1", "duck/a": "2"})
    assert _flat({"car/a": "1", "duck/a": "1"}) == {"car/a", "duck/a"}


def _flat(hashes: dict[str, str]) -> set[str]:
    from spairc.official import _keys_of

    return set(_keys_of([("a",)], hashes)[("a",)])


class Spy:
    """Answers with the given points and keeps what it was asked."""

    name = "spy"

    def __init__(self) -> None:
        self.queries: list[Query] = []

    def encode(self, images: Sequence[Image]) -> list[Features]:
        return [Size(*image.shape[1::-1]) for image in images]

    def match(self, queries: Sequence[Query]) -> list[Points]:
        self.queries += queries
        return [
            query.points * np.array(query.target_size) / np.array(query.source_size)
            for query in queries
        ]


def test_points_are_scaled_to_the_archives_size_and_answers_back(
    dataset: Dataset, tmp_path: Path
) -> None:
    folder, spy = archive(dataset, tmp_path / "theirs", side=64), Spy()
    pictures = open_corrupted(folder, dataset, CELLS[:1])
    run = predict(spy, dataset, CELLS[:1], out=tmp_path / "run", pictures=pictures)
    for query in spy.queries:
        assert query.source_size == query.target_size == query.source == Size(64, 64)
    pair = next(pair for pair in dataset if len(pair.source_points) == 3)
    expected = pair.source_points * 64 / np.array(pair.source_size)
    assert any(
        np.allclose(query.points, expected) for query in spy.queries if len(query.points) == 3
    )
    found = run.answers(CELLS[0]).found
    table = dataset.table
    ratio = (table.target_sizes / table.source_sizes)[table.pair_of_point]
    np.testing.assert_allclose(found, table.source_points * ratio, rtol=1e-5)
    assert run.settings.corrupted["format"] == "png, 64 x 64"


def test_boxes_are_scaled_with_the_points_and_equal_sizes_change_nothing(
    dataset: Dataset,
) -> None:
    table = dataset.table
    own = {
        key: Size(*size)
        for key, size in zip(table.sources.tolist(), table.source_sizes.tolist(), strict=True)
    }
    same = {(key, CLEAN): size for key, size in own.items()}
    assert as_seen(table, same, CLEAN, CLEAN) is table
    double = {(key, CLEAN): Size(2 * size[0], 3 * size[1]) for key, size in own.items()}
    seen = as_seen(table, double, CLEAN, CLEAN)
    np.testing.assert_allclose(seen.target_boxes, table.target_boxes * [2, 3, 2, 3])
    np.testing.assert_allclose(seen.target_points, table.target_points * [2, 3])
    np.testing.assert_allclose(to_original(seen.target_points, seen, table), table.target_points)


def test_a_run_with_one_side_corrupted_scales_that_side_only(
    dataset: Dataset, tmp_path: Path
) -> None:
    folder, spy = archive(dataset, tmp_path / "theirs", side=64), Spy()
    pictures = open_corrupted(folder, dataset, CELLS[:1])
    predict(spy, dataset, CELLS[:1], out=tmp_path / "run", pictures=pictures, side="target")
    sizes = {Size(*each) for each in dataset.table.source_sizes.tolist()}
    for query in spy.queries:
        assert query.source_size == query.source
        assert query.source_size in sizes
        assert query.target_size == query.target == Size(64, 64)


@pytest.mark.parametrize("quality", [1, 50, 75, 85, 95, 100])
def test_the_quality_of_a_jpeg_is_read_from_its_tables(tmp_path: Path, quality: int) -> None:
    path = tmp_path / "a.png"  # the content counts
    PIL.Image.new("RGB", (40, 33)).save(path, format="JPEG", quality=quality)
    assert jpeg_quality(path) == quality
    PIL.Image.new("RGB", (40, 33)).save(path)
    assert jpeg_quality(path) is None


def test_distances_are_what_they_are_called() -> None:
    one = np.zeros((3, 4, 3), dtype=np.uint8)
    other = one.copy()
    other[0, 0] = 24  # one pixel of twelve
    assert distance(one, other).pixels == pytest.approx(2)
    assert distance(one, other).histograms == pytest.approx(1 / 12)
    assert distance(one, one.copy()).histograms == 0


MAKERS: dict[str, Callable[[Dataset, Path], Path]] = {
    OURS: archive,
    "ours, JPEG 85": lambda dataset, folder: archive(
        dataset, folder, LAYOUTS[0].replace("png", "jpg"), quality=85
    ),
    "224 first": lambda dataset, folder: archive(dataset, folder, side=224),
    "256 first, JPEG 85": lambda dataset, folder: archive(
        dataset, folder, LAYOUTS[1].replace("bmp", "jpg"), side=256, quality=85
    ),
}
MARKS = {"224 first": [pytest.mark.slow], "256 first, JPEG 85": [pytest.mark.slow]}


@pytest.mark.parametrize(
    "variant", [pytest.param(name, marks=MARKS.get(name, [])) for name in MAKERS]
)
def test_the_variant_that_an_archive_was_made_as_is_the_nearest(
    dataset: Dataset, tmp_path: Path, variant: str
) -> None:
    build(dataset, tmp_path / "ours", CELLS)
    theirs = MAKERS[variant](dataset, tmp_path / "theirs")
    noise, contrast = compare(theirs, tmp_path / "ours")
    assert contrast.nearest == variant  # it has no noise: pixels agree as well
    near, ours = contrast.distances[variant], contrast.distances[OURS]
    assert near.pixels < 0.6
    assert near.pixels <= ours.pixels
    if "JPEG" in variant:
        assert (contrast.formats, contrast.quality) == ("JPEG", 85)
    else:
        assert (contrast.formats, contrast.quality) == ("PNG", None)
    assert noise.distances[variant].histograms < 0.3
    assert noise.distances[variant].pixels > 5  # other random numbers


def test_missing_pictures_are_counted_and_a_missing_cell_is_no_distance(
    dataset: Dataset, tmp_path: Path
) -> None:
    build(dataset, tmp_path / "ours", CELLS)
    theirs = archive(dataset, tmp_path / "theirs", cells=CELLS[:1])
    (theirs / "contrast/2/JPEGImages/car/b.png").unlink()
    noise, contrast = compare(theirs, tmp_path / "ours", pictures=2)
    assert (contrast.missing, contrast.expected, contrast.compared) == (1, 5, 2)
    assert contrast.sizes == "4 sizes"
    assert (noise.missing, noise.compared, noise.nearest, noise.sizes) == (5, 0, None, "none")


def test_without_clean_pictures_only_variants_of_ours_are_compared(
    dataset: Dataset, tmp_path: Path
) -> None:
    build(dataset, tmp_path / "ours", CELLS, copy=True)
    theirs = archive(dataset, tmp_path / "theirs", cells=CELLS[:1])
    (_, contrast) = compare(theirs, tmp_path / "ours")
    assert list(contrast.distances) == [OURS, "ours, JPEG 85"]
    (_, contrast) = compare(theirs, tmp_path / "ours", root=dataset.root)
    assert len(contrast.distances) == 6


def test_an_archive_of_other_pictures_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    build(dataset, tmp_path / "ours", CELLS)
    theirs = archive(dataset, tmp_path / "theirs", LAYOUTS[0].replace("{key}", "x/{stem}x"))
    with pytest.raises(BadInput, match="was it made of another dataset"):
        compare(theirs, tmp_path / "ours")


def test_the_command_prints_a_table_and_writes_all_distances(
    dataset: Dataset, tmp_path: Path
) -> None:
    build(dataset, tmp_path / "ours", CELLS)
    theirs = archive(
        dataset, tmp_path / "theirs", quality=85, name=LAYOUTS[0].replace("png", "jpg")
    )
    arguments = ["compare", str(theirs), str(tmp_path / "ours"), "--workers", "1"]
    result = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "all.csv")])
    assert result.exit_code == 0, result.output
    row = next(line for line in result.output.splitlines() if line.startswith("contrast@2"))
    assert "0 of 5" in row
    assert "JPEG    85" in row
    assert "ours, JPEG 85" in row
    with (tmp_path / "all.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 6
    assert rows[0]["corruption"] == "gaussian_noise"


def test_ours_is_what_the_archive_of_the_same_program_holds(
    dataset: Dataset, tmp_path: Path
) -> None:
    build(dataset, tmp_path / "ours", CELLS)
    for key in dataset.table.image_keys:
        for cell in CELLS:
            path = tmp_path / f"theirs/{cell.severity}/{cell.corruption}/{key}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            clean = read_image(dataset.path(key))
            image = corrupt(clean, str(cell.corruption), severity=cell.severity, key=key)
            PIL.Image.fromarray(image).save(path)
    for report in compare(tmp_path / "theirs", tmp_path / "ours"):
        assert report.nearest == OURS
        assert report.distances[OURS].pixels == report.distances[OURS].histograms == 0


def test_eval_reads_an_archive(dataset: Dataset, tmp_path: Path) -> None:
    theirs = archive(dataset, tmp_path / "theirs", side=96)
    common = ["eval", "--model", "hog", "--root", str(dataset.root), "--on", "contrast@2"]
    result = CliRunner().invoke(
        main, [*common, "--corrupted", str(theirs), "--out", str(tmp_path / "run")]
    )
    assert result.exit_code == 0, result.output
    assert "archive " in result.output
    assert "png, 96 x 96" in result.output
    refusal = CliRunner().invoke(main, [*common, "--on", "fog@1", "--corrupted", str(theirs)])
    assert refusal.exit_code == 2
    assert "lacks fog@1; complete it" in refusal.output


def test_pictures_that_belong_to_no_pair_are_passed_over(dataset: Dataset, tmp_path: Path) -> None:
    folder = archive(dataset, tmp_path / "theirs")
    (folder / "contrast/2/JPEGImages/car/zzz.png").write_bytes(b"none of ours")
    (folder / "__MACOSX").mkdir()
    found = find_archive(folder, dict.fromkeys(dataset.table.image_keys, ""))
    assert len(found.files) == 10
