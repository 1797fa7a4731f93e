"""Networks that `spairc train` trained are found by their model's name, or by their folder."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from spairc.files import cache_folder
from spairc.types import BadInput, Query, Size
from spairc_models import load_model
from spairc_models.flow import flow_to_points
from spairc_models.recorded import Architecture, make_recorded, registered

TINY = Architecture(name="cats", side=96, cells=4, blocks=(1, 1, 1, 1), width=4, layers=(2, 3))
PICTURES = tuple(
    np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    for seed, (height, width) in enumerate([(61, 90), (70, 43)])
)


def saved(folder: Path, architecture: Architecture = TINY, seed: int = 3) -> Path:
    """Write a network's weights as a run of the trainer does."""
    folder.mkdir(exist_ok=True)
    state = make_recorded(architecture, seed).state_dict()
    save_file(
        {name: each.contiguous().clone() for name, each in state.items()},
        folder / "model_best.safetensors",
    )
    return folder / "model_best.safetensors"


def record(architecture: Architecture = TINY) -> dict[str, Any]:
    """What a recipe says of its network, in JSON's types; more than matters here."""
    told: dict[str, Any] = json.loads(json.dumps(asdict(architecture)))
    return {**told, "field": 35, "weights": "random"}


def register(model: str, weights: Path, **changes: object) -> Path:
    """Write what `spairc train` writes when a run is finished."""
    told: dict[str, object] = {
        "checkpoint": str(weights),
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "model": model,
        "network": record(),
        **changes,
    }
    entry = cache_folder() / "trained" / f"{model}.json"
    entry.parent.mkdir(parents=True, exist_ok=True)
    entry.write_text(json.dumps(told))
    return entry


def test_a_registered_run_is_what_its_models_name_stands_for(tmp_path: Path) -> None:
    weights = saved(tmp_path / "run")
    register("matchme-cats", weights)
    matcher = load_model("matchme-cats", device="cpu")
    told = matcher.details  # type: ignore[attr-defined]  # of a TorchMatcher
    assert told["weights"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    features = matcher.encode(PICTURES)
    points = np.array([[7.0, 50.0], [88.5, 3.0]])
    sizes = [Size(image.shape[1], image.shape[0]) for image in PICTURES]
    source, target = features
    (found,) = matcher.match([Query(source, target, points, sizes[0], sizes[1], "car")])
    network: Any = make_recorded(TINY, 3)
    given = torch.from_numpy((points * 96 / np.array(sizes[0])).astype(np.float32)).unsqueeze(0)
    with torch.inference_mode():
        flow = network.match_features(*features)
        expected = flow_to_points(flow, given, 96)[0].numpy() * np.array(sizes[1]) / 96
    assert np.allclose(found, expected, atol=1e-3)


def test_a_checkpoint_that_was_named_goes_before_a_registered_run(tmp_path: Path) -> None:
    register("matchme-cats", saved(tmp_path / "registered"))
    other = saved(tmp_path / "other", seed=4)
    (tmp_path / "other" / "recipe.json").write_text(json.dumps({"recipe": {"network": record()}}))
    matcher = load_model("matchme-cats", checkpoint=str(other), device="cpu")
    told = matcher.details  # type: ignore[attr-defined]  # of a TorchMatcher
    assert told["weights"] == hashlib.sha256(other.read_bytes()).hexdigest()


@pytest.mark.parametrize("below", ["", "best"])
def test_the_folder_of_a_run_tells_what_its_network_is_made_of(tmp_path: Path, below: str) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps({"recipe": {"network": record()}}))
    weights = saved(tmp_path / below)
    for where in (weights, weights.parent):
        matcher = load_model("cats", checkpoint=str(where), device="cpu")
        assert matcher.preprocessing.side == 96  # type: ignore[attr-defined]  # of a TorchMatcher


def test_weights_that_have_changed_since_are_refused(tmp_path: Path) -> None:
    weights = saved(tmp_path / "run")
    register("matchme-cats", weights)
    saved(tmp_path / "run", seed=4)
    with pytest.raises(BadInput, match=r"has changed since it was registered .*--checkpoint FILE"):
        load_model("matchme-cats")


def test_weights_that_are_gone_are_told_in_one_line(tmp_path: Path) -> None:
    weights = saved(tmp_path / "run")
    entry = register("matchme-cats", weights)
    weights.unlink()
    with pytest.raises(BadInput, match=r"is gone; train again, give --checkpoint FILE") as refusal:
        load_model("matchme-cats")
    assert str(entry) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_run_of_another_architecture_is_refused(tmp_path: Path) -> None:
    register("scorrsan", saved(tmp_path / "run"))
    with pytest.raises(BadInput, match="does not fit scorrsan: it is a checkpoint of a cats"):
        load_model("scorrsan")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged"),
        ("[1]", "is damaged"),
        ('{"checkpoint": "x", "sha256": "0"}', "lacks 'network'"),
    ],
)
def test_a_damaged_entry_is_named(content: str, message: str) -> None:
    entry = cache_folder() / "trained" / "cats.json"
    entry.parent.mkdir(parents=True)
    entry.write_text(content)
    with pytest.raises(BadInput, match=message) as refusal:
        load_model("cats")
    assert str(entry) in str(refusal.value)


@pytest.mark.parametrize("lacking", ["name", "side", "cells"])
def test_a_network_is_not_guessed_where_its_record_is_silent(tmp_path: Path, lacking: str) -> None:
    told = {key: value for key, value in record().items() if key != lacking}
    register("cats", saved(tmp_path / "run"), network=told)
    with pytest.raises(BadInput, match=f"lacks {lacking}"):
        registered("cats")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "vgg"}, "no network in training is called 'vgg'"),
        ({"trunk": "mobilenet"}, "no trunk is called 'mobilenet'; did you mean 'mobilenet_v2'"),
        ({"layers": (2, 5)}, r"\[5\] of a trunk whose last is 4"),
        ({"name": "catspp", "trunk": "mobilenet_v2"}, "catspp reads the stages of a resnet"),
        ({"name": "scorrsan"}, "scorrsan reads one layer"),
    ],
)
def test_what_cannot_be_built_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make_recorded(Architecture(**{**asdict(TINY), **changes}))


def test_nothing_registered_is_no_error() -> None:
    assert registered("matchme-cats") is None
