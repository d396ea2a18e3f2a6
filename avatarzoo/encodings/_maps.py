"""What the learned maps share: uniform starts, and lookups along a line and in the plane."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avatarzoo.errors import ConfigError
from avatarzoo.geometry.uv import sample_map


def uniform(channels: int, height: int, width: int, scale: float) -> nn.Parameter:
    """Make a map.

    Args:
        channels, height, width: of the map; a line is one row high.
        scale: entries start uniform in [-scale, scale].

    Returns:
        1,channels,height,width.
    """
    return nn.Parameter(torch.empty(1, channels, height, width).uniform_(-scale, scale))


def in_plane(values: Tensor, uv: Tensor) -> Tensor:
    """Look a map up bilinearly: 1,C,P,P at N,2 into N,C of the map's dtype; clamped at the border."""
    return sample_map(values, uv)[0].to(values.dtype)


def along_line(values: Tensor, x: Tensor) -> Tensor:
    """Look a line up linearly: 1,C,1,L at N,1 into N,C of the line's dtype; clamped at the ends."""
    return in_plane(values, torch.cat([x, torch.full_like(x, 0.5)], dim=1))


def need_surface(name: str, in_dim: int) -> None:
    """Refuse points.

    Args:
        name: of the encoding.
        in_dim: that it was asked for.

    Raises:
        ConfigError: the number of coordinates is not 2.
    """
    if in_dim != 2:
        raise ConfigError(f"encoding {name!r} encodes surface coordinates (2), not {in_dim}.")
