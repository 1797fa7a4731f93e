"""What every matcher without training owes: the contract, the geometry and the readouts."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from scipy.ndimage import map_coordinates

from spairc.datasets import load_dataset
from spairc.images import read_image
from spairc.types import Image, Matcher, Points, Query, Size
from spairc_models import load_model
from spairc_models.preprocessing import Preprocessing

UNTRAINED: dict[str, str] = {"weights": "random", "device": "cpu"}
MATCHERS: dict[str, Mapping[str, str]] = {
    "sift": {},
    "hog": {},
    "daisy": {},
    "torchvision:mobilenet_v3_small": UNTRAINED,
    "timm:test_vit": UNTRAINED,
}
CLASSICAL = ("sift", "hog", "daisy")


@pytest.fixture(scope="module", params=MATCHERS)
def matcher(request: pytest.FixtureRequest) -> Matcher:
    return load_model(request.param, **MATCHERS[request.param])


@pytest.fixture(scope="module")
def texture() -> Image:
    """A picture in which no two places look alike: noise of all sizes, (300, 420, 3)."""
    draws = np.random.default_rng(5)
    layers = [
        np.asarray(
            PIL.Image.fromarray(draws.integers(0, 256, (rows, rows + 2, 3), dtype=np.uint8)).resize(
                (420, 300), PIL.Image.Resampling.BICUBIC
            ),
            dtype=np.float64,
        )
        for rows in (4, 9, 20, 41)
    ]
    return np.asarray(np.mean(layers, axis=0) * 2 - 128).clip(0, 255).astype(np.uint8)


def size_of(image: Image) -> Size:
    return Size(image.shape[1], image.shape[0])


def ask(matcher: Matcher, source: Image, target: Image, points: object) -> Points:
    features = matcher.encode([source, target])
    query = Query(
        source=features[0],
        target=features[1],
        points=np.array(points, dtype=np.float64),
        source_size=size_of(source),
        target_size=size_of(target),
        category="car",
    )
    return matcher.match([query])[0]


def inside(count: int, size: Size, seed: int = 3) -> Points:
    """Points away from the border by a tenth of the picture."""
    share = np.random.default_rng(seed).uniform(0.1, 0.9, (count, 2))
    points: Points = share * np.array(size)
    return points


# The contract


def test_answers_have_the_points_shape_and_type(matcher: Matcher, texture: Image) -> None:
    found = ask(matcher, texture[:151, :97], texture[50:], inside(3, Size(97, 151)))
    assert found.shape == (3, 2)
    assert found.dtype == np.float64
    assert np.isfinite(found).all()


@pytest.mark.parametrize("count", [1, 40])
def test_any_number_of_points_is_answered(matcher: Matcher, texture: Image, count: int) -> None:
    source, target = matcher.encode([texture, texture[20:]])
    points = inside(count, Size(420, 300))
    query = Query(source, target, points, Size(420, 300), Size(420, 280), "car")
    together = matcher.match([query])[0]
    assert together.shape == (count, 2)
    each = [replace(query, points=points[i : i + 1]) for i in range(count)]
    np.testing.assert_allclose(together, np.concatenate(matcher.match(each)), atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (33, 200), (317, 45), (2, 90)])
def test_odd_sizes_are_answered_inside_the_target(
    matcher: Matcher, texture: Image, shape: tuple[int, int]
) -> None:
    odd = np.ascontiguousarray(texture[: shape[0], : shape[1]])
    found = ask(matcher, texture, odd, inside(6, size_of(texture)))
    assert (found >= 0).all()
    assert (found <= np.array(size_of(odd)) - 1).all()


def test_points_on_and_beyond_the_border_are_answered_inside(
    matcher: Matcher, texture: Image
) -> None:
    points = [[0, 0], [419, 299], [0, 299], [419, 0], [-8, 150], [431, 10.5], [210, 310]]
    found = ask(matcher, texture, texture, points)
    assert (found >= 0).all()
    assert (found <= [419, 299]).all()


@pytest.mark.parametrize("name", MATCHERS)
def test_a_picture_matches_itself_at_the_centre_of_every_cell(name: str, texture: Image) -> None:
    matcher = load_model(name, **{**MATCHERS[name], "readout": "argmax"})
    rows, columns = matcher.encode([texture])[0].shape[:2]
    cells = np.array([[x, y] for y in range(rows) for x in range(columns)])
    points = (cells + 0.5) / [columns, rows] * size_of(texture)
    np.testing.assert_allclose(ask(matcher, texture, texture, points), points)


@pytest.mark.parametrize("name", CLASSICAL)
def test_a_picture_matches_itself_within_a_cell(name: str, texture: Image) -> None:
    points = inside(25, size_of(texture))
    found = ask(load_model(name), texture, texture, points)
    assert np.abs(found - points).max() <= 420 / 16


@pytest.mark.parametrize("name", CLASSICAL)
def test_a_shifted_window_is_found_where_it_went(name: str, texture: Image) -> None:
    source, target = texture[:250, :360], texture[37:287, 55:415]
    points = np.array([[220.0, 140.0], [180.0, 120.0], [260.0, 160.0], [150.0, 200.0]])
    found = ask(load_model(name), source, target, points)
    assert np.abs(found - (points - [55, 37])).max() <= 360 / 16


@pytest.mark.parametrize("name", CLASSICAL)
def test_the_target_may_have_another_size_and_shape(name: str, texture: Image) -> None:
    narrow = np.asarray(PIL.Image.fromarray(texture).resize((210, 330)))
    points = inside(12, size_of(texture))
    found = ask(load_model(name), texture, narrow, points)
    assert np.abs(found - points * [210 / 420, 330 / 300]).max() <= 330 / 16


def test_answers_do_not_depend_on_what_else_is_asked(matcher: Matcher, texture: Image) -> None:
    images = [texture, texture[:90, 30:], texture[100:, :57], texture[::-1], texture[10:80, 20:99]]
    features = matcher.encode(images)
    queries = [
        Query(
            source=features[i],
            target=features[j],
            points=inside(2 + 3 * j, size_of(images[i]), seed=i),
            source_size=size_of(images[i]),
            target_size=size_of(images[j]),
            category="car",
        )
        for i in range(5)
        for j in range(5)
    ]
    together = matcher.match(queries)
    alone = [matcher.match([query])[0] for query in queries]
    backwards = matcher.match(queries[::-1])[::-1]
    twice = matcher.match([queries[7], *queries, queries[7]])
    for i in range(25):
        assert np.array_equal(together[i], alone[i])
        assert np.array_equal(together[i], backwards[i])
        assert np.array_equal(together[i], twice[i + 1])


def test_a_pictures_features_do_not_depend_on_its_neighbours(
    matcher: Matcher, texture: Image
) -> None:
    images = [texture[:90, 30:], texture, texture[100:, :57]]
    first = matcher.encode(images)
    turned = matcher.encode([images[2], images[1], images[1], images[0]])
    for one, other in ((0, 3), (1, 1), (1, 2), (2, 0)):
        np.testing.assert_array_equal(np.asarray(first[one]), np.asarray(turned[other]))


def test_nothing_asked_gets_nothing(matcher: Matcher) -> None:
    assert matcher.encode([]) == []
    assert matcher.match([]) == []


def test_what_was_given_is_not_changed(matcher: Matcher, texture: Image) -> None:
    image, points = texture.copy(), np.array([[30.0, 40.0]])
    ask(matcher, image, image, points)
    assert np.array_equal(image, texture)
    assert points.tolist() == [[30, 40]]


def test_a_picture_without_any_structure_is_answered(matcher: Matcher) -> None:
    flat = np.full((40, 70, 3), 128, dtype=np.uint8)
    found = ask(matcher, flat, flat, [[20.0, 30.0]])
    assert np.isfinite(found).all()


def test_the_record_can_be_written_as_json(matcher: Matcher) -> None:
    details = dict(matcher.details)  # type: ignore[attr-defined]  # all of ours have them
    assert json.loads(json.dumps(details)) == details
    assert {"device", "precision", "side", "resize", "weights", "readout"} <= details.keys()


# Torch: batches, devices, precision, padding


@pytest.mark.parametrize("batch_size", [2, 8])
def test_the_batch_size_does_not_change_the_answers(texture: Image, batch_size: int) -> None:
    images = [texture[i:, 3 * i :] for i in range(5)]
    name = "torchvision:mobilenet_v3_small"
    alone = load_model(name, **UNTRAINED).encode(images)
    together = load_model(name, **UNTRAINED, batch_size=batch_size).encode(images)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_number_of_threads_does_not_change_a_bit(texture: Image) -> None:
    matcher = load_model("torchvision:mobilenet_v2", **UNTRAINED)
    images = [texture, texture[:90, 30:], texture[100:, :57]]
    before = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(torch.stack(matcher.encode(images)))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_bfloat16_changes_features_little_and_not_at_all_their_type(texture: Image) -> None:
    name = "torchvision:mobilenet_v3_small"
    exact = load_model(name, **UNTRAINED).encode([texture])[0]
    rough = load_model(name, **UNTRAINED, precision="bfloat16").encode([texture])[0]
    assert rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    assert (exact * rough).sum(dim=2).min() > 0.99


def test_features_are_compared_in_float32_whatever_the_network_ran_in(texture: Image) -> None:
    name = "torchvision:mobilenet_v3_small"
    exact, rough = (load_model(name, **UNTRAINED, precision=p) for p in ("float32", "bfloat16"))
    features = exact.encode([texture])[0]
    query = Query(features, features.flip(0), inside(9, Size(9, 9)), Size(9, 9), Size(9, 9), "car")
    assert np.array_equal(exact.match([query])[0], rough.match([query])[0])


@pytest.mark.parametrize("shape", [(300, 90), (80, 300), (300, 6)])
def test_a_padded_target_is_answered_in_the_picture_not_in_its_bars(
    texture: Image, shape: tuple[int, int]
) -> None:
    matcher = load_model("torchvision:mobilenet_v3_small", **UNTRAINED, resize="pad")
    target = np.ascontiguousarray(texture[: shape[0], : shape[1]])
    black = np.zeros((200, 100, 3), np.uint8)  # as alike to the bars as can be
    found = ask(matcher, black, target, inside(5, Size(100, 200)))
    assert (found >= 0).all()
    assert (found <= np.array(size_of(target)) - 1).all()


def test_a_padded_picture_matches_itself_at_the_centre_of_a_cell(texture: Image) -> None:
    matcher = load_model("timm:test_vit", **UNTRAINED, resize="pad", readout="argmax")
    frame = Preprocessing(160, "pad").frame(size_of(texture))
    points = frame.to_original(np.array([[56.0, 72.0], [8.0, 88.0], [152.0, 40.0]]))
    np.testing.assert_allclose(ask(matcher, texture, texture, points), points)


def read_at(grid: np.ndarray, column: float, row: float) -> np.ndarray:
    """Bilinear reading by scipy, borders repeated."""
    channels = np.moveaxis(grid, 2, 0)
    at = [[row], [column]]
    return np.array([map_coordinates(each, at, order=1, mode="nearest")[0] for each in channels])


def test_points_are_compared_by_the_cosine_of_their_features() -> None:
    matcher = load_model("torchvision:mobilenet_v3_small", **UNTRAINED, readout="argmax")
    generator = torch.Generator().manual_seed(8)
    source, target = (
        torch.nn.functional.normalize(torch.randn(16, 16, 5, generator=generator), dim=2)
        for _ in range(2)
    )
    points = inside(10, Size(256, 256))
    query = Query(source, target, points, Size(256, 256), Size(256, 256), "car")
    cells = points / 16 - 0.5
    read = np.array([read_at(source.double().numpy(), x, y) for x, y in cells])
    best = (read @ target.double().reshape(256, 5).T.numpy()).argmax(axis=1)
    expected = np.stack([best % 16, best // 16], axis=1) * 16 + 8
    np.testing.assert_allclose(matcher.match([query])[0], expected)


# Real pictures


def pck(name: str, root: Path, **options: str) -> float:
    """PCK@0.1 (box, per image, square) on the test split, written from its definition."""
    matcher, dataset = load_model(name, **options), load_dataset("spair71k", root)
    keys = dataset.table.image_keys
    features = dict(
        zip(keys, matcher.encode([read_image(dataset.path(key)) for key in keys]), strict=True)
    )
    shares = []
    for pair in dataset:
        query = Query(
            features[pair.source],
            features[pair.target],
            pair.source_points,
            pair.source_size,
            pair.target_size,
            pair.category,
        )
        scale = 256 / np.array(pair.target_size)
        left, top, right, bottom = pair.target_box
        tolerance = 0.1 * max((right - left) * scale[0], (bottom - top) * scale[1])
        errors = (matcher.match([query])[0] - pair.target_points) * scale
        shares.append((np.linalg.norm(errors, axis=1) <= tolerance).mean())
    return 100 * float(np.mean(shares))


@pytest.mark.parametrize(("name", "least"), [("sift", 25), ("hog", 26), ("daisy", 20)])
def test_classical_descriptors_find_parts_of_real_objects(
    shared: Path, name: str, least: float
) -> None:
    assert pck(name, shared / "data" / "SPair-mini") > least


def test_mobilenet_finds_parts_of_real_objects(shared: Path) -> None:
    weights = str(shared / "weights" / "mobilenet_v2_imagenet.pth")
    root = shared / "data" / "SPair-mini"
    name = "torchvision:mobilenet_v2"
    soft = pck(name, root, checkpoint=weights, device="cpu")
    assert soft > 38
    assert soft > pck(name, root, checkpoint=weights, device="cpu", readout="argmax") > 36
