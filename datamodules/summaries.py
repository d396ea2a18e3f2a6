"""CaptureSummary of a Multiface-layout capture: camera table, regions, statistics of the training frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatarzoo.capture import CameraTable, CaptureSummary
from avatarzoo.datamodules import statistics
from avatarzoo.datamodules.formats import CameraRecord
from avatarzoo.datamodules.layout import Frame
from avatarzoo.datamodules.pictures import read_png
from avatarzoo.datamodules.tracked_mesh import TrackedMesh
from avatarzoo.errors import DataError
from avatarzoo.geometry.cameras import resize_intrinsics

REGIONS = {"mouth": (255, 0, 0), "eyes": (0, 255, 0)}


def camera_table(
    records: Iterable[CameraRecord], stored: tuple[int, int], size: tuple[int, int], views: dict[str, str]
) -> CameraTable:
    """Return the cameras at a picture size.

    Args:
        records: of the KRT file.
        stored: (height, width) its K is for.
        size: (height, width) to bring K to.
        views: camera by name of the view.
    """
    records = list(records)
    K = torch.from_numpy(np.stack([r.K for r in records]))
    if size != stored:
        K = resize_intrinsics(K, size[1] / stored[1], size[0] / stored[0])
    R = torch.from_numpy(np.stack([r.R for r in records]))
    t = torch.from_numpy(np.stack([r.t for r in records]))
    return CameraTable([r.name for r in records], K.float(), R.float(), t.float(), size, views)


def read_regions(path: Path) -> dict[str, Tensor]:
    """Read the masks of named surface regions.

    Args:
        path: uv_regions.png, row 0 at v = 1: red is the mouth, green the eyes.

    Returns:
        R,R bool by name, row 0 at v = 0.

    Raises:
        DataError: unreadable, or not square.
    """
    pixels = read_png(path, "picture")
    if pixels.shape[0] != pixels.shape[1]:
        raise DataError(f"{path} is {pixels.shape[1]}x{pixels.shape[0]}; expected a square, the UV atlas.")
    upright = pixels[::-1].astype(np.int16)
    return {
        name: torch.from_numpy((np.abs(upright - np.array(colour)) < 128).all(axis=2)) for name, colour in REGIONS.items()
    }


def summarise(
    mesh: TrackedMesh,
    cameras: CameraTable,
    frames: Sequence[Frame],
    textures: Callable[[Frame], tuple[Tensor, Tensor]],
    regions: dict[str, Tensor],
    arkit: Mapping[Frame, np.ndarray] | None,
    tables: dict[str, list[str]],
    ids: Mapping[Frame, int],
    flame: Mapping[str, Tensor] | None = None,
) -> CaptureSummary:
    """Compute a summary from training frames.

    Args:
        mesh: the tracked mesh.
        cameras: at the read size.
        frames: of the training split.
        textures: returns a frame's average (3,T,T uint8) and coverage (1,T,T uint8).
        regions: masks by name.
        arkit: weights by frame, or None.
        tables: as in ``batch.Meta``.
        ids: indices of frames, as in ``batch.Driving.frame``.
        flame: FLAME parameters by name, rows by those indices, or None.
    """
    mean, std, nearest = statistics.vertex_statistics(lambda: map(mesh.vertices, frames))
    weights = None if arkit is None else torch.from_numpy(np.stack([arkit[frame] for frame in frames]))
    rows = [ids[frame] for frame in frames]
    parameters = {name: value[rows] for name, value in (flame or {}).items()}
    texture_mean, texture_std, seen = statistics.texture_statistics(map(textures, frames))
    colour_mean, colour_axes = statistics.colour_statistics(texture_mean, seen)
    neutral = frames[nearest]
    average, coverage = textures(neutral)
    return CaptureSummary(
        name=tables["subject"][0],
        topology=mesh.topology,
        cameras=cameras,
        vertex_mean=mean,
        vertex_std=std,
        texture_mean=texture_mean,
        texture_std=texture_std,
        colour_mean=colour_mean,
        colour_axes=colour_axes,
        regions=regions,
        neutral_vertices=torch.from_numpy(mesh.vertices(neutral)),
        neutral_average=average.float() / 255,
        neutral_coverage=coverage.float(),
        head_pose=torch.from_numpy(mesh.poses[neutral]),
        tables=tables,
        neutral_arkit=None if arkit is None else torch.from_numpy(arkit[neutral]),
        neutral_flame={name: value[ids[neutral]] for name, value in flame.items()} if flame else None,
        neutral_frame=ids[neutral],
        train_frames=torch.tensor(rows),
        motion_per_unit=statistics.motion_by_signal(weights, parameters, lambda: map(mesh.vertices, frames)),
    )
