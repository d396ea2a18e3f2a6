"""Walk rays through an occupancy grid: how much of each is occupied, and where samples along that part lie.

Each step has two forms: a Warp kernel that visits a ray's cells one by one, and a torch twin that sorts all borders a ray
crosses. ``backend`` chooses; they agree to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from avatarzoo import warp_runtime
from avatarzoo.volume.occupancy import OccupancyGrid
from avatarzoo.volume.rays import Rays


def occupied_length(rays: Rays, grid: OccupancyGrid, limit: Tensor | None = None, backend: str = "warp") -> Tensor:
    """Return how much of each ray lies in occupied cells.

    Args:
        rays: N rays.
        grid: one for all images, or one per image.
        limit: N mm, how far along each ray to look (infinite where there is none), or None.
        backend: "warp" or "torch".

    Returns:
        N float32 mm, 0 for rays that meet nothing.
    """
    if backend == "torch":
        borders, occupied = _crossings(rays, grid)
        borders = borders if limit is None else borders.minimum(limit[:, None])
        return (borders.diff(dim=1) * occupied).sum(1)
    total = torch.empty(len(rays), device=rays.origins.device)
    limits = total.new_empty(0) if limit is None else limit.float().contiguous()
    _launch("occupied_length", rays, grid, [_wrap(limits), _wrap(total)])
    return total


def distances(rays: Rays, grid: OccupancyGrid, places: Tensor, backend: str = "warp") -> Tensor:
    """Return how far along its ray each sample lies.

    Args:
        rays: N rays.
        grid: one for all images, or one per image.
        places: N,S mm in occupied space, ascending from 0 to ``occupied_length``.
        backend: "warp" or "torch".

    Returns:
        N,S float32 mm from the origin.
    """
    if backend == "torch":
        borders, occupied = _crossings(rays, grid)
        lengths = torch.cumsum(borders.diff(dim=1) * occupied, dim=1)
        cell = torch.searchsorted(lengths, places.contiguous()).clamp_max(lengths.shape[1] - 1)
        before = torch.where(cell > 0, lengths.gather(1, (cell - 1).clamp_min(0)), 0.0)
        return borders.gather(1, cell) + (places - before)
    found = torch.empty_like(places, memory_format=torch.contiguous_format)
    warp = warp_runtime.start()
    arrays = [warp.from_torch(t.detach(), dtype=warp.float32, return_ctype=True) for t in (places.contiguous(), found)]
    _launch("place_samples", rays, grid, arrays)
    return found


def mark_near(grid: OccupancyGrid, points: Tensor, reach: float, backend: str = "warp") -> OccupancyGrid:
    """Occupy the cells that come within a distance of points.

    Args:
        grid: says box and cells; G = number of images.
        points: G,P,3 mm.
        reach: mm.
        backend: "warp" or "torch".

    Returns:
        A grid with those cells and no others.
    """
    occupied = torch.zeros_like(grid.occupied)
    if backend == "torch":
        centres = grid.centres()
        for image, own in enumerate(points):
            beyond = ((own[:, None] - centres[None]).abs() - grid.cell / 2).clamp_min(0)
            occupied[image] = (beyond.square().sum(-1) <= reach**2).any(0).reshape(grid.shape)
        return OccupancyGrid(occupied, grid.low, grid.cell)
    warp = warp_runtime.start()
    kernels = _kernels(points.device)
    flat = points.detach().reshape(-1, 3).contiguous()
    inputs = [
        _wrap(flat, 3), points.shape[1], float(reach), warp.vec3i(*grid.shape), _wrap(grid.low), _wrap(grid.cell),
    ]  # fmt: skip
    output = _wrap(occupied.view(torch.uint8))
    # one block on the CPU: neighbouring points mark the same cells
    warp_runtime.launch_blocks(kernels.mark_near, len(flat), inputs, [output], flat.device, blocks=1)
    return OccupancyGrid(occupied, grid.low, grid.cell)


def _crossings(rays: Rays, grid: OccupancyGrid) -> tuple[Tensor, Tensor]:
    """Return the sorted distances at which rays cross cell borders inside the box (N,M+1) and occupancy between (N,M)."""
    direction = torch.where(rays.directions.abs() > 1e-12, rays.directions, 1e-12)
    planes = [grid.low[a] + grid.cell * torch.arange(n + 1, device=grid.low.device) for a, n in enumerate(grid.shape)]
    hits = [(p[None] - rays.origins[:, a, None]) / direction[:, a, None] for a, p in enumerate(planes)]
    near = torch.stack([torch.minimum(h[:, 0], h[:, -1]) for h in hits]).amax(0).clamp_min(0)
    far = torch.stack([torch.maximum(h[:, 0], h[:, -1]) for h in hits]).amin(0)
    far = torch.maximum(far, near)
    borders = torch.cat(hits, dim=1).clamp(near[:, None], far[:, None]).sort(dim=1).values
    middles = (borders[:, 1:] + borders[:, :-1]) / 2
    image = rays.image if grid.occupied.shape[0] > 1 else torch.zeros_like(rays.image)
    inside = grid.contains(rays.at(middles).reshape(-1, 3), image.repeat_interleave(middles.shape[1]))
    return borders, inside.reshape(middles.shape)


def _launch(name: str, rays: Rays, grid: OccupancyGrid, last: list[Any]) -> None:
    count, device = len(rays), rays.origins.device
    if count == 0:
        return
    warp = warp_runtime.start()
    kernel = getattr(_kernels(device), name)
    occupied = grid.occupied.contiguous().view(torch.uint8)
    inputs = [
        _wrap(rays.origins.contiguous(), 3), _wrap(rays.directions.contiguous(), 3), _wrap(rays.image.contiguous()),
        _wrap(occupied), warp.vec3i(*grid.shape), occupied.shape[0], _wrap(grid.low), _wrap(grid.cell),
    ]  # fmt: skip
    warp_runtime.launch_blocks(kernel, count, inputs, last, device)


def _kernels(device: torch.device) -> Any:
    warp_runtime.start()
    from avatarzoo.volume import _march_kernels  # here, because it imports Warp

    warp_runtime.load(_march_kernels, device)
    return _march_kernels


def _wrap(tensor: Tensor, width: int = 1) -> Any:
    warp = warp_runtime.start()
    types = {torch.float32: warp.float32, torch.int64: warp.int64, torch.uint8: warp.uint8}
    dtype = warp.vec3 if width == 3 else types[tensor.dtype]
    flat = tensor.detach().reshape(-1, 3) if width == 3 else tensor.detach().reshape(-1)
    return warp.from_torch(flat, dtype=dtype, return_ctype=True)
