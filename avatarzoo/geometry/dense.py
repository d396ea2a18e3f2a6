"""The dense mesh of a position map: one vertex per covered texel, charts welded along the tracked mesh's seams.

The texels' centres leave a gap of up to a texel between charts. It is closed by points on the tracked mesh's chart borders:
a border edge that two charts share is cut at the same places in both, its points are one vertex with two UVs, and
each chart's texels and border points are triangulated together (Delaunay, in texels).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarzoo.batch import Group
from avatarzoo.capture import Topology
from avatarzoo.geometry.meshes import boundary_edges, boundary_loops, components, fill_small_holes
from avatarzoo.geometry.uv import SurfacePoints, rasterize_charts
from avatarzoo.rasterizers.base import Rasterizer

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SPACING = 0.7  # texels between border points
JITTER = 0.01  # texels
SLIVER = 1e-3  # square texels, twice the area
CLEARANCE = 0.5  # texels a grid point keeps from the border, so that border edges survive the triangulation


@dataclass
class DenseMesh(Group):
    """A mesh sampled from maps.

    Attributes:
        triangles: F,3 int32 vertex ids.
        uvs: U,2 float32; all UVs, those of seam vertices appear once per chart.
        uv_triangles: F,3 int32 ids into ``uvs``.
        vertex_of_uv: U int64, the vertex each UV belongs to.
        copies: V float32, number of UVs of each vertex.
        anchors: the vertices' points on the tracked mesh (its holes filled).
        anchor_triangles: the tracked triangles that ``anchors`` refers to, T,3 int32.
    """

    triangles: Tensor
    uvs: Tensor
    uv_triangles: Tensor
    vertex_of_uv: Tensor
    copies: Tensor
    anchors: SurfacePoints
    anchor_triangles: Tensor

    def from_tracked(self, attributes: Tensor) -> Tensor:
        """Carry attributes of the tracked mesh's vertices (B,V',C) to the dense vertices (B,V,C)."""
        return self.anchors.gather(attributes, self.anchor_triangles)

    def merge(self, values: Tensor) -> Tensor:
        """Average values given per UV (B,U,C) into values per vertex (B,V,C); this is what welds a seam."""
        merged = values.new_zeros(values.shape[0], len(self.copies), values.shape[2])
        return merged.index_add(1, self.vertex_of_uv, values) / self.copies.clamp_min(1)[None, :, None]


class _Borders:
    """The chart borders of a tracked mesh, cut into short pieces that twins share."""

    def __init__(self, topology: Topology, size: int) -> None:
        self.uvs = topology.uvs.numpy().astype(np.float64) * size
        uv_triangles = self.uv_triangles = topology.uv_triangles.numpy().astype(np.int64)
        vertex_of_uv = np.zeros(len(self.uvs), dtype=np.int64)
        vertex_of_uv[uv_triangles.reshape(-1)] = topology.triangles.numpy().reshape(-1)
        self.charts = components(uv_triangles, len(self.uvs))
        chart_of_uv = np.zeros(len(self.uvs), dtype=np.int64)
        chart_of_uv[uv_triangles] = self.charts[:, None]
        turns = np.sign(_signed_area(self.uvs, uv_triangles))
        self.orientation = np.sign(np.bincount(self.charts, weights=turns))
        # an edge is known by its tracked vertices, smaller first; each of its copies by the UVs in that order
        self.copies: dict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(list)
        for a, b in boundary_edges(uv_triangles).tolist():
            if vertex_of_uv[a] > vertex_of_uv[b]:
                a, b = b, a
            self.copies[(int(vertex_of_uv[a]), int(vertex_of_uv[b]))].append((a, b, int(chart_of_uv[a])))
        self.pieces = {
            edge: max(1, max(int(np.ceil(self._length(a, b) / SPACING)) for a, b, _ in copies))
            for edge, copies in self.copies.items()
        }

    def _length(self, a: int, b: int) -> float:
        return float(np.linalg.norm(self.uvs[a] - self.uvs[b]))

    def segments(self, chart: int) -> tuple[Floats, list[tuple]]:
        """Return S,2,2 end points of one chart's border pieces and, per end, its identity (see ``point``)."""
        ends, names = [], []
        for edge, copies in self.copies.items():
            count = self.pieces[edge]
            for a, b, where in copies:
                if where != chart:
                    continue
                steps = np.linspace(0, 1, count + 1)[:, None]
                points = self.uvs[a] * (1 - steps) + self.uvs[b] * steps
                ids = [("v", edge[0]), *(("e", edge, k, count) for k in range(1, count)), ("v", edge[1])]
                for k in range(count):
                    ends.append((points[k], points[k + 1]))
                    names.append((ids[k], ids[k + 1], edge))
        return np.array(ends).reshape(-1, 2, 2), names


