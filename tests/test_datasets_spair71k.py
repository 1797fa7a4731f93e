"""SPair-71k: what is read, what is refused, and with which words."""

import json
import os
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spairc.datasets import load_dataset, spair71k, values
from spairc.types import BadInput, Box, Size, Variation

SIZES = {"a": (61, 43), "b": (47, 72), "c": (90, 38)}  # of the pictures in the category boat
FIRST = "000007-b-a:boat"
SECOND = "000003-a-c:boat"


def annotation(source: str, target: str, **changes: object) -> dict[str, Any]:
    """A pair annotation in SPair-71k's words, with some entries changed; None removes one."""
    record: dict[str, Any] = {
        "src_imname": f"{source}.jpg",
        "trg_imname": f"{target}.jpg",
        "src_imsize": [*SIZES[source], 3],
        "trg_imsize": [*SIZES[target], 3],
        "src_bndbox": [2, 3, 40, 41],
        "trg_bndbox": [5, 1, 33, 37],
        "category": "boat",
        "src_kps": [[4, 5], [31, 6.5]],
        "trg_kps": [[9, 8], [20, 30]],
        "viewpoint_variation": 1,
        "scale_variation": 2,
        "truncation": 1,
        "occlusion": 3,
    }
    record |= changes
    return {name: value for name, value in record.items() if value is not None}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def picture(path: Path, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", size, (9, 80, 200)).save(path)


def write_set(root: Path, colon: str = ":") -> Path:
    """Two test pairs of three pictures; the layout's order is not that of the file names."""
    write(root / "Layout/large/test.txt", f"{FIRST}\n{SECOND}\n")
    write(root / "Layout/small/test.txt", f"{SECOND}\r\n")
    pairs = {FIRST: annotation("b", "a"), SECOND: annotation("a", "c", src_kps=[[1, 2], [3, 4]])}
    for identity, record in pairs.items():
        name = identity.replace(":", colon)
        write(root / f"PairAnnotation/test/{name}.json", json.dumps(record))
    for stem, size in SIZES.items():
        picture(root / f"JPEGImages/boat/{stem}.jpg", size)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_set(tmp_path / "SPair-71k")


def change(root: Path, **changes: object) -> Path:
    """Write the first pair's annotation anew; return its path."""
    path = root / f"PairAnnotation/test/{FIRST}.json"
    path.write_text(json.dumps(annotation("b", "a", **changes)), encoding="utf-8")
    return path


def refused(root: Path, split: str = "test") -> str:
    """The one line that loading stops with."""
    with pytest.raises(BadInput) as caught:
        load_dataset("spair71k", root, split=split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_pairs_stand_in_the_order_of_the_layout(root: Path) -> None:
    assert [pair.id for pair in load_dataset("spair71k", root)] == [FIRST, SECOND]


def test_the_small_layout_is_a_list_of_its_own(root: Path) -> None:
    dataset = load_dataset("spair71k", root, layout="small")
    assert [pair.id for pair in dataset] == [SECOND]
    assert dataset.layout == "small"


def test_a_pair_is_what_its_annotation_tells(root: Path) -> None:
    pair = load_dataset("spair71k", root)[0]
    assert (pair.category, pair.source, pair.target) == ("boat", "boat/b", "boat/a")
    assert pair.source_points.tolist() == [[4, 5], [31, 6.5]]
    assert pair.target_points.tolist() == [[9, 8], [20, 30]]
    assert (pair.source_box, pair.target_box) == (Box(2, 3, 40, 41), Box(5, 1, 33, 37))
    assert (pair.source_size, pair.target_size) == (Size(47, 72), Size(61, 43))
    assert pair.variation == Variation(viewpoint=1, scale=2, truncation=1, occlusion=3)


def test_pictures_are_listed_by_key_and_found_below_the_root(root: Path) -> None:
    dataset = load_dataset("spair71k", root)
    assert list(dataset.pictures) == ["boat/a", "boat/b", "boat/c"]
    assert dataset.path("boat/c") == root / "JPEGImages/boat/c.jpg"


def test_annotations_name_what_a_built_set_needs_besides_pictures(root: Path) -> None:
    assert load_dataset("spair71k", root).annotations == ("PairAnnotation", "Layout")


@pytest.mark.parametrize("colon", [":", "-", "_", "", "\uf03a"], ids=ascii)
def test_names_are_found_whatever_an_unpacker_put_for_the_colon(tmp_path: Path, colon: str) -> None:
    root = write_set(tmp_path / "unpacked", colon=colon)
    assert [pair.id for pair in load_dataset("spair71k", root)] == [FIRST, SECOND]


def test_the_folder_above_may_be_given(root: Path) -> None:
    assert load_dataset("spair71k", root.parent).root == root


def test_a_picture_may_have_another_suffix_than_annotated(root: Path) -> None:
    (root / "JPEGImages/boat/a.jpg").unlink()
    picture(root / "JPEGImages/boat/a.PNG", SIZES["a"])
    assert load_dataset("spair71k", root).path("boat/a").name == "a.PNG"


def test_keys_are_composed_however_the_file_system_writes_accents(root: Path) -> None:
    accented, parted = "Fähre", unicodedata.normalize("NFD", "Fähre")
    identity = f"000009-{accented}-a:boat"
    record = annotation("c", "a") | {"src_imname": f"{accented}.jpg"}
    write(root / "Layout/large/test.txt", f"{identity}\n")
    write(
        root / f"PairAnnotation/test/{unicodedata.normalize('NFD', identity)}.json",
        json.dumps(record),
    )
    picture(root / f"JPEGImages/boat/{parted}.jpg", SIZES["c"])
    dataset = load_dataset("spair71k", root)
    assert dataset[0].source == f"boat/{accented}"
    assert dataset.path(dataset[0].source).is_file()


@pytest.mark.parametrize(
    "changes",
    [
        {"src_kps": [[0, 0], [46.5, 71]]},
        {"src_kps": [[47, 72], [1, 1]]},
        {"src_bndbox": [0, 0, 47, 72]},
        {"src_bndbox": [-3, 20, 60, 80.5]},
        {"src_bndbox": [30, 30, 33, 33]},
        {"src_bndbox": [30, 30, 33, 30]},
        {"viewpoint_variation": -1},
        {"trg_kps": [[9, 8], [9, 8]]},
    ],
    ids=[
        "points at the border",
        "a point on the last edge",
        "a box that fills the picture",
        "a box that leaves the picture",
        "points outside their own box",
        "a flat box",
        "an unknown factor",
        "two points in one place",
    ],
)
def test_what_real_annotations_hold_is_kept(root: Path, changes: dict[str, Any]) -> None:
    change(root, **changes)
    pair = load_dataset("spair71k", root)[0]
    assert pair.source_points.tolist() == changes.get("src_kps", [[4, 5], [31, 6.5]])
    assert list(pair.source_box) == changes.get("src_bndbox", [2, 3, 40, 41])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"src_kps": [[4, 5], [31, float("nan")]]},
            "source point 2 at (31, nan) is not in its picture",
        ),
        ({"trg_kps": [[float("inf"), 5], [3, 4]]}, "target point 1 at (inf, 5) is not in its"),
        ({"src_kps": [[4, 5], [47.5, 6]]}, "source point 2 at (47.5, 6) is not in its picture,"),
        ({"src_kps": [[4, 73], [3, 6]]}, "source point 1 at (4, 73) is not in its picture, 47 x"),
        ({"trg_kps": [[4, 5], [-1, 6]]}, "target point 2 at (-1, 6) is not in its picture, 61 x"),
        ({"trg_kps": [[4, -0.5], [1, 6]]}, "target point 1 at (4, -0.5) is not in its picture"),
        ({"src_kps": [[4, 5]]}, "src_kps has 1 points and trg_kps 2; each point needs its partner"),
        ({"src_kps": []}, "src_kps has no points"),
        ({"src_kps": [[4, 5], [6]]}, "src_kps is [[4, 5], [6]], not a list of [x, y]"),
        ({"src_kps": [[4, 5], None]}, "src_kps is [[4, 5], null], not a list of [x, y]"),
        ({"src_kps": [[4, "5"], [6, 7]]}, 'src_kps holds [4, "5", 6, 7], not numbers alone'),
        ({"src_kps": [[4, True], [6, 7]]}, "src_kps holds [4, true, 6, 7], not numbers alone"),
        ({"src_kps": {"0": [4, 5]}}, 'src_kps is {"0": [4, 5]}, not a list'),
        ({"src_kps": [[10**400, 5], [6, 7]]}, "beyond any picture"),
        ({"src_bndbox": [1, 2, 3]}, "src_bndbox is [1, 2, 3], not left, top, right, bottom"),
        ({"trg_bndbox": [9, 2, 3, 8]}, "target box (9, 2, 3, 8) is not left, top, right, bottom"),
        ({"trg_bndbox": [3, 2, 3, 2]}, "target box (3, 2, 3, 2) is not left, top, right, bottom"),
        ({"src_bndbox": [1, 2, float("nan"), 9]}, "source box (1, 2, nan, 9) is not left, top"),
        ({"src_bndbox": [1, 2, float("inf"), 9]}, "source box (1, 2, inf, 9) is not left, top"),
        ({"src_imsize": [47, 0, 3]}, "src_imsize is [47, 0], not width and height in pixels"),
        ({"src_imsize": [47.5, 70, 3]}, "src_imsize is [47.5, 70], not width and height in pixels"),
        ({"src_imsize": "47"}, 'src_imsize is "47", not a list'),
        ({"src_imname": 7}, "src_imname is 7, not text"),
        ({"src_imname": "../../x"}, "the name '../../x' leaves its folder"),
        ({"category": "cat"}, "make '-b-a:cat', which is not what the pair is called"),
        ({"trg_imname": "c.jpg"}, "make '-b-c:boat', which is not what the pair is called"),
        ({"truncation": 4}, "truncation is 4, not one of -1, 0, 1, 2, 3"),
        ({"occlusion": "none"}, 'occlusion is "none", not one of -1, 0, 1, 2, 3'),
        ({"occlusion": True}, "occlusion is true, not one of -1, 0, 1, 2, 3"),
        ({"scale_variation": None}, "scale_variation is missing"),
        ({"src_kps": None}, "src_kps is missing"),
    ],
)
def test_what_cannot_be_is_refused_and_the_file_named(
    root: Path, changes: dict[str, Any], complaint: str
) -> None:
    path = change(root, **changes)
    message = refused(root)
    assert complaint in message
    assert str(path) in message


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b"[" * 100_000, b'{"src_kps": [[NaN, 1]'],
    ids=["empty", "cut", "list", "null", "bytes", "deep", "cut in a list"],
)
def test_what_is_no_annotation_is_refused_and_the_file_named(root: Path, content: bytes) -> None:
    path = root / f"PairAnnotation/test/{SECOND}.json"
    path.write_bytes(content)
    assert f"annotation {path} is no JSON" in refused(root)


