"""The true pictures: each camera drawn at twice the size, shaded and averaged; matte and depth from the same mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from avatarzoo.batch import Camera
from avatarzoo.capture import CameraTable
from avatarzoo.datamodules.procedural.expressions import Face, Pose
from avatarzoo.datamodules.procedural.inside import Inside
from avatarzoo.datamodules.procedural.shading import LAMPS, Occlusion, ambient_occlusion, dot, normals, shade, unit
from avatarzoo.datamodules.procedural.skin import Skin, to_linear, to_srgb
from avatarzoo.geometry.cameras import camera_centre, face_to_camera, resize_intrinsics, to_camera, to_clip
from avatarzoo.rasterizers.base import Rasterizer

SUPERSAMPLING = 2
IRISES = ((0.30, 0.40, 0.47), (0.33, 0.22, 0.12), (0.36, 0.42, 0.24), (0.20, 0.13, 0.08), (0.42, 0.50, 0.52))  # sRGB


@dataclass
class Views:
    """What the cameras of one frame see.

    Attributes:
        image: C,H,W,3 uint8 sRGB on black.
        foreground: C,H,W uint8, the covered share of the pixel.
        depth: C,H,W float32 mm at the pixel's centre, 0 = nothing there.
    """

    image: Tensor
    foreground: Tensor
    depth: Tensor


class Renderer:
    """Draw a posed head, its eyes and its mouth."""

    def __init__(self, face: Face, inside: Inside, skin: Skin, rasterizer: Rasterizer, seed: int) -> None:
        """Prepare what all frames share.

        Args:
            face, inside, skin: the head.
            rasterizer: draws triangles.
            seed: colour of the irises.
        """
        head = face.head
        self.face, self.inside, self.rasterizer = face, inside, rasterizer
        self.maps = skin.stacked()
        count = len(head.vertices)
        self.triangles = torch.tensor(np.concatenate([head.triangles, inside.triangles + count]))
        self.triangles32 = self.triangles.int()
        extra = np.zeros((len(inside.triangles), 3, 2))
        self.wedge_uv = torch.tensor(np.concatenate([head.wedge_uv, extra]).reshape(-1, 2), dtype=torch.float32)
        self.corner = torch.arange(3)
        kinds = np.concatenate([np.full(len(p.triangles), 1 if p.name.startswith("eyeball") else 2) for p in inside.parts])
        self.kind = torch.tensor(np.concatenate([np.zeros(len(head.triangles), dtype=np.int64), kinds]))
        # The colour of eyeballs depends on the direction from their middle, which takes the place of a colour.
        colour = np.concatenate(
            [
                p.rest / np.linalg.norm(p.rest, axis=1, keepdims=True) if p.name.startswith("eyeball") else p.colour
                for p in inside.parts
            ]
        )
        self.colour = torch.tensor(np.concatenate([np.zeros((count, 3)), colour]), dtype=torch.float32)
        gloss = np.concatenate([np.full(len(p.rest), p.gloss) for p in inside.parts])
        self.gloss = torch.tensor(np.concatenate([np.zeros(count), gloss]), dtype=torch.float32)
        person = 0 if seed == 0 else int(np.random.default_rng([seed, 9]).integers(len(IRISES)))
        self.iris = to_linear(torch.tensor(IRISES[person]))
        self.occlusion = Occlusion(self.triangles32, rasterizer, 448)
        rest = self.vertices(*face.pose({}))
        self.open_sky = ambient_occlusion(
            Occlusion(self.triangles32, rasterizer, 224), rest, rest, normals(rest, self.triangles), 48
        )
        self.open_sky[count:] = torch.tensor(
            np.concatenate([np.broadcast_to(p.open_sky, len(p.rest)) for p in inside.parts]), dtype=torch.float32
        )

    def vertices(self, skin: np.ndarray, pose: Pose) -> Tensor:
        """Return every vertex of the true mesh, V,3 float32 mm face-centric: the skin's points first."""
        return torch.tensor(np.concatenate([skin, self.inside.place(skin, pose)]), dtype=torch.float32)

    def draw(self, vertices: Tensor, head_pose: Tensor, cameras: CameraTable) -> Views:
        """Draw one frame from every camera.

        Args:
            vertices: V,3 of ``vertices``.
            head_pose: 3,4 face-centric -> world, mm.
            cameras: C cameras.
        """
        normal = normals(vertices, self.triangles)
        lamp = F.normalize(torch.tensor(LAMPS[0][0]), dim=0) @ head_pose[:, :3]
        lit = self.occlusion.visible(vertices, vertices + 1.0 * normal, lamp)
        attributes = torch.cat(
            [normal, vertices, self.open_sky[:, None], lit[:, None], self.colour, self.gloss[:, None]], dim=1
        )
        views = []
        for index in range(len(cameras.names)):
            camera = Camera(cameras.K[index, None], cameras.R[index, None], cameras.t[index, None], cameras.size)
            views.append(self._view(vertices, attributes, head_pose, camera))
        return Views(*(torch.stack(x) for x in zip(*views, strict=True)))

    def _view(
        self, vertices: Tensor, attributes: Tensor, head_pose: Tensor, camera: Camera
    ) -> tuple[Tensor, Tensor, Tensor]:
        (height, width), n = camera.size, SUPERSAMPLING
        R, t = face_to_camera(camera, head_pose[None])
        local = to_camera(vertices, R, t)
        large = (height * n, width * n)
        raster = self.rasterizer.rasterize(
            to_clip(local, resize_intrinsics(camera.K, n, n), large), self.triangles32, large
        )[0]
        pixels = raster[..., 3].flatten().nonzero()[:, 0]
        colour = torch.zeros(height * n * width * n, 3)
        colour[pixels] = self._shade(raster.reshape(-1, 4)[pixels], attributes, camera_centre(R, t)[0], head_pose[:, :3])
        image = _shrink(colour.reshape(*large, 3))
        covered = _shrink((raster[..., 3] > 0).float())
        raster = self.rasterizer.rasterize(to_clip(local, camera.K, camera.size), self.triangles32, camera.size)
        depth = self.rasterizer.interpolate(local[..., 2:].contiguous(), raster, self.triangles32)[0, ..., 0]
        return (to_srgb(image) * 255 + 0.5).byte(), (covered * 255 + 0.5).byte(), depth

    def _shade(self, raster: Tensor, attributes: Tensor, eye: Tensor, world: Tensor) -> Tensor:
        """Return N,3 linear colours of covered pixels, from their N,4 raster."""
        triangle = raster[:, 3].long() - 1
        weights = torch.cat([raster[:, :2], 1 - raster[:, :1] - raster[:, 1:2]], dim=1)
        mixed = _mix(attributes, self.triangles[triangle], weights)
        normal, view = unit(mixed[:3]), unit(eye[:, None] - mixed[3:6])
        normal = torch.where(dot(normal, view) < -0.2, -normal, normal)
        open_sky, lit, own, gloss = mixed[6:7], mixed[7:8], mixed[8:11], mixed[11:]
        kind = self.kind[triangle]
        result = torch.empty_like(own)

        at = (kind == 0).nonzero()[:, 0]
        uv = _mix(self.wedge_uv, 3 * triangle[at, None] + self.corner, weights[at])
        maps = F.grid_sample(self.maps, (2 * uv.T - 1)[None, None], padding_mode="border", align_corners=False)[0, :, 0]
        slope, n = maps[4:], normal[:, at]
        n = unit(n - (slope - dot(slope, n) * n))
        result[:, at] = shade(maps[:3], maps[3:4], n, view[:, at], open_sky[:, at], lit[:, at], world, 1.0)

        at = (kind == 1).nonzero()[:, 0]
        colour, shine = self._eye(own[:, at])
        sky = 0.35 + 0.5 * lit[:, at]
        result[:, at] = shade(colour, shine, normal[:, at], view[:, at], sky, lit[:, at], world, 0.3, polish=1.5)

        at = (kind == 2).nonzero()[:, 0]
        wet = 0.25 * gloss[:, at]
        result[:, at] = shade(
            own[:, at], wet * 3, normal[:, at], view[:, at], open_sky[:, at], open_sky[:, at] * lit[:, at], world, 0.6
        )
        return result.T

    def _eye(self, direction: Tensor) -> tuple[Tensor, Tensor]:
        """Return 3,N linear colours and 1,N gloss of an eyeball from 3,N directions in its own frame (gaze along z)."""
        d = unit(direction)
        angle = torch.rad2deg(torch.acos(d[2:].clamp(-1, 1)))
        turn = torch.atan2(d[1:2], d[:1])

        def blend(a: float, b: float) -> Tensor:
            x = ((angle - a) / (b - a)).clamp(0, 1)
            return x * x * (3 - 2 * x)

        fibres = 0.5 + 0.5 * torch.sin(turn * 37 + 3 * torch.sin(turn * 5) + angle * 0.25) * torch.cos(
            turn * 11 - angle * 0.1
        )
        iris = self.iris[:, None] * (0.70 + 0.55 * fibres) * (1.25 - 0.75 * blend(8, 29))
        warm = to_linear(torch.tensor([0.46, 0.36, 0.24]))[:, None]
        iris = iris + (warm - iris) * (0.35 * torch.exp(-(((angle - 12) / 3.5) ** 2)))
        veins = 1 - torch.tensor([0.0, 0.16, 0.16])[:, None] * ((angle - 35) / 40).clamp(0, 1)
        white = torch.tensor([0.62, 0.59, 0.56])[:, None] * veins
        colour = 0.006 + (iris * (1 - 0.6 * blend(25.5, 28.5)) - 0.006) * blend(10.0, 11.5)
        return colour + (white - colour) * blend(27.5, 30.5), 1.6 - 0.6 * blend(28, 40)


def _mix(values: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
    """Return C,N: rows of ``values`` (M,C) at ``corners`` (N,3), summed with ``weights`` (N,3)."""
    return F.embedding_bag(corners, values, per_sample_weights=weights, mode="sum").T.contiguous()


def _shrink(picture: Tensor) -> Tensor:
    """Return the mean of each block of SUPERSAMPLING x SUPERSAMPLING pixels."""
    n = SUPERSAMPLING
    return sum(picture[i::n, j::n] for i in range(n) for j in range(n)) / n**2