def _inside(points: Floats, segments: Floats, chunk: int = 4096) -> NDArray[np.bool_]:
    """Tell which points lie inside closed polygons (even-odd rule). points N,2; segments S,2,2."""
    (x0, y0), (x1, y1) = segments[:, 0].T, segments[:, 1].T
    result = np.zeros(len(points), dtype=bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (x1 - x0) / (y1 - y0)
        for first in range(0, len(points), chunk):
            x, y = points[first : first + chunk, 0:1], points[first : first + chunk, 1:2]
            crosses = ((y0 <= y) != (y1 <= y)) & (x < x0 + (y - y0) * slope)
            result[first : first + chunk] = crosses.sum(1) % 2 == 1
    return result


def _distance_below(points: Floats, segments: Floats, limit: float) -> NDArray[np.bool_]:
    """Tell which points lie nearer to a segment than a limit; segments are short (a texel)."""
    from scipy.spatial import cKDTree

    middles = segments.mean(1)
    half = np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1).max() / 2
    near = cKDTree(middles).query_ball_point(points, limit + half)
    result = np.zeros(len(points), dtype=bool)
    for i, candidates in enumerate(near):
        if candidates:
            a, b = segments[candidates, 0], segments[candidates, 1]
            along = np.clip(((points[i] - a) * (b - a)).sum(1) / np.maximum(((b - a) ** 2).sum(1), 1e-12), 0, 1)
            gap = np.linalg.norm(points[i] - a - along[:, None] * (b - a), axis=1)
            result[i] = gap.min() < limit
    return result


def build_dense_mesh(topology: Topology, size: int, rasterizer: Rasterizer, max_hole_edges: int = 16) -> DenseMesh:
    """Triangulate the covered texels of a position map.

    Args:
        topology: the tracked mesh; holes of a few edges are filled first.
        size: side of the position map.
        rasterizer: any backend.
        max_hole_edges: holes of the tracked mesh with at most so many edges are closed.

    Returns:
        The dense mesh; closed wherever the tracked mesh with filled holes is.

    Source: PiCA section 5 (a mesh of about 65K vertices sampled from a 256 map); the welding is ours.
    """
    topology = fill_small_holes(topology, max_hole_edges)
    borders = _Borders(topology, size)
    texels = rasterize_charts(topology, size, rasterizer)
    grid = np.argwhere(texels.covered.numpy())[:, ::-1] + 0.5
    grid_chart = borders.charts[texels.points.triangle.numpy()]

    vertex_ids: dict[tuple, int] = {}
    anchor_triangle, anchor_weights = [], []
    uvs, vertex_of_uv, triangles, uv_triangles = [], [], [], []
    corner_of = _corners(topology.triangles.numpy())

    def vertex(name: tuple) -> int:
        if name not in vertex_ids:
            vertex_ids[name] = len(anchor_triangle)
            a, b, t = (name[1], name[1], 0.0) if name[0] == "v" else (*name[1], name[2] / name[3])
            triangle, corner_a, corner_b = corner_of[(a, b)]
            weights = np.zeros(3)
            weights[corner_a] += 1 - t
            weights[corner_b] += t
            anchor_triangle.append(triangle)
            anchor_weights.append(weights)
        return vertex_ids[name]

    for chart in _triangulate_all(borders, grid, grid_chart):
        offset = len(uvs)
        within = np.flatnonzero(borders.charts == chart.number)
        places, weights = locate(chart.points[: chart.inner], borders.uvs[borders.uv_triangles[within]])
        vertex_of_uv += range(len(anchor_triangle), len(anchor_triangle) + chart.inner)
        anchor_triangle += within[places].tolist()
        anchor_weights += list(weights)
        vertex_of_uv += [vertex(name) for name in chart.border_names]
        uvs += list(chart.points)
        uv_triangles.append(chart.faces + offset)
    uv_faces = np.concatenate(uv_triangles)
    owner = np.array(vertex_of_uv)
    triangles = owner[uv_faces]
    distinct = (triangles != np.roll(triangles, 1, axis=1)).all(1)
    triangles, uv_faces = triangles[distinct], uv_faces[distinct]
    tracked = {index for name, index in vertex_ids.items() if name[0] == "v"}
    triangles, uv_faces = _close_seam_holes(triangles, uv_faces, tracked, max_hole_edges)
    return DenseMesh(
        triangles=torch.from_numpy(triangles).int(),
        uvs=torch.from_numpy(np.array(uvs) / size).float(),
        uv_triangles=torch.from_numpy(uv_faces).int(),
        vertex_of_uv=torch.from_numpy(owner),
        copies=torch.from_numpy(np.bincount(owner, minlength=len(anchor_triangle))).float(),
        anchors=SurfacePoints(torch.tensor(anchor_triangle), torch.from_numpy(np.array(anchor_weights)).float()),
        anchor_triangles=topology.triangles,
    )


