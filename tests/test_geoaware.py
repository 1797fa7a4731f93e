"""GeoAware-SC with tiny random networks: what is gathered, projected, joined and answered."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from spairc.types import BadInput, Points, Query, Size
from spairc_models import load_model
from spairc_models.fused_matcher import Kinds
from spairc_models.geoaware import gathered
from spairc_models.projection import Projection

pytest.importorskip("diffusers", reason="needs the extra `diffusion`")
pytest.importorskip("timm", reason="needs the extra `timm`")


def loaded(name: str) -> ModuleType:
    """Another test file, for what it makes."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


test_dift = loaded("test_dift")
folder, texture = test_dift.folder, test_dift.texture  # the fixtures
SIZES = (Size(84, 60), Size(51, 60))
TINY: dict[str, Any] = {
    "network": "vit_tiny_patch16_224",
    "side": 96,
    "sd_side": 80,
    "window": 48,
    "device": "cpu",
}
CHANNELS = (8, 12, 16, 192)  # of the tiny networks, the finest level first


@pytest.fixture(scope="module")
def pictures(texture: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [texture, np.ascontiguousarray(texture[:, 33:])]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A projection's file as the authors' program saves it, their suffix included."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(9)
        projection = Projection(CHANNELS)
        projection.mixing_weights.data = torch.tensor([0.4, -0.3, 0.2, 1.0])
    path = tmp_path_factory.mktemp("adapter") / "best_856.PTH"
    torch.save(projection.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def adapted(folder: Path, adapter: Path) -> Any:
    return with_random_tokens(adapter, diffusion=str(folder))


def with_random_tokens(adapter: Path, **options: Any) -> Any:
    """GeoAware-SC of a file, on tokens of random weights that stand in a file of their own."""
    import timm

    tokens = adapter.with_name("tokens.pth")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        torch.save(timm.create_model("vit_tiny_patch16_224").state_dict(), tokens)
    return load_model(
        "geoaware-sc", str(adapter), network_checkpoint=str(tokens), **{**TINY, **options}
    )


@pytest.fixture(scope="module")
def zero_shot(folder: Path) -> Any:
    return load_model("geoaware-zero", str(folder), network_weights="random", **TINY)


def question(features: list[Any], points: Points) -> Query:
    source, target = features
    return Query(source, target, points, *SIZES, "car")


def some_points(count: int = 25) -> Points:
    return np.asarray(np.random.default_rng(3).uniform(0, 1, (count, 2)) * np.array(SIZES[0]))


def test_levels_are_gathered_from_the_finest_and_the_tokens_stand_last() -> None:
    generator = torch.Generator().manual_seed(1)
    coarse, middle, fine = (
        torch.rand(channels, side, side, generator=generator)
        for channels, side in ((4, 2), (3, 3), (2, 6))
    )
    tokens = torch.rand(5, 6, 6, generator=generator)
    found = gathered(Kinds((coarse, middle, fine), tokens))
    assert found.shape == (14, 6, 6)
    assert torch.equal(found[:2], fine)
    assert torch.equal(found[9:], tokens)
    enlarged = functional.interpolate(middle[None], (6, 6), mode="bilinear")[0]
    assert torch.equal(found[2:5], enlarged)


def cells_of(made: NDArray[np.float32]) -> NDArray[np.float64]:
    return made.astype(np.float64).reshape(-1, made.shape[-1])


def soft_answer(
    matcher: Any, grids: list[NDArray[np.float64]], point: Points, reach: int
) -> NDArray[np.float64]:
    """The expected cell of 6 x 6, similarities outside the window being 0, in original pixels."""
    source, target = grids
    frames = [matcher.tokens.preprocessing.frame(size) for size in SIZES]
    column, row = (frames[0].from_original(point[None])[0] // 16).astype(int)
    left = (96 - round(96 * 51 / 60)) // 2
    inside = [c for c in range(36) if left <= 16 * (c % 6) + 8 < 96 - left]
    near = {c: float(source[6 * row + column] @ target[c]) for c in inside}
    best = max(near, key=lambda c: near[c])
    weights = {
        c: np.exp(
            (value if max(abs(c % 6 - best % 6), abs(c // 6 - best // 6)) <= reach else 0) / 0.02
        )
        for c, value in near.items()
    }
    total = sum(weights.values())
    x = sum((c % 6) * weight for c, weight in weights.items()) / total
    y = sum((c // 6) * weight for c, weight in weights.items()) / total
    answer = frames[1].to_original(np.array([[16 * x + 8, 16 * y + 8]]))[0]
    return np.asarray(answer, dtype=np.float64)


def test_adapted_features_are_the_projections_of_what_is_gathered(
    adapted: Any, adapter: Path, pictures: list[NDArray[np.uint8]]
) -> None:
    features = adapted.encode(pictures)
    points = some_points()
    found = adapted.match([question(features, points)])[0]
    projection = Projection(CHANNELS)
    projection.load_state_dict(torch.load(adapter))
    grids = []
    with torch.inference_mode():
        for each in features:
            levels = adapted.decoder.levels(each.latents, "a photo of car")
            both = [
                functional.interpolate(level[None], (6, 6), mode="bilinear")
                for level in (*levels[::-1], each.tokens)
            ]
            made = projection(torch.cat(both, dim=1))[0].flatten(1).T.double()
            grids.append((made / made.norm(dim=1, keepdim=True)).numpy())
    expected = [soft_answer(adapted, grids, point, reach=7) for point in points]
    assert np.ptp(expected, axis=0).min() > 1
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_without_a_projection_both_kinds_weigh_the_same_and_the_window_is_smaller(
    zero_shot: Any, pictures: list[NDArray[np.uint8]]
) -> None:
    features = zero_shot.encode(pictures)
    points = some_points()
    found = zero_shot.match([question(features, points)])[0]
    grids = []
    for each in features:
        kinds = each.made["a photo of car"]
        parts = gathered(kinds).flatten(1).double().numpy()
        halves = [half / np.linalg.norm(half, axis=0) for half in (parts[:36], parts[36:])]
        grids.append(np.concatenate(halves).T / 2**0.5)
    expected = [soft_answer(zero_shot, grids, point, reach=5) for point in points]
    assert zero_shot.readout.window == 11
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_a_picture_keeps_the_projection_and_not_the_levels(
    adapted: Any, pictures: list[NDArray[np.uint8]]
) -> None:
    features = adapted.encode(pictures)
    adapted.match([question(features, some_points(2))])
    (made,) = features[0].made.values()
    assert made.shape == (6, 6, 768)
    torch.testing.assert_close(made.norm(dim=2), torch.ones(6, 6))


def test_answers_do_not_depend_on_what_else_is_asked(
    adapted: Any, pictures: list[NDArray[np.uint8]]
) -> None:
    features = adapted.encode(pictures)
    points = np.concatenate([some_points(9), [[0, 0], [83, 59], [-4, 30], [90, 70.5]]])
    together = adapted.match([question(features, points), question(features, points[:1])])
    fresh = adapted.encode(pictures[::-1])[::-1]
    alone = adapted.match([question(fresh, points[12:])])[0]
    np.testing.assert_allclose(alone, together[0][12:], atol=1e-2)
    assert together[0].shape == (13, 2)
    assert ((together[0] >= -1e-9) & (together[0] <= np.array([50, 59]) + 1e-9)).all()


def test_the_record_tells_the_published_settings(adapted: Any, adapter: Path) -> None:
    import hashlib

    details = dict(adapted.details)
    expected = {"timestep": 50, "seed": 42, "readout": "geoaware", "window": 15, "sd window": 48}
    assert expected.items() <= details.items()
    assert details["weights"] == hashlib.sha256(adapter.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("geoaware-sc", {}, "needs weights, and they are at https"),
        ("geoaware-sc", {"weights": "random", "checkpoint": "x.pth"}, "give either"),
        ("geoaware-sc", {"weights": "random", "readout": "full"}, "compares pixels"),
        ("geoaware-sc", {"weights": "random", "diffusion": "nowhere"}, "nowhere has no unet"),
        ("geoaware-zero", {"readout_window": 4}, "give an odd number of cells"),
    ],
)
def test_a_wrong_option_is_explained(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_model(name, **options)


def test_a_projection_of_other_networks_is_refused(folder: Path, tmp_path: Path) -> None:
    torch.save(Projection().state_dict(), tmp_path / "diy.pth")
    with pytest.raises(BadInput, match="does not fit geoaware-sc: bottleneck_layers"):
        with_random_tokens(tmp_path / "diy.pth", diffusion=str(folder))
