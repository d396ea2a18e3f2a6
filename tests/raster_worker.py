"""One training-like step of the Warp rasterizer, importable by worker processes."""

from __future__ import annotations

from multiprocessing.connection import Connection

import torch
from raster_scenes import grid
from torch import Tensor

from avatarzoo import registry


def step() -> list[Tensor]:
    """Rasterize and interpolate three images, and return the picture and all gradients."""
    rasterizer = registry.build("rasterizer", "warp")
    clip, triangles = grid(40, 40, 0.2, 0, (48, 64))
    clip = torch.cat([clip, 1.1 * clip, clip.flip(1)]).requires_grad_()
    own = torch.randn(3, clip.shape[1], 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    shared = torch.randn(1, clip.shape[1], 2, generator=torch.Generator().manual_seed(2)).requires_grad_()
    raster = rasterizer.rasterize(clip, triangles, (48, 64))
    picture = torch.cat([rasterizer.interpolate(a, raster, triangles) for a in (own, shared)], -1)
    picture.square().sum().backward()
    return [picture.detach(), clip.grad, own.grad, shared.grad]


def send_step(pipe: Connection) -> None:
    """Send what ``step`` gives, as arrays."""
    torch.set_num_threads(1)  # as torch's loader workers do: its own thread pool does not survive a fork
    pipe.send([tensor.numpy() for tensor in step()])
