"""Depth of the tracked mesh, a stand-in for captures that have no depth of their own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avatarzoo import registry
from avatarzoo.batch import Camera
from avatarzoo.geometry.cameras import face_to_camera, to_camera, to_clip

SOURCES = ("measured", "tracked_mesh")  #: values of ``data.depth``


class TrackedDepth:
    """Draws a frame's tracked mesh into a camera's depth picture.

    It knows nothing that the mesh does not: no hair, no tongue, and the tracking's own errors. Geometry terms on it hold
    the decoded surface to the tracked one along the camera's rays: less than a scan says, more than nothing.
    """

    def __init__(self, triangles: Tensor) -> None:
        """Keep the topology.

        Args:
            triangles: F,3 ids of the tracked mesh's vertices.
        """
        self.triangles = triangles

    @torch.no_grad()
    def draw(self, vertices: np.ndarray, head_pose: np.ndarray, camera: Camera) -> Tensor:
        """Draw one picture.

        Args:
            vertices: V,3 float32 mm, face-centric.
            head_pose: 3,4, face-centric -> world, mm.
            camera: one, at the size of the picture.

        Returns:
            1,1,H,W float32 mm along the camera's z, 0 where the mesh is not.
        """
        rasterizer = registry.build("rasterizer", "warp")  # cheap; the kernels are kept by the process
        R, t = face_to_camera(camera, torch.from_numpy(head_pose)[None])
        local = to_camera(torch.from_numpy(vertices)[None], R, t)
        raster = rasterizer.rasterize(to_clip(local, camera.K, camera.size), self.triangles, camera.size)
        depth = rasterizer.interpolate(local[..., 2:].contiguous(), raster, self.triangles)
        return (depth * (raster[..., 3:] > 0)).permute(0, 3, 1, 2).contiguous()
