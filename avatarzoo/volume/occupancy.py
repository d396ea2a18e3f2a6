"""Grids that say where a volume may hold something."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from avatarzoo.batch import Group


@dataclass
class OccupancyGrid(Group):
    """Boxes of cubic cells, one per image or one for all.

    Attributes:
        occupied: G,X,Y,Z bool, G = number of images or 1.
        low: 3 float32 mm, corner of the first cell, face-centric.
        cell: float32 scalar tensor, mm, side of a cell.
    """

    occupied: Tensor
    low: Tensor
    cell: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """Cells per axis."""
        return tuple(self.occupied.shape[1:])  # type: ignore[return-value]

    @property
    def high(self) -> Tensor:
        """3 float32 mm, the far corner."""
        return self.low + self.cell * torch.tensor(self.shape, device=self.low.device)

    def centres(self) -> Tensor:
        """Return X*Y*Z,3 mm, the cells' centres in memory order."""
        axes = [torch.arange(n, device=self.low.device) for n in self.shape]
        index = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)
        return self.low + (index + 0.5) * self.cell

    def contains(self, points: Tensor, image: Tensor | None = None) -> Tensor:
        """Return whether points lie in occupied cells.

        Args:
            points: N,3 mm.
            image: N int64 grid of each point; None = the first.

        Returns:
            N bool, False outside the box.
        """
        index = ((points - self.low) / self.cell).floor().long()
        limit = torch.tensor(self.shape, device=points.device)
        inside = ((index >= 0) & (index < limit)).all(-1)
        index = torch.minimum(index.clamp_min(0), limit - 1)
        grid = torch.zeros_like(index[:, 0]) if image is None else image
        return self.occupied[grid, index[:, 0], index[:, 1], index[:, 2]] & inside

    def dilated(self, cells: int = 1) -> OccupancyGrid:
        """Return the grid grown by so many cells in every direction."""
        grown = F.max_pool3d(self.occupied[:, None].float(), 2 * cells + 1, stride=1, padding=cells)[:, 0] > 0
        return OccupancyGrid(grown, self.low, self.cell)

    def __and__(self, other: OccupancyGrid) -> OccupancyGrid:
        """Return the cells occupied in both; both have the same box."""
        return OccupancyGrid(self.occupied & other.occupied, self.low, self.cell)


def box_grid(
    low: Tensor,
    high: Tensor,
    resolution: int,
    images: int = 1,
    occupied: bool = False,
    device: torch.device | str | None = None,
) -> OccupancyGrid:
    """Make a grid of cubic cells over a box; the longest side has ``resolution`` cells, the others fewer.

    Args:
        low, high: 3 mm; on the CPU, or their values are waited for.
        resolution: cells along the longest side.
        images: number of grids.
        occupied: what every cell starts as.
        device: of the grid; None takes that of ``low``.
    """
    device = low.device if device is None else torch.device(device)
    cell = float((high - low).max()) / resolution
    shape = [max(1, int(-(-float(side) // cell)) if cell else 1) for side in high - low - 1e-4 * cell]
    bits = torch.full((images, *shape), occupied, dtype=torch.bool, device=device)
    return OccupancyGrid(bits, low.float().to(device, copy=True), torch.tensor(cell, device=device))


def pack(occupied: Tensor) -> Tensor:
    """Pack bools into uint8, eight cells each, for checkpoints."""
    flat = F.pad(occupied.flatten().byte(), (0, -occupied.numel() % 8)).reshape(-1, 8)
    return (flat << torch.arange(8, dtype=torch.uint8, device=flat.device)).sum(1, dtype=torch.uint8)


def unpack(bits: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return what ``pack`` packed, as bools of a shape."""
    flat = (bits[:, None] >> torch.arange(8, dtype=torch.uint8, device=bits.device)) & 1
    count = 1
    for side in shape:
        count *= side
    return flat.reshape(-1)[:count].reshape(shape).bool()
