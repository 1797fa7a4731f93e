"""PF-WILLOW and PF-PASCAL: what is read from lists and .mat files, and what is refused."""

import csv
import shutil
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import scipy.io

from spairc.datasets import load_dataset
from spairc.datasets.matlab import read_matrix
from spairc.types import BadInput, Box, Size

SIZES = {"x": (61, 43), "y": (47, 72), "z": (90, 38)}


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", SIZES[path.stem], (9, 80, 200)).save(path)


def matlab(path: Path, **variables: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, variables)


def write_list(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def refused(name: str, root: Path, split: str = "test") -> str:
    """The one line that loading stops with."""
    with pytest.raises(BadInput) as caught:
        load_dataset(name, root, split=split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# PF-WILLOW

POINTS = {  # ten a picture, at most two decimals
    stem: np.round(np.random.default_rng(seed).uniform(2, np.array(size) - 2, (10, 2)), 2)
    for seed, (stem, size) in enumerate(SIZES.items())
}
HEAD = ["imageA", "imageB", *(f"{axis}{i}" for axis in ("XA", "YA", "XB", "YB") for i in range(10))]


def willow_row(source: str, target: str, *, above: str = "PF-WILLOW") -> list[Any]:
    names = [f"{above}/duck(S)/{stem}.png" for stem in (source, target)]
    return [*names, *POINTS[source].T.ravel(), *POINTS[target].T.ravel()]


def write_willow(root: Path, below: str = "") -> Path:
    for stem in SIZES:
        picture(root / below / f"duck(S)/{stem}.png")
        # the list is rounded, the .mat files are not
        matlab(root / below / f"duck(S)/{stem}.mat", pts_coord=POINTS[stem].T + 0.004)
    rows = [willow_row("z", "x"), willow_row("x", "y"), willow_row("y", "x")]
    write_list(root / "test_pairs.csv", [HEAD, *rows])
    return root


@pytest.fixture
def willow(tmp_path: Path) -> Path:
    return write_willow(tmp_path / "PF-WILLOW")


def test_willow_pairs_stand_in_the_order_of_the_list(willow: Path) -> None:
    names = [pair.id for pair in load_dataset("pf-willow", willow)]
    assert names == ["000000-z-x:duck(S)", "000001-x-y:duck(S)", "000002-y-x:duck(S)"]


def test_a_willow_pair_is_what_its_row_tells(willow: Path) -> None:
    pair = load_dataset("pf-willow", willow)[1]
    assert (pair.category, pair.source, pair.target) == ("duck(S)", "duck(S)/x", "duck(S)/y")
    assert np.array_equal(pair.source_points, POINTS["x"])
    assert np.array_equal(pair.target_points, POINTS["y"])
    assert (pair.source_size, pair.target_size) == (Size(61, 43), Size(47, 72))
    assert set(pair.variation) == {-1}


def test_a_willow_box_is_the_extent_of_the_points(willow: Path) -> None:
    x, y = POINTS["z"].T
    expected = Box(min(x), min(y), max(x), max(y))
    assert load_dataset("pf-willow", willow)[0].source_box == expected


def test_willow_has_one_list_without_a_name(willow: Path) -> None:
    dataset = load_dataset("pf-willow", willow)
    assert (dataset.layout, dataset.annotations) == ("", ("test_pairs.csv",))


@pytest.mark.parametrize("below", ["PF-WILLOW", "PF-dataset"])
def test_willow_pictures_may_stand_in_the_archives_folder(tmp_path: Path, below: str) -> None:
    dataset = load_dataset("pf-willow", write_willow(tmp_path, below=below))
    assert dataset.path("duck(S)/y") == tmp_path / below / "duck(S)/y.png"


def test_the_folder_above_willow_may_be_given(willow: Path) -> None:
    assert load_dataset("pf-willow", willow.parent).root == willow


def test_the_list_may_have_cnngeometrics_names(willow: Path) -> None:
    (willow / "test_pairs.csv").unlink()
    rows = [HEAD, willow_row("x", "y", above="PF-dataset")]
    write_list(willow / "test_pairs_pf.csv", rows)
    dataset = load_dataset("pf-willow", willow)
    assert dataset[0].source == "duck(S)/x"
    assert dataset.annotations == ("test_pairs_pf.csv",)


def test_willow_needs_no_matlab_files(willow: Path) -> None:
    for path in willow.rglob("*.mat"):
        path.unlink()
    assert len(load_dataset("pf-willow", willow)) == 3


def test_points_that_differ_between_list_and_matlab_file_are_refused(willow: Path) -> None:
    matlab(willow / "duck(S)/y.mat", pts_coord=POINTS["y"].T + 0.02)
    message = refused("pf-willow", willow)
    assert "row 2: the points of duck(S)/y are not those of" in message
    assert str(willow / "duck(S)/y.mat") in message


def test_a_matlab_file_that_changed_is_read_again(willow: Path) -> None:
    load_dataset("pf-willow", willow)
    (willow / "duck(S)/x.mat").write_bytes(b"no longer a matrix")
    assert "duck(S)/x.mat is damaged" in refused("pf-willow", willow)


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        (2, "nan", "row 1: source point 1 at (nan, "),
        (2, "90.5", "row 1: source point 1 at (90.5, "),
        (12, "-0.1", "is not in its picture, 90 x 38"),
        (22, "inf", "row 1: target point 1 at (inf, "),
        (5, "3,5", "row 1: could not convert string to float: '3,5'"),
        (5, "", "row 1: could not convert string to float: ''"),
        (0, "../../x", "row 1: the file name '../../x' leaves its folder"),
        (0, "/duck(S)/x.png", "row 1: the file name '/duck(S)/x.png' leaves its folder"),
        (0, "x.png", "row 1: picture 'x.png' is not in a folder"),
        (0, "", "leaves its folder"),
        (0, "PF-WILLOW/car(S)/x.png", "'car(S)/x' and 'duck(S)/x' are of two sub-classes"),
    ],
)
def test_a_willow_row_that_cannot_be_is_refused_and_named(
    willow: Path, column: int, value: str, complaint: str
) -> None:
    row = willow_row("z", "x")
    row[column] = value
    write_list(willow / "test_pairs.csv", [HEAD, row])
    message = refused("pf-willow", willow)
    assert complaint in message
    assert f"pair list {willow}/test_pairs.csv" in message


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([], "is not a head of 42 columns and a row a pair"),
        ([HEAD], "is not a head of 42 columns and a row a pair"),
        ([willow_row("x", "y")] * 2, "is not a head of 42 columns and a row a pair"),
        ([HEAD[:-1], willow_row("x", "y")[:-1]], "is not a head of 42 columns and a row a pair"),
        ([HEAD, willow_row("x", "y"), willow_row("y", "x")[:9]], "row 2 has 9 fields and the head"),
    ],
    ids=["empty", "head only", "no head", "a column short", "a row short"],
)
def test_a_willow_list_that_is_none_is_refused(
    willow: Path, rows: list[list[object]], complaint: str
) -> None:
    write_list(willow / "test_pairs.csv", rows)
    assert complaint in refused("pf-willow", willow)


