"""Camera paths."""

import math

import pytest
import torch
from scipy.spatial.transform import Rotation

from avatarzoo.geometry.cameras import camera_centre
from avatarzoo.geometry.paths import dolly, orbit, rotation_about, turn_about

CENTRE = torch.tensor([10.0, -20.0, 30.0])
UP = torch.tensor([0.0, 1.0, 0.0])


def start() -> tuple[torch.Tensor, torch.Tensor]:
    """A camera a metre in front of CENTRE (OpenCV: y down, z forward), looking past it by a little."""
    R = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    return R, -R @ (CENTRE + torch.tensor([15.0, 5.0, 1000.0]))


def centre_of(pose: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return camera_centre(pose[0][None], pose[1][None])[0]


def in_camera(pose: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return pose[0] @ CENTRE + pose[1]


def test_rotation_agrees_with_scipy() -> None:
    axis, angle = torch.tensor([0.3, -2.0, 1.1]), 0.7
    expected = Rotation.from_rotvec((angle * axis / axis.norm()).numpy()).as_matrix()
    assert torch.allclose(rotation_about(axis, angle), torch.from_numpy(expected).float(), atol=1e-6)


def test_turning_keeps_what_the_camera_sees_at_the_centre() -> None:
    R, t = start()
    turned = turn_about(R, t, CENTRE, rotation_about(UP, 0.5))
    assert torch.allclose(in_camera(turned), in_camera((R, t)), atol=1e-3)
    # By the right-hand rule about y, a camera on +z goes towards +x.
    assert centre_of(turned)[0] > centre_of((R, t))[0] + 400


def test_orbit_swings_both_ways_around_the_centre_and_closes() -> None:
    R, t = start()
    poses = orbit(R, t, CENTRE, UP, 48, yaw=35, pitch=10)
    assert torch.allclose(poses[0][0], R, atol=1e-6) and torch.allclose(poses[0][1], t, atol=1e-3)
    places = torch.stack([centre_of(p) - CENTRE for p in poses])
    assert torch.allclose(places.norm(dim=1), places[0].norm().expand(48), rtol=1e-5)
    assert all(torch.allclose(in_camera(p), in_camera((R, t)), atol=1e-2) for p in poses)
    assert all(torch.allclose(p[0] @ p[0].T, torch.eye(3), atol=1e-5) for p in poses)
    yaw = torch.rad2deg(torch.atan2(places[:, 0], places[:, 2]))
    assert yaw.max() == pytest.approx(36, abs=1.5) and yaw.min() == pytest.approx(-34, abs=1.5)
    heights = places[:, 1] / places.norm(dim=1)
    assert heights.max() == pytest.approx(math.sin(math.radians(10)), abs=0.02)
    steps = (places - places.roll(1, 0)).norm(dim=1)
    assert steps.max() < 2.5 * steps.median(), "no jump where the loop closes"


def test_dolly_changes_the_distance_only() -> None:
    R, t = start()
    poses = dolly(R, t, CENTRE, 40, near=0.5, far=2.0)
    away = torch.stack([centre_of(p) - CENTRE for p in poses])
    factors = away.norm(dim=1) / away[0].norm()
    assert factors.max() == pytest.approx(2, rel=1e-3) and factors.min() == pytest.approx(0.5, rel=1e-3)
    assert factors[10] == pytest.approx(2, rel=1e-3), "far comes first"
    direction = away / away.norm(dim=1, keepdim=True)
    assert torch.allclose(direction, direction[:1].expand_as(direction), atol=1e-5)
    assert all(torch.equal(p[0], R) for p in poses)


def test_an_orbit_of_180_degrees_goes_all_the_way_round() -> None:
    R, t = start()
    poses = orbit(R, t, CENTRE, UP, 36, yaw=180, pitch=0)
    places = torch.stack([centre_of(p) - CENTRE for p in poses])
    angles = torch.rad2deg(torch.atan2(places[:, 0], places[:, 2]))
    steps = (angles - angles.roll(1)) % 360
    assert torch.allclose(steps, torch.full((36,), 10.0), atol=1e-2)
    assert all(torch.allclose(in_camera(p), in_camera((R, t)), atol=1e-2) for p in poses)
