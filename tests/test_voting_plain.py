"""SIFT flow and PF-LOM-HOG against slow references, and models without a program."""

from itertools import pairwise, product

import numpy as np
import PIL.Image
import pytest

from spairc.catalogue import models
from spairc.types import BadInput, Features, Image, Matcher, Points, Query, Size
from spairc_models import MODELS, load_model, pf_lom_hog, sift_flow
from spairc_models.classical import unit_grid
from spairc_models.zoo.measured import measured

NAMES = ("sift-flow", "pf-lom-hog")
WITHOUT = [name for name, model in MODELS.items() if not model.where]


def texture(seed: int, width: int, height: int) -> Image:
    """A smooth picture in which no two places look alike."""
    draws = np.random.default_rng(seed)
    coarse = PIL.Image.fromarray(draws.integers(0, 256, (9, 11, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), PIL.Image.Resampling.BICUBIC))


PICTURES = (texture(1, 171, 122), texture(2, 97, 151), texture(3, 21, 133))


def size_of(image: Image) -> Size:
    return Size(image.shape[1], image.shape[0])


def some_points(count: int) -> Points:
    draws = np.random.default_rng(count)
    return np.asarray(draws.uniform(0, 1, (count, 2)) * np.array(size_of(PICTURES[0])))


@pytest.fixture(scope="module", params=NAMES)
def matcher(request: pytest.FixtureRequest) -> Matcher:
    return load_model(request.param)


@pytest.fixture(scope="module")
def features(matcher: Matcher) -> list[Features]:
    return matcher.encode(PICTURES)


def query(features: list[Features], points: Points, target: int = 1) -> Query:
    return Query(
        source=features[0],
        target=features[target],
        points=points,
        source_size=size_of(PICTURES[0]),
        target_size=size_of(PICTURES[target]),
        category="duck",
    )


def test_every_point_is_answered_whatever_else_is_asked(
    matcher: Matcher, features: list[Features]
) -> None:
    points = some_points(40)
    together = matcher.match([query(features, points), query(features, points[:1], 2)])
    assert [each.shape for each in together] == [(40, 2), (1, 2)]
    assert np.array_equal(matcher.match([query(features, points[7:8])])[0], together[0][7:8])
    turned = matcher.encode(PICTURES[::-1])[::-1]
    assert np.array_equal(matcher.match([query(turned, points)])[0], together[0])


def test_answers_stay_inside_the_picture_up_to_its_border(
    matcher: Matcher, features: list[Features]
) -> None:
    width, height = size_of(PICTURES[0])
    border = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]]) * 1.0
    for target in (1, 2):
        found = matcher.match([query(features, border, target)])[0]
        assert (found >= 0).all()
        assert (found <= np.array(size_of(PICTURES[target]))).all()


def test_a_picture_matches_itself_without_moving(
    matcher: Matcher, features: list[Features]
) -> None:
    points = some_points(9)
    assert np.abs(matcher.match([query(features, points, 0)])[0] - points).max() < 1e-3


# SIFT flow


def test_a_picture_moved_by_whole_cells_is_found_there() -> None:
    draws = np.random.default_rng(4)
    wide = unit_grid(draws.normal(size=(7, 10, 30)).astype(np.float32))
    moves = sift_flow.flow(wide[:5, :6], wide[1:6, 2:8])  # the target begins 2 right, 1 down
    assert (moves[1:, 2:] == [-2, -1]).all()


def test_costs_spread_as_over_all_displacements_one_by_one() -> None:
    costs = np.random.default_rng(5).random((4, 5, 3, 1, 2), dtype=np.float32)
    found = sift_flow.spread(costs)
    for d, r in product(range(5), range(3)):
        far = np.abs(np.arange(5)[:, None] - d) + np.abs(np.arange(3) - r)
        expected = (costs + sift_flow._CHANGE * far[:, :, None, None]).min(axis=(1, 2))
        assert np.allclose(found[:, d, r], expected, atol=1e-6)


def test_messages_on_a_line_find_the_cheapest_flow_of_all() -> None:
    costs = np.random.default_rng(6).random((1, 3, 1, 4), dtype=np.float32) / np.float32(5)
    messages = np.zeros((4, *costs.shape), dtype=np.float32)
    for _ in range(6):
        messages = sift_flow.passed_on(costs, messages)
    found = (costs + messages.sum(axis=0))[0, :, 0].argmin(axis=0)

    def price(labels: tuple[int, ...]) -> float:
        change = [abs(a - b) * sift_flow._CHANGE for a, b in pairwise(labels)]
        own = sum(float(costs[0, label, 0, i]) for i, label in enumerate(labels))
        return own + sum(min(each, sift_flow._LIMIT) for each in change)

    assert tuple(found) == min(product(range(3), repeat=4), key=price)


# PF-LOM-HOG


def test_a_windows_cells_hold_its_pixels_in_equal_parts() -> None:
    pattern = pf_lom_hog.windows()
    left, top, right, bottom = pattern.corners[100]
    shares = pattern.cells[36 * 100 : 36 * 101].toarray().reshape(36, pf_lom_hog.SIDE, -1)
    assert np.allclose(shares.sum(axis=(1, 2)), (right - left) * (bottom - top) / 36, rtol=1e-4)
    rows, columns = np.nonzero(shares[7])  # the second cell of the second row
    assert columns.min() == int(left + (right - left) / 6)
    assert rows.max() == int(np.ceil(top + (bottom - top) / 3)) - 1


def test_the_middle_of_offsets_is_not_moved_by_a_stray_one() -> None:
    offsets = np.array([[1, 2, 0], [1, 2, 0], [1, 2, 0], [90, -50, 3]], dtype=np.float32)
    found = pf_lom_hog.middles(offsets, np.ones((4, 4), dtype=np.float32))
    assert np.abs(found - [1, 2, 0]).max() < 0.5  # the mean is 22 away


def test_a_window_expects_the_offset_of_its_neighbours() -> None:
    pattern = pf_lom_hog.windows()
    cosines = np.full((len(pattern.corners),) * 2, 0.2, dtype=np.float32)
    np.fill_diagonal(cosines, 0.9)
    cosines[5] = 0.2
    cosines[5, 400] = 1.0  # far away, where no neighbour goes
    assert pf_lom_hog.local_scores(cosines, pattern)[5].argmax() == 5


# No program


@pytest.mark.parametrize("name", WITHOUT)
def test_a_model_without_a_program_names_the_nearest_that_runs(name: str) -> None:
    nearest = MODELS[name].nearest
    assert MODELS[nearest].where
    with pytest.raises(BadInput, match=f"has no public program; .* {nearest!r}") as refusal:
        load_model(name)
    assert "\n" not in str(refusal.value)


def test_only_models_without_a_program_have_a_nearest_and_all_report_something() -> None:
    assert len(WITHOUT) == 9
    assert [name for name, model in MODELS.items() if model.nearest] == WITHOUT
    assert all(MODELS[name].reported for name in WITHOUT)


def test_the_list_tells_which_models_have_no_program() -> None:
    number, _ = (line for line in models().splitlines() if line.startswith("hccnet"))
    assert "54.8" in number
    assert "no program" in number
    assert "convolutions; no public program, like transformatcher" in " ".join(models().split())


def test_the_list_tells_what_was_measured() -> None:
    (took, _) = (line for line in models().splitlines() if line.startswith("hpf "))
    assert f"{measured()['hpf'].pair:.3f}" in took.split()
    assert measured().keys() <= MODELS.keys()
