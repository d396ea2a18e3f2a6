"""Anchors: mesh vertices that carry the local tables, and the frames that move with them.

Anchors stand in farthest-point order, so the first C of them are well-spread cluster centres for the neighbour search.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from avatarzoo.batch import Group
from avatarzoo.capture import CaptureSummary, Topology
from avatarzoo.errors import ConfigError
from avatarzoo.geometry.meshes import vertex_normals

#: FLAME's topology: its vertices, the first of its eyeballs', and ten points of the irises.
FLAME_VERTICES, FLAME_EYEBALLS = 5023, 3931
FLAME_IRISES = (4597, 4542, 4510, 4603, 4570, 4051, 3996, 3964, 3932, 4028)
FLAME_ANCHORS = 1772
#: 1,762 anchors on the 1,670 square centimetres of FLAME's template without eyeballs.
FLAME_DENSITY = 1.055


@dataclass
class AnchorFrames(Group):
    """Anchors on meshes.

    Attributes:
        positions: B,A,3 mm, face-centric.
        axes: B,A,3,3; rows are tangent, bitangent and normal, orthonormal.
    """

    positions: Tensor
    axes: Tensor


def surface_area(vertices: Tensor, triangles: Tensor) -> float:
    """Return the area of a mesh in square centimetres (vertices V,3 mm, triangles F,3)."""
    a, b, c = (vertices[triangles[:, k].long()] for k in range(3))
    return float(torch.linalg.cross(b - a, c - a).norm(dim=1).sum()) / 200


def choose_anchors(vertices: Tensor, triangles: Tensor, count: int | None, density: float = FLAME_DENSITY) -> Tensor:
    """Choose a Poisson-disk subset of a mesh's vertices, in farthest-point order.

    Farthest-point order makes every prefix a maximal Poisson-disk set: no vertex is farther from the set than the smallest
    distance within it. On FLAME's topology eyeballs are left out and ten iris points come last.

    Args:
        vertices: V,3 mm.
        triangles: F,3; vertices without a triangle are no candidates.
        count: how many, iris points included; None asks for ``density``.
        density: anchors per square centimetre, as far as there are vertices; the default gives 1,772 on FLAME's topology.

    Returns:
        A int64 vertex ids.

    Raises:
        ConfigError: more anchors than vertices.

    Source: supplement A (Poisson-disk subset of a template without eyeballs, ten iris vertices, 1,772 in total).
    """
    triangles = triangles.long()
    flame = len(vertices) == FLAME_VERTICES
    candidates = torch.zeros(len(vertices), dtype=torch.bool)
    candidates[triangles.reshape(-1)] = True
    if flame:
        candidates[FLAME_EYEBALLS:] = False
    irises = torch.tensor(FLAME_IRISES if flame else [], dtype=torch.long)
    ids = candidates.nonzero()[:, 0]
    if count is None:
        kept = triangles[candidates[triangles].all(1)]
        published = flame and density == FLAME_DENSITY
        count = FLAME_ANCHORS if published else round(density * surface_area(vertices, kept)) + len(irises)
        count = min(count, len(ids) + len(irises))
    wanted = count - len(irises)
    if not 1 <= wanted <= len(ids):
        raise ConfigError(f"model.anchors asks for {count} anchors; this mesh can carry {1 + len(irises)} to {len(ids)}.")
    points = vertices[ids].double().numpy()
    start = int(np.argmin(((points - points.mean(0)) ** 2).sum(1)))
    return torch.cat([ids[farthest_points(points, wanted, start)], irises])


def farthest_points(points: np.ndarray, count: int, start: int) -> Tensor:
    """Return indices of points, each the farthest from those before it."""
    chosen = np.empty(count, dtype=np.int64)
    nearest = np.full(len(points), np.inf)
    latest = start
    for place in range(count):
        chosen[place] = latest
        nearest = np.minimum(nearest, ((points - points[latest]) ** 2).sum(1))
        latest = int(nearest.argmax())
    return torch.from_numpy(chosen)


class Anchors(nn.Module):
    """Anchors bound to a topology: positions and tangent frames on any mesh of it.

    The normal is the area-weighted one. The tangent is the surface's derivative along u, averaged over the triangles of one
    chart around the anchor: a fixed linear combination of neighbouring vertices, so it moves continuously with expressions
    and never flips. Where the atlas folds it away, the combination of a fixed direction across the surface takes its place.
    """

    def bind(self, summary: CaptureSummary, count: int | None, density: float) -> None:
        """Choose the anchors and the combinations that make their frames.

        Args:
            summary: of the capture; its neutral mesh is the template.
            count, density: see ``choose_anchors``.
        """
        topology, template = summary.topology, summary.neutral_vertices.float()
        ids = choose_anchors(template, topology.triangles, count, density)
        faces, uv, neighbours, weights = _around(ids, topology, template)
        buffers = {"ids": ids, "faces": faces, "uv": uv, "neighbours": neighbours, "weights": weights}
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor, persistent=False)
        nearest = torch.cdist(template[ids], template[ids]).fill_diagonal_(torch.inf).amin(1)
        #: mean distance to the nearest anchor, mm
        self.spacing = float(nearest.mean())

    def __len__(self) -> int:
        """Return the number of anchors."""
        return len(self.ids)

    def forward(self, vertices: Tensor) -> AnchorFrames:
        """Place the anchors on meshes.

        Args:
            vertices: B,V,3 mm.
        """
        positions = vertices[:, self.ids]
        a, b, c = (vertices[:, self.faces[..., k].reshape(-1)].unflatten(1, self.faces.shape[:2]) for k in range(3))
        normal = torch.linalg.cross(b - a, c - a).sum(2)
        around = vertices[:, self.neighbours.reshape(-1)].unflatten(1, self.neighbours.shape)
        tangent = ((around - positions[:, :, None]) * self.weights[None, :, :, None]).sum(2)
        normal = torch.nn.functional.normalize(normal, dim=-1)
        tangent = tangent - (tangent * normal).sum(-1, keepdim=True) * normal
        tangent = torch.nn.functional.normalize(tangent, dim=-1)
        bitangent = torch.linalg.cross(normal, tangent)
        return AnchorFrames(positions, torch.stack([tangent, bitangent, normal], dim=2))


def _around(ids: Tensor, topology: Topology, template: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return incident faces A,F,3, uvs A,2, neighbours A,M and the tangent's weights on them A,M."""
    triangles, uv_triangles = topology.triangles.long().numpy(), topology.uv_triangles.long().numpy()
    uvs = topology.uvs.double().numpy()
    place = {int(v): i for i, v in enumerate(ids.tolist())}
    incident: list[list[tuple[int, int]]] = [[] for _ in place]
    for corner in range(3):
        for face in np.flatnonzero(np.isin(triangles[:, corner], ids.numpy())):
            incident[place[int(triangles[face, corner])]].append((int(face), corner))
    normals = vertex_normals(template[None], topology.triangles)[0].double().numpy()
    points = template.double().numpy()
    own_faces, own_uv, combinations = [], [], []
    for vertex, faces in zip(ids.tolist(), incident, strict=True):
        own_faces.append([triangles[face] for face, _ in faces])
        corners = [int(uv_triangles[face, corner]) for face, corner in faces]
        chart = max(set(corners), key=lambda uv: (corners.count(uv), -uv))  # the chart with most triangles here
        own_uv.append(uvs[chart])
        mine = [(face, corner) for (face, corner), uv in zip(faces, corners, strict=True) if uv == chart]
        combinations.append(_tangent(vertex, mine, triangles, uv_triangles, uvs, points, normals[vertex]))
    widest = max(len(f) for f in own_faces)
    faces = np.tile(ids.numpy()[:, None, None], (1, widest, 3))  # padding: triangles without area
    most = max(len(c) for c in combinations)
    neighbours, weights = np.tile(ids.numpy()[:, None], (1, most)), np.zeros((len(ids), most))
    for row, (own, combination) in enumerate(zip(own_faces, combinations, strict=True)):
        faces[row, : len(own)] = own
        neighbours[row, : len(combination)] = list(combination)
        weights[row, : len(combination)] = list(combination.values())
    uv = torch.from_numpy(np.array(own_uv)).float()
    return torch.from_numpy(faces), uv, torch.from_numpy(neighbours), torch.from_numpy(weights).float()


