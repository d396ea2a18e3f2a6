"""The U-Net in UV space: a displacement map becomes blend weights and features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from avatarzoo.errors import ConfigError

SLOPE = 0.2


def _leaky(x: Tensor) -> Tensor:
    return torch.nn.functional.leaky_relu(x, SLOPE)


class DownBlock(nn.Module):
    """Halve the side: a strided and a plain convolution beside a strided 1x1."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Make the block."""
        super().__init__()
        self.first = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.skip = nn.Conv2d(in_channels, out_channels, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Return B,out,S/2,S/2."""
        return _leaky(self.second(_leaky(self.first(x)))) + self.skip(x)


class UpBlock(nn.Module):
    """Double the side: a transposed and a plain convolution beside a transposed 2x2."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Make the block."""
        super().__init__()
        self.first = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.skip = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Return B,out,2S,2S."""
        return _leaky(self.second(_leaky(self.first(x)))) + self.skip(x)


class FlatBlock(nn.Module):
    """Keep the side: two convolutions beside a 1x1."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Make the block."""
        super().__init__()
        self.first = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.skip = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return B,out,S,S."""
        return _leaky(self.second(_leaky(self.first(x)))) + self.skip(x)


class UVNet(nn.Module):
    """Downsampling residual blocks, one block at the bottom, upsampling residual blocks with skips, a 1x1 convolution.

    The paper lists six encoder and seven decoder widths; the first of the seven is read as the block at the bottom.

    Source: supplement C.1; the blocks' insides are reconstructed.
    """

    def __init__(self, size: int, encoder: Sequence[int], decoder: Sequence[int], out_channels: int) -> None:
        """Make the network.

        Args:
            size: side of the input, divisible by 2^len(encoder).
            encoder: channels after each halving.
            decoder: channels at the bottom, then after each doubling; one more than ``encoder``.
            out_channels: of the output.

        Raises:
            ConfigError: sizes that do not fit.
        """
        super().__init__()
        if len(decoder) != len(encoder) + 1 or size % 2 ** len(encoder):
            raise ConfigError(
                f"model.decoder needs one width more than model.encoder ({len(encoder)}), and model.uv_size={size} has to "
                f"be divisible by {2 ** len(encoder)}; decoder has {len(decoder)}."
            )
        widths = [3, *encoder]
        self.down = nn.ModuleList(DownBlock(a, b) for a, b in pairwise(widths))
        self.bottom = FlatBlock(encoder[-1], decoder[0])
        skips = [0, *encoder[-2::-1]] if len(encoder) > 1 else [0]
        pairs = zip(decoder[:-1], skips, decoder[1:], strict=True)
        self.up = nn.ModuleList(UpBlock(a + skip, b) for a, skip, b in pairs)
        self.out = nn.Conv2d(decoder[-1], out_channels, 1)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.xavier_uniform_(module.weight, gain=math.sqrt(2 / (1 + SLOPE**2)))
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.out.weight)

    def forward(self, displacement: Tensor) -> Tensor:
        """Turn a map B,3,S,S into B,out,S,S."""
        levels = [displacement]
        for block in self.down:
            levels.append(block(levels[-1]))
        x = self.bottom(levels.pop())
        for index, block in enumerate(self.up):
            x = block(x if index == 0 else torch.cat([x, levels.pop()], dim=1))
        return self.out(x)
