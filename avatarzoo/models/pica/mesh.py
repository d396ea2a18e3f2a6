"""From a position map to the mesh that is drawn, and the moving mean mesh V_mu."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from avatarzoo.capture import CaptureSummary, Topology
from avatarzoo.errors import ConfigError
from avatarzoo.geometry.dense import DenseMesh, build_dense_mesh
from avatarzoo.geometry.laplacian import apply_laplacian, cotangent_laplacian
from avatarzoo.geometry.meshes import components, drop_unused_uvs, fill_small_holes
from avatarzoo.geometry.uv import SurfacePoints, TexelMap, rasterize_charts, sample_map
from avatarzoo.rasterizers.base import Rasterizer


class PicaMesh(nn.Module):
    """S(.): sample a position map at the vertices' UVs; seam vertices take the mean of their UVs' samples.

    With residual "mean", S(G) = exact mean face + vertex std * bilinear sample of the decoded map. The mean face is
    kept per vertex rather than as a map, because sampling a full position map at 128 errs by over a millimetre.

    Source: PiCA section 5, supplement B.2.
    """

    def __init__(self, kind: str, position_size: int, residual: str) -> None:
        """Remember the options.

        Args:
            kind: "dense" or "tracked".
            position_size: side of the position map.
            residual: "mean" or "none".
        """
        super().__init__()
        if kind not in ("dense", "tracked"):
            raise ConfigError(f"model.mesh is 'dense' or 'tracked', not {kind!r}.")
        self.kind, self.position_size, self.residual = kind, position_size, residual

    def bind(self, summary: CaptureSummary, rasterizer: Rasterizer) -> None:
        """Build the topology, its Laplacian and the tracked mesh's own sampling."""
        topology = drop_unused_uvs(fill_small_holes(summary.topology))
        dense = self._dense(topology, rasterizer)
        texels = rasterize_charts(topology, self.position_size, rasterizer)
        self.vertex_std = summary.spread("vertex_std", "model 'pica'")
        mean = dense.from_tracked(summary.vertex_mean[None])[0]
        neutral = dense.from_tracked(summary.neutral_vertices[None])[0]
        laplacian = cotangent_laplacian(neutral, dense.triangles)
        buffers = {
            "triangles": dense.triangles,
            "uvs": dense.uvs,
            "uv_triangles": dense.uv_triangles,
            "vertex_of_uv": dense.vertex_of_uv,
            "copies": dense.copies,
            "mean": mean,
            "chart": _chart_labels(texels, topology),
            "mean_map": texels.to_map(summary.vertex_mean[None] / summary.vertex_std, topology.triangles)[0],
            "tracked_uvs": topology.uvs,
            "tracked_mean": summary.vertex_mean,
            **_tracked_sampling(topology.triangles, topology.uv_triangles, len(topology.uvs), len(summary.vertex_mean)),
        }
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor.clone(), persistent=False)
        self._laplacian = laplacian
        self.register_buffer("mean_mesh", neutral.clone())  # V_mu starts as the coarse neutral, then moves: it is state
        self.register_buffer("last_progress", torch.zeros((), dtype=torch.float64))
        uv = torch.zeros(len(mean), 2).index_add(0, dense.vertex_of_uv, dense.uvs) / dense.copies.clamp_min(1)[:, None]
        self.register_buffer("smooth_region", summary.region_at("mouth", uv), persistent=False)

    def _dense(self, topology: Any, rasterizer: Rasterizer) -> DenseMesh:
        if self.kind == "dense":
            return build_dense_mesh(topology, self.position_size, rasterizer)
        count = int(topology.triangles.max()) + 1
        sampling = _tracked_sampling(topology.triangles, topology.uv_triangles, len(topology.uvs), count)
        corner_face = torch.full((count,), -1, dtype=torch.long)
        corner = torch.zeros(count, dtype=torch.long)
        for k in range(3):
            corner_face[topology.triangles[:, k].long()] = torch.arange(len(topology.triangles))
            corner[topology.triangles[:, k].long()] = k
        anchors = SurfacePoints(corner_face, torch.nn.functional.one_hot(corner, 3).float())
        return DenseMesh(
            topology.triangles,
            topology.uvs,
            topology.uv_triangles,
            sampling["tracked_vertex_of_uv"],
            sampling["tracked_copies"],
            anchors,
            topology.triangles,
        )

    def vertices(self, position_map: Tensor) -> Tensor:
        """Sample the mesh that is drawn: B,3,P,P -> B,V,3 mm face-centric."""
        return self._sample(position_map, self.uvs, self.vertex_of_uv, self.copies, self.mean)

    def tracked(self, position_map: Tensor) -> Tensor:
        """Sample the map at the tracked mesh's UVs: B,3,P,P -> B,V',3 mm."""
        return self._sample(
            position_map, self.tracked_uvs, self.tracked_vertex_of_uv, self.tracked_copies, self.tracked_mean
        )

    def _sample(self, values: Tensor, uvs: Tensor, owner: Tensor, copies: Tensor, mean: Tensor) -> Tensor:
        picked = sample_map(values, uvs)
        merged = picked.new_zeros(picked.shape[0], len(copies), 3).index_add(1, owner, picked)
        merged = merged / copies.clamp_min(1)[None, :, None] * self.vertex_std
        return merged + mean if self.residual == "mean" else merged

    def training_extras(self, position_map: Tensor, vertices: Tensor) -> dict[str, Any]:
        """Return what the geometry terms read.

        Args:
            position_map: B,3,P,P as decoded.
            vertices: B,V,3 mm.

        Returns:
            tracked_vertices (B,V',3 mm: S(G) at the tracked mesh's UVs), laplacian (B,V,3 mm: L (S(G) - V_mu)),
            smooth_region (V bool: where W_L is high), chart (P,P int64: number of the chart a texel lies in, 0 = none),
            mean_map (3,P,P: what to add to the decoded map to get G, in units of the vertex std).
        """
        if self._laplacian.device != vertices.device:
            self._laplacian = self._laplacian.to(vertices.device)
        with torch.autocast(vertices.device.type, enabled=False):
            return {
                "tracked_vertices": self.tracked(position_map),
                "laplacian": apply_laplacian(self._laplacian, vertices - self.mean_mesh),
                "smooth_region": self.smooth_region,
                "chart": self.chart,
                "mean_map": self.mean_map if self.residual == "mean" else torch.zeros_like(self.mean_map),
            }

    def update_mean(self, batch_mean: Tensor, rate: float, fraction: float | None, progress: float) -> None:
        """Move V_mu: (1 - rate) V_mu + rate * batch mean.

        Args:
            batch_mean: V,3 mm.
            rate: per step.
            fraction: when given, the time constant as a fraction of the run; replaces ``rate``.
            progress: of the run, 0..1.
        """
        if fraction is not None:
            share = ((progress - self.last_progress) / fraction).clamp(0, 1)  # stays on the device: nothing waits for it
            self.last_progress.fill_(progress)
            self.mean_mesh.lerp_(batch_mean.to(self.mean_mesh.dtype), share.to(self.mean_mesh.dtype))
        else:
            self.mean_mesh.lerp_(batch_mean.to(self.mean_mesh.dtype), rate)


def _tracked_sampling(triangles: Tensor, uv_triangles: Tensor, uv_count: int, vertex_count: int) -> dict[str, Tensor]:
    owner = torch.zeros(uv_count, dtype=torch.long)
    owner[uv_triangles.reshape(-1).long()] = triangles.reshape(-1).long()
    used = torch.zeros(uv_count)
    used[uv_triangles.reshape(-1).long()] = 1
    copies = torch.zeros(vertex_count).index_add(0, owner, used)
    return {"tracked_vertex_of_uv": owner, "tracked_copies": copies}


def _chart_labels(texels: TexelMap, topology: Topology) -> Tensor:
    """Return P,P int64: each texel's chart, counted from 1; 0 where there is none. Charts may touch in the atlas."""
    charts = components(topology.uv_triangles.numpy().astype(np.int64), len(topology.uvs))
    labels = torch.zeros(texels.covered.shape, dtype=torch.int64)
    labels[texels.covered] = torch.from_numpy(charts).long()[texels.points.triangle] + 1
    return labels