def _tangent(
    vertex: int,
    faces: list[tuple[int, int]],
    triangles: np.ndarray,
    uv_triangles: np.ndarray,
    uvs: np.ndarray,
    points: np.ndarray,
    normal: np.ndarray,
) -> dict[int, float]:
    """Return the derivative along u at a vertex as weights on its neighbours' offsets."""
    turns, rows = [], []
    for face, corner in faces:
        first, second = ((corner + 1) % 3, (corner + 2) % 3)
        du, dv = np.stack([uvs[uv_triangles[face, k]] - uvs[uv_triangles[face, corner]] for k in (first, second)], axis=1)
        turns.append(du[0] * dv[1] - du[1] * dv[0])
        # dP/du of the triangle times twice its area in the atlas, which is its weight
        rows.append({int(triangles[face, first]): dv[1], int(triangles[face, second]): -dv[0]})
    majority = 1.0 if sum(np.sign(turns)) >= 0 else -1.0
    combination: dict[int, float] = {}
    for turn, row in zip(turns, rows, strict=True):
        if turn * majority > 0:
            for neighbour, weight in row.items():
                combination[neighbour] = combination.get(neighbour, 0.0) + majority * weight
    offsets = {n: points[n] - points[vertex] for n in combination}
    along = sum((w * offsets[n] for n, w in combination.items()), np.zeros(3))
    across = along - (along @ normal) * normal
    size = sum(abs(w) * np.linalg.norm(offsets[n]) for n, w in combination.items())
    if np.linalg.norm(across) > 1e-2 * size > 0:
        return {n: w / np.linalg.norm(across) for n, w in combination.items()}
    others = {int(v) for face, _ in faces for v in triangles[face]} - {vertex}
    flat = {n: points[n] - points[vertex] - ((points[n] - points[vertex]) @ normal) * normal for n in others}
    longest = max(sorted(flat), key=lambda n: float(np.linalg.norm(flat[n])))
    return {longest: 1.0 / max(float(np.linalg.norm(flat[longest])), 1e-9)}
