"""The square input, and how points are read from and found on a grid of descriptors."""

import math
from typing import Any, Literal

import cv2
import numpy as np
import PIL.Image
import pytest
import torch
from skimage.feature import daisy

from spairc.types import BadInput, Image, Query, Size
from spairc_models.classical import _daisy
from spairc_models.nearest import joined
from spairc_models.preprocessing import Preprocessing
from spairc_models.readout import Readout, cell_corners, nearest_points


@pytest.fixture(scope="module")
def texture() -> Image:
    """Smooth noise, (300, 420, 3)."""
    noise = np.random.default_rng(5).integers(0, 256, (21, 31, 3), dtype=np.uint8)
    return np.asarray(PIL.Image.fromarray(noise).resize((420, 300)))


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
def test_the_frame_tells_where_a_pixel_went(mode: Literal["squash", "pad"]) -> None:
    image = np.zeros((90, 250, 3), np.uint8)
    image[58:66, 187:195] = 255
    preprocessing = Preprocessing(100, mode)
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
def test_an_impossible_readout_is_explained(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Readout(**settings)


def test_the_answer_is_the_centre_of_the_most_similar_cell() -> None:
    def similar(*_: object) -> np.ndarray:
        return np.array([[0, 0, 0, 0, 0, 1, 0, 0]], np.float32)  # row 1, column 1 of 2 x 4

    query = Query(None, None, np.array([[3.0, 3.0]]), Size(9, 9), Size(400, 100), "car")
    found = nearest_points(query, Preprocessing(16), (2, 4), Readout("argmax"), similar)
    assert found.tolist() == [[6, 12]]  # cells of 4 x 8 pixels of the 16 x 16 frame


def test_a_point_is_read_at_its_own_cell() -> None:
    read: dict[str, Any] = {}

    def similar(_: object, corners: np.ndarray, weights: np.ndarray, __: object) -> np.ndarray:
        read.update(corners=corners.tolist(), weights=weights.tolist())
        return np.zeros((1, 8), np.float32)

    query = Query(None, None, np.array([[6.0, 8.0]]), Size(9, 9), Size(400, 100), "car")
    nearest_points(query, Preprocessing(16), (2, 4), Readout("argmax"), similar)
    # x 6 is the centre of column 1; y 8 is the border between the two rows.
    assert read["corners"] == [[1, 2, 5, 6]]
    assert read["weights"] == [[0.5, 0, 0.5, 0]]


def test_the_bars_of_a_padded_target_are_never_the_answer() -> None:
    def similar(*_: object) -> np.ndarray:
        scores = np.zeros((1, 4, 4), np.float32)
        scores[0, 0, 1] = 9  # in the bar above the picture, which holds rows 1 and 2
        scores[0, 2, 3] = 1
        return scores

    query = Query(None, None, np.array([[8.0, 8.0]]), Size(9, 9), Size(32, 16), "car")
    found = nearest_points(query, Preprocessing(16, "pad"), (4, 4), Readout("argmax"), similar)
    assert found.tolist() == [[14, 10]]


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


def test_daisys_descriptors_stand_on_the_centres_of_their_cells(texture: Image) -> None:
    square = texture[:63, :63]
    grey = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)
    wide = np.pad(grey, 15, mode="edge")
    everywhere = daisy(wide, step=1, radius=15)  # type: ignore[no-untyped-call]  # one a pixel; it has no types
    np.testing.assert_allclose(_daisy(square)[8:13, 8:13], everywhere[25:40:3, 25:40:3], atol=1e-6)
