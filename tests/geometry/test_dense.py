"""The dense mesh is the tracked surface, resampled: one piece, welded along seams, open at the neck only."""

from __future__ import annotations

import fixtures as fx
import numpy as np
import pytest
import torch

from avatarzoo import registry
from avatarzoo.capture import Topology
from avatarzoo.datamodules.obj import read_obj
from avatarzoo.geometry.dense import DenseMesh, build_dense_mesh, locate
from avatarzoo.geometry.meshes import boundary_loops, fill_small_holes

WARP = registry.build("rasterizer", "warp")
CASES = {
    "two charts": ({}, 48),
    "a hole": ({"hole": True}, 48),
    "a hole in the seam": ({"seam_hole": True}, 48),
    "charts of opposite handedness": ({"mirrored_back": True}, 40),
    "texels as large as triangles": ({}, 12),
}


@pytest.fixture(scope="module", params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> tuple[torch.Tensor, Topology, DenseMesh, dict]:
    options, size = CASES[request.param]
    vertices, topology = fx.pillow(**options)
    return vertices, topology, build_dense_mesh(topology, size, WARP), options | {"size": size}


def directed_edges(triangles: np.ndarray) -> np.ndarray:
    return np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])


def check_manifold(triangles: np.ndarray) -> None:
    edges = directed_edges(triangles)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 1).all(), "two triangles run along an edge the same way"
    counts = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)[1]
    assert set(counts.tolist()) <= {1, 2}


