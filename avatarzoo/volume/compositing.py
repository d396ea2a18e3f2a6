"""Compositing of samples along rays: emission and absorption."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from avatarzoo.batch import Group


@dataclass
class Composite(Group):
    """What a ray sees.

    Attributes:
        colour: N,3, the samples' colours weighted, with the background behind them.
        alpha: N, share of the light the samples hold back.
        distance: N mm along the ray, mean of the samples' distances by weight; 0 where nothing is.
        weights: N,S, what each sample contributes.
        normal: N,3 unit length, or None when no normals were given.
    """

    colour: Tensor
    alpha: Tensor
    distance: Tensor
    weights: Tensor
    normal: Tensor | None = None


def ray_weights(density: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
    """Return what each sample contributes and what light is left before it.

    w_i = T_i (1 - exp(-density_i delta_i)), T_i = exp(-sum over j < i of density_j delta_j); exact where the density is
    constant over each interval.

    Args:
        density: N,S per mm.
        delta: N,S mm, length of the interval each sample stands for.

    Returns:
        weights N,S and transmittance N,S.

    Source: Max 1995; Mildenhall et al. 2020 (NeRF), equation 3.
    """
    optical = density * delta
    before = torch.cumsum(optical, dim=1) - optical
    transmittance = torch.exp(-before)
    return transmittance * -torch.expm1(-optical), transmittance


def composite(
    density: Tensor,
    colour: Tensor,
    delta: Tensor,
    distance: Tensor,
    background: Tensor | None = None,
    normals: Tensor | None = None,
) -> Composite:
    """Composite samples front to back.

    Args:
        density: N,S per mm, sorted from near to far.
        colour: N,S,3.
        delta: N,S mm.
        distance: N,S mm along the ray.
        background: N,3 or 3 colours behind the samples; None is black.
        normals: N,S,3 of the samples.

    Returns:
        The composite.
    """
    weights, _ = ray_weights(density, delta)
    alpha = weights.sum(1)
    seen = (weights[..., None] * colour).sum(1)
    if background is not None:
        seen = seen + (1 - alpha)[:, None] * background
    mean_distance = (weights * distance).sum(1) / alpha.clamp_min(1e-8)
    normal = None
    if normals is not None:
        normal = torch.nn.functional.normalize((weights[..., None] * normals).sum(1), dim=-1)
    return Composite(seen, alpha, mean_distance, weights, normal)
