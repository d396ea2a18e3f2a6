"""Covered shares of pixels, against areas known in closed form."""

from __future__ import annotations

import fixtures as fx
import numpy as np
import pytest
import torch

from avatarzoo import registry
from avatarzoo.geometry.cameras import face_to_camera, to_camera, to_clip
from avatarzoo.rasterizers.coverage import add_touched_pixels

WARP = registry.build("rasterizer", "warp")
TRIANGLES = torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32)
K = torch.eye(3)[None]


def rectangle(left: float, top: float, right: float, bottom: float, depth: float = 100.0) -> torch.Tensor:
    """A rectangle in pixel coordinates (pixel n spans n - 0.5 to n + 0.5), as clip-space corners."""
    corners = torch.tensor([[left, top, 1], [right, top, 1], [right, bottom, 1], [left, bottom, 1]]) * depth
    return to_clip(corners[None], K, (8, 10))


def extend(clip: torch.Tensor, samples: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    raster = WARP.rasterize(clip, TRIANGLES, (8, 10))
    return raster, *add_touched_pixels(WARP, clip, TRIANGLES, raster, samples)


@pytest.mark.parametrize(("samples", "edges"), [(2, (2.0, 3.0, 6.5, 5.0)), (4, (1.75, 2.25, 6.25, 5.0))])
def test_the_share_is_the_area(samples: int, edges: tuple[float, float, float, float]) -> None:
    """Edges that run between the samples: then each sample stands for its own square."""
    left, top, right, bottom = edges
    _, _, share = extend(rectangle(*edges), samples)

    def overlap(count: int, low: float, high: float) -> np.ndarray:
        n = np.arange(count)
        return np.clip(np.minimum(n + 0.5, high) - np.maximum(n - 0.5, low), 0, 1)

    expected = overlap(8, top, bottom)[:, None] * overlap(10, left, right)
    assert 0 < (expected % 1 > 0).sum() < expected.size
    np.testing.assert_allclose(share[0].numpy(), expected, atol=1e-6)


def test_touched_pixels_join_and_drawn_ones_stay() -> None:
    clip = rectangle(1.75, 2.25, 6.25, 5.25)
    before, after, share = extend(clip, 4)
    drawn = before[..., 3] > 0
    assert torch.equal(after[drawn], before[drawn])
    assert torch.equal(after[..., 3] > 0, share > 0)
    joined = (after[..., 3] > 0) & ~drawn
    # pixel centres at 6 are inside, at 7 outside and out of reach; row 5's centre is inside, row 2's outside but touched
    assert joined.sum() > 0
    assert set(joined.nonzero()[:, 1].tolist()) == {2}
    assert ((after[joined][:, 3] == 1) | (after[joined][:, 3] == 2)).all()
    u, v = after[joined][:, 0], after[joined][:, 1]
    assert (u >= 0).all() and (v >= 0).all() and (u + v <= 1).all()
    # their weights are those of a point inside the pixel and inside the rectangle
    corners = torch.tensor([[1.75, 2.25], [6.25, 2.25], [6.25, 5.25], [1.75, 5.25]])
    rows, columns = joined.nonzero()[:, 1], joined.nonzero()[:, 2]
    weights = torch.stack([u, v, 1 - u - v], -1)
    points = (weights[..., None] * corners[TRIANGLES[after[joined][:, 3].long() - 1].long()]).sum(1)
    assert ((points[:, 0] - columns).abs() <= 0.5 + 1e-3).all() and ((points[:, 1] - rows).abs() <= 0.5 + 1e-3).all()
    assert (points[:, 1] >= 2.25 - 1e-3).all()


def test_a_drawn_pixel_has_a_share() -> None:
    clip = rectangle(2.9, 2.9, 3.1, 3.1)  # covers one centre and no sample
    before, _, share = extend(clip, 2)
    assert before[0, 3, 3, 3] > 0 and int((before[..., 3] > 0).sum()) == 1
    assert float(share[0, 3, 3]) == pytest.approx(1 / 4)
    assert float(share.sum()) == pytest.approx(1 / 4)


def test_nothing_is_nothing() -> None:
    before, after, share = extend(rectangle(-40, -40, -30, -30), 2)
    assert (after == 0).all() and (share == 0).all() and (before == 0).all()


def test_gradients_flow_through_drawn_pixels_only() -> None:
    clip = rectangle(1.75, 2.25, 6.25, 5.25).requires_grad_()
    before, after, share = extend(clip, 4)
    assert not share.requires_grad
    joined = (after[..., 3] > 0) & (before[..., 3] == 0)
    seed = torch.randn(after.shape, generator=torch.Generator().manual_seed(0))
    (alone,) = torch.autograd.grad((before * seed).sum(), clip, retain_graph=True)
    (both,) = torch.autograd.grad((after * seed).sum(), clip, retain_graph=True)
    torch.testing.assert_close(both, alone)
    assert alone.abs().sum() > 0
    (none,) = torch.autograd.grad((after[joined]).sum(), clip)
    assert (none == 0).all()


def test_a_picture_s_interior_is_fully_covered() -> None:
    batch = fx.batch()
    _, topology = fx.pillow()
    points = to_camera(batch.mesh.vertices, *face_to_camera(batch.view.camera, batch.mesh.head_pose))
    clip = to_clip(points, batch.view.camera.K, fx.SIZE)
    before = WARP.rasterize(clip, topology.triangles, fx.SIZE)
    after, share = add_touched_pixels(WARP, clip, topology.triangles, before, 3)
    drawn = (before[..., 3] > 0).float()[:, None]
    inside = -torch.nn.functional.max_pool2d(-drawn, 3, 1, 1)[:, 0] > 0
    assert inside.any() and (share[inside] == 1).all()
    outside = torch.nn.functional.max_pool2d(drawn, 3, 1, 1)[:, 0] == 0
    assert (share[outside] == 0).all() and (after[outside] == 0).all()
