"""Cameras against closed forms: pixel centres, half-size intrinsics, depth mapping, view vectors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from avatarzoo.batch import Camera
from avatarzoo.geometry import cameras

SIZE = (48, 64)
Rig = tuple[Camera, torch.Tensor]


def turn(axis: int, degrees: float) -> torch.Tensor:
    """Return a 3,3 rotation about an axis, right-handed."""
    angle = math.radians(degrees)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[first, first] = matrix[second, second] = math.cos(angle)
    matrix[second, first], matrix[first, second] = math.sin(angle), -math.sin(angle)
    return matrix


@pytest.fixture
def rig() -> Rig:
    """Two cameras with skew and off-centre principal points, and head poses, in float64."""
    K = torch.tensor([[[900.0, 3.0, 30.0], [0, 880.0, 25.0], [0, 0, 1]], [[500.0, 0, 31.5], [0, 500.0, 23.5], [0, 0, 1]]])
    R = torch.stack([turn(1, 20) @ turn(0, 175), turn(2, 5) @ turn(0, 180)])
    t = torch.tensor([[10.0, -20.0, 1000.0], [0.0, 0.0, 800.0]])
    pose = torch.stack([torch.cat([turn(0, d), torch.tensor([[5.0], [d], [7.0]])], dim=1) for d in (10.0, -15.0)])
    return Camera(K.double(), R, t.double(), SIZE), pose


def test_face_to_camera_equals_the_two_motions_one_after_the_other(rig: Rig) -> None:
    camera, pose = rig
    points = torch.randn(2, 9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 100
    got = cameras.to_camera(points, *cameras.face_to_camera(camera, pose)).numpy()
    for b in range(2):
        for i in range(9):
            world = pose[b, :, :3].numpy() @ points[b, i].numpy() + pose[b, :, 3].numpy()
            expected = camera.R[b].numpy() @ world + camera.t[b].numpy()
            np.testing.assert_allclose(got[b, i], expected, rtol=0, atol=1e-9)


def test_points_shared_by_all_cameras_are_broadcast(rig: Rig) -> None:
    camera, _ = rig
    points = torch.randn(5, 3, dtype=torch.float64)
    got = cameras.to_camera(points, camera.R, camera.t)
    torch.testing.assert_close(got, cameras.to_camera(points.expand(2, 5, 3), camera.R, camera.t))
    assert got.shape == (2, 5, 3)


@pytest.mark.parametrize(("column", "row"), [(0, 0), (63, 47), (63, 0), (31, 23), (10, 40)])
def test_a_pixel_centre_lands_where_a_rasterizer_samples_it(rig: Rig, column: int, row: int) -> None:
    camera, _ = rig
    depth = torch.tensor([700.0, 1300.0], dtype=torch.float64)
    pixel = torch.tensor([column, row, 1.0], dtype=torch.float64)
    point = (torch.linalg.inv(camera.K) @ pixel) * depth[:, None]
    torch.testing.assert_close(cameras.project(point[:, None], camera.K)[:, 0], pixel[:2].expand(2, 2))
    clip = cameras.to_clip(point[:, None], camera.K, SIZE)[:, 0]
    ndc = clip[:, :3] / clip[:, 3:]
    torch.testing.assert_close(ndc[:, 0], torch.full((2,), (2 * column + 1) / SIZE[1] - 1, dtype=torch.float64))
    torch.testing.assert_close(ndc[:, 1], torch.full((2,), (2 * row + 1) / SIZE[0] - 1, dtype=torch.float64))
    torch.testing.assert_close(clip[:, 3], depth)


def test_y_points_down_the_picture() -> None:
    K = torch.tensor([[[100.0, 0, 31.5], [0, 100.0, 23.5], [0, 0, 1]]])
    above, below = torch.tensor([[[0.0, -10.0, 100.0], [0.0, 10.0, 100.0]]])[0]
    clip = cameras.to_clip(torch.stack([above, below])[None], K, SIZE)[0]
    assert clip[0, 1] < 0 < clip[1, 1]
    assert cameras.project(torch.stack([above, below])[None], K)[0, 0, 1] < 23.5


def test_depth_maps_near_to_minus_one_and_far_to_one_and_grows() -> None:
    z = torch.tensor([cameras.NEAR, 20.0, 300.0, 1000.0, 1000.01, cameras.FAR], dtype=torch.float64)
    points = torch.stack([torch.zeros_like(z), torch.zeros_like(z), z], dim=-1)[None]
    clip = cameras.to_clip(points, torch.eye(3, dtype=torch.float64)[None], SIZE)
    ndc = (clip[..., 2] / clip[..., 3])[0]
    torch.testing.assert_close(ndc[[0, -1]], torch.tensor([-1.0, 1.0], dtype=torch.float64))
    assert (ndc.diff() > 0).all()
    near, far = cameras.NEAR, cameras.FAR
    torch.testing.assert_close(ndc, (far + near) / (far - near) - 2 * far * near / ((far - near) * z))
    assert ndc.float().diff().min() > 0  # 0.01 mm at one metre is still told apart in float32


@pytest.mark.parametrize("factor", [0.5, 0.25, 2.0])
def test_resized_intrinsics_project_to_the_same_place_of_the_picture(rig: Rig, factor: float) -> None:
    camera, _ = rig
    points = torch.tensor([[[20.0, -30.0, 900.0], [-15.0, 10.0, 1100.0]]], dtype=torch.float64).expand(2, 2, 3)
    full = cameras.project(points, camera.K)
    other = cameras.project(points, cameras.resize_intrinsics(camera.K, factor, factor))
    torch.testing.assert_close((other + 0.5) / factor, full + 0.5)  # measured from the picture's corner


def test_half_size_by_hand_and_the_two_axes_apart() -> None:
    K = torch.tensor([[1000.0, 4.0, 333.0], [0.0, 900.0, 511.5], [0.0, 0.0, 1.0]])
    half = cameras.resize_intrinsics(K, 0.5, 0.5)
    assert half.tolist() == [[500.0, 2.0, 166.25], [0.0, 450.0, 255.5], [0.0, 0.0, 1.0]]
    wide = cameras.resize_intrinsics(K, 2.0, 1.0)
    assert wide.tolist() == [[2000.0, 8.0, 666.5], [0.0, 900.0, 511.5], [0.0, 0.0, 1.0]]
    assert K[0, 2] == 333.0  # the argument is left alone


def test_averaging_two_by_two_pixels_agrees_with_half_size_intrinsics() -> None:
    """The centre of mass of a picture, computed before and after the box filter, projects from the same point."""
    row, column = np.mgrid[0:48, 0:64]
    blob = np.exp(-((column - 21.3) ** 2 + (row - 30.8) ** 2) / 18.0)
    small = blob.reshape(24, 2, 32, 2).mean(axis=(1, 3))
    row, column = np.mgrid[0:24, 0:32]
    centre = np.array([(small * column).sum(), (small * row).sum()]) / small.sum()
    K = torch.tensor([[1.0, 0, 21.3], [0, 1.0, 30.8], [0, 0, 1]], dtype=torch.float64)
    half = cameras.resize_intrinsics(K, 0.5, 0.5)
    np.testing.assert_allclose(centre, half[:2, 2].numpy(), atol=1e-3)


def test_the_centre_of_a_camera_maps_to_its_origin(rig: Rig) -> None:
    camera, _ = rig
    centre = cameras.camera_centre(camera.R, camera.t)
    torch.testing.assert_close(
        cameras.to_camera(centre[:, None], camera.R, camera.t), torch.zeros(2, 1, 3, dtype=torch.float64), atol=1e-9, rtol=0
    )


def test_the_view_vector_points_from_the_head_to_the_camera(rig: Rig) -> None:
    camera, pose = rig
    got = cameras.view_vector(camera, pose)
    for b in range(2):
        centre = -camera.R[b].numpy().T @ camera.t[b].numpy()
        local = pose[b, :, :3].numpy().T @ (centre - pose[b, :, 3].numpy())
        np.testing.assert_allclose(got[b].numpy(), local / np.linalg.norm(local), atol=1e-12)


def test_a_camera_in_front_of_the_face_is_seen_along_plus_z() -> None:
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0]))[None]  # y up, z out of the face -> y down, z forward
    camera = Camera(torch.eye(3)[None], flip, torch.tensor([[0.0, 0.0, 1000.0]]), SIZE)
    pose = torch.eye(3, 4)[None]
    assert cameras.view_vector(camera, pose).tolist() == [[0.0, 0.0, 1.0]]
    up = cameras.to_camera(torch.tensor([[[0.0, 50.0, 0.0]]]), *cameras.face_to_camera(camera, pose))
    assert up[0, 0, 1] < 0  # up the face is up the picture
    left = cameras.to_camera(torch.tensor([[[50.0, 0.0, 0.0]]]), *cameras.face_to_camera(camera, pose))
    assert left[0, 0, 0] > 0  # the subject's left is on the right of the picture