def test_a_list_of_bytes_is_refused(willow: Path) -> None:
    (willow / "test_pairs.csv").write_bytes(b"\xff\xfe\x00\x81")
    assert "test_pairs.csv cannot be read" in refused("pf-willow", willow)


def test_a_missing_willow_list_is_told_with_the_remedy(willow: Path) -> None:
    (willow / "test_pairs.csv").unlink()
    message = refused("pf-willow", willow)
    assert f"pair list {willow}/test_pairs.csv is missing" in message
    assert "spairc download pf-willow --to DIR" in message


def test_a_missing_willow_picture_is_named(willow: Path) -> None:
    load_dataset("pf-willow", willow)
    (willow / "duck(S)/y.png").unlink()
    message = refused("pf-willow", willow)
    assert f"picture '{willow}/duck(S)/y.jpg' is missing" in message
    assert "test_pairs.csv: row 3" in message


def test_the_real_willow_opens_whole(shared: Path) -> None:
    dataset = load_dataset("pf-willow", shared / "data/PF-WILLOW")
    assert len(dataset) == 900
    assert len(dataset.pictures) == 100
    assert sorted(set(dataset.table.categories)) == [
        *("car(G)", "car(M)", "car(S)", "duck(S)", "motorbike(G)", "motorbike(M)"),
        *("motorbike(S)", "winebottle(M)", "winebottle(wC)", "winebottle(woC)"),
    ]
    swapped = {(pair.target, pair.source) for pair in dataset}
    assert swapped == {(pair.source, pair.target) for pair in dataset}  # closed under swapping


