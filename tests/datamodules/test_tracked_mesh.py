"""Topology and vertices of the tracked mesh: which frame of reference files are in."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import tiny_capture as tiny

from avatarzoo.datamodules.layout import Layout
from avatarzoo.datamodules.tracked_mesh import TrackedMesh, frame_of_reference
from avatarzoo.errors import DataError

POSE = np.concatenate([tiny.rotation(30), [[10], [0], [5]]], axis=1)


def test_residuals_decide_the_frame_of_reference() -> None:
    vertices = np.random.default_rng(0).normal(size=(50, 3)) * 60
    world = vertices @ POSE[:, :3].T + POSE[:, 3]
    assert frame_of_reference(vertices, vertices + 0.1, POSE) == "same"
    assert frame_of_reference(world, vertices, POSE) == "obj in world"
    assert frame_of_reference(vertices, world, POSE) == "bin in world"
    assert frame_of_reference(vertices, vertices[::-1], POSE) == "unknown"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tiny.write_capture(tmp_path / "plate")


def open_mesh(root: Path) -> tuple[TrackedMesh, list]:
    layout, bad = Layout.open(root), []
    mesh = TrackedMesh(layout, layout.frames)
    mesh.check(layout.frames, lambda frame, error: bad.append((frame, str(error))))
    return mesh, bad


def test_bins_in_the_world_are_brought_back(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = {}
    for index, (segment, frame) in enumerate(tiny.FRAMES):
        path = root / "tracked_mesh" / segment / f"{frame}.bin"
        vertices = np.fromfile(path, "<f4").reshape(-1, 3)
        expected[segment, frame] = vertices
        (vertices @ tiny.pose(index)[:, :3].T + tiny.pose(index)[:, 3]).astype("<f4").tofile(path)
    with caplog.at_level(logging.WARNING):
        mesh, bad = open_mesh(root)
    assert mesh.in_world and not bad and "read as world coordinates" in caplog.text
    for frame, vertices in expected.items():
        np.testing.assert_allclose(mesh.vertices(frame), vertices, atol=1e-4)


def test_an_obj_of_another_pose_only_warns(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    vertices, uvs, triangles = tiny.grid()
    tiny.write_obj(root / "tracked_mesh" / "E001" / "000010.obj", vertices * 1.5, uvs, triangles)
    with caplog.at_level(logging.WARNING):
        mesh, bad = open_mesh(root)
    assert not mesh.in_world and not bad and "in no frame of reference" in caplog.text


def test_topology_is_found_in_any_segment(root: Path) -> None:
    (root / "tracked_mesh" / "E001" / "000010.obj").rename(root / "tracked_mesh" / "E003" / "000030.obj")
    mesh, bad = open_mesh(root)
    assert not bad and mesh.path.parent.name == "E003"
    np.testing.assert_array_equal(mesh.topology.triangles, tiny.grid()[2])


def test_bins_may_have_more_vertices_than_the_obj(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in root.glob("tracked_mesh/*/*.bin"):
        path.write_bytes(path.read_bytes() + np.zeros(6, "<f4").tobytes())
    with caplog.at_level(logging.WARNING):
        mesh, bad = open_mesh(root)
    assert mesh.vertex_count == 18 and not bad and "16 vertices, the .bin files 18" in caplog.text


def test_bins_of_another_topology_are_refused(root: Path) -> None:
    for path in root.glob("tracked_mesh/*/*.bin"):
        path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match=r"has 16 vertices .* most .bin files have 180 bytes"):
        open_mesh(root)


def test_one_short_bin_is_named_among_the_others(root: Path) -> None:
    path = root / "tracked_mesh" / "E001" / "000010.bin"
    path.write_bytes(path.read_bytes()[:-12])
    _, bad = open_mesh(root)
    assert len(bad) == 1 and bad[0][0] == ("E001", "000010") and "180 bytes, expected 192" in bad[0][1]
