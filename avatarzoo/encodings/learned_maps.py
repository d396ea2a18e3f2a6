"""Learned, non-parametric encoding maps of the surface: one 2-D map and two 1-D maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avatarzoo.capture import CaptureSummary
from avatarzoo.encodings.base import Encoding
from avatarzoo.errors import ConfigError
from avatarzoo.geometry.uv import sample_map
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
        if in_dim != 2:
            raise ConfigError(f"encoding 'learned_maps' encodes surface coordinates (2), not {in_dim}.")
        if init not in ("uniform", "mean_texture"):
            raise ConfigError(f"encoding.init is 'uniform' or 'mean_texture', not {init!r}.")
        self.in_dim, self.out_dim, self.init = in_dim, channels + 2 * line_channels, init
        self.map_uv = nn.Parameter(torch.empty(1, channels, size, size).uniform_(-init_scale, init_scale))
        self.map_u = nn.Parameter(torch.empty(1, line_channels, 1, length).uniform_(-init_scale, init_scale))
        self.map_v = nn.Parameter(torch.empty(1, line_channels, 1, length).uniform_(-init_scale, init_scale))

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
        # a 1-D map is a picture one row high
        middle = torch.full_like(points[:, :1], 0.5)
        plane = sample_map(self.map_uv, points)[0]
        along_u = sample_map(self.map_u, torch.cat([points[:, :1], middle], dim=1))[0]
        along_v = sample_map(self.map_v, torch.cat([points[:, 1:], middle], dim=1))[0]
        return torch.cat([plane, along_u, along_v], dim=1)