# PF-PASCAL

NAN = float("nan")
MARKS = {  # the second point is unseen in x, the third in y
    "x": [[4, 5], [NAN, NAN], [30.5, 21], [7, 40]],
    "y": [[9, 8], [20, 30], [NAN, NAN], [46, 70.25]],
    "z": [[1, 2], [3, 4], [5, 6], [80, 37]],
}
BOXES = {"x": [1, 2, 55, 41], "y": [3, 4, 47, 72], "z": [5, 6, 90, 38]}
TRAINING = ["source_image", "target_image", "class", "flip"]
TESTING = ["source_image", "target_image", "class", "XA", "YA", "XB", "YB"]


def pascal_row(source: str, target: str, *rest: object) -> list[Any]:
    return [*(f"PF-dataset-PASCAL/JPEGImages/{stem}.jpg" for stem in (source, target)), *rest]


def write_pascal(root: Path, below: str = "") -> Path:
    for stem in SIZES:
        picture(root / below / f"JPEGImages/{stem}.jpg")
        for category in ("bicycle", "tvmonitor"):
            path = root / below / f"Annotations/{category}/{stem}.mat"
            matlab(path, kps=np.array(MARKS[stem], float), bbox=np.array([BOXES[stem]]))
    twins = [pascal_row("x", "y", 2, 1), pascal_row("z", "y", 20, 0), pascal_row("x", "y", 2, 0)]
    write_list(
        root / "train_pairs.csv",
        [TRAINING, *twins, pascal_row("z", "y", 20, 1), twins[2], twins[0]],
    )
    write_list(root / "val_pairs.csv", [TRAINING, pascal_row("y", "z", 2, 0)])
    points = ["4.5;30", "5;21", "9;20.125", "8;30"]
    write_list(root / "test_pairs.csv", [TESTING, pascal_row("x", "y", 20, *points)])
    return root


@pytest.fixture
def pascal(tmp_path: Path) -> Path:
    return write_pascal(tmp_path / "PF-dataset-PASCAL")


def test_pascal_points_are_those_that_both_pictures_show(pascal: Path) -> None:
    pair = load_dataset("pf-pascal", pascal, split="val")[0]
    assert (pair.id, pair.category) == ("000000-y-z:bicycle", "bicycle")
    assert (pair.source, pair.target) == ("y", "z")
    assert pair.source_points.tolist() == [[9, 8], [20, 30], [46, 70.25]]
    assert pair.target_points.tolist() == [[1, 2], [3, 4], [80, 37]]
    assert (pair.source_box, pair.target_box) == (Box(3, 4, 47, 72), Box(5, 6, 90, 38))
    assert (pair.source_size, pair.target_size) == (Size(47, 72), Size(90, 38))


