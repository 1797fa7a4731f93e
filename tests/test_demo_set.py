"""The demonstration set: its keypoints are exact, its files are SPair-71k's, it is made whole."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from spairc import demo
from spairc.datasets import load_dataset
from spairc.datasets.dataset import Dataset
from spairc.demo import make_demo_set
from spairc.demo.annotations import FEWEST_POINTS, MOST_POINTS, _scale_variation
from spairc.demo.photographs import PHOTOGRAPHS, _seen_by_both, choose_points
from spairc.demo.views import VIEWS, View, draw
from spairc.images import read_image
from spairc.types import BadInput, Box, Pair, Points, Size

ALL_VIEWS = [
    pytest.param(view, id=f"{category}_{number}")
    for category, views in VIEWS.items()
    for number, view in enumerate(views)
]
BENT = View("coffee", Size(61, 40), (280.0, 195.0), 1.7, 13.0, 1.2, bend=9.0, seed=21)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo_set(tmp_path_factory.mktemp("demo"))


@pytest.fixture
def dataset(folder: Path) -> Dataset:
    return load_dataset("spair71k", folder)


@pytest.fixture
def two_files(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make the set quick: two small files. What is returned grows by one at each making."""
    made: list[int] = []

    def contents() -> dict[str, bytes]:
        made.append(1)
        return {"JPEGImages/a/a_0.png": b"pixels", "Layout/large/test.txt": b"a pair\n"}

    monkeypatch.setattr(demo, "_contents", contents)
    return made


def view_of(key: str) -> View:
    category, name = key.split("/")
    return VIEWS[category][int(name.rpartition("_")[2])]


