"""The UV atlas: which triangle lies under each texel, maps of the surface, and lookups in maps.

A map has row 0 at v = 0; the centre of texel (column, row) lies at ((column + 0.5) / size, (row + 0.5) / size).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from avatarzoo.batch import Group
from avatarzoo.capture import Topology
from avatarzoo.rasterizers.base import Rasterizer


@dataclass
class SurfacePoints(Group):
    """Points on a mesh, each in one triangle.

    Attributes:
        triangle: N int64 ids of triangles.
        weights: N,3 float32 barycentric weights of the corners.
    """

    triangle: Tensor
    weights: Tensor

    def gather(self, attributes: Tensor, triangles: Tensor) -> Tensor:
        """Interpolate vertex attributes at the points.

        Args:
            attributes: B,V,C.
            triangles: F,3 ids into the attributes.

        Returns:
            B,N,C.
        """
        corners = triangles.long()[self.triangle]
        picked = attributes[:, corners.reshape(-1)].unflatten(1, (-1, 3))
        return (picked * self.weights[None, :, :, None].to(attributes.dtype)).sum(2)


@dataclass
class TexelMap(Group):
    """The texels of a square map that a chart covers.

    Attributes:
        covered: P,P bool.
        points: the covered texels' points on the mesh, in row-major order of ``covered``.
    """

    covered: Tensor
    points: SurfacePoints

    def to_map(self, attributes: Tensor, triangles: Tensor) -> Tensor:
        """Resample vertex attributes into a map, 0 where no chart lies.

        Args:
            attributes: B,V,C.
            triangles: F,3 ids into the attributes.

        Returns:
            B,C,P,P.
        """
        size = self.covered.shape[0]
        values = self.points.gather(attributes, triangles)
        result = values.new_zeros(values.shape[0], size * size, values.shape[2])
        result[:, self.covered.flatten()] = values
        return result.transpose(1, 2).reshape(values.shape[0], -1, size, size)


def rasterize_charts(topology: Topology, size: int, rasterizer: Rasterizer) -> TexelMap:
    """Find the triangle under each texel centre of an atlas.

    Args:
        topology: a mesh with UVs.
        size: side of the map.
        rasterizer: any backend.

    Returns:
        The covered texels and their points.
    """
    flat = 2 * topology.uvs.float() - 1
    clip = torch.cat([flat, torch.zeros_like(flat[:, :1]), torch.ones_like(flat[:, :1])], dim=-1)[None]
    raster = rasterizer.rasterize(clip, topology.uv_triangles.int(), (size, size))[0]
    covered = raster[..., 3] > 0
    u, v = raster[..., 0][covered], raster[..., 1][covered]
    triangle = raster[..., 3][covered].long() - 1
    return TexelMap(covered, SurfacePoints(triangle, torch.stack([u, v, (1 - u - v).clamp_min(0)], dim=-1)))


def sample_map(values: Tensor, uv: Tensor) -> Tensor:
    """Look maps up bilinearly, clamped at the border, in float32 (float64 for a map of float64).

    Args:
        values: B,C,P,P.
        uv: N,2 or B,N,2 in 0..1.

    Returns:
        B,N,C float32 (float64). UVs in bfloat16 would miss by texels, so the lookup never runs in half precision.
    """
    real = torch.float64 if values.dtype == torch.float64 else torch.float32
    grid = 2 * uv.to(real) - 1
    grid = grid[None, :, None].expand(values.shape[0], -1, -1, -1) if grid.ndim == 2 else grid[:, :, None]
    with torch.autocast(values.device.type, enabled=False):
        picked = F.grid_sample(values.to(real), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return picked[..., 0].transpose(1, 2)


def fill_outside(values: Tensor, covered: Tensor) -> Tensor:
    """Spread a map into the texels where it says nothing, by a pull-push pyramid.

    Args:
        values: C,P,P.
        covered: P,P bool or float weights, 0 = nothing is known.

    Returns:
        C,P,P: unchanged where covered, a smooth extension elsewhere.
    """
    weight = covered.to(values.dtype)[None, None].clamp(0, 1)
    colour = values[None] * weight
    levels = [(colour, weight)]
    while min(levels[-1][1].shape[-2:]) > 1:
        colour, weight = levels[-1]
        weight_low = F.avg_pool2d(weight, 2, ceil_mode=True)
        colour_low = F.avg_pool2d(colour, 2, ceil_mode=True) / weight_low.clamp_min(1e-8)
        known = (weight_low > 0).to(values.dtype)
        levels.append((colour_low * known, known))
    filled = levels[-1][0]
    for colour, weight in reversed(levels[:-1]):
        coarse = F.interpolate(filled, size=colour.shape[-2:], mode="bilinear", align_corners=False)
        filled = colour + coarse * (1 - weight)
    return filled[0]