def test_pascal_points_are_the_lists_where_it_has_them(pascal: Path) -> None:
    pair = load_dataset("pf-pascal", pascal)[0]
    assert pair.category == "tvmonitor"
    assert pair.source_points.tolist() == [[4.5, 5], [30, 21]]
    assert pair.target_points.tolist() == [[9, 8], [20.125, 30]]
    assert pair.target_box == Box(3, 4, 47, 72)


def test_mirrored_rows_are_left_to_the_trainer_and_repeated_ones_kept(pascal: Path) -> None:
    names = [pair.id for pair in load_dataset("pf-pascal", pascal, split="trn")]
    assert names == ["000001-z-y:tvmonitor", "000002-x-y:bicycle", "000004-x-y:bicycle"]


def test_a_mirrored_row_without_its_plain_twin_is_refused(pascal: Path) -> None:
    rows = [TRAINING, pascal_row("x", "y", 2, 0), pascal_row("x", "y", 20, 1)]
    write_list(pascal / "train_pairs.csv", rows)
    message = refused("pf-pascal", pascal, "trn")
    assert "train_pairs.csv: row 2 is mirrored and has no plain twin" in message


def test_pascal_names_its_list_and_annotations_for_a_built_set(pascal: Path) -> None:
    dataset = load_dataset("pf-pascal", pascal, split="val")
    assert dataset.annotations == ("val_pairs.csv", "Annotations")
    assert dataset.path("y") == pascal / "JPEGImages/y.jpg"
    assert dataset.layout == ""


def test_pascal_lists_may_stand_above_the_archives_folder(tmp_path: Path) -> None:
    dataset = load_dataset("pf-pascal", write_pascal(tmp_path, below="PF-dataset-PASCAL"))
    assert dataset.root == tmp_path
    assert dataset.path("x") == tmp_path / "PF-dataset-PASCAL/JPEGImages/x.jpg"
    assert dataset.annotations == ("test_pairs.csv", "PF-dataset-PASCAL/Annotations")


@pytest.mark.parametrize("name", ["trn_pairs.csv", "train_pairs_pf_pascal.csv"])
def test_pascal_lists_are_found_under_the_fields_other_names(pascal: Path, name: str) -> None:
    (pascal / "train_pairs.csv").rename(pascal / name)
    assert len(load_dataset("pf-pascal", pascal, split="trn")) == 3


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (pascal_row("x", "y", 0, "1", "2", "3", "4"), "class '0' is not one of 1 to 20"),
        (pascal_row("x", "y", "cat", "1", "2", "3", "4"), "class 'cat' is not one of 1 to 20"),
        (pascal_row("x", "y", 2, "1;2", "3", "4;5", "6;7"), "XA, YA, XB, YB have [2, 1, 2, 2] num"),
        (pascal_row("x", "y", 2, "", "", "", ""), "could not convert string to float: ''"),
        (pascal_row("x", "y", 2, "1;", "2;", "3;", "4;"), "could not convert string to float: ''"),
        (pascal_row("x", "y", 2, "nan", "2", "3", "4"), "source point 1 at (nan, 2) is not in its"),
        (pascal_row("x", "y", 2, "1", "2", "47.5", "4"), "target point 1 at (47.5, 4) is not in"),
        (["../../x", "y.jpg", 2, "1", "2", "3", "4"], "the file name '../../x' leaves its folder"),
        (pascal_row("x", "w", 2, "1", "2", "3", "4"), "JPEGImages/w.jpg' is missing"),
        (pascal_row("x", "y", 7, "1", "2", "3", "4"), "Annotations/car/x.mat cannot be read"),
    ],
)
def test_a_pascal_row_that_cannot_be_is_refused_and_named(
    pascal: Path, row: list[object], complaint: str
) -> None:
    write_list(pascal / "test_pairs.csv", [TESTING, row])
    message = refused("pf-pascal", pascal)
    assert complaint in message
    assert "row 1" in message or ".mat" in message


