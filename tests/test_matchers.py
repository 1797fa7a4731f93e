"""What every matcher without training owes: the contract, the geometry and the readouts."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from spairc.datasets import load_dataset
from spairc.images import read_image
from spairc.types import BadInput, Image, Matcher, Points, Query, Size
from spairc_models import load_model
from spairc_models.adapter import (
    Execution,
    TorchMatcher,
    batches,
    choose_device,
    details_of,
    execution,
)
from spairc_models.nearest import joined
from spairc_models.preprocessing import Preprocessing
from spairc_models.readout import Readout, cell_corners, nearest_points

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
    return share * np.array(size)


# The contract


def test_answers_have_the_points_shape_and_type(matcher: Matcher, texture: Image) -> None:
    found = ask(matcher, texture[:151, :97], texture[50:], inside(3, Size(97, 151)))
    assert found.shape == (3, 2)
    assert found.dtype == np.float64
    assert np.isfinite(found).all()


@pytest.mark.parametrize("count", [1, 40])
def test_any_number_of_points_is_answered(matcher: Matcher, texture: Image, count: int) -> None:
    points = inside(count, size_of(texture))
    together = ask(matcher, texture, texture[20:], points)
    assert together.shape == (count, 2)
    alone = np.concatenate([ask(matcher, texture, texture[20:], [point]) for point in points])
    np.testing.assert_allclose(together, alone, atol=1e-3)


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
    details = dict(matcher.details)  # type: ignore[attr-defined]
    assert json.loads(json.dumps(details)) == details
    assert {"device", "precision", "side", "resize", "weights", "readout"} <= details.keys()


# Torch: batches, devices, precision, padding


@pytest.mark.parametrize("batch_size", [2, 3, 8])
def test_the_batch_size_does_not_change_the_answers(texture: Image, batch_size: int) -> None:
    images = [texture[i:, 3 * i :] for i in range(5)]
    name = "torchvision:mobilenet_v3_small"
    alone = load_model(name, **UNTRAINED).encode(images)
    together = load_model(name, **UNTRAINED, batch_size=batch_size).encode(images)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_network_sees_batches_in_the_order_of_the_pictures() -> None:
    seen: list[int] = []

    def features(inputs: torch.Tensor) -> list[float]:
        assert torch.is_inference_mode_enabled()
        seen.append(len(inputs))
        return [float(each.mean()) for each in inputs]

    how = Execution(torch.device("cpu"), batch_size=2)
    spy = TorchMatcher("spy", Preprocessing(8), how, features, lambda _: [], {})
    means = spy.encode([np.full((4, 6, 3), value, np.uint8) for value in (0, 50, 100, 150, 200)])
    assert seen == [2, 2, 1]
    assert means == sorted(means)


def test_a_matcher_is_asked_and_answers_in_the_frame_of_its_input() -> None:
    asked: list[list[float]] = []

    def find(queries: list[Query]) -> list[Points]:
        asked.extend(query.points.tolist()[0] for query in queries)
        return [np.array([[2.0, 4.0]], dtype=np.float32) for _ in queries]

    how = Execution(torch.device("cpu"))
    spy = TorchMatcher("spy", Preprocessing(8), how, lambda _: [], find, {})
    query = Query(None, None, np.array([[10.0, 3.0]]), Size(20, 4), Size(16, 32), "car")
    assert spy.match([query])[0].tolist() == [[4, 16]]
    assert asked == [[4, 6]]


def test_batches_keep_the_order_and_the_last_is_shorter() -> None:
    assert [list(batch) for batch in batches([1, 2, 3, 4, 5], 2)] == [[1, 2], [3, 4], [5]]


def test_bfloat16_changes_features_little_and_not_at_all_their_type(texture: Image) -> None:
    name = "torchvision:mobilenet_v3_small"
    exact = load_model(name, **UNTRAINED).encode([texture])[0]
    rough = load_model(name, **UNTRAINED, precision="bfloat16").encode([texture])[0]
    assert rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    assert (exact * rough).sum(dim=2).min() > 0.99


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "device 'gpu': choose from cpu, cuda"),
        ({"device": "cuda:x"}, "device 'cuda:x': choose from"),
        ({"device": "cuda:99"}, "device 'cuda:99': this machine has"),
        ({"precision": "float16"}, "no precision is called 'float16'; did you mean"),
        ({"batch_size": 0}, "batch size 0"),
    ],
)
def test_an_impossible_execution_is_explained(options: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        execution(**options)  # type: ignore[arg-type]


def test_without_a_choice_the_device_is_there() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device(None).type == expected


def test_the_record_names_device_precision_input_and_weights() -> None:
    details = details_of(execution("cpu", "bfloat16", 4), Preprocessing(320, "pad"), "abc")
    expected = {
        "device": "cpu",
        "precision": "bfloat16",
        "batch_size": 4,
        "side": 320,
        "resize": "pad",
        "weights": "abc",
    }
    assert details == {**expected, "torch": torch.__version__}


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


# The input


@pytest.mark.parametrize("size", [Size(420, 300), Size(97, 31), Size(64, 64)])
def test_squashing_is_pillows_bilinear_resize(texture: Image, size: Size) -> None:
    image = np.ascontiguousarray(texture[: size.height, : size.width])
    resized = PIL.Image.fromarray(image).resize((64, 64), PIL.Image.Resampling.BILINEAR)
    assert np.array_equal(Preprocessing(64).square(image), np.asarray(resized))


def test_padding_keeps_the_aspect_ratio_between_black_bars(texture: Image) -> None:
    square = Preprocessing(60, "pad").square(np.maximum(texture[:100, :300], 1))
    assert not square[:20].any()
    assert square[20:40].all()
    assert not square[40:].any()


@pytest.mark.parametrize("mode", ["squash", "pad"])
def test_the_frame_tells_where_a_pixel_went(mode: str) -> None:
    image = np.zeros((90, 250, 3), np.uint8)
    image[58:66, 187:195] = 255
    preprocessing = Preprocessing(100, mode)  # type: ignore[arg-type]
    rows, columns = np.nonzero(preprocessing.square(image).max(axis=2) > 200)
    expected = preprocessing.frame(Size(250, 90)).from_original(np.array([[191.0, 62.0]]))[0]
    assert math.dist((columns.mean(), rows.mean()), expected) < 1


def test_normalisation_is_per_channel() -> None:
    image = np.zeros((5, 7, 3), np.uint8) + np.array([255, 0, 51], np.uint8)
    preprocessing = Preprocessing(4, mean=(0.5, 0.25, 0.1), std=(0.5, 0.25, 0.2))
    assert preprocessing.normalised(image).shape == (3, 4, 4)
    np.testing.assert_allclose(preprocessing.normalised(image)[:, 0, 0], [1, -1, 0.5], rtol=1e-6)


# Reading and readouts, against slow references


def slow_reading(grid: np.ndarray, column: float, row: float) -> np.ndarray:
    """Bilinear reading from the definition: tent weights over all cells, borders repeated."""
    rows, columns = grid.shape[:2]
    column, row = min(max(column, 0), columns - 1), min(max(row, 0), rows - 1)
    total = np.zeros(grid.shape[2])
    for y in range(rows):
        for x in range(columns):
            total += max(0, 1 - abs(y - row)) * max(0, 1 - abs(x - column)) * grid[y, x]
    return total


def test_cells_are_read_bilinearly() -> None:
    draws = np.random.default_rng(2)
    grid = draws.normal(size=(4, 7, 3))
    points = np.concatenate(
        [draws.uniform([-2, -2], [9, 6], (30, 2)), [[6, 3], [0, 0], [5.5, 3], [2, 1.25]]]
    )
    corners, weights = cell_corners(points, (4, 7))
    found = (grid.reshape(28, 3)[corners] * weights[..., None]).sum(axis=1)
    expected = [slow_reading(grid, column, row) for column, row in points]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def slow_window(scores: np.ndarray, window: int, temperature: float) -> tuple[float, float]:
    """Window soft-argmax from the definition, cell by cell."""
    rows, columns = scores.shape
    best = max((scores[y, x], -y, -x) for y in range(rows) for x in range(columns))
    top, left = -best[1], -best[2]
    weight = x_sum = y_sum = 0.0
    for y in range(rows):
        for x in range(columns):
            if max(abs(y - top), abs(x - left)) <= window // 2:
                share = math.exp((scores[y, x] - best[0]) / temperature)
                weight += share
                x_sum += share * x
                y_sum += share * y
    return x_sum / weight, y_sum / weight


@pytest.mark.parametrize("window", [1, 3, 5, 15])
@pytest.mark.parametrize("temperature", [0.02, 0.5])
def test_the_window_readout_agrees_with_its_definition(window: int, temperature: float) -> None:
    scores = np.random.default_rng(4).uniform(-1, 1, (20, 6, 9)).astype(np.float32)
    found = Readout("window", window, temperature)(scores)
    expected = [slow_window(each.astype(np.float64), window, temperature) for each in scores]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_the_argmax_readout_takes_the_first_best_cell() -> None:
    scores = np.zeros((2, 3, 5), np.float32)
    scores[0, 2, 4] = scores[1, 1, 3] = scores[1, 2, 0] = 1
    assert Readout("argmax")(scores).tolist() == [[4, 2], [3, 1]]


def test_a_window_of_one_cell_is_the_argmax() -> None:
    scores = np.random.default_rng(9).uniform(-1, 1, (8, 4, 6)).astype(np.float32)
    assert np.array_equal(Readout("window", 1)(scores), Readout("argmax")(scores))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "softmax"}, "no readout is called 'softmax'; choose from argmax, window"),
        ({"kind": "windows"}, "did you mean 'window'"),
        ({"window": 4}, "window 4: give an odd number"),
        ({"window": 0}, "window 0: give an odd number"),
        ({"temperature": 0.0}, "temperature 0.0: give a positive number"),
        ({"temperature": math.nan}, "temperature nan: give a positive number"),
    ],
)
def test_an_impossible_readout_is_explained(settings: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Readout(**settings)  # type: ignore[arg-type]


def test_the_answer_is_the_centre_of_the_most_similar_cell() -> None:
    def similar(*_: object) -> np.ndarray:
        return np.array([[0, 0, 0, 0, 0, 1, 0, 0]], np.float32)  # row 1, column 1 of 2 x 4

    query = Query(None, None, np.array([[3.0, 3.0]]), Size(9, 9), Size(400, 100), "car")
    found = nearest_points(query, Preprocessing(16), (2, 4), Readout("argmax"), similar)
    assert found.tolist() == [[6, 12]]  # cells of 4 x 8 pixels of the 16 x 16 frame


def test_a_point_is_read_at_its_own_cell() -> None:
    read = {}

    def similar(_: object, corners: np.ndarray, weights: np.ndarray, __: object) -> np.ndarray:
        read.update(corners=corners.tolist(), weights=weights.tolist())
        return np.zeros((1, 8), np.float32)

    query = Query(None, None, np.array([[6.0, 8.0]]), Size(9, 9), Size(400, 100), "car")
    nearest_points(query, Preprocessing(16), (2, 4), Readout("argmax"), similar)
    # x 6 is the centre of column 1; y 8 is the border between the two rows.
    assert read["corners"] == [[1, 2, 5, 6]]
    assert read["weights"] == [[0.5, 0, 0.5, 0]]


def test_layers_weigh_the_same_and_take_the_finest_grid() -> None:
    generator = torch.Generator().manual_seed(1)
    coarse = 100 * torch.randn(2, 50, 3, 2, generator=generator)
    fine = torch.randn(2, 4, 6, 5, generator=generator)
    grids = joined([coarse, fine])
    assert [tuple(grid.shape) for grid in grids] == [(6, 5, 54)] * 2
    for grid, alone in zip(grids, fine, strict=True):
        torch.testing.assert_close(grid.norm(dim=2), torch.ones(6, 5))
        part = torch.nn.functional.normalize(grid[..., 50:], dim=2)
        expected = torch.nn.functional.normalize(alone.permute(1, 2, 0), dim=2)
        torch.testing.assert_close(part, expected)
        # The fine layer has length 1 before the join, the coarse one at most 1 where resized.
        assert (grid[..., 50:].norm(dim=2) >= math.sqrt(0.5) - 1e-6).all()


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
    read = np.array([slow_reading(source.double().numpy(), x, y) for x, y in cells])
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
