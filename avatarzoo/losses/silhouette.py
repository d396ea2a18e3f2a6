"""The silhouette term of volumes."""

from __future__ import annotations

import torch
from torch import Tensor

from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.errors import ConfigError
from avatarzoo.losses.base import LossTerm
from avatarzoo.losses.reduce import masked_mean
from avatarzoo.registry import register


@register("loss", "silhouette")
class Silhouette(LossTerm):
    """Accumulated alpha against the matte, over the pixels the model rendered; 0 where the capture has no matte.

    Source: reconstructed; hash-table blendshapes publish no losses.
    """

    requires = ("view.foreground?",)

    def __init__(self, *, kind: str = "mse") -> None:
        """Choose the distance.

        Args:
            kind: "mse", or "bce" (cross entropy).
        """
        if kind not in ("mse", "bce"):
            raise ConfigError(f"loss.silhouette.kind is 'mse' or 'bce', not {kind!r}.")
        self.kind = kind

    def __call__(self, prediction: Prediction, batch: HeadBatch) -> Tensor:
        """Return B values (see ``LossTerm``)."""
        if prediction.alpha is None or prediction.coverage is None:
            raise ConfigError("loss.silhouette compares alpha; this model gives none. Leave it out: loss.silhouette=null.")
        matte = None if batch.view is None else batch.view.foreground
        if matte is None:
            return 0 * prediction.alpha.flatten(1).sum(1)
        alpha = prediction.alpha
        if self.kind == "mse":
            error = (alpha - matte).square()
        else:
            held = alpha.clamp(1e-4, 1 - 1e-4)
            error = -(matte * held.log() + (1 - matte) * torch.log1p(-held))
        return masked_mean(error, prediction.coverage)
