"""A small head-shaped capture made in memory: two UV charts, a seam, an open neck, two cameras, three frames.

The surface is (x / 80)^2 + (z / 90)^2 / (1 - t^2) = 1 with t running from 0 at the neck to 1 at the crown, so closed forms
exist. Front (z > 0) and back are one chart each; they meet in a seam along both sides and over the crown.
"""

from __future__ import annotations

import copy
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from avatarzoo import registry
from avatarzoo.batch import Camera, HeadBatch, Mesh, Meta, Texture, View, collate
from avatarzoo.build import build_model
from avatarzoo.capture import CameraTable, CaptureSummary, Topology
from avatarzoo.geometry.cameras import face_to_camera, to_camera, to_clip
from avatarzoo.models.pica import PiCA

WIDTH, DEPTH, HEIGHT = 80.0, 90.0, 220.0  # mm
COLUMNS, ROWS = 10, 8  # quads of one chart; the neck has 2 * COLUMNS edges, more than a hole that is filled
SIZE = (40, 32)  # height, width of the pictures
FRONT, BACK = (0.03, 0.47), (0.53, 0.97)  # the charts' range of u; v runs from 0.05 to 0.95
SEGMENT, FRAMES, CAMERAS = "S1", ("000", "001", "002"), ("front", "side")

TABLES = {"segment": [SEGMENT], "frame": list(FRAMES), "camera": list(CAMERAS), "subject": ["pillow"]}

#: the smallest PiCA that has every part; sizes fit ``summary()``.
PICA: dict[str, dict[str, Any]] = {
    "model": {
        "name": "pica",
        "position_size": 32,
        "geometry_channels": [8],
        "expression_channels": [8],
        "omega": 10.0,
    },
    "encoding": {"name": "learned_maps", "size": 16, "length": 40},
    "driver": {
        "name": "capture_vae",
        "position_size": 32,
        "texture_channels": [4, 4],
        "position_channels": 4,
        "joint_channels": [8, 8],
    },
    "rasterizer": {"name": "warp"},
}


def captures(name: str) -> Path:
    """Return the folder of a capture on this disk, or skip the test."""
    root = Path(os.environ.get("AVATARZOO_CAPTURES", Path(__file__).parents[2] / "shared" / "captures"))
    if not (root / name).is_dir():
        pytest.skip(f"needs the capture {name!r}; set AVATARZOO_CAPTURES to the folder that holds it")
    return root / name


def surface(s: np.ndarray, t: np.ndarray, side: float) -> np.ndarray:
    """Return points of the surface (mm) at s in -1..1, t in 0..1 of the front (side 1) or back (-1) chart."""
    angle = s * np.pi / 2
    radius = np.sqrt(1 - t**2)
    return np.stack([WIDTH * np.sin(angle), HEIGHT * (t - 0.5), side * DEPTH * np.cos(angle) * radius], -1)


def implicit(points: np.ndarray) -> np.ndarray:
    """Return (x / 80)^2 + (z / 90)^2 / (1 - t^2) - 1, 0 on the surface, of N,3 mm."""
    t = points[:, 1] / HEIGHT + 0.5
    return (points[:, 0] / WIDTH) ** 2 + (points[:, 2] / DEPTH) ** 2 / np.maximum(1 - t**2, 1e-9) - 1


