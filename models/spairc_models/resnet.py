"""ResNet with the key names of torchvision, read bottleneck by bottleneck.

The networks of the field take features from inside: layer 0 is the output of the max-pooling,
layer i the output of the i-th of all bottlenecks, in most networks before the last ReLU. Nothing
after the last layer that is asked for is computed, though all of it stays in the state dict.

TransforMatcher and CHM hold two networks, one for each role of a picture, as one with grouped
convolutions: `copies=2`.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

RESNET_101 = (3, 4, 23, 3)  # bottlenecks of the four stages
EXPANSION = 4  # a bottleneck's output channels over its inner channels


class Bottleneck(nn.Module):
    """Three convolutions around a narrow middle, and the way past them.

    Args:
        inputs: Channels that come in, of one copy.
        width: Channels of the middle, of one copy.
        stride: Of the middle convolution.
        copies: How many networks lie side by side.
    """

    def __init__(self, inputs: int, width: int, *, stride: int, copies: int) -> None:
        super().__init__()
        outputs = EXPANSION * width
        self.conv1 = _convolution(inputs, width, 1, copies=copies)
        self.bn1 = nn.BatchNorm2d(copies * width)
        self.conv2 = _convolution(width, width, 3, stride=stride, copies=copies)
        self.bn2 = nn.BatchNorm2d(copies * width)
        self.conv3 = _convolution(width, outputs, 1, copies=copies)
        self.bn3 = nn.BatchNorm2d(copies * outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                _convolution(inputs, outputs, 1, stride=stride, copies=copies),
                nn.BatchNorm2d(copies * outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both ways, before the ReLU that ends a bottleneck."""
        inner = self.bn1(self.conv1(x)).relu_()
        inner = self.bn2(self.conv2(inner)).relu_()
        past: Tensor = x if self.downsample is None else self.downsample(x)
        summed: Tensor = past + self.bn3(self.conv3(inner))
        return summed


class Extraction(nn.Module):
    """Features before the ReLU under the key names of CATs and SCorrSAN.

    Args:
        backbone: The trunk; a `ResNet`, or what has its `channels` and is called as it is.
        layers: Which layers, in the order of the network.
    """

    def __init__(self, backbone: nn.Module, layers: Sequence[int]) -> None:
        super().__init__()
        self.backbone = backbone
        self.layers = tuple(layers)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Return (B, C, h, w) per layer."""
        found: list[Tensor] = self.backbone(pictures, self.layers, rectified=False)
        return found


class ResNet(nn.Module):
    """The trunk of every network here.

    Args:
        blocks: Bottlenecks of each of the four stages.
        width: Channels after the first convolution: 64 in every published network.
        copies: 2 for one network for each role of a picture; the pictures of both are then
            concatenated along the channels, and so are the features.
    """

    def __init__(
        self, blocks: Sequence[int] = RESNET_101, *, width: int = 64, copies: int = 1
    ) -> None:
        super().__init__()
        self.conv1 = _convolution(3, width, 7, stride=2, copies=copies)
        self.bn1 = nn.BatchNorm2d(copies * width)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.channels = channels(blocks, width=width)
        for stage, count in enumerate(blocks):
            inputs = self.channels[sum(blocks[:stage])]
            layer = _stage(inputs, width << stage, count, stride=1 + (stage > 0), copies=copies)
            self.add_module(f"layer{stage + 1}", layer)
        self.fc = nn.Linear(self.channels[-1], 1000)  # never read; the official files hold it
        _draw_weights(self)

    def forward(self, pictures: Tensor, layers: Sequence[int], *, rectified: bool) -> list[Tensor]:
        """Return the features of the given layers, in the order of the network.

        Args:
            pictures: (B, 3 copies, H, W), normalised.
            layers: Which; 0 is the max-pooling, i the i-th bottleneck.
            rectified: Whether to read bottlenecks after their last ReLU.
        """
        return [features for _, features in self.walk(pictures, layers, rectified=rectified)]

    def walk(
        self, pictures: Tensor, layers: Sequence[int], *, rectified: bool
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield number and features of each layer asked for; arguments as those of `forward`."""
        wanted = set(layers)
        for layer, (before, after) in enumerate(self._outputs(pictures)):
            if layer in wanted:
                features = after if rectified else before
                yield layer, contiguous_gradient(features)
            if layer == max(wanted):
                return

    def _outputs(self, pictures: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each layer's output before and after its ReLU."""
        x = self.maxpool(self.bn1(self.conv1(pictures)).relu_())
        yield x, x
        for stage in range(1, 5):
            for block in self.get_submodule(f"layer{stage}").children():
                before = block(x)
                x = torch.relu(before)
                yield before, x


def channels(blocks: Sequence[int] = RESNET_101, *, width: int = 64) -> tuple[int, ...]:
    """Return how many channels each layer has, from the max-pooling on, in one copy."""
    stages = [[EXPANSION * width << stage] * count for stage, count in enumerate(blocks)]
    return (width, *(count for stage in stages for count in stage))


def contiguous_gradient(features: Tensor) -> Tensor:
    """Return the features of a trunk; the gradient that comes back has its rows innermost.

    Batch norm on a CPU (torch 2.15) misreads the gradient of a single picture whose channels lie
    innermost, as they do behind a linear layer. Every trunk that is trained needs this.
    """
    if features.requires_grad:
        features.register_hook(Tensor.contiguous)  # type: ignore[no-untyped-call]  # torch's own
    return features


def _stage(inputs: int, width: int, count: int, *, stride: int, copies: int) -> nn.Sequential:
    """Return the bottlenecks of one resolution."""
    first = Bottleneck(inputs, width, stride=stride, copies=copies)
    rest = [Bottleneck(EXPANSION * width, width, stride=1, copies=copies) for _ in range(count - 1)]
    return nn.Sequential(first, *rest)


def _convolution(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, copies: int
) -> nn.Conv2d:
    """Return a convolution of each copy with itself; its padding keeps the size."""
    return nn.Conv2d(
        copies * inputs,
        copies * outputs,
        kernel,
        stride=stride,
        padding=kernel // 2,
        groups=copies,
        bias=False,
    )


def _draw_weights(network: nn.Module) -> None:
    """Draw the convolutions as He et al. do ("Delving deep into rectifiers", ICCV 2015)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
