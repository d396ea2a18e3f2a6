"""rasterised-v1, the pixels published tables were made on."""

from __future__ import annotations

from torch import Tensor

from avatarzoo.benchmark.protocol import Protocol
from avatarzoo.registry import register


@register("protocol", "rasterised-v1")
class Rasterised(Protocol):
    """The pixels the model itself covers, as in the Pixel Codec Avatars paper; beside published tables only."""

    pixels_from = "pixels the model covers, so they differ between models"
    empty = "not counted"

    def pixels(self, tracked: Tensor, covered: Tensor) -> Tensor:
        """Return the covered pixels."""
        return covered
