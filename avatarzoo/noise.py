"""Noise that is a pure function of the sample's key, so that resume and DDP are exact."""

from __future__ import annotations

import torch
from torch import Tensor


def seeded_normal(shape: tuple[int, ...], keys: Tensor) -> Tensor:
    """Draw standard normal noise that is a pure function of the samples' keys.

    Args:
        shape: of one sample.
        keys: B int64, ``batch.meta.noise_key``.

    Returns:
        B,*shape float32 on the keys' device; the same whatever the batch, the process or the worker.
    """
    rows = []
    for key in keys.tolist():
        generator = torch.Generator().manual_seed(key)
        rows.append(torch.randn(shape, generator=generator))
    return torch.stack(rows).to(keys.device)
