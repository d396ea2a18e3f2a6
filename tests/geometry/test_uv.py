"""Texels, resampling and lookups, against loops and closed forms."""

from __future__ import annotations

import fixtures as fx
import numpy as np
import pytest
import torch

from avatarzoo import registry
from avatarzoo.capture import Topology
from avatarzoo.geometry.uv import SurfacePoints, TexelMap, fill_outside, rasterize_charts, sample_map

WARP = registry.build("rasterizer", "warp")
SQUARE = Topology(
    torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32),
    torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]),
    torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32),
)


def bilinear_loop(values: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """C,P,Q looked up at N,2: texel centres at (i + 0.5) / size, clamped at the border."""
    _, height, width = values.shape
    result = np.zeros((len(uv), len(values)))
    for n, (u, v) in enumerate(uv):
        x, y = min(max(u * width - 0.5, 0), width - 1), min(max(v * height - 0.5, 0), height - 1)
        left, top = min(int(x), width - 2) if width > 1 else 0, min(int(y), height - 2) if height > 1 else 0
        right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
        a, b = x - left, y - top
        upper = (1 - a) * values[:, top, left] + a * values[:, top, right]
        lower = (1 - a) * values[:, bottom, left] + a * values[:, bottom, right]
        result[n] = (1 - b) * upper + b * lower
    return result


@pytest.mark.parametrize("shape", [(4, 7, 7), (2, 5, 9), (3, 1, 11)])
def test_sample_map_is_the_bilinear_loop(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    values, uv = rng.normal(size=shape), rng.uniform(-0.3, 1.3, (200, 2))
    uv[:4] = [[0, 0], [1, 1], [0.5, 0], [1, 0.5]]
    found = sample_map(torch.from_numpy(values)[None], torch.from_numpy(uv))[0].numpy()
    np.testing.assert_allclose(found, bilinear_loop(values, uv), atol=1e-10)
    found = sample_map(torch.from_numpy(values)[None].float(), torch.from_numpy(uv))[0].numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, bilinear_loop(values, uv.astype(np.float32).astype(np.float64)), atol=2e-5)


def test_sample_map_returns_texels_at_their_centres() -> None:
    values = torch.arange(12.0).reshape(1, 1, 3, 4)
    centres = torch.tensor([[(0 + 0.5) / 4, (0 + 0.5) / 3], [(3 + 0.5) / 4, (1 + 0.5) / 3], [(1 + 0.5) / 4, (2 + 0.5) / 3]])
    torch.testing.assert_close(sample_map(values, centres)[0, :, 0], torch.tensor([0.0, 7.0, 9.0]))


def test_sample_map_takes_uvs_per_image_or_for_all() -> None:
    generator = torch.Generator().manual_seed(0)
    values, uv = torch.rand(2, 3, 6, 6, generator=generator), torch.rand(2, 9, 2, generator=generator)
    each = torch.cat([sample_map(values[i : i + 1], uv[i]) for i in range(2)])
    torch.testing.assert_close(sample_map(values, uv), each)
    torch.testing.assert_close(sample_map(values, uv[0])[0], each[0])


def test_sample_map_stays_in_float32_under_autocast() -> None:
    values = torch.linspace(0, 1, 1024)[None, None, None].expand(1, 1, 2, 1024).contiguous()
    uv = torch.tensor([[0.7123, 0.5]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = sample_map(values, uv)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, sample_map(values, uv), rtol=0, atol=0)


def test_gather_interpolates_corners() -> None:
    triangles = torch.tensor([[0, 1, 2], [2, 1, 3]])
    points = SurfacePoints(torch.tensor([1, 0]), torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]]))
    attributes = torch.tensor([[[1.0, 0.0], [10.0, 1.0], [100.0, 2.0], [1000.0, 4.0]]])
    expected = torch.tensor([[[0.2 * 100 + 0.3 * 10 + 0.5 * 1000, 0.2 * 2 + 0.3 * 1 + 0.5 * 4], [1.0, 0.0]]])
    torch.testing.assert_close(points.gather(attributes, triangles), expected)


