"""The k nearest anchors of points on deformed meshes: exact, or through clusters.

Clustered search looks at the cluster centres first (the first anchors in farthest-point order, on the deformed mesh), then
at the anchors listed for the nearest one. Lists are made once, on the template: whatever is a near neighbour of a sample
around the surface is listed under the centre nearest to that sample.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from avatarzoo import warp_runtime
from avatarzoo.errors import ConfigError

SEARCHES = ("clustered", "exact", "torch")


class NeighbourSearch(nn.Module):
    """Find the nearest anchors of points.

    The paper speaks of a hierarchical search without saying which; this layout is reconstructed, and its recall on
    deformed meshes is part of the tests.
    """

    def __init__(self, k: int, search: str = "clustered", clusters: int = 64, margin: int = 4) -> None:
        """Choose the search.

        Args:
            k: how many neighbours.
            search: "clustered" (Warp, lists per cluster), "exact" (Warp, all anchors) or "torch" (exact, the twin).
            clusters: number of lists.
            margin: lists hold the k + margin nearest of every sample.

        Raises:
            ConfigError: an unknown search or no neighbours.
        """
        super().__init__()
        if search not in SEARCHES:
            raise ConfigError(f"model.search is {' or '.join(SEARCHES)}, not {search!r}.")
        if not 1 <= k <= 8:
            raise ConfigError(f"model.k={k}: give 1 to 8 neighbours.")
        self.k, self.search, self.clusters, self.margin = k, search, clusters, margin

    def bind(self, template: Tensor, normals: Tensor, reach: float) -> None:
        """Make the lists.

        Args:
            template: A,3 mm, anchors on the template, in farthest-point order.
            normals: A,3 there.
            reach: mm, how far from anchors points are looked up.
        """
        count = len(template)
        if count < self.k:
            raise ConfigError(f"model.k={self.k} asks for more neighbours than there are anchors ({count}).")
        clusters = min(self.clusters, count)
        samples = _around(template, normals, reach)
        centre = torch.cdist(samples, template[:clusters]).argmin(1)
        near = torch.cdist(samples, template).topk(min(count, self.k + self.margin), largest=False).indices
        listed = torch.zeros(clusters, count, dtype=torch.bool)
        listed[centre[:, None].expand_as(near), near] = True
        # a cluster that no sample is nearest to still answers
        for empty in (listed.sum(1) < self.k).nonzero()[:, 0].tolist():
            listed[
                empty, torch.cdist(template[empty, None], template)[0].topk(min(count, 4 * self.k), largest=False)[1]
            ] = True
        starts = torch.cat([torch.zeros(1, dtype=torch.long), listed.sum(1).cumsum(0)]).int()
        self.register_buffer("starts", starts, persistent=False)
        self.register_buffer("members", listed.nonzero()[:, 1].int(), persistent=False)

    def forward(self, points: Tensor, image: Tensor, anchors: Tensor, search: str | None = None) -> tuple[Tensor, Tensor]:
        """Find neighbours; no gradient flows.

        Args:
            points: N,3 float32 mm.
            image: N int64, the mesh each point belongs to.
            anchors: B,A,3 mm on the deformed meshes.
            search: another one than the module's own.

        Returns:
            index N,k int64 into the B*A anchors, nearest first, and distance N,k mm.
        """
        search = search or self.search
        points, anchors = points.detach(), anchors.detach()
        if search == "torch":
            return _search_torch(points, image, anchors, self.k)
        warp_runtime.start()
        from avatarzoo.models.hash_blendshapes import _neighbour_kernels  # here, because it imports Warp

        kernels = _neighbour_kernels.make(self.k)
        warp_runtime.load(kernels.module, points.device)
        index = torch.empty(len(points), self.k, dtype=torch.int64, device=points.device)
        square = torch.empty(len(points), self.k, device=points.device)
        inputs = [
            _wrap(points.contiguous(), 3), _wrap(image.contiguous()), _wrap(anchors.reshape(-1, 3).contiguous(), 3),
            anchors.shape[1],
        ]  # fmt: skip
        if search == "clustered":
            inputs += [len(self.starts) - 1, _wrap(self.starts), _wrap(self.members)]
        kernel = kernels.clustered if search == "clustered" else kernels.brute
        warp_runtime.launch_blocks(kernel, len(points), inputs, [_wrap2(index), _wrap2(square)], points.device)
        return index, square.sqrt()


def _around(template: Tensor, normals: Tensor, reach: float) -> Tensor:
    """Return samples around a surface: offsets along normals, shifted sideways by a fixed pattern."""
    spacing = torch.cdist(template, template).fill_diagonal_(torch.inf).amin(1).mean()
    generator = torch.Generator().manual_seed(0)
    layers = []
    for share in (0.0, 0.25, -0.25, 0.5, -0.5, 1.0, -1.0):
        for _ in range(3):
            aside = spacing * (torch.rand(template.shape, generator=generator) - 0.5) * 1.4
            layers.append(template + share * reach * normals + aside)
    return torch.cat(layers)


def _search_torch(points: Tensor, image: Tensor, anchors: Tensor, k: int) -> tuple[Tensor, Tensor]:
    index = torch.empty(len(points), k, dtype=torch.int64, device=points.device)
    distance = torch.empty(len(points), k, dtype=points.dtype, device=points.device)
    for number, own in enumerate(anchors):
        rows = (image == number).nonzero()[:, 0]
        for part in rows.split(8192):
            offsets = points[part, None] - own[None]
            nearest = offsets.square().sum(-1).topk(k, largest=False)
            index[part] = nearest.indices + number * len(own)
            distance[part] = nearest.values.sqrt()
    return index, distance


def _wrap(tensor: Tensor, width: int = 1) -> Any:
    warp = warp_runtime.start()
    types = {torch.float32: warp.float32, torch.int64: warp.int64, torch.int32: warp.int32}
    if width == 3:
        return warp.from_torch(tensor.reshape(-1, 3), dtype=warp.vec3, return_ctype=True)
    return warp.from_torch(tensor.reshape(-1), dtype=types[tensor.dtype], return_ctype=True)


def _wrap2(tensor: Tensor) -> Any:
    warp = warp_runtime.start()
    types = {torch.float32: warp.float32, torch.int64: warp.int64}
    return warp.from_torch(tensor, dtype=types[tensor.dtype], return_ctype=True)
