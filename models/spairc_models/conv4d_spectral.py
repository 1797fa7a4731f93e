"""Whole four-dimensional convolutions: plain over the first plane, by Fourier over the second.

A kernel of 5 x 5 x 5 x 5 has 625 places, of which `conv4d`'s centre-pivot form keeps 50 and this
all. The discrete Fourier transform of the second plane turns the convolution over it into a product
at each frequency, and leaves a flat convolution over the first plane: at 25 x 25 cells a tenth of
the multiplications. A real convolution of twice as many channels stands for the complex one.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Layer(NamedTuple):
    """One convolution, or several side by side, each with its own channels."""

    weight: Tensor  # (groups, outputs, inputs, k, k, k, k), the first plane's axes first
    bias: Tensor  # (groups, outputs)


def convolve(x: Tensor, layer: Layer) -> Tensor:
    """Return (B, groups, outputs, H, W, h, w); what lies outside a plane counts as 0.

    Args:
        x: (B, groups, inputs, H, W, h, w).
        layer: The weights; cross-correlated, as deep learning's convolutions are.
    """
    reach = layer.weight.shape[-1] // 2
    # The sums of cells at a border reach into zeros, on either side into the same ones.
    sides = [side + reach for side in x.shape[-2:]]
    spectrum = torch.view_as_real(torch.fft.rfft2(x, s=sides))  # B, G, I, H, W, f, f', 2
    by_frequency = spectrum.permute(0, 5, 6, 1, 7, 2, 3, 4)  # B, f, f', G, 2, I, H, W
    kernels = _kernels(layer.weight, sides)
    flat = functional.conv2d(
        by_frequency.flatten(1, 5),
        kernels.flatten(0, 3),
        padding=reach,
        groups=kernels.shape[:2].numel(),
    )
    groups, outputs = layer.bias.shape
    shape = (sides[0], sides[1] // 2 + 1, groups, 2, outputs)
    split = torch.unflatten(flat, 1, shape).permute(0, 3, 5, 6, 7, 1, 2, 4)
    whole = torch.fft.irfft2(torch.view_as_complex(split.contiguous()), s=sides)
    inside: Tensor = whole[..., : x.shape[-2], : x.shape[-1]]
    return inside + layer.bias[..., None, None, None, None]


def _kernels(weight: Tensor, sides: list[int]) -> Tensor:
    """Return (frequencies, groups, 2 outputs or inputs ...) real kernels over the first plane.

    Args:
        weight: (groups, outputs, inputs, k, k, k, k).
        sides: Lengths of the transform.
    """
    length = weight.shape[-1]
    tables = [_table(side, length, weight) for side in sides]
    halves = [tables[0], tables[1][: sides[1] // 2 + 1]]
    spectrum = halves[0] @ weight.to(halves[0].dtype) @ halves[1].T  # G, O, I, k, k, f, f'
    by_frequency = spectrum.flatten(-2).movedim(-1, 0)
    real, imaginary = by_frequency.real, by_frequency.imag
    upper = torch.cat([real, -imaginary], dim=3)
    lower = torch.cat([imaginary, real], dim=3)
    return torch.stack([upper, lower], dim=2)  # f f', G, 2, O, 2 I, k, k


def _table(side: int, length: int, like: Tensor) -> Tensor:
    """Return (side, length): what each place of a kernel adds to each frequency."""
    frequencies = torch.arange(side, device=like.device)
    places = torch.arange(length, device=like.device) - length // 2
    turns = torch.outer(frequencies, places) % side
    angles = turns.to(torch.float64) * (2 * torch.pi / side)
    return torch.complex(angles.cos(), angles.sin()).to(like.dtype.to_complex())
