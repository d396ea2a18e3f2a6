"""What a run or a record was made with: versions of the software and the machine's devices."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

import torch

import avatarzoo

PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "lpips",
    "warp-lang",
    "numpy",
    "pillow",
    "wandb",
    "nvdiffrast",
)


def versions() -> dict[str, Any]:
    """Return versions by package name (None where absent), of Python and CUDA, and the machine's devices."""
    found: dict[str, Any] = {"avatarzoo": avatarzoo.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    found["cuda"] = torch.version.cuda
    found["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    found["cpu"] = {"machine": platform.machine(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    found["system"] = f"{platform.system()} {platform.release()}"
    return found
