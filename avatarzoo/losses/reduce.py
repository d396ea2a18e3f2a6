"""Reductions that every term shares: means over the pixels that count, per image."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average over everything but the batch axis where a mask is set.

    Args:
        values: B,C,... any float dtype.
        mask: B,1,... weights (0 or 1).

    Returns:
        B float32; 0 for an image whose mask is empty.
    """
    mask = mask.float().expand_as(values)
    total = (values.float() * mask).flatten(1).sum(1)
    return total / mask.flatten(1).sum(1).clamp_min(1)


def power(mean_square: Tensor, squared: bool) -> Tensor:
    """Return the mean square, or its root (with a gradient that stays finite at 0)."""
    return mean_square if squared else torch.sqrt(mean_square + 1e-12)
