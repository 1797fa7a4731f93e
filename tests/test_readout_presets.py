"""The published readouts, against slow ones; and the backbones that go by a short name."""

import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from spairc.lookup import import_object
from spairc.types import BadInput, Image, Points, Query, Size
from spairc_models import MODELS, load_model
from spairc_models.nearest import compare
from spairc_models.preprocessing import Preprocessing
from spairc_models.readout import READOUTS, Readout, nearest_points, readout_of

PRESETS = {name: model for name, model in MODELS.items() if "presets:" in model.where}


def features(rows: int, columns: int, seed: int, channels: int = 6) -> Tensor:
    """Features of many lengths."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.randn(rows, columns, channels, generator=generator)
    return grid * torch.rand(rows, columns, 1, generator=generator) * 3


def asked(source: Tensor, target: Tensor, source_size: Size, target_size: Size) -> Query:
    share = np.random.default_rng(7).uniform(0, 1, (20, 2))
    points = np.concatenate([share * np.array(source_size), [[0, 0], np.array(source_size) - 1]])
    return Query(source, target, points, source_size, target_size, "car")


# Full resolution


def enlarged(grid: Tensor, preprocessing: Preprocessing, size: Size) -> Tensor:
    """(height, width, channels) features of the original picture, all of them, in float64."""
    frame = preprocessing.frame(size)
    xs, ys = (
        ((np.arange(count) + 0.5) * scale + offset) / preprocessing.side * 2 - 1
        for count, scale, offset in zip(size, frame.scale, frame.offset, strict=True)
    )
    places = np.stack(np.meshgrid(xs, ys), axis=2)
    maps = functional.grid_sample(
        grid.double().permute(2, 0, 1)[None],
        torch.from_numpy(places)[None],
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return maps[0].permute(1, 2, 0)


def slow_full(query: Query, preprocessing: Preprocessing) -> Points:
    source = enlarged(query.source, preprocessing, query.source_size)
    target = enlarged(query.target, preprocessing, query.target_size)
    found = []
    for x, y in query.points:
        column = min(math.floor(x + 0.5), query.source_size.width - 1)
        row = min(math.floor(y + 0.5), query.source_size.height - 1)
        near = functional.cosine_similarity(source[row, column], target, dim=2)
        best = divmod(int(near.argmax()), query.target_size.width)
        found.append((best[1], best[0]))
    return np.array(found, dtype=np.float64)


def answered(query: Query, preprocessing: Preprocessing, readout: Readout) -> Points:
    """What a matcher does around `nearest_points`."""
    frame = preprocessing.frame
    inner = Query(
        query.source,
        query.target,
        frame(query.source_size).from_original(query.points),
        query.source_size,
        query.target_size,
        query.category,
    )
    shape = (query.target.shape[0], query.target.shape[1])
    found = nearest_points(inner, preprocessing, shape, readout, compare)
    return frame(query.target_size).to_original(found)


@pytest.mark.parametrize("mode", ["squash", "pad"])
@pytest.mark.parametrize(
    "sizes", [(Size(61, 40), Size(47, 52)), (Size(9, 70), Size(130, 31)), (Size(5, 3), Size(2, 4))]
)
def test_full_agrees_with_features_enlarged_whole(mode: Any, sizes: tuple[Size, Size]) -> None:
    preprocessing = Preprocessing(96, mode)
    query = asked(features(6, 8, 1), features(6, 8, 2), *sizes)
    found = answered(query, preprocessing, Readout("full"))
    np.testing.assert_allclose(found, slow_full(query, preprocessing), atol=1e-9)


def test_full_of_a_squashed_picture_is_torchs_upsampling() -> None:
    grid = features(6, 8, 3)
    size = Size(47, 52)
    upsampled = functional.interpolate(
        grid.double().permute(2, 0, 1)[None], size=(52, 47), mode="bilinear"
    )
    found = enlarged(grid, Preprocessing(96), size)
    torch.testing.assert_close(found, upsampled[0].permute(1, 2, 0))


def test_full_takes_arrays_as_well_as_tensors() -> None:
    torch.manual_seed(0)
    source, target = features(6, 8, 4), features(6, 8, 5)
    query = asked(source, target, Size(61, 40), Size(47, 52))
    expected = answered(query, Preprocessing(96), Readout("full"))

    def multiply(one: np.ndarray, corners: Any, weights: Any, other: np.ndarray) -> np.ndarray:
        read = (one.reshape(48, 6)[corners] * weights[..., None]).sum(axis=1)
        similarity: np.ndarray = read @ other.reshape(48, 6).T
        return similarity

    frame = Preprocessing(96).frame
    inner = Query(
        source.numpy(),
        target.numpy(),
        frame(query.source_size).from_original(query.points),
        query.source_size,
        query.target_size,
        "car",
    )
    found = nearest_points(inner, Preprocessing(96), (6, 8), Readout("full"), multiply)
    np.testing.assert_allclose(frame(Size(47, 52)).to_original(found), expected)


def test_a_grid_without_any_feature_is_answered_by_the_first_pixel() -> None:
    query = asked(features(6, 8, 1), torch.zeros(6, 8, 6), Size(61, 40), Size(47, 52))
    assert not answered(query, Preprocessing(96), Readout("full")).any()


# SD+DINO and GeoAware-SC


def test_the_cell_that_holds_the_point_is_read() -> None:
    inside = np.array([[3.01, 2.99], [3.99, 2.0], [0.0, 7.5]])
    assert Readout("sd-dino").cells(inside).tolist() == [[3, 2], [3, 2], [0, 7]]
    assert Readout("geoaware").cells(inside).tolist() == [[3, 2], [3, 2], [0, 7]]
    assert Readout("argmax").cells(inside).tolist() == (inside - 0.5).tolist()


def test_sd_dino_answers_with_the_centre_of_the_best_cell() -> None:
    source, target = features(5, 9, 1), features(5, 9, 2)
    query = asked(source, functional.normalize(target, dim=2), Size(90, 50), Size(180, 25))
    found = answered(query, Preprocessing(90), Readout("sd-dino"))
    for (x, y), answer in zip(query.points, found, strict=True):
        cell = source[min(int(y / 10), 4), min(int(x / 10), 8)]
        near = functional.cosine_similarity(cell, target, dim=2)
        row, column = divmod(int(near.argmax()), 9)
        np.testing.assert_allclose(answer, [column * 20 + 10, row * 5 + 2.5])


def slow_geoaware(scores: np.ndarray, window: int, temperature: float) -> tuple[float, float]:
    """Similarities outside the window are 0 and take part, cell by cell."""
    rows, columns = scores.shape
    top, left = divmod(int(scores.argmax()), columns)
    weight = x_sum = y_sum = 0.0
    for y in range(rows):
        for x in range(columns):
            near = max(abs(y - top), abs(x - left)) <= window // 2
            share = math.exp((scores[y, x] if near else 0.0) / temperature)
            weight += share
            x_sum += share * x
            y_sum += share * y
    return x_sum / weight, y_sum / weight


@pytest.mark.parametrize("window", [1, 5, 15])
@pytest.mark.parametrize("best", [0.05, 0.9])
def test_geoawares_readout_agrees_with_its_definition(window: int, best: float) -> None:
    scores = np.random.default_rng(4).uniform(-1, best, (20, 6, 9)).astype(np.float32)
    found = Readout("geoaware", window, 0.02)(scores)
    expected = [slow_geoaware(each.astype(np.float64), window, 0.02) for each in scores]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_cells_in_the_bars_have_no_part_in_geoawares_readout() -> None:
    scores = np.full((1, 6, 5), -np.inf, np.float32)
    scores[0, 4:] = 0.01
    columns, rows = Readout("geoaware", 1, 0.02)(scores)[0]
    assert 4 <= rows <= 5
    assert 1 < columns < 2  # drawn towards the middle from the first best, column 0


# Settings


@pytest.mark.parametrize(
    ("kind", "window", "temperature"), [("window", 5, 0.04), ("geoaware", 15, 0.02)]
)
def test_a_readout_has_its_own_settings(kind: str, window: int, temperature: float) -> None:
    assert readout_of(kind) == Readout(kind, window, temperature)
    assert readout_of(kind, window=11) == Readout(kind, 11, temperature)
    assert readout_of(kind, temperature=1.0) == Readout(kind, window, 1.0)
    expected = {"readout": kind, "window": window, "temperature": temperature}
    assert readout_of(kind).details() == expected


@pytest.mark.parametrize("kind", ["argmax", "full", "sd-dino"])
def test_a_setting_without_effect_is_refused(kind: str) -> None:
    with pytest.raises(BadInput, match=f"readout '{kind}' has no window; window, geoaware have"):
        readout_of(kind, window=7)
    with pytest.raises(BadInput, match=f"readout '{kind}' has no temperature"):
        load_model("sift", readout=kind, temperature=0.1)
    assert readout_of(kind).details() == {"readout": kind}


@pytest.mark.parametrize("kind", READOUTS)
@pytest.mark.parametrize("name", ["hog", "torchvision:mobilenet_v3_small"])
def test_every_readout_answers_inside_the_picture(name: str, kind: str) -> None:
    options = {"weights": "random", "device": "cpu"} if ":" in name else {}
    matcher = load_model(name, readout=kind, **options)
    noise = np.random.default_rng(5).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    image: Image = np.asarray(PIL.Image.fromarray(noise).resize((84, 60)))
    points = np.array([[0.0, 0], [83, 59], [40.2, 30.7], [-3, 70]])
    source, target = matcher.encode([image, image[:31]])
    found = matcher.match([Query(source, target, points, Size(84, 60), Size(84, 31), "car")])[0]
    assert (found >= -1e-9).all()
    assert (found <= np.array([83, 30]) + 1e-9).all()


def test_a_picture_matches_itself_at_full_resolution() -> None:
    noise = np.random.default_rng(5).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    image: Image = np.asarray(PIL.Image.fromarray(noise).resize((84, 60)))
    matcher = load_model("hog", readout="full")
    grid = matcher.encode([image])[0]
    points = np.array([[12.0, 7], [40, 30], [61, 44]])
    query = Query(grid, grid, points, Size(84, 60), Size(84, 60), "car")
    assert matcher.match([query])[0].tolist() == points.tolist()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_the_interpolation_is_pillows(interpolation: str) -> None:
    image = np.random.default_rng(1).integers(0, 256, (31, 47, 3), dtype=np.uint8)
    method = PIL.Image.Resampling[interpolation.upper()]
    expected = np.asarray(PIL.Image.fromarray(image).resize((20, 20), method))
    found = Preprocessing(20, interpolation=interpolation).square(image)
    assert np.array_equal(found, expected)
    matcher = load_model(
        "torchvision:mobilenet_v3_small", weights="random", interpolation=interpolation
    )
    assert dict(matcher.details)["interpolation"] == interpolation  # type: ignore[attr-defined]  # of a TorchMatcher


def test_an_unknown_interpolation_is_refused() -> None:
    with pytest.raises(BadInput, match="no interpolation is called 'cubic'; did you mean 'bicub"):
        load_model("torchvision:resnet18", interpolation="cubic")


# Backbones by a short name


@pytest.mark.parametrize("name", PRESETS)
def test_a_short_name_is_a_network_of_timm_with_its_settings(name: str) -> None:
    timm = pytest.importorskip("timm")
    preset: Any = import_object(MODELS[name].where, "model")
    parameters = inspect.signature(preset).parameters
    network = preset.args[0].removeprefix("timm:")
    assert timm.models.get_pretrained_cfg(network) is not None
    assert MODELS[name].weights == f"https://huggingface.co/timm/{network}"
    assert parameters["label"].default == name
    assert parameters["side"].default == MODELS[name].side
    assert parameters["readout"].default in READOUTS


@pytest.mark.parametrize(
    ("name", "shape"), [("dino-vits16", (4, 4, 384)), ("dinov2-vits14", (4, 4, 384))]
)
def test_a_user_may_change_what_a_short_name_sets(name: str, shape: tuple[int, ...]) -> None:
    pytest.importorskip("timm")
    side = 4 * (16 if "16" in name else 14)
    matcher = load_model(name, weights="random", device="cpu", side=side, readout="full")
    image = np.random.default_rng(1).integers(0, 256, (31, 47, 3), dtype=np.uint8)
    assert matcher.name == name
    assert matcher.encode([image])[0].shape == shape
    details = dict(matcher.details)  # type: ignore[attr-defined]  # of a TorchMatcher
    assert details["layers"] == "11"
    assert details["readout"] == "full"
    assert details["resize"] == "pad"
    assert str(details["network"]).startswith("timm:vit_small_patch")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "side", "shape"),
    [
        ("dino-vits16", 64, (4, 4, 384)),
        ("dino-vitb16", 64, (4, 4, 768)),
        ("dinov2-vits14", 56, (4, 4, 384)),
        ("dinov2-vitb14", 56, (4, 4, 768)),
        ("dinov2-vitl14", 56, (4, 4, 1024)),
        ("clip-vitb16", 64, (4, 4, 768)),
        ("convnext-base", 128, (4, 4, 1024)),
    ],
)
def test_a_picture_matches_itself_by_every_short_name(
    name: str, side: int, shape: tuple[int, ...]
) -> None:
    pytest.importorskip("timm")
    matcher = load_model(name, weights="random", device="cpu", side=side)
    image = np.random.default_rng(1).integers(0, 256, (48, 96, 3), dtype=np.uint8)
    grid = matcher.encode([image])[0]
    assert grid.shape == shape
    # Centres of the eight cells that the padded picture fills.
    points = np.array([[12.0 + 24 * x, 12.0 + 24 * y] for y in range(2) for x in range(4)])
    query = Query(grid, grid, points, Size(96, 48), Size(96, 48), "car")
    np.testing.assert_allclose(matcher.match([query])[0], points, atol=1e-9)


def test_a_matcher_can_be_given_a_label_for_the_tables() -> None:
    matcher = load_model("torchvision:mobilenet_v3_small", weights="random", label="mine")
    assert matcher.name == "mine"
    network = dict(matcher.details)["network"]  # type: ignore[attr-defined]  # of a TorchMatcher
    assert network == "torchvision:mobilenet_v3_small"


# The command line


def test_the_command_line_reaches_settings_without_a_flag(tiny_root: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from spairc.cli import main
    from spairc.runs import open_run

    common = ("eval", "--model", "hog", "--root", str(tiny_root), "--on", "clean")
    given = ("--option", "window=7", "--option", "temperature=0.1", "--out", str(tmp_path / "a"))
    assert CliRunner().invoke(main, [*common, *given]).exit_code == 0
    details = open_run(tmp_path / "a").settings.details
    assert (details["window"], details["temperature"]) == (7, 0.1)
    for text, message in (
        ("window", "write NAME=VALUE, such as window=7"),
        ("widnow=7", "'hog' takes no widnow; it takes readout, window, temperature"),
        ("name=x", "'hog' takes no name; it takes readout, window, temperature"),
        ("window=6", "window 6: give an odd number of cells"),
    ):
        result = CliRunner().invoke(main, [*common, "--option", text])
        assert result.exit_code == 2
        assert message in " ".join(result.output.split())
    twice = CliRunner().invoke(main, [*common, "--readout", "full", "--option", "readout=argmax"])
    assert "the model's readout is given twice" in twice.output


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=7", 7),
        ("a=-0.5", -0.5),
        ("a=true", True),
        ("a=false", False),
        ("a=", ""),
        ("a=b=c", "b=c"),
        ("a=7px", "7px"),
    ],
)
def test_a_setting_is_a_number_a_truth_or_text(text: str, value: object) -> None:
    from spairc.cli.evaluate import _setting_of

    name, found = _setting_of(text)
    assert (name, found, type(found)) == ("a", value, type(value))
