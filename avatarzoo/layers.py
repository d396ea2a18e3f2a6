"""Layers that several families share: sine layers, untied-bias convolutions, the lab's initialisation."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def glorot_(layer: nn.Conv2d | nn.Linear, slope: float | None = None) -> None:
    """Initialise weights Glorot-uniform and biases to 0.

    Args:
        layer: to change in place.
        slope: of the LeakyReLU that follows (gain sqrt(2 / (1 + slope^2))), or None for gain 1.

    Source: facebookresearch/multiface and ava-256 use this for all their convolutions.
    """
    gain = 1.0 if slope is None else math.sqrt(2 / (1 + slope**2))
    nn.init.xavier_uniform_(layer.weight, gain=gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class UntiedConv2d(nn.Module):
    """A same-size convolution whose bias has one value per channel and per pixel."""

    def __init__(
        self, in_channels: int, out_channels: int, size: int, slope: float | None = None, weight_norm: bool = False
    ) -> None:
        """Make the layer: a 3x3 kernel, Glorot-uniform; biases start at 0.

        Args:
            in_channels, out_channels: of the convolution.
            size: side of its input and output.
            slope: of the LeakyReLU that follows, or None.
            weight_norm: divide by one Frobenius norm over the whole weight and multiply by a gain per output channel, which
                starts at that norm.
        """
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        glorot_(self.conv, slope)
        self.bias = nn.Parameter(torch.zeros(1, out_channels, size, size))
        norm = self.conv.weight.detach().norm()
        self.gain = nn.Parameter(norm.repeat(out_channels)) if weight_norm else None

    def forward(self, x: Tensor) -> Tensor:
        """Convolve B,in,S,S into B,out,S,S and add the bias."""
        if self.gain is None:
            return self.conv(x) + self.bias
        weight = self.conv.weight / self.conv.weight.norm() * self.gain[:, None, None, None]
        return F.conv2d(x, weight, padding=self.conv.padding) + self.bias


class Siren(nn.Module):
    """A chain of linear layers with sine activations, sin(omega x).

    First-layer weights are uniform in +-1/n, later ones in +-sqrt(6/n)/omega, with n the fan-in; biases are PyTorch's.

    Source: Sitzmann et al. 2020 (SIREN), reference initialisation.
    """

    def __init__(self, widths: list[int], omega: float = 30.0, last_linear: bool = True) -> None:
        """Make the chain.

        Args:
            widths: input, hidden and output widths.
            omega: frequency of every sine.
            last_linear: leave the last layer without a sine.
        """
        super().__init__()
        self.omega, self.last_linear = omega, last_linear
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        for i, layer in enumerate(self.layers):
            bound = 1 / layer.in_features if i == 0 else math.sqrt(6 / layer.in_features) / omega
            nn.init.uniform_(layer.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Map N,widths[0] to N,widths[-1]."""
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i + 1 < len(self.layers) or not self.last_linear:
                x = torch.sin(self.omega * x)
        return x
