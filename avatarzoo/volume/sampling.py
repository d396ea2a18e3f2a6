"""Where along a ray to sample: stratified first, then where the first samples found something.

Places are measured as s, the length of a ray that lies in occupied space, 0..total; without occupancy that is the distance
from where the ray enters the box. ``march.distances`` turns s into distances.
"""

from __future__ import annotations

import torch
from torch import Tensor


def stratified(total: Tensor, count: int, noise: Tensor | None = None) -> Tensor:
    """Spread samples over rays, one in each of ``count`` equal parts.

    Args:
        total: N mm.
        count: samples per ray.
        noise: N,count in 0..1, the place inside each part; None takes the middles.

    Returns:
        N,count mm, ascending.
    """
    parts = torch.arange(count, device=total.device, dtype=total.dtype)
    place = parts + (0.5 if noise is None else noise)
    return total[:, None] * place / count


def importance(edges: Tensor, weights: Tensor, count: int, noise: Tensor | None = None, floor: float = 0.01) -> Tensor:
    """Sample where weights are large, by inverting their cumulative sum.

    Args:
        edges: N,S+1 mm, ascending borders of S intervals.
        weights: N,S, not negative; no gradient flows through.
        count: samples per ray.
        noise: N,count in 0..1, stratified within equal shares of the weight; None takes the middles.
        floor: share of the weight that is spread evenly, so that nothing is never sampled.

    Returns:
        N,count mm, ascending.

    Source: Mildenhall et al. 2020 (NeRF), section 5.2.
    """
    weights = weights.detach()
    total = weights.sum(1, keepdim=True)
    even = 1.0 / weights.shape[1]
    density = torch.where(total > 0, (1 - floor) * weights / total.clamp_min(1e-12) + floor * even, even)
    cumulative = torch.cumsum(density, dim=1)
    cumulative = cumulative / cumulative[:, -1:]
    shares = stratified(torch.ones_like(edges[:, 0]), count, noise).contiguous()
    bin_ = torch.searchsorted(cumulative, shares).clamp_max(weights.shape[1] - 1)
    high = cumulative.gather(1, bin_)
    low = torch.where(bin_ > 0, cumulative.gather(1, (bin_ - 1).clamp_min(0)), 0.0)
    inside = ((shares - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    left, right = edges.gather(1, bin_), edges.gather(1, bin_ + 1)
    return left + inside * (right - left)


def midpoint_edges(places: Tensor, total: Tensor) -> Tensor:
    """Split rays into one interval per sample, with borders halfway between neighbours.

    Args:
        places: N,S mm, ascending.
        total: N mm, where the last interval ends.

    Returns:
        N,S+1 mm, from 0 to ``total``; differences are the samples' delta.
    """
    middles = (places[:, 1:] + places[:, :-1]) / 2
    return torch.cat([torch.zeros_like(total)[:, None], middles, total[:, None]], dim=1)
