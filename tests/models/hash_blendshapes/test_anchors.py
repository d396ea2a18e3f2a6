"""Anchors: a Poisson-disk subset, frames that move with the mesh."""

from __future__ import annotations

import fixtures as fx
import pytest
import torch

from avatarzoo.capture import CaptureSummary, Topology
from avatarzoo.errors import ConfigError
from avatarzoo.models.hash_blendshapes.anchors import FLAME_DENSITY, Anchors, choose_anchors, surface_area


def bound(summary: CaptureSummary, count: int | None = 60, density: float = FLAME_DENSITY) -> Anchors:
    anchors = Anchors()
    anchors.bind(summary, count, density)
    return anchors


def test_every_prefix_is_a_maximal_poisson_disk_set() -> None:
    vertices, topology = fx.pillow()
    chosen = vertices[choose_anchors(vertices, topology.triangles, 80)]
    for count in (10, 40, 80):
        some = chosen[:count]
        radius = torch.cdist(some, some).fill_diagonal_(torch.inf).min()
        assert torch.cdist(vertices, some).amin(1).max() <= radius + 1e-4  # no vertex is farther than the disks' radius
    assert len(set(map(tuple, chosen.tolist()))) == 80


def test_how_many() -> None:
    vertices, topology = fx.pillow()
    area = surface_area(vertices, topology.triangles)
    assert len(choose_anchors(vertices, topology.triangles, None, 0.1)) == round(0.1 * area)
    assert len(choose_anchors(vertices, topology.triangles, None, 9.0)) == len(vertices)
    with pytest.raises(ConfigError, match="asks for 9999"):
        choose_anchors(vertices, topology.triangles, 9999)
    loose = torch.cat([vertices, torch.full((3, 3), 500.0)])  # vertices that no triangle uses are no candidates
    assert int(choose_anchors(loose, topology.triangles, len(vertices)).max()) < len(vertices)


def plane() -> CaptureSummary:
    """A 5 x 5 grid in the plane z = 0 whose u runs along (3, 4, 0) / 5."""
    i, j = torch.meshgrid(torch.arange(5.0), torch.arange(5.0), indexing="ij")
    along, up = torch.tensor([0.6, 0.8, 0]), torch.tensor([-0.8, 0.6, 0])
    vertices = 10 * (i.reshape(-1, 1) * along + j.reshape(-1, 1) * up)
    uvs = torch.stack([i.reshape(-1), j.reshape(-1)], dim=1) / 4
    index = torch.arange(25).reshape(5, 5)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    triangles = torch.cat([torch.stack([a, b, c], -1).reshape(-1, 3), torch.stack([a, c, d], -1).reshape(-1, 3)]).int()
    summary = fx.summary()
    summary.topology, summary.neutral_vertices, summary.vertex_mean = (
        Topology(triangles, uvs, triangles),
        vertices,
        vertices,
    )
    return summary


def test_the_tangent_is_the_derivative_along_u() -> None:
    summary = plane()
    frames = bound(summary, 25)(summary.neutral_vertices[None])
    expected = torch.tensor([[0.6, 0.8, 0], [-0.8, 0.6, 0], [0, 0, 1.0]]).expand(1, 25, 3, 3)
    torch.testing.assert_close(frames.axes, expected, rtol=0, atol=1e-5)


def test_frames_are_orthonormal_and_turn_with_the_head() -> None:
    anchors = bound(fx.summary())
    vertices = torch.stack([fx.frame_vertices(f) for f in range(3)])
    frames = anchors(vertices)
    identity = torch.eye(3).expand(3, len(anchors), 3, 3)
    torch.testing.assert_close(frames.axes @ frames.axes.transpose(2, 3), identity, rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.linalg.det(frames.axes), torch.ones(3, len(anchors)), rtol=0, atol=1e-5)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    turn = turn * torch.linalg.det(turn)
    turned = anchors(vertices @ turn.T + 7)
    torch.testing.assert_close(turned.axes, frames.axes @ turn.T, rtol=0, atol=1e-4)
    torch.testing.assert_close(turned.positions, frames.positions @ turn.T + 7, rtol=0, atol=1e-3)


def test_normals_point_out_and_frames_move_little_with_an_expression() -> None:
    anchors = bound(fx.summary())
    first, last = (anchors(fx.frame_vertices(f)[None]) for f in (0, 2))
    assert ((first.axes[0, :, 2] * first.positions[0]).sum(1) > 0).float().mean() > 0.95
    cosines = (first.axes * last.axes).sum(-1)
    assert cosines.min() > 0.9


def test_a_folded_atlas_still_gives_frames() -> None:
    summary = fx.summary()
    summary.topology.uvs[:, 0] = 0.5  # u is the same everywhere: no direction in the atlas
    frames = bound(summary)(summary.neutral_vertices[None])
    assert torch.isfinite(frames.axes).all()
    torch.testing.assert_close(torch.linalg.det(frames.axes), torch.ones(1, 60), rtol=0, atol=1e-4)
