"""Convolutions over the four axes of a correlation, as CATs++ has them, in two forms.

A correlation of several channels is (B, C, H, W, h, w): the plane of the first picture, then that
of the second. A convolution here is the sum of two flat ones: one over the first plane at each
cell of the second ("query" in the official names), one over the second plane ("supp"). Such
centre-pivot convolutions come from HSNet (Min et al., ICCV 2021).

`Conv4d.forward` is the plain form, which training differentiates; `conv4d_blocks` has the form
for inference.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Planes(NamedTuple):
    """A length along the axes of either plane: of a kernel, or of a stride."""

    first: int
    second: int


ONE = Planes(1, 1)


class Conv4d(nn.Module):
    """The sum of a convolution over the first plane and one over the second.

    Where a plane has a stride, the other plane's convolution sees its largest values.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        kernel: Odd lengths.
        stride: Steps.
    """

    def __init__(self, inputs: int, outputs: int, kernel: Planes, stride: Planes = ONE) -> None:
        super().__init__()
        self.stride = stride
        self.query_conv = _flat(inputs, outputs, kernel.first, stride.first)
        self.supp_conv = _flat(inputs, outputs, kernel.second, stride.second)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H, W, h, w), each plane shrunk by its stride."""
        second_pooled = _largest(x, self.stride.second)
        first_pooled = transposed(_largest(transposed(x), self.stride.first))
        over_first = _over_second(self.query_conv, transposed(second_pooled))
        return transposed(over_first) + _over_second(self.supp_conv, first_pooled)

    def bias(self) -> Tensor:
        """Return (outputs, 1), what both convolutions add to each channel."""
        biases = [convolution.bias for convolution in (self.query_conv, self.supp_conv)]
        return torch.stack([bias for bias in biases if bias is not None]).sum(dim=0).unsqueeze(1)


def transposed(x: Tensor) -> Tensor:
    """Return (B, C, h, w, H, W), the planes exchanged; no copy is made."""
    return x.permute(0, 1, 4, 5, 2, 3)


def _flat(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Conv2d:
    """Return a convolution over one plane."""
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)


def _over_second(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """Return the convolution over the second plane at every cell of the first."""
    cells = (x.shape[0], *x.shape[2:4])
    planes = x.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    return torch.unflatten(convolution(planes), 0, cells).permute(0, 3, 1, 2, 4, 5)


def _largest(x: Tensor, stride: int) -> Tensor:
    """Return the largest values in squares of the second plane."""
    if stride == 1:
        return x
    planes = functional.max_pool2d(x.flatten(0, 3).unsqueeze(1), stride)
    return torch.unflatten(planes.squeeze(1), 0, x.shape[:4])
