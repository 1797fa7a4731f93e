"""The 15 corruptions: what holds for any picture, key and order, and what is refused."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

import spairc
from spairc import spec
from spairc.corruptions import CORRUPTIONS, corrupt, textures
from spairc.draws import KeyedDraws, LegacyDraws
from spairc.types import BadInput, Image

CELLS = [(str(cell.corruption), cell.severity) for cell in spec.CORRUPTED]
DETERMINISTIC = (
    "defocus_blur",
    "gaussian_blur",
    "brightness",
    "contrast",
    "saturate",
    "pixelate",
    "jpeg_compression",
)
UNHURRIED = settings(deadline=None, max_examples=15)
FEW = settings(deadline=None, max_examples=3)


def random_picture(height: int, width: int, seed: int = 0) -> Image:
    """Every value by itself: hard on rounding."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth_picture(height: int, width: int) -> Image:
    """Slopes, a disc and stripes, different in each channel: something like a photograph."""
    y, x = np.mgrid[:height, :width]
    disc = 90 * (np.hypot(y - height / 3, x - width / 2) < height / 4)
    channels = [40 + 120 * x / width, 30 + disc + 60 * y / height, 90 + 60 * np.sin(x / 3)]
    return np.stack(np.broadcast_arrays(*channels), axis=-1).astype(np.uint8)


def flat_picture(value: int) -> Image:
    return np.full((40, 53, 3), value, dtype=np.uint8)


PICTURES = st.builds(
    random_picture, st.integers(32, 50), st.integers(32, 50), st.integers(0, 2**32 - 1)
)


def seeded(image: Image, corruption: str, severity: int, seed: int = 3) -> Image:
    return corrupt(image, corruption, severity=severity, key="a", draws=LegacyDraws(seed))


def test_the_table_has_the_papers_names_in_the_papers_order() -> None:
    assert tuple(CORRUPTIONS) == spec.CORRUPTION_NAMES


@pytest.mark.parametrize("size", [(33, 47), (32, 32), (100, 37)])
@pytest.mark.parametrize(("corruption", "severity"), CELLS)
def test_the_result_is_a_new_picture_and_the_argument_stays(
    corruption: str, severity: int, size: tuple[int, int]
) -> None:
    image = smooth_picture(*size)
    image.setflags(write=False)
    before = image.copy()
    found = corrupt(image, corruption, severity=severity, key="car/a")
    assert found.shape == image.shape
    assert found.dtype == np.uint8
    assert found.flags.writeable
    assert not np.shares_memory(found, image)
    assert np.array_equal(image, before)
    assert not np.array_equal(found, image)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 255])
@pytest.mark.parametrize(("corruption", "severity"), CELLS)
def test_flat_pictures_are_corrupted_without_a_warning(
    corruption: str, severity: int, value: int
) -> None:
    # Warnings are errors here.
    found = corrupt(flat_picture(value), corruption, severity=severity, key="car/a")
    assert found.shape == (40, 53, 3)


BLACK_STAYS = (
    *("shot_noise", "speckle_noise", "defocus_blur", "gaussian_blur"),
    *("fog", "contrast", "saturate", "pixelate"),
)


@pytest.mark.parametrize("corruption", BLACK_STAYS)
@pytest.mark.parametrize("severity", spec.SEVERITIES)
def test_black_stays_black(corruption: str, severity: int) -> None:
    assert not corrupt(flat_picture(0), corruption, severity=severity, key="a").any()


@pytest.mark.parametrize("severity", spec.SEVERITIES)
def test_grey_stays_grey_where_colour_is_faded_or_brightened(severity: int) -> None:
    found = corrupt(flat_picture(100), "brightness", severity=severity, key="a")
    assert np.ptp(found) == 0
    assert found[0, 0, 0] == int((100 / 255 + severity / 10) * 255)


@pytest.mark.parametrize("severity", [4, 5])
def test_saturate_tints_grey_with_red_at_the_highest_severities(severity: int) -> None:
    red, green, blue = corrupt(flat_picture(100), "saturate", severity=severity, key="a")[0, 0]
    assert red > green == blue


