"""From points around anchors to density and colour."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from avatarzoo.batch import Group
from avatarzoo.encodings.sinusoidal import encode_bands
from avatarzoo.errors import ConfigError

#: Look-ups in blended tables: (points N,3 in 0..1, values T,entries,C, table N) -> N,features.
LookUp = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass
class Scene(Group):
    """What the field reads of a batch: anchors with their frames, blended tables and features.

    Attributes:
        positions: B,A,3 mm.
        axes: B,A,3,3, rows are tangent, bitangent and normal.
        tables: B*A,entries,C, or None without tables.
        features: B*A,F of each anchor, or None.
        blend: B,A,J weights the tables were blended with, or None.
    """

    positions: Tensor
    axes: Tensor
    tables: Tensor | None
    features: Tensor | None
    blend: Tensor | None = None


class Field(nn.Module):
    """Density and colour of points from the tables, features and frames of their nearest anchors.

    Source: supplement C.2 (inputs, bands, two hidden layers of 64); the inverse-distance blend, the box and the activations
    are reconstructed.
    """

    def __init__(
        self,
        table_features: int,
        anchor_features: int,
        *,
        blend: str = "inverse_distance",
        box: float = 20.0,
        reach: float = 40.0,
        point_bands: int = 8,
        view_bands: int = 4,
        identity: bool = False,
        hidden: int = 64,
        density_scale: float = 0.1,
        density_bias: float = -1.0,
        view_density: bool = True,
        view_frame: str = "head",
        surface_prior: float = 0.0,
        surface_width: float = 8.0,
    ) -> None:
        """Make the network; see the model for the options."""
        super().__init__()
        if blend not in ("inverse_distance", "gaussian", "sum", "nearest"):
            raise ConfigError(f"model.blend is inverse_distance, gaussian, sum or nearest, not {blend!r}.")
        if view_frame not in ("head", "anchor"):
            raise ConfigError(f"model.view_frame is head or anchor, not {view_frame!r}.")
        self.blend, self.box, self.reach, self.view_frame = blend, box, reach, view_frame
        self.point_bands, self.view_bands, self.identity = point_bands, view_bands, identity
        self.density_scale, self.density_bias, self.view_density = density_scale, density_bias, view_density
        self.surface_prior, self.surface_width = surface_prior, surface_width
        points = table_features + anchor_features + 6 * point_bands + (3 if identity else 0)
        views = 6 * view_bands + (3 if identity else 0)
        self.first = nn.Linear(points, hidden)
        self.view = nn.Linear(views, hidden, bias=False)
        self.second = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 4)
        bound = 1 / math.sqrt(points + views)  # one layer over both inputs, whose weights stand in two
        for layer in (self.first, self.view):
            nn.init.uniform_(layer.weight, -bound, bound)

    def view_of_rays(self, directions: Tensor) -> Tensor:
        """Return what ``view_of_points`` takes of each ray: N,3 unit vectors, face-centric -> N,hidden or N,3.

        In the head's frame a direction's part of the first layer is the same along a ray, and is computed once.
        """
        return self.view_term(directions) if self.view_frame == "head" else directions

    def view_of_points(self, view: Tensor, axes: Tensor, nearest: Tensor) -> Tensor:
        """Return what view directions add to the first layer at each point, N,hidden.

        Args:
            view: from ``view_of_rays``, of each point's ray.
            axes: B*A,3,3 of the anchors.
            nearest: N int64, each point's nearest anchor.
        """
        if self.view_frame == "head":
            return view
        return self.view_term((axes.index_select(0, nearest) * view[:, None]).sum(-1))

    def view_term(self, directions: Tensor) -> Tensor:
        """Return what directions add to the first layer: N,3 unit vectors -> N,hidden."""
        encoded = encode_bands(directions, self.view_bands)
        return self.view(torch.cat([encoded, directions], dim=1) if self.identity else encoded)

    def inputs(self, scene: Scene, points: Tensor, index: Tensor, look_up: LookUp) -> tuple[Tensor, Tensor]:
        """Gather what the network reads; points get their whole gradient, that of the blend's weights included.

        Args:
            scene: of the batch.
            points: N,3 mm.
            index: N,k rows of the B*A anchors, nearest first.
            look_up: of the hash grid.

        Returns:
            N,features, and N,3 mm in the frame of the nearest anchor.
        """
        axes, positions = scene.axes.reshape(-1, 9), scene.positions.reshape(-1, 3)
        count, k = index.shape
        parts = []
        if scene.tables is not None:
            flat = index.reshape(-1)
            offset = points.repeat_interleave(k, dim=0) - positions.index_select(0, flat)
            local = (axes.index_select(0, flat).unflatten(1, (3, 3)) * offset[:, None]).sum(-1)
            found = look_up(local / (2 * self.box) + 0.5, scene.tables, flat).unflatten(0, (count, k))
            weights = self.blend_weights(offset.norm(dim=-1).unflatten(0, (count, k)))
            parts.append((found * weights[..., None]).sum(1))
            nearest = local.unflatten(0, (count, k))[:, 0]
        else:
            flat = index[:, 0].contiguous()
            offset = points - positions.index_select(0, flat)
            nearest = (axes.index_select(0, flat).unflatten(1, (3, 3)) * offset[:, None]).sum(-1)
        if scene.features is not None:
            parts.append(scene.features.index_select(0, index[:, 0].contiguous()))
        place = nearest / self.box
        parts.append(encode_bands(place, self.point_bands))
        if self.identity:
            parts.append(place)
        return torch.cat(parts, dim=1), nearest

    def blend_weights(self, distance: Tensor) -> Tensor:
        """Return how much each neighbour counts: N,k mm -> N,k."""
        if self.blend == "nearest":
            return torch.nn.functional.one_hot(torch.zeros_like(distance[:, 0], dtype=torch.long), distance.shape[1]).to(
                distance
            )
        if self.blend == "sum":
            return torch.ones_like(distance)
        if self.blend == "gaussian":
            weights = torch.exp(-(distance / distance[:, -1:].clamp_min(1e-6)).square() * 2)
        else:
            weights = 1 / distance.clamp_min(1e-3)
        return weights / weights.sum(1, keepdim=True)

    def decode(self, features: Tensor, nearest: Tensor, distance: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
        """Return density and colour.

        Args:
            features, nearest: from ``inputs``.
            distance: N mm to the nearest anchor.
            view: N,hidden from ``view_of_points``.

        Returns:
            density N per mm and colour N,3 in 0..1.
        """
        first = self.first(features)
        out = self.out(torch.relu(self.second(torch.relu(first + view)))).to(nearest.dtype)  # the network may run in bf16
        raw = out[:, 0]
        if not self.view_density:
            raw = self.out(torch.relu(self.second(torch.relu(first))))[:, 0].to(nearest.dtype)
        return self.density(raw, nearest, distance), torch.sigmoid(out[:, 1:])

    def density(self, raw: Tensor, nearest: Tensor, distance: Tensor) -> Tensor:
        """Turn the network's first output into density: N -> N per mm, 0 beyond reach of every anchor."""
        raw = raw + self.density_bias
        if self.surface_prior:
            height = nearest[:, 2].detach().abs() / self.surface_width
            raw = raw + self.surface_prior * (1 - height).clamp(-1, 1)
        return torch.where(distance <= self.reach, self.density_scale * torch.nn.functional.softplus(raw), 0.0)
