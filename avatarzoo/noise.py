"""Noise that is a pure function of the sample's key, so that resume and DDP are exact."""

from __future__ import annotations

import torch
from torch import Tensor

_UNIFORM = 0x5DEECE66D  # parts this stream of numbers from the normal ones of the same key


def seeded_normal(shape: tuple[int, ...], keys: Tensor, device: torch.device | None = None) -> Tensor:
    """Draw standard normal noise that is a pure function of the samples' keys.

    Args:
        shape: of one sample.
        keys: B int64, ``batch.meta.noise_key``; reading them from a GPU would wait for it, so they stay on the CPU.
        device: of the result; None is that of the keys.

    Returns:
        B,*shape float32, the same whatever the batch, the process, the worker or the device.
    """
    rows = []
    for key in keys.tolist():
        generator = torch.Generator().manual_seed(key)
        rows.append(torch.randn(shape, generator=generator))
    device = keys.device if device is None else device
    noise = torch.stack(rows)
    return (noise.pin_memory() if device.type == "cuda" else noise).to(device, non_blocking=True)


def seeded_uniform(keys: Tensor, device: torch.device | None = None) -> Tensor:
    """Draw one number of 0..1 a sample, a pure function of its key and independent of ``seeded_normal``.

    Args:
        keys: B int64, ``batch.meta.noise_key``, on the CPU.
        device: of the result; None is that of the keys.

    Returns:
        B float32.
    """
    rows = [torch.rand((), generator=torch.Generator().manual_seed(key ^ _UNIFORM)) for key in keys.tolist()]
    return torch.stack(rows).to(keys.device if device is None else device, non_blocking=True)
