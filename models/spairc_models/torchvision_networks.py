"""Features by layer of any torchvision classification network.

The network is traced and cut behind the last layer that is read. A layer is an index into the
network's `features`, as in mobilenet_v2, or the dotted name of a module, as `layer3.5`.

To give one more family default layers: a line in `_DEFAULT_LAYERS`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from http.client import HTTPException
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.feature_extraction import create_feature_extractor

from spairc.files import make_folder
from spairc.lookup import lookup
from spairc.types import BadInput
from spairc_models.adapter import Execution, frozen
from spairc_models.backbone import (
    RANDOM,
    SIDE,
    Backbone,
    Wanted,
    built,
    check_name,
    checked,
    parse_layers,
)
from spairc_models.checkpoint import Checkpoint, load_strictly, read_checkpoint, state_hash
from spairc_models.preprocessing import Preprocessing

# By the beginning of a torchvision name; the first that fits. As a rule the last maps at strides
# 16 and 32: the finer one tells where, the coarser one what.
_DEFAULT_LAYERS: Mapping[str, tuple[str, ...]] = {
    "mobilenet_v2": ("13", "16"),
    "mobilenet_v3_large": ("12", "15"),
    "mobilenet_v3_small": ("8", "11"),
    "resnet": ("layer3", "layer4"),
    "resnext": ("layer3", "layer4"),
    "wide_resnet": ("layer3", "layer4"),
    "convnext": ("5", "7"),
    "swin": ("5", "7"),
    "efficientnet_b": ("5", "7"),
    "efficientnet_v2_s": ("5", "6"),
    "efficientnet_v2": ("5", "7"),
    "regnet": ("trunk_output.block3", "trunk_output.block4"),
    "densenet": ("features.denseblock3", "features.denseblock4"),
    "vgg11_bn": ("20", "27"),  # VGG: the last activations before its last two poolings
    "vgg11": ("14", "19"),
    "vgg13_bn": ("26", "33"),
    "vgg13": ("18", "23"),
    "vgg16_bn": ("32", "42"),
    "vgg16": ("22", "29"),
    "vgg19_bn": ("38", "51"),
    "vgg19": ("26", "35"),
    "alexnet": ("4", "11"),
    "squeezenet": ("12",),
    "mnasnet": ("layers.11", "layers.13"),
    "shufflenet": ("stage3", "stage4"),
    "googlenet": ("inception4e", "inception5b"),
    "inception": ("Mixed_6e", "Mixed_7c"),
    "maxvit": ("blocks.2", "blocks.3"),
    "vit_b": ("encoder.layers.encoder_layer_11",),
    "vit_l": ("encoder.layers.encoder_layer_23",),
    "vit_h": ("encoder.layers.encoder_layer_31",),
}

# Networks whose position embedding fixes the side of their input.
_FIXED = ("vit_", "maxvit")
# What their builders set with published weights, and without them only when told.
_OPTIONS: Mapping[str, Mapping[str, bool]] = {
    "googlenet": {"transform_input": True, "init_weights": False},
    "inception_v3": {"transform_input": True, "init_weights": False},
}
# DenseNet's published files are older than its modules' names.
_RENAMED = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


def torchvision_backbone(name: str, wanted: Wanted, how: Execution) -> Backbone:
    """Return a torchvision network on its device, cut behind the last layer that it is read at.

    Args:
        name: As torchvision calls it: "resnet101".
        wanted: Layers, input and weights.
        how: Device and precision.

    Raises:
        BadInput: If there is no such network, layer, side, version of weights or checkpoint, the
            weights cannot be fetched, or a layer has no grid.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    check_name(name, known, "torchvision")
    version = version_of(name, None if wanted.weights == RANDOM else wanted.weights)
    side = _side(name, wanted.side, version.meta["min_size"][0])
    options: dict[str, Any] = dict(_OPTIONS.get(name, {}))
    if name.startswith("vit_"):
        options["image_size"] = side
    network = built(lambda: torchvision.models.get_model(name, weights=None, **options))
    layers = parse_layers(wanted.layers) or _default_layers(name)
    modules = [_module_name(network, name, layer) for layer in layers]
    weights = state_hash(network)
    if wanted.weights != RANDOM:
        checkpoint = read_checkpoint(wanted.checkpoint or downloaded(name, version.url))
        load_strictly(network, _renamed(checkpoint), f"torchvision:{name}")
        weights = checkpoint.sha256
    norm = version.transforms()
    backbone = Backbone(
        name=f"torchvision:{name}",
        layers=layers,
        preprocessing=Preprocessing(side, wanted.resize, tuple(norm.mean), tuple(norm.std)),
        weights=weights,
        maps=_Cut(network.eval(), modules, how),
    )
    return checked(backbone, how)


class _Cut:
    """A torchvision network from its input to the last layer that is read."""

    def __init__(self, network: nn.Module, modules: Sequence[str], how: Execution) -> None:
        """Trace the network, cut it, fold its batch normalisations and move it to its device."""
        self._modules = tuple(modules)
        self._swin = isinstance(network, torchvision.models.SwinTransformer)
        self._tokens = isinstance(network, torchvision.models.VisionTransformer)
        try:
            extractor = create_feature_extractor(
                network, {name: name for name in modules}, suppress_diff_warning=True
            )
        except ValueError as error:
            raise BadInput(
                f"layers {', '.join(modules)}: not each is a step of its own; choose others"
            ) from error
        graph = GraphModule(extractor, extractor.graph).eval()
        _make_out_of_place(graph)
        _fold_normalisations(graph)
        # Convolutions on a CPU: 18 ms a picture become 9 with mobilenet_v2, folding included.
        self._layout = torch.channels_last if how.device.type == "cpu" else torch.contiguous_format
        self._network = frozen(graph, how).to(memory_format=self._layout)

    def __call__(self, inputs: Tensor) -> list[Tensor]:
        """Return one (B, C, h, w) per layer; what has no grid is returned as it is."""
        found = self._network(inputs.contiguous(memory_format=self._layout))
        return [self._as_map(found[module]) for module in self._modules]

    def _as_map(self, found: Tensor) -> Tensor:
        """Return the channels second, and tokens in their grid without the class token."""
        if self._swin and found.ndim == 4:  # noqa: PLR2004 -- B, h, w, C
            return found.permute(0, 3, 1, 2)
        if self._tokens and found.ndim == 3:  # noqa: PLR2004 -- B, 1 + h * w, C
            side = round((found.shape[1] - 1) ** 0.5)
            return found[:, 1:].transpose(1, 2).reshape(len(found), -1, side, side)
        return found