def slow_to_photograph(view: View, point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where a view's pixel lies in the photograph, from the definition of a thin-plate spline."""
    turn, middle = np.radians(view.angle), (np.array(view.size) - 1) / 2
    across, down = (point - middle) * [view.stretch, 1 / view.stretch] * view.zoom
    x = view.centre[0] + across * np.cos(turn) - down * np.sin(turn)
    y = view.centre[1] + across * np.sin(turn) + down * np.cos(turn)
    if not view.bend:
        return np.array([x, y])
    width, height = view.size
    controls = [((width - 1) * i / 3, (height - 1) * j / 2) for j in range(3) for i in range(4)]
    moves = view.bend * np.random.Generator(np.random.PCG64(view.seed)).uniform(-1, 1, (12, 2))
    system, answer = np.zeros((15, 15)), np.zeros((15, 2))
    for i, (xi, yi) in enumerate(controls):
        for j, (xj, yj) in enumerate(controls):
            system[i, j] = plate(np.hypot(xi - xj, yi - yj))
        system[i, 12:] = system[12:, i] = 1, xi, yi
        answer[i] = moves[i]
    weights = np.linalg.solve(system, answer)
    basis = [plate(np.hypot(point[0] - xi, point[1] - yi)) for xi, yi in controls]
    moved: NDArray[np.float64] = np.array([x, y]) + np.array([*basis, 1, *point]) @ weights
    return moved


def plate(distance: float) -> float:
    return float(distance**2 * np.log(distance)) if distance else 0.0


def in_photograph(view: View, points: Points) -> Points:
    return np.array([slow_to_photograph(view, point) for point in points])


def test_points_of_a_pair_are_one_place_of_the_photograph(dataset: Dataset) -> None:
    for pair in dataset:
        if pair.category != "motorcycle":
            first = in_photograph(view_of(pair.source), pair.source_points)
            second = in_photograph(view_of(pair.target), pair.target_points)
            np.testing.assert_allclose(first, second, atol=0.004)  # three decimals x zoom


def test_points_of_the_stereo_pair_are_apart_by_the_measured_disparity(dataset: Dataset) -> None:
    with (files("skimage") / "data/motorcycle_disp.npz").open("rb") as file:
        disparity = np.load(file)["arr_0"]
    pairs = [pair for pair in dataset if pair.source == "motorcycle/motorcycle_0"]
    assert len(pairs) == 2
    for pair in pairs:
        left = in_photograph(view_of(pair.source), pair.source_points)
        right = in_photograph(view_of(pair.target), pair.target_points)
        x, y = np.rint(left).astype(int).T
        np.testing.assert_allclose(left, np.rint(left), atol=0.004)
        np.testing.assert_allclose(left[:, 0] - right[:, 0], disparity[y, x], atol=0.008)
        np.testing.assert_allclose(left[:, 1], right[:, 1], atol=0.008)


def test_patches_around_the_points_of_a_pair_look_alike_to_within_half_a_pixel(
    dataset: Dataset,
) -> None:
    offsets = np.concatenate([patch_offsets(dataset, pair) for pair in dataset])
    assert np.linalg.norm(offsets, axis=1).mean() < 0.5
    assert np.abs(offsets.mean(axis=0)).max() < 0.1  # no shift by half a pixel anywhere


def patch_offsets(dataset: Dataset, pair: Pair) -> Points:
    """(N, 2) how far from each target point the source's patch fits best, in quarter pixels."""
    source, target = (grey(dataset.path(key)) for key in (pair.source, pair.target))
    ones = np.ones((len(pair.source_points), 1))
    fit = np.linalg.lstsq(np.hstack([pair.target_points, ones]), pair.source_points, rcond=None)[0]
    patch, around = (np.arange(-reach, reach + 0.01, 0.25) for reach in (8, 10))
    offsets = []
    for start, end in zip(pair.source_points, pair.target_points, strict=True):
        steps = np.stack(np.meshgrid(patch, patch), axis=-1)
        wanted = sample(source, start + steps @ fit[:2])
        area = sample(target, end + np.stack(np.meshgrid(around, around), axis=-1))
        fits = cv2.matchTemplate(area, wanted, cv2.TM_CCOEFF_NORMED)
        row, column = np.unravel_index(fits.argmax(), fits.shape)
        offsets.append([column / 4 - 2, row / 4 - 2])
    return np.array(offsets)


def grey(path: Path) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = read_image(path).mean(axis=2)
    return mean


def sample(picture: NDArray[np.float64], places: Points) -> NDArray[np.float32]:
    values = map_coordinates(picture, [places[..., 1], places[..., 0]], order=1, mode="nearest")
    return values.astype(np.float32)


def test_a_view_undoes_its_own_map() -> None:
    points = np.array([[0.0, 0.0], [60.0, 39.0], [-4.5, 17.25], [33.0, 44.0]])
    found = BENT.from_photograph(BENT.to_photograph(points))
    np.testing.assert_allclose(found, points, atol=2e-6)


def test_a_view_agrees_with_the_definition_of_a_thin_plate_spline() -> None:
    points = np.array([[0.0, 0.0], [20.0, 19.5], [57.5, 3.25]])
    np.testing.assert_allclose(BENT.to_photograph(points), in_photograph(BENT, points), atol=1e-6)


def test_a_views_picture_shows_the_places_that_its_map_tells() -> None:
    # A photograph whose red is x / 3 and whose green is y / 3 tells where each pixel is from.
    y, x = np.mgrid[:400, :600]
    told = draw(np.rint(np.stack([x, y, x], axis=-1) / 3).astype(np.uint8), BENT)[..., :2] * 3.0
    errors = told - BENT.grid()
    assert np.abs(errors).max() < 3
    assert np.abs(errors.mean(axis=(0, 1))).max() < 0.1


def test_a_view_changes_the_light_by_gamma_and_then_by_tint() -> None:
    grey = np.full((60, 90, 3), 51, np.uint8)
    view = View("coffee", Size(33, 21), (40.0, 30.0), 1.0, gamma=2.0, tint=(1.0, 0.5, 30.0))
    assert draw(grey, view)[5, 5].tolist() == [10, 5, 255]  # 255 x 0.2 ^ 2 = 10.2


def test_a_view_that_folds_over_itself_is_refused() -> None:
    folded = View("coffee", Size(61, 40), (280.0, 195.0), 1.7, bend=400.0, seed=21)
    with pytest.raises(RuntimeError, match="folds over itself"):
        folded.from_photograph(np.array([[280.0, 195.0], [250.0, 180.0]]))


@pytest.mark.parametrize("view", ALL_VIEWS)
def test_no_view_looks_over_the_border_of_its_photograph(view: View) -> None:
    height, width, _ = PHOTOGRAPHS[view.photograph].read().shape
    places = view.grid().reshape(-1, 2)
    assert (places >= 0).all()
    assert (places <= [width - 1, height - 1]).all()


def test_every_two_views_of_a_thing_are_a_pair_in_both_directions(dataset: Dataset) -> None:
    assert Counter(pair.category for pair in dataset) == dict.fromkeys(VIEWS, 6)
    forth = {(pair.source, pair.target): pair for pair in dataset}
    assert len(forth) == len(dataset)
    for (source, target), pair in forth.items():
        back = forth[target, source].swapped()
        np.testing.assert_array_equal(pair.source_points, back.source_points)
        np.testing.assert_array_equal(pair.target_points, back.target_points)
        assert (pair.source_box, pair.target_box) == (back.source_box, back.target_box)
        assert pair.variation == back.variation


def test_the_small_layout_is_the_first_two_views_of_each_thing(folder: Path) -> None:
    small = load_dataset("spair71k", folder, layout="small")
    assert set(small.table.image_keys) == {f"{name}/{name}_{n}" for name in VIEWS for n in (0, 1)}
    assert len(small) == 2 * len(VIEWS)


def test_a_pair_shares_enough_points_and_not_too_many(dataset: Dataset) -> None:
    counts = dataset.table.counts
    assert counts.min() >= FEWEST_POINTS
    assert counts.max() <= MOST_POINTS


def test_pictures_have_the_sizes_that_their_annotations_tell_and_none_is_square(
    dataset: Dataset,
) -> None:
    for pair in dataset:
        height, width, _ = read_image(dataset.path(pair.source)).shape
        assert pair.source_size == (width, height)
        assert width != height
    assert len({pair.source_size for pair in dataset}) == len(dataset.table.image_keys)


def test_boxes_lie_inside_their_pictures_and_most_points_in_their_boxes(dataset: Dataset) -> None:
    inside = []
    for pair in dataset:
        box = pair.source_box
        assert 0 <= box.left < box.right < pair.source_size.width
        assert 0 <= box.top < box.bottom < pair.source_size.height
        x, y = pair.source_points.T
        inside.append((x >= box.left) & (x <= box.right) & (y >= box.top) & (y <= box.bottom))
    assert np.concatenate(inside).mean() > 0.95


def test_truncation_tells_whether_the_border_cuts_the_object(dataset: Dataset) -> None:
    truncations = set()
    for pair in dataset:
        touches = [
            box.left == 0
            or box.top == 0
            or box.right == size.width - 1
            or box.bottom == size.height - 1
            for box, size in (
                (pair.source_box, pair.source_size),
                (pair.target_box, pair.target_size),
            )
        ]
        assert pair.variation.truncation == touches[0] + 2 * touches[1]
        truncations.add(pair.variation.truncation)
    assert truncations == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("right", "factor"), [(30, 0), (49.9, 0), (50, 1), (89.9, 1), (90, 2), (20, 1), (14, 2)]
)
def test_scale_variation_follows_the_ratio_of_the_boxes(right: float, factor: int) -> None:
    # 20 x 20 against (right - 10) x 20: ratios 1, 1.995, 2, 3.995, 4, 2 and 5
    assert _scale_variation(Box(3, 5, 23, 25), Box(10, 4, right, 24)) == factor