def areas(points: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    """Vector areas F,3 of triangles in space, F signed areas in the plane."""
    a, b, c = (points[triangles[:, k].long()].double() for k in range(3))
    if points.shape[1] == 3:
        return torch.linalg.cross(b - a, c - a) / 2
    return ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2


def used_uvs(dense: DenseMesh) -> torch.Tensor:
    return torch.unique(dense.uv_triangles.long())


def test_it_is_a_manifold_that_is_open_at_the_neck_only(case: tuple) -> None:
    vertices, _, dense, _ = case
    triangles = dense.triangles.numpy().astype(np.int64)
    check_manifold(triangles)
    (loop,) = boundary_loops(triangles)
    height = dense.from_tracked(vertices[None])[0, :, 1]
    torch.testing.assert_close(height[loop], torch.full((len(loop),), -fx.HEIGHT / 2), atol=1e-3, rtol=0)


def test_every_vertex_is_used(case: tuple) -> None:
    dense = case[2]
    assert torch.equal(torch.unique(dense.triangles), torch.arange(len(dense.copies), dtype=torch.int32))


def test_each_corner_has_a_uv_of_its_vertex(case: tuple) -> None:
    _, _, dense, options = case
    owners = dense.vertex_of_uv[dense.uv_triangles.long()]
    if options.get("seam_hole"):  # its patch shows the colour of one UV
        own = (owners == dense.triangles).all(1)
        assert (~own).sum() < 60  # the hole has some tens of border points
        patch = dense.uv_triangles[~own]
        assert (patch == patch[:, :1]).all()
    else:
        assert torch.equal(owners.int(), dense.triangles)


def test_uvs_are_where_their_vertex_is_on_the_tracked_surface(case: tuple) -> None:
    _, topology, dense, _ = case
    filled = fill_small_holes(topology)
    torch.testing.assert_close(dense.anchor_triangles, filled.triangles)
    assert dense.anchors.weights.min() >= 0
    torch.testing.assert_close(dense.anchors.weights.sum(1), torch.ones(len(dense.copies)))
    at_anchor = dense.anchors.gather(filled.uvs[None], filled.uv_triangles)[0]
    gap = (dense.uvs - at_anchor[dense.vertex_of_uv]).norm(dim=1)
    nearest = torch.full((len(dense.copies),), torch.inf).scatter_reduce(0, dense.vertex_of_uv, gap, "amin")
    assert nearest.max() < 1e-4  # of each vertex's UVs, one is its anchor's


def test_seam_vertices_have_two_uvs_and_one_position(case: tuple) -> None:
    vertices, topology, dense, _ = case
    filled = fill_small_holes(topology)
    position = dense.from_tracked(vertices[None])[0]
    on_seam = position[:, 2].abs() < 1e-3  # the seam lies in z = 0
    assert torch.equal(dense.copies == 2, on_seam)
    assert set(dense.copies.tolist()) == {1.0, 2.0}
    assert int(on_seam.sum()) >= 2 * fx.ROWS + fx.COLUMNS + 1
    # each UV of the pair lies on its own chart's rim, and there the tracked surface is at the same point
    for uv, owner in zip(
        dense.uvs[on_seam[dense.vertex_of_uv]], dense.vertex_of_uv[on_seam[dense.vertex_of_uv]], strict=True
    ):
        distance = (point_at(uv, filled, vertices) - position[owner]).norm()
        assert distance < 0.02, (uv, owner)


def point_at(uv: torch.Tensor, topology: Topology, vertices: torch.Tensor) -> torch.Tensor:
    """Find the point of the tracked surface at a UV, by solving in every triangle and taking the best inside one."""
    corners = topology.uvs[topology.uv_triangles.long()].double()
    matrix = torch.cat([corners.transpose(1, 2), torch.ones(len(corners), 1, 3)], dim=1)
    weights = torch.linalg.solve(matrix, torch.cat([uv.double(), torch.ones(1)]).expand(len(corners), 3))
    best = weights.amin(1).argmax()
    assert weights[best].min() > -1e-3
    return (weights[best][:, None] * vertices[topology.triangles[best].long()]).sum(0)


def test_its_uv_triangles_tile_the_charts(case: tuple) -> None:
    _, topology, dense, options = case
    found = areas(dense.uvs, dense.uv_triangles)
    whole = areas(topology.uvs, fill_small_holes(topology).uv_triangles)
    back = dense.uvs[dense.uv_triangles.long()][..., 0].mean(1) > 0.5
    behind = topology.uvs[fill_small_holes(topology).uv_triangles.long()][..., 0].mean(1) > 0.5
    sign = torch.where(back, -1.0 if options.get("mirrored_back") else 1.0, 1.0)
    assert (found * sign).min() > -1e-7, "a triangle is turned over"
    for mine, theirs in ((back, behind), (~back, ~behind)):
        torch.testing.assert_close(found[mine].abs().sum(), whole[theirs].abs().sum(), atol=1e-6, rtol=0)


def test_in_space_it_has_the_tracked_area_and_faces_outwards(case: tuple) -> None:
    vertices, _, dense, options = case
    whole = fx.pillow()[1]
    position = dense.from_tracked(vertices[None])[0]
    found, expected = areas(position, dense.triangles), areas(vertices, whole.triangles).norm(dim=1).sum()
    ratio = float(found.norm(dim=1).sum() / expected)
    assert (0.98 if options["size"] > 30 else 0.9) < ratio < 1.0 + 1e-3
    middle = position[dense.triangles.long()].mean(1).double()
    inwards = (found * middle).sum(1) < 0
    assert found[inwards].norm(dim=1).sum() < 1e-3 * expected


def test_there_is_a_vertex_for_every_texel_away_from_the_borders(case: tuple) -> None:
    _, _, dense, options = case
    size = options["size"]
    texels = dense.uvs * size - 0.5
    found = {tuple(t) for t in texels[(texels - texels.round()).abs().amax(1) < 1e-3].round().int().tolist()}
    u, v = np.meshgrid((np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size)
    margin = 0.6 / size
    ahead = (u > fx.FRONT[0] + margin) & (u < fx.FRONT[1] - margin)
    behind = (u > fx.BACK[0] + margin) & (u < fx.BACK[1] - margin)
    rows, columns = np.nonzero((ahead | behind) & (v > 0.05 + margin) & (v < 0.95 - margin))
    inner = set(zip(columns.tolist(), rows.tolist(), strict=True))
    if options.get("seam_hole"):
        assert len(inner - found) < 0.05 * len(inner)  # but for those beside the hole
    else:
        assert inner <= found


def test_locating_points_is_solving_for_their_weights() -> None:
    generator = np.random.default_rng(0)
    corners = fx.pillow()[1]
    corners = corners.uvs[corners.uv_triangles.long()].double().numpy()
    corners = np.concatenate([corners, [[[0.0, 0.0], [1.0, 0.0], [1.0, 1e-3]]]])  # its middle is far from its ends
    chosen, shares = generator.integers(0, len(corners), 200), generator.dirichlet([1, 1, 1], 200)
    chosen[:3] = len(corners) - 1
    points = np.einsum("nk,nkc->nc", shares, corners[chosen])
    found, weights = locate(points, corners)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose(np.einsum("nk,nkc->nc", weights, corners[found]), points, atol=1e-9)
    same = found == chosen
    assert same.mean() > 0.95  # a few lie in the long triangle too
    np.testing.assert_allclose(weights[same], shares[same], atol=1e-6)
    one, weight = locate(np.array([[5.0, 5.0]]), corners[:1])  # outside everything: clamped to the triangle
    assert one.tolist() == [0] and weight.min() >= 0 and weight.sum() == pytest.approx(1)


def test_merge_is_the_mean_over_a_vertex_s_uvs() -> None:
    dense = build_dense_mesh(fx.pillow()[1], 12, WARP)
    values = torch.randn(2, len(dense.uvs), 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    expected = torch.stack([values[:, dense.vertex_of_uv == v].mean(1) for v in range(len(dense.copies))], dim=1)
    found = dense.merge(values)
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    torch.testing.assert_close(values.grad[0, :, 0], 1 / dense.copies[dense.vertex_of_uv])


def test_a_single_full_chart_has_a_vertex_per_texel_and_its_border() -> None:
    corners = torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32)
    square = Topology(corners, torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), corners)
    dense = build_dense_mesh(square, 16, WARP, max_hole_edges=3)
    assert len(dense.copies) >= 16 * 16
    check_manifold(dense.triangles.numpy().astype(np.int64))
    torch.testing.assert_close(areas(dense.uvs, dense.uv_triangles).sum(), torch.tensor(1.0).double())
    assert len(boundary_loops(dense.triangles.numpy().astype(np.int64))) == 1


def test_a_real_head_s_topology_is_open_at_the_neck_only() -> None:
    folder = fx.captures("lps_multiview") / "tracked_mesh"
    file = min(folder.glob("*/*.obj"))
    read = read_obj(file)
    topology = Topology(
        torch.as_tensor(read.triangles).int(), torch.as_tensor(read.uvs).float(), torch.as_tensor(read.uv_triangles).int()
    )
    vertices = torch.from_numpy(np.fromfile(min(folder.glob("*/*.bin")), dtype=np.float32).reshape(-1, 3))
    dense = build_dense_mesh(topology, 128, WARP)
    triangles = dense.triangles.numpy().astype(np.int64)
    check_manifold(triangles)
    (loop,) = boundary_loops(triangles)
    neck = max(boundary_loops(topology.triangles.numpy().astype(np.int64)), key=len)
    assert len(neck) == 54
    position = dense.from_tracked(vertices[None])[0]
    nearest = torch.cdist(vertices[neck], position[loop], compute_mode="donot_use_mm_for_euclid_dist").amin(1)
    assert nearest.max() < 1e-3, "the neck's own vertices are the loop's"
    # and between them the loop follows the neck's edges
    ends = torch.from_numpy(np.stack([neck, np.roll(neck, -1)]))
    start, step = vertices[ends[0]], vertices[ends[1]] - vertices[ends[0]]
    away = position[loop][:, None] - start
    along = ((away * step).sum(-1) / (step * step).sum(-1)).clamp(0, 1)
    assert (away - along[..., None] * step).norm(dim=-1).amin(1).max() < 0.01
    tracked = areas(vertices, topology.triangles).norm(dim=1).sum()
    assert 0.97 < areas(position, dense.triangles).norm(dim=1).sum() / tracked < 1.03
