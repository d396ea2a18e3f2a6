"""Gather what the field reads of a point's nearest anchors in one pass: the fast form of ``Field.inputs``.

Gradients flow to tables, features, points and the blend's weights, not to anchors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from avatarzoo import warp_runtime
from avatarzoo.encodings._hash_layout import Layout
from avatarzoo.encodings._hash_warp import _describe


def gather(
    points: Tensor,
    index: Tensor,
    weights: Tensor,
    positions: Tensor,
    axes: Tensor,
    tables: Tensor,
    features: Tensor,
    layout: Layout,
    box: float,
    bands: int,
) -> tuple[Tensor, Tensor]:
    """Return blended look-ups, the nearest anchor's features and bands, side by side.

    Args:
        points: N,3 float32 mm.
        index: N,k int64 anchors, nearest first.
        weights: N,k float32 of the blend; functions of the points where the points want their whole gradient.
        positions: M,3 mm.
        axes: M,3,3, rows are the axes.
        tables: M,entries,C float32.
        features: M,F float32; F may be 0.
        layout: of the tables.
        box: mm, half the side of a table's box.
        bands: of the point in the nearest anchor's frame, in units of the box.

    Returns:
        N,levels*C+F+6*bands, and N,3 mm in the frame of the nearest anchor.
    """
    return _Gather.apply(points, index, weights, positions, axes, tables, features, layout, box, bands)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, points: Tensor, index: Tensor, weights: Tensor, positions: Tensor, axes: Tensor, tables: Tensor,
        features: Tensor, layout: Layout, box: float, bands: int,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        given = [t.detach().contiguous() for t in (points, index, weights, positions, axes, tables, features)]
        points, index, weights, positions, axes, tables, features = given
        channels, width = tables.shape[-1], features.shape[-1]
        made = _kernels(channels, index.shape[1], points.device)
        columns = len(layout.levels) * channels + width + 6 * bands
        rows = points.new_empty(len(points), columns)
        nearest = torch.empty_like(points)
        inputs = [*_common(given, made), *_describe(layout, torch.float32, points.device), layout.entries]
        inputs += [_wrap(features), width, bands, float(box)]
        outputs = [_wrap_rows(rows), _wrap(nearest, "vec3")]
        warp_runtime.launch_blocks(made.gather, len(points), inputs, outputs, points.device)
        ctx.layout, ctx.box, ctx.bands, ctx.width = layout, float(box), bands, width
        ctx.shape = features.shape
        ctx.save_for_backward(*given[:6], rows)
        return rows, nearest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_rows: Tensor, grad_nearest: Tensor) -> tuple[Tensor | None, ...]:
        *given, rows = ctx.saved_tensors
        points, index, weights, _, _, tables = given
        made, layout, channels = _kernels(tables.shape[-1], index.shape[1], points.device), ctx.layout, tables.shape[-1]
        grad_rows = grad_rows.contiguous()
        grad_points = grad_weights = grad_tables = grad_features = None
        levels = _describe(layout, torch.float32, points.device)
        common = _common(given, made)
        if ctx.needs_input_grad[5] and len(points):
            grad_tables = torch.zeros_like(tables)
            inputs = [*common[:5], _wrap_rows(grad_rows), *levels, layout.entries, ctx.box]
            output = _wrap(grad_tables, made.entry)
            warp_runtime.launch_rows(made.scatter, len(layout.levels), len(points), inputs, [output], points.device)
        if ctx.needs_input_grad[6]:
            first = len(layout.levels) * channels
            own = grad_rows[:, first : first + ctx.width]
            grad_features = grad_rows.new_zeros(ctx.shape).index_add_(0, index[:, 0], own)
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[2]:
            grad_points, grad_weights = torch.zeros_like(points), torch.zeros_like(weights)
            inputs = [*common, *levels, layout.entries, ctx.width, ctx.bands, ctx.box, _wrap_rows(rows)]
            inputs += [_wrap_rows(grad_rows), _wrap(grad_nearest.contiguous(), "vec3")]
            outputs = [_wrap(grad_points, "vec3"), _wrap(grad_weights)]
            warp_runtime.launch_blocks(made.to_points, len(points), inputs, outputs, points.device)
        return grad_points, None, grad_weights, None, None, grad_tables, grad_features, None, None, None


def _common(given: list[Tensor], made: Any) -> list[Any]:
    points, index, weights, positions, axes, tables = given[:6]
    return [
        _wrap(points, "vec3"), _wrap(index), _wrap(weights), _wrap(positions, "vec3"), _wrap(axes, "mat33"),
        _wrap(tables, made.entry),
    ]  # fmt: skip


def _kernels(channels: int, k: int, device: torch.device) -> Any:
    warp_runtime.start()
    from avatarzoo.models.hash_blendshapes import _gather_kernels  # here, because it imports Warp

    made = _gather_kernels.make(channels, k)
    warp_runtime.load(made.module, device)
    return made


def _wrap(tensor: Tensor, kind: Any = None) -> Any:
    """Hand a contiguous tensor to Warp as a flat array of numbers, of vec3 or mat33, or of a vector type."""
    warp, tensor = warp_runtime.start(), tensor.detach()
    if kind is None:
        types = {torch.float32: warp.float32, torch.int64: warp.int64}
        return warp.from_torch(tensor.reshape(-1), dtype=types[tensor.dtype], return_ctype=True)
    if kind == "mat33":
        return warp.from_torch(tensor.reshape(-1, 3, 3), dtype=warp.mat33, return_ctype=True)
    vector = warp.vec3 if kind == "vec3" else kind
    return warp.from_torch(tensor.reshape(-1, vector._length_), dtype=vector, return_ctype=True)


def _wrap_rows(tensor: Tensor) -> Any:
    warp = warp_runtime.start()
    return warp.from_torch(tensor.detach(), dtype=warp.float32, return_ctype=True)
