"""The networks of a recipe: made, started, put on a device, and their parameters in two groups."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from matchme_train.sections import Network, Optimiser
from spairc.types import BadInput
from spairc_models.checkpoint import Checkpoint, load_strictly, read_checkpoint
from spairc_models.recorded import Architecture, make_recorded
from spairc_models.resnet import RESNET_101


@dataclass(frozen=True)
class _Published:
    """Weights of ImageNet that every published program starts from."""

    version: torchvision.models.WeightsEnum
    fits: Callable[[Network], bool]


# By trunk.
_IMAGENET: Mapping[str, _Published] = {
    "resnet": _Published(
        torchvision.models.ResNet101_Weights.IMAGENET1K_V1,
        lambda recipe: (recipe.blocks, recipe.width) == (RESNET_101, 64),
    ),
    "mobilenet_v2": _Published(
        torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1, lambda _: True
    ),
}


def make_network(recipe: Network, seed: int) -> nn.Module:
    """Return a network with fresh weights behind a trunk that was trained before, or was not.

    Args:
        recipe: Which.
        seed: Of the fresh weights.

    Raises:
        BadInput: If a layer is not in the trunk, or the trunk's weights are not to be had.
    """
    network = make_recorded(Architecture.of(asdict(recipe)), seed)
    start = _trunk_weights(recipe)
    if start is not None:
        load_strictly(trunk_of(network), start, "the trunk")
    return network


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
    # One pass over each tensor in place of a dozen: half of the time, equal but for rounding.
    return torch.optim.AdamW(
        parameter_groups(network, optimiser),
        lr=0.0,
        weight_decay=optimiser.weight_decay,
        fused=True,
    )


def begin_training(network: nn.Module, optimiser: Optimiser) -> None:
    """Put a network into training mode; a trunk whose rate is 0 stays as it is.

    Its weights then need no gradient, which is most of the work, and its batch statistics are
    those that it came with.
    """
    network.train()
    if optimiser.backbone_learning_rate == 0:
        trunk_of(network).eval().requires_grad_(requires_grad=False)


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
    published = _IMAGENET[recipe.trunk]
    if not published.fits(recipe):
        raise BadInput('network.weights "imagenet" is for ResNet-101; give "random" or a file')
    version = published.version
    try:
        state = version.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: another SHA-256
        raise BadInput(
            f"{version}: these weights cannot be fetched ({error}); download {version.url} "
            f"where there is a network and give --set network.weights=FILE"
        ) from error
    return Checkpoint(state, "", version.url)
