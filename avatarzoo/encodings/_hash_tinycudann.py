"""The hash grid on tiny-cuda-nn, on CUDA, where it is installed: the same parameters, its kernels."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from avatarzoo.encodings._hash_layout import Layout
from avatarzoo.errors import BackendError, ConfigError

HOW_TO_GET = (
    "install it with `pip install --no-build-isolation "
    "git+https://github.com/NVlabs/tiny-cuda-nn.git#subdirectory=bindings/torch`, on a machine with a CUDA toolkit of the "
    "version torch was built with"
)

#: what tiny-cuda-nn is told about a layout, by layout and channels
_settings: dict[tuple[Layout, int], dict[str, Any]] = {}


def why_unavailable() -> str | None:
    """Return None when tiny-cuda-nn is installed and a CUDA device is there, else why not and how to get it."""
    if importlib.util.find_spec("tinycudann") is None:
        return f"tinycudann is not installed; {HOW_TO_GET}."
    if not torch.cuda.is_available():
        return "tinycudann runs on CUDA devices only and torch sees none; use encoding.backend=warp on the CPU."
    return None


def check(layout: Layout, channels: int, tables: int, log2_table_size: int, coarsest: int, growth: float) -> None:
    """Refuse what tiny-cuda-nn cannot do, and note what it has to be told.

    Args:
        layout: of the grid.
        channels, tables, log2_table_size, coarsest, growth: as in ``HashGrid``.

    Raises:
        ConfigError: an option that it does not know.
        BackendError: it would keep another number of parameters.
    """
    if channels not in (1, 2, 4, 8):
        raise ConfigError(f"tinycudann takes 1, 2, 4 or 8 channels, not {channels}; use encoding.backend=warp.")
    if tables != 1:
        raise ConfigError(f"tinycudann holds one table per module, not {tables}; use encoding.backend=warp.")
    _settings[layout, channels] = {
        "otype": "HashGrid",
        "n_levels": len(layout.levels),
        "n_features_per_level": channels,
        "log2_hashmap_size": log2_table_size,
        "base_resolution": coarsest,
        "per_level_scale": growth,
        "interpolation": "Linear",
    }
    expected, found = layout.entries * channels, _module(layout, channels).params.numel()
    if found != expected:
        raise BackendError(
            f"tinycudann keeps {found:,} parameters for this grid, AvatarZoo {expected:,}: its version lays levels out in "
            "another way. Use encoding.backend=warp."
        )


def encode(points: Tensor, values: Tensor, layout: Layout, table: Tensor | None) -> Tensor:
    """Look points up at every level; see ``_hash_torch.encode``, whose arguments and results these are.

    Raises:
        BackendError: tensors that are not float32 on CUDA, or more tables than one.
    """
    _check_tensors(points, values, table)
    channels = values.shape[-1]
    if (layout, channels) not in _settings:
        raise BackendError(
            f"tinycudann was set up for another number of channels than {channels}; use encoding.backend=warp."
        )
    return torch.func.functional_call(_module(layout, channels), {"params": values.reshape(-1)}, (points,)).float()


def _check_tensors(points: Tensor, values: Tensor, table: Tensor | None) -> None:
    if points.device.type != "cuda" or points.dtype != torch.float32 or table is not None or len(values) != 1:
        raise BackendError(
            f"tinycudann looks float32 points up in one table on CUDA, got {len(values)} tables and {points.dtype} on "
            f"{points.device}; use encoding.backend=warp."
        )


@lru_cache(maxsize=16)
def _module(layout: Layout, channels: int) -> Any:
    """Return tiny-cuda-nn's encoding; its own parameters are replaced at every call."""
    import tinycudann

    return tinycudann.Encoding(layout.dims, _settings[layout, channels], dtype=torch.float32)
