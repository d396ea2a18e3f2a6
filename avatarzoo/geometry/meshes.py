"""Triangle meshes: edges, boundaries, small holes, normals."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarzoo.capture import Topology

Ints = NDArray[np.int64]


def boundary_edges(triangles: Ints) -> Ints:
    """Return the directed edges that belong to one triangle only.

    Args:
        triangles: F,3.

    Returns:
        E,2 in the direction their triangle runs.
    """
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    _, inverse, counts = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True, return_counts=True)
    return edges[counts[inverse.reshape(-1)] == 1]


def boundary_loops(triangles: Ints) -> list[Ints]:
    """Chain the boundary edges of a mesh into closed loops.

    Args:
        triangles: F,3.

    Returns:
        Arrays of vertex ids, in the direction the boundary runs; where loops touch in a vertex they are split there.
    """
    following: dict[int, list[int]] = defaultdict(list)
    for a, b in boundary_edges(triangles).tolist():
        following[a].append(b)
    loops = []
    while following:
        start = next(iter(following))
        path, place = [start], {start: 0}
        while path[-1] in following:  # a mesh that is not orientable leaves open chains, which end here
            onward = following[path[-1]]
            after = onward.pop()
            if not onward:
                del following[path[-1]]
            if after not in place:
                place[after] = len(path)
                path.append(after)
                continue
            first = place[after]
            loops.append(np.array(path[first:], dtype=np.int64))
            for vertex in path[first + 1 :]:
                del place[vertex]
            del path[first + 1 :]  # what led to the loop belongs to another one
    return loops


def fill_small_holes(topology: Topology, max_edges: int = 16) -> Topology:
    """Close holes of a few edges with a fan, in space and in the atlas.

    Args:
        topology: a mesh with UVs.
        max_edges: holes with more edges (the neck) stay open.

    Returns:
        A topology with triangles appended; vertices and UVs are unchanged. A hole that a UV seam crosses stays open.
    """
    triangles = topology.triangles.numpy().astype(np.int64)
    uv_triangles = topology.uv_triangles.numpy().astype(np.int64)
    uv_of: dict[int, set[int]] = defaultdict(set)
    for vertex, uv in zip(triangles.reshape(-1).tolist(), uv_triangles.reshape(-1).tolist(), strict=True):
        uv_of[vertex].add(uv)
    new, new_uv = [], []
    for loop in boundary_loops(triangles):
        if len(loop) > max_edges or any(len(uv_of[v]) != 1 for v in loop.tolist()):
            continue
        uvs = [next(iter(uv_of[v])) for v in loop.tolist()]
        for k in range(1, len(loop) - 1):
            new.append([loop[0], loop[k + 1], loop[k]])
            new_uv.append([uvs[0], uvs[k + 1], uvs[k]])
    if not new:
        return topology
    return Topology(
        torch.from_numpy(np.concatenate([triangles, np.array(new)])).int(),
        topology.uvs,
        torch.from_numpy(np.concatenate([uv_triangles, np.array(new_uv)])).int(),
    )


def drop_unused_uvs(topology: Topology) -> Topology:
    """Return a topology without the UVs that no triangle uses; such lines are common in .obj files."""
    used, uv_triangles = torch.unique(topology.uv_triangles, return_inverse=True)
    if len(used) == len(topology.uvs):
        return topology
    return Topology(topology.triangles, topology.uvs[used.long()], uv_triangles.int())


def components(triangles: Ints, count: int) -> Ints:
    """Label the connected parts of a mesh.

    Args:
        triangles: F,3.
        count: number of vertices.

    Returns:
        F labels from 0.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rows = np.concatenate([triangles[:, 0], triangles[:, 1]])
    columns = np.concatenate([triangles[:, 1], triangles[:, 2]])
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    return np.unique(labels[triangles[:, 0]], return_inverse=True)[1].astype(np.int64)


def vertex_normals(vertices: Tensor, triangles: Tensor) -> Tensor:
    """Return area-weighted unit normals.

    Args:
        vertices: B,V,3.
        triangles: F,3, counter-clockwise seen from outside.

    Returns:
        B,V,3; zero at vertices without a triangle.
    """
    index = triangles.long()
    a, b, c = (vertices[:, index[:, k]] for k in range(3))
    face = torch.linalg.cross(b - a, c - a)
    normals = torch.zeros_like(vertices)
    for k in range(3):
        normals = normals.index_add(1, index[:, k], face)
    return torch.nn.functional.normalize(normals, dim=-1)
