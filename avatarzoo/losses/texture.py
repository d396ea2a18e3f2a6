"""Distance of the decoded texture to the picture, unwrapped along the tracked mesh."""

from __future__ import annotations

import torch
from torch import Tensor

from avatarzoo import registry
from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.capture import CaptureSummary
from avatarzoo.errors import ConfigError
from avatarzoo.geometry.unwrap import unwrap
from avatarzoo.geometry.uv import SurfacePoints, rasterize_charts
from avatarzoo.losses.base import LossTerm
from avatarzoo.registry import register


@register("loss", "texture")
class TextureLoss(LossTerm):
    """Mean over all texels of ((texture - unwrapped picture) / std)^2; unseen texels count as 0.

    The target is what the picture's own camera saw of each texel, found by projecting the frame's tracked mesh; Multiface
    reads the same from files.

    Source: facebookresearch/multiface, the texture term: squared error in normalised texture space over the whole map.
    """

    requires = ("view.image", "view.camera", "mesh.vertices", "mesh.head_pose")

    def __init__(self, *, unit: str = "texture_std", texels: int | None = None, rasterizer: str = "warp") -> None:
        """Choose the unit and how much of the texture is looked at.

        Args:
            unit: "texture_std", or "colour_std": of the mean texture's colours around their mean.
            texels: how many, drawn anew for each image and step; None takes all. The expected value is the same.
            rasterizer: finds the texels' points and what hides them.
        """
        if unit not in ("texture_std", "colour_std"):
            raise ConfigError(f"loss.texture.unit is 'texture_std' or 'colour_std', not {unit!r}.")
        if texels is not None and texels < 1:
            raise ConfigError(f"loss.texture.texels is {texels}; give 1 or more, or null for all.")
        self.unit, self.texels, self.std = unit, texels, 1.0
        self.rasterizer = registry.build("rasterizer", rasterizer)
        self._charts: dict[int, tuple[Tensor, SurfacePoints]] = {}

    def bind(self, summary: CaptureSummary) -> None:
        """Take the unit and the topology."""
        self.std = summary.spread(self.unit, "loss term 'texture'")
        self.topology, self.triangles = summary.topology, summary.topology.triangles
        self._charts = {}

    def __call__(self, prediction: Prediction, batch: HeadBatch) -> Tensor:
        """Return B values (see ``LossTerm``)."""
        texture = prediction.extras["texture"].float()
        place, points = self._chart(texture)
        chosen = self._choose(len(place), batch.meta.noise_key, texture.device).to(place.device)
        target, seen = self.target(batch, points, chosen)
        found = texture.flatten(2).gather(2, place[chosen][:, None].expand(-1, 3, -1)).transpose(1, 2)
        error = (found - target) / self.std * seen[..., None]
        return error.square().flatten(1).mean(1) * (len(place) / texture[0, 0].numel())

    def target(self, batch: HeadBatch, points: SurfacePoints, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Unwrap the batch's pictures.

        Args:
            batch: see ``requires``.
            points: of the charts' texels.
            chosen: B,N int64, which of them.

        Returns:
            B,N,3 colours and B,N bool, which are seen.
        """
        if self.triangles.device != chosen.device:
            self.triangles = self.triangles.to(chosen.device)
        triangles = self.triangles
        corners = triangles.long()[points.triangle[chosen]]
        view, mesh = batch.view, batch.mesh
        where = (mesh.vertices, triangles, corners, points.weights[chosen])
        return unwrap(view.image, view.camera, mesh.head_pose, *where, self.rasterizer)

    def _chart(self, texture: Tensor) -> tuple[Tensor, SurfacePoints]:
        """Return the charts' texels as places in a flattened texture, and their points on the mesh."""
        size = texture.shape[-1]
        if size not in self._charts:
            charts = rasterize_charts(self.topology, size, self.rasterizer)
            self._charts[size] = (charts.covered.flatten().nonzero()[:, 0], charts.points)
        place, points = self._charts[size]
        if place.device != texture.device:
            place, points = place.to(texture.device), points.to(texture.device)
            self._charts[size] = (place, points)
        return place, points

    def _choose(self, count: int, keys: Tensor, device: torch.device) -> Tensor:
        """Return B,N: texels of each image, a pure function of its noise key."""
        if self.texels is None or self.texels >= count:
            return torch.arange(count, device=device).expand(len(keys), -1)
        draws = [torch.Generator().manual_seed(key) for key in keys.tolist()]
        return torch.stack([torch.randint(count, (self.texels,), generator=draw) for draw in draws]).to(device)