def test_every_visible_point_of_a_picture_has_its_name(folder: Path, dataset: Dataset) -> None:
    for pair in dataset:
        path = folder / "ImageAnnotation" / f"{pair.source}.json"
        named = {name: at for name, at in json.loads(path.read_text())["kps"].items() if at}
        pair_path = folder / "PairAnnotation/test" / f"{pair.id}.json"
        names = json.loads(pair_path.read_text())["kps_ids"]
        np.testing.assert_array_equal([named[name] for name in names], pair.source_points)


def test_the_same_files_come_out_every_time(folder: Path, tmp_path: Path) -> None:
    again = make_demo_set(tmp_path / "again")
    first, second = (
        {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*.*")}
        for root in (folder, again)
    )
    assert first == second


def test_the_readme_names_every_photograph_and_who_took_it(folder: Path) -> None:
    text = (folder / "README.txt").read_text()
    for name, photograph in PHOTOGRAPHS.items():
        assert f"- {name}: {photograph.credit}" in text


def test_the_sums_are_those_of_the_files(folder: Path) -> None:
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert len(lines) == 1 + 18 + 18 + 36 + 2
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_a_complete_set_is_left_alone(two_files: list[int], tmp_path: Path) -> None:
    assert make_demo_set(tmp_path) == make_demo_set(str(tmp_path)) == tmp_path
    assert len(two_files) == 1


@pytest.mark.parametrize(
    "harm",
    [
        lambda root: (root / "SHA256SUMS").unlink(),
        lambda root: (root / "SHA256SUMS").write_text("garbage\n"),
        lambda root: (root / "JPEGImages/a/a_0.png").unlink(),
        lambda root: (root / "Layout/large/test.txt").write_bytes(b"a pai"),
        lambda root: (root / "README.txt").write_text("spairc demonstration set"),
    ],
    ids=["no sums", "wrong sums", "file missing", "file cut short", "readme cut short"],
)
def test_a_set_that_is_not_whole_is_made_again(
    two_files: list[int], tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    make_demo_set(tmp_path)
    harm(tmp_path)
    make_demo_set(tmp_path)
    assert len(two_files) == 2
    assert (tmp_path / "JPEGImages/a/a_0.png").read_bytes() == b"pixels"
    assert (tmp_path / "Layout/large/test.txt").read_bytes() == b"a pair\n"
    make_demo_set(tmp_path)
    assert len(two_files) == 2


def test_a_complete_set_of_another_version_is_made_again(
    two_files: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(demo, "_readme", lambda: b"spairc demonstration set, version 0\n")
        make_demo_set(tmp_path)
    make_demo_set(tmp_path)
    assert len(two_files) == 2
    assert b"version 1" in (tmp_path / "README.txt").read_bytes()


def test_a_making_that_was_cut_off_is_taken_up_again(
    two_files: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", only_the_first(Path.write_bytes))
        with pytest.raises(KeyboardInterrupt):
            make_demo_set(tmp_path)
    assert [file.name for file in tmp_path.rglob("*.*")] == ["README.txt"]
    make_demo_set(tmp_path)
    assert len(two_files) == 2
    assert (tmp_path / "Layout/large/test.txt").read_bytes() == b"a pair\n"


def only_the_first(function: Callable[..., object]) -> Callable[..., object]:
    """The function once; after that, whoever calls it is interrupted."""
    calls: list[int] = []

    def cut_off(*arguments: object) -> object:
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return function(*arguments)

    return cut_off


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "Layout").mkdir()
    with pytest.raises(BadInput, match="holds other files; give the demonstration set an empty"):
        make_demo_set(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["Layout"]


def test_corners_stand_on_the_object_and_well_apart() -> None:
    points = choose_points("chelsea")
    assert PHOTOGRAPHS["chelsea"].shows_object(300, 451)[tuple(points.astype(int).T[::-1])].all()
    apart = np.abs(points[:, None] - points[None]).max(axis=2) + 1e9 * np.eye(len(points))
    assert apart.min() >= 24


def test_points_hidden_from_the_right_or_near_an_edge_are_not_used() -> None:
    # A near square (disparity 20) before a plane (disparity 4); unknown at the lower right.
    disparity = np.full((40, 90), 4.0)
    disparity[:30, 50:75] = 20.0
    disparity[35:, 80:] = np.inf
    seen = _seen_by_both(disparity)
    assert seen[15, 62]  # in the middle of the square
    assert seen[20, 20]  # plane, far away
    assert not seen[15, 42]  # plane, which the square covers: 42 - 4 = 58 - 20
    assert seen[38, 42]  # plane below the square
    assert not seen[15, 52]  # within the window of an edge
    assert not seen[37, 85]  # unknown
    assert not seen[37, 76]  # within the window of the unknown


def test_the_pictures_are_lossless(folder: Path) -> None:
    with PIL.Image.open(folder / "JPEGImages/rocket/rocket_1.png") as picture:
        assert picture.format == "PNG"