def test_a_list_that_names_a_file_outside_is_refused(root: Path) -> None:
    write(root / "Layout/large/test.txt", "../../x:boat\n")
    assert "the file name '../../x:boat.json' leaves its folder" in refused(root)


def test_a_pair_that_is_listed_twice_is_refused(root: Path) -> None:
    write(root / "Layout/large/test.txt", f"{FIRST}\n{SECOND}\n{FIRST}\n")
    assert f"Layout/large/test.txt names {FIRST} twice" in refused(root)


def test_an_empty_list_is_refused(root: Path) -> None:
    write(root / "Layout/large/test.txt", "\n")
    assert "test.txt is empty" in refused(root)


@pytest.mark.parametrize(
    ("gone", "complaint"),
    [
        ("", "dataset folder {root} does not exist"),
        ("Layout", "{root} holds no Layout folder, so it is no SPair-71k"),
        ("Layout/large/test.txt", "pair list {root}/Layout/large/test.txt is missing"),
        ("PairAnnotation/test", "folder {root}/PairAnnotation/test cannot be read"),
        (
            f"PairAnnotation/test/{SECOND}.json",
            f"annotation {{root}}/PairAnnotation/test/{SECOND}.json is missing",
        ),
        ("JPEGImages", "folder {root}/JPEGImages cannot be read"),
        (
            "JPEGImages/boat/c.jpg",
            "json: its picture '{root}/JPEGImages/boat/c.jpg' is missing",
        ),
    ],
)
def test_what_is_missing_is_named(root: Path, gone: str, complaint: str) -> None:
    load_dataset("spair71k", root)  # what was found once is looked for again
    path = root / gone
    path.unlink() if path.is_file() else shutil.rmtree(path)
    assert complaint.format(root=root) in refused(root)


