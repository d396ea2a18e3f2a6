"""The readable twin of the hash grid's kernels, in plain PyTorch: any float type, any device, any order of derivative."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from avatarzoo.encodings._hash_layout import PRIMES, Layout, Level


def encode(points: Tensor, values: Tensor, layout: Layout, table: Tensor | None) -> Tensor:
    """Look points up at every level and put the features side by side.

    Args:
        points: N,D float32 or float64 in 0..1.
        values: T,entries,C of the same type.
        layout: of the entries.
        table: N int64 table of each point, or None for the first.

    Returns:
        N,levels*C.
    """
    flat = values.reshape(-1, values.shape[-1])
    first = 0 if table is None else table * layout.entries
    return torch.cat([_interpolate(points, flat, first, level) for level in layout.levels], dim=1)


def _interpolate(points: Tensor, flat: Tensor, first: Tensor | int, level: Level) -> Tensor:
    position = points * level.scale + 0.5
    cell = position.detach().floor()
    after = position - cell  # share of the vertex after the point, per axis; that of the one before is 1 - after
    features = flat.new_zeros(len(points), flat.shape[1])
    for corner in product((0, 1), repeat=points.shape[1]):
        weight = torch.ones_like(after[:, 0])
        for axis, bit in enumerate(corner):
            weight = weight * (after[:, axis] if bit else 1 - after[:, axis])
        vertex = cell.long() + torch.tensor(corner, device=cell.device)
        features = features + weight[:, None] * flat[first + level.offset + entry(vertex, level)]
    return features


def entry(vertex: Tensor, level: Level) -> Tensor:
    """Return the entry of each vertex inside its level.

    Args:
        vertex: N,D int64.
        level: of the grid.

    Returns:
        N int64 in 0..size-1.
    """
    index = torch.zeros_like(vertex[:, 0])
    for axis in range(vertex.shape[1]):
        if level.hashed:
            index = index ^ (vertex[:, axis] * PRIMES[axis])
        else:
            index = index + vertex[:, axis] * level.resolution**axis
    return (index & 0xFFFFFFFF) % level.size  # as 32-bit unsigned arithmetic wraps