GETTING_WORSE = (
    *("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "defocus_blur"),
    *("gaussian_blur", "brightness", "contrast", "pixelate", "jpeg_compression"),
)


@pytest.mark.parametrize("corruption", GETTING_WORSE)
def test_a_higher_severity_changes_the_picture_more(corruption: str) -> None:
    image = smooth_picture(96, 130)
    changed = [
        np.abs(corrupt(image, corruption, severity=s, key="car/a").astype(int) - image).mean()
        for s in spec.SEVERITIES
    ]
    assert changed == sorted(changed)
    assert len(set(changed)) == 5


@pytest.mark.parametrize("corruption", CORRUPTIONS)
@pytest.mark.parametrize("view", ["mirrored", "upside down", "turned", "thinned", "column-major"])
def test_how_the_picture_lies_in_memory_makes_no_difference(corruption: str, view: str) -> None:
    image = random_picture(70, 82)
    views = {
        "mirrored": image[:, ::-1],
        "upside down": image[::-1],
        "turned": image.transpose(1, 0, 2),
        "thinned": image[::2, ::2],
        "column-major": np.asfortranarray(image),
    }
    plain = corrupt(views[view].copy("C"), corruption, severity=5, key="car/a")
    assert np.array_equal(corrupt(views[view], corruption, severity=5, key="car/a"), plain)


@pytest.mark.parametrize("severity", spec.SEVERITIES)
def test_contrast_sums_a_flat_picture_in_the_same_order_however_it_lies(severity: int) -> None:
    # There the last bit of the mean decides, for one value or another.
    values = [np.full((70, 82, 3), value, dtype=np.uint8) for value in range(0, 256, 5)]
    rows = [seeded(image, "contrast", severity)[0, 0, 0] for image in values]
    columns = [seeded(np.asfortranarray(v), "contrast", severity)[0, 0, 0] for v in values]
    assert rows == columns


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_the_result_does_not_depend_on_the_order_of_calls(corruption: str) -> None:
    image = smooth_picture(40, 53)
    first = corrupt(image, corruption, severity=3, key="car/a")
    corrupt(image, corruption, severity=3, key="car/b")
    corrupt(image, "snow", severity=1, key="car/a")
    assert np.array_equal(corrupt(image, corruption, severity=3, key="car/a"), first)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_only_what_draws_depends_on_the_key(corruption: str) -> None:
    image = smooth_picture(40, 53)
    first, second = (corrupt(image, corruption, severity=3, key=key) for key in ("car/a", "car/b"))
    assert np.array_equal(first, second) == (corruption in DETERMINISTIC)


@UNHURRIED
@given(PICTURES, st.sampled_from(CELLS), st.text(min_size=1))
def test_a_key_of_any_text_gives_the_same_picture_twice(
    image: Image, cell: tuple[str, int], key: str
) -> None:
    corruption, severity = cell
    first = corrupt(image, corruption, severity=severity, key=key)
    assert np.array_equal(first, corrupt(image, corruption, severity=severity, key=key))


@FEW
@given(arrays(np.uint8, (32, 33, 3), elements=st.sampled_from([0, 1, 254, 255])))
@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_extreme_pictures_are_corrupted_without_a_warning(corruption: str, image: Image) -> None:
    assert seeded(image, corruption, 5).shape == image.shape


def test_the_package_offers_corrupt_as_designed() -> None:
    image = smooth_picture(40, 53)
    found = spairc.corrupt(image, "fog", severity=3, key="car/2008_000033", draws=None)
    draws = KeyedDraws(spec.draw_key("car/2008_000033", "fog", 3))
    assert np.array_equal(found, spairc.CORRUPTIONS["fog"](image, 3, draws))


# Rain without drops, frost without its package, and other bad input.


@dataclass
class Constant:
    """Draws that all are the same."""

    value: float

    def normal(
        self, shape: tuple[int, ...], window: tuple[slice, slice] | None = None
    ) -> NDArray[np.float64]:
        return np.full(shape, self.value)[window or ()]

    def poisson(self, grey: Image, scale: int) -> NDArray[np.int64]:
        return np.zeros(grey.shape, dtype=np.int64) + scale

    def impulses(self, shape: tuple[int, ...], amount: float) -> NDArray[np.int8]:
        return np.full(shape, amount > 1, dtype=np.int8)

    def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return np.full(shape, (low + high) / 2)

    def integer(self, below: int) -> int:
        return below - 1


@pytest.mark.parametrize("severity", [1, 2, 3])
@pytest.mark.parametrize("value", [-3.0, 3.0])
def test_spatter_without_a_drops_edge_is_no_division_by_zero(severity: int, value: float) -> None:
    image = smooth_picture(40, 53)
    found = corrupt(image, "spatter", severity=severity, key="a", draws=Constant(value))
    if value < 0:  # dry: only the published programs' truncation is left
        assert np.array_equal(found, (np.float32(image) / np.float32(255) * 255).astype(np.uint8))
    assert (found >= image.astype(int) - 1).all()


@pytest.mark.parametrize("severity", [4, 5])
def test_mud_everywhere_is_brown(severity: int) -> None:
    found = corrupt(
        smooth_picture(40, 53), "spatter", severity=severity, key="a", draws=Constant(2)
    )
    assert np.abs(found[5:-5, 5:-5].astype(int) - [63, 42, 20]).max() <= 1


@pytest.mark.parametrize("severity", spec.SEVERITIES)
def test_snow_of_full_flakes_is_white(severity: int) -> None:
    found = corrupt(smooth_picture(40, 53), "snow", severity=severity, key="a", draws=Constant(9))
    assert (found == 255).all()


@pytest.mark.parametrize("severity", spec.SEVERITIES)
def test_snow_looks_the_same_upside_down_on_a_flat_picture(severity: int) -> None:
    found = corrupt(flat_picture(60), "snow", severity=severity, key="a")
    assert np.array_equal(found, np.rot90(found, k=2))
    assert found.max() > found.min()


@pytest.fixture
def without_textures() -> Iterator[None]:
    """No texture is remembered from another test, or for the next."""
    textures.texture.cache_clear()
    yield
    textures.texture.cache_clear()


def test_frost_never_imports_the_package_of_its_pictures() -> None:
    corrupt(smooth_picture(40, 53), "frost", severity=3, key="a")
    assert "imagecorruptions" not in sys.modules


@pytest.mark.usefixtures("without_textures")
def test_frost_without_the_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textures, "find_spec", lambda _: None)
    with pytest.raises(
        BadInput, match="pictures of the package imagecorruptions; run: pip install"
    ):
        corrupt(smooth_picture(40, 53), "frost", severity=3, key="a")


