from __future__ import annotations

import pytest
import torch
from raster_scenes import grid, scene

from avatarzoo import registry
from avatarzoo.rasterizers import torch as oracle


@pytest.fixture
def rasterizer():
    return registry.build("rasterizer", "torch")


def test_draws_float64_as_float32(rasterizer):
    clip, triangles, size = scene("crowded")
    fine = rasterizer.rasterize(clip.double(), triangles, size)
    assert fine.dtype == torch.float64
    torch.testing.assert_close(fine.float(), rasterizer.rasterize(clip, triangles, size))


def test_gradients_pass_gradcheck_in_float64(rasterizer):
    clip, triangles = grid(2, 2, 0.3, 0, (5, 6))
    clip = clip.double().requires_grad_()
    first = rasterizer.rasterize(clip, triangles, (5, 6)).detach()
    inside = (first[..., 0] > 1e-2) & (first[..., 1] > 1e-2) & (first[..., 0] + first[..., 1] < 0.99)
    assert inside.sum() > 8

    def weights(positions):
        return rasterizer.rasterize(positions, triangles, (5, 6))[inside][:, :2]

    free = torch.tensor([True, True, False, True])  # z has no gradient by convention
    held = clip.detach()[..., 2:3]

    def of_free(xyw):
        return weights(torch.cat([xyw[..., :2], held, xyw[..., 2:]], -1))

    assert torch.autograd.gradcheck(of_free, clip.detach()[..., free].requires_grad_(), eps=1e-7, atol=1e-5)
    (gradient,) = torch.autograd.grad(weights(clip).sum(), clip)
    assert (gradient[..., 2] == 0).all()


def test_a_clamped_pixel_keeps_the_gradient_of_its_unclamped_weights(rasterizer):
    # The left edge passes 1/50 pixel right of a column's centres; snapped to 1/16 pixel it runs through them.
    width, column = 64, 23
    edge = (2 * column + 1 + 0.04) / width - 1
    clip = torch.tensor([[[edge, -2.0, 0, 1], [edge, 2.0, 0, 1], [3.0, 0.0, 0, 1]]], dtype=torch.float64).requires_grad_()
    raster = rasterizer.rasterize(clip, torch.tensor([[0, 1, 2]], dtype=torch.int32), (5, width))
    picked = raster[0, :, column]
    assert (picked[:, 3] > 0).all()
    assert (picked[:, 0] + picked[:, 1]).max() <= 1
    (gradient,) = torch.autograd.grad(picked[:, 0].sum(), clip)
    assert gradient.abs().max() > 0.1


def test_memory_is_bounded_by_drawing_in_parts(rasterizer, monkeypatch):
    clip, triangles, size = scene("huge")
    expected = rasterizer.rasterize(clip, triangles, size)
    monkeypatch.setattr(oracle, "PAIRS_AT_ONCE", 1000)
    assert torch.equal(rasterizer.rasterize(clip, triangles, size), expected)
