"""MobileNetV2 as a trunk: torchvision's own network, read at some of its layers."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import mobilenet_v2

from matchme_train.networks import (
    begin_training,
    make_network,
    make_optimiser,
    set_rates,
    trunk_of,
)
from matchme_train.recipe import load_recipe
from spairc.types import BadInput
from spairc_models.mobilenet import MobileNet

SMALL = (
    "network.trunk=mobilenet_v2",
    "network.weights=random",
    "network.side=64",
    "network.cells=4",
)


@pytest.mark.parametrize("layers", [(3,), (6, 13, 17), (0, 18)])
def test_its_features_are_those_of_torchvisions_network(layers: tuple[int, ...]) -> None:
    trunk, plain = MobileNet().eval(), mobilenet_v2().eval()
    plain.load_state_dict(trunk.state_dict())
    pictures = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        found = trunk(pictures, layers, rectified=False)
        expected = [plain.features[: layer + 1](pictures) for layer in layers]
    for layer, mine, theirs in zip(layers, found, expected, strict=True):
        assert torch.equal(mine, theirs)
        assert mine.shape[1] == trunk.channels[layer]


@pytest.mark.parametrize(("layers", "runs"), [((2, 7), 0), ((2, 8), 1)])
def test_nothing_behind_the_last_layer_is_computed(layers: tuple[int, ...], runs: int) -> None:
    trunk, ran = MobileNet().eval(), []
    trunk.features[8].register_forward_hook(lambda *_: ran.append(8))
    trunk(torch.rand(1, 3, 64, 64), layers, rectified=False)
    assert len(ran) == runs


def test_rectified_features_are_refused() -> None:
    with pytest.raises(ValueError, match="without a ReLU"):
        MobileNet()(torch.rand(1, 3, 64, 64), (3,), rectified=True)


def test_a_cats_on_it_starts_from_a_file_of_torchvisions_weights_and_can_be_trained(
    tmp_path: Path,
) -> None:
    torch.default_generator.manual_seed(3)
    weights = mobilenet_v2().state_dict()
    save_file(weights, tmp_path / "trunk.safetensors")
    changes = (*SMALL, "network.layers=[6,13,17]", f"network.weights={tmp_path}/trunk.safetensors")
    network = make_network(load_recipe("supervised-cats", changes).network, 5)
    for name, tensor in trunk_of(network).state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    flow = network.train()(torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64))
    flow.square().mean().backward()
    first = trunk_of(network).get_parameter("features.0.0.weight")
    assert flow.shape == (2, 2, 4, 4)
    assert first.grad is not None
    assert first.grad.abs().max() > 0


def test_a_trunk_whose_rate_is_0_is_left_as_it_is() -> None:
    recipe = load_recipe(
        "supervised-cats", (*SMALL, "network.layers=[6]", "optimiser.backbone_learning_rate=0")
    )
    network = make_network(recipe.network, 5)
    before = {name: tensor.clone() for name, tensor in trunk_of(network).state_dict().items()}
    adam = make_optimiser(network, recipe.optimiser)
    begin_training(network, recipe.optimiser)
    set_rates(adam, recipe.optimiser, 0, 10)
    network(torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)).square().mean().backward()
    projection = network.get_parameter("proj.0.weight")
    old = projection.detach().clone()
    adam.step()
    assert not torch.equal(projection, old)
    for name, tensor in trunk_of(network).state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("supervised-cats", ("network.layers=[6,19]",), r"\[19\] of a trunk whose last is 18"),
        ("supervised-catspp", ("network.side=128", "network.cells=8"), "stages of a resnet"),
        ("supervised-cats", ("network.trunk=mobilenet",), "did you mean 'mobilenet_v2'"),
    ],
)
def test_what_does_not_fit_it_is_refused(name: str, changes: tuple[str, ...], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        make_network(load_recipe(name, (*SMALL, *changes)).network, 5)
