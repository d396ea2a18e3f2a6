"""PiCA: a code grows into a position map and an expression map; covered pixels are shaded by a 307-parameter SIREN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from avatarzoo import registry
from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.capture import CaptureSummary
from avatarzoo.errors import ConfigError
from avatarzoo.geometry.cameras import face_to_camera, to_camera, to_clip, view_vector
from avatarzoo.geometry.uv import sample_map
from avatarzoo.models.base import Avatar, Halves
from avatarzoo.models.pica.decoders import MapDecoder
from avatarzoo.models.pica.mesh import PicaMesh
from avatarzoo.models.pica.pixel_decoder import PixelDecoder
from avatarzoo.rasterizers.coverage import add_touched_pixels
from avatarzoo.registry import register


@register("model", "pica")
class PiCA(Avatar):
    """Pixel Codec Avatar: dense mesh and local expression codes from a latent code, colour per covered pixel.

    Source: Ma et al., Pixel Codec Avatars, CVPR 2021; what the text leaves open is an option here.
    """

    uses = ("driver", "encoding", "rasterizer")
    may_use = ("warp",)

    def __init__(
        self,
        parts: Mapping[str, Any],
        *,
        position_size: int = 256,
        latent_channels: int = 4,
        latent_size: int = 8,
        geometry_channels: list[int] = [32, 16, 16, 8],  # noqa: B006 - a schema default, never changed
        expression_channels: list[int] = [32, 16, 16, 8],  # noqa: B006
        code_dim: int = 4,
        code_limit: float | None = None,
        block: str = "D+",
        upsample: str = "bilinear",
        weight_norm: bool = False,
        geometry_residual: str = "mean",
        mesh: str = "dense",
        omega: float = 30.0,
        hidden: int = 8,
        colour_space: str = "scalar",
        colour_base: str = "mean_colour",
        colour_gain: float = 1.0,
        xyz_gradient: bool = False,
        uv_gradient: float = 1.0,
        antialias: int = 1,
        channels_last: bool = False,
        mean_mesh_rate: float = 1.0e-4,
        mean_mesh_fraction: float | None = None,
    ) -> None:
        """Build everything that does not depend on the capture.

        Args:
            parts: configuration of driver, encoding and rasterizer.
            position_size: side P of the position and expression maps.
            latent_channels, latent_size: the code is latent_channels x latent_size x latent_size.
            geometry_channels, expression_channels: of the blocks before the last; log2(P / latent_size) - 1 of them.
            code_dim: channels of the expression map.
            code_limit: when given, expression codes are squashed to this range, limit * tanh(code / limit). Codes of 10 and
                more turn the pixel decoder's sines by whole periods; short runs at high rates diverge (off in the paper).
            block: layout of the decoder blocks (``decoders.BLOCKS``).
            upsample: "bilinear" or "nearest".
            weight_norm: on the decoders' untied convolutions.
            geometry_residual: "mean": vertices are the mean face plus vertex std times the decoded map; "none": the map is
                the position itself, in units of the vertex std.
            mesh: "dense" (a vertex per covered texel) or "tracked" (the capture's topology: the paper's Coarse).
            omega: frequency of the sines.
            hidden: width of the pixel SIREN.
            colour_space, colour_base: see ``PixelDecoder``.
            colour_gain: factor on the outputs' spread; above 1 the last layer reaches far colours (the dark rim of a
                silhouette) in fewer steps.
            xyz_gradient: let the image loss reach the geometry through the pixel decoder's positions too (B.3 advises
                against it).
            uv_gradient: factor on the image loss's gradient to the geometry through the rasterized UVs (1 in the paper). On
                pixels where the mesh overhangs the background no UV explains the colour, and in short runs the
                gradient tears the mesh outwards; depth and tracking then have to shape it.
            antialias: samples per pixel and axis that decide how much of a pixel the mesh covers; above 1, pixels the mesh
                only touches are shaded too and all are weighted by their covered share, over black. 1 (off) in the paper.
            channels_last: keep the convolutions' weights and activations in channels_last order: faster for narrow
                layers on a CPU; wide ones at paper scale meet oneDNN's slow reference kernel there.
            mean_mesh_rate: of the moving average V_mu per step.
            mean_mesh_fraction: when given, V_mu's time constant is this fraction of the run instead (short runs).
        """
        super().__init__()
        blocks = len(geometry_channels) + 1
        if latent_size * 2**blocks != position_size or len(expression_channels) + 1 != blocks:
            raise ConfigError(
                f"model.position_size={position_size} needs log2({position_size}/{latent_size}) - 1 entries in "
                f"geometry_channels and expression_channels, got {len(geometry_channels)} and {len(expression_channels)}."
            )
        if geometry_residual not in ("mean", "none"):
            raise ConfigError(f"model.geometry_residual is 'mean' or 'none', not {geometry_residual!r}.")
        shape = self.latent_shape = (latent_channels, latent_size, latent_size)
        self.rasterizer = registry.build("rasterizer", parts["rasterizer"])
        self.driver = registry.build("driver", parts["driver"], shape, parts["rasterizer"])
        self.encoding = registry.build("encoding", parts["encoding"], 2)
        self.warp = registry.build("warp", parts["warp"]) if parts.get("warp") else None
        frame = ("driving.frame",) if self.warp is not None else ()
        self.requires = (*self.driver.requires, *frame, "mesh.head_pose", "view.camera")
        self.test_inputs = self.driver.test_inputs
        side = (latent_size, block, upsample, weight_norm)
        self.geometry = MapDecoder(latent_channels, [*geometry_channels, 3], *side)
        self.expression = MapDecoder(latent_channels + 3, [*expression_channels, code_dim], *side)
        colours = (colour_space, colour_base, colour_gain)
        self.pixel_decoder = PixelDecoder(code_dim, self.encoding.out_dim, omega, hidden, *colours)
        self.mesh = PicaMesh(mesh, position_size, geometry_residual)
        self.xyz_gradient, self.uv_gradient = xyz_gradient, uv_gradient
        if antialias < 1:
            raise ConfigError(f"model.antialias is a number of samples per pixel and axis, 1 or more, not {antialias}.")
        if code_limit is not None and not code_limit > 0:
            raise ConfigError(f"model.code_limit is the largest expression code, above 0, or null, not {code_limit!r}.")
        self.code_limit = code_limit
        self.antialias, self.channels_last = antialias, channels_last
        self.mean_mesh_rate, self.mean_mesh_fraction = mean_mesh_rate, mean_mesh_fraction

    def bind(self, summary: CaptureSummary) -> None:
        """Build the mesh topology and keep the capture's units."""
        self.driver.bind(summary)
        self.encoding.bind(summary)
        self.pixel_decoder.bind(summary)
        self.mesh.bind(summary, self.rasterizer)
        if self.warp is not None:
            self.warp.bind(summary)
            self.rests = any(True for _ in self.warp.parameters())
        if self.channels_last:
            for part in (self.driver, self.geometry, self.expression):
                part.to(memory_format=torch.channels_last)

    def parts(self) -> dict[str, nn.Module]:
        """Return the parts: driver, geometry, expression, encoding, pixel_decoder and, where there is one, warp."""
        names = ("driver", "geometry", "expression", "encoding", "pixel_decoder")
        names += ("warp",) if self.warp is not None and any(True for _ in self.warp.parameters()) else ()
        return {name: getattr(self, name) for name in names}

    def predict(self, batch: HeadBatch, phase: str, carry: dict[str, Any]) -> Prediction:
        """Encode, decode, rasterize and shade, keeping what the loss terms read."""
        self.encoding.set_progress(self.progress)
        code = self.driver(batch)
        prediction = self.decode(batch, code.value, warped=self.warp is not None and self.warp.is_on(self))
        if self.warp is not None:
            prediction.extras |= self.warp.penalties(batch.driving.frame)  # type: ignore[union-attr]
        prediction.extras |= {"code_mean": code.mean, "code_log_std": code.log_std}
        prediction.extras |= self.mesh.training_extras(prediction.extras["position_map"], prediction.vertices)
        return prediction

    @torch.no_grad()
    def render(self, batch: HeadBatch) -> Prediction:
        """Render the batch from the code's mean."""
        code = self.driver(batch)
        return self.decode(batch, code.value if code.mean is None else code.mean)

    def decode(self, batch: HeadBatch, code: Tensor, warped: bool = False) -> Prediction:
        """Render a code from the batch's cameras.

        Args:
            batch: view.camera and mesh.head_pose are read.
            code: B,4,8,8.
            warped: draw the vertices where the frame's warp moves them; colours and ``vertices`` stay those before it.

        Returns:
            image, coverage, depth, vertices, alpha (share of each pixel that is covered); extras: position_map B,3,P,P,
            raster, uv B,H,W,2, mesh_triangles.
        """
        if batch.view is None or batch.mesh is None:
            raise ConfigError("model 'pica' renders view.camera at mesh.head_pose; the batch lacks one of them.")
        camera, pose = batch.view.camera, batch.mesh.head_pose
        position_map = self.geometry(code).float()
        with torch.autocast(code.device.type, enabled=False):
            direction = view_vector(camera, pose)
        expression_map = self.expression_map(code, direction)
        vertices = self.mesh.vertices(position_map)
        with torch.autocast(code.device.type, enabled=False):
            R, t = face_to_camera(camera, pose)
            drawn = self.warp.of_vertices(vertices, batch.driving.frame) if warped else vertices  # type: ignore
            points = to_camera(drawn, R, t)
            clip = to_clip(points, camera.K, camera.size)
            raster = self.rasterizer.rasterize(clip, self.mesh.triangles, camera.size)
            alpha = None
            if self.antialias > 1:
                raster, alpha = add_touched_pixels(self.rasterizer, clip, self.mesh.triangles, raster, self.antialias)
            uv = self.rasterizer.interpolate(self.mesh.uvs[None], raster, self.mesh.uv_triangles)
            depth = self.rasterizer.interpolate(points[..., 2:], raster, self.mesh.triangles)
        covered = raster[..., 3] > 0
        image = self._draw(covered, uv, expression_map, vertices, raster)
        if alpha is not None:
            image = image * alpha[..., None]
        return Prediction(
            image=image.permute(0, 3, 1, 2),
            coverage=covered[:, None],
            depth=depth.permute(0, 3, 1, 2),
            vertices=vertices,
            alpha=None if alpha is None else alpha[:, None],
            extras={
                "position_map": position_map,
                "raster": raster,
                "uv": uv,
                "mesh_triangles": self.mesh.triangles,
            },
        )

    def expression_map(self, code: Tensor, direction: Tensor) -> Tensor:
        """Decode a code into the map of local expression codes, as it is seen from a direction.

        Args:
            code: B,4,8,8.
            direction: B,3 unit vectors from the head to the camera, face-centric.

        Returns:
            B,C,P,P.
        """
        seen = torch.cat([code, direction[:, :, None, None].expand(-1, -1, *code.shape[2:])], dim=1)
        codes = self.expression(seen)
        return codes if self.code_limit is None else self.code_limit * torch.tanh(codes / self.code_limit)

    def _draw(self, covered: Tensor, uv: Tensor, codes: Tensor, vertices: Tensor, raster: Tensor) -> Tensor:
        # only covered pixels reach the networks: the cost follows what is visible
        source = vertices if self.xyz_gradient else vertices.detach()
        with torch.set_grad_enabled(self.xyz_gradient and torch.is_grad_enabled()):
            xyz = self.rasterizer.interpolate(source, raster if self.xyz_gradient else raster.detach(), self.mesh.triangles)
        pixels_uv = uv[covered]
        if self.uv_gradient != 1:
            constant = pixels_uv.detach()
            pixels_uv = torch.lerp(constant, pixels_uv, self.uv_gradient) if self.uv_gradient else constant
        colours = self.shade(codes, covered.flatten(1).sum(1).tolist(), pixels_uv, xyz[covered])
        image = colours.new_zeros(*covered.shape, 3)
        image[covered] = colours
        return image

    def shade(self, codes: Tensor, counts: list[int], uv: Tensor, xyz: Tensor) -> Tensor:
        """Shade pixels of several expression maps: the per-pixel half of the model.

        Args:
            codes: B,C,P,P expression maps.
            counts: B numbers of pixels; the pixels come map by map.
            uv: N,2 surface coordinates.
            xyz: N,3 mm face-centric.

        Returns:
            N,3 float32 sRGB around 0..1, not clamped.
        """
        parts = zip(codes.split(1), uv.split(counts), strict=True)
        code = torch.cat([sample_map(one, part)[0] for one, part in parts], dim=0)
        return self.pixel_decoder(code, xyz, self.encoding(uv), uv)

    def halves(self) -> Halves:
        """Return the decoders with the mesh, and the pixel decoder with its lookups (see ``Avatar``)."""
        code = torch.zeros(1, *self.latent_shape, device=self.mesh.mean.device)
        towards = code.new_tensor([[0.0, 0.0, 1.0]])

        def decode() -> tuple[Tensor, Tensor]:
            position_map = self.geometry(code).float()
            return self.mesh.vertices(position_map), self.expression_map(code, towards).float()

        def shade(codes: Tensor, uv: Tensor, xyz: Tensor) -> Tensor:
            return self.shade(codes, [len(uv)], uv, xyz)

        topology = (self.mesh.triangles, self.mesh.uvs, self.mesh.uv_triangles)
        return Halves(decode, shade, (self.geometry, self.expression), *topology, self.rasterizer)

    def after_step(self, batch: HeadBatch, prediction: Prediction, average: Callable[[Tensor], Tensor]) -> None:
        """Move V_mu towards the batch's mean mesh (supplement equation 3)."""
        mean = average(prediction.vertices.detach().mean(0))
        self.mesh.update_mean(mean, self.mean_mesh_rate, self.mean_mesh_fraction, self.progress)
