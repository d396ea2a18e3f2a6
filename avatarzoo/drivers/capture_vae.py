"""The codec driver: a variational encoder of the frame's average texture and tracked mesh."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from avatarzoo import registry
from avatarzoo.batch import HeadBatch
from avatarzoo.capture import CaptureSummary
from avatarzoo.drivers.base import Code, Driver
from avatarzoo.errors import ConfigError
from avatarzoo.geometry.meshes import fill_small_holes
from avatarzoo.geometry.uv import SurfacePoints, TexelMap, rasterize_charts
from avatarzoo.layers import glorot_
from avatarzoo.noise import seeded_normal, seeded_uniform
from avatarzoo.registry import register


@register("driver", "capture_vae")
class CaptureVAE(Driver):
    """Average texture and tracked position map to the posterior of a C x 8 x 8 code; its mean at test time.

    Two stride-2 convolutions of the texture meet a 1x1 convolution of the position map, then stride-2 convolutions go
    down to the code's side; every convolution is followed by LeakyReLU(0.2), two 1x1 heads give mean and log-std.
    Texture and positions enter as offsets from the capture's means, divided by its standard deviations; texels nobody
    saw enter as 0, the mean.

    Source: PiCA supplement B.1. Padding is forced by the stated sizes; the squashing of the heads follows Multiface.
    """

    requires = ("texture.average", "texture.coverage", "mesh.vertices")
    test_inputs = "pictures"

    def __init__(
        self,
        shape: tuple[int, int, int],
        rasterizer: Mapping[str, Any] | str = "warp",
        *,
        position_size: int = 256,
        texture_channels: list[int] = [512, 256],  # noqa: B006 - a schema default, never changed
        position_channels: int = 256,
        joint_channels: list[int] = [128, 64, 32, 16, 8],  # noqa: B006
        mean_scale: float = 0.1,
        log_std_scale: float = 0.01,
        log_std_start: float = 0.0,
        texture_unit: str = "texture_std",
        texture_dropout: float = 0.0,
    ) -> None:
        """Make the encoder.

        Args:
            shape: (channels, side, side) of the code.
            rasterizer: used once, to find the texels' triangles.
            position_size: side of the position map; the average texture has to be 4 times as large.
            texture_channels: of the two texture convolutions.
            position_channels: of the position map's 1x1 convolution.
            joint_channels: of the stride-2 convolutions after the concatenation; log2(position_size / side) of them.
            mean_scale, log_std_scale: factors on the heads' outputs (Multiface: 0.1 and 0.01; 1 switches them off).
            log_std_start: added to the log-std (0: the posterior starts as wide as the prior).
            texture_unit: what texture offsets are divided by: "texture_std" as Multiface, or "colour_std", the spread of
                the mean texture's colours. A few similar frames have a tiny texture std, and lids and lips then enter the
                network as values of 40, which drown the positions.
            texture_dropout: share of training samples whose texture is hidden (the mean takes its place). The code then
                learns lids and lips from the tracked mesh, which generalises from few frames.
        """
        super().__init__()
        channels, side, _ = shape
        if side * 2 ** len(joint_channels) != position_size:
            raise ConfigError(
                f"driver.joint_channels has {len(joint_channels)} convolutions, which take a {position_size} map to "
                f"{position_size // 2 ** len(joint_channels)}, but the code's side is {side}; "
                f"give log2({position_size}/{side})."
            )
        if texture_unit not in ("texture_std", "colour_std"):
            raise ConfigError(f"driver.texture_unit is 'texture_std' or 'colour_std', not {texture_unit!r}.")
        if not 0 <= texture_dropout < 1:
            raise ConfigError(f"driver.texture_dropout is a share of samples in 0..1, below 1, not {texture_dropout}.")
        self.texture_unit, self.texture_dropout = texture_unit, texture_dropout
        self.position_size, self.mean_scale, self.log_std_scale = position_size, mean_scale, log_std_scale
        self.log_std_start, self._rasterizer = log_std_start, rasterizer
        first, second = texture_channels
        self.texture_head = nn.Sequential(
            nn.Conv2d(3, first, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(first, second, 4, 2, 1), nn.LeakyReLU(0.2)
        )
        self.position_head = nn.Sequential(nn.Conv2d(3, position_channels, 1), nn.LeakyReLU(0.2))
        layers: list[nn.Module] = []
        width = second + position_channels
        for out in joint_channels:
            layers += [nn.Conv2d(width, out, 4, 2, 1), nn.LeakyReLU(0.2)]
            width = out
        self.joint = nn.Sequential(*layers)
        self.mean = nn.Conv2d(width, channels, 1)
        self.log_std = nn.Conv2d(width, channels, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                glorot_(module, slope=None if module in (self.mean, self.log_std) else 0.2)

    def bind(self, summary: CaptureSummary) -> None:
        """Keep the capture's means and the atlas; check the sizes."""
        size = summary.texture_mean.shape[-1]
        if size != 4 * self.position_size:
            raise ConfigError(
                f"driver 'capture_vae' with position_size={self.position_size} reads average textures of side "
                f"{4 * self.position_size}, but the capture gives {size}; set data.texture_size={4 * self.position_size}."
            )
        topology = fill_small_holes(summary.topology)
        texels = rasterize_charts(topology, self.position_size, registry.build("rasterizer", self._rasterizer))
        # all of it is in the checkpoint's summary already
        self.register_buffer("texture_mean", summary.texture_mean.clone(), persistent=False)
        self.register_buffer("vertex_mean", summary.vertex_mean.clone(), persistent=False)
        self.register_buffer("triangles", topology.triangles.clone(), persistent=False)
        self.register_buffer("covered", texels.covered, persistent=False)
        self.register_buffer("texel_triangle", texels.points.triangle, persistent=False)
        self.register_buffer("texel_weights", texels.points.weights, persistent=False)
        self.texture_std = summary.spread(self.texture_unit, "driver 'capture_vae'")
        self.vertex_std = summary.spread("vertex_std", "driver 'capture_vae'")

    def position_map(self, vertices: Tensor) -> Tensor:
        """Resample tracked vertices (B,V,3 mm) into normalised position maps (B,3,P,P)."""
        texels = TexelMap(self.covered, SurfacePoints(self.texel_triangle, self.texel_weights))
        return texels.to_map((vertices - self.vertex_mean) / self.vertex_std, self.triangles)

    def forward(self, batch: HeadBatch) -> Code:
        """Encode the batch (see ``Driver``)."""
        texture, mesh = batch.texture, batch.mesh
        if texture is None or mesh is None:
            raise ConfigError("driver 'capture_vae' needs texture.average and mesh.vertices in the batch.")
        picture = (texture.average - self.texture_mean) / self.texture_std * texture.coverage
        if self.training and self.texture_dropout:
            shown = seeded_uniform(batch.meta.noise_key, picture.device) >= self.texture_dropout
            picture = picture * shown[:, None, None, None]
        features = torch.cat([self.texture_head(picture), self.position_head(self.position_map(mesh.vertices))], dim=1)
        features = self.joint(features)
        with torch.autocast(features.device.type, enabled=False):  # the KL term is as exact as these
            mean = self.mean(features.float()) * self.mean_scale
            log_std = self.log_std(features.float()) * self.log_std_scale + self.log_std_start
        value = mean
        if self.training:
            value = mean + log_std.exp() * seeded_normal(tuple(mean.shape[1:]), batch.meta.noise_key, mean.device)
        return Code(value, mean, log_std)
