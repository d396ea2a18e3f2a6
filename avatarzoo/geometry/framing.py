"""Frame a head: turn a camera to it, and choose a focal length that keeps it in the picture along a path."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from avatarzoo.batch import Camera
from avatarzoo.geometry.cameras import camera_centre

MARGIN = 0.08  #: share of half a picture that stays free around the head


def look_at(camera: Camera, centre: Tensor, up: Tensor, side: int) -> Camera:
    """Turn a camera where it stands, so that it looks at a point, upright, into a square picture.

    Args:
        camera: one, world -> camera, mm; K is not read.
        centre: 3 mm in the world: the middle of the picture.
        up: 3, up in the world.
        side: of the picture in pixels.

    Returns:
        The camera, with a focal length of one picture side.
    """
    place = camera_centre(camera.R, camera.t)[0]
    forward = F.normalize(centre - place, dim=0)
    right = F.normalize(torch.linalg.cross(forward, up), dim=0)
    R = torch.stack([right, torch.linalg.cross(forward, right), forward])
    return Camera(_intrinsics(float(side), side, R), R[None], (-R @ place)[None], (side, side))


def fit_focal(points: Tensor, poses: Sequence[tuple[Tensor, Tensor]], side: int) -> Tensor:
    """Choose the greatest focal length at which all points stay inside a square picture, with a margin.

    Args:
        points: V,3 mm in the world.
        poses: (R 3,3, t 3) of the pictures, world -> camera; the points lie in front of each.
        side: of the picture in pixels.

    Returns:
        1,3,3 float32 intrinsics, principal point in the middle, pixel centres at integers.
    """
    reach = 0.0
    for R, t in poses:
        local = points @ R.T + t
        reach = max(reach, float((local[:, :2] / local[:, 2:].clamp_min(1e-3)).abs().max()))
    return _intrinsics((1 - MARGIN) * side / 2 / reach, side, points)


def _intrinsics(focal: float, side: int, like: Tensor) -> Tensor:
    middle = (side - 1) / 2
    return like.new_tensor([[[focal, 0.0, middle], [0.0, focal, middle], [0.0, 0.0, 1.0]]])
