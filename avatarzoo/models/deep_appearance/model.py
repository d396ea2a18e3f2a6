"""Deep Appearance Model: a code becomes the tracked mesh's vertices and, with the view, a whole texture to draw it with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from avatarzoo import registry
from avatarzoo.batch import Camera, HeadBatch, Prediction
from avatarzoo.capture import CaptureSummary
from avatarzoo.errors import ConfigError
from avatarzoo.geometry.cameras import face_to_camera, to_camera, to_clip, view_vector
from avatarzoo.geometry.meshes import fill_small_holes
from avatarzoo.geometry.uv import sample_map
from avatarzoo.models.base import Avatar, Halves
from avatarzoo.models.deep_appearance.colour_correction import ColourCorrection
from avatarzoo.models.deep_appearance.decoder import DeepAppearanceDecoder
from avatarzoo.rasterizers.coverage import add_touched_pixels
from avatarzoo.registry import register

TEXTURE_UNITS = ("texture_std", "colour_std")


@register("model", "deep_appearance")
class DeepAppearance(Avatar):
    """Deep Appearance Model: tracked-topology mesh and view-conditioned texture from a flat code; PiCA's baseline.

    Source: Lombardi et al., Deep Appearance Models for Face Rendering, 2018, in the layout facebookresearch/multiface
    released.
    """

    uses = ("driver", "rasterizer")

    def __init__(
        self,
        parts: Mapping[str, Any],
        *,
        latent_shape: list[int] = [256],  # noqa: B006 - a schema default, never changed
        hidden: int = 256,
        view_features: int = 8,
        texture_channels: list[int] = [256, 64, 64, 32, 32, 16, 16],  # noqa: B006
        untied_bias: bool = True,
        texture_unit: str = "texture_std",
        colour_correction: bool = True,
        unseen_camera: str = "identity",
        uv_gradient: float = 1.0,
        antialias: int = 1,
    ) -> None:
        """Build everything that does not depend on the capture.

        Args:
            parts: configuration of driver and rasterizer.
            latent_shape: of the code, as the driver gives it; the decoder reads it flat. [4, 8, 8] takes ``capture_vae``.
            hidden: width of the code's features.
            view_features: width of the view's.
            texture_channels: of the transposed convolutions before the last; the texture's side is 8 * 2 ** their number.
            untied_bias: a bias per pixel ("base"), or per channel ("non").
            texture_unit: of the decoded texture: "texture_std", or "colour_std", the spread of the mean texture's colours
                (steadier where few, similar frames give a tiny texture std).
            colour_correction: a gain and a bias per camera.
            unseen_camera: what cameras that were not trained on get: "identity" or "mean".
            uv_gradient: factor on the image loss's gradient to the vertices through the rasterized UVs (1 as released).
            antialias: samples per pixel and axis that decide how much of a pixel the mesh covers (1, off, as released).
        """
        super().__init__()
        self.latent_shape = tuple(latent_shape)
        if texture_unit not in TEXTURE_UNITS:
            raise ConfigError(f"model.texture_unit is one of {', '.join(TEXTURE_UNITS)}, not {texture_unit!r}.")
        if antialias < 1:
            raise ConfigError(f"model.antialias is a number of samples per pixel and axis, 1 or more, not {antialias}.")
        self.rasterizer = registry.build("rasterizer", parts["rasterizer"])
        self.driver = registry.build("driver", parts["driver"], self.latent_shape, parts["rasterizer"])
        self.requires = (*self.driver.requires, "mesh.head_pose", "view.camera")
        self.test_inputs = self.driver.test_inputs
        self.decoder = DeepAppearanceDecoder(prod(latent_shape), hidden, view_features, texture_channels, untied_bias)
        self.colour_correction = ColourCorrection(unseen_camera) if colour_correction else None
        self.texture_unit, self.uv_gradient, self.antialias = texture_unit, uv_gradient, antialias

    def bind(self, summary: CaptureSummary) -> None:
        """Make the mesh layer, keep topology, means and units.

        Raises:
            ConfigError: the capture's mean texture has another side than the decoded one.
        """
        size, expected = summary.texture_mean.shape[-1], self.decoder.texture_size
        if size != expected:
            raise ConfigError(
                f"model 'deep_appearance' decodes textures of side {expected}, but the capture's are of side {size}; "
                f"set data.texture_size={expected}, or give texture_channels one entry per doubling from 8 to {size}."
            )
        self.driver.bind(summary)
        self.decoder.bind(len(summary.vertex_mean))
        if self.colour_correction is not None:
            self.colour_correction.bind(summary.cameras)
        topology = fill_small_holes(summary.topology)  # a tracker's holes are not the head's
        for name, tensor in {
            "triangles": topology.triangles,
            "uvs": topology.uvs,
            "uv_triangles": topology.uv_triangles,
            "vertex_mean": summary.vertex_mean,
            "texture_mean": summary.texture_mean,
        }.items():
            self.register_buffer(name, tensor.clone(), persistent=False)
        self.vertex_std = summary.spread("vertex_std", "model 'deep_appearance'")
        self.texture_std = summary.spread(self.texture_unit, "model 'deep_appearance'")

    def parts(self) -> dict[str, nn.Module]:
        """Return the parts: driver, decoder, colour_correction."""
        parts = {"driver": self.driver, "decoder": self.decoder, "colour_correction": self.colour_correction}
        return {name: part for name, part in parts.items() if part is not None}

    def predict(self, batch: HeadBatch, phase: str, carry: dict[str, Any]) -> Prediction:
        """Encode, decode and draw, keeping what the loss terms read."""
        code = self.driver(batch)
        prediction = self.decode(batch, code.value)
        prediction.extras |= {"code_mean": code.mean, "code_log_std": code.log_std}
        return prediction

    @torch.no_grad()
    def render(self, batch: HeadBatch) -> Prediction:
        """Render the batch from the code's mean."""
        code = self.driver(batch)
        return self.decode(batch, code.value if code.mean is None else code.mean)

    def decode(self, batch: HeadBatch, code: Tensor) -> Prediction:
        """Render a code from the batch's cameras.

        Args:
            batch: view.camera and mesh.head_pose are read.
            code: B,*latent_shape.

        Returns:
            image, coverage, depth, vertices, alpha (share of each pixel that is covered); extras: texture B,3,T,T (sRGB
            around 0..1, colour-corrected), tracked_vertices, raster, uv B,H,W,2, mesh_triangles.
        """
        if batch.view is None or batch.mesh is None:
            raise ConfigError("model 'deep_appearance' renders view.camera at mesh.head_pose; the batch lacks one of them.")
        camera, pose = batch.view.camera, batch.mesh.head_pose
        with torch.autocast(code.device.type, enabled=False):
            direction = view_vector(camera, pose)
        vertices, texture = self.decode_object(code, direction, camera)
        with torch.autocast(code.device.type, enabled=False):
            R, t = face_to_camera(camera, pose)
            points = to_camera(vertices, R, t)
            clip = to_clip(points, camera.K, camera.size)
            raster, alpha = self.rasterizer.rasterize(clip, self.triangles, camera.size), None
            if self.antialias > 1:
                raster, alpha = add_touched_pixels(self.rasterizer, clip, self.triangles, raster, self.antialias)
            uv = self.rasterizer.interpolate(self.uvs[None], raster, self.uv_triangles)
            depth = self.rasterizer.interpolate(points[..., 2:].contiguous(), raster, self.triangles)
        covered = raster[..., 3] > 0
        image = self._draw(covered, uv, texture)
        if alpha is not None:
            image = image * alpha[..., None]
        return Prediction(
            image=image.permute(0, 3, 1, 2),
            coverage=covered[:, None],
            depth=depth.permute(0, 3, 1, 2),
            vertices=vertices,
            alpha=None if alpha is None else alpha[:, None],
            extras={
                "texture": texture,
                "tracked_vertices": vertices,
                "raster": raster,
                "uv": uv,
                "mesh_triangles": self.triangles,
            },
        )

    def decode_object(self, code: Tensor, direction: Tensor, camera: Camera | None = None) -> tuple[Tensor, Tensor]:
        """Decode what does not depend on the pixels: the per-object half of the model.

        Args:
            code: B,*latent_shape.
            direction: B,3 unit vectors from the head to the camera, face-centric.
            camera: whose colours to give, or None for the first camera's.

        Returns:
            B,V,3 mm face-centric and B,3,T,T sRGB around 0..1, float32.
        """
        offsets, texture = self.decoder(code.flatten(1), direction)
        with torch.autocast(code.device.type, enabled=False):
            vertices, texture = self.vertex_mean + self.vertex_std * offsets.float(), texture.float()
            if self.colour_correction is None or camera is None:
                return vertices, torch.add(self.texture_mean, texture, alpha=self.texture_std)
            # The correction is in units of the spread; this way it takes two passes over the texture, not four.
            gain, bias = (self.texture_std * factor[:, :, None, None] for factor in self.colour_correction.factors(camera))
            return vertices, torch.addcmul(self.texture_mean, texture, gain).add_(bias)

    def _draw(self, covered: Tensor, uv: Tensor, texture: Tensor) -> Tensor:
        found = uv[covered]
        if self.uv_gradient != 1:
            constant = found.detach()
            found = torch.lerp(constant, found, self.uv_gradient) if self.uv_gradient else constant
        counts = covered.flatten(1).sum(1).tolist()
        colours = self.shade(texture, counts, found)
        image = colours.new_zeros(*covered.shape, 3)
        image[covered] = colours
        return image

    def shade(self, textures: Tensor, counts: list[int], uv: Tensor) -> Tensor:
        """Look pixels up in several textures: the per-pixel half of the model.

        Args:
            textures: B,3,T,T.
            counts: B numbers of pixels; the pixels come texture by texture.
            uv: N,2 surface coordinates.

        Returns:
            N,3 float32 sRGB around 0..1, not clamped.
        """
        parts = zip(textures.split(1), uv.split(counts), strict=True)
        return torch.cat([sample_map(one, part)[0] for one, part in parts], dim=0)

    def halves(self) -> Halves:
        """Return the decoder of mesh and texture, and the texture's lookup (see ``Avatar``)."""
        code = torch.zeros(1, *self.latent_shape, device=self.vertex_mean.device)
        towards = code.new_tensor([[0.0, 0.0, 1.0]])

        def decode() -> tuple[Tensor, Tensor]:
            return self.decode_object(code, towards)

        def shade(texture: Tensor, uv: Tensor, xyz: Tensor) -> Tensor:
            return self.shade(texture, [len(uv)], uv)

        topology = (self.triangles, self.uvs, self.uv_triangles)
        return Halves(decode, shade, (self.decoder,), *topology, self.rasterizer)

    def after_step(self, batch: HeadBatch, prediction: Prediction, average: Callable[[Tensor], Tensor]) -> None:
        """Remember which cameras were trained on."""
        if self.colour_correction is not None and batch.view is not None:
            self.colour_correction.note(batch.view.camera, average)
