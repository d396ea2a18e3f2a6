"""The whole head put together, and one frame of it shot."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatarzoo import registry
from avatarzoo.capture import CameraTable, Topology
from avatarzoo.datamodules.procedural.expressions import Face
from avatarzoo.datamodules.procedural.head import Head, build_head
from avatarzoo.datamodules.procedural.inside import Inside
from avatarzoo.datamodules.procedural.render import Renderer, Views
from avatarzoo.datamodules.procedural.skin import paint
from avatarzoo.rasterizers.base import Rasterizer


@cache
def source_digest() -> str:
    """Return a hash of this folder's source: what it makes is cached under it, so a change never meets old pictures."""
    total = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()[:16]


@dataclass
class Shot:
    """One frame.

    Attributes:
        views: what the cameras see.
        vertices: V,3 mm, the true mesh, face-centric; the skin's points first.
        tracked: Q,3 mm, the tracked mesh.
    """

    views: Views
    vertices: Tensor
    tracked: Tensor


@dataclass
class Scene:
    """A head ready to be posed and drawn.

    Attributes:
        head, face, inside: its geometry.
        renderer: draws it.
    """

    head: Head
    face: Face
    inside: Inside
    renderer: Renderer

    @classmethod
    def build(cls, seed: int, skin_size: int = 1024, rasterizer: Rasterizer | None = None) -> Scene:
        """Build the head of a seed.

        Args:
            seed: of its colours and skin.
            skin_size: side of the skin's own maps.
            rasterizer: defaults to Warp.
        """
        rasterizer = rasterizer or registry.build("rasterizer", "warp")
        head = build_head()
        face, inside = Face(head), Inside(head)
        return cls(head, face, inside, Renderer(face, inside, paint(head, skin_size, seed, rasterizer), rasterizer, seed))

    def topology(self) -> Topology:
        """Return the tracked mesh's topology."""
        head = self.head
        return Topology(
            torch.tensor(head.tracked_triangles, dtype=torch.int32),
            torch.tensor(head.tracked_uv, dtype=torch.float32),
            torch.tensor(head.tracked_uv_triangles, dtype=torch.int32),
        )

    def shoot(self, arkit: np.ndarray, head_pose: Tensor, cameras: CameraTable) -> Shot:
        """Pose and draw one frame.

        Args:
            arkit: 52 weights.
            head_pose: 3,4 face-centric -> world, mm.
            cameras: of the capture.
        """
        skin, pose = self.face.pose(arkit)
        vertices = self.renderer.vertices(skin, pose)
        return Shot(
            self.renderer.draw(vertices, head_pose, cameras), vertices, vertices[torch.from_numpy(self.head.tracked)]
        )
