"""Meshes that make rasterizers stumble."""

from __future__ import annotations

import torch
from torch import Tensor

CLIPPED = {"behind", "off_screen", "through_near", "guard", "not_finite"}


def grid(columns: int, rows: int, jitter: float, seed: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A sheet a little larger than the picture, with perspective; jitter in pixels, 0 keeps corners on pixel centres."""
    draw = torch.Generator().manual_seed(seed)
    height, width = size
    y, x = torch.meshgrid(torch.arange(rows + 1), torch.arange(columns + 1), indexing="ij")
    x = (x * (width + 4) // columns - 2 + 0.5).float()
    y = (y * (height + 4) // rows - 2 + 0.5).float()
    x, y = (p + jitter * torch.randint(-2, 3, p.shape, generator=draw) for p in (x, y))
    w = 1 + torch.randint(0, 4, x.shape, generator=draw) * 0.5
    clip = torch.stack([(2 * x / width - 1) * w, (2 * y / height - 1) * w, 0.2 * w, w], -1).reshape(1, -1, 4)
    i = torch.arange((rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    a, b, c, d = i[:-1, :-1].flatten(), i[:-1, 1:].flatten(), i[1:, :-1].flatten(), i[1:, 1:].flatten()
    triangles = torch.cat([torch.stack([a, b, c], -1), torch.stack([d, b, c], -1)])  # the two halves turn opposite ways
    return clip, triangles[torch.randperm(len(triangles), generator=draw)].int()


def scene(name: str) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Return clip positions (B,V,4), triangles (F,3 int32) and the picture's (H, W)."""
    clip, triangles, size = SCENES[name]()
    return clip.float(), triangles.int(), size


def _soup(seed: int, vertices: int = 30, faces: int = 40, images: int = 2) -> tuple[Tensor, Tensor, torch.Generator]:
    draw = torch.Generator().manual_seed(seed)
    ndc = torch.rand(images, vertices, 3, generator=draw) * torch.tensor([2.2, 2.2, 1.8]) - torch.tensor([1.1, 1.1, 0.9])
    w = 0.5 + torch.rand(images, vertices, 1, generator=draw)
    triangles = torch.rand(faces, vertices, generator=draw).argsort(-1)[:, :3]
    return torch.cat([ndc * w, w], -1), triangles, draw


def _random() -> tuple:
    clip, triangles, _ = _soup(0, faces=6, images=3)
    return clip, triangles, (19, 27)


def _crowded() -> tuple:
    clip, triangles, _ = _soup(1, vertices=60, faces=300)
    return clip, triangles, (23, 18)


def _shared_edges() -> tuple:
    clip, triangles = grid(8, 7, 0.0625, 2, (30, 26))
    return clip, triangles, (30, 26)


def _dense() -> tuple:
    clip, triangles = grid(60, 60, 0.3, 3, (21, 21))
    return clip, triangles, (21, 21)


def _slivers() -> tuple:
    clip, triangles, draw = _soup(4, faces=60)
    clip[:, 1::3] = clip[:, 0::3] + 1e-3 * torch.randn(clip[:, 0::3].shape, generator=draw)
    clip[:, 2::3, 3] *= 1.0 + 1e-4
    triangles = torch.cat([torch.arange(30).reshape(10, 3), triangles])
    return clip, triangles, (41, 37)


def _degenerate() -> tuple:
    clip, triangles, _ = _soup(5)
    triangles[::4, 1] = triangles[::4, 0]
    triangles[1::8, 1:] = triangles[1::8, :1]
    clip[:, 3:6] = clip[:, 0:3]  # other vertices at the same places
    line = torch.tensor([[-0.9, -0.9, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0], [0.9, 0.9, 0.0, 1.0]])
    clip = torch.cat([clip, line.expand(clip.shape[0], 3, 4)], 1)
    return clip, torch.cat([triangles, torch.tensor([[30, 31, 32]])]), (16, 16)


def _one_pixel() -> tuple:
    clip, triangles, _ = _soup(6)
    return clip, triangles, (1, 1)


def _one_row() -> tuple:
    clip, triangles, _ = _soup(7)
    return clip, triangles, (1, 33)


def _ties() -> tuple:
    """The same triangles twice, and crossing ones at one depth: the lower id is in front."""
    clip, triangles, draw = _soup(8, images=1)
    clip[..., 2] = 0.3 * clip[..., 3]
    order = torch.randperm(len(triangles), generator=draw)
    return clip, torch.cat([triangles, triangles[order].roll(1, -1), triangles.flip(-1)]), (20, 20)


def _huge() -> tuple:
    clip, triangles, _ = _soup(9, vertices=9, faces=4, images=1)
    clip[..., :2] *= 40
    return clip, triangles, (70, 90)


def _no_triangle() -> tuple:
    clip, triangles, _ = _soup(10)
    return clip, triangles[:0], (7, 9)


def _behind() -> tuple:
    clip, triangles, _ = _soup(11, faces=25)
    clip[..., 3] -= 0.8  # about a third of the vertices has w < 0
    clip[:, 5, 3] = 0.0
    clip[:, 6] = 0.0
    return clip, triangles, (24, 20)


def _through_near() -> tuple:
    clip, triangles, _ = _soup(12, faces=12)
    clip[..., 2] = clip[..., 2] * 3
    return clip, triangles, (22, 25)


def _off_screen() -> tuple:
    clip, triangles, _ = _soup(13, faces=30)
    clip[:, 10:20, 0] += 4
    clip[:, 20:, 1] -= 30
    return clip, triangles, (17, 23)


def _guard() -> tuple:
    """Corners beyond the guard planes: snapped, they would not fit the integers."""
    clip, triangles, draw = _soup(14, faces=8)
    clip[..., :2] *= 10.0 ** torch.randint(0, 9, (*clip.shape[:2], 1), generator=draw)
    return clip, triangles, (26, 24)


def _not_finite() -> tuple:
    clip, triangles, _ = _soup(15, faces=10)
    clip[:, 0, 0], clip[:, 1, 3], clip[:, 2, 2] = float("nan"), float("inf"), float("-inf")
    return clip, triangles, (12, 14)


SCENES = {
    "random": _random,
    "crowded": _crowded,
    "shared_edges": _shared_edges,
    "dense": _dense,
    "slivers": _slivers,
    "degenerate": _degenerate,
    "one_pixel": _one_pixel,
    "one_row": _one_row,
    "ties": _ties,
    "huge": _huge,
    "no_triangle": _no_triangle,
    "behind": _behind,
    "through_near": _through_near,
    "off_screen": _off_screen,
    "guard": _guard,
    "not_finite": _not_finite,
}
