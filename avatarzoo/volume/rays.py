"""Rays of pixels in the face-centric frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from avatarzoo.batch import Camera, Group
from avatarzoo.geometry.cameras import camera_centre, face_to_camera


@dataclass
class Rays(Group):
    """Rays of several images, one after another.

    Attributes:
        origins: N,3 float32 mm, face-centric: the camera's centre.
        directions: N,3 float32, unit length, away from the camera.
        depth_scale: N float32, camera depth gained per mm along the ray (the cosine to the optical axis).
        image: N int64, the image in the batch each ray belongs to.
    """

    origins: Tensor
    directions: Tensor
    depth_scale: Tensor
    image: Tensor

    def __len__(self) -> int:
        """Return N."""
        return int(self.origins.shape[0])

    def pick(self, index: Tensor) -> Rays:
        """Return some of the rays (N bool or M int64)."""
        return self._map(lambda t: t[index])

    def at(self, distance: Tensor) -> Tensor:
        """Return points at distances along each ray: N,S mm -> N,S,3 mm."""
        return self.origins[:, None] + distance[..., None] * self.directions[:, None]


def pixel_grid(size: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
    """Return H*W,2 float32 (column, row) of all pixel centres, row by row; centres lie at integers.

    Args:
        size: (H, W).
        device: of the result.
    """
    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    return torch.stack([columns, rows], dim=-1).reshape(-1, 2).float().to(device)


def pixel_rays(camera: Camera, head_pose: Tensor, pixels: Tensor) -> Rays:
    """Cast rays through pixels, in the frame of the face.

    Args:
        camera: B cameras, world -> camera; K in pixels with centres at integers, so no half pixel is added.
        head_pose: B,3,4 mm, face-centric -> world.
        pixels: B,N,2 (column, row), float or integer.

    Returns:
        B*N rays, image by image.
    """
    with torch.autocast(head_pose.device.type, enabled=False):  # a bfloat16 direction is off by pixels
        R, t = face_to_camera(camera, head_pose)
        images, count = pixels.shape[:2]
        homogeneous = torch.cat([pixels.to(R.dtype), R.new_ones(images, count, 1)], dim=-1)
        in_camera = homogeneous @ torch.linalg.inv(camera.K).transpose(1, 2)
        lengths = in_camera.norm(dim=-1, keepdim=True)
        directions = (in_camera / lengths) @ R  # rows times R: R^T applied to columns
        origins = camera_centre(R, t)[:, None].expand(-1, count, -1)
    image = torch.arange(images, device=R.device)[:, None].expand(-1, count)
    depth_scale = in_camera[..., 2:] / lengths
    return Rays(origins.reshape(-1, 3), directions.reshape(-1, 3), depth_scale.reshape(-1), image.reshape(-1))
