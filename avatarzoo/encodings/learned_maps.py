"""Learned, non-parametric encoding maps of the surface: one 2-D map and two 1-D maps."""

from __future__ import annotations

import torch
from torch import Tensor

from avatarzoo.capture import CaptureSummary
from avatarzoo.encodings._maps import along_line, in_plane, need_surface, uniform
from avatarzoo.encodings.base import Encoding
from avatarzoo.errors import ConfigError
from avatarzoo.registry import register


@register("encoding", "learned_maps")
class LearnedMaps(Encoding):
    """PiCA's encoding: m_uv(u, v), m_u(u) and m_v(v), looked up linearly.

    u = [m_uv(u, v), m_u(u), m_v(v)]; every entry starts uniform in [-1, 1]. Coordinates outside 0..1 are clamped. The first
    and last texel centres of all maps lie half a texel inside 0 and 1.

    Source: PiCA equation 2, supplement B.1.
    """

    def __init__(
        self,
        in_dim: int = 2,
        *,
        size: int = 1024,
        channels: int = 4,
        length: int = 10000,
        line_channels: int = 2,
        init: str = "uniform",
        init_scale: float = 1.0,
    ) -> None:
        """Make the maps.

        Args:
            in_dim: 2.
            size: side of m_uv.
            channels: of m_uv.
            length: entries of m_u and m_v.
            line_channels: of m_u and of m_v.
            init: "uniform", or "mean_texture": the first three channels of m_uv start as the capture's mean texture, in its
                decorrelated colours (not in the paper).
            init_scale: entries start uniform in [-init_scale, init_scale] (1 in the paper).
        """
        super().__init__()
        need_surface("learned_maps", in_dim)
        if init not in ("uniform", "mean_texture"):
            raise ConfigError(f"encoding.init is 'uniform' or 'mean_texture', not {init!r}.")
        self.in_dim, self.out_dim, self.init = in_dim, channels + 2 * line_channels, init
        self.map_uv = uniform(channels, size, size, init_scale)
        self.map_u = uniform(line_channels, 1, length, init_scale)
        self.map_v = uniform(line_channels, 1, length, init_scale)

    def bind(self, summary: CaptureSummary) -> None:
        """Start m_uv at the mean texture, if asked for."""
        if self.init != "mean_texture":
            return
        side, count = self.map_uv.shape[-1], min(3, self.map_uv.shape[1])
        centred = summary.texture_mean - summary.colour_mean[:, None, None]
        codes = torch.einsum("ij,jhw->ihw", torch.linalg.pinv(summary.colour_axes), centred).clamp(-4, 4) / 2
        codes = torch.nn.functional.interpolate(codes[None], size=(side, side), mode="area")
        with torch.no_grad():
            self.map_uv[:, :count] = codes[:, :count]

    def forward(self, points: Tensor, table: Tensor | None = None) -> Tensor:
        """Encode N,2 surface coordinates into N,out_dim (see ``Encoding``)."""
        lines = along_line(self.map_u, points[:, :1]), along_line(self.map_v, points[:, 1:])
        return torch.cat([in_plane(self.map_uv, points), *lines], dim=1)