def pillow(hole: bool = False, seam_hole: bool = False, mirrored_back: bool = False) -> tuple[Tensor, Topology]:
    """Make the mesh.

    Args:
        hole: leave out two triangles inside the front chart (a hole of 4 edges).
        seam_hole: leave out a triangle on each side of a seam edge (a hole of 4 edges that the seam crosses).
        mirrored_back: give the back chart the handedness opposite to the front's.

    Returns:
        Vertices V,3 mm (triangles counter-clockwise seen from outside), and the topology.
    """
    s, t = np.meshgrid(np.linspace(-1, 1, COLUMNS + 1), np.linspace(0, 1, ROWS + 1))
    index = np.arange(s.size).reshape(s.shape)
    front = surface(s, t, 1).reshape(-1, 3)
    inner = (np.abs(s) < 1) & (t < 1)
    back_index = index.copy()  # the rim belongs to both charts
    back_index[inner] = s.size + np.arange(inner.sum())
    vertices = np.concatenate([front, surface(s, t, -1)[inner]])

    def quads(grid: np.ndarray, flip: bool) -> np.ndarray:
        a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
        rising = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2)
        falling = np.stack([np.stack([a, b, d], -1), np.stack([b, c, d], -1)], 2)
        # no triangle has all its corners on the seam, where front and back would share it
        triangles = np.where((np.arange(COLUMNS) < COLUMNS // 2)[:, None, None], falling, rising).reshape(-1, 3)
        return triangles[:, ::-1] if flip else triangles

    v = 0.05 + 0.9 * t
    ahead = FRONT[0] + (FRONT[1] - FRONT[0]) * (s + 1) / 2
    across = s if mirrored_back else -s
    behind = BACK[0] + (BACK[1] - BACK[0]) * (across + 1) / 2
    uvs = np.concatenate([np.stack([ahead, v], -1).reshape(-1, 2), np.stack([behind, v], -1).reshape(-1, 2)])
    triangles = np.concatenate([quads(index, False), quads(back_index, True)])
    uv_triangles = np.concatenate([quads(index, False), quads(index + s.size, True)])
    keep = np.ones(len(triangles), dtype=bool)
    quad = 2 * (3 * COLUMNS + 4)  # the fourth row's fifth quad
    if hole:
        keep[[quad, quad + 1]] = False
    if seam_hole:
        last = index[4, COLUMNS], index[5, COLUMNS]
        keep[np.isin(triangles, last).sum(1) == 2] = False
    topology = Topology(
        torch.from_numpy(triangles[keep].astype(np.int32)),
        torch.from_numpy(uvs).float(),
        torch.from_numpy(uv_triangles[keep].astype(np.int32)),
    )
    return torch.from_numpy(vertices).float(), topology


def frame_vertices(frame: int) -> Tensor:
    """Return V,3 mm of a frame: the pillow, bent a little."""
    rest = pillow()[0]
    height = rest[:, 1] / HEIGHT + 0.5
    bend = torch.stack([torch.zeros_like(height), 4 * torch.sin(3 * height), 6 * height * (1 - height)], dim=-1)
    return rest + (frame - 1) * bend


def camera_table() -> CameraTable:
    """Return a camera half a metre in front of the face and one to its left; neither is square nor centred."""
    height, width = SIZE
    rotations, centres = [], [(10.0, 5.0, 520.0), (430.0, -20.0, 300.0)]
    for centre in centres:
        forward = -np.array(centre) / np.linalg.norm(centre)
        right = np.cross(forward, (0, 1, 0))
        right /= np.linalg.norm(right)
        rotations.append(np.stack([right, np.cross(forward, right), forward]))
    R = np.stack(rotations)
    t = -np.einsum("cij,cj->ci", R, np.array(centres))
    K = np.array([[62.0, 0, width / 2 + 0.7], [0, 63.0, height / 2 - 1.1], [0, 0, 1]])
    K, R, t = (torch.from_numpy(x).float() for x in (np.stack([K, K]), R, t))
    return CameraTable(list(CAMERAS), K, R, t, SIZE, {"Front": "front", "Left": "side"})


def head_pose() -> Tensor:
    """Return 3,4: a small turn and shift."""
    angle = 0.1
    turn = [[np.cos(angle), 0, np.sin(angle), 3.0], [0, 1, 0, -2.0], [-np.sin(angle), 0, np.cos(angle), 5.0]]
    return torch.tensor(turn, dtype=torch.float32)


def average_texture(frame: int, size: int) -> tuple[Tensor, Tensor]:
    """Return a frame's average texture 3,T,T and coverage 1,T,T: smooth, with an unseen stripe."""
    v, u = torch.meshgrid(*[(torch.arange(size) + 0.5) / size] * 2, indexing="ij")
    colour = torch.stack([0.6 + 0.3 * torch.sin(9 * u), 0.4 + 0.2 * torch.cos(7 * v), 0.3 + 0.2 * u * v])
    seen = ((u < 0.49) | (u > 0.51)).float()[None]
    return (colour + 0.02 * (frame - 1)) * seen, seen


@lru_cache
def _summary(texture_size: int) -> CaptureSummary:
    _, topology = pillow()
    frames = torch.stack([frame_vertices(f) for f in range(3)])
    mean = frames.mean(0)
    average, coverage = average_texture(1, texture_size)
    seen = average[:, coverage[0] > 0]
    axes = torch.linalg.eigh(torch.cov(seen))
    mouth, eyes = torch.zeros(64, 64, dtype=torch.bool), torch.zeros(64, 64, dtype=torch.bool)
    mouth[12:20, 10:22], eyes[36:42, 8:24] = True, True
    return CaptureSummary(
        name="pillow",
        topology=topology,
        cameras=camera_table(),
        vertex_mean=mean,
        vertex_std=float((frames - mean).square().mean().sqrt()),
        texture_mean=average + (1 - coverage) * seen.mean(1)[:, None, None],
        texture_std=0.05,
        colour_mean=seen.mean(1),
        colour_axes=axes.eigenvectors * axes.eigenvalues.clamp_min(1e-6).sqrt(),
        regions={"mouth": mouth, "eyes": eyes},
        neutral_vertices=frame_vertices(1),
        neutral_average=average,
        neutral_coverage=coverage,
        head_pose=head_pose(),
        tables=TABLES,
    )


def summary(texture_size: int = 128) -> CaptureSummary:
    """Return the capture's summary, a copy that may be changed."""
    return copy.deepcopy(_summary(texture_size))


@lru_cache
def _sample(frame: int, camera: int, texture_size: int, pictures: bool) -> HeadBatch:
    table, pose, vertices = camera_table(), head_pose()[None], frame_vertices(frame)[None]
    one = torch.ones(1, dtype=torch.int64)
    eye = Camera(table.K[camera : camera + 1], table.R[camera : camera + 1], table.t[camera : camera + 1], SIZE)
    view = View(eye)
    if pictures:
        _, topology = pillow()
        rasterizer = registry.build("rasterizer", "warp")
        points = to_camera(vertices, *face_to_camera(eye, pose))
        raster = rasterizer.rasterize(to_clip(points, eye.K, SIZE), topology.triangles, SIZE)
        seen = rasterizer.interpolate(torch.cat([vertices, points[..., 2:]], -1), raster, topology.triangles)
        covered = (raster[..., 3] > 0)[:, None]
        view.image = (0.5 + 0.4 * torch.sin(seen[..., :3].permute(0, 3, 1, 2) / 40)) * covered
        view.depth = seen[..., 3:].permute(0, 3, 1, 2).contiguous()
        view.foreground = covered.float()
    average, coverage = average_texture(frame, texture_size)
    meta = Meta(one * 0, one * frame, one * camera, one * 0, one * (100 + 10 * frame + camera), TABLES)
    return HeadBatch(meta, view, Mesh(vertices, pose), Texture(average[None], coverage[None]))


def sample(frame: int = 0, camera: int = 0, texture_size: int = 128, pictures: bool = True) -> HeadBatch:
    """Return one picture of the capture as a batch of size 1, a copy that may be changed."""
    return copy.deepcopy(_sample(frame, camera, texture_size, pictures))


def batch(*places: tuple[int, int], pictures: bool = True) -> HeadBatch:
    """Return a batch of (frame, camera) places; both cameras of frames 0 and 2 by default."""
    return collate([sample(*place, pictures=pictures) for place in places or ((0, 0), (2, 1))])


def pica_config(**changes: Any) -> dict[str, Any]:
    """Return the smallest PiCA's config; ``model__block="A"`` sets model.block."""
    config = copy.deepcopy(PICA)
    for path, value in changes.items():
        node, key = path.split("__")
        config[node][key] = value
    return config


def lively_pica(**changes: Any) -> PiCA:
    """Build the smallest PiCA; unlike a fresh one, every frame and view has its own shape and codes."""
    torch.manual_seed(0)
    model = build_model(pica_config(**changes), summary())
    with torch.no_grad():  # untied biases start at 0
        for part in (model.geometry, model.expression):
            for parameter in part.parameters():
                if (parameter == 0).all():
                    parameter.normal_(0, 0.1)
        model.driver.mean.weight.mul_(5)
    return model


def built_in(kind: str) -> list[str]:
    """Return the names of the components of a kind that AvatarZoo itself brings (tests register toys beside them)."""
    return [n for n in registry.names(kind) if registry.get(kind, n).__module__.startswith("avatarzoo.")]
