"""Terms on the decoded geometry: stay near the tracked mesh, stay smooth."""

from __future__ import annotations

import torch
from torch import Tensor

from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.capture import CaptureSummary
from avatarzoo.errors import ConfigError, did_you_mean
from avatarzoo.losses.base import LossTerm
from avatarzoo.losses.reduce import masked_mean, power
from avatarzoo.registry import register


@register("loss", "tracked_mesh")
class TrackedMeshLoss(LossTerm):
    """Squared distance of S(G) to the tracked vertices, in units of the vertex std, away from the mouth.

    Source: PiCA equation 4, L_M with W_M.
    """

    requires = ("mesh.vertices",)

    def __init__(
        self,
        *,
        exclude: list[str] = ["mouth"],  # noqa: B006 - a schema default, never changed
        region_weights: dict[str, float] | None = None,
        squared: bool = True,
    ) -> None:
        """Name the regions that do not count and those that count more, and choose the norm.

        Args:
            exclude: regions whose vertices do not count (W_M).
            region_weights: factors on the squared error of regions of the surface, e.g. {eyes: 16} (not in the paper). Lids
                are one vertex in a hundred and move furthest.
            squared: mean of squares; False: the root of it, per mesh.
        """
        self.exclude, self.squared, self.std = exclude, squared, 1.0
        self.region_weights = region_weights or {}

    def bind(self, summary: CaptureSummary) -> None:
        """Find the vertices outside the excluded regions and each one's factor."""
        topology = summary.topology
        uv = topology.vertex_uvs(len(summary.vertex_mean))
        named = {"exclude": self.exclude, "region_weights": list(self.region_weights)}
        for option, names in named.items():
            unknown = [name for name in names if name not in summary.regions]
            if unknown and summary.regions:
                hint = did_you_mean(unknown[0], summary.regions)
                raise ConfigError(f"loss.tracked_mesh.{option} names {unknown[0]!r}, which the capture lacks.{hint}")
        self.without_effect = tuple(option for option, names in named.items() if names and not summary.regions)
        inside = torch.zeros(len(uv), dtype=torch.bool)
        for name in self.exclude:
            inside |= summary.region_at(name, uv)
        used = torch.zeros(len(uv), dtype=torch.bool)  # a vertex of no triangle has no UV, so no map says where it is
        used[topology.triangles.reshape(-1).long()] = True
        self.mask, self.factor = used & ~inside, torch.ones(len(uv))
        self.std = summary.spread("vertex_std", "loss term 'tracked_mesh'")
        for name, factor in self.region_weights.items():
            self.factor[summary.region_at(name, uv)] = factor

    def move_to(self, device: torch.device) -> None:
        """Move mask and factors (see ``LossTerm``)."""
        self.mask, self.factor = self.mask.to(device), self.factor.to(device)

    def __call__(self, prediction: Prediction, batch: HeadBatch) -> Tensor:
        """Return B values (see ``LossTerm``)."""
        error = (prediction.extras["tracked_vertices"] - batch.mesh.vertices) / self.std
        mask = self.mask.to(error.device)[None, None].expand(len(error), -1, -1)
        squares = error.square() * self.factor.to(error.device)[:, None]
        return power(masked_mean(squares.transpose(1, 2), mask), self.squared)


@register("loss", "smoothness")
class SmoothnessLoss(LossTerm):
    """lambda_g (|Dx G|^2 + |Dy G|^2) + lambda_l |W_L L (S(G) - V_mu)|^2, in units of the vertex std.

    Differences are taken between texels of one chart. W_L is higher on the mouth; the paper's higher weight on hair needs
    a region that captures here do not name.

    Source: PiCA supplement B.2, equation 2.
    """

    def __init__(
        self,
        *,
        gradient: float = 1.0,
        laplacian: float = 0.1,
        high: float = 1.25,
        low: float = 0.25,
        of: str = "position",
        squared: bool = True,
    ) -> None:
        """Set the weights.

        Args:
            gradient: lambda_g.
            laplacian: lambda_l.
            high, low: W_L on the mouth, and elsewhere.
            of: "position": G itself; "offset": G less the mean face's map.
            squared: mean squares, or their roots.
        """
        self.gradient, self.laplacian, self.high, self.low = gradient, laplacian, high, low
        self.of, self.squared, self.std = of, squared, 1.0

    def bind(self, summary: CaptureSummary) -> None:
        """Take the unit."""
        self.std = summary.spread("vertex_std", "loss term 'smoothness'")

    def __call__(self, prediction: Prediction, batch: HeadBatch) -> Tensor:
        """Return B values (see ``LossTerm``)."""
        extras = prediction.extras
        values, chart = extras["position_map"], extras["chart"]
        if self.of == "position":
            values = values + extras["mean_map"]
        both_x = _same_chart(chart[:, 1:], chart[:, :-1]).expand(len(values), 1, -1, -1)
        both_y = _same_chart(chart[1:], chart[:-1]).expand(len(values), 1, -1, -1)
        dx = masked_mean((values[..., 1:] - values[..., :-1]).square(), both_x)
        dy = masked_mean((values[..., 1:, :] - values[..., :-1, :]).square(), both_y)
        weight = torch.where(extras["smooth_region"], self.high, self.low)
        bend = (extras["laplacian"] / self.std * weight[None, :, None]).square().flatten(1).mean(1)
        gradient = power(dx, self.squared) + power(dy, self.squared)
        return self.gradient * gradient + self.laplacian * power(bend, self.squared)


def _same_chart(a: Tensor, b: Tensor) -> Tensor:
    """Return where two texels lie in the same chart; 0 is no chart."""
    return (a == b) & (a > 0)
