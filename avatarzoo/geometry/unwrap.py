"""A picture's colours at points of a mesh: projection, visibility, lookup."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from avatarzoo.batch import Camera
from avatarzoo.geometry.cameras import face_to_camera, project, to_camera, to_clip
from avatarzoo.rasterizers.base import Rasterizer

GRAZING = 0.15  # cosines of the viewing angle below this are left out
CLEARANCE = 1.0  # mm a point may lie behind the nearest surface around its pixel, besides the slope's share
FAR_AWAY = 1e6


@torch.no_grad()
def unwrap(
    image: Tensor,
    camera: Camera,
    head_pose: Tensor,
    vertices: Tensor,
    triangles: Tensor,
    corners: Tensor,
    weights: Tensor,
    rasterizer: Rasterizer,
) -> tuple[Tensor, Tensor]:
    """Look pictures up at points of their meshes.

    A point counts as seen where the 3x3 neighbourhood of its pixel is covered by the mesh, none of which lies nearer
    than the point (up to 1 mm and the surface's slope), so neither occluders nor the background bleed in.

    Args:
        image: B,3,H,W.
        camera: B cameras.
        head_pose: B,3,4, face-centric -> world.
        vertices: B,V,3 mm face-centric.
        triangles: F,3 int32.
        corners: B,N,3 int64 ids of the vertices around each point.
        weights: B,N,3 barycentric.
        rasterizer: draws the depth.

    Returns:
        B,N,3 colours, and B,N bool: which points are seen.
    """
    height, width = camera.size
    local = to_camera(vertices, *face_to_camera(camera, head_pose))
    nearest = _nearest(local, camera, triangles, rasterizer)
    around = local[torch.arange(len(local), device=local.device)[:, None, None], corners]
    points = (around * weights[..., None]).sum(2)
    normals = torch.linalg.cross(around[:, :, 1] - around[:, :, 0], around[:, :, 2] - around[:, :, 0])
    cosine = (F.normalize(normals, dim=-1) * F.normalize(points, dim=-1)).sum(-1).abs()  # far sides fail on depth
    pixel = project(points, camera.K)
    column, row = pixel.round().nan_to_num().clamp(-1, max(height, width)).long().unbind(-1)
    z = points[..., 2]
    inside = (z > 0) & (column > 0) & (column < width - 1) & (row > 0) & (row < height - 1) & (cosine > GRAZING)
    flat = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    slope = torch.sqrt((1 - cosine * cosine).clamp_min(0)) / cosine.clamp_min(GRAZING)
    footprint = z / camera.K[:, 0, 0, None]
    seen = inside & (z <= nearest.flatten(1).gather(1, flat) + CLEARANCE + 2 * footprint * slope)
    extent = torch.tensor([width, height], device=pixel.device)
    grid = ((2 * pixel + 1) / extent - 1).nan_to_num()
    colours = F.grid_sample(image.float(), grid[:, None], mode="bilinear", padding_mode="border", align_corners=False)
    return colours[:, :, 0].transpose(1, 2), seen


def _nearest(local: Tensor, camera: Camera, triangles: Tensor, rasterizer: Rasterizer) -> Tensor:
    """Return B,H,W: the least depth in each 3x3 neighbourhood, or far in front of the camera where part of it is empty."""
    raster = rasterizer.rasterize(to_clip(local, camera.K, camera.size), triangles, camera.size)
    depth = rasterizer.interpolate(local[..., 2:].contiguous(), raster, triangles)[..., 0]
    empty = raster[..., 3] == 0
    least = -F.max_pool2d(-torch.where(empty, FAR_AWAY, depth)[:, None], 3, 1, 1)[:, 0]
    border = F.max_pool2d(empty[:, None].float(), 3, 1, 1)[:, 0] > 0
    return torch.where(border, -FAR_AWAY, least)