def test_a_plane_becomes_the_texel_centres() -> None:
    texels = rasterize_charts(SQUARE, 8, WARP)
    found = texels.to_map(SQUARE.uvs[None], SQUARE.uv_triangles)[0]
    centres = (torch.arange(8) + 0.5) / 8
    assert texels.covered.all()
    torch.testing.assert_close(found[0], centres.expand(8, 8), atol=1e-5, rtol=0)  # u runs along the columns
    torch.testing.assert_close(found[1], centres[:, None].expand(8, 8), atol=1e-5, rtol=0)  # row 0 lies at v = 0


def test_texels_lie_in_the_triangle_they_name() -> None:
    _, topology = fx.pillow()
    texels = rasterize_charts(topology, 48, WARP)
    rows, columns = texels.covered.nonzero(as_tuple=True)
    centres = (torch.stack([columns, rows], -1) + 0.5) / 48
    found = texels.points.gather(topology.uvs[None], topology.uv_triangles)[0]
    gap = (found - centres).abs().amax(1)
    assert gap.max() < 1 / 16 / 48  # coverage is decided on corners snapped to 1/16 texel
    assert (gap > 2e-5).float().mean() < 0.02
    assert texels.points.weights.min() >= 0
    torch.testing.assert_close(texels.points.weights.sum(1), torch.ones(len(centres)))
    u, v = centres.unbind(1)
    snap = 1 / 16 / 48
    assert (((u > 0.03 - snap) & (u < 0.47 + snap)) | ((u > 0.53 - snap) & (u < 0.97 + snap))).all()
    assert ((v > 0.05 - snap) & (v < 0.95 + snap)).all()
    expected = 0.9 * 0.44 * 2 * 48**2  # the charts' area in texels, to a row or so along their borders
    assert abs(len(centres) - expected) < 0.5 * 4 * (0.9 + 0.44) * 48


def test_to_map_is_zero_off_the_charts_and_differentiable() -> None:
    covered = torch.tensor([[False, True], [True, False]])
    points = SurfacePoints(torch.tensor([0, 0]), torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]))
    values = torch.tensor([[[2.0], [4.0], [8.0]]], requires_grad=True)
    found = TexelMap(covered, points).to_map(values, torch.tensor([[0, 1, 2]]))
    torch.testing.assert_close(found, torch.tensor([[[[0.0, 3.0], [8.0, 0.0]]]]))
    found.sum().backward()
    torch.testing.assert_close(values.grad[0, :, 0], torch.tensor([0.5, 0.5, 1.0]))


@pytest.mark.parametrize("shape", [(16, 16), (13, 13), (7, 12)])
def test_fill_outside_keeps_what_is_known_and_stays_between_it(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(3, *shape, generator=generator) + 1
    covered = torch.rand(shape, generator=generator) < 0.2
    filled = fill_outside(values * covered, covered)
    torch.testing.assert_close(filled[:, covered], values[:, covered], rtol=0, atol=0)
    for channel in range(3):
        known = values[channel, covered]
        assert filled[channel].min() >= known.min() - 1e-5
        assert filled[channel].max() <= known.max() + 1e-5


def test_fill_outside_spreads_a_single_texel_everywhere() -> None:
    values, covered = torch.zeros(2, 9, 9), torch.zeros(9, 9, dtype=torch.bool)
    covered[3, 7], values[:, 3, 7] = True, torch.tensor([0.25, 4.0])
    expected = torch.tensor([0.25, 4.0])[:, None, None].expand(2, 9, 9)
    torch.testing.assert_close(fill_outside(values, covered), expected)


def test_fill_outside_takes_nearer_colours_nearby() -> None:
    values, covered = torch.zeros(1, 16, 16), torch.zeros(16, 16, dtype=torch.bool)
    covered[:, 0], covered[:, 15], values[:, :, 15] = True, True, 1.0
    filled = fill_outside(values, covered)[0].mean(0)
    assert (filled.diff() >= -1e-6).all()
    assert filled[3] < 0.35 < 0.65 < filled[12]


def test_fill_outside_blends_fractional_weights() -> None:
    values = torch.ones(1, 4, 4)
    values[:, :, 0] = 5.0
    weight = torch.ones(4, 4)
    weight[:, 0] = 0.5
    filled = fill_outside(values, weight)[0]
    torch.testing.assert_close(filled[:, 1:], values[0, :, 1:])
    around = (0.5 * 5 + 1 * 1) / 1.5  # the weighted mean of the 2 x 2 texels above it
    torch.testing.assert_close(filled[:, 0], torch.full((4,), 0.5 * 5 + 0.5 * around))
