"""The geometry and expression decoders: an 8 x 8 code grows to a map, with untied biases."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from avatarzoo.errors import ConfigError
from avatarzoo.layers import UntiedConv2d, glorot_

BLOCKS = ("D+", "D", "A+", "A")


class _Up(nn.Module):
    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        corners = {"align_corners": False} if self.mode == "bilinear" else {}
        return F.interpolate(x, scale_factor=2, mode=self.mode, **corners)


class DecoderBlock(nn.Module):
    """Double the size: upsample, an untied convolution, and by layout a second convolution and a skip.

    Layouts: "D": untied in->in, LeakyReLU, tied in->out. "A": untied in->out. "+" adds a 1x1 projection of
    the upsampled input.

    Source: PiCA Fig. 3b is a picture; "D+" reproduces the published count of 5.47 M, "A+" is the literal reading.
    """

    def __init__(self, inside: int, outside: int, size: int, layout: str, upsample: str, weight_norm: bool) -> None:
        """Make a block that ends at ``outside`` channels and side ``size``."""
        super().__init__()
        deep = layout.startswith("D")
        self.up = _Up(upsample)
        self.first = UntiedConv2d(inside, inside if deep else outside, size, 0.2, weight_norm)
        self.second = nn.Conv2d(inside, outside, 3, padding=1) if deep else None
        self.skip = nn.Conv2d(inside, outside, 1) if layout.endswith("+") else None
        for layer in (self.second, self.skip):
            if layer is not None:
                glorot_(layer, slope=0.2)

    def forward(self, x: Tensor) -> Tensor:
        """Map B,in,S,S to B,out,2S,2S."""
        x = self.up(x)
        y = self.first(x)
        if self.second is not None:
            y = self.second(F.leaky_relu(y, 0.2))
        if self.skip is not None:
            y = y + self.skip(x)
        return F.leaky_relu(y, 0.2)


class MapDecoder(nn.Module):
    """Decode a code into a map: blocks up to the last, which is a single untied convolution without activation."""

    def __init__(
        self,
        inside: int,
        channels: list[int],
        side: int = 8,
        layout: str = "D+",
        upsample: str = "bilinear",
        weight_norm: bool = False,
    ) -> None:
        """Make the decoder.

        Args:
            inside: channels of the code.
            channels: of each block's output; the map's side is ``side * 2 ** len(channels)``.
            side: of the code.
            layout: one of ``BLOCKS``; with "A" and "A+" the last block is like the others, less its activation.
            upsample: "bilinear" or "nearest".
            weight_norm: on the untied convolutions.
        """
        super().__init__()
        if layout not in BLOCKS:
            raise ConfigError(f"model.block is one of {', '.join(BLOCKS)}, not {layout!r}.")
        if upsample not in ("bilinear", "nearest"):
            raise ConfigError(f"model.upsample is 'bilinear' or 'nearest', not {upsample!r}.")
        blocks = []
        for outside in channels[:-1]:
            side *= 2
            blocks.append(DecoderBlock(inside, outside, side, layout, upsample, weight_norm))
            inside = outside
        self.blocks = nn.Sequential(*blocks)
        self.up = _Up(upsample)
        self.last = UntiedConv2d(inside, channels[-1], 2 * side, None, weight_norm)
        self.last_skip = nn.Conv2d(inside, channels[-1], 1) if layout == "A+" else None
        if self.last_skip is not None:
            glorot_(self.last_skip)

    def forward(self, code: Tensor) -> Tensor:
        """Map B,in,8,8 to B,out,P,P."""
        x = self.up(self.blocks(code))
        y = self.last(x)
        return y if self.last_skip is None else y + self.last_skip(x)
