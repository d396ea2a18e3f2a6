"""Light on the head: a sky, three lamps that stand still in the world, shadows of the first, and soft highlights."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from avatarzoo.rasterizers.base import Rasterizer

#: direction towards the lamp (world), colour, how far it wraps around the edge of its shadow.
LAMPS = (
    ((-0.50, 0.62, 0.72), (1.75, 1.66, 1.55), 0.18),
    ((0.85, 0.18, 0.50), (0.44, 0.50, 0.60), 0.30),
    ((0.30, 0.55, -0.85), (0.55, 0.58, 0.65), 0.10),
)
SKY, GROUND = (0.50, 0.53, 0.58), (0.26, 0.22, 0.19)
BLEED = (1.9, 1.0, 0.7)  #: light wanders farther under the skin in red
REACH = 250.0  #: mm from the middle of the head to the edge of a shadow map


def normals(vertices: Tensor, triangles: Tensor) -> Tensor:
    """Return V,3 unit normals, the area-weighted mean of their triangles'.

    Args:
        vertices: V,3.
        triangles: F,3 int64.
    """
    a, b, c = vertices[triangles].unbind(1)
    face = torch.cross(b - a, c - a, dim=1)
    total = torch.zeros_like(vertices)
    for corner in range(3):
        total.index_add_(0, triangles[:, corner], face)
    return F.normalize(total, dim=1)


class Occlusion:
    """Which vertices a direction sees, from a depth picture along it."""

    def __init__(self, triangles: Tensor, rasterizer: Rasterizer, size: int) -> None:
        """Keep the occluder's triangles.

        Args:
            triangles: F,3 int32.
            rasterizer: draws depth.
            size: side of the depth picture.
        """
        self.triangles, self.rasterizer, self.size = triangles, rasterizer, size

    def visible(self, occluder: Tensor, points: Tensor, direction: Tensor, bias: float = 3.0) -> Tensor:
        """Return N in 0..1, the share of a pixel's neighbourhood through which light from ``direction`` comes.

        Args:
            occluder: V,3 mm.
            points: N,3 mm.
            direction: 3, unit, towards the light.
            bias: mm a point may lie behind the occluder.
        """
        up = torch.tensor([0.0, 1.0, 0.0]) if abs(float(direction[1])) < 0.9 else torch.tensor([0.0, 0.0, 1.0])
        x = F.normalize(torch.linalg.cross(up, direction), dim=0)
        axes = torch.stack([x, torch.linalg.cross(direction, x), -direction])
        clip = occluder @ axes.T / REACH
        clip = torch.cat([clip, torch.ones_like(clip[:, :1])], 1)[None].contiguous()
        raster = self.rasterizer.rasterize(clip, self.triangles, (self.size, self.size))
        depth = torch.where(raster[..., 3] > 0, raster[..., 2], 9.0)[:, None]
        local = points @ axes.T / REACH
        lit = torch.zeros(len(points))
        texel = 2 / self.size
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                where = local[:, :2] + torch.tensor([dx, dy]) * texel
                near = F.grid_sample(depth, where[None, None], mode="nearest", padding_mode="border", align_corners=False)
                lit += (local[:, 2] <= near[0, 0, 0] + bias / REACH).float()
        return lit / 9


def sphere_directions(count: int) -> Tensor:
    """Return count,3 unit directions spread evenly."""
    i = np.arange(count) + 0.5
    y, turn = 1 - 2 * i / count, np.pi * (1 + 5**0.5) * i
    flat = np.sqrt(1 - y * y)
    return torch.tensor(np.stack([flat * np.cos(turn), y, flat * np.sin(turn)], 1), dtype=torch.float32)


def ambient_occlusion(occlusion: Occlusion, occluder: Tensor, points: Tensor, normal: Tensor, count: int) -> Tensor:
    """Return N in 0..1, how much of the sky above each point is open.

    Args:
        occlusion: of the occluder.
        occluder: V,3 mm.
        points: N,3 mm.
        normal: N,3.
        count: directions.
    """
    seen, total = torch.zeros(len(points)), torch.full((len(points),), 1e-6)
    for direction in sphere_directions(count):
        weight = (normal @ direction).clamp(min=0)
        seen += weight * occlusion.visible(occluder, points + 1.5 * normal, direction, bias=1.5)
        total += weight
    return seen / total


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return 1,N dot products of 3,N vectors."""
    return a[:1] * b[:1] + a[1:2] * b[1:2] + a[2:] * b[2:]


def unit(a: Tensor) -> Tensor:
    """Return 3,N vectors at unit length (several times faster than a norm along the first axis)."""
    return a * dot(a, a).clamp(min=1e-12).rsqrt()


def shade(
    albedo: Tensor,
    gloss: Tensor,
    normal: Tensor,
    view: Tensor,
    open_sky: Tensor,
    lit: Tensor,
    world: Tensor,
    bleed: float,
    polish: float = 0.0,
) -> Tensor:
    """Return 3,N linear radiance.

    Args:
        albedo: 3,N linear.
        gloss: 1,N strength of the soft highlight.
        normal, view: 3,N unit, face-centric; ``view`` points to the camera.
        open_sky: 1,N ambient visibility.
        lit: 1,N visibility of the first lamp.
        world: 3,3 rotation face-centric -> world.
        bleed: 1 for skin, 0 for what no light wanders in.
        polish: strength of a mirror-like highlight, for wet surfaces.
    """
    sky, ground, red = (torch.tensor(c)[:, None] for c in (SKY, GROUND, BLEED))
    height = 0.5 + 0.5 * dot(normal, (world.T @ torch.tensor([0.0, 1.0, 0.0]))[:, None])
    glow = (ground + (sky - ground) * height) * open_sky
    grazing = 1 - dot(normal, view).clamp(0, 1)
    fresnel = 0.03 + 0.97 * grazing * (grazing * grazing) ** 2
    shine = sky * (0.22 * fresnel * gloss * open_sky)
    soft = 0.10 * gloss * (0.35 + 2.0 * fresnel)
    for index, (towards, colour, wrap) in enumerate(LAMPS):
        lamp = (world.T @ F.normalize(torch.tensor(towards), dim=0))[:, None]
        clear = lit if index == 0 else 0.35 + 0.65 * open_sky
        strength = torch.tensor(colour)[:, None] * clear
        cosine, spread = dot(normal, lamp), wrap * bleed * red
        reddened = strength.clone()
        reddened[:1] *= 1 + 0.25 * bleed * (1 - clear)  # the edge of a shadow on skin is red
        glow += reddened * ((cosine + spread) / (1 + spread)).clamp(min=0)
        half = unit(lamp + view)
        sharp2 = dot(normal, half).clamp(min=0) ** 2
        sharp16 = ((sharp2 * sharp2) ** 2) ** 2
        sharp64 = (sharp16 * sharp16) ** 2
        lobe = soft * (0.75 * sharp16 + 1.6 * sharp64)
        if polish:
            lobe = lobe + polish * ((sharp64 * sharp64) ** 2) ** 2
        shine += strength * lobe * cosine.clamp(min=0)
    return albedo * glow * 0.60 + shine
