"""Terms on the visible surface: depth, and screen-space normals from depth."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.capture import CaptureSummary
from avatarzoo.geometry.depth import normals_from_depth
from avatarzoo.losses.base import LossTerm
from avatarzoo.losses.reduce import masked_mean, power
from avatarzoo.registry import register


def depth_gate(predicted: Tensor, measured: Tensor, gate_mm: float) -> Tensor:
    """Return W_D: B,1,H,W bool, both depths known and nearer than the gate.

    Args:
        predicted, measured: B,1,H,W mm, 0 = nothing.
        gate_mm: mm.
    """
    known = (predicted > 0) & (measured > 0)
    return known & ((predicted - measured).detach().abs() < gate_mm)


@register("loss", "depth")
class DepthLoss(LossTerm):
    """Absolute depth error inside the gate, in units of the capture's vertex standard deviation.

    Source: PiCA equation 4, L_D with W_D; the threshold's millimetres and the unit are ours.
    """

    requires = ("view.depth?",)

    def __init__(self, *, gate_mm: float = 10.0) -> None:
        """Set the gate in mm."""
        self.gate_mm, self.std = gate_mm, 1.0

    def bind(self, summary: CaptureSummary) -> None:
        """Take the unit."""
        self.std = summary.spread("vertex_std", "loss term 'depth'")

    def __call__(self, prediction: Prediction, batch: HeadBatch) -> Tensor:
        """Return B values (see ``LossTerm``)."""
        predicted, measured = prediction.depth, batch.view.depth
        if measured is None:
            return predicted.flatten(1).sum(1) * 0
        gate = depth_gate(predicted, measured, self.gate_mm)
        return masked_mean((predicted - measured).abs() / self.std, gate)


@register("loss", "normal")
class NormalLoss(LossTerm):
    """Squared difference of the normals that finite differences of the two depth maps give.

    A pixel counts where it and its right and lower neighbours are inside the depth gate.

    Source: PiCA equation 4, L_N.
    """

    requires = ("view.depth?",)

    def __init__(self, *, gate_mm: float = 10.0, squared: bool = True) -> None:
        """Set the gate in mm, and whether the mean square or its root is taken."""
        self.gate_mm, self.squared = gate_mm, squared

    def __call__(self, prediction: Prediction, batch: HeadBatch) -> Tensor:
        """Return B values (see ``LossTerm``)."""
        predicted, measured = prediction.depth, batch.view.depth
        if measured is None:
            return predicted.flatten(1).sum(1) * 0
        gate = depth_gate(predicted, measured, self.gate_mm)
        whole = gate[..., :-1, :-1] & gate[..., :-1, 1:] & gate[..., 1:, :-1]
        whole = F.pad(whole, (0, 1, 0, 1))
        K = batch.view.camera.K
        # off the gate both depths are replaced by one plane, so that no gradient of nonsense is computed there
        plane = torch.ones_like(measured)
        safe = torch.where(gate, predicted, plane)
        with torch.no_grad():
            target = normals_from_depth(torch.where(gate, measured, plane), K)
        difference = normals_from_depth(safe, K) - target
        return power(masked_mean(difference.square(), whole), self.squared)