@dataclass
class _Chart:
    """One chart's triangulation: inner points first, then border points with their names; faces index all of them."""

    number: int
    points: Floats
    inner: int
    border_names: list[tuple]
    faces: Ints
    border: set[tuple[int, int]]
    missing: set[tuple[int, int]]


def _triangulate_all(borders: _Borders, grid: Floats, grid_chart: Ints) -> list[_Chart]:
    """Triangulate every chart until all fit together.

    Border edges that a triangulation misses are cut finer, in all charts. An inner edge between two border points that
    another chart has too (both cut the same corner) would join four triangles: it gets a point of its own in each.
    """
    numbers = range(int(borders.charts.max()) + 1)
    extra: dict[int, list[Floats]] = {number: [] for number in numbers}
    for _ in range(8):
        charts = []
        for number in numbers:
            inner = grid[grid_chart == number]
            charts.append(_triangulate(borders, number, inner, np.array(extra[number]).reshape(-1, 2)))
        missing = set().union(*(chart.missing for chart in charts))
        for edge in missing:
            borders.pieces[edge] *= 2
        if not missing and not _split_shared_chords(charts, extra):
            break
    return charts


def _triangulate(borders: _Borders, number: int, grid: Floats, extra: Floats) -> _Chart:
    from scipy.spatial import Delaunay

    segments, names = borders.segments(number)
    grid = np.concatenate([grid[~_distance_below(grid, segments, CLEARANCE)], extra])
    index: dict[tuple, int] = {}
    border_points: list[Floats] = []
    border_names: list[tuple] = []
    pairs = []
    for (start, end), (first, second, _) in zip(segments, names, strict=True):
        keys = []
        for name, point in ((first, start), (second, end)):
            keys.append((*name, *np.round(point, 6).tolist()))
            if keys[-1] not in index:
                index[keys[-1]] = len(grid) + len(border_points)
                border_points.append(point)
                border_names.append(name)
        pairs.append(_ordered(index[keys[0]], index[keys[1]]))
    points = np.concatenate([grid, np.array(border_points).reshape(-1, 2)])
    # four texels lie on one circle: a hair of jitter spares the triangulation thousands of ties, which it breaks badly
    jitter = np.random.default_rng(0).uniform(-JITTER, JITTER, points.shape)
    jitter[len(grid) :] *= 0.01  # on a straight border, just enough that a sliver knows which way round it runs
    found = Delaunay(points + jitter)
    faces = found.simplices.astype(np.int64)
    edges = {_ordered(*e) for k in range(3) for e in faces[:, [k, (k + 1) % 3]].tolist()}
    missing = {names[i][2] for i, pair in enumerate(pairs) if pair not in edges}
    inside = _keep_inside(points, faces, found.neighbors, segments, set(pairs), len(grid))
    if borders.orientation[number] < 0:  # the triangulation runs counter-clockwise in the atlas, slivers included
        faces = faces[:, [0, 2, 1]]
    return _Chart(number, points, len(grid), border_names, faces[inside], set(pairs), missing)


def _ordered(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)


def _split_shared_chords(charts: list[_Chart], extra: dict[int, list[Floats]]) -> bool:
    """Add the midpoints of inner edges that two charts share to ``extra``; tell whether there were any."""
    seen: dict[frozenset, list[tuple[int, Floats]]] = defaultdict(list)
    for chart in charts:
        pairs = {_ordered(*e) for k in range(3) for e in chart.faces[:, [k, (k + 1) % 3]].tolist()}
        for a, b in pairs:
            if a >= chart.inner and (a, b) not in chart.border:
                ends = frozenset((chart.border_names[a - chart.inner], chart.border_names[b - chart.inner]))
                seen[ends].append((chart.number, (chart.points[a] + chart.points[b]) / 2))
    shared = [places for places in seen.values() if len(places) > 1]
    for number, middle in (place for places in shared for place in places):
        extra[number].append(middle)
    return bool(shared)


