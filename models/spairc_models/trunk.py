"""ResNet up to its third stage under the key names of NC-Net, CNNGeo and WeakAlign."""

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from spairc_models.resnet import RESNET_101, ResNet, contiguous_gradient


class Trunk(nn.Module):
    """The layers of a ResNet by number: "model.4" is the first stage, "model.6" the third.

    Args:
        blocks: Bottlenecks of each of the four stages; the last one is left out.
        width: Channels after the first convolution.
    """

    def __init__(self, blocks: Sequence[int] = RESNET_101, *, width: int = 64) -> None:
        super().__init__()
        whole = ResNet(blocks, width=width)
        stages = [whole.get_submodule(f"layer{stage}") for stage in (1, 2, 3)]
        self.model = nn.Sequential(whole.conv1, whole.bn1, nn.ReLU(), whole.maxpool, *stages)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return (B, C, h, w) features after the last ReLU for (B, 3, H, W) pictures."""
        stem, stages = self.model[:4], self.model[4:]
        x: Tensor = stem(pictures)
        for block in itertools.chain.from_iterable(stage.children() for stage in stages):
            x = block(x).relu()
        return contiguous_gradient(x)
