"""The 15 corruptions against the published programs' pixels and against slow, plain references.

The references are written from the published formulas, value by value where that is bearable.
"""

import math
from collections.abc import Callable
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spairc import spec
from spairc.corruptions import CORRUPTIONS, corrupt, textures
from spairc.corruptions.weights import disk, smoothing
from spairc.draws import LegacyDraws
from spairc.types import Image, Size

GOLDENS = {"coffee": 7, "astronaut": 11}  # picture -> seed
UNHURRIED = settings(deadline=None, max_examples=15)


def random_picture(height: int, width: int, seed: int = 0) -> Image:
    """Every value by itself: hard on rounding."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


PICTURES = st.builds(
    random_picture, st.integers(32, 50), st.integers(32, 50), st.integers(0, 2**32 - 1)
)
SEVERITIES = st.sampled_from(spec.SEVERITIES)


def seeded(image: Image, corruption: str, severity: int, seed: int = 3) -> Image:
    return corrupt(image, corruption, severity=severity, key="a", draws=LegacyDraws(seed))


def truncated(value: float) -> int:
    return int(min(max(value, 0.0), 1.0) * 255)


def value_by_value(image: Image, function: Callable[[float, int], float]) -> Image:
    """Slowly: `function` gets each value from 0 to 1 and its number."""
    values = [truncated(function(v / 255, i)) for i, v in enumerate(image.ravel().tolist())]
    return np.array(values, dtype=np.uint8).reshape(image.shape)


# The published programs' pixels.


@pytest.mark.parametrize("picture", GOLDENS)
@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_replayed_draws_give_the_published_programs_pixels(
    shared: Path, picture: str, corruption: str
) -> None:
    with np.load(shared / "golden" / "corruptions.npz") as goldens:
        clean, expected = goldens[picture], goldens[f"{picture}/{corruption}"]
    seed = GOLDENS[picture]
    found = np.stack([seeded(clean, corruption, s, seed) for s in spec.SEVERITIES])
    distance = np.abs(found.astype(int) - expected)
    # OpenCV enlarges the frost, and differs from itself on other processors.
    assert distance.max() <= (1 if corruption == "frost" else 0)
    assert np.mean(distance > 0) <= 0.03


# Slow references, from the published formulas.


@UNHURRIED
@given(PICTURES, SEVERITIES)
def test_gaussian_noise_adds_to_each_value(image: Image, severity: int) -> None:
    deviation = {1: 0.08, 2: 0.12, 3: 0.18, 4: 0.26, 5: 0.38}[severity]
    noise = np.random.RandomState(3).normal(0, deviation, image.size)
    expected = value_by_value(image, lambda value, i: value + noise[i])
    assert np.array_equal(seeded(image, "gaussian_noise", severity), expected)


@UNHURRIED
@given(PICTURES, SEVERITIES)
def test_speckle_noise_adds_in_proportion(image: Image, severity: int) -> None:
    deviation = {1: 0.15, 2: 0.2, 3: 0.35, 4: 0.45, 5: 0.6}[severity]
    noise = np.random.RandomState(3).normal(0, deviation, image.size)
    expected = value_by_value(image, lambda value, i: value + value * noise[i])
    assert np.array_equal(seeded(image, "speckle_noise", severity), expected)


@UNHURRIED
@given(PICTURES, SEVERITIES)
def test_shot_noise_counts_photons_one_value_after_another(image: Image, severity: int) -> None:
    scale = {1: 60, 2: 25, 3: 12, 4: 5, 5: 3}[severity]
    state = np.random.RandomState(3)
    expected = value_by_value(image, lambda value, _: state.poisson(value * scale) / scale)
    assert np.array_equal(seeded(image, "shot_noise", severity), expected)


@UNHURRIED
@given(PICTURES, SEVERITIES)
def test_impulse_noise_is_black_or_white(image: Image, severity: int) -> None:
    amount = {1: 0.03, 2: 0.06, 3: 0.09, 4: 0.17, 5: 0.27}[severity]
    generator = np.random.default_rng(3)
    flipped, salted = generator.random(image.size), generator.random(image.size)
    expected = value_by_value(
        image, lambda value, i: float(salted[i] <= 0.5) if flipped[i] <= amount else value
    )
    assert np.array_equal(seeded(image, "impulse_noise", severity), expected)


def slow_hsv(red: float, green: float, blue: float) -> tuple[float, float, float]:
    """Hue, saturation, value of one pixel; blue goes before green, green before red."""
    value = max(red, green, blue)
    chroma = value - min(red, green, blue)
    if chroma == 0:
        return 0.0, 0.0, value
    if blue == value:
        hue = 4 + (red - green) / chroma
    elif green == value:
        hue = 2 + (blue - red) / chroma
    else:
        hue = (green - blue) / chroma
    return (hue / 6) % 1, chroma / value, value


def slow_rgb(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    """One pixel of given hue, saturation and value."""
    sector = math.floor(hue * 6)
    fraction = hue * 6 - sector
    low = value * (1 - saturation)
    falling = value * (1 - fraction * saturation)
    rising = value * (1 - (1 - fraction) * saturation)
    return (
        (value, rising, low),
        (falling, value, low),
        (low, value, rising),
        (low, falling, value),
        (rising, low, value),
        (value, low, falling),
    )[sector % 6]


def pixel_by_pixel(
    image: Image, function: Callable[[float, float, float], tuple[float, float, float]]
) -> Image:
    """Slowly: `function` gets hue, saturation and value of each pixel and returns new ones."""
    pixels = [
        [truncated(part) for part in slow_rgb(*function(*slow_hsv(*(v / 255 for v in pixel))))]
        for pixel in image.reshape(-1, 3).tolist()
    ]
    return np.array(pixels, dtype=np.uint8).reshape(image.shape)


@UNHURRIED
@given(PICTURES, SEVERITIES)
def test_brightness_adds_to_the_value(image: Image, severity: int) -> None:
    added = {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4, 5: 0.5}[severity]
    expected = pixel_by_pixel(image, lambda h, s, v: (h, s, min(v + added, 1)))
    assert np.array_equal(seeded(image, "brightness", severity), expected)


@UNHURRIED
@given(PICTURES, SEVERITIES)
def test_saturate_scales_and_shifts_the_saturation(image: Image, severity: int) -> None:
    table = {1: (0.3, 0), 2: (0.1, 0), 3: (2, 0), 4: (5, 0.1), 5: (20, 0.2)}
    factor, added = table[severity]
    expected = pixel_by_pixel(image, lambda h, s, v: (h, min(s * factor + added, 1), v))
    assert np.array_equal(seeded(image, "saturate", severity), expected)


@pytest.mark.parametrize("corruption", ["brightness", "saturate"])
@pytest.mark.parametrize("levels", [(0, 3, 7), (1, 128, 255), (90, 91, 92)])
def test_colours_with_two_channels_alike_have_the_published_hue(
    corruption: str, levels: tuple[int, ...]
) -> None:
    pixels = np.array(list(product(levels, repeat=3)), dtype=np.uint8)
    image = np.resize(pixels, (32, 81, 3))  # each row has all 27 colours three times
    expected = {
        "brightness": pixel_by_pixel(image, lambda h, s, v: (h, s, min(v + 0.1, 1))),
        "saturate": pixel_by_pixel(image, lambda h, s, v: (h, s * 0.3, v)),
    }[corruption]
    assert np.array_equal(seeded(image, corruption, 1), expected)


@UNHURRIED
@given(PICTURES, SEVERITIES)
def test_contrast_pulls_towards_the_mean_of_the_channel(image: Image, severity: int) -> None:
    factor = {1: 0.4, 2: 0.3, 3: 0.2, 4: 0.1, 5: 0.05}[severity]
    means = []
    for channel in range(3):
        total = 0.0
        for value in image[..., channel].ravel().tolist():
            total += value / 255
        means.append(total / (image.shape[0] * image.shape[1]))
    expected = value_by_value(image, lambda v, i: (v - means[i % 3]) * factor + means[i % 3])
    assert np.array_equal(seeded(image, "contrast", severity), expected)


def slow_box(image: Image, length: int) -> Image:
    """Rows averaged into fewer: each the mean of those whose centres lie in it."""
    scale, rows = image.shape[0] / length, []
    for place in range(length):
        first, last = int(place * scale + 0.5), int((place + 1) * scale + 0.5)
        rows.append(np.floor(image[first:last].mean(axis=0) + 0.5))
    return np.array(rows, dtype=np.uint8)


def a_centre_lies_between(length: int, few: int) -> bool:
    """Whether a pixel's centre lies on the border of two boxes: then rounding error decides."""
    return any((2 * place * length + few) % (2 * few) == 0 for place in range(few + 1))


