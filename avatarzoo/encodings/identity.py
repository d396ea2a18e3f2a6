"""The coordinates themselves."""

from __future__ import annotations

from torch import Tensor

from avatarzoo.encodings.base import Encoding
from avatarzoo.registry import register


@register("encoding", "identity")
class Identity(Encoding):
    """The coordinates as they are, outside 0..1 too (PiCA's UV-NoPE)."""

    def __init__(self, in_dim: int = 2) -> None:
        """Remember the number of coordinates.

        Args:
            in_dim: number of coordinates, also of features.
        """
        super().__init__()
        self.in_dim = self.out_dim = in_dim

    def forward(self, points: Tensor, table: Tensor | None = None) -> Tensor:
        """Return N,in_dim points as they are (see ``Encoding``)."""
        return points
