"""Reader of Wavefront .obj files: vertices, wedge UVs and triangles."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avatarzoo.datamodules.formats import read_row, read_text
from avatarzoo.errors import DataError

INTEGER = re.compile(r"-?\d{1,9}", re.ASCII)


@dataclass(frozen=True)
class ObjMesh:
    """A mesh as its file gives it.

    Attributes:
        vertices: V,3 float64, in the file's unit.
        uvs: U,2 float64, v up.
        triangles: F,3 int32 ids into ``vertices``; polygons become fans.
        uv_triangles: F,3 int32 ids into ``uvs``.
    """

    vertices: np.ndarray
    uvs: np.ndarray
    triangles: np.ndarray
    uv_triangles: np.ndarray


def read_obj(path: Path) -> ObjMesh:
    """Read a mesh whose faces carry UVs.

    Args:
        path: the file; v, vt and f lines are read, others ignored.

    Raises:
        DataError: no faces, faces without UVs, an id out of range, UVs outside 0..1, or a number that is not finite.
    """
    vertices: list[list[float]] = []
    uvs: list[list[float]] = []
    corners: list[tuple[int, int]] = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        kind, _, rest = line.strip().partition(" ")
        where = f"{path}, line {number}"
        if kind == "v":
            numbers = read_row(rest, None, where, "x y z of a vertex")
            if len(numbers) < 3:
                raise DataError(f"{where}: a vertex needs x y z, got {rest!r}. Repair the line.")
            vertices.append(numbers[:3])
        elif kind == "vt":
            numbers = read_row(rest, None, where, "u v of a texture vertex")
            if len(numbers) < 2:
                raise DataError(f"{where}: a texture vertex needs u v, got {rest!r}. Repair the line.")
            uvs.append(numbers[:2])
        elif kind == "f":
            face = [_corner(word, len(vertices), len(uvs), where) for word in rest.split()]
            if len(face) < 3:
                raise DataError(f"{where}: a face needs three corners or more, got {rest!r}. Repair the line.")
            for k in range(1, len(face) - 1):
                corners += [face[0], face[k], face[k + 1]]
    if not corners:
        raise DataError(f"{path} has no faces; expected lines such as 'f 1/1 2/2 3/3'.")
    ids = np.array(corners, dtype=np.int32).reshape(-1, 3, 2)
    texture = np.array(uvs)
    if ids.min() < 0 or ids[..., 0].max() >= len(vertices) or ids[..., 1].max() >= len(uvs):
        raise DataError(
            f"{path}: a face names a vertex or texture vertex that is not there ({len(vertices)} vertices, "
            f"{len(uvs)} texture vertices). The file is cut short; copy it again."
        )
    if texture.min() < -1e-3 or texture.max() > 1 + 1e-3:
        bad = int(np.flatnonzero((texture < -1e-3).any(axis=1) | (texture > 1 + 1e-3).any(axis=1))[0])
        raise DataError(f"{path}: texture vertex {bad + 1} is {uvs[bad]}; expected 0..1 (one atlas, no tiles).")
    return ObjMesh(np.array(vertices), texture, np.ascontiguousarray(ids[..., 0]), np.ascontiguousarray(ids[..., 1]))


def _corner(word: str, vertices: int, uvs: int, where: str) -> tuple[int, int]:
    parts = word.split("/")
    if len(parts) < 2 or not parts[1]:
        raise DataError(f"{where}: the corner {word!r} has no texture vertex; export the mesh with UVs (f v/vt v/vt v/vt).")
    if len(parts) > 3 or not all(INTEGER.fullmatch(part) for part in parts[:2] + [p for p in parts[2:] if p]):
        raise DataError(f"{where}: {word!r} is not a corner of a face, expected v/vt or v/vt/vn. Repair the line.")
    vertex, uv = int(parts[0]), int(parts[1])
    if not vertex or not uv:
        raise DataError(f"{where}: {word!r} has the id 0, but ids count from 1. Repair the line.")
    # ids count from 1; negative ones count back from the line they stand on
    return (vertex + vertices if vertex < 0 else vertex - 1), (uv + uvs if uv < 0 else uv - 1)
