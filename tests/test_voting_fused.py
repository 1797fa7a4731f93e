"""SD+DINO and DIY-SC with tiny random networks, and their pieces against slow references."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn
from torch.nn import functional

from spairc.types import BadInput, Features, Image, Matcher, Points, Query, Size
from spairc_models import load_model
from spairc_models.fused import fused
from spairc_models.projection import Block, Projection

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
folder = test_dift.folder  # the fixture of a tiny diffusion model
TOKENS: dict[str, Any] = {"network": "vit_tiny_patch16_224", "network_weights": "random"}


def texture(seed: int, width: int, height: int) -> Image:
    """A smooth picture in which no two places look alike."""
    draws = np.random.default_rng(seed)
    coarse = PIL.Image.fromarray(draws.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), PIL.Image.Resampling.BICUBIC))


PICTURES = (texture(1, 91, 62), texture(2, 57, 81))


def query(features: list[Features], points: Points, target: int = 1) -> Query:
    sizes = [Size(each.shape[1], each.shape[0]) for each in PICTURES]
    return Query(
        source=features[0],
        target=features[target],
        points=points,
        source_size=sizes[0],
        target_size=sizes[target],
        category="duck",
    )


def some_points(count: int) -> Points:
    return np.asarray(np.random.default_rng(count).uniform(0, 1, (count, 2)) * [91, 62])


@pytest.fixture(scope="module")
def sd_dino(folder: Path) -> Matcher:
    options = {"side": 96, "sd_side": 48, "device": "cpu", **TOKENS}
    return load_model("sd-dino", checkpoint=str(folder), **options)


@pytest.fixture(scope="module")
def diy_sc() -> Matcher:
    # 768 channels, as the adapter wants.
    return load_model(
        "diy-sc", weights="random", network="vit_base_patch32_224", side=96, device="cpu"
    )


@pytest.mark.parametrize("name", ["sd_dino", "diy_sc"])
def test_every_point_is_answered_whatever_else_is_asked(
    name: str, request: pytest.FixtureRequest
) -> None:
    matcher: Matcher = request.getfixturevalue(name)
    features = matcher.encode(PICTURES)
    points = np.concatenate([some_points(36), [[0, 0], [90, 0], [0, 61], [90, 61]]])
    together = matcher.match([query(features, points), query(features, points[:1], 0)])
    assert [each.shape for each in together] == [(40, 2), (1, 2)]
    assert np.isfinite(together[0]).all()
    alone = matcher.match([query(features, points[39:])])[0]
    assert np.allclose(alone, together[0][39:], atol=1e-2)
    turned = matcher.encode(PICTURES[::-1])[::-1]
    assert np.allclose(matcher.match([query(turned, points)])[0], together[0], atol=1e-2)


def test_a_cosine_of_joined_features_is_the_weighted_mean_of_both_kinds() -> None:
    generator = torch.Generator().manual_seed(1)
    one, other = (torch.rand(3, 5, count, generator=generator) - 0.5 for count in (4, 7))
    found = fused(one, other, 0.3)
    cosines = found.flatten(0, 1) @ found.flatten(0, 1).T
    for i, j in np.ndindex(15, 15):
        parts = [
            functional.cosine_similarity(each.flatten(0, 1)[i], each.flatten(0, 1)[j], dim=0)
            for each in (one, other)
        ]
        assert float(cosines[i, j]) == pytest.approx(
            0.3 * float(parts[0]) + 0.7 * float(parts[1]), abs=1e-5
        )


def test_a_coarser_grid_of_diffusion_features_is_brought_to_that_of_the_tokens() -> None:
    coarse = torch.arange(6.0).reshape(2, 3, 1) + 1
    assert fused(coarse, torch.ones(4, 6, 2), 0.5).shape == (4, 6, 3)


def test_the_share_decides_which_kind_answers(folder: Path) -> None:
    found = []
    for share in (0.0, 1.0):
        options = {"side": 96, "sd_side": 48, "device": "cpu", "share": share, **TOKENS}
        matcher = load_model("sd-dino", checkpoint=str(folder), **options)
        found.append(matcher.match([query(matcher.encode(PICTURES), some_points(9))])[0])
    assert not np.array_equal(found[0], found[1])


def test_a_projection_is_the_weighted_sum_of_its_blocks() -> None:
    torch.manual_seed(2)
    projection = Projection((6, 128), outputs=128).eval()
    with torch.no_grad():
        projection.mixing_weights.copy_(torch.tensor([0.3, -0.4]))
    features = torch.randn(2, 134, 3, 5)
    shares = np.exp([0.3, -0.4]) / np.exp([0.3, -0.4]).sum()
    parts = [
        slow_block(projection.bottleneck_layers[i][0], part)  # type: ignore[index]  # a Sequential
        for i, part in enumerate((features[:, :6], features[:, 6:]))
    ]
    expected = shares[0] * parts[0] + shares[1] * parts[1]
    assert torch.allclose(projection(features), expected.float(), atol=1e-5)


def slow_block(block: Block, features: torch.Tensor) -> torch.Tensor:
    """Return what a block's own convolutions and normalisations give, step by step."""

    def step(layer: Any, given: torch.Tensor) -> torch.Tensor:
        made = functional.conv2d(given, layer.weight, padding=layer.weight.shape[-1] // 2)
        groups = made.unflatten(1, (32, -1))  # type: ignore[no-untyped-call]  # torch's own
        centred = groups - groups.mean(dim=(2, 3, 4), keepdim=True)
        unit = centred / (centred.square().mean(dim=(2, 3, 4), keepdim=True) + 1e-5).sqrt()
        affine = (layer.norm.weight[:, None, None], layer.norm.bias[:, None, None])
        return torch.as_tensor(unit.flatten(1, 2) * affine[0] + affine[1])

    inner = step(block.conv2, step(block.conv1, features).clamp(min=0)).clamp(min=0)
    past = features if block.shortcut is None else step(block.shortcut, features)
    return (past + step(block.conv3, inner)).clamp(min=0)


def test_a_projection_has_the_names_of_the_published_files() -> None:
    names = set(Projection((640, 768)).state_dict())
    assert "bottleneck_layers.0.0.shortcut.norm.weight" in names
    assert "bottleneck_layers.1.0.conv2.weight" in names
    assert "bottleneck_layers.1.0.shortcut.weight" not in names  # as wide as the result
    assert {"mixing_weights", "logit_scale", "self_logit_scale"} <= names


def test_an_adapters_file_is_loaded_strictly(tmp_path: Path) -> None:
    torch.save(Projection().state_dict(), tmp_path / "adapter.pth")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    with pytest.raises(BadInput, match="does not fit diy-sc"):
        load_model("diy-sc", checkpoint=str(tmp_path / "other.pth"))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("diy-sc", {}, "needs weights, and they are at https"),
        ("diy-sc", {"weights": "random", "checkpoint": "x.pth"}, "give either"),
        ("sd-dino", {"share": 1.5}, "give a number from 0 to 1"),
        ("sd-dino", {"readout": "full"}, "give one that compares cells"),
        ("sd-dino", {"checkpoint": "nowhere"}, "nowhere has no unet"),
    ],
)
def test_a_wrong_option_is_explained(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_model(name, **options)
