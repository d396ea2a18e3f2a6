"""Depth maps to points and normals, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import torch

from avatarzoo.geometry.cameras import project
from avatarzoo.geometry.depth import normals_from_depth, unproject

K = torch.tensor([[[90.0, 1.5, 15.2], [0, 80.0, 9.7], [0, 0, 1]], [[60.0, 0, 12.0], [0, 61.0, 11.0], [0, 0, 1]]]).double()
SIZE = (20, 30)


def plane_depth(normal: np.ndarray, offset: float) -> torch.Tensor:
    """Depth of the plane normal . x = offset through both cameras: z = offset / (normal . ray)."""
    pixels = np.stack([*np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0])), np.ones(SIZE)])
    rays = np.einsum("bij,jhw->bihw", np.linalg.inv(K.numpy()), pixels)
    return torch.from_numpy(offset / np.einsum("i,bihw->bhw", normal, rays))[:, None]


def test_unproject_inverts_projection() -> None:
    depth = torch.from_numpy(np.random.default_rng(0).uniform(500, 600, (2, 1, *SIZE)))
    points = unproject(depth, K)
    pixels = project(points.flatten(2).transpose(1, 2), K).reshape(2, *SIZE, 2)
    torch.testing.assert_close(points[:, 2:], depth)
    torch.testing.assert_close(pixels[..., 0], torch.arange(30).double().expand(2, *SIZE))
    torch.testing.assert_close(pixels[..., 1], torch.arange(20).double()[:, None].expand(2, *SIZE))


def test_a_slanted_plane_has_its_normal_everywhere() -> None:
    for tilt_x, tilt_y in ((0.0, 0.0), (0.5, 0.0), (-0.3, 0.4), (0.0, -0.6)):
        normal = np.array([tilt_x, tilt_y, -1.0]) / math.sqrt(1 + tilt_x**2 + tilt_y**2)  # towards the camera
        found = normals_from_depth(plane_depth(normal, -500.0), K)
        expected = torch.from_numpy(normal)[None, :, None, None].expand(2, 3, SIZE[0] - 1, SIZE[1] - 1)
        torch.testing.assert_close(found[..., :-1, :-1], expected, atol=1e-9, rtol=0)


def test_the_last_row_and_column_say_nothing() -> None:
    found = normals_from_depth(torch.rand(2, 1, *SIZE).double() + 500, K)
    assert found.shape == (2, 3, *SIZE)
    assert (found[..., -1, :] == 0).all() and (found[..., -1] == 0).all()
    torch.testing.assert_close(found[..., :-1, :-1].norm(dim=1), torch.ones(2, SIZE[0] - 1, SIZE[1] - 1).double())


def test_float32_keeps_the_normal_at_half_a_metre() -> None:
    normal = np.array([0.3, -0.2, -1.0]) / math.sqrt(1.13)
    found = normals_from_depth(plane_depth(normal, -500.0).float(), K.float())[..., :-1, :-1]
    assert (found - torch.from_numpy(normal).float()[None, :, None, None]).abs().max() < 1e-3


def test_gradients_agree_with_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    depth = (torch.rand(1, 1, 4, 5, generator=generator, dtype=torch.float64) + 3).requires_grad_()
    small = K[:1] / torch.tensor([[6.0], [6.0], [1.0]])
    assert torch.autograd.gradcheck(lambda d: normals_from_depth(d, small), depth)


def test_empty_depth_gives_no_nan() -> None:
    depth = torch.zeros(1, 1, 5, 5, requires_grad=True)
    normals = normals_from_depth(depth, K[:1].float())
    normals.sum().backward()
    assert torch.isfinite(normals).all() and torch.isfinite(depth.grad).all()
