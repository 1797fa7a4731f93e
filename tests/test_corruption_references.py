"""Every corruption against a plain reference, on pictures of many sizes and kinds.

The references are the published formulas, written with the libraries that the published programs
use (numpy, SciPy, OpenCV, scikit-image, Pillow), where those do not depend on the processor.
"""

import io
import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage import color

from spairc import spec
from spairc.corruptions import CORRUPTIONS, corrupt, textures
from spairc.corruptions.weights import disk, one_sided, smoothing
from spairc.draws import Draws, KeyedDraws, LegacyDraws, keyed_draws
from spairc.types import Image

UNHURRIED = settings(deadline=None, max_examples=12)
SEVERITIES = st.sampled_from(spec.SEVERITIES)
SEED = 5


def truncated(picture: NDArray[np.floating]) -> Image:
    return (picture.clip(0, 1) * 255).astype(np.uint8)


def gaussian_noise(image: Image, severity: int, draws: Draws) -> Image:
    return truncated(
        image / 255 + (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1] * draws.normal(image.shape)
    )


def shot_noise(image: Image, severity: int, draws: Draws) -> Image:
    scale = (60, 25, 12, 5, 3)[severity - 1]
    return truncated(draws.poisson(image, scale) / scale)


def impulse_noise(image: Image, severity: int, draws: Draws) -> Image:
    impulses = draws.impulses(image.shape, (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1])
    return truncated(np.where(impulses == 0, image / 255, impulses > 0))


def speckle_noise(image: Image, severity: int, draws: Draws) -> Image:
    noise = (0.15, 0.2, 0.35, 0.45, 0.6)[severity - 1] * draws.normal(image.shape)
    return truncated(image / 255 + image / 255 * noise)


def defocus_blur(image: Image, severity: int, _: Draws) -> Image:
    # A Fourier transform, exact to 1e-13 of a grey level.
    weights = disk((3, 4, 6, 8, 10)[severity - 1])
    return truncated(np.asarray(cv2.filter2D(image / 255, -1, weights)))


def smooth(picture: NDArray[np.floating], sigma: float) -> NDArray[np.floating]:
    for axis in (0, 1):
        new = np.empty_like(picture)
        ndimage.correlate1d(picture, smoothing(sigma), axis=axis, output=new, mode="nearest")
        picture = new
    return picture


def gaussian_blur(image: Image, severity: int, _: Draws) -> Image:
    return truncated(smooth(image / 255, (1, 2, 3, 4, 6)[severity - 1]))


def snow(image: Image, severity: int, draws: Draws) -> Image:
    mean, deviation, zoom, threshold, radius, sigma, own = (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )[severity - 1]
    height, width = image.shape[:2]
    flakes = mean + deviation * draws.normal((height, width))
    rows, columns = math.ceil(height / zoom), math.ceil(width / zoom)
    top, left = (height - rows) // 2, (width - columns) // 2
    layer = ndimage.zoom(flakes[top : top + rows, left : left + columns], zoom, order=1)
    layer[layer < threshold] = 0
    layer = layer.clip(0, 1)
    angle = math.radians(float(draws.uniform(-135, -45, ())))
    streaks = np.zeros_like(layer)
    for i, weight in enumerate(one_sided(2 * radius + 1, sigma)):
        y = np.arange(layer.shape[0]) + math.ceil(i * math.sin(angle) - 0.5)
        x = np.arange(layer.shape[1]) + math.ceil(i * math.cos(angle) - 0.5)
        y, x = y.clip(0, layer.shape[0] - 1), x.clip(0, layer.shape[1] - 1)
        streaks += weight * layer[y[:, None], x]
    fallen = (np.round(streaks * 255).astype(np.uint8) / 255)[:height, :width, None]
    white = whitened(image.astype(np.float32) / np.float32(255), own)
    return truncated(white + fallen + np.rot90(fallen, k=2))


def whitened(picture: NDArray[np.float32], own: float) -> NDArray[np.float32]:
    """In float32; grey is summed with fused multiply-adds: exactly, then rounded, each time."""
    grey = np.zeros(picture.shape[:2], dtype=np.float32)
    for weight, channel in ((0.587, 1), (0.299, 0), (0.114, 2)):
        product = np.float64(np.float32(weight)) * picture[..., channel].astype(np.float64)
        grey = (product + grey).astype(np.float32)
    bleached = np.maximum(picture, grey[..., None] * np.float32(1.5) + np.float32(0.5))
    mixed: NDArray[np.float32] = np.float32(own) * picture + np.float32(1 - own) * bleached
    return mixed