def _side(name: str, side: int | None, smallest: int) -> int:
    """Return the side of the input, the user's or the network's own."""
    fixed = name.startswith(_FIXED)
    if side is None:
        return smallest if fixed else max(SIDE, smallest)
    if side < smallest or (fixed and side != smallest):
        only = f"takes {smallest} only" if fixed else f"needs at least {smallest} pixels"
        raise BadInput(f"side {side}: torchvision:{name} {only}")
    return side


def _default_layers(name: str) -> tuple[str, ...]:
    """Return the layers that a torchvision network is read at when none are named."""
    for beginning, layers in _DEFAULT_LAYERS.items():
        if name.startswith(beginning):
            return layers
    raise BadInput(f"torchvision:{name} has no default layers; name them, such as layer3,layer4")


def _module_name(network: nn.Module, name: str, layer: str) -> str:
    """Return the dotted name of a layer, which may be an index into the network's features."""
    features = getattr(network, "features", None)
    steps = [step for step, _ in features.named_children()] if features is not None else []
    if layer.isdecimal() and int(layer) < len(steps):
        return f"features.{steps[int(layer)]}"
    if layer in dict(network.named_modules()) and layer:
        return layer
    index = f"an index from 0 to {len(steps) - 1}, or " if steps else ""
    top = ", ".join(child for child, _ in network.named_children())
    raise BadInput(f"{name} has no layer {layer!r}; choose {index}a module in or below {top}")


def version_of(name: str, wanted: str | None) -> Any:
    """Return a version of a network's published weights; the first if none is named.

    The first is what the field's published numbers were made with.

    Raises:
        BadInput: If there is no such version.
    """
    versions = {each.name: each for each in torchvision.models.get_model_weights(name)}
    return lookup(versions, wanted or next(iter(versions)), f"version of {name}'s weights")


def downloaded(name: str, address: str) -> Path:
    """Return torchvision's own file of weights, fetched into torch's cache if it is not there."""
    file = Path(torch.hub.get_dir(), "checkpoints", address.rpartition("/")[2])
    if file.is_file():
        return file
    digits = re.search(r"-([0-9a-f]{8,})\.", file.name)  # the file's SHA-256 begins with them
    make_folder(file.parent)
    try:
        torch.hub.download_url_to_file(
            address, str(file), hash_prefix=digits[1] if digits else None
        )
    except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: another SHA-256
        raise BadInput(
            f"the weights of torchvision:{name} cannot be fetched ({error}); download {address} "
            f"where there is a network and give --checkpoint FILE"
        ) from error
    return file


def _renamed(checkpoint: Checkpoint) -> Checkpoint:
    """Return the tensors under today's names."""
    state = {_RENAMED.sub(r"\1\2.", key): tensor for key, tensor in checkpoint.state.items()}
    return replace(checkpoint, state=state)


def _make_out_of_place(graph: GraphModule) -> None:
    """Keep what is read at a layer from being overwritten by the activation after it.

    Additions in place are none any more: the trace turns them into plain ones.
    """
    modules: list[Any] = list(graph.modules())
    for module in modules:
        if hasattr(module, "inplace"):
            module.inplace = False
    for node in graph.graph.nodes:
        if node.kwargs.get("inplace"):
            node.update_kwarg("inplace", arg=False)
    graph.recompile()


def _fold_normalisations(graph: GraphModule) -> None:
    """Fold each batch normalisation into the convolution before it, where nothing else reads it."""
    modules: dict[str, Any] = dict(graph.named_modules())
    for node in list(graph.graph.nodes):
        before = node.args[0] if node.args else None
        if node.op == "call_module" and isinstance(modules[str(node.target)], nn.Sequential):
            _fold_steps(modules[str(node.target)])
        if not (_calls(node, nn.BatchNorm2d, modules) and isinstance(before, Node)):
            continue
        if _calls(before, nn.Conv2d, modules) and len(before.users) == 1:
            _fold(modules[str(before.target)], modules[str(node.target)])
            node.replace_all_uses_with(before)
            graph.graph.erase_node(node)
    graph.delete_all_unused_submodules()
    graph.recompile()


def _fold_steps(block: nn.Sequential) -> None:
    """Fold inside a block that the trace does not look into."""
    for (_, module), (name, following) in pairwise(block.named_children()):
        if type(module) is nn.Conv2d and type(following) is nn.BatchNorm2d:
            _fold(module, following)
            setattr(block, name, nn.Identity())


def _fold(convolution: nn.Conv2d, normalisation: nn.BatchNorm2d) -> None:
    """Give the convolution the weights that do both."""
    folded = fuse_conv_bn_eval(convolution, normalisation)
    convolution.weight, convolution.bias = folded.weight, folded.bias


def _calls(node: Node, kind: type[nn.Module], modules: Mapping[str, object]) -> bool:
    """Return whether the node runs a module of exactly this kind."""
    return node.op == "call_module" and type(modules[str(node.target)]) is kind