def test_a_root_that_is_a_file_is_refused(root: Path) -> None:
    assert "is a file" in refused(root / "Layout/large/test.txt")


def test_a_split_without_files_is_refused(root: Path) -> None:
    assert "Layout/large/val.txt is missing" in refused(root, split="val")


def test_two_files_with_one_key_are_refused(root: Path) -> None:
    picture(root / "JPEGImages/boat/b.png", SIZES["b"])
    assert "boat/b.jpg and boat/b.png have one image key, boat/b" in refused(root)


def test_files_that_are_no_pictures_have_no_key(root: Path) -> None:
    for name in ("a.txt", "._a.jpg", "._a.png", "notes"):
        write(root / "JPEGImages/boat" / name, "no picture")
    (root / "JPEGImages/boat/folder.jpg").mkdir()
    assert len(load_dataset("spair71k", root)) == 2


def test_a_pipe_in_place_of_a_picture_is_not_waited_for(root: Path) -> None:
    (root / "JPEGImages/boat/a.jpg").unlink()
    os.mkfifo(root / "JPEGImages/boat/a.jpg")
    assert "JPEGImages/boat/a.jpg' is missing" in refused(root)


def test_a_second_opening_reads_no_annotation(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_dataset("spair71k", root)
    monkeypatch.setattr(values, "read_record", lambda path: pytest.fail(f"read {path}"))
    assert load_dataset("spair71k", root).table.hash == first.table.hash


def test_a_changed_annotation_is_read_again(root: Path) -> None:
    load_dataset("spair71k", root)
    change(root, src_kps=[[4, 5], [31, 7.5]])  # the file keeps its length
    assert load_dataset("spair71k", root)[0].source_points.tolist() == [[4, 5], [31, 7.5]]


def test_a_layout_in_another_order_is_read_again(root: Path) -> None:
    load_dataset("spair71k", root)
    write(root / "Layout/large/test.txt", f"{SECOND}\n{FIRST}\n")
    assert [pair.id for pair in load_dataset("spair71k", root)] == [SECOND, FIRST]


def test_a_layout_that_names_the_same_files_otherwise_is_read_again(tmp_path: Path) -> None:
    root = write_set(tmp_path / "unpacked", colon="_")
    load_dataset("spair71k", root)
    write(root / "Layout/large/test.txt", f"{FIRST}\n{SECOND}\n".replace(":", "_"))
    assert "which is not what the pair is called" in refused(root)


def test_nothing_is_written_into_the_dataset(root: Path) -> None:
    before = sorted(root.rglob("*"))
    load_dataset("spair71k", root)
    assert sorted(root.rglob("*")) == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=st.sampled_from(sorted(annotation("b", "a"))), value=JSON)
