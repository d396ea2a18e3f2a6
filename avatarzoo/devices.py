"""The device that a word names."""

from __future__ import annotations

import torch

from avatarzoo.errors import ConfigError


def device_named(name: str) -> str:
    """Return the device a verb runs on.

    Args:
        name: "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:N".

    Raises:
        ConfigError: another name, or a CUDA device that is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise ConfigError(f"device={name} is none of auto, cpu, cuda and cuda:N.")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device={name}, and no CUDA device of that name is there; use device=cpu or device=auto.")
    return name
