"""The tracked raster and its regions."""

import fixtures
import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion

from avatarzoo.benchmark.regions import draw_tracked, fixed_rasterizer, silhouette_ring, split_regions
from avatarzoo.errors import DataError


def test_the_tracked_raster_covers_what_the_capture_shows() -> None:
    batch = fixtures.batch((0, 0), (1, 1), (2, 1))
    tracked, uv = draw_tracked(batch, fixtures.summary(), fixed_rasterizer())
    assert torch.equal(tracked, batch.view.foreground > 0)
    assert uv.shape == (3, *fixtures.SIZE, 2)
    front = uv[0][tracked[0, 0]]
    assert front[:, 0].max() < 0.5, "the camera in front sees the front chart only"


def test_ring_is_the_mask_without_its_erosion() -> None:
    mask = torch.rand(2, 1, 20, 17, generator=torch.Generator().manual_seed(0)) > 0.2
    mask[1, :, :9] = True  # reaches the picture's border, which is no silhouette
    for i, ring in enumerate(silhouette_ring(mask)):
        inside = binary_erosion(mask[i, 0].numpy(), structure=np.ones((3, 3)), border_value=1)
        assert np.array_equal(ring[0].numpy(), mask[i, 0].numpy() & ~inside)
    assert not silhouette_ring(torch.ones(1, 1, 5, 5, dtype=torch.bool)).any()


def test_regions_divide_the_pixels_and_follow_the_masks() -> None:
    batch, summary = fixtures.batch((0, 0), (1, 1)), fixtures.summary()
    tracked, uv = draw_tracked(batch, summary, fixed_rasterizer())
    parts = split_regions(tracked, tracked, uv, summary)
    assert list(parts) == ["eyes", "mouth", "silhouette", "rest"]
    assert torch.equal(torch.stack(list(parts.values())).sum(0), tracked.long())
    assert all(bool(mask.any()) for mask in parts.values())
    side = summary.regions["mouth"].shape[0]
    for b, _, row, column in parts["mouth"].nonzero().tolist():
        u, v = uv[b, row, column].tolist()
        assert summary.regions["mouth"][int(v * side), int(u * side)]


def test_pixels_off_the_tracked_mesh_belong_to_no_named_region() -> None:
    batch, summary = fixtures.batch((1, 0)), fixtures.summary()
    summary.regions["corner"] = torch.zeros(64, 64, dtype=torch.bool)
    summary.regions["corner"][0, 0] = True  # uv is 0 off the mesh
    tracked, uv = draw_tracked(batch, summary, fixed_rasterizer())
    everywhere = torch.ones_like(tracked)
    parts = split_regions(everywhere, tracked, uv, summary)
    assert not parts["corner"].any()
    assert torch.equal(parts["rest"], everywhere & ~parts["mouth"] & ~parts["eyes"])


def test_a_capture_without_a_mesh_is_an_error() -> None:
    batch = fixtures.batch((0, 0))
    batch.mesh = None
    with pytest.raises(DataError, match="tracked mesh"):
        draw_tracked(batch, fixtures.summary(), fixed_rasterizer())
