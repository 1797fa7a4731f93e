"""Networks that hyperpixels are read from: ResNet as HPF and SCOT do, any of torchvision's.

Of a ResNet a layer is a number: 0 the max-pooling, i the i-th bottleneck before its last ReLU. Of
any other network layers are named as for the nearest feature, "13,16" of torchvision:mobilenet_v2.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from spairc.types import BadInput
from spairc_models.adapter import Execution, frozen, running
from spairc_models.backbone import RANDOM, Layers, Wanted, built, parse_layers
from spairc_models.checkpoint import load_strictly, read_checkpoint, state_hash
from spairc_models.hyperpixel import Boxes
from spairc_models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Triple
from spairc_models.resnet import ResNet
from spairc_models.torchvision_networks import downloaded, torchvision_backbone, version_of

RESNETS: Mapping[str, tuple[int, ...]] = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
_PROBE = (224, 288)  # rows and columns of a picture whose maps tell which layers are as fine


@dataclass(frozen=True, eq=False)
class Reader:
    """A network that is read at some of its layers, whatever the size of its input."""

    name: str  # "resnet101", "torchvision:mobilenet_v2"
    layers: tuple[str, ...]
    boxes: Boxes
    mean: Triple
    std: Triple
    weights: str  # SHA-256 of the file, or of the tensors where no file was named
    maps: Callable[[Tensor], list[Tensor]]  # (1, 3, H, W) -> (C, h, w), the finest first
    classifier: ResNet | None = None  # what tells classes, for activation maps


@dataclass(frozen=True)
class Source:
    """What a user may say of the network; None takes the published choice.

    Raises:
        BadInput: If both a checkpoint and weights are given.
    """

    network: str  # a key of RESNETS, or "torchvision:NAME"
    layers: Layers | None = None
    checkpoint: str | Path | None = None
    weights: str | None = None  # a version of torchvision's, or RANDOM

    def __post_init__(self) -> None:
        if self.checkpoint is not None and self.weights is not None:
            raise BadInput("give either a checkpoint or weights, not both")


def reader_of(source: Source, published: Mapping[str, str], how: Execution) -> Reader:
    """Return a network on its device, ready to be read.

    Args:
        source: Which network and layers.
        published: Layers that the method's authors chose, by network.
        how: Device and precision.

    Raises:
        BadInput: If there is no such network, layer or checkpoint, or the weights cannot be had.
    """
    collection, colon, name = source.network.partition(":")
    if colon and collection == "torchvision" and name not in RESNETS:
        return _torchvision_reader(source, name, how)
    name = name or collection
    if name not in RESNETS or collection not in (name, "torchvision"):
        raise BadInput(
            f"network {source.network!r}: choose from {', '.join(RESNETS)}, or torchvision:NAME"
        )
    return _resnet_reader(source, name, published, how)


def _resnet_reader(
    source: Source, name: str, published: Mapping[str, str], how: Execution
) -> Reader:
    """Return a ResNet, read before the last ReLU of its bottlenecks."""
    blocks = RESNETS[name]
    layers = _numbers(parse_layers(source.layers or published[name]), name, sum(blocks))
    step, field = _geometry(blocks)[layers[0]]
    network = built(lambda: ResNet(blocks))
    weights = _load(network, source, name)
    frozen(network, how)

    def maps(pictures: Tensor) -> list[Tensor]:
        return _joined(network(pictures, layers, rectified=False), groups)

    groups = _groups([_geometry(blocks)[layer][0] for layer in layers])
    return Reader(
        name=name,
        layers=tuple(map(str, layers)),
        boxes=Boxes(step, field // 2),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        weights=weights,
        maps=maps,
        classifier=network,
    )


def _torchvision_reader(source: Source, name: str, how: Execution) -> Reader:
    """Return any other network of torchvision.

    Its boxes are as wide, in steps, as those of ResNet's layer 0: its receptive fields are not
    known here, and a point is answered by about as many cells as in the programs.
    """
    side = max(_PROBE)
    wanted = Wanted(source.layers, side, "squash", source.checkpoint, source.weights)
    backbone = torchvision_backbone(name, wanted, how)
    with running(how):
        probe = backbone.maps(torch.zeros(1, 3, *_PROBE, device=how.device))
    areas = [-each.shape[2] * each.shape[3] for each in probe]
    groups = _groups(areas)
    step = round(_PROBE[1] / probe[groups[0][0]].shape[3])

    def maps(pictures: Tensor) -> list[Tensor]:
        return _joined(backbone.maps(pictures), groups)

    return Reader(
        name=source.network,
        layers=backbone.layers,
        boxes=Boxes(step, 11 * step // 8),
        mean=backbone.preprocessing.mean,
        std=backbone.preprocessing.std,
        weights=backbone.weights,
        maps=maps,
    )


def _numbers(layers: Sequence[str], name: str, last: int) -> list[int]:
    """Return layers as numbers, in the order of the network."""
    unknown = [each for each in layers if not each.isdecimal() or int(each) > last]
    if unknown:
        raise BadInput(f"layer {unknown[0]!r}: the layers of {name} are 0 to {last}")
    return sorted(map(int, layers))


def _geometry(blocks: Sequence[int]) -> list[tuple[int, int]]:
    """Return step and receptive field of each layer of a ResNet, in pixels of its input."""
    found = [(4, 11)]
    for stage, count in enumerate(blocks):
        for block in range(count):
            step, field = found[-1]
            # The 3 x 3 convolution in the middle sees two more places a step of its input apart.
            after = 2 * step if stage and not block else step
            found.append((after, field + 2 * step))
    return found


def _groups(fineness: Sequence[int]) -> list[list[int]]:
    """Return which layers are as fine as each other, the finest first."""
    return [
        [i for i, each in enumerate(fineness) if each == wanted] for wanted in sorted(set(fineness))
    ]


def _joined(maps: Sequence[Tensor], groups: Sequence[Sequence[int]]) -> list[Tensor]:
    """Return (C, h, w) of each resolution of one picture, its layers one after another."""
    return [torch.cat([maps[i][0] for i in group]) for group in groups]


def _load(network: ResNet, source: Source, name: str) -> str:
    """Load torchvision's weights or a file's; return SHA-256 of the file, or of random ones."""
    if source.weights == RANDOM:
        return f"random {state_hash(network)}"
    file = source.checkpoint or downloaded(name, version_of(name, source.weights).url)
    checkpoint = read_checkpoint(file)
    load_strictly(network, checkpoint, name)
    return checkpoint.sha256