@pytest.mark.usefixtures("without_textures")
@pytest.mark.parametrize(
    ("content", "complaint"), [(None, "is missing"), (b"other", "is not the published one")]
)
def test_frost_with_other_pictures_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, complaint: str
) -> None:
    if content is not None:
        for name in textures.TEXTURES:
            (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(textures, "_folder", lambda: tmp_path)
    with pytest.raises(BadInput, match=f"{complaint}; run: pip install --force-reinstall"):
        corrupt(smooth_picture(40, 53), "frost", severity=3, key="a")


def test_a_misspelt_corruption_names_the_nearest() -> None:
    with pytest.raises(BadInput, match="no corruption is called 'fogg'; did you mean 'fog'"):
        corrupt(smooth_picture(40, 53), "fogg", severity=3, key="a")


@pytest.mark.parametrize("severity", [0, 6, -1, 2.5, True, 3.0, "3"])
def test_a_severity_that_does_not_exist_is_refused(severity: int) -> None:
    with pytest.raises(BadInput, match=f"severity {severity} does not exist; choose from 1, 2, 3"):
        corrupt(smooth_picture(40, 53), "fog", severity=severity, key="a")


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (np.zeros((40, 53, 3)), "a picture of float64 40 x 53 x 3 cannot be corrupted"),
        (np.zeros((40, 53), np.uint8), "a picture of uint8 40 x 53 cannot be corrupted"),
        (np.zeros((40, 53, 4), np.uint8), "a picture of uint8 40 x 53 x 4 cannot be corrupted"),
        (np.zeros((31, 53, 3), np.uint8), "of 53 x 31 pixels .* from 32 x 32 on"),
        (np.zeros((40, 31, 3), np.uint8), "of 31 x 40 pixels .* from 32 x 32 on"),
        (PIL.Image.new("RGB", (53, 40)), "of type Image cannot be corrupted; give numpy.asarray"),
    ],
)
def test_a_picture_of_another_kind_is_refused(image: Image, complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        corrupt(image, "fog", severity=3, key="a")
