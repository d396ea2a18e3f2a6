"""Layers of Deep Appearance Models: one norm over the whole weight tensor, a gain per output channel, untied biases."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class GlobalNorm(nn.Module):
    """Parametrize a weight as W * gain[out] / ||W||, with one Frobenius norm over the whole tensor.

    PyTorch's own weight norm takes one norm per output channel, which optimises differently. As a parametrization it folds
    away at test time: inside ``torch.nn.utils.parametrize.cached()`` the product is computed once.

    Source: facebookresearch/multiface, the layers of its models.
    """

    def __init__(self, weight: Tensor, out_axis: int = 0) -> None:
        """Start the gains at the norm, so that the effective weight is the weight.

        Args:
            weight: as initialised.
            out_axis: which of its axes counts the output channels (0, or 1 for transposed convolutions).
        """
        super().__init__()
        self.shape = [-1 if axis == out_axis else 1 for axis in range(weight.ndim)]
        self.gain = nn.Parameter(weight.detach().norm().repeat(weight.shape[out_axis]))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the effective weight, of the shape of ``weight``."""
        return weight * (self.gain / torch.linalg.vector_norm(weight)).view(self.shape)


def global_norm(layer: nn.Module, slope: float | None = 0.2) -> nn.Module:
    """Initialise a layer as the lab does and normalise its weight.

    Weights are Glorot-uniform with gain sqrt(2 / (1 + slope^2)), biases 0. The four phases of a stride-2 transposed
    convolution start equal (as nearest upsampling would have them), with a quarter of the kernel as fan.

    Args:
        layer: nn.Linear, nn.Conv2d, or nn.ConvTranspose2d with a 4x4 kernel and stride 2; changed in place.
        slope: of the LeakyReLU that follows, or None for gain 1.

    Returns:
        The layer.
    """
    gain = 1.0 if slope is None else math.sqrt(2 / (1 + slope**2))
    transposed = isinstance(layer, nn.ConvTranspose2d)
    nn.init.xavier_uniform_(layer.weight, gain=2 * gain if transposed else gain)
    if transposed:
        with torch.no_grad():
            phase = layer.weight[:, :, 0::2, 0::2].clone()
            for row in range(2):
                for column in range(2):
                    layer.weight[:, :, row::2, column::2] = phase
    nn.init.zeros_(layer.bias)
    norm = GlobalNorm(layer.weight, 1 if transposed else 0)
    parametrize.register_parametrization(layer, "weight", norm)
    return layer


class UntiedDeconv2d(nn.Module):
    """A transposed convolution that doubles the side, with a second bias per channel and per pixel.

    The convolution keeps its own bias per channel beside the untied one, as in the released layout, where it does no harm.
    """

    def __init__(self, inside: int, outside: int, size: int, untied: bool = True) -> None:
        """Make the layer: kernel 4, stride 2, padding 1; gain of a LeakyReLU(0.2) even where none follows, as released.

        Args:
            inside, outside: channels.
            size: side of the output.
            untied: one bias per pixel; False: one per channel.
        """
        super().__init__()
        self.conv = global_norm(nn.ConvTranspose2d(inside, outside, 4, 2, 1))
        self.bias = nn.Parameter(torch.zeros(outside, size, size) if untied else torch.zeros(outside, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map B,inside,S/2,S/2 to B,outside,S,S."""
        return self.conv(x) + self.bias