def test_a_flip_that_is_neither_is_refused(pascal: Path) -> None:
    write_list(pascal / "val_pairs.csv", [TRAINING, pascal_row("x", "y", 2, "yes")])
    assert "row 1: flip 'yes' is neither 0 nor 1" in refused("pf-pascal", pascal, "val")


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"bbox": np.array([BOXES["y"]])}, "holds no matrix kps"),
        ({"kps": np.array(MARKS["y"])}, "holds no matrix bbox"),
        (
            {"kps": np.array(MARKS["y"]).T, "bbox": np.array([BOXES["y"]])},
            "kps is 2 x 4, not any x",
        ),
        ({"kps": np.array(MARKS["y"]), "bbox": np.zeros((4, 1))}, "bbox is 4 x 1, not 1 x 4"),
        ({"kps": "text", "bbox": np.array([BOXES["y"]])}, "holds no matrix kps"),
        (
            {"kps": np.array(MARKS["y"]), "bbox": np.array([[9, 1, 2, 3]])},
            "source box (9, 1, 2, 3)",
        ),
        (
            {"kps": np.array(MARKS["y"])[:3], "bbox": np.array([BOXES["y"]])},
            "its .mat files have 3 and 4 points",
        ),
        (
            {"kps": np.full((4, 2), NAN), "bbox": np.array([BOXES["y"]])},
            "no point is seen in both pictures",
        ),
        (
            {"kps": np.full((4, 2), np.inf), "bbox": np.array([BOXES["y"]])},
            "source point 1 at (inf, inf) is not in its picture",
        ),
    ],
)
def test_a_matlab_file_that_cannot_be_is_refused(
    pascal: Path, variables: dict[str, Any], complaint: str
) -> None:
    matlab(pascal / "Annotations/bicycle/y.mat", **variables)
    assert complaint in refused("pf-pascal", pascal, "val")


def test_a_missing_pascal_folder_is_named(pascal: Path) -> None:
    shutil.rmtree(pascal / "JPEGImages")
    assert f"folder {pascal}/JPEGImages cannot be read" in refused("pf-pascal", pascal)


def test_the_published_lists_are_read_whole(shared: Path, pascal: Path) -> None:
    """With made-up pictures and .mat files, as the real ones are not here."""
    for split, count in (("train", 1470), ("val", 308), ("test", 299)):
        listing = shared / f"data/PF-PASCAL-pairs/{split}_pairs.csv"
        shutil.copy(listing, pascal / listing.name)
        with listing.open(newline="") as file:
            wanted = {(name, row[2]) for row in list(csv.reader(file))[1:] for name in row[:2]}
        for name, number in wanted:
            stand_in(pascal, Path(name), int(number))
        dataset = load_dataset("pf-pascal", pascal, split="trn" if split == "train" else split)
        assert len(dataset) == count


CATEGORY = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]


def stand_in(root: Path, name: Path, number: int) -> None:
    """Copies of one picture and one .mat file: 2,000 files are quickly made that way."""
    mould = root / "mould"
    if not mould.exists():
        mould.mkdir()
        PIL.Image.new("L", (300, 300)).save(mould / "picture.jpg")
        matlab(mould / "marks.mat", kps=np.array([[1.0, 2.0]]), bbox=np.array([[1, 2, 9, 30]]))
    path = root / f"Annotations/{CATEGORY[number - 1]}/{name.stem}.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(mould / "marks.mat", path)
    shutil.copy(mould / "picture.jpg", root / "JPEGImages" / name.name)


# .mat files


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kind", ["f8", "f4", "u1", "i2", "u4", "i8"])
def test_a_matrix_equals_scipys_reading(tmp_path: Path, kind: str, compressed: bool) -> None:
    draws = np.random.default_rng(3)
    written = {
        "text": "kps",
        "cells": np.array([1, "two"], dtype=object),
        "structure": {"kps": [[1.0, 2.0]]},
        "cube": np.zeros((2, 3, 4)),
        "kps": draws.uniform(0, 100, (7, 2)).astype(kind),
    }
    scipy.io.savemat(tmp_path / "a.mat", written, do_compression=compressed)
    found = read_matrix(tmp_path / "a.mat", "kps", height=None, width=2)
    assert found.dtype == np.float64
    assert np.array_equal(found, scipy.io.loadmat(tmp_path / "a.mat")["kps"])


