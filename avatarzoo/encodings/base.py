"""The contract of an encoding."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from avatarzoo.capture import CaptureSummary


class Encoding(nn.Module, ABC):
    """Map coordinates in 0..1 (surface u, v, or normalised points) to features.

    Constructors take ``in_dim`` before ``*``: 2 or 3, or the one an encoding is made for. ``out_dim`` is known as soon as
    the object exists, before ``bind``; built under ``torch.device("meta")`` the object costs no memory.

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
            points: N,in_dim float32 (half precision would miss by cells); outside 0..1 clamped, wrapped or taken as
                they are, as the encoding documents.
            table: N int64 id of the table of each point, for encodings that hold several; others take no notice of it.

        Returns:
            N,out_dim in the dtype of the parameters (of the points, without parameters).
        """

    def bind(self, summary: CaptureSummary) -> None:
        """Take what the encoding needs from the capture; called once, before weights are loaded."""

    def set_progress(self, progress: float) -> None:
        """Follow a schedule, for encodings that have one; whoever owns the encoding calls this before each training step.

        Args:
            progress: of the run, 0..1.
        """
