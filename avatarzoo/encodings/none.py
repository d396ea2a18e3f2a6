"""No encoding."""

from __future__ import annotations

from torch import Tensor

from avatarzoo.encodings.base import Encoding
from avatarzoo.registry import register


@register("encoding", "none")
class NoEncoding(Encoding):
    """No features at all: what is left of a model that does not see where a point lies (PiCA's No-UV)."""

    def __init__(self, in_dim: int = 2) -> None:
        """Remember the number of coordinates.

        Args:
            in_dim: number of coordinates.
        """
        super().__init__()
        self.in_dim, self.out_dim = in_dim, 0

    def forward(self, points: Tensor, table: Tensor | None = None) -> Tensor:
        """Encode N,in_dim points into N,0 (see ``Encoding``)."""
        return points[:, :0]
