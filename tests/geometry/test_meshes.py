"""Edges, boundaries, holes and normals of small meshes known by hand."""

from __future__ import annotations

import fixtures as fx
import numpy as np
import pytest
import torch

from avatarzoo.capture import Topology
from avatarzoo.geometry.meshes import (
    boundary_edges,
    boundary_loops,
    components,
    drop_unused_uvs,
    fill_small_holes,
    vertex_normals,
)

TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])


def edge_counts(triangles: np.ndarray) -> np.ndarray:
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    return np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)[1]


def rotations(loop: list[int]) -> list[list[int]]:
    return [loop[k:] + loop[:k] for k in range(len(loop))]


def test_a_closed_mesh_has_no_boundary() -> None:
    assert boundary_edges(TETRAHEDRON).shape == (0, 2)
    assert boundary_loops(TETRAHEDRON) == []


def test_the_boundary_runs_as_its_triangles_do() -> None:
    opened = TETRAHEDRON[1:]  # without 0, 2, 1
    assert {tuple(e) for e in boundary_edges(opened).tolist()} == {(0, 1), (1, 2), (2, 0)}
    (loop,) = boundary_loops(opened)
    assert loop.tolist() in rotations([0, 1, 2])


def test_two_holes_are_two_loops() -> None:
    _, topology = fx.pillow(hole=True)
    loops = boundary_loops(topology.triangles.numpy().astype(np.int64))
    assert sorted(len(loop) for loop in loops) == [4, 2 * fx.COLUMNS]


@pytest.mark.parametrize("fan", [[[0, 1, 2], [0, 3, 4]], [[2, 0, 1], [3, 4, 0]]])  # the second is entered mid-way
def test_loops_that_touch_are_split(fan: list[list[int]]) -> None:
    loops = boundary_loops(np.array(fan))  # two triangles that share a corner
    assert sorted(sorted(loop.tolist()) for loop in loops) == [[0, 1, 2], [0, 3, 4]]


def test_holes_with_touching_corners_are_all_found() -> None:
    _, topology = fx.pillow()
    triangles = topology.triangles.numpy().astype(np.int64)
    index = np.arange((fx.ROWS + 1) * (fx.COLUMNS + 1)).reshape(fx.ROWS + 1, -1)
    gone = [set(index[r : r + 2, c : c + 2].reshape(-1).tolist()) for r, c in ((2, 3), (3, 4))]  # corner to corner
    keep = [not any(set(t) <= quad for quad in gone) for t in triangles.tolist()]
    loops = boundary_loops(triangles[keep])
    assert sorted(len(loop) for loop in loops) == [4, 4, 2 * fx.COLUMNS]


def test_small_holes_are_filled_and_the_neck_stays_open() -> None:
    vertices, topology = fx.pillow(hole=True)
    whole = fx.pillow()[1]
    filled = fill_small_holes(topology)
    triangles = filled.triangles.numpy().astype(np.int64)
    assert len(triangles) == len(whole.triangles)
    assert [len(loop) for loop in boundary_loops(triangles)] == [2 * fx.COLUMNS]
    assert edge_counts(triangles).max() == 2
    # in space and in the atlas the patch turns the way its surroundings do
    new, old = filled.triangles[-2:].long(), vertices
    normal = torch.linalg.cross(old[new[:, 1]] - old[new[:, 0]], old[new[:, 2]] - old[new[:, 0]])
    assert (normal[:, 2] > 0).all()
    corners = filled.uvs[filled.uv_triangles[-2:].long()]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    assert (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] > 0).all()
    area = 0.9 * 0.44 / fx.ROWS / fx.COLUMNS
    torch.testing.assert_close((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / 2, torch.tensor(area), rtol=1e-4, atol=0)
    torch.testing.assert_close(filled.triangles[:-2], topology.triangles)
    torch.testing.assert_close(filled.uvs, topology.uvs)


def test_the_limit_on_edges_is_kept() -> None:
    _, topology = fx.pillow(hole=True)
    assert fill_small_holes(topology, max_edges=3) is topology
    assert boundary_loops(fill_small_holes(topology, max_edges=100).triangles.numpy().astype(np.int64))  # the seam's neck


def test_a_hole_that_a_seam_crosses_stays_open() -> None:
    _, topology = fx.pillow(seam_hole=True)
    assert len(topology.triangles) == len(fx.pillow()[1].triangles) - 2
    assert fill_small_holes(topology) is topology


def test_a_closed_mesh_is_returned_as_it_is() -> None:
    triangles = torch.from_numpy(TETRAHEDRON).int()
    topology = Topology(triangles, torch.rand(4, 2), triangles)
    assert fill_small_holes(topology) is topology


def test_uvs_that_no_triangle_uses_are_dropped() -> None:
    _, topology = fx.pillow()
    extra = torch.tensor([[0.9, 0.1]])
    loose = Topology(topology.triangles, torch.cat([extra, topology.uvs, extra]), topology.uv_triangles + 1)
    found = drop_unused_uvs(loose)
    torch.testing.assert_close(found.uvs, topology.uvs)
    assert torch.equal(found.uv_triangles, topology.uv_triangles) and found.uv_triangles.dtype == torch.int32
    assert drop_unused_uvs(topology) is topology


def test_components_label_what_hangs_together() -> None:
    _, topology = fx.pillow()
    assert set(components(topology.triangles.numpy().astype(np.int64), 171).tolist()) == {0}
    labels = components(topology.uv_triangles.numpy().astype(np.int64), len(topology.uvs))
    u = topology.uvs[topology.uv_triangles.long()].mean(1)[:, 0].numpy()
    assert set(labels.tolist()) == {0, 1}
    assert len({*labels[u < 0.5]}) == len({*labels[u > 0.5]}) == 1


def test_components_ignore_unused_vertices() -> None:
    assert components(np.array([[5, 6, 7], [1, 2, 3], [7, 8, 9]]), 12).tolist() in ([0, 1, 0], [1, 0, 1])


def test_normals_of_a_plane_and_of_an_isolated_vertex() -> None:
    vertices = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [9, 9, 9]]])
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]))
    expected = torch.tensor([[[0.0, 0, 1]] * 4 + [[0.0, 0, 0]]])
    torch.testing.assert_close(normals, expected)


def test_normals_are_weighted_by_area() -> None:
    # a large triangle in z = 0 and a small one in x = 0 meet in vertices 0 and 1
    vertices = torch.tensor([[[0.0, 0, 0], [0, 1, 0], [-4.0, 0, 0], [0.0, 0, -1.0]]])
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2], [1, 0, 3]]))
    expected = torch.tensor([1.0, 0.0, 4.0]) / 17**0.5
    torch.testing.assert_close(normals[0, 0], expected)


def test_normals_of_the_pillow_point_outwards() -> None:
    vertices, topology = fx.pillow()
    normals = vertex_normals(vertices[None], topology.triangles)[0]
    assert ((normals * vertices).sum(1) > 0).all()
    torch.testing.assert_close(normals.norm(dim=1), torch.ones(len(vertices)))
