"""Which pixel shows what: the raster of the tracked mesh, the capture's named regions, the silhouette ring and the rest."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from avatarzoo import registry
from avatarzoo.batch import HeadBatch
from avatarzoo.capture import CaptureSummary
from avatarzoo.errors import DataError
from avatarzoo.geometry.cameras import face_to_camera, to_camera, to_clip
from avatarzoo.rasterizers.base import Rasterizer

RING, REST = "silhouette", "rest"


def fixed_rasterizer() -> Rasterizer:
    """Return the rasterizer that all protocols draw the tracked mesh with, whatever the model uses."""
    return registry.build("rasterizer", "warp")


def draw_tracked(batch: HeadBatch, summary: CaptureSummary, rasterizer: Rasterizer) -> tuple[Tensor, Tensor]:
    """Rasterize the capture's tracked mesh into the batch's cameras.

    Args:
        batch: with mesh and view.camera.
        summary: of the capture scored on; gives triangles and UVs.
        rasterizer: see ``fixed_rasterizer``.

    Returns:
        Where the mesh is seen (B,1,H,W bool) and its surface coordinates (B,H,W,2 float32 in 0..1, 0 where it is not).

    Raises:
        DataError: the capture has no tracked mesh.
    """
    if batch.mesh is None or batch.view is None:
        raise DataError(f"Protocols need the tracked mesh and cameras, and {summary.name!r} gives none.")
    camera, topology = batch.view.camera, summary.topology.to(batch.mesh.vertices.device)
    points = to_camera(batch.mesh.vertices.float(), *face_to_camera(camera, batch.mesh.head_pose))
    raster = rasterizer.rasterize(to_clip(points, camera.K, camera.size), topology.triangles, camera.size)
    uv = rasterizer.interpolate(topology.uvs[None], raster, topology.uv_triangles)
    return raster[:, None, :, :, 3] > 0, uv


def draw_footprint(batch: HeadBatch, summary: CaptureSummary, rasterizer: Rasterizer) -> Tensor:
    """Return how much of the tracked surface a pixel spans: camera depth over focal length.

    Args:
        batch: with mesh and view.camera.
        summary: of the capture scored on.
        rasterizer: see ``fixed_rasterizer``.

    Returns:
        B,1,H,W float32, mm per pixel; infinite where the mesh is not seen.
    """
    camera, topology = batch.view.camera, summary.topology.to(batch.mesh.vertices.device)  # type: ignore[union-attr]
    points = to_camera(batch.mesh.vertices.float(), *face_to_camera(camera, batch.mesh.head_pose))  # type: ignore[union-attr]
    raster = rasterizer.rasterize(to_clip(points, camera.K, camera.size), topology.triangles, camera.size)
    depth = rasterizer.interpolate(points[..., 2:].contiguous(), raster, topology.triangles)[..., 0]
    return torch.where(raster[..., 3] > 0, depth / focal_length(camera.K)[:, None, None], torch.inf)[:, None]


def focal_length(K: Tensor) -> Tensor:
    """Return the geometric mean of both focal lengths in pixels, one per camera, of B,3,3."""
    return (K[:, 0, 0] * K[:, 1, 1]).sqrt()


def finest_footprint(summary: CaptureSummary) -> float:
    """Return the finest that training cameras see the neutral face: mm per pixel at the nearest vertex.

    Args:
        summary: of the capture; where it does not name its training cameras, all of them count.

    Raises:
        DataError: a training camera is not in the table.
    """
    table, pose = summary.cameras, summary.head_pose
    trained = table.names if summary.train_cameras is None else summary.train_cameras
    unknown = [name for name in trained if name not in table.names]
    if unknown or not trained:
        raise DataError(
            f"{summary.name!r} trained on the cameras {trained}, but its table of cameras has {', '.join(table.names)}; "
            "the checkpoint's summary is damaged. Train again."
        )
    world = summary.neutral_vertices.float() @ pose[:, :3].T + pose[:, 3]
    depth = torch.einsum("ci,vi->cv", table.R[:, 2], world) + table.t[:, 2:]
    footprint = depth.amin(dim=1) / focal_length(table.K)
    return min(float(footprint[table.names.index(name)]) for name in trained)


def silhouette_ring(mask: Tensor) -> Tensor:
    """Return the pixels of a mask that touch a pixel off it, diagonals included; the picture's border is no silhouette.

    Args:
        mask: B,1,H,W bool.
    """
    outside = F.max_pool2d((~mask).float(), kernel_size=3, stride=1, padding=1) > 0
    return mask & outside


def split_regions(scored: Tensor, tracked: Tensor, uv: Tensor, summary: CaptureSummary) -> dict[str, Tensor]:
    """Divide the pixels that count into the capture's regions, the silhouette ring and the rest.

    A pixel belongs to the first that claims it: the named regions in the order of their names, then the ring, then the
    rest; so the parts add up to ``scored``.

    Args:
        scored: B,1,H,W bool, from ``Protocol.pixels``.
        tracked, uv: from ``draw_tracked``.
        summary: gives the region masks.

    Returns:
        B,1,H,W bool by name; a capture without regions gives "silhouette" and "rest".
    """
    left, parts = scored.clone(), {}
    for name in sorted(summary.regions):
        parts[name] = left & tracked & summary.region_at(name, uv)[:, None]
        left &= ~parts[name]
    parts[RING] = left & silhouette_ring(scored)
    parts[REST] = left & ~parts[RING]
    return parts
