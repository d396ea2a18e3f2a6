"""Framing, against points projected one by one."""

import pytest
import torch

from avatarzoo.batch import Camera
from avatarzoo.geometry.cameras import camera_centre
from avatarzoo.geometry.framing import MARGIN, fit_focal, look_at

CENTRE, UP = torch.tensor([10.0, -20.0, 30.0]), torch.tensor([0.0, 1.0, 0.0])


def crooked() -> Camera:
    """A camera to the head's left and above it, rolled, looking somewhere else."""
    axes, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))
    R = axes * torch.linalg.det(axes)
    return Camera(torch.eye(3)[None], R[None], (-R @ torch.tensor([500.0, 250.0, 700.0]))[None], (40, 30))


def test_the_point_is_in_the_middle_up_is_up_and_the_place_stays() -> None:
    before = crooked()
    camera = look_at(before, CENTRE, UP, 64)
    R, t, K = camera.R[0], camera.t[0], camera.K[0]
    torch.testing.assert_close(camera_centre(camera.R, camera.t), camera_centre(before.R, before.t), atol=1e-3, rtol=0)
    torch.testing.assert_close(R @ R.T, torch.eye(3), atol=1e-5, rtol=0)
    assert torch.linalg.det(R) == pytest.approx(1, abs=1e-5)
    pixel = K @ (R @ CENTRE + t)
    assert (pixel[:2] / pixel[2]).tolist() == pytest.approx([31.5, 31.5], abs=1e-3), "pixel centres are integers"
    above = K @ (R @ (CENTRE + 50 * UP) + t)
    assert (above[0] / above[2]).item() == pytest.approx(31.5, abs=1e-3) and above[1] / above[2] < 31.5
    left = K @ (R @ (CENTRE + torch.tensor([50.0, 0, 0])) + t)
    assert left[0] / left[2] > 31.5, "seen from the front, the head's left is on the right"


def test_the_farthest_point_of_all_pictures_touches_the_margin() -> None:
    points = 100 * torch.randn(50, 3, generator=torch.Generator().manual_seed(1)) + CENTRE
    camera = look_at(crooked(), CENTRE, UP, 64)
    poses = [(camera.R[0], camera.t[0]), (camera.R[0], camera.t[0] + torch.tensor([0.0, 0, 200.0]))]
    K = fit_focal(points, poses, 64)[0]
    reach = 0.0
    for R, t in poses:
        for point in points:
            column, row, depth = (K @ (R @ point + t)).tolist()
            reach = max(reach, abs(column / depth - 31.5), abs(row / depth - 31.5))
    assert reach == pytest.approx((1 - MARGIN) * 32, rel=1e-4)
