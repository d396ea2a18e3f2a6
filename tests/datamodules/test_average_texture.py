"""Back-projection onto a plate and onto a ball, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_capture as tiny
import torch

from avatarzoo import registry
from avatarzoo.batch import Camera
from avatarzoo.capture import Topology
from avatarzoo.datamodules.average_texture import BackProjector
from avatarzoo.geometry.cameras import resize_intrinsics

SIZE = 48


def plate(half: float, z: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One plate across at depth z, two triangles facing +z."""
    corners = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    return np.c_[corners * half, np.full(4, z)], (corners + 1) / 2, np.array([[0, 1, 2], [0, 2, 3]])


def topology(uvs: np.ndarray, triangles: np.ndarray) -> Topology:
    ids = torch.tensor(triangles, dtype=torch.int32)
    return Topology(ids, torch.tensor(uvs, dtype=torch.float32), ids)


def cameras(*yaws: float, scale: int = 1) -> Camera:
    K, R, t = (torch.tensor(np.stack(x), dtype=torch.float32) for x in zip(*(tiny.camera(y) for y in yaws), strict=True))
    return Camera(resize_intrinsics(K, scale, scale), R, t, (scale * tiny.HEIGHT, scale * tiny.WIDTH))


@pytest.fixture(scope="module")
def warp():
    return registry.build("rasterizer", "warp")


IDENTITY = torch.eye(4)[:3]


def painted(*levels: int, scale: int = 1) -> list[torch.Tensor]:
    return [torch.full((scale * tiny.HEIGHT, scale * tiny.WIDTH, 3), level, dtype=torch.uint8) for level in levels]


def test_cameras_are_weighted_by_the_squared_cosine(warp) -> None:
    vertices, uvs, triangles = plate(30, 0)
    projector = BackProjector(topology(uvs, triangles), SIZE, warp)
    yaws = (0.0, 50.0)
    average, coverage = projector.average(torch.tensor(vertices).float(), IDENTITY, cameras(*yaws), painted(100, 200))
    assert bool(coverage[0, 8:-8, 8:-8].all())
    centre = np.zeros(3)
    weights = []
    for yaw in yaws:
        _, R, t = tiny.camera(yaw)
        towards = -R.T @ t - centre
        weights.append((towards[2] / np.linalg.norm(towards)) ** 2)
    expected = np.average([100, 200], weights=weights)
    middle = average[0, SIZE // 2, SIZE // 2]
    assert float(middle) == pytest.approx(expected, abs=1.0)


def test_what_stands_in_front_hides_what_is_behind(warp) -> None:
    """A small plate 100 mm in front of a large one: the shadow of each camera is unseen, by both where they meet."""
    back, back_uv, back_triangles = plate(60, 0)
    front, front_uv, front_triangles = plate(15, 100)
    vertices = torch.tensor(np.concatenate([back, front])).float()
    uvs = np.concatenate([back_uv * [0.5, 1], front_uv * [0.5, 1] + [0.5, 0]])  # two charts, left and right
    projector = BackProjector(topology(uvs, np.concatenate([back_triangles, front_triangles + 4])), SIZE, warp)
    _, seen = projector.average(vertices, IDENTITY, cameras(0.0, scale=4), painted(90, scale=4))
    assert bool(seen[0, 6:-6, SIZE // 2 + 3 : -3].all()), "the front plate is seen"
    chart = seen[0, :, : SIZE // 2]
    eye = -tiny.camera(0.0)[1].T @ tiny.camera(0.0)[2]
    v, u = np.mgrid[:SIZE, : SIZE // 2]
    points = np.stack([((u + 0.5) / (SIZE / 2) * 2 - 1) * 60, ((v + 0.5) / SIZE * 2 - 1) * 60, np.zeros_like(u)], axis=-1)
    at_front = eye + (points - eye) * ((100 - eye[2]) / (0 - eye[2]))
    off = np.maximum(abs(at_front[..., 0]), abs(at_front[..., 1])) - 15
    assert not bool(chart[torch.tensor(off < 0)].any()), "behind the front plate"
    clear = (off > 5) & (abs(points[..., 0]) < 48) & (abs(points[..., 1]) < 48)
    assert bool(chart[torch.tensor(clear)].all()), "beside it"


def test_backs_are_unseen_whatever_the_winding(warp) -> None:
    """A ball shows each camera its near half, whether triangles are listed clockwise or not."""
    rows, columns = 24, 48
    v, u = np.meshgrid(np.linspace(0, 1, rows + 1), np.linspace(0, 1, columns + 1), indexing="ij")
    theta, phi = np.pi * (v - 0.5), 2 * np.pi * u
    ball = 40 * np.stack([np.cos(theta) * np.sin(phi), np.sin(theta), np.cos(theta) * np.cos(phi)], axis=-1).reshape(-1, 3)
    ids = np.arange(ball.shape[0]).reshape(rows + 1, columns + 1)
    quads = np.stack([ids[:-1, :-1], ids[:-1, 1:], ids[1:, 1:], ids[1:, :-1]], axis=-1).reshape(-1, 4)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    uvs = np.stack([u.ravel(), v.ravel()], axis=1)
    results = []
    for order in ([0, 1, 2], [0, 2, 1]):
        projector = BackProjector(topology(uvs, triangles[:, order]), SIZE, warp)
        average, seen = projector.average(torch.tensor(ball).float(), IDENTITY, cameras(0.0, scale=4), painted(77, scale=4))
        results.append(seen)
        assert bool((average[:, seen[0]] == 77).all()) and bool((average[:, ~seen[0]] == 0).all())
    assert torch.equal(*results)
    column = results[0][0, SIZE // 2]
    facing = torch.tensor(np.cos(2 * np.pi * (np.arange(SIZE) + 0.5) / SIZE))
    assert bool(column[facing > 0.45].all()) and not bool(column[facing < 0.05].any())


def test_nothing_of_the_background_bleeds_in(warp) -> None:
    """A picture that is right on the plate and glaring off it, also at the plate's rim."""
    vertices, uvs, triangles = tiny.grid()
    projector = BackProjector(topology(uvs, triangles), SIZE, warp)
    pixels, depth = tiny.draw(*tiny.camera(0.0), np.eye(4)[:3])
    pixels = np.where(depth[..., None] > 0, np.minimum(pixels, 180), 255).astype(np.uint8)
    average, seen = projector.average(torch.tensor(vertices).float(), IDENTITY, cameras(0.0), [torch.from_numpy(pixels)])
    assert float(average.max()) <= 180 and seen.float().mean() > 0.5


def test_a_camera_behind_or_past_the_head_adds_nothing(warp) -> None:
    vertices, uvs, triangles = plate(30, 0)
    projector = BackProjector(topology(uvs, triangles), SIZE, warp)
    away = cameras(0.0)
    away.t[0, 2] = -800.0
    aside = cameras(0.0)
    aside.t[0, 0] = 5000.0
    projector.average(torch.tensor(vertices).float(), IDENTITY, cameras(0.0), painted(90))  # learns which side is outside
    for camera in (cameras(180.0), away, aside):
        average, seen = projector.average(torch.tensor(vertices).float(), IDENTITY, camera, painted(90))
        assert not bool(seen.any()) and not bool(average.any())
