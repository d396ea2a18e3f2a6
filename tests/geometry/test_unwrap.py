"""A picture's colours at points of a mesh: closed forms of the fixtures' pictures, and an occluder."""

from __future__ import annotations

import fixtures as fx
import numpy as np
import torch

from avatarzoo import registry
from avatarzoo.batch import Camera, HeadBatch
from avatarzoo.geometry.unwrap import unwrap
from avatarzoo.geometry.uv import rasterize_charts

RASTERIZER = registry.build("rasterizer", "warp")


def unwrapped(batch: HeadBatch, size: int = 64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return colours B,N,3, seen B,N and the texels' points B,N,3 of the fixtures' head."""
    _, topology = fx.pillow()
    points = rasterize_charts(topology, size, RASTERIZER).points
    corners = topology.triangles.long()[points.triangle].expand(batch.size, -1, -1)
    weights = points.weights.expand(batch.size, -1, -1)
    mesh, view = batch.mesh, batch.view
    found = unwrap(view.image, view.camera, mesh.head_pose, mesh.vertices, topology.triangles, corners, weights, RASTERIZER)
    return *found, points.gather(mesh.vertices, topology.triangles)


def test_a_texel_gets_the_colour_of_its_point() -> None:
    """The fixtures' pictures colour a point p with 0.5 + 0.4 sin(p / 40)."""
    colours, seen, points = unwrapped(fx.batch())
    expected = 0.5 + 0.4 * torch.sin(points / 40)
    assert 0.15 < seen[0].float().mean() < 0.5  # half the head faces away
    # a pixel is 8 mm wide here
    torch.testing.assert_close(colours[seen], expected[seen], atol=0.08, rtol=0)
    assert (colours[seen] - expected[seen]).abs().mean() < 0.01


def test_what_faces_away_is_not_seen() -> None:
    batch = fx.batch((0, 0), (0, 1))
    _, seen, points = unwrapped(batch)
    pose = fx.head_pose().double().numpy()
    for i in range(2):
        R, t = fx.camera_table().R[i].double().numpy(), fx.camera_table().t[i].double().numpy()
        centre = pose[:, :3].T @ (-R.T @ t - pose[:, 3])
        p = points[i].double().numpy()
        rest = p - np.array([0, 0, 0])
        # gradient of the implicit surface of the unbent pillow, near enough to the normal
        s = p[:, 1] / fx.HEIGHT + 0.5
        outward = np.stack(
            [rest[:, 0] / fx.WIDTH**2, np.zeros(len(p)), rest[:, 2] / fx.DEPTH**2 / np.maximum(1 - s**2, 0.1)], -1
        )
        cosine = (outward * (centre - p)).sum(-1) / np.linalg.norm(outward, axis=-1) / np.linalg.norm(centre - p, axis=-1)
        inner = (s > 0.15) & (s < 0.7)
        assert not seen[i].numpy()[inner & (cosine < -0.1)].any()
        assert seen[i].numpy()[inner & (cosine > 0.6)].mean() > 0.8


def square(z: float, half: float) -> torch.Tensor:
    return torch.tensor([[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]], dtype=torch.float32)


def test_what_hides_behind_an_occluder_is_not_seen() -> None:
    """A small square floats 50 mm in front of a large one, right before the camera."""
    vertices = torch.cat([square(0, 100), square(50, 20)])[None]
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], dtype=torch.int32)
    K = torch.tensor([[[300.0, 0, 49.5], [0, 300.0, 49.5], [0, 0, 1]]])
    flip, t = torch.diag(torch.tensor([1.0, -1, -1]))[None], torch.tensor([[0.0, 0, 500]])
    camera = Camera(K, flip, t, (100, 100))
    row, column = torch.meshgrid(torch.arange(100.0), torch.arange(100.0), indexing="ij")
    image = torch.stack([row, column, row * 0])[None] / 100
    pose = torch.eye(3, 4)[None]
    place = torch.tensor([[0.6, 0.25], [-0.5, 0.5], [0.0, 0.0], [0.1, -0.05]])  # of the large square, in half sides
    corners, weights = torch.tensor([[0, 1, 3]]).expand(4, -1)[None], torch.zeros(1, 4, 3)
    weights[0, :, 1], weights[0, :, 2] = (place[:, 0] + 1) / 2, (place[:, 1] + 1) / 2
    weights[..., 0] = 1 - weights.sum(-1)
    colours, seen = unwrap(image, camera, pose, vertices, triangles, corners, weights, RASTERIZER)
    assert seen.tolist() == [[True, True, False, False]]
    for i in range(2):  # a pinhole: column = fx x / z + cx; y is up, rows run down
        x, y = (place[i] * 100).tolist()
        expected = torch.tensor([49.5 - 300 * y / 500, 49.5 + 300 * x / 500, 0]) / 100
        torch.testing.assert_close(colours[0, i], expected, atol=1e-5, rtol=0)


def test_the_border_of_the_mesh_and_of_the_picture_is_left_out() -> None:
    batch = fx.batch((1, 0))
    batch.view.image = torch.where(batch.view.depth > 0, 1.0, 0.0).expand(-1, 3, -1, -1)
    colours, seen, _ = unwrapped(batch)
    torch.testing.assert_close(colours[seen], torch.ones_like(colours[seen]))  # no background bled in
    batch.view.camera.K[:, 0, 2] -= 500  # the head leaves the picture
    _, seen, _ = unwrapped(batch)
    assert not seen.any()
