"""The readable twin of the hash grid's kernels, in plain PyTorch: any float type, any device, any order of derivative."""

from __future__ import annotations

from functools import reduce
from itertools import product
from operator import mul, xor

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
    entries = values.split([level.size for level in layout.levels], dim=1)
    each = [_interpolate(points, mine, level, table) for mine, level in zip(entries, layout.levels, strict=True)]
    return torch.cat(each, dim=1)


def _interpolate(points: Tensor, values: Tensor, level: Level, table: Tensor | None) -> Tensor:
    position = points * level.scale + 0.5
    cell = position.detach().floor()
    after = (position - cell)[:, None]  # share of the vertex after the point, per axis; that of the one before is 1 - after
    corner = torch.tensor(list(product((0, 1), repeat=points.shape[1])), device=points.device)  # K,D
    share = torch.where(corner == 1, after, 1 - after)
    weight = reduce(mul, share.unbind(-1))  # N,K
    place = entry(cell.long()[:, None] + corner, level)
    if table is not None:
        place = place + table[:, None] * level.size
    return (weight[..., None] * values.reshape(-1, values.shape[-1])[place]).sum(1)


def entry(vertex: Tensor, level: Level) -> Tensor:
    """Return the entry of each vertex inside its level.

    Args:
        vertex: ...,D int64.
        level: of the grid.

    Returns:
        ... int64 in 0..size-1.
    """
    if level.hashed:
        index = reduce(xor, (x * prime for x, prime in zip(vertex.unbind(-1), PRIMES, strict=False)))
    else:
        index = sum(x * level.resolution**axis for axis, x in enumerate(vertex.unbind(-1)))
    return (index & 0xFFFFFFFF) % level.size  # as 32-bit unsigned arithmetic wraps
