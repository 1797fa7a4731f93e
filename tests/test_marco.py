"""MARCO, by a tiny repository with the signatures of its hubconf.py and of its network."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spairc.types import BadInput, Image, Points, Query, Size
from spairc_models import load_model

HUBCONF = """
dependencies = ["torch"]

import torch
from models import build_marco


def marco(weights="marco", pretrained=True, map_location=None, progress=True, device=None):
    model = build_marco()
    if pretrained:
        from urllib.error import URLError
        raise URLError("no network")
    return model if device is None else model.to(device)
"""
MODELS = """
import torch


class Marco(torch.nn.Module):
    # Only what was trained is saved; the rest is frozen and comes from elsewhere.
    def __init__(self):
        super().__init__()
        self.dino = torch.nn.Conv2d(3, 2, 1)
        self.adapter = torch.nn.Linear(1, 1)
        self.asked = []

    def forward(self, samples, src_kps, img_size):
        from util.late import halves  # as late as can be
        self.asked.append((samples, src_kps, img_size))
        brighter = samples[:, 1].mean() > samples[:, 0].mean()
        return halves(src_kps) + (self.adapter.bias if brighter else -self.adapter.bias)

    def state_dict(self, *args, **kwargs):
        state = super().state_dict(*args, **kwargs)
        return {key: value for key, value in state.items() if "adapter" in key}

    def load_state_dict(self, state, strict=True):
        return super().load_state_dict(state, strict=False)


def build_marco(args=None):
    return Marco()
"""
SIZES = (Size(56, 40), Size(30, 50))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "MARCO"
    for folder in ("models", "util"):
        (root / folder).mkdir(parents=True)
    (root / "hubconf.py").write_text(HUBCONF)
    (root / "models" / "__init__.py").write_text(MODELS)
    (root / "util" / "late.py").write_text("def halves(points):\n    return points / 2\n")
    return root


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    tensors = {"adapter.weight": torch.ones(1, 1), "adapter.bias": torch.tensor([6.0])}
    torch.save({"model": tensors, "epoch": 3}, tmp_path / "marco_spair.pth")
    return tmp_path / "marco_spair.pth"


def pictures(second: int) -> list[Image]:
    return [
        np.full((size.height, size.width, 3), value, dtype=np.uint8)
        for size, value in zip(SIZES, (100, second), strict=True)
    ]


def load(repository: Path, weights: Path, **options: object) -> Any:  # its network is looked at
    given: dict[str, Any] = {"repository": str(repository), "side": 60, "device": "cpu", **options}
    return load_model("marco", str(weights), **given)


def ask(matcher: Any, points: Points, second: int = 120) -> Points:
    first, target = matcher.encode(pictures(second))
    found: Points = matcher.match([Query(first, target, points, *SIZES, "car")])[0]
    return found


@pytest.mark.parametrize(("second", "shift"), [(120, 6), (80, -6)])
def test_the_network_gets_the_squashed_pair_source_first_and_points_of_its_input(
    repository: Path, weights: Path, second: int, shift: int
) -> None:
    points = np.array([[28.0, 10.0], [7.0, 30.0]])
    found = ask(load(repository, weights), points, second)
    inputs = points * [60 / 56, 60 / 40]
    np.testing.assert_allclose(found, (inputs / 2 + shift) * [30 / 60, 50 / 60], atol=1e-4)


def test_what_it_is_asked_has_the_shapes_of_the_hub_model(repository: Path, weights: Path) -> None:
    matcher = load(repository, weights)
    ask(matcher, np.array([[28.0, 10.0], [-5.0, 39.9], [56.0, 0.0]]))
    ((samples, points, size),) = matcher._matcher.find._network.asked
    assert samples.shape == (1, 2, 3, 60, 60)
    assert points.shape == (1, 3, 2)
    assert size == (60, 60)
    # ImageNet's normalisation of grey 100, and points that stay inside.
    assert float(samples[0, 0, 0, 0, 0]) == pytest.approx((100 / 255 - 0.485) / 0.229, abs=1e-5)
    assert (points >= 1e-4 / 2).all()
    assert (points <= 59).all()


def test_only_the_trained_weights_are_loaded_and_every_one_of_them(
    repository: Path, weights: Path, tmp_path: Path
) -> None:
    matcher = load(repository, weights)
    assert matcher.name == "marco"
    assert len(matcher.details["weights"]) == len(matcher.details["code"]) == 64
    torch.save({"model": {"adapter.bias": torch.zeros(1)}}, tmp_path / "short.pth")
    with pytest.raises(BadInput, match=r"adapter\.weight missing"):
        load(repository, tmp_path / "short.pth")


def test_without_a_checkpoint_the_repository_fetches_its_own(repository: Path) -> None:
    with pytest.raises(BadInput, match="cannot fetch what it wants") as refusal:
        load_model("marco", repository=str(repository), device="cpu")
    assert "\n" not in str(refusal.value)


def test_a_network_that_gives_no_points_is_explained(repository: Path, weights: Path) -> None:
    (repository / "util" / "late.py").write_text(
        "def halves(points):\n    return points[..., :1]\n"
    )
    with pytest.raises(BadInput, match=r"answers \(1, 2, 2\) points with \(1, 2, 1\)"):
        ask(load(repository, weights), np.array([[28.0, 10.0], [7.0, 30.0]]))


def test_any_repository_may_have_a_network_of_pairs(repository: Path) -> None:
    name = f"hub:{repository}:marco"
    matcher = load_model(name, pairs=True, pretrained=False, side=60, device="cpu")
    assert matcher.name == "hub:MARCO:marco"
    assert ask(matcher, np.array([[28.0, 10.0]])).shape == (1, 2)
    with pytest.raises(BadInput, match="takes no readout"):
        load_model(name, pairs=True, pretrained=False, readout="window")
