"""The hash grid on NVIDIA Warp: launches, and gradients to entries and points."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from avatarzoo import warp_runtime
from avatarzoo.encodings._hash_layout import Layout


def encode(points: Tensor, values: Tensor, layout: Layout, table: Tensor | None) -> Tensor:
    """Look points up at every level; see ``_hash_torch.encode``, whose arguments and results these are.

    Gradients flow to values and points, once: there is no second derivative.
    """
    largest = max(values.numel(), len(points) * max(layout.dims, len(layout.levels) * values.shape[-1]))
    if largest >= 1 << 31:
        raise ValueError(f"{largest:,} numbers came in one array; kernels count to {(1 << 31) - 1:,}. Use fewer points.")
    ids = torch.empty(0, dtype=torch.int64, device=points.device) if table is None else table
    return _Encode.apply(points, values, layout, ids)


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, values: Tensor, layout: Layout, ids: Tensor) -> Tensor:
        points, values, ids = points.detach().contiguous(), values.detach().contiguous(), ids.contiguous()
        made = kernels(layout.dims, values.shape[-1], points.dtype, points.device)
        features = points.new_empty(len(points), len(layout.levels) * values.shape[-1])
        inputs = [_wrap(points, made.point), _wrap(ids), _wrap(values, made.entry)]
        _per_level(made.encode, inputs, layout, points, _wrap(features, made.entry))
        ctx.layout, ctx.made = layout, made
        ctx.save_for_backward(points, values, ids)
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_features: Tensor) -> tuple[Tensor | None, ...]:
        points, values, ids = ctx.saved_tensors
        made, layout = ctx.made, ctx.layout
        grad_points = grad_values = None
        grad = _wrap(grad_features.contiguous(), made.entry)
        arrays = [_wrap(points, made.point), _wrap(ids)]
        if ctx.needs_input_grad[1]:
            grad_values = torch.zeros_like(values)
            _per_level(made.encode_backward, [*arrays, grad], layout, points, _wrap(grad_values, made.entry))
        if ctx.needs_input_grad[0]:
            grad_points = torch.zeros_like(points)
            inputs = [*arrays, _wrap(values, made.entry), grad]
            _per_block(made.encode_backward_points, inputs, layout, points, _wrap(grad_points, made.point))
        return grad_points, grad_values, None, None


def kernels(dims: int, channels: int, dtype: torch.dtype, device: torch.device) -> SimpleNamespace:
    """Make and load the kernels for a kind of grid.

    Args:
        dims: number of coordinates.
        channels: of an entry.
        dtype: float32 or float64.
        device: where they run.
    """
    warp_runtime.start()
    from avatarzoo.encodings import _hash_kernels  # here, because it imports Warp

    made = _hash_kernels.make(dims, channels, 64 if dtype == torch.float64 else 32)
    warp_runtime.load(made.module, device)
    return made


def _per_level(kernel: Any, inputs: list[Any], layout: Layout, points: Tensor, output: Any) -> None:
    """Launch over levels and points; a level's outputs are its own."""
    inputs = [*inputs, *_describe(layout, points.dtype, points.device), layout.entries]
    warp_runtime.launch_rows(kernel, len(layout.levels), len(points), inputs, [output], points.device)


def _per_block(kernel: Any, inputs: list[Any], layout: Layout, points: Tensor, output: Any) -> None:
    """Launch over points."""
    inputs = [*inputs, *_describe(layout, points.dtype, points.device), layout.entries]
    warp_runtime.launch_blocks(kernel, len(points), inputs, [output], points.device)


@lru_cache(maxsize=64)
def _tensors(layout: Layout, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    rows = [(level.offset, level.size, level.resolution, int(level.hashed)) for level in layout.levels]
    scales = [level.scale for level in layout.levels]
    return torch.tensor(scales, dtype=dtype, device=device), torch.tensor(rows, dtype=torch.int32, device=device)


def _describe(layout: Layout, dtype: torch.dtype, device: torch.device) -> list[Any]:
    """Hand the levels to Warp: scales, and (offset, size, resolution, hashed)."""
    scales, rows = _tensors(layout, dtype, device)
    return [_wrap(scales), _wrap(rows, warp_runtime.start().vec4i)]


def _wrap(tensor: Tensor, vector: Any = None) -> Any:
    """Hand a contiguous tensor to Warp as a flat array of numbers or of vectors."""
    warp = warp_runtime.start()
    scalars = {torch.float32: warp.float32, torch.float64: warp.float64, torch.int64: warp.int64}
    if vector is None:
        return warp.from_torch(tensor.detach().reshape(-1), dtype=scalars[tensor.dtype], return_ctype=True)
    return warp.from_torch(tensor.detach().reshape(-1, vector._length_), dtype=vector, return_ctype=True)