def test_any_value_in_any_place_is_read_or_refused_in_one_line(
    root: Path, name: str, value: object
) -> None:
    record = annotation("b", "a") | {name: value}
    (root / f"PairAnnotation/test/{FIRST}.json").write_text(json.dumps(record), encoding="utf-8")
    try:
        dataset = load_dataset("spair71k", root)
    except BadInput as error:
        assert "\n" not in str(error)  # noqa: PT017 -- either outcome is right
    else:
        assert np.isfinite(dataset.table.source_points).all()


def image_record(**changes: object) -> dict[str, Any]:
    record: dict[str, Any] = {
        "image_width": 61,
        "image_height": 43,
        "category": "boat",
        "pose": "Left",
        "truncated": 1,
        "occluded": 0,
        "difficult": 1,
        "bndbox": [1, 2, 61, 40],
        "kps": {"0": [3, 4], "1": None, "12": [60, 7]},
        "azimuth_id": 6,
    }
    return record | changes


def test_a_picture_has_an_annotation_of_its_own(root: Path) -> None:
    write(root / "ImageAnnotation/boat/a.json", json.dumps(image_record()))
    found = spair71k.image_annotation(root, "boat/a")
    assert dict(found.points) == {"0": (3, 4), "12": (60, 7)}
    assert (found.key, found.category, found.size) == ("boat/a", "boat", Size(61, 43))
    assert (found.box, found.pose, found.azimuth) == (Box(1, 2, 61, 40), "Left", 6)
    assert (found.truncated, found.occluded, found.difficult) == (True, False, True)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"kps": {"3": [62, 4]}}, "point 3 at (62, 4) is not in its picture, 61 x 43"),
        ({"kps": {"3": [float("nan"), 4]}}, "point 3 at (nan, 4) is not in its picture"),
        ({"kps": [[3, 4]]}, "kps is not points by their id"),
        ({"kps": {"3": [3]}}, "3 is [[3]], not a list of [x, y]"),
        ({"azimuth_id": 8}, "azimuth_id is 8, not one of"),
        ({"truncated": "no"}, 'truncated is "no", not one of 0, 1'),
        ({"image_width": None}, "image_width, image_height is [null, 43], not width and height"),
        ({"bndbox": [9, 2, 3, 8]}, "bndbox is [9.0, 2.0, 3.0, 8.0], not left, top, right, bottom"),
    ],
)
def test_a_picture_annotation_that_cannot_be_is_refused(
    root: Path, changes: dict[str, Any], complaint: str
) -> None:
    write(root / "ImageAnnotation/boat/a.json", json.dumps(image_record(**changes)))
    with pytest.raises(BadInput) as caught:
        spair71k.image_annotation(root, "boat/a")
    assert complaint in str(caught.value)
    assert "ImageAnnotation/boat/a.json" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "complaint"),
    [("boat/z", "is missing"), ("../../x", "leaves its folder"), ("", "is missing")],
)
def test_a_key_without_annotation_is_refused(root: Path, key: str, complaint: str) -> None:
    write(root / "ImageAnnotation/boat/a.json", json.dumps(image_record()))
    with pytest.raises(BadInput, match=complaint):
        spair71k.image_annotation(root, key)


