"""One learned 2-D map of the surface."""

from __future__ import annotations

from torch import Tensor

from avatarzoo.encodings._maps import in_plane, need_surface, uniform
from avatarzoo.encodings.base import Encoding
from avatarzoo.registry import register


@register("encoding", "learned_map_2d")
class LearnedMap2D(Encoding):
    """m_uv(u, v) alone, looked up bilinearly (PiCA's 2D-PE); coordinates outside 0..1 are clamped.

    Source: PiCA section 5.2 and Table 2.
    """

    def __init__(self, in_dim: int = 2, *, size: int = 1024, channels: int = 4, init_scale: float = 1.0) -> None:
        """Make the map.

        Args:
            in_dim: 2.
            size: side of the map.
            channels: of the map.
            init_scale: entries start uniform in [-init_scale, init_scale].

        Raises:
            ConfigError: in_dim is not 2.
        """
        super().__init__()
        need_surface("learned_map_2d", in_dim)
        self.in_dim, self.out_dim = in_dim, channels
        self.map_uv = uniform(channels, size, size, init_scale)

    def forward(self, points: Tensor, table: Tensor | None = None) -> Tensor:
        """Encode N,2 surface coordinates into N,channels (see ``Encoding``)."""
        return in_plane(self.map_uv, points)