def cubic(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Cubic convolution with a = -0.75: which four places, and their weights."""
    centre = (np.arange(new) + 0.5) * (old / new) - 0.5
    places = np.floor(centre)[None] + np.arange(-1, 3)[:, None]
    away, a = np.abs(centre - places), -0.75
    near = ((a + 2) * away - (a + 3)) * away * away + 1
    far = (((away - 5) * away + 8) * away - 4) * a
    return places.clip(0, old - 1).astype(np.int64), np.where(away <= 1, near, far)


def frost(image: Image, severity: int, draws: Draws) -> Image:
    own, added = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[severity - 1]
    height, width = image.shape[:2]
    ice = textures.texture(draws.integer(5))
    scale = max(1, height / ice.shape[0], width / ice.shape[1]) * 1.1
    rows, columns = math.ceil(ice.shape[0] * scale), math.ceil(ice.shape[1] * scale)
    top, left = draws.integer(rows - height), draws.integer(columns - width)
    places, weights = cubic(ice.shape[1], columns)
    wide = sum(ice[:, x] * w[:, None] for x, w in zip(places, weights, strict=True))
    places, weights = cubic(ice.shape[0], rows)
    tall = sum(wide[y] * w[:, None, None] for y, w in zip(places, weights, strict=True))
    part = np.floor(tall + 0.5).clip(0, 255)[top : top + height, left : left + width]
    frosted: Image = (own * image + added * part).clip(0, 255).astype(np.uint8)
    return frosted


def clouds(side: int, decay: float, draws: Draws) -> NDArray[np.float32]:
    heights = np.zeros((side, side), dtype=np.float32)
    step, wobble = side, 100.0

    def middles(total: NDArray[np.float32]) -> NDArray[np.float64]:
        return total / 4 + wobble * draws.uniform(-wobble, wobble, total.shape)

    while step > 1:
        half = step // 2
        corners = heights[::step, ::step]
        below, beside = (corners + np.roll(corners, -1, axis=axis) for axis in (0, 1))
        centres = middles(below + np.roll(below, -1, axis=1)).astype(np.float32)
        heights[half::step, half::step] = centres
        upper = middles((centres + np.roll(centres, 1, axis=0)) + beside)
        heights[::step, half::step] = upper
        heights[half::step, ::step] = middles((centres + np.roll(centres, 1, axis=1)) + below)
        step, wobble = half, wobble / decay
    heights -= heights.min()
    answer: NDArray[np.float32] = heights / heights.max()
    return answer


def fog(image: Image, severity: int, draws: Draws) -> Image:
    amount, decay = ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))[severity - 1]
    height, width = image.shape[:2]
    side = 2 ** math.ceil(math.log2(max(height, width)))
    layer = np.float32(amount) * clouds(side, decay, draws)[:height, :width, None]
    brightest = image.max() / 255
    return truncated((image / 255 + layer) * brightest / (brightest + amount))


def spatter(image: Image, severity: int, draws: Draws) -> Image:
    mean, deviation, sigma, threshold = (
        (0.65, 0.3, 4, 0.69),
        (0.65, 0.3, 3, 0.68),
        (0.65, 0.3, 2, 0.68),
        (0.65, 0.3, 1, 0.65),
        (0.67, 0.4, 1, 0.65),
    )[severity - 1]
    liquid = smooth(mean + deviation * draws.normal(image.shape[:2]), sigma)
    picture = image.astype(np.float32) / np.float32(255)
    if severity <= 3:
        water = thickness(np.where(liquid < threshold, 0, liquid))
        colour = np.array([175 / 255, 238 / 255, 238 / 255], dtype=np.float32)
        return truncated(
            picture + (water * np.float32((0.6, 0.6, 0.5)[severity - 1]))[..., None] * colour
        )
    mud = smooth((liquid > threshold).astype(np.float32), 1.5)
    mud[mud < 0.8] = 0
    bare = picture * (1 - mud[..., None])
    return truncated(bare + np.array([63, 42, 20]) / 255 * mud[..., None])


def thickness(liquid: NDArray[np.floating]) -> NDArray[np.float32]:
    drops = (liquid * 255).astype(np.uint8)
    edges: Any = cv2.Canny(drops, 50, 150)  # uint8, which its types do not tell
    shallow = cv2.blur(np.minimum(distances(edges), np.float32(20)), (3, 3)).astype(np.uint8)
    emboss = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    light = cv2.blur(cv2.filter2D(cv2.equalizeHist(shallow), cv2.CV_8U, emboss), (3, 3))
    product = drops.astype(np.float32) * light.astype(np.float32)
    most = product.max()
    return product / most if most > 0 else product


def distances(edges: Image) -> NDArray[np.float32]:
    """OpenCV's distances are these in float32 only where Intel's library makes them."""
    if cv2.ipp.useIPP():
        return np.asarray(cv2.distanceTransform(255 - edges, cv2.DIST_L2, 5))
    height, width = edges.shape
    far = np.full((height + 4, width + 4), np.float32(1e9))
    far[2:-2, 2:-2][edges > 0] = 0
    steps = [(0, -1, 1), (-1, 0, 1), (-1, -1, 1.4), (-1, 1, 1.4)]
    steps += [(-1, -2, 2.1969), (-1, 2, 2.1969), (-2, -1, 2.1969), (-2, 1, 2.1969)]
    for sign in (1, -1):
        for y in range(height)[::sign]:
            for x in range(width)[::sign]:
                near = [
                    far[2 + y + sign * dy, 2 + x + sign * dx] + np.float32(cost)
                    for dy, dx, cost in steps
                ]
                far[2 + y, 2 + x] = min(far[2 + y, 2 + x], *near)
    return far[2:-2, 2:-2]


def brightness(image: Image, severity: int, _: Draws) -> Image:
    parts = color.rgb2hsv(image / 255)
    parts[..., 2] = np.clip(parts[..., 2] + severity / 10, 0, 1)
    return truncated(color.hsv2rgb(parts))


def contrast(image: Image, severity: int, _: Draws) -> Image:
    means = (image / 255).mean(axis=(0, 1))
    return truncated((image / 255 - means) * (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1] + means)


def saturate(image: Image, severity: int, _: Draws) -> Image:
    factor, added = ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))[severity - 1]
    parts = color.rgb2hsv(image / 255)
    parts[..., 1] = np.clip(parts[..., 1] * factor + added, 0, 1)
    return truncated(color.hsv2rgb(parts))


def pixelate(image: Image, severity: int, _: Draws) -> Image:
    scale = (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1]
    height, width = image.shape[:2]
    few_rows, few_columns = int(height * scale), int(width * scale)
    # Newer Pillows average the columns of a tall picture first, and round in between; so ask for
    # one direction at a time.
    small = PIL.Image.fromarray(image)
    for size in ((few_columns, height), (few_columns, few_rows)):
        small = small.resize(size, PIL.Image.Resampling.BOX)
    return np.array(small.resize((width, height), PIL.Image.Resampling.NEAREST))


def jpeg_compression(image: Image, severity: int, _: Draws) -> Image:
    file = io.BytesIO()
    quality = (25, 18, 15, 10, 7)[severity - 1]
    PIL.Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.array(PIL.Image.open(file))


REFERENCES: dict[str, Callable[[Image, int, Draws], Image]] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "speckle_noise": speckle_noise,
    "defocus_blur": defocus_blur,
    "gaussian_blur": gaussian_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "spatter": spatter,
    "brightness": brightness,
    "contrast": contrast,
    "saturate": saturate,
    "pixelate": pixelate,
    "jpeg_compression": jpeg_compression,
}


def noisy(height: int, width: int) -> Image:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def flat(value: int) -> Callable[[int, int], Image]:
    return lambda height, width: np.full((height, width, 3), value, dtype=np.uint8)


def one_channel(channel: int) -> Callable[[int, int], Image]:
    return lambda height, width: noisy(height, width) * (np.arange(3) == channel).astype(np.uint8)


def black_and_white(height: int, width: int) -> Image:
    image = noisy(height, width)
    return np.where(image > 127, np.uint8(255), np.uint8(0))


def slopes(height: int, width: int) -> Image:
    y, x = np.mgrid[:height, :width]
    return np.stack([x % 256, y % 256, (x + y) % 256], axis=-1).astype(np.uint8)


def patches(height: int, width: int) -> Image:
    """Flat inside, with edges between: what is rounded is often whole."""
    few = noisy(-(-height // 23), -(-width // 31))
    return np.kron(few, np.ones((23, 31, 1), dtype=np.uint8))[:height, :width].copy()


KINDS: dict[str, Callable[[int, int], Image]] = {
    "noisy": noisy,
    "black": flat(0),
    "white": flat(255),
    "grey": flat(100),
    "nearly black": flat(1),
    "red": one_channel(0),
    "green": one_channel(1),
    "blue": one_channel(2),
    "black and white": black_and_white,
    "slopes": slopes,
    "patches": patches,
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
@UNHURRIED
@given(st.integers(32, 200), st.integers(32, 200), SEVERITIES, st.sampled_from(list(KINDS)))
def test_replayed_draws_give_what_the_published_formula_gives(
    corruption: str, height: int, width: int, severity: int, kind: str
) -> None:
    image = KINDS[kind](height, width)
    draws, again = LegacyDraws(SEED), LegacyDraws(SEED)
    found = corrupt(image, corruption, severity=severity, key="a", draws=draws)
    assert np.array_equal(found, REFERENCES[corruption](image, severity, again))


@pytest.mark.parametrize("corruption", CORRUPTIONS)
@UNHURRIED
@given(st.integers(32, 200), st.integers(32, 200), SEVERITIES, st.sampled_from(list(KINDS)))
def test_keyed_draws_give_what_the_published_formula_gives_with_them(
    corruption: str, height: int, width: int, severity: int, kind: str
) -> None:
    image = KINDS[kind](height, width)
    found = corrupt(image, corruption, severity=severity, key="car/a")
    draws = keyed_draws("car/a", corruption, severity)
    assert np.array_equal(found, REFERENCES[corruption](image, severity, draws))


@pytest.mark.parametrize("corruption", CORRUPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_at_every_severity_is_as_published(
    corruption: str, kind: str
) -> None:
    image = KINDS[kind](61, 97)
    for severity in spec.SEVERITIES:
        found = corrupt(image, corruption, severity=severity, key="a", draws=LegacyDraws(SEED))
        expected = REFERENCES[corruption](image, severity, LegacyDraws(SEED))
        assert np.array_equal(found, expected), severity


@pytest.mark.slow
@pytest.mark.parametrize("corruption", CORRUPTIONS)
@pytest.mark.parametrize("size", [(1500, 2000), (2000, 1500), (33, 1311), (1207, 35)])
@pytest.mark.parametrize("kind", ["noisy", "patches"])
def test_large_and_narrow_pictures_are_as_published(
    corruption: str, size: tuple[int, int], kind: str
) -> None:
    image = KINDS[kind](*size)
    for severity in spec.SEVERITIES:
        found = corrupt(image, corruption, severity=severity, key="a", draws=LegacyDraws(SEED))
        expected = REFERENCES[corruption](image, severity, LegacyDraws(SEED))
        assert np.array_equal(found, expected), severity


@pytest.mark.parametrize("severity", spec.SEVERITIES)
def test_gaussian_noise_is_the_formulas_for_every_value_and_every_entry_of_the_table(
    severity: int,
) -> None:
    # It is added in whole grey levels, one table entry after the other: so try them all.
    from spairc.corruptions import noise
    from spairc.draws import tables

    deviation = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    shifts = noise._shifts(deviation).astype(np.int64)
    for value in range(256):
        expected = truncated(value / 255 + deviation * tables.normal_table())
        assert np.array_equal((value + shifts).clip(0, 255), expected)


@pytest.mark.slow
@pytest.mark.parametrize("severity", spec.SEVERITIES)
def test_brightness_is_the_formulas_for_every_colour(severity: int) -> None:
    # It is looked up by pairs of levels, and made the long way where those do not decide.
    for red in range(0, 256, 8):
        parts = np.meshgrid(np.arange(red, red + 8), np.arange(256), np.arange(256), indexing="ij")
        image = np.stack(parts, axis=-1).astype(np.uint8).reshape(2048, 256, 3)
        found = corrupt(image, "brightness", severity=severity, key="a")
        assert np.array_equal(found, brightness(image, severity, LegacyDraws(SEED))), red


def test_a_fraction_is_the_quotient_to_the_last_bit() -> None:
    from spairc.corruptions.levels import fraction

    assert [fraction(grey) for grey in range(256)] == [grey / 255 for grey in range(256)]


def test_keyed_draws_are_used_as_words_and_as_numbers_alike() -> None:
    # More values than fit into one part, and an odd number of them.
    image = noisy(201, 223)
    for corruption in ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"):
        found = CORRUPTIONS[corruption](image, 2, KeyedDraws(bytes(range(8))))
        expected = REFERENCES[corruption](image, 2, KeyedDraws(bytes(range(8))))
        assert np.array_equal(found, expected), corruption