@UNHURRIED
@given(PICTURES, SEVERITIES)
def test_pixelate_averages_and_repeats(image: Image, severity: int) -> None:
    scale = {1: 0.6, 2: 0.5, 3: 0.4, 4: 0.3, 5: 0.25}[severity]
    height, width = image.shape[:2]
    few = (int(height * scale), int(width * scale))
    assume(not any(map(a_centre_lies_between, (height, width), few)))
    small = slow_box(slow_box(image.transpose(1, 0, 2), few[1]).transpose(1, 0, 2), few[0])
    rows = [int((y + 0.5) * few[0] / height) for y in range(height)]
    columns = [int((x + 0.5) * few[1] / width) for x in range(width)]
    assert np.array_equal(seeded(image, "pixelate", severity), small[rows][:, columns])


@pytest.mark.parametrize(("severity", "quality"), [(1, 25), (2, 18), (3, 15), (4, 10), (5, 7)])
def test_jpeg_compression_is_what_a_file_of_that_quality_holds(
    tmp_path: Path, severity: int, quality: int
) -> None:
    image = random_picture(45, 61)
    file = tmp_path / "picture.jpg"
    PIL.Image.fromarray(image).save(file, quality=quality, subsampling="4:2:0")
    with PIL.Image.open(file) as picture:
        assert np.array_equal(seeded(image, "jpeg_compression", severity), np.array(picture))


