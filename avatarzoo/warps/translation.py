"""A translation per frame."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from avatarzoo.capture import CaptureSummary
from avatarzoo.registry import register
from avatarzoo.warps.base import Warp, frame_count


@register("warp", "translation")
class Translation(Warp):
    """Shift each training frame as a whole: what a tracker that slides needs, and no more."""

    def __init__(self, *, start: int | float = 0, unit_mm: float = 10.0) -> None:
        """Choose when and how fast.

        Args:
            start: when the warp switches on; steps, or a fraction of the run.
            unit_mm: what a parameter of 1 shifts by.
        """
        super().__init__()
        self.start, self.unit = start, unit_mm

    def bind(self, summary: CaptureSummary) -> None:
        """Make a shift per frame, all 0."""
        self.shifts = nn.Embedding(frame_count(summary), 3)
        nn.init.zeros_(self.shifts.weight)

    def forward(self, points: Tensor, frame: Tensor) -> Tensor:
        """Shift points (see ``Warp``)."""
        return points + self.unit * cast(Tensor, self.shifts(frame)).to(points.dtype)

    def penalties(self, frame: Tensor) -> dict[str, Tensor]:
        """Return warp_latent B: mean square of each frame's shift."""
        return {"warp_latent": torch.mean(self.shifts(frame).square(), dim=1)}
