"""Two learned 1-D maps of the surface."""

from __future__ import annotations

import torch
from torch import Tensor

from avatarzoo.encodings._maps import along_line, need_surface, uniform
from avatarzoo.encodings.base import Encoding
from avatarzoo.registry import register


@register("encoding", "learned_maps_1d")
class LearnedMaps1D(Encoding):
    """m_u(u) and m_v(v) alone, looked up linearly (PiCA's 1D-PE); coordinates outside 0..1 are clamped.

    Source: PiCA section 5.2 and Table 2.
    """

    def __init__(self, in_dim: int = 2, *, length: int = 10000, line_channels: int = 2, init_scale: float = 1.0) -> None:
        """Make the maps.

        Args:
            in_dim: 2.
            length: entries of each map.
            line_channels: of each map.
            init_scale: entries start uniform in [-init_scale, init_scale].

        Raises:
            ConfigError: in_dim is not 2.
        """
        super().__init__()
        need_surface("learned_maps_1d", in_dim)
        self.in_dim, self.out_dim = in_dim, 2 * line_channels
        self.map_u = uniform(line_channels, 1, length, init_scale)
        self.map_v = uniform(line_channels, 1, length, init_scale)

    def forward(self, points: Tensor, table: Tensor | None = None) -> Tensor:
        """Encode N,2 surface coordinates into N,2*line_channels (see ``Encoding``)."""
        return torch.cat([along_line(self.map_u, points[:, :1]), along_line(self.map_v, points[:, 1:])], dim=1)
