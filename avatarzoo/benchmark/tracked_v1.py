"""tracked-v1, the headline protocol."""

from __future__ import annotations

from torch import Tensor

from avatarzoo.benchmark.protocol import Protocol
from avatarzoo.registry import register


@register("protocol", "tracked-v1")
class Tracked(Protocol):
    """The pixels of the capture's tracked mesh, the same for every model; an empty one is scored as black."""

    pixels_from = "raster of the capture's tracked mesh at the picture's size, the same for every model"

    def pixels(self, tracked: Tensor, covered: Tensor) -> Tensor:
        """Return the tracked pixels, whatever the model covers: shrinking its mesh cannot help it."""
        return tracked
