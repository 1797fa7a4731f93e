"""Whole four-dimensional convolutions: plain over the first plane, by Fourier over the second.

A kernel of 5 x 5 x 5 x 5 has 625 places, of which `conv4d`'s centre-pivot form keeps 50 and this
all. The discrete Fourier transform of the second plane turns the convolution over it into a product
at each frequency, and leaves a flat convolution over the first plane: at 25 x 25 cells a tenth of
the multiplications. Real and imaginary parts go through it like two pictures, under the real and
the imaginary part of the kernel side by side.

A correlation of many channels is far larger than a processor's cache, so channels are transformed
one by one and frequencies convolved one by one.
"""

from collections.abc import Iterable, Sequence
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
    groups, outputs = layer.bias.shape
    channels = x.flatten(1, 2).unbind(dim=1)
    # frequencies, B, 2, groups inputs, H, W
    spectra = _stacked((_spectrum(each, sides) for each in channels), len(channels), dim=3)
    kernels = _kernels(layer.weight, sides)
    each_product = (_product(*each, groups) for each in zip(spectra, kernels, strict=True))
    products = _stacked(each_product, len(kernels), dim=0)  # frequencies, B, groups outputs, H, W
    planes = (
        _plane(each, sides)[..., : x.shape[-2], : x.shape[-1]] + bias
        for each, bias in zip(products.unbind(dim=2), layer.bias.flatten(), strict=True)
    )
    found = _stacked(planes, groups * outputs, dim=1)
    return torch.unflatten(found, 1, (groups, outputs))


def _spectrum(channel: Tensor, sides: Sequence[int]) -> Tensor:
    """Return (frequencies, B, 2, H, W), real and imaginary, for (B, H, W, h, w)."""
    spectrum = torch.view_as_real(torch.fft.rfft2(channel, s=sides))  # B, H, W, f, f', 2
    return spectrum.flatten(3, 4).permute(3, 0, 4, 1, 2)


def _product(spectrum: Tensor, kernel: Tensor, groups: int) -> Tensor:
    """Return (B, groups outputs, H, W) complex, one frequency convolved over the first plane.

    Args:
        spectrum: (B, 2, groups inputs, H, W), real and imaginary.
        kernel: (groups 2 outputs, inputs, k, k).
        groups: Channels of one see nothing of another.
    """
    flat = _convolved(spectrum.flatten(0, 1), kernel, groups)
    split = torch.unflatten(torch.unflatten(flat, 1, (groups, 2, -1)), 0, (-1, 2))
    real, imaginary = split[:, 0], split[:, 1]  # of the spectrum; the kernel's stand at axis 2
    return torch.complex(
        real[:, :, 0] - imaginary[:, :, 1], real[:, :, 1] + imaginary[:, :, 0]
    ).flatten(1, 2)


def _convolved(maps: Tensor, kernel: Tensor, groups: int) -> Tensor:
    """Return (N, groups outputs, H, W) for (N, groups inputs, H, W) and that many zeros around.

    Few outputs of many inputs are not what a convolution is fast at: there each input first makes
    all that it gives to its neighbours, which are then added up where they belong.
    """
    length = kernel.shape[-1]
    outputs = len(kernel) // groups
    if outputs >= kernel.shape[1]:
        return functional.conv2d(maps, kernel, padding=length // 2, groups=groups)
    giving = torch.unflatten(kernel.flip(2, 3).flatten(2).transpose(1, 2), 0, (groups, outputs))
    gifts = giving.flatten(1, 2) @ torch.unflatten(maps, 1, (groups, -1)).flatten(3)
    by_output = torch.unflatten(gifts.flatten(1, 2), 1, (-1, length**2))
    added = functional.fold(by_output.flatten(0, 1), maps.shape[2:], length, padding=length // 2)
    return torch.unflatten(added.squeeze(1), 0, (len(maps), -1))


def _plane(spectrum: Tensor, sides: Sequence[int]) -> Tensor:
    """Return (B, H, W, sides) for (frequencies, B, H, W) complex."""
    planes = torch.unflatten(spectrum.movedim(0, -1), -1, (sides[0], sides[1] // 2 + 1))
    whole: Tensor = torch.fft.irfft2(planes.contiguous(), s=sides)
    return whole


def _kernels(weight: Tensor, sides: Sequence[int]) -> Tensor:
    """Return (frequencies, groups 2 outputs, inputs, k, k) real kernels over the first plane.

    Args:
        weight: (groups, outputs, inputs, k, k, k, k).
        sides: Lengths of the transform.
    """
    length = weight.shape[-1]
    rows, columns = (_table(side, length, weight) for side in sides)
    shares = torch.kron(rows, columns[: sides[1] // 2 + 1])  # frequencies, k k
    parts = torch.view_as_real(shares).movedim(-1, 1)  # frequencies, 2, k k
    spectra = parts.flatten(0, 1) @ weight.flatten(-2).flatten(0, -2).T
    split = spectra.view(*parts.shape[:2], *weight.shape[:-2])
    return split.transpose(1, 2).flatten(1, 3)


def _table(side: int, length: int, like: Tensor) -> Tensor:
    """Return (side, length): what each place of a kernel adds to each frequency."""
    frequencies = torch.arange(side, device=like.device)
    places = torch.arange(length, device=like.device) - length // 2
    turns = torch.outer(frequencies, places) % side
    angles = turns.to(torch.float64) * (2 * torch.pi / side)
    return torch.complex(angles.cos(), angles.sin()).to(like.dtype.to_complex())


def _stacked(parts: Iterable[Tensor], count: int, *, dim: int) -> Tensor:
    """Return torch.stack; without gradients no part waits for its place while others are made."""
    if torch.is_grad_enabled():
        return torch.stack(list(parts), dim)
    whole: Tensor | None = None
    for number, part in enumerate(parts):
        if whole is None:
            whole = part.new_empty((*part.shape[:dim], count, *part.shape[dim:]))
        whole.select(dim, number).copy_(part)
    if whole is None:
        raise ValueError("nothing to stack")
    return whole
