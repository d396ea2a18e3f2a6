"""Camera paths around a head: closed loops that start and end at one camera."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from avatarzoo.geometry.cameras import camera_centre


def rotation_about(axis: Tensor, angle: float) -> Tensor:
    """Return the 3,3 rotation about an axis by an angle (Rodrigues).

    Args:
        axis: 3, any length but 0.
        angle: radians, by the right-hand rule.
    """
    x, y, z = (axis / axis.norm()).tolist()
    cross = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]], dtype=axis.dtype)
    return torch.eye(3, dtype=axis.dtype) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def turn_about(R: Tensor, t: Tensor, centre: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor]:
    """Carry a camera rigidly around a point.

    Args:
        R: 3,3 world -> camera.
        t: 3 mm.
        centre: 3 mm in the world, stays where it is in the picture.
        rotation: 3,3, applied to the camera's body in the world.

    Returns:
        R and t of the turned camera.
    """
    place = centre + rotation @ (camera_centre(R[None], t[None])[0] - centre)
    turned = R @ rotation.T
    return turned, -turned @ place


def orbit(
    R: Tensor, t: Tensor, centre: Tensor, up: Tensor, frames: int, yaw: float = 35.0, pitch: float = 10.0
) -> list[tuple[Tensor, Tensor]]:
    """Swing a camera around a head: sideways by ``yaw`` while it rises and sinks by ``pitch`` twice as fast, a lying eight.

    Args:
        R, t: the camera at the start, world -> camera, mm.
        centre: 3 mm in the world, what it looks around.
        up: 3, the head's up direction in the world.
        frames: pictures in one loop.
        yaw, pitch: degrees to either side; with a yaw of 180 it goes all the way round, at constant speed.

    Returns:
        (R, t) per picture; the first is the camera given, and the one after the last would be it again.
    """
    poses = []
    for i in range(frames):
        phase = 2 * math.pi * i / frames
        around = rotation_about(up, phase if yaw >= 180 else math.radians(yaw) * math.sin(phase))
        right = around @ R[0]  # the camera's x axis, after the turn
        nod = rotation_about(right, math.radians(pitch) * math.sin(2 * phase))
        poses.append(turn_about(R, t, centre, nod @ around))
    return poses


def dolly(
    R: Tensor, t: Tensor, centre: Tensor, frames: int, near: float = 0.6, far: float = 2.2
) -> list[tuple[Tensor, Tensor]]:
    """Drive a camera away from a head and back past where it started: far, then near, at constant focal length.

    Args:
        R, t: the camera at the start, world -> camera, mm.
        centre: 3 mm in the world.
        frames: pictures in one loop.
        near, far: least and greatest distance, as multiples of the first.

    Returns:
        (R, t) per picture.
    """
    start = camera_centre(R[None], t[None])[0]
    poses = []
    for i in range(frames):
        wave = math.sin(2 * math.pi * i / frames)
        factor = far**wave if wave > 0 else near**-wave
        poses.append((R, -R @ (centre + factor * (start - centre))))
    return poses
