"""How much of each pixel a mesh covers, by supersampling: antialiased silhouettes for any rasterizer."""

from __future__ import annotations

import torch
from torch import Tensor

from avatarzoo.rasterizers.base import Rasterizer


@torch.no_grad()
def add_touched_pixels(
    rasterizer: Rasterizer, clip: Tensor, triangles: Tensor, raster: Tensor, samples: int
) -> tuple[Tensor, Tensor]:
    """Extend a raster to the pixels whose centre the mesh misses, and measure every pixel's covered share.

    A camera's picture integrates over the pixel; a raster asks its centre only. Along silhouettes that leaves
    half-covered pixels empty or full, an error of half the contrast to the background in each of them.

    Args:
        rasterizer: any backend.
        clip: B,V,4 clip-space positions.
        triangles: F,3 int32.
        raster: B,H,W,4 of these at the pixels' centres.
        samples: S per pixel and axis.

    Returns:
        The raster, with the first covered sample's entry in pixels that were empty but are touched (no gradient flows
        through those), and B,H,W float32 shares in 0..1, at least 1 / S^2 where the raster is not empty.
    """
    batch, height, width, _ = raster.shape
    fine = rasterizer.rasterize(clip.detach(), triangles, (height * samples, width * samples))
    hit = fine[..., 3].view(batch, height, samples, width, samples) > 0
    share = hit.to(fine.dtype).mean((2, 4))
    drawn = raster[..., 3] > 0
    share = torch.where(drawn, share.clamp_min(1 / samples**2), share)
    # few pixels are touched and not drawn; only theirs are looked at sample by sample
    image, row, column = torch.nonzero((share > 0) & ~drawn, as_tuple=True)
    inside = hit.transpose(2, 3)[image, row, column].flatten(1)
    first = inside.to(torch.uint8).argmax(1)
    chosen = fine[image, row * samples + first // samples, column * samples + first % samples]
    with torch.enable_grad():
        raster = raster.index_put((image, row, column), chosen)
    return raster, share
