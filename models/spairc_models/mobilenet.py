"""MobileNetV2 as a trunk, for trainings that must fit a small machine.

Layers are read as those of `resnet.ResNet` are, so a network takes either. No published network
of the field has this trunk.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models import MobileNetV2

from spairc_models.resnet import contiguous_gradient


class MobileNet(MobileNetV2):  # type: ignore[misc]  # torchvision comes without types
    """The trunk, with the key names of torchvision; layer i is the output of `features.i`."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = tuple(_channels(each) for each in self.features)

    def forward(self, pictures: Tensor, layers: Sequence[int], *, rectified: bool) -> list[Tensor]:
        """Return the features of the given layers, in the order of the network.

        Args:
            pictures: (B, 3, H, W), normalised.
            layers: Which; nothing after the last of them is computed.
            rectified: Must be false: its blocks end without a ReLU.

        Raises:
            ValueError: If rectified features are asked for.
        """
        if rectified:
            raise ValueError("the blocks of MobileNetV2 end without a ReLU")
        found, x = [], pictures
        for layer, block in enumerate(self.features[: max(layers) + 1]):
            x = block(x)
            if layer in layers:
                found.append(contiguous_gradient(x))
        return found


def _channels(block: nn.Module) -> int:
    """Return how many channels a block puts out: those of its last normalisation."""
    counts = [each.num_features for each in block.modules() if isinstance(each, nn.BatchNorm2d)]
    return counts[-1]