def slow_filter(image: Image, weights: NDArray[np.float64]) -> Image:
    """Tap after tap; beyond the border the picture is mirrored at the outermost pixel."""
    reach = weights.shape[0] // 2
    padded = np.pad(image / 255, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    total = np.zeros(image.shape)
    for (y, x), weight in np.ndenumerate(weights):
        total += weight * padded[y : y + image.shape[0], x : x + image.shape[1]]
    return (total.clip(0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize(("severity", "radius"), [(1, 3), (2, 4), (3, 6), (4, 8), (5, 10)])
@pytest.mark.parametrize("size", [(32, 47), (61, 33)])
def test_defocus_blur_averages_over_the_disk(
    severity: int, radius: int, size: tuple[int, int]
) -> None:
    image = random_picture(*size)
    expected = slow_filter(image, disk(radius).astype(np.float64))
    assert np.array_equal(seeded(image, "defocus_blur", severity), expected)


@pytest.mark.parametrize(
    ("radius", "sigma", "reach"), [(3, 0.1, 1), (4, 0.5, 1), (6, 0.5, 1), (8, 0.5, 1), (10, 0.5, 2)]
)
def test_a_disk_is_a_circle_softened_by_a_gaussian(radius: int, sigma: float, reach: int) -> None:
    side = np.arange(-max(radius, 8), max(radius, 8) + 1)
    circle = (side[:, None] ** 2 + side**2 <= radius**2).astype(np.float64)
    circle /= circle.sum()
    soft = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    soft /= soft.sum()
    padded = np.pad(circle, reach, mode="reflect")
    rows = sum(w * padded[i : i + len(side)] for i, w in enumerate(soft))
    expected = sum(w * rows[:, i : i + len(side)] for i, w in enumerate(soft))
    found = disk(radius)
    margin = (len(side) - found.shape[0]) // 2
    # float32 sums: seven digits
    assert np.abs(np.pad(found, margin) - expected).max() < 2e-7 * expected.max()


@pytest.mark.parametrize(("radius", "gain"), [(3, 1), (4, 1), (6, 1), (8, 1.013), (10, 1.011)])
def test_the_larger_disks_brighten_as_published(radius: int, gain: float) -> None:
    assert disk(radius).astype(np.float64).sum() == pytest.approx(gain, abs=5e-4)


@pytest.mark.parametrize("sigma", [1, 1.5, 2, 3, 4, 6])
def test_smoothing_weights_are_a_gaussian_cut_off_at_four_sigma(sigma: float) -> None:
    reach = int(4 * sigma + 0.5)
    expected = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    found = smoothing(sigma)
    assert found.shape == expected.shape
    assert np.allclose(found, expected / expected.sum(), rtol=1e-13, atol=0)


@pytest.mark.parametrize(("severity", "sigma"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 6)])
@pytest.mark.parametrize("size", [(32, 47), (61, 33)])
def test_gaussian_blur_sums_from_the_outermost_pair_inwards(
    severity: int, sigma: int, size: tuple[int, int]
) -> None:
    image, weights = random_picture(*size), smoothing(sigma).tolist()
    reach, picture = 4 * sigma, image / 255
    for axis in (0, 1):
        ends = [(reach, reach) if axis == other else (0, 0) for other in range(3)]
        padded = np.moveaxis(np.pad(picture, ends, mode="edge"), axis, 0)
        length = picture.shape[axis]
        total = padded[reach : reach + length] * weights[reach]
        for away in range(reach, 0, -1):
            before = padded[reach - away : reach - away + length]
            after = padded[reach + away : reach + away + length]
            total = total + (before + after) * weights[reach - away]
        picture = np.moveaxis(total, 0, axis)
    expected = (picture.clip(0, 1) * 255).astype(np.uint8)
    assert np.array_equal(seeded(image, "gaussian_blur", severity), expected)


def slow_clouds(side: int, decay: float, state: np.random.RandomState) -> NDArray[np.float32]:
    """Diamond and square, point after point, on a torus; drawn square by square."""
    heights = np.zeros((side, side), dtype=np.float32)
    step, wobble = side, 100.0
    while step > 1:
        half, places = step // 2, range(0, side, step)
        grid = {
            "centres": [(y + half, x + half) for y in places for x in places],
            "upper": [(y, x + half) for y in places for x in places],
            "left": [(y + half, x) for y in places for x in places],
        }
        for kind, points in grid.items():
            news = []
            for y, x in points:
                near = [(y - half, x), (y + half, x), (y, x - half), (y, x + half)]
                if kind == "centres":
                    near = [(y + a, x + b) for a, b in product((-half, half), repeat=2)]
                four = [heights[a % side, b % side] for a, b in near]
                mean = _in_published_order(kind, four) / np.float32(4)
                news.append(float(mean) + wobble * state.uniform(-wobble, wobble))
            for (y, x), height in zip(points, news, strict=True):
                heights[y, x] = height
        step, wobble = half, wobble / decay
    heights -= heights.min()
    scaled: NDArray[np.float32] = heights / heights.max()
    return scaled


def _in_published_order(kind: str, four: list[np.float32]) -> np.float32:
    """The sum of four heights; float32 sums depend on their order."""
    first, second, third, fourth = four
    if kind == "centres":  # upper left, upper right, lower left, lower right
        return (first + third) + (second + fourth)
    if kind == "upper":  # the squares' middles above and below, the corners left and right
        return (second + first) + (third + fourth)
    return (fourth + third) + (first + second)


@pytest.mark.parametrize("severity", spec.SEVERITIES)
def test_fog_adds_clouds_and_keeps_the_brightest_value(severity: int) -> None:
    amount, decay = {1: (1.5, 2), 2: (2, 2), 3: (2.5, 1.7), 4: (2.5, 1.5), 5: (3, 1.4)}[severity]
    image = random_picture(33, 47) // 2 + 60
    clouds = slow_clouds(64, decay, np.random.RandomState(3))[:33, :47]
    brightest = image.max() / 255
    places = np.float32(amount) * np.repeat(clouds, 3)
    expected = value_by_value(
        image, lambda value, i: (value + float(places[i])) * brightest / (brightest + amount)
    )
    assert np.array_equal(seeded(image, "fog", severity), expected)


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("size", [Size(1013, 677), Size(700, 900)])
def test_frost_is_enlarged_as_opencv_does_it(number: int, size: Size) -> None:
    ice = np.array(textures.texture(number))
    whole = cv2.resize(ice, size, interpolation=cv2.INTER_CUBIC)
    found = textures.enlarged(ice, size, range(size.height), range(size.width))
    distance = np.abs(found.astype(int) - whole)
    assert distance.max() <= 1
    assert np.mean(distance > 0) < 0.07  # older OpenCV rounds its weights


def test_a_part_of_enlarged_frost_is_the_part_of_the_whole() -> None:
    ice, size = textures.texture(3), Size(611, 420)
    whole = textures.enlarged(ice, size, range(420), range(611))
    part = textures.enlarged(ice, size, range(387, 420), range(5, 52))
    assert np.array_equal(part, whole[387:420, 5:52])
