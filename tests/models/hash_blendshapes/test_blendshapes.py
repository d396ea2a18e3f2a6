"""Local tables, their blend, and the U-Net in UV space."""

from __future__ import annotations

from typing import Any

import fixtures as fx
import pytest
import torch

from avatarzoo import registry
from avatarzoo.capture import CaptureSummary, Topology
from avatarzoo.config import load
from avatarzoo.errors import ConfigError
from avatarzoo.models.hash_blendshapes.anchors import Anchors
from avatarzoo.models.hash_blendshapes.blendshapes import LocalBlendshapes
from avatarzoo.models.hash_blendshapes.unet import UVNet

GRID = {"name": "hash_grid", "levels": 2, "channels": 4, "log2_table_size": 5, "coarsest": 4, "finest": 8}


def make(encoding: dict[str, Any] | None = None, **changes: Any) -> tuple[LocalBlendshapes, Anchors]:
    torch.manual_seed(0)
    options = {
        "blendshapes": 3, "features": 6, "expression": "unet", "uv_size": 16, "encoder": [4, 8], "decoder": [8, 8, 8],
        "weight_bias": 0.1, "weight_scale": 0.01,
    }  # fmt: skip
    shapes, anchors, summary = LocalBlendshapes(encoding or GRID, **(options | changes)), Anchors(), fx.summary()
    anchors.bind(summary, 40, 1.0)
    shapes.bind(summary, anchors, registry.build("rasterizer", "warp"))
    return shapes, anchors


def test_the_published_unet_has_as_many_parameters_as_counted() -> None:
    net = UVNet(128, [8, 16, 32, 64, 128, 256], [128, 64, 64, 64, 64, 64, 64], 28)
    assert sum(p.numel() for p in net.parameters()) == 2_815_028
    assert net(torch.zeros(1, 3, 128, 128)).shape == (1, 28, 128, 128)
    with pytest.raises(ConfigError, match="one width more"):
        UVNet(128, [8, 16], [8, 8], 4)
    with pytest.raises(ConfigError, match="divisible by 4"):
        UVNet(30, [8, 16], [8, 8, 8], 4)


def test_blending_tables_is_blending_lookups() -> None:
    shapes, _ = make()
    with torch.no_grad():
        shapes.grid.values.normal_()
    weights = torch.randn(2, 40, 3)
    points, anchor = torch.rand(50, 3), torch.randint(40, (50,))
    image = torch.arange(50) % 2
    merged = shapes.look_up(points, shapes.blend_tables(weights), image * 40 + anchor)
    expected = torch.zeros(50, 8)
    for shape in range(3):
        each = shapes.grid(points, anchor * 3 + shape)
        expected += weights[image, anchor, shape, None] * each
    torch.testing.assert_close(merged, expected, rtol=1e-4, atol=1e-5)


def test_the_displacement_map_shows_where_and_how_far() -> None:
    shapes, _ = make()
    neutral = fx.summary().neutral_vertices
    assert shapes.displacement_map(neutral[None]).abs().max() == 0
    shift = torch.tensor([1.0, -2.0, 3.0])
    moved = shapes.displacement_map((neutral + shift)[None])
    expected = (shift / fx.summary().vertex_std)[None, :, None, None].expand(1, 3, 16, 16)
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-4)  # off the charts too: seams read on
    high = neutral.clone()
    high[:, 0] += (neutral[:, 1] > 0) * 5.0
    v = (torch.arange(16) + 0.5) / 16
    rows = shapes.displacement_map(high[None])[0, 0].mean(1)
    assert rows[v > 0.6].min() > 3 * rows[v < 0.4].max().clamp_min(0.01)  # row 0 is v = 0: the neck


def test_displacements_may_be_taken_from_the_mean() -> None:
    summary = fx.summary()
    shift = torch.tensor([2.0, 0.0, -1.0]) * summary.vertex_std
    shapes, _ = make(displacement_input="from_mean")
    found = shapes.displacement_map((summary.vertex_mean + shift)[None])
    torch.testing.assert_close(found[0, :, 3, 5], torch.tensor([2.0, 0.0, -1.0]), rtol=1e-4, atol=1e-4)
    with pytest.raises(ConfigError, match="from_neutral or from_mean"):
        make(displacement_input="from_zero")


def test_weights_and_features_depend_on_the_expression_and_the_last_weight_is_1() -> None:
    shapes, anchors = make()
    scene = shapes(torch.stack([fx.frame_vertices(0), fx.frame_vertices(2)]), anchors)
    assert scene.blend.shape == (2, 40, 3) and (scene.blend[..., -1] == 1).all()
    assert (scene.blend[..., :2] - 0.1).abs().max() < 0.3  # around weight_bias, so that tables and weights both learn
    assert scene.features.shape == (80, 6) and not torch.allclose(scene.features[:40], scene.features[40:])
    assert scene.tables.shape == (80, 64, 4)
    static, _ = make(blendshapes=1, expression="static")
    still = static(torch.stack([fx.frame_vertices(0), fx.frame_vertices(2)]), anchors)
    assert torch.equal(still.features[:40], still.features[40:]) and torch.equal(still.tables[:40], still.tables[40:])


def test_without_tables_only_features_are_left() -> None:
    shapes, anchors = make({"name": "none"})
    scene = shapes(fx.frame_vertices(0)[None], anchors)
    assert scene.tables is None and shapes.table_channels == 0 and scene.features.shape == (40, 6)


def test_options_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="1 with expression=static"):
        make(expression="static")
    with pytest.raises(ConfigError, match="hash_grid or none"):
        make({"name": "sinusoidal"})
    with pytest.raises(ConfigError, match="unet or static"):
        make(expression="cnn")


def test_paper_scale_on_flames_topology_has_the_published_tables() -> None:
    """1,772 anchors x 5 tables x 2 levels x 256 entries x 4 channels = 18,145,280."""
    resolved = load("hash_blendshapes", ["scale=paper"]).resolved
    model = resolved["model"]
    anchors = Anchors()
    anchors.bind(flame_like(), model["anchors"], model["anchor_density"])
    assert len(anchors) == 1772
    assert (anchors.ids[:-10] < 3931).all() and (anchors.ids[-10:] >= 3931).all()  # the irises' ten stand on the eyeballs
    node = resolved["encoding"] | {"tables": len(anchors) * model["blendshapes"]}
    assert registry.build("encoding", node, 3).values.numel() == 18_145_280


def flame_like() -> CaptureSummary:
    """A ball with FLAME's number of vertices; which triangles there are does not matter here."""
    points = 100 * torch.nn.functional.normalize(torch.randn(5023, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    triangles = (torch.arange(5021)[:, None] + torch.arange(3)).int()
    summary = fx.summary()
    summary.topology, summary.neutral_vertices = Topology(triangles, points[:, :2] / 200 + 0.5, triangles), points
    return summary
