"""Divergence of the posterior from the standard normal."""

from __future__ import annotations

import torch
from torch import Tensor

from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.losses.base import LossTerm
from avatarzoo.registry import register


@register("loss", "kl")
class KLLoss(LossTerm):
    """Mean over the code's entries of 0.5 (exp(2 s) + m^2 - 1 - 2 s), with mean m and log-std s.

    Source: PiCA equation 4, L_KL; the mean over entries follows Multiface. 0 for drivers without a posterior.
    """

    def __call__(self, prediction: Prediction, batch: HeadBatch) -> Tensor:
        """Return B values (see ``LossTerm``)."""
        mean, log_std = prediction.extras.get("code_mean"), prediction.extras.get("code_log_std")
        if mean is None or log_std is None:
            return torch.zeros(batch.size, device=batch.meta.frame.device)
        terms = 0.5 * (torch.exp(2 * log_std) + mean.square() - 1 - 2 * log_std)
        return terms.float().flatten(1).mean(1)
