"""Wavefront .obj files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avatarzoo.datamodules.obj import read_obj
from avatarzoo.errors import DataError

QUAD = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nvt 0.5 0.5\n"


def read(tmp_path: Path, text: str):
    path = tmp_path / "m.obj"
    path.write_text(text)
    return read_obj(path)


def test_polygons_become_fans_and_wedges_keep_their_uvs(tmp_path: Path) -> None:
    mesh = read(
        tmp_path, "# a comment\nmtllib x.mtl\no head\n" + QUAD + "vn 0 0 1\ns off\nusemtl a\nf 1/5/1 2/2/1 3/3/1 4/4/1\n"
    )
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3]] and mesh.uv_triangles.tolist() == [[4, 1, 2], [4, 2, 3]]
    assert mesh.triangles.dtype == mesh.uv_triangles.dtype == np.int32
    assert mesh.uvs[4].tolist() == [0.5, 0.5] and mesh.vertices[2].tolist() == [1, 1, 0]


def test_negative_ids_count_back(tmp_path: Path) -> None:
    mesh = read(tmp_path, QUAD + "f -4/-5 -3/-4 -2/-3/\nv 9 9 9\nf 1/1 2/2 -1/5\n")
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 1, 4]] and mesh.uv_triangles.tolist() == [[0, 1, 2], [0, 1, 4]]


@pytest.mark.parametrize(
    ("face", "message"),
    [
        ("", "has no faces"),
        ("f 1 2 3\n", "'1' has no texture vertex"),
        ("f 1//1 2//2 3//3\n", "'1//1' has no texture vertex"),
        ("f 1/1 2/2\n", "three corners or more"),
        ("f 1/1 2/2 5/3\n", r"a vertex or texture vertex that is not there \(4 vertices, 5 texture vertices\)"),
        ("f 1/1 2/2 3/6\n", "is not there"),
        ("f 1/1 2/2 0/3\n", "the id 0"),
        ("f 1/1 2/2 3/x\n", "'3/x' is not a corner"),
        ("f 1/1 2/2 3/3/3/3\n", "is not a corner"),
        ("f 1/1 2/2 -5/3\n", "is not there"),
        ("vt 2 0\nf 1/1 2/2 3/3\n", r"texture vertex 6 is \[2.0, 0.0\]; expected 0..1"),
        ("v 1 nan 0\nf 1/1 2/2 3/3\n", "line 10: .*'nan' is not a finite number"),
        ("v 1 2\nf 1/1 2/2 3/3\n", "a vertex needs x y z"),
        ("vt 1\nf 1/1 2/2 3/3\n", "a texture vertex needs u v"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, face: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, QUAD + face)
    assert "m.obj" in str(caught.value)
