"""Class activation maps, by which SCOT gives cells that tell the picture's class more mass.

Zhou et al., "Learning deep features for discriminative localization" (CVPR 2016): the weights that
the classifier has for a class, applied to each place before its pooling.
"""

import torch
from torch import Tensor
from torch.nn import functional

from spairc_models.hough import Cells
from spairc_models.resnet import ResNet

_CLASSES = 2  # the most probable ones, of whose maps the largest value counts
# The program means 2.0 for the third, but makes it from its second picture.
_SCALES = (1.5, 2.0)
_LEVELS = ((0.4, 0.8), (0.5, 0.9), (0.6, 1.0))  # activation above which a cell has that weight
_ELSEWHERE = 0.5
_GUARD = 1e-5  # added to the largest activation, as published


def activation_map(network: ResNet, picture: Tensor) -> Tensor:
    """Return (H, W) activation, at most 1: the mean over three sizes of a picture.

    Args:
        network: Classifies.
        picture: (1, 3, H, W), normalised.
    """
    height, width = picture.shape[2:]
    total = _activation(network, picture, height, width)
    for scale in _SCALES:
        size = (int(scale * height), int(scale * width))
        picture = functional.interpolate(picture, size, mode="bilinear", align_corners=True)
        total = total + _activation(network, picture, height, width)
    return total / (total.max() + _GUARD)


def weights_at(cells: Cells, activation: Tensor) -> Tensor:
    """Return (rows, columns): how much each cell weighs, by the activation at its centre.

    Args:
        cells: The picture's.
        activation: (H, W) of the picture.
    """
    rows, columns = (
        (torch.arange(count, device=activation.device) + first) * cells.step
        for count, first in ((cells.rows, cells.top), (cells.columns, cells.left))
    )
    there = activation[rows][:, columns]
    weights = torch.full_like(there, _ELSEWHERE)
    for level, weight in _LEVELS:
        weights[there > level] = weight
    return weights


def _activation(network: ResNet, picture: Tensor, height: int, width: int) -> Tensor:
    """Return (height, width): the largest activation among the most probable classes."""
    last = len(network.channels) - 1
    features = network(picture, (last,), rectified=True)[0].float()
    scores = network.fc(features.mean(dim=(2, 3)))[0]
    classes = scores.topk(_CLASSES).indices
    maps = torch.einsum("kc,chw->khw", network.fc.weight[classes], features[0])
    enlarged = functional.interpolate(
        maps[None], (height, width), mode="bilinear", align_corners=True
    )[0]
    lowest = enlarged.amin(dim=(1, 2), keepdim=True)
    return ((enlarged - lowest) / enlarged.amax(dim=(1, 2), keepdim=True)).amax(dim=0)
