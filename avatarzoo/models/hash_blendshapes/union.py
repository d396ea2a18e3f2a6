"""The union occupancy grid over training expressions, and what it costs other expressions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from avatarzoo.batch import HeadBatch
from avatarzoo.volume.occupancy import OccupancyGrid

if TYPE_CHECKING:
    from avatarzoo.models.hash_blendshapes.model import HashBlendshapes

POINTS = 65536  #: evaluated at once


@torch.no_grad()
def union_of(model: HashBlendshapes, batches: Iterable[HeadBatch]) -> OccupancyGrid:
    """Mark the cells in which some training frame has density, without the warp, and grow the marks by a cell.

    Each cell is tried at one point per frame, at its centre plus a jitter that differs from frame to frame.

    Args:
        model: bound.
        batches: training pictures, one of each frame (``ZooData.frames``).

    Source: supplement D; the grid, the threshold and the growth are reconstructed.
    """
    union = model.union()
    union.occupied.zero_()
    generator = torch.Generator().manual_seed(0)
    for batch in batches:
        batch = batch.to(union.low.device)
        for place in range(batch.size):
            one = batch._map(lambda t, i=place: t[i : i + 1])
            scene = model.scene(one)
            open_cells = (model.shell(scene, model.union_resolution).occupied & ~union.occupied).flatten().nonzero()[:, 0]
            centres = union.centres()[open_cells]
            jitter = torch.rand(centres.shape, generator=generator).to(centres.device) - 0.5
            points = centres + jitter * union.cell
            # a view direction is needed; density hardly reads it, and the camera of the frame is as good as any
            found = []
            for part in points.split(POINTS):
                image = torch.zeros(len(part), dtype=torch.long, device=part.device)
                away = torch.nn.functional.normalize(part - _camera(one), dim=1)
                density, _ = model.field_at(scene, part, image, model.field.view_of_rays(away))
                found.append(density * union.cell > model.union_threshold)
            if found:
                union.occupied.view(-1)[open_cells[torch.cat(found)]] = True
    return union.dilated()


def _camera(batch: HeadBatch) -> torch.Tensor:
    from avatarzoo.geometry.cameras import camera_centre, face_to_camera

    pose = batch.mesh.head_pose  # type: ignore[union-attr]
    with torch.autocast(pose.device.type, enabled=False):
        return camera_centre(*face_to_camera(batch.view.camera, pose))  # type: ignore[union-attr]


@torch.no_grad()
def lost_outside(model: HashBlendshapes, batch: HeadBatch) -> dict[str, float]:
    """Measure what a batch's expressions lose outside the union grid.

    Args:
        model: with a union grid.
        batch: pictures of any frames.

    Returns:
        alpha: share of the alpha that a march through all space within reach finds and the union misses; pixels: share of
        its covered pixels that are empty in the union.
    """
    inside = model.render(batch)
    ready = bool(model.union_ready)
    model.union_ready.fill_(False)
    try:
        everywhere = model.render(batch)
    finally:
        model.union_ready.fill_(ready)
    lost = (everywhere.alpha - inside.alpha).clamp_min(0).sum() / everywhere.alpha.sum().clamp_min(1e-8)
    empty = (everywhere.coverage & ~inside.coverage).sum() / everywhere.coverage.sum().clamp_min(1)
    return {"alpha": float(lost), "pixels": float(empty)}
