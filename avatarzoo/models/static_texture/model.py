"""One texture on the tracked mesh of each frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from avatarzoo import registry
from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.capture import CaptureSummary
from avatarzoo.errors import ConfigError
from avatarzoo.geometry.cameras import face_to_camera, to_camera, to_clip
from avatarzoo.models.base import Avatar
from avatarzoo.rasterizers.base import Rasterizer


class Surface(nn.Module):
    """The texture as a module, so that optimisers, freezing and parameter counts refer to it by name.

    Attributes:
        texture: 3,T,T float32 in 0..1 sRGB, row 0 at v = 0.
    """

    def __init__(self, texture: Tensor, train: bool) -> None:
        """Start from a texture; ``train`` says whether it learns."""
        super().__init__()
        self.texture = nn.Parameter(texture.detach().clone().float())
        self.learns = train

    def forward(self) -> Tensor:
        """Return the texture; where it does not learn, with gradients of 0, so that a run with steps leaves it as it is."""
        return self.texture if self.learns else self.texture.detach() + 0 * self.texture


@registry.register("model", "static_texture")
class StaticTexture(Avatar):
    """One texture, the same for all frames and views, on the frame's tracked mesh: the floor of every comparison."""

    uses = ("rasterizer",)
    requires = ("mesh.vertices", "mesh.head_pose", "view.camera")
    test_inputs = "tracked mesh"

    rasterizer: Rasterizer
    surface: Surface

    def __init__(self, parts: Mapping[str, Any], *, train: bool = True) -> None:
        """Build the rasterizer; the texture is made in ``bind``.

        Args:
            parts: node or instance of the "rasterizer".
            train: learn the texture from pictures, starting at the mean of the training frames' average textures. The
                untrained mean is the floor: ``train=False``, or no steps.
        """
        super().__init__()
        node = parts["rasterizer"]
        self.rasterizer = node if isinstance(node, Rasterizer) else registry.build("rasterizer", node)
        self.train_texture = train

    def bind(self, summary: CaptureSummary) -> None:
        """Take the mean texture and the tracked topology.

        Args:
            summary: of the capture.

        Raises:
            ConfigError: the capture has no mean texture.
        """
        if summary.texture_mean is None or summary.texture_mean.numel() == 0:
            raise ConfigError(
                f"static_texture draws the mean training texture, and capture {summary.name!r} has none; "
                "give it texture_cameras, or use another model."
            )
        self.surface = Surface(summary.texture_mean, self.train_texture)
        self.register_buffer("triangles", summary.topology.triangles.clone(), persistent=False)
        self.register_buffer("uvs", summary.topology.uvs.clone(), persistent=False)
        self.register_buffer("uv_triangles", summary.topology.uv_triangles.clone(), persistent=False)

    def parts(self) -> dict[str, nn.Module]:
        """Return the one part, "surface"."""
        return {"surface": self.surface}

    def predict(self, batch: HeadBatch, phase: str, carry: dict[str, Any]) -> Prediction:
        """Render the batch with gradients to the texture; colours are not clamped.

        Args:
            batch: see ``requires``.
            phase: any; all phases are alike.
            carry: unused.
        """
        return self._draw(batch)

    @torch.no_grad()
    def render(self, batch: HeadBatch) -> Prediction:
        """Render the batch's cameras, colours clamped to 0..1.

        Args:
            batch: see ``requires``.
        """
        prediction = self._draw(batch)
        prediction.image = prediction.image.clamp(0, 1)  # type: ignore[union-attr]
        return prediction

    def _draw(self, batch: HeadBatch) -> Prediction:
        mesh, camera = batch.mesh, batch.view.camera  # type: ignore[union-attr]
        # Cameras and coverage stay in float32 whatever the precision of the run.
        with torch.autocast(mesh.vertices.device.type, enabled=False):  # type: ignore[union-attr]
            vertices = mesh.vertices.float()  # type: ignore[union-attr]
            points = to_camera(vertices, *face_to_camera(camera, mesh.head_pose))  # type: ignore[union-attr]
            clip = to_clip(points, camera.K, camera.size)
            raster = self.rasterizer.rasterize(clip, self.triangles, camera.size)
            uv = self.rasterizer.interpolate(self.uvs[None], raster, self.uv_triangles)
            depth = self.rasterizer.interpolate(points[..., 2:].contiguous(), raster, self.triangles)
            covered = raster[..., 3] > 0
            image = self._shade(uv, covered)
        return Prediction(
            image=image,
            coverage=covered[:, None],
            depth=depth.permute(0, 3, 1, 2),
            vertices=vertices,
            extras={"raster": raster, "uv": uv, "mesh_triangles": self.triangles},
        )

    def _shade(self, uv: Tensor, covered: Tensor) -> Tensor:
        """Look the texture up where a pixel is covered (B,H,W bool) and return B,3,H,W, 0 elsewhere."""
        channels_last = self.surface().float().permute(1, 2, 0)[None]
        colours = self.rasterizer.texture(channels_last, uv[covered][None, None])[0, 0]
        image = colours.new_zeros(*covered.shape, 3).masked_scatter(covered[..., None], colours)
        return image.permute(0, 3, 1, 2)