COUNTS = {
    ("trn", "large"): 290,
    ("val", "large"): 8,
    ("test", "large"): 174,
    ("trn", "small"): 58,
    ("val", "small"): 1,
    ("test", "small"): 34,
}


@pytest.mark.parametrize(("which", "count"), COUNTS.items(), ids=str)
def test_the_small_real_set_opens_whole(shared: Path, which: tuple[str, str], count: int) -> None:
    dataset = load_dataset("spair71k", shared / "data/SPair-mini", *which)
    assert len(dataset) == count
    assert all(dataset.path(key).is_file() for key in dataset.table.image_keys)


def test_columns_equal_a_slow_reading_of_the_real_files(shared: Path) -> None:
    root = shared / "data/SPair-mini"
    dataset = load_dataset("spair71k", root, "val")
    names = (root / "Layout/large/val.txt").read_text().split()
    for pair, name in zip(dataset, names, strict=True):
        record = json.loads((root / f"PairAnnotation/val/{name}.json").read_text())
        assert pair.source_points.tolist() == record["src_kps"]
        assert pair.target_points.tolist() == record["trg_kps"]
        assert list(pair.target_box) == record["trg_bndbox"]
        assert list(pair.source_size) == record["src_imsize"][:2]
        assert pair.variation.scale == record["scale_variation"]
        assert pair.target == f"{record['category']}/{record['trg_imname'][:-4]}"
