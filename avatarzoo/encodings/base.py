"""The contract of an encoding."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from avatarzoo.capture import CaptureSummary


class Encoding(nn.Module, ABC):
    """Map coordinates in 0..1 (surface u, v, or normalised points) to features.

    Constructors take ``in_dim`` (2 or 3) before ``*``. ``out_dim`` is known as soon as the object exists.

    Attributes:
        in_dim: number of coordinates.
        out_dim: number of features.
    """

    in_dim: int
    out_dim: int

    @abstractmethod
    def forward(self, points: Tensor, table: Tensor | None = None) -> Tensor:
        """Encode points.

        Args:
            points: N,in_dim float32; outside 0..1 they are clamped or wrapped as the encoding documents.
            table: N int64 id of the table of each point, for encodings that hold several; else None.

        Returns:
            N,out_dim in the dtype of the parameters (of the points, without parameters).
        """

    def bind(self, summary: CaptureSummary) -> None:
        """Take what the encoding needs from the capture; called once, before weights are loaded."""
