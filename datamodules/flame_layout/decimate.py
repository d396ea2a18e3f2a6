"""Take vertices out of a mesh with UVs until a number is left: half-edge collapses that keep seams, rims and charts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


class Decimator:
    """A triangle mesh that loses one vertex at a time; those that stay keep their places and UVs."""

    def __init__(self, vertices: Array, triangles: Ints, uvs: Array, uv_triangles: Ints) -> None:
        """Take a mesh.

        Args:
            vertices: V,3.
            triangles: F,3.
            uvs: U,2.
            uv_triangles: F,3, corner by corner beside ``triangles``.
        """
        self.places = [tuple(map(float, p)) for p in vertices]
        self.uvs = [tuple(map(float, p)) for p in uvs]
        self.faces = {i: list(map(int, f)) for i, f in enumerate(triangles)}
        self.corners = {i: list(map(int, f)) for i, f in enumerate(uv_triangles)}
        self.around: dict[int, set[int]] = defaultdict(set)
        for i, face in self.faces.items():
            for vertex in face:
                self.around[vertex].add(i)

    def neighbours(self, vertex: int) -> set[int]:
        """Return the vertices that share an edge with one."""
        return {w for i in self.around[vertex] for w in self.faces[i]} - {vertex}

    def uv_of(self, vertex: int) -> set[int]:
        """Return the UVs of a vertex; several on a seam."""
        return {self.corners[i][self.faces[i].index(vertex)] for i in self.around[vertex]}

    def collapse(self, vertex: int, onto: int, least: float = 0.2) -> bool:
        """Move a vertex onto a neighbour and drop the triangles between, unless that would spoil the mesh.

        Args:
            vertex: goes; it has one UV.
            onto: stays.
            least: cosine between a triangle's normal before and after, at least.

        Returns:
            Whether it was done: not if the surface would fold, in space or in the atlas, or stop being a manifold.
        """
        shared = [i for i in self.around[vertex] if onto in self.faces[i]]
        if len(self.neighbours(vertex) & self.neighbours(onto)) != len(shared):
            return False
        new_uv = {self.corners[i][self.faces[i].index(onto)] for i in shared}
        if len(new_uv) != 1:
            return False
        uv = new_uv.pop()
        kept = [i for i in self.around[vertex] if i not in shared]
        for i in kept:
            face, corners = self.faces[i], self.corners[i]
            k = face.index(vertex)
            before, after = [self.places[w] for w in face], [self.places[w] for w in face]
            after[k] = self.places[onto]
            a, b = _normal(*before), _normal(*after)
            lengths = (_dot(a, a) * _dot(b, b)) ** 0.5
            if lengths <= 0 or _dot(a, b) < least * lengths:
                return False
            flat, moved = [self.uvs[w] for w in corners], [self.uvs[w] for w in corners]
            moved[k] = self.uvs[uv]
            if _area(*flat) * _area(*moved) <= 0 or abs(_area(*moved)) < 1e-7:
                return False
        for i in shared:
            for w in self.faces[i]:
                self.around[w].discard(i)
            del self.faces[i], self.corners[i]
        for i in kept:
            k = self.faces[i].index(vertex)
            self.faces[i][k], self.corners[i][k] = onto, uv
            self.around[onto].add(i)
        del self.around[vertex]
        return True

    def thin(self, count: int, fixed: Iterable[int], importance: Array) -> None:
        """Collapse the least important short edges until ``count`` vertices are left.

        Args:
            count: of vertices to leave.
            fixed: that stay; vertices with several UVs and on rims have to be among them.
            importance: V; an edge's cost is its length squared times the importance of the vertex that goes.

        Raises:
            ValueError: no collapse is left that does not spoil the mesh.
        """
        held = set(fixed)
        while len(self.around) > count:
            order = self._candidates(held, importance)
            touched: set[int] = set()
            done = 0
            limit = max(1, min(len(self.around) - count, len(order) // 6))
            for _, vertex, onto in order:
                if vertex in touched or onto in touched or vertex not in self.around:
                    continue
                ring = self.neighbours(vertex)
                if self.collapse(vertex, onto):
                    touched |= ring | {vertex}
                    done += 1
                    if done == limit:
                        break
            if not done:
                raise ValueError(f"{len(self.around)} vertices cannot be thinned to {count}.")

    def _candidates(self, held: set[int], importance: Array) -> list[tuple[float, int, int]]:
        found = []
        for vertex in self.around:
            if vertex in held:
                continue
            lengths = sorted((_apart(self.places[vertex], self.places[w]), w) for w in self.neighbours(vertex))
            found += [
                (length * float(importance[vertex]) * (1 + 0.5 * k), vertex, w) for k, (length, w) in enumerate(lengths[:3])
            ]
        return sorted(found)

    def mesh(self) -> tuple[Ints, Ints, Ints]:
        """Return the ids of the vertices left (sorted), triangles into them, and uv_triangles into the UVs given."""
        left = np.array(sorted(self.around))
        place = {int(v): i for i, v in enumerate(left)}
        order = sorted(self.faces)
        triangles = np.array([[place[w] for w in self.faces[i]] for i in order])
        return left, triangles, np.array([self.corners[i] for i in order])


def _normal(a: tuple, b: tuple, c: tuple) -> tuple[float, float, float]:
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    return (uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx)


def _dot(a: tuple, b: tuple) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _apart(a: tuple, b: tuple) -> float:
    return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2


def _area(a: tuple, b: tuple, c: tuple) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
