"""Distance of the decoded vertices to the tracked ones."""

from __future__ import annotations

from torch import Tensor

from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.capture import CaptureSummary
from avatarzoo.losses.base import LossTerm
from avatarzoo.registry import register


@register("loss", "vertex")
class VertexLoss(LossTerm):
    """Mean over all vertices and coordinates of ((v - tracked) / vertex std)^2.

    Source: facebookresearch/multiface, the vertex term: squared error in normalised vertex space.
    """

    requires = ("mesh.vertices",)

    def __init__(self) -> None:
        """Start without a unit."""
        self.std = 1.0

    def bind(self, summary: CaptureSummary) -> None:
        """Take the unit."""
        self.std = summary.spread("vertex_std", "loss term 'vertex'")

    def __call__(self, prediction: Prediction, batch: HeadBatch) -> Tensor:
        """Return B values (see ``LossTerm``)."""
        error = (prediction.extras["tracked_vertices"].float() - batch.mesh.vertices) / self.std
        return error.square().flatten(1).mean(1)
