"""Photometric noise: each operation by its formula, all of it from the generator given."""

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as v2

from matchme_train import augment
from matchme_train.augment import LISTS, erased, photometric_noise
from spairc.types import BadInput, Image


@pytest.fixture
def image() -> Image:
    return np.random.default_rng(2).integers(0, 256, (23, 31, 3)).astype(np.uint8)


def applied(operation: augment.Operation, image: Image, seed: int = 0) -> Image:
    return operation(image, np.random.default_rng(seed))


@pytest.mark.parametrize("name", LISTS)
def test_noise_depends_on_its_generator_alone(name: str, image: Image) -> None:
    before, state = image.copy(), torch.get_rng_state()
    one, same, other = (
        photometric_noise(image, name, 0.9, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert one.shape == image.shape
    assert one.dtype == np.uint8
    assert np.array_equal(image, before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", LISTS)
def test_no_chance_means_no_change(name: str, image: Image) -> None:
    found = photometric_noise(image, name, 0, np.random.default_rng(0))
    assert np.array_equal(found, image)


def test_an_unknown_list_is_refused_with_the_nearest(image: Image) -> None:
    with pytest.raises(BadInput, match="did you mean 'cats'"):
        photometric_noise(image, "cat", 0.5, np.random.default_rng(0))


def test_operations_are_applied_as_often_as_told(
    image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(picture: Image, _: np.random.Generator) -> Image:
        calls.append(1)
        return picture

    monkeypatch.setattr(augment, "LISTS", {"one": (counted,)})
    draws = np.random.default_rng(4)
    for _ in range(1000):
        photometric_noise(image, "one", 0.2, draws)
    assert 160 < len(calls) < 240


def test_grey_has_three_equal_channels_of_the_usual_weights(image: Image) -> None:
    found = applied(augment.grey, image).astype(int)
    assert (found == found[..., :1]).all()
    luma = image @ np.array([0.299, 0.587, 0.114])
    assert np.abs(found[..., 0] - luma).max() <= 1.1  # its weights have four digits


def test_posterised_keeps_four_bits(image: Image) -> None:
    assert np.array_equal(applied(augment.posterised, image), image & 0xF0)


def test_solarised_inverts_from_128_on(image: Image) -> None:
    wanted = np.where(image < 128, image, 255 - image)
    assert np.array_equal(applied(augment.solarised, image), wanted)


def test_brightness_and_contrast_are_one_line(image: Image) -> None:
    draws = np.random.default_rng(0)
    factor, shift = draws.uniform(0.8, 1.2), draws.uniform(-0.2, 0.2)
    wanted = np.clip(np.round(image * factor + shift * 255), 0, 255)
    found = applied(augment.brightness_and_contrast, image)
    assert np.abs(found.astype(int) - wanted).max() <= 1


def test_sharpening_leaves_a_flat_picture_brighter_by_its_lightness() -> None:
    flat = np.full((9, 9, 3), 60, dtype=np.uint8)
    draws = np.random.default_rng(0)
    share, lightness = draws.uniform(0.2, 0.5), draws.uniform(0.5, 1.0)
    # The kernel's sum: what is kept, and the Laplacian's own lightness.
    wanted = round(60 * (1 - share + share * lightness))
    assert set(np.unique(applied(augment.sharpened, flat))) == {wanted}


def test_sharpening_makes_edges_steeper() -> None:
    step = np.full((9, 12, 3), 80, dtype=np.uint8)
    step[:, 6:] = 140
    found = applied(augment.sharpened, step).astype(int)
    assert found[4, 6, 0] - found[4, 5, 0] > 60 * 1.3


def test_blurring_averages_a_square() -> None:
    dot = np.zeros((15, 15, 3), dtype=np.uint8)
    dot[7, 7] = 255
    for seed in range(6):
        found = applied(augment.blurred, dot, seed)
        width = int(np.sqrt((found[..., 0] > 0).sum()))
        assert width in (3, 5, 7)
        assert set(np.unique(found)) == {0, round(255 / width**2)}


def test_jitter_keeps_grey_pictures_grey() -> None:
    grey = np.repeat(np.arange(0, 240, 8, dtype=np.uint8).reshape(5, 6, 1), 3, axis=2)
    found = applied(augment.jittered, grey).astype(int)
    assert np.abs(found - found[..., :1]).max() <= 1


@pytest.mark.parametrize("size", [(23, 31), (40, 17)])
def test_jitter_is_near_to_torchvisions_four_operations(size: tuple[int, int]) -> None:
    colours = np.random.default_rng(1).integers(40, 216, (5, 4, 3)).astype(np.uint8)
    image: Any = cv2.resize(colours, size, interpolation=cv2.INTER_CUBIC)
    draws = np.random.default_rng(0)
    factors, hue = draws.uniform(0.8, 1.2, 3), draws.uniform(-0.2, 0.2)
    picture = torch.from_numpy(image.transpose(2, 0, 1).copy())
    steps = [
        lambda given: v2.adjust_brightness(given, factors[0]),
        lambda given: v2.adjust_contrast(given, factors[1]),
        lambda given: v2.adjust_saturation(given, factors[2]),
        lambda given: v2.adjust_hue(given, hue),
    ]
    for index in draws.permutation(4):
        picture = steps[index](picture)
    wanted = picture.numpy().transpose(1, 2, 0).astype(int)
    difference = np.abs(applied(augment.jittered, image).astype(int) - wanted)
    assert difference.mean() < 2  # hues are in steps of two degrees
    assert difference.max() <= 8


def test_equalising_spreads_a_dull_picture() -> None:
    dull = np.random.default_rng(0).integers(100, 120, (20, 20, 3)).astype(np.uint8)
    found = applied(augment.equalised, dull)
    assert found.min() < 20
    assert found.max() > 235


def test_erasing_blackens_boxes_and_clips_them(image: Image) -> None:
    found = erased(image, [(-4, 20, 3, 90), (5, 1, 7, 2)])
    wanted = image.copy()
    wanted[20:, :3] = 0
    wanted[1, 5:7] = 0
    assert np.array_equal(found, wanted)
    assert image[20:, :3].any()
