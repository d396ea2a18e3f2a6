"""The interface of every rasterizer: nvdiffrast's conventions."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch.nn.functional as F
from torch import Tensor


class Rasterizer(ABC):
    """Turn triangles into pixels, and carry gradients back through barycentrics.

    ``rasterize`` returns, for each pixel, (u, v, z/w, triangle id + 1); all zero where empty. Row 0 lies at ndc y = -1
    and the centre of pixel (column, row) at ((2 column + 1) / W - 1, (2 row + 1) / H - 1); larger z/w is farther;
    triangles are drawn from both sides and clipped to the frustum; coverage is decided on vertices snapped to 1/16
    pixel, so two triangles that share an edge never both draw a pixel nor leave one out; u and v are the
    perspective-correct weights of corners 0 and 1, clamped to 0..1 with u + v <= 1. Gradients flow through u and v
    only, to x, y and w.
    """

    @classmethod
    def available(cls) -> str | None:
        """Return None when the backend can be used here, else a sentence saying why not and how to get it."""
        return None

    @abstractmethod
    def rasterize(self, clip: Tensor, triangles: Tensor, size: tuple[int, int]) -> Tensor:
        """Draw triangles.

        Args:
            clip: B,V,4 float32 clip-space positions.
            triangles: F,3 int32, the same for all images.
            size: (H, W).

        Returns:
            B,H,W,4 float32 (u, v, z/w, triangle id + 1), differentiable with respect to ``clip`` through u and v.
        """

    @abstractmethod
    def interpolate(self, attributes: Tensor, raster: Tensor, triangles: Tensor) -> Tensor:
        """Interpolate vertex attributes over a raster.

        Args:
            attributes: B,V,C or 1,V,C float32 (1 is shared by all images).
            raster: B,H,W,4 from ``rasterize``.
            triangles: F,3 int32 ids into the attributes; may differ from the triangles drawn (wedge UVs).

        Returns:
            B,H,W,C float32, 0 off the mesh; differentiable with respect to attributes and the raster's u, v.
        """

    def texture(self, texture: Tensor, uv: Tensor) -> Tensor:
        """Look a map up bilinearly, texel centres at (i + 0.5) / size, clamped at the border.

        Args:
            texture: B,H,W,C or 1,H,W,C float32, row 0 at v = 0.
            uv: B,h,w,2 float32.

        Returns:
            B,h,w,C float32.
        """
        channels_first = texture.permute(0, 3, 1, 2).expand(uv.shape[0], -1, -1, -1)
        picked = F.grid_sample(channels_first, 2 * uv - 1, mode="bilinear", padding_mode="border", align_corners=False)
        return picked.permute(0, 2, 3, 1)