def locate(points: Floats, corners: Floats, chunk: int = 512) -> tuple[Ints, Floats]:
    """Find the triangle that each point of the plane lies in.

    Args:
        points: N,2.
        corners: F,3,2; where triangles overlap, one of those that hold the point is taken.
        chunk: points at a time.

    Returns:
        N ids and N,3 barycentric weights, clamped to the triangle (a point outside all takes the nearest by weight).
    """
    from scipy.spatial import cKDTree

    a, ab, ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    area = np.where(np.abs(area) < 1e-12, 1e-12, area)

    def weights_of(point: Floats, face: Ints) -> Floats:
        p = point - a[face]
        v = (p[..., 0] * ac[face, 1] - p[..., 1] * ac[face, 0]) / area[face]
        w = (ab[face, 0] * p[..., 1] - ab[face, 1] * p[..., 0]) / area[face]
        return np.stack([1 - v - w, v, w], axis=-1)

    def choose(rows: Ints, faces: Ints) -> None:
        trial = weights_of(points[rows][:, None], faces)
        best = trial.min(-1).argmax(1)
        each = np.arange(len(rows))
        found[rows], weights[rows] = np.broadcast_to(faces, trial.shape[:2])[each, best], trial[each, best]

    found = np.zeros(len(points), dtype=np.int64)
    weights = np.zeros((len(points), 3))
    near = cKDTree(corners.mean(1)).query(points, k=min(16, len(corners)))[1].reshape(len(points), -1)
    for first in range(0, len(points), chunk):
        rows = np.arange(first, min(first + chunk, len(points)))
        choose(rows, near[rows])
    far = np.flatnonzero(weights.min(1) < -1e-9)  # long thin triangles have their middle far away: all are tried
    for first in range(0, len(far), chunk):
        choose(far[first : first + chunk], np.arange(len(corners))[None])
    weights = weights.clip(0)
    return found, weights / weights.sum(1, keepdims=True)


def _close_seam_holes(triangles: Ints, uv_faces: Ints, tracked: set[int], max_edges: int) -> tuple[Ints, Ints]:
    """Close small holes that a seam crosses with a fan that shows one UV's colour: no chart spans them."""
    uv_of = {}
    for corner, uv in zip(triangles.reshape(-1).tolist(), uv_faces.reshape(-1).tolist(), strict=True):
        uv_of[corner] = uv
    for loop in boundary_loops(triangles):
        if sum(int(v) in tracked for v in loop) > max_edges:
            continue
        fan = np.array([[loop[0], loop[k + 1], loop[k]] for k in range(1, len(loop) - 1)])
        triangles = np.concatenate([triangles, fan])
        uv_faces = np.concatenate([uv_faces, np.full_like(fan, uv_of[int(loop[0])])])
    return triangles, uv_faces


def _keep_inside(
    points: Floats, faces: Ints, neighbours: Ints, segments: Floats, border: set[tuple[int, ...]], first_border: int
) -> NDArray[np.bool_]:
    """Tell which triangles belong to the chart.

    Slivers on a straight border have no inside to speak of: they follow the neighbour they share an edge with that is not
    a border edge, so that the chart's outline is the border, edge for edge.
    """
    at_border = (faces >= first_border).any(1)
    inside = np.ones(len(faces), dtype=bool)
    inside[at_border] = _inside(points[faces[at_border]].mean(1), segments)
    sliver = at_border & (np.abs(_signed_area(points, faces)) < SLIVER)
    inside[sliver] = False
    waiting = np.flatnonzero(sliver).tolist()
    while waiting:
        later = []
        for face in waiting:
            corners = faces[face].tolist()
            for k in range(3):
                edge = tuple(sorted((corners[(k + 1) % 3], corners[(k + 2) % 3])))
                if neighbours[face, k] >= 0 and edge not in border and inside[neighbours[face, k]]:
                    inside[face] = True
                    break
            else:
                later.append(face)
        if len(later) == len(waiting):
            break
        waiting = later
    return inside


def _signed_area(points: Floats, faces: Ints) -> Floats:
    a, b, c = points[faces[:, 0]], points[faces[:, 1]], points[faces[:, 2]]
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])


def _corners(triangles: Ints) -> dict[tuple[int, int], tuple[int, int, int]]:
    """Map tracked edges (smaller vertex first) and vertices (v, v) to (triangle, corner, corner)."""
    found: dict[tuple[int, int], tuple[int, int, int]] = {}
    for face, corners in enumerate(triangles.tolist()):
        for k in range(3):
            j = (k + 1) % 3
            found.setdefault((corners[k], corners[k]), (face, k, k))
            if corners[k] < corners[j]:
                found.setdefault((corners[k], corners[j]), (face, k, j))
            else:
                found.setdefault((corners[j], corners[k]), (face, j, k))
    return found
