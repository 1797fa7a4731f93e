"""The networks of a recipe: made, started, put on a device, and their parameters in two groups."""

from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from matchme_train.recipe import Network, Optimiser
from spairc.types import BadInput
from spairc_models import load_network
from spairc_models.cats import Settings as CATsSettings
from spairc_models.catspp import Settings as CATsPlusPlusSettings
from spairc_models.checkpoint import Checkpoint, load_strictly, read_checkpoint
from spairc_models.resnet import RESNET_101, ResNet, channels

_SCORRSAN_CELLS = 64  # its class makes no other


def make_network(recipe: Network, seed: int) -> nn.Module:
    """Return a network with fresh weights behind a trunk that was trained before, or was not.

    Args:
        recipe: Which.
        seed: Of the fresh weights.

    Raises:
        BadInput: If a layer is not in the trunk, or the trunk's weights are not to be had.
    """
    trunk_layers = len(channels(recipe.blocks, width=recipe.width))
    beyond = [layer for layer in recipe.layers if not 0 <= layer < trunk_layers]
    if beyond and recipe.name != "catspp":
        raise BadInput(f"network.layers: {beyond} of a trunk whose last is {trunk_layers - 1}")
    with torch.random.fork_rng(devices=[]):  # the trunk is drawn before `load_network` seeds
        torch.default_generator.manual_seed(seed)
        network = _MAKERS[recipe.name](recipe, seed)
    start = _trunk_weights(recipe)
    if start is not None:
        load_strictly(trunk_of(network), start, "the trunk")
    return network


def _cats(recipe: Network, seed: int) -> nn.Module:
    """Return a CATs."""
    settings = CATsSettings(hyperpixels=recipe.layers, cells=recipe.cells)
    trunk = ResNet(recipe.blocks, width=recipe.width)
    return load_network("cats", seed=seed, settings=settings, backbone=trunk)


def _catspp(recipe: Network, seed: int) -> nn.Module:
    """Return a CATs++."""
    settings = CATsPlusPlusSettings(cells=recipe.cells)
    return load_network(
        "catspp", seed=seed, settings=settings, blocks=recipe.blocks, width=recipe.width
    )


def _scorrsan(recipe: Network, seed: int) -> nn.Module:
    """Return a SCorrSAN."""
    if len(recipe.layers) != 1 or recipe.cells != _SCORRSAN_CELLS:
        raise BadInput("network: scorrsan reads one layer and answers on 64 cells a side")
    trunk = ResNet(recipe.blocks, width=recipe.width)
    return load_network("scorrsan", seed=seed, backbone=trunk, layer=recipe.layers[0])


_MAKERS = {"cats": _cats, "catspp": _catspp, "scorrsan": _scorrsan}


def trunk_of(network: nn.Module) -> nn.Module:
    """Return the feature extractor, whose learning rate is its own."""
    extraction: Any = getattr(network, "feature_extraction", network)
    trunk: nn.Module = extraction.backbone
    return trunk


def parameter_groups(network: nn.Module, optimiser: Optimiser) -> list[dict[str, Any]]:
    """Return what AdamW takes: the rest of the network, then its trunk."""
    trunk = {id(each) for each in trunk_of(network).parameters()}
    rest = [each for each in network.parameters() if id(each) not in trunk]
    return [
        {"params": rest, "base": optimiser.learning_rate},
        {"params": list(trunk_of(network).parameters()), "base": optimiser.backbone_learning_rate},
    ]


def make_optimiser(network: nn.Module, optimiser: Optimiser) -> torch.optim.AdamW:
    """Return AdamW over both groups; `set_rates` sets their rates."""
    return torch.optim.AdamW(
        parameter_groups(network, optimiser), lr=0.0, weight_decay=optimiser.weight_decay
    )


def set_rates(adam: torch.optim.AdamW, optimiser: Optimiser, epoch: int, epochs: int) -> None:
    """Set the rates of an epoch, a function of its number alone."""
    passed = sum(epoch >= round(share * epochs) for share in optimiser.milestones)
    fallen = optimiser.factor**passed
    for group in adam.param_groups:
        group["lr"] = group["base"] * fallen


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Return the state dict, every tensor on the CPU and with memory of its own."""
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in network.state_dict().items()
    }


def load_weights(network: nn.Module, where: str) -> str:
    """Load a checkpoint strictly; return its SHA-256.

    Raises:
        BadInput: If there is none, or it is of another network.
    """
    checkpoint = read_checkpoint(where)
    load_strictly(network, checkpoint, "the recipe's network")
    return checkpoint.sha256


def _trunk_weights(recipe: Network) -> Checkpoint | None:
    """Return what the trunk starts from; nothing for "random"."""
    if recipe.weights == "random":
        return None
    if recipe.weights != "imagenet":
        return read_checkpoint(recipe.weights)
    if recipe.blocks != RESNET_101:
        raise BadInput('network.weights "imagenet" is for ResNet-101; give "random" or a file')
    version = torchvision.models.ResNet101_Weights.IMAGENET1K_V1  # every published program's
    try:
        state = version.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: another SHA-256
        raise BadInput(
            f"ResNet-101's ImageNet weights cannot be fetched ({error}); download {version.url} "
            f"where there is a network and give --set network.weights=FILE"
        ) from error
    return Checkpoint(state, "", version.url)