def test_the_real_matrices_equal_scipys_reading(shared: Path) -> None:
    paths = sorted((shared / "data/PF-WILLOW").rglob("*.mat"))
    assert len(paths) == 100
    for path in paths:
        found = read_matrix(path, "pts_coord", height=2, width=10)
        assert np.array_equal(found, scipy.io.loadmat(path)["pts_coord"])


def test_a_file_from_a_machine_of_the_other_byte_order_is_read(tmp_path: Path) -> None:
    parts = [
        struct.pack(">IIII", 6, 8, 6, 0),  # flags: double
        struct.pack(">IIii", 5, 8, 1, 2),  # dimensions: 1 x 2
        struct.pack(">HH4s", 1, 1, b"m"),  # name: one byte of type 1, in the tag itself
        struct.pack(">IIhhI", 3, 4, 700, -5, 0),  # numbers, stored short
    ]
    matrix = b"".join(parts)
    content = b" " * 124 + b"\1\0MI" + struct.pack(">II", 14, len(matrix)) + matrix
    (tmp_path / "a.mat").write_bytes(content)
    assert read_matrix(tmp_path / "a.mat", "m", height=1, width=2).tolist() == [[700, -5]]


def test_unseen_points_stay_nan(tmp_path: Path) -> None:
    matlab(tmp_path / "a.mat", m=np.array([[NAN, 2.0]]))
    assert np.isnan(read_matrix(tmp_path / "a.mat", "m", height=1, width=2)[0, 0])


def test_a_complex_matrix_is_no_matrix_of_points(tmp_path: Path) -> None:
    matlab(tmp_path / "a.mat", m=np.array([[1j, 2]]))
    with pytest.raises(BadInput, match="holds no matrix m"):
        read_matrix(tmp_path / "a.mat", "m", height=1, width=2)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "no MATLAB file of version 5 to 7"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), "no MATLAB file of version 5 to 7"),
        (b" " * 124 + b"\0\1IM", "holds no matrix m"),
        (
            b" " * 124 + b"\0\1IM" + struct.pack("<II", 14, 99),
            "an element of 99 bytes is cut short",
        ),
    ],
    ids=["empty", "version 7.3", "no variables", "cut"],
)
def test_a_file_without_matrices_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(BadInput, match=complaint):
        read_matrix(tmp_path / "a.mat", "m", height=1, width=2)


def flip(content: bytearray, draws: np.random.Generator) -> None:
    for _ in range(draws.integers(1, 6)):
        content[draws.integers(0, len(content))] = draws.integers(0, 256)


def shorten(content: bytearray, draws: np.random.Generator) -> None:
    del content[draws.integers(0, len(content)) :]


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("damage", [flip, shorten])
def test_a_damaged_matlab_file_is_read_or_refused(
    tmp_path: Path,
    damage: Callable[[bytearray, np.random.Generator], None],
    compressed: bool,
) -> None:
    path = tmp_path / "a.mat"
    matrix = {"kps": np.arange(8.0).reshape(4, 2), "other": "text"}
    scipy.io.savemat(path, matrix, do_compression=compressed)
    original = path.read_bytes()
    draws = np.random.default_rng(7)
    refusals = 0
    for _ in range(120):
        content = bytearray(original)
        damage(content, draws)
        path.write_bytes(content)
        try:
            read_matrix(path, "kps", height=4, width=2)
        except BadInput as error:
            refusals += 1
            assert "\n" not in str(error)  # noqa: PT017 -- either outcome is right
    assert refusals > 12
