"""No warp."""

from __future__ import annotations

from torch import Tensor

from avatarzoo.registry import register
from avatarzoo.warps.base import Warp


@register("warp", "none")
class NoWarp(Warp):
    """Leave points where they are."""

    def __init__(self) -> None:
        """Make nothing."""
        super().__init__()

    def is_on(self, model: object) -> bool:
        """Return False."""
        return False

    def forward(self, points: Tensor, frame: Tensor) -> Tensor:
        """Return the points."""
        return points
