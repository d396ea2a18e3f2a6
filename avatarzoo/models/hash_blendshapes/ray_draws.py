"""Which pixels a training step looks at, and the noise of their samples."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from avatarzoo.capture import CaptureSummary
from avatarzoo.errors import ConfigError


class RayFocus(nn.Module):
    """How much likelier than others a pixel is drawn, by the region of the tracked surface that it sees.

    Not in the paper, which draws pixels alike: at a few thousand rays a step mouth and eyes, one pixel in a hundred, are
    hardly looked at in half an hour.
    """

    def __init__(self, factors: Mapping[str, float]) -> None:
        """Take the factors.

        Args:
            factors: by region, e.g. {mouth: 8, eyes: 8}.

        Raises:
            ConfigError: a factor that is not above 0.
        """
        super().__init__()
        bad = [name for name, factor in factors.items() if not factor > 0]
        if bad:
            raise ConfigError(f"model.ray_focus.{bad[0]}={factors[bad[0]]}: give a factor above 0.")
        self.factors = dict(factors)

    def bind(self, summary: CaptureSummary) -> None:
        """Look up which triangles touch which region.

        Args:
            summary: of the capture; one that names no regions is drawn from evenly, which the run announces.

        Raises:
            ConfigError: a region that it does not name among others.
        """
        unknown = [name for name in self.factors if name not in summary.regions]
        if unknown and summary.regions:
            known = ", ".join(summary.regions)
            raise ConfigError(f"model.ray_focus names {unknown[0]!r}, but the capture has {known}.")
        corners = summary.topology.uvs[summary.topology.uv_triangles.long()]
        places = torch.cat([corners, corners.mean(1, keepdim=True)], dim=1)
        factor = torch.ones(len(corners) + 1)  # the last row is for pixels that miss the mesh
        for name, value in self.factors.items():
            factor[:-1][summary.region_at(name, places).any(1)] = value
        self.register_buffer("by_triangle", factor, persistent=False)

    def forward(self, triangle: Tensor) -> Tensor:
        """Return the factor of each pixel: ... int64 triangles, -1 for none -> ... float32."""
        return self.by_triangle[triangle]


def draw_rays(
    keys: Tensor, size: int, count: int, coarse: int, fine: int, device: torch.device, factors: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw pixels without repetition and noise for their samples, as functions of the pictures' keys.

    Args:
        keys: B int64 on the CPU.
        size: number of pixels of a picture.
        count: pixels to draw of each.
        coarse, fine: samples per ray.
        device: of what is returned.
        factors: B,size, how much likelier than 1 a pixel is drawn, or None.

    Returns:
        pixels B,count in reading order, noise B*count,coarse and B*count,fine in 0..1.

    Source of the weighted draw: Efraimidis and Spirakis 2006, the largest u^(1/w).
    """
    pixels, first, second = [], [], []
    for row, key in enumerate(keys.tolist()):
        generator = torch.Generator().manual_seed(key)
        if factors is None:
            drawn = torch.randperm(size, generator=generator)[:count].to(device)
        else:
            rank = torch.rand(size, generator=generator).clamp_min(1e-12).log().to(device) / factors[row]
            drawn = rank.topk(count, sorted=False).indices
        # in reading order: rays side by side meet the same anchors, whose tables are then in the cache
        pixels.append(drawn.sort().values)
        first.append(torch.rand(count, coarse, generator=generator))
        second.append(torch.rand(count, fine, generator=generator))
    return torch.stack(pixels), torch.cat(first).to(device), torch.cat(second).to(device)
