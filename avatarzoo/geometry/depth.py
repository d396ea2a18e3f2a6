"""Depth maps: back to camera-frame points, and to normals."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def unproject(depth: Tensor, K: Tensor) -> Tensor:
    """Lift a depth map to points.

    Args:
        depth: B,1,H,W mm along the camera's z.
        K: B,3,3, pixel centres at integers.

    Returns:
        B,3,H,W mm in the camera's frame.
    """
    height, width = depth.shape[-2:]
    rows, columns = torch.meshgrid(
        torch.arange(height, device=depth.device, dtype=depth.dtype),
        torch.arange(width, device=depth.device, dtype=depth.dtype),
        indexing="ij",
    )
    pixels = torch.stack([columns, rows, torch.ones_like(rows)]).reshape(3, -1)
    rays = torch.linalg.inv(K.to(depth.dtype)) @ pixels
    return rays.reshape(-1, 3, height, width) * depth


def normals_from_depth(depth: Tensor, K: Tensor) -> Tensor:
    """Return screen-space normals from forward differences of a depth map.

    Args:
        depth: B,1,H,W mm.
        K: B,3,3.

    Returns:
        B,3,H,W unit normals in the camera's frame, towards the camera (negative z); 0 in the last row and column.
    """
    x, y, z = unproject(depth, K).unbind(1)
    right = [c[:, :-1, 1:] - c[:, :-1, :-1] for c in (x, y, z)]
    down = [c[:, 1:, :-1] - c[:, :-1, :-1] for c in (x, y, z)]
    # written out by component: a cross product and a norm over a strided axis of 3 are an order slower on the CPU
    normal = [down[i] * right[j] - down[j] * right[i] for i, j in ((1, 2), (2, 0), (0, 1))]
    length = (normal[0].square() + normal[1].square() + normal[2].square() + 1e-24).sqrt()
    return F.pad(torch.stack([c / length for c in normal], dim=1), (0, 1, 0, 1))
