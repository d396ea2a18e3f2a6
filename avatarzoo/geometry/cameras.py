"""Cameras: face-centric points to clip space, and picture resizing. The only place of half-pixel shifts.

Pictures have row 0 on top and pixel centres at integers. Rasterizers follow nvdiffrast, whose row 0 sits at y = -1; clip
space here has y pointing down the picture, so a raster's row 0 **is** the picture's row 0 and nothing is ever flipped.
"""

from __future__ import annotations

import torch
from torch import Tensor

from avatarzoo.batch import Camera

NEAR, FAR = 10.0, 10_000.0  # mm; z/w still resolves 0.01 mm at one metre


def face_to_camera(camera: Camera, head_pose: Tensor) -> tuple[Tensor, Tensor]:
    """Absorb the head pose into the cameras.

    Args:
        camera: B cameras, world -> camera.
        head_pose: B,3,4, face-centric -> world, mm.

    Returns:
        R (B,3,3) and t (B,3): face-centric -> camera, mm.
    """
    rotation, translation = head_pose[:, :, :3], head_pose[:, :, 3:]
    return camera.R @ rotation, (camera.R @ translation)[:, :, 0] + camera.t


def to_camera(points: Tensor, R: Tensor, t: Tensor) -> Tensor:
    """Transform points by per-image rigid motions.

    Args:
        points: B,V,3 or V,3 mm.
        R: B,3,3.
        t: B,3 mm.

    Returns:
        B,V,3 mm in the camera's frame (x right, y down, z forward).
    """
    return points @ R.transpose(1, 2) + t[:, None]


def to_clip(points: Tensor, K: Tensor, size: tuple[int, int], near: float = NEAR, far: float = FAR) -> Tensor:
    """Project camera-frame points to clip space.

    A pixel centre at integer (column, row) lands on ndc x = (2 column + 1) / W - 1, y = (2 row + 1) / H - 1.

    Args:
        points: B,V,3 mm in the camera's frame.
        K: B,3,3 in pixels, centres at integers; skew is honoured.
        size: (H, W).
        near, far: mm, mapped to z/w = -1 and +1.

    Returns:
        B,V,4 (x, y, z, w) with w the depth in mm.
    """
    height, width = size
    projected = points @ K.transpose(1, 2)
    z = points[..., 2]
    x = (2 * projected[..., 0] + z) / width - z
    y = (2 * projected[..., 1] + z) / height - z
    depth = z * ((far + near) / (far - near)) - 2 * far * near / (far - near)
    return torch.stack([x, y, depth, z], dim=-1)


def project(points: Tensor, K: Tensor) -> Tensor:
    """Project camera-frame points to pixels.

    Args:
        points: B,V,3 mm in the camera's frame.
        K: B,3,3.

    Returns:
        B,V,2 (column, row), pixel centres at integers.
    """
    projected = points @ K.transpose(1, 2)
    return projected[..., :2] / projected[..., 2:3]


def resize_intrinsics(K: Tensor, scale_x: float, scale_y: float) -> Tensor:
    """Return intrinsics of a picture resized by (scale_x, scale_y), e.g. c' = (c - 0.5) / 2 at half size.

    Args:
        K: ...,3,3 with pixel centres at integers.
        scale_x, scale_y: new size / old size.
    """
    K = K.clone()
    K[..., 0, 0] *= scale_x
    K[..., 0, 1] *= scale_x
    K[..., 0, 2] = (K[..., 0, 2] + 0.5) * scale_x - 0.5
    K[..., 1, 1] *= scale_y
    K[..., 1, 2] = (K[..., 1, 2] + 0.5) * scale_y - 0.5
    return K


def camera_centre(R: Tensor, t: Tensor) -> Tensor:
    """Return B,3 centres of cameras given as world -> camera (R B,3,3, t B,3)."""
    return -(R.transpose(1, 2) @ t[:, :, None])[:, :, 0]


def view_vector(camera: Camera, head_pose: Tensor) -> Tensor:
    """Return the unit vector from the head towards each camera, face-centric.

    Args:
        camera: B cameras.
        head_pose: B,3,4.

    Returns:
        B,3, unit length (Multiface's sign; the PiCA text's formula is its negative, and only consistency matters).
    """
    R, t = face_to_camera(camera, head_pose)
    return torch.nn.functional.normalize(camera_centre(R, t), dim=-1)
