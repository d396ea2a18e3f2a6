"""Skin of the head as textures: albedo, gloss and the slope of fine relief, painted by place on the neutral head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from avatarzoo.datamodules.procedural.head import Head
from avatarzoo.datamodules.procedural.layout import lip_heights, mouth_coordinates
from avatarzoo.datamodules.procedural.shape import EYE_CENTRE
from avatarzoo.rasterizers.base import Rasterizer

TONES = ((0.79, 0.61, 0.52), (0.74, 0.54, 0.43), (0.84, 0.66, 0.57), (0.60, 0.41, 0.31), (0.42, 0.27, 0.20))  # sRGB
HAIRS = ((0.145, 0.10, 0.07), (0.12, 0.09, 0.07), (0.36, 0.25, 0.16), (0.08, 0.06, 0.05), (0.06, 0.05, 0.045))


@dataclass
class Skin:
    """Maps over the chart, row 0 at v = 0.

    Attributes:
        albedo: 3,S,S linear.
        gloss: 1,S,S strength of the highlight.
        slope: 3,S,S gradient of the fine relief along the surface, face-centric on the neutral head.
    """

    albedo: Tensor
    gloss: Tensor
    slope: Tensor

    def stacked(self) -> Tensor:
        """Return 1,7,S,S: albedo, gloss, slope."""
        return torch.cat([self.albedo, self.gloss, self.slope])[None]


def to_linear(srgb: Tensor) -> Tensor:
    """Return linear values of sRGB ones in 0..1."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: Tensor) -> Tensor:
    """Return sRGB values in 0..1 of linear ones, clipped."""
    x = linear.clamp(0, 1)
    return torch.where(x <= 0.0031308, 12.92 * x, 1.055 * x.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def positions(head: Head, size: int, rasterizer: Rasterizer) -> tuple[Tensor, Tensor]:
    """Return the neutral head's place at every texel (S,S,3 mm) and which texels the skin covers (S,S)."""
    uv = torch.tensor(head.wedge_uv.reshape(-1, 2), dtype=torch.float32)
    flat = torch.cat([2 * uv - 1, torch.zeros_like(uv[:, :1]), torch.ones_like(uv[:, :1])], 1)[None]
    triangles = torch.arange(len(uv), dtype=torch.int32).reshape(-1, 3)
    raster = rasterizer.rasterize(flat, triangles, (size, size))
    corners = torch.tensor(head.vertices[head.triangles.reshape(-1)], dtype=torch.float32)
    return rasterizer.interpolate(corners[None], raster, triangles)[0], raster[0, ..., 3] > 0


class Noise:
    """Smooth noise in space: random values on a lattice, blended."""

    def __init__(self, seed: int) -> None:
        """Draw the lattice."""
        generator = torch.Generator().manual_seed(seed)
        self.lattice = torch.rand((1, 1, 48, 48, 48), generator=generator) * 2 - 1

    def __call__(self, p: Tensor, scale: float | tuple[float, float, float], octaves: int = 1) -> Tensor:
        """Return noise in about -1..1.

        Args:
            p: ...,3 mm.
            scale: of the coarsest lattice, mm.
            octaves: each half the scale and weight of the one before.
        """
        total, weight = torch.zeros(p.shape[:-1]), 1.0
        step = torch.tensor(scale if isinstance(scale, tuple) else (scale,) * 3)
        for octave in range(octaves):
            q = p / step * 2**octave + 7.3 * octave
            cell = q.floor()
            t = q - cell
            q = cell + t * t * (3 - 2 * t)
            q = (q % 46) + 0.5  # the lattice repeats far apart; its last planes are never straddled
            grid = (2 * q / 47 - 1).reshape(1, 1, 1, -1, 3)
            total += weight * F.grid_sample(self.lattice, grid, align_corners=True, padding_mode="border").reshape(
                total.shape
            )
            weight *= 0.5
        return total * 1.4


def _step(a: float, b: float, x: Tensor) -> Tensor:
    t = ((x - a) / (b - a)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _bell(p: Tensor, centre: tuple, radii: tuple) -> Tensor:
    return torch.exp(-(((p - torch.tensor(centre)) / torch.tensor(radii)) ** 2).sum(-1))


def paint(head: Head, size: int, seed: int, rasterizer: Rasterizer) -> Skin:
    """Paint the skin.

    Args:
        head: the neutral head.
        size: S, the side of the maps.
        seed: tone, hair, freckles and every pore.
        rasterizer: draws the chart.
    """
    random = np.random.default_rng([seed, 5])
    person = 0 if seed == 0 else int(random.integers(len(TONES)))
    p, covered = positions(head, size, rasterizer)
    noise = Noise(seed * 7 + 1)
    tone, hair = (to_linear(torch.tensor(c[person], dtype=torch.float32)) for c in (TONES, HAIRS))
    side = p.clone()
    side[..., 0] = side[..., 0].abs()
    line, height = _lip_places(head, size, rasterizer)

    colour = tone.expand(*p.shape).clone()
    mottle = noise(p, 22, 3) * 0.06 + noise(p, 4, 2) * 0.035
    colour *= 1 + mottle[..., None] * torch.tensor([0.8, 1.2, 1.3])
    blush = 0.9 * _bell(side, (40, -12, 70), (20, 17, 30)) + 0.7 * _bell(side, (0, -10, 112), (13, 12, 18))
    blush = blush + 0.35 * _bell(side, (0, -80, 84), (16, 12, 20)) + 0.5 * _bell(side, (72, 8, -4), (14, 36, 26))
    colour *= 1 - (0.30 * blush * (1 + 0.4 * noise(p, 7, 2)))[..., None] * torch.tensor([0.12, 0.9, 0.8])
    tired = _bell(side, (28, 13, 78), (12, 5, 16)) + 0.8 * _bell(side, (31, 33, 78), (14, 5, 16))
    colour *= 1 - (0.22 * tired)[..., None] * torch.tensor([0.7, 1.1, 0.9])
    beard = _step(-14, -34, p[..., 1]) * _step(-118, -96, p[..., 1]) * _step(10, 34, p[..., 2])
    beard = beard * (1 - 0.75 * _bell(side, (38, -20, 70), (18, 16, 30)))
    dots = _step(0.15, 0.8, noise(p, 0.9, 1))
    colour *= 1 - (beard * (0.10 + 0.22 * dots))[..., None] * torch.tensor([1.0, 0.85, 0.7])
    freckle = _step(0.62, 0.85, noise(p, 2.6, 1)) * (_bell(side, (26, -2, 84), (26, 15, 40)) + 0.12)
    colour *= 1 - (0.35 * freckle * _step(-0.2, 0.5, noise(p, 11, 1)))[..., None] * torch.tensor([0.5, 0.9, 1.1])
    for _ in range(6):
        spot = head.vertices[int(random.integers(len(head.vertices)))]
        near = (p - torch.tensor(spot, dtype=torch.float32)).norm(dim=-1)
        colour *= 1 - (0.6 * _step(1.3, 0.5, near))[..., None] * torch.tensor([0.7, 0.9, 1.0])
    gloss = 0.55 + 0.35 * _bell(side, (0, -8, 112), (12, 14, 20)) + 0.25 * _bell(side, (0, 66, 92), (40, 22, 40))
    gloss = gloss + 0.12 * noise(p, 3, 2)
    relief = 0.030 * noise(p, 1.1, 2) + 0.05 * noise(p, 3.2, 2)

    lips, edge = _lips(line, height, p, noise)
    tint = to_linear(torch.tensor([0.66, 0.39, 0.36])) * (tone.mean() / 0.30).clamp(0.5, 1.1) ** 0.5
    wrinkle = noise(p, (0.9, 6.0, 6.0), 2)
    lip_colour = tint * (1 + 0.10 * wrinkle[..., None] - 0.6 * edge[..., None])
    colour = colour * (1 - 0.85 * lips[..., None]) + lip_colour * 0.85 * lips[..., None]
    gloss = gloss * (1 - lips) + lips * (1.15 + 0.3 * wrinkle)
    relief = relief * (1 - lips) + lips * 0.12 * wrinkle

    brow, stroke = _brows(p, noise)
    cap, strand = _hair(p, noise)
    fuzz = torch.maximum(brow * (0.45 + 0.55 * stroke), cap * (0.78 + 0.20 * strand)).clamp(0, 1)[..., None]
    colour = colour * (1 - fuzz) + hair * (0.75 + 0.5 * torch.where(cap > brow, strand, stroke))[..., None] * fuzz
    gloss = gloss * (1 - 0.7 * fuzz[..., 0])
    relief = relief + cap * 0.35 * strand + brow * 0.25 * stroke
    lashes = _lashes(head, p)
    colour *= 1 - 0.85 * lashes[..., None]
    nostril = _bell(side, (6.6, -24, 101), (3.6, 3.6, 5.5))
    colour *= 1 - 0.75 * nostril[..., None] * torch.tensor([0.85, 1.0, 1.0])
    maps = Skin(colour.permute(2, 0, 1), gloss[None].clamp(0.05, 1.6), _slope(p, relief, covered).permute(2, 0, 1))
    return Skin(maps.albedo.clamp(0.003, 0.9).contiguous(), maps.gloss, maps.slope.contiguous())


def _lip_places(head: Head, size: int, rasterizer: Rasterizer) -> tuple[Tensor, Tensor]:
    """Return S,S maps: place across the mouth (-1..1 corner to corner) and mm above the line between the lips."""
    grid = head.grid
    across, rise = mouth_coordinates(grid, np.stack([grid.u[grid.column], grid.v[grid.row]], -1))
    rise = rise + 1e-3 * grid.side
    uv = torch.tensor(head.wedge_uv.reshape(-1, 2), dtype=torch.float32)
    flat = torch.cat([2 * uv - 1, torch.zeros_like(uv[:, :1]), torch.ones_like(uv[:, :1])], 1)[None]
    triangles = torch.arange(len(uv), dtype=torch.int32).reshape(-1, 3)
    values = torch.tensor(np.stack([across, rise], 1)[head.triangles.reshape(-1)], dtype=torch.float32)
    raster = rasterizer.rasterize(flat, triangles, (size, size))
    both = rasterizer.interpolate(values[None], raster, triangles)[0]
    return both[..., 0], both[..., 1]


def _lips(across: Tensor, rise: Tensor, p: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    a = across.abs()
    above, below = (torch.from_numpy(x).float() for x in lip_heights(across.numpy()))
    wobble = 0.35 * noise(p, 3.5, 2)
    reach = torch.where(rise >= 0, above, below) + wobble
    inside = _step(0.9, -0.9, rise.abs() - reach) * _step(1.04, 0.97, a) * _step(30, 50, p[..., 2])
    return inside, torch.exp(-((rise / 1.0) ** 2)) * inside


def _brows(p: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    x, y = p[..., 0].abs(), p[..., 1]
    s = ((x - 12) / 38).clamp(-0.3, 1.3)
    middle = 40.0 + 8.5 * torch.sin((s.clamp(0, 1) * 0.95) ** 1.15 * 2.35) - 6.0 * s.clamp(0, 1) ** 3
    half = 4.3 * (1 - 0.72 * s.clamp(0, 1) ** 1.6)
    fringe = noise(p, 2.0, 2)
    away = (y - middle).abs() / half + 0.28 * fringe
    mask = _step(1.15, 0.55, away) * _step(-0.06, 0.10, s + 0.05 * fringe) * _step(1.06, 0.86, s + 0.05 * fringe)
    lean = y - middle - 0.9 * (x - 12) * (0.25 + 0.6 * s)
    stroke = noise(torch.stack([lean * 1.5, (x + y * 0.3) * 0.22, p[..., 2] * 0.2], -1), 1.0, 2)
    return mask * _step(50, 62, p[..., 2] + 12 * s), 0.5 + 0.5 * stroke


def _hair(p: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    azimuth = torch.rad2deg(torch.atan2(p[..., 0].abs(), p[..., 2]))
    places = [
        (0, 101),
        (18, 104),
        (34, 98),
        (46, 78),
        (56, 70),
        (66, 44),
        (76, 14),
        (86, 12),
        (94, 44),
        (112, 42),
        (126, 0),
        (150, -40),
        (180, -46),
    ]
    edge = torch.from_numpy(np.interp(azimuth.numpy(), *np.array(places).T)).float()
    fringe = noise(p, 5, 3) * 3.0
    mask = _step(-3.5, 6.0, p[..., 1] - edge + fringe)
    strand = noise(p, (0.8, 2.4, 2.4), 2) + 0.5 * noise(p, 6, 2)
    return mask, 0.5 + 0.4 * strand


def _lashes(head: Head, p: Tensor) -> Tensor:
    dark = torch.zeros(p.shape[:-1])
    for name in ("eye_left", "eye_right"):
        slit = head.grid.slit(name)
        sign = 1.0 if name == "eye_left" else -1.0
        near = (p[..., 0] * sign - EYE_CENTRE[0]).abs().lt(20) & (p[..., 1] - EYE_CENTRE[1]).abs().lt(14) & p[..., 2].gt(50)
        texels = torch.nonzero(near)
        points = p[texels[:, 0], texels[:, 1]]
        for upper, width, strength in ((True, 1.5, 1.0), (False, 0.8, 0.55)):
            edge = torch.tensor(head.vertices[head.grid.edge(slit, upper)], dtype=torch.float32)
            distance = torch.cdist(points, edge).min(1).values
            value = strength * _step(width, 0.4 * width, distance)
            dark[texels[:, 0], texels[:, 1]] = torch.maximum(dark[texels[:, 0], texels[:, 1]], value)
    return dark


def _slope(p: Tensor, relief: Tensor, covered: Tensor) -> Tensor:
    def across(x: Tensor, dim: int) -> Tensor:
        return (torch.roll(x, -1, dim) - torch.roll(x, 1, dim)) / 2

    p_u, p_v, h_u, h_v = across(p, 1), across(p, 0), across(relief, 1), across(relief, 0)
    normal = torch.cross(p_u, p_v, dim=-1)
    area = normal.norm(dim=-1, keepdim=True)
    n = normal / area.clamp(min=1e-6)
    slope = (h_u[..., None] * torch.cross(p_v, n, dim=-1) + h_v[..., None] * torch.cross(n, p_u, dim=-1)) / area.clamp(
        min=1e-4
    )
    good = covered.float()[None, None]
    good = -F.max_pool2d(-good, 3, 1, 1)[0, 0] * ((p_u.norm(dim=-1) < 4) & (p_v.norm(dim=-1) < 4))
    size = slope.norm(dim=-1, keepdim=True)
    return slope * good[..., None] * (0.6 / size.clamp(min=0.6))
