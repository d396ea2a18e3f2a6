"""Local tables of every anchor and the network that blends them: from a mesh to a scene the field reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn

from avatarzoo import registry
from avatarzoo.capture import CaptureSummary
from avatarzoo.errors import ConfigError
from avatarzoo.geometry.uv import rasterize_charts, sample_map
from avatarzoo.models.hash_blendshapes.anchors import Anchors
from avatarzoo.models.hash_blendshapes.field import Scene
from avatarzoo.models.hash_blendshapes.unet import UVNet

EXPRESSIONS = ("unet", "static")
DISPLACEMENTS = ("from_neutral", "from_mean")


class LocalBlendshapes(nn.Module):
    """Hash tables per anchor, blended by weights that a U-Net reads off the mesh's displacement from its neutral.

    Blended tables and a look-up in each are the same numbers as look-ups in all and a blend: interpolation is linear in the
    entries. Tables are blended first, so that a look-up costs the same for any number of blendshapes.

    Source: supplement A and C.1.
    """

    def __init__(
        self,
        encoding: Mapping[str, Any],
        *,
        blendshapes: int,
        features: int,
        expression: str,
        displacement_input: str = "from_neutral",
        uv_size: int,
        encoder: Sequence[int],
        decoder: Sequence[int],
        weight_bias: float,
        weight_scale: float,
    ) -> None:
        """Remember the options and make what does not depend on the capture.

        Args:
            encoding: node of a "hash_grid", or of "none" for a model without tables.
            blendshapes: tables per anchor; the last has the constant weight 1.
            features: channels of each anchor's feature.
            expression: "unet" or "static" (features are parameters; only with one blendshape).
            displacement_input: "from_neutral" or "from_mean" of the capture.
            uv_size, encoder, decoder: of the U-Net.
            weight_bias, weight_scale: what predicted weights start around, and by how much they differ.

        Raises:
            ConfigError: options that do not fit.
        """
        super().__init__()
        if expression not in EXPRESSIONS:
            raise ConfigError(f"model.expression is {' or '.join(EXPRESSIONS)}, not {expression!r}.")
        if blendshapes < 1 or (expression == "static" and blendshapes != 1):
            raise ConfigError(f"model.blendshapes={blendshapes}: give 1 or more, and 1 with expression=static.")
        if encoding["name"] not in ("hash_grid", "none"):
            raise ConfigError(f"hash_blendshapes takes encoding=hash_grid or none, not {encoding['name']!r}.")
        if displacement_input not in DISPLACEMENTS:
            raise ConfigError(f"model.displacement_input is {' or '.join(DISPLACEMENTS)}, not {displacement_input!r}.")
        self.displacement_input = displacement_input
        self.node = dict(encoding)
        self.has_tables = encoding["name"] == "hash_grid"
        self.blendshapes = blendshapes if self.has_tables else 1
        self.feature_channels, self.expression, self.uv_size = features, expression, uv_size
        self.unet = None
        if expression == "unet":
            self.unet = UVNet(uv_size, encoder, decoder, self.blendshapes - 1 + features)
            with torch.no_grad():
                self.unet.out.weight[: self.blendshapes - 1].normal_(0, weight_scale)
                self.unet.out.bias[: self.blendshapes - 1].fill_(weight_bias)
        self.table_channels = self.node.get("levels", 16) * self.node.get("channels", 2) if self.has_tables else 0

    def bind(self, summary: CaptureSummary, anchors: Anchors, rasterizer: Any) -> None:
        """Make the tables and the way from vertices to a displacement map.

        Args:
            summary: of the capture.
            anchors: bound.
            rasterizer: any backend; draws the atlas once.
        """
        count = len(anchors)
        if self.has_tables:
            self.grid = registry.build("encoding", self.node | {"tables": count * self.blendshapes}, 3)
        if self.expression == "static" and self.feature_channels:
            self.static = nn.Parameter(0.1 * torch.randn(count, self.feature_channels))
        topology = summary.topology
        texels = rasterize_charts(topology, self.uv_size, rasterizer)
        # bilinear lookups and convolutions read across seams: every texel takes the value of the nearest charted one
        nearest = distance_transform_edt(~texels.covered.numpy(), return_distances=False, return_indices=True)
        row_of = np.zeros(texels.covered.shape, dtype=np.int64)
        row_of[texels.covered.numpy()] = np.arange(int(texels.covered.sum()))
        rows = torch.from_numpy(row_of[tuple(nearest)].reshape(-1))
        corners = topology.triangles.long()[texels.points.triangle[rows]]
        rest = summary.neutral_vertices if self.displacement_input == "from_neutral" else summary.vertex_mean
        buffers = {
            "corners": corners,
            "corner_weights": texels.points.weights[rows],
            "rest": rest.float(),
            "uv": anchors.uv,
        }
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor.clone(), persistent=False)
        self.unit = float(summary.vertex_std)

    def displacement_map(self, vertices: Tensor) -> Tensor:
        """Resample the displacement from the rest into the atlas: B,V,3 mm -> B,3,S,S in units of the vertex std."""
        moved = (vertices - self.rest) / self.unit
        picked = moved[:, self.corners.reshape(-1)].unflatten(1, self.corners.shape)
        values = (picked * self.corner_weights[None, :, :, None]).sum(2)
        return values.transpose(1, 2).unflatten(2, (self.uv_size, self.uv_size)).contiguous()

    def forward(self, vertices: Tensor, anchors: Anchors) -> Scene:
        """Make the scene of meshes.

        Args:
            vertices: B,V,3 float32 mm.
            anchors: bound to the same topology.
        """
        with torch.autocast(vertices.device.type, enabled=False):
            frames = anchors(vertices)
        weights, features = self.weights_and_features(vertices)
        tables = self.blend_tables(weights) if self.has_tables else None
        return Scene(frames.positions, frames.axes, tables, features, weights)

    def weights_and_features(self, vertices: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return blend weights B,A,J (the last is 1) and features B*A,F."""
        images, count = len(vertices), len(self.uv)
        ones = vertices.new_ones(images, count, 1)
        if self.unet is None:
            features = (
                self.static.expand(images, -1, -1).reshape(-1, self.feature_channels) if self.feature_channels else None
            )
            return ones, features
        picked = sample_map(self.unet(self.displacement_map(vertices)), self.uv)
        weights = torch.cat([picked[..., : self.blendshapes - 1].float(), ones], dim=-1)
        features = picked[..., self.blendshapes - 1 :].reshape(images * count, self.feature_channels)
        return weights, features if self.feature_channels else None

    def blend_tables(self, weights: Tensor) -> Tensor:
        """Blend every anchor's tables: B,A,J -> B*A,entries,C."""
        images, count, shapes = weights.shape
        values = self.grid.values.reshape(count, shapes, -1)
        with torch.autocast(values.device.type, enabled=False):  # small entries would be lost in half precision
            blended = torch.bmm(weights.transpose(0, 1).to(values.dtype), values)  # A,B,entries*C
        return blended.transpose(0, 1).reshape(images * count, *self.grid.values.shape[1:])

    def look_up(self, points: Tensor, tables: Tensor, table: Tensor) -> Tensor:
        """Look points up in blended tables; see ``HashGrid.look_up``."""
        return self.grid.look_up(points, tables, table)
