"""Average textures: a frame's pictures back-projected onto its tracked mesh, visibility-tested, in UV space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from avatarzoo.batch import Camera
from avatarzoo.capture import Topology
from avatarzoo.geometry.cameras import camera_centre, face_to_camera, project, to_camera, to_clip
from avatarzoo.rasterizers.base import Rasterizer

SHARPNESS = 2.0  # power of the viewing angle's cosine
GRAZING = 0.15  # cosines below this are left out
CLEARANCE = 1.0  # mm a texel may lie behind the nearest surface around its pixel, besides the slope's share
FAR_AWAY = 1e6


class BackProjector:
    """Turn a frame's pictures into its average texture.

    A texel's point is projected into each camera. It counts as seen where the whole 3x3 neighbourhood of its pixel is
    covered by the tracked mesh, none of which lies nearer to the camera than the point (up to 1 mm and the surface's own
    slope): occluders and the background do not bleed in. Cameras are averaged with weights cos(viewing angle)^2.
    """

    def __init__(self, topology: Topology, size: int, rasterizer: Rasterizer) -> None:
        """Find every texel's triangle and weights, once.

        Args:
            topology: of the tracked mesh.
            size: T, the side of the texture.
            rasterizer: draws UV charts and depth.
        """
        self.size, self.rasterizer = size, rasterizer
        self.triangles = topology.triangles
        self._outside: float | None = None
        uvs = topology.uvs[None]
        flat = torch.cat([2 * uvs - 1, torch.zeros_like(uvs[..., :1]), torch.ones_like(uvs[..., :1])], dim=-1)
        raster = rasterizer.rasterize(flat, topology.uv_triangles, (size, size))[0].reshape(-1, 4)
        self.texels = torch.nonzero(raster[:, 3] > 0)[:, 0]  # ids of the T*T texels inside a chart
        u, v, _, triangle = raster[self.texels].unbind(-1)
        self.corners = topology.triangles[triangle.long() - 1].long()
        self.weights = torch.stack([u, v, 1 - u - v], dim=-1)

    def surface(self, vertices: Tensor) -> tuple[Tensor, Tensor]:
        """Return every chart texel's point and unit normal.

        Args:
            vertices: V,3 float32 mm.

        Returns:
            N,3 mm and N,3, in the vertices' frame; normals of counter-clockwise triangles point to the viewer.
        """
        faces = self._face_normals(vertices).repeat_interleave(3, dim=0)
        normals = torch.zeros_like(vertices).index_add_(0, self.triangles.long().flatten(), faces)
        points = (vertices[self.corners] * self.weights[..., None]).sum(dim=1)
        return points, F.normalize((normals[self.corners] * self.weights[..., None]).sum(dim=1), dim=-1)

    def _face_normals(self, vertices: Tensor) -> Tensor:
        """Return F,3: the normals, times twice the areas."""
        a, b, c = vertices[self.triangles.long()].unbind(1)
        return torch.linalg.cross(b - a, c - a)

    def _find_outside(self, vertices: Tensor, head_pose: Tensor, cameras: Camera) -> float:
        """Return 1 or -1: the side of the triangles that most of the pixels show, which holds for open meshes too."""
        middles, normals = vertices[self.triangles.long()].mean(dim=1), F.normalize(self._face_normals(vertices), dim=-1)
        balance = 0.0
        for index in range(len(cameras.K)):
            camera = _one(cameras, index)
            R, t = face_to_camera(camera, head_pose[None])
            raster = self._raster(to_camera(vertices, R, t), camera)
            ids = raster[raster[..., 3] > 0][:, 3].long() - 1
            balance += float((normals[ids] * F.normalize(camera_centre(R, t) - middles[ids], dim=-1)).sum())
        return -1.0 if balance < 0 else 1.0

    @torch.no_grad()
    def average(
        self, vertices: Tensor, head_pose: Tensor, cameras: Camera, pictures: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Back-project one frame.

        Args:
            vertices: V,3 float32 mm, face-centric.
            head_pose: 3,4, face-centric -> world.
            cameras: C cameras at the pictures' size.
            pictures: C of H,W,3 uint8.

        Returns:
            3,T,T uint8 average, 0 where unseen, and 1,T,T bool coverage; row 0 at v = 0.
        """
        colour, total = torch.zeros(self.size**2, 3), torch.zeros(self.size**2)
        points, normals = self.surface(vertices)
        if self._outside is None:  # of the topology, so one frame decides
            self._outside = self._find_outside(vertices, head_pose, cameras)
        normals = normals * self._outside
        for index, picture in enumerate(pictures):
            camera = _one(cameras, index)
            seen, weight, where = self._visible(vertices, points, normals, head_pose, camera)
            height, width = cameras.size
            grid = torch.stack([(2 * where[:, 0] + 1) / width - 1, (2 * where[:, 1] + 1) / height - 1], dim=-1)
            planes = picture.permute(2, 0, 1)[None].float()
            sampled = F.grid_sample(planes, grid[None, None], mode="bilinear", padding_mode="border", align_corners=False)
            texels = self.texels[seen]
            colour[texels] += sampled[0, :, 0].T * weight[:, None]
            total[texels] += weight
        covered = total > 0
        colour[covered] /= total[covered, None]
        average = (colour + 0.5).clamp(0, 255).to(torch.uint8).T.reshape(3, self.size, self.size)
        return average.contiguous(), covered.reshape(1, self.size, self.size)

    def _visible(
        self, vertices: Tensor, points: Tensor, normals: Tensor, head_pose: Tensor, camera: Camera
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids of the seen texels (into ``texels``), their weights, and their pixels (column, row)."""
        height, width = camera.size
        R, t = face_to_camera(camera, head_pose[None])
        nearest = self._nearest(to_camera(vertices, R, t), camera)
        cosine = (F.normalize(camera_centre(R, t) - points, dim=-1) * normals).sum(dim=-1)
        facing = torch.nonzero(cosine > GRAZING)[:, 0]
        local, cosine = to_camera(points[facing], R, t)[0], cosine[facing]
        pixel = project(local[None], camera.K)[0]
        column, row = pixel.round().long().unbind(-1)
        inside = (local[:, 2] > 0) & (column > 0) & (column < width - 1) & (row > 0) & (row < height - 1)
        seen = torch.nonzero(inside)[:, 0]
        z, angle = local[seen, 2], cosine[seen].clamp(max=1)
        footprint = z / camera.K[0, 0, 0]
        slope = torch.sqrt(1 - angle * angle) / angle
        clear = z <= nearest[row[seen], column[seen]] + CLEARANCE + 2 * footprint * slope
        seen = seen[clear]
        return facing[seen], angle[clear] ** SHARPNESS, pixel[seen]

    def _nearest(self, local: Tensor, camera: Camera) -> Tensor:
        """Return H,W: the least depth of the mesh in each 3x3 neighbourhood, or far in front where part of it is empty."""
        raster = self._raster(local, camera)
        depth = self.rasterizer.interpolate(local[..., 2:].contiguous(), raster, self.triangles)[..., 0]
        empty = raster[..., 3] == 0
        least = -F.max_pool2d(-torch.where(empty, FAR_AWAY, depth)[:, None], 3, 1, 1)[0, 0]
        border = F.max_pool2d(empty[:, None].float(), 3, 1, 1)[0, 0] > 0
        return torch.where(border, -FAR_AWAY, least)

    def _raster(self, local: Tensor, camera: Camera) -> Tensor:
        return self.rasterizer.rasterize(to_clip(local, camera.K, camera.size), self.triangles, camera.size)


def _one(cameras: Camera, index: int) -> Camera:
    return Camera(cameras.K[index, None], cameras.R[index, None], cameras.t[index, None], cameras.size)
