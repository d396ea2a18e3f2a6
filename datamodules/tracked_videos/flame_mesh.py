"""Meshes of layouts that store FLAME parameters: the user's model poses them, the neck's motion becomes the head pose."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np

from avatarzoo.capture import Topology
from avatarzoo.datamodules.flame_layout.model import EDITION, flame_layout_files
from avatarzoo.datamodules.layout import Frame
from avatarzoo.datamodules.tracked_videos.video import uv_topology
from avatarzoo.errors import DataError
from avatarzoo.rigs.flame import FlameParameters, FlameRig, check_editions, find_flame_file, load_flame, neck_normalised

TEMPLATES = ("head_template.obj", "head_template_mesh.obj", "head_template_color.obj")
LAYOUT = "flame_layout"  #: value of data.flame for the model that AvatarZoo builds itself


def load_model(
    path: str | None, edition: str | None, uv: str | None, what: str, tracked: str
) -> tuple[FlameRig, Topology, Path]:
    """Load the model that a layout's parameters belong to, and its UVs.

    Args:
        path: data.flame: a file or folder, None for AVATARZOO_FLAME, "flame_layout" for AvatarZoo's own head.
        edition: data.flame_edition, or None.
        uv: data.flame_uv: an .obj with FLAME's UVs; None looks beside the model.
        what: whose parameters, for messages.
        tracked: edition they were tracked with, "" if not known.

    Returns:
        The rig, its topology, and the file it came from.

    Raises:
        DataError: no model, no UVs, or another edition.
    """
    if (path or os.environ.get("AVATARZOO_FLAME")) == LAYOUT:
        return _own_model()
    file = find_flame_file(path)
    rig = load_flame(str(file), edition)
    check_editions(rig.edition, tracked, what)
    candidates = [Path(uv).expanduser()] if uv else [file.parent / name for name in TEMPLATES]
    found = next((c for c in candidates if c.is_file()), None)
    if found is None:
        raise DataError(
            f"FLAME's model file has no UVs, and {' or '.join(str(c) for c in candidates)} is not there. Put "
            "head_template.obj (from FLAME's texture space download at https://flame.is.tue.mpg.de) beside the model, or "
            "set data.flame_uv=FILE."
        )
    return rig, uv_topology(found, rig.triangles.numpy(), "the FLAME model"), file


@cache
def _own_model() -> tuple[FlameRig, Topology, Path]:
    file, uvs = flame_layout_files()
    rig = load_flame(str(file), EDITION)
    return rig, uv_topology(uvs, rig.triangles.numpy(), "the FLAME layout"), file


class PosedFrames:
    """Face-centric vertices of frames, posed when they are asked for."""

    def __init__(self, rig: FlameRig, parameters: FlameParameters, frames: list[Frame]) -> None:
        """Keep the model and the parameters, one row per frame."""
        self.rig, self.parameters = rig, parameters
        self.row = {frame: i for i, frame in enumerate(frames)}

    def __call__(self, frame: Frame) -> np.ndarray:
        """Return V,3 float32 mm, the neck's motion taken out."""
        world, transforms = self.rig(self.parameters.rows(self.row[frame]))
        return np.ascontiguousarray(neck_normalised(world, transforms)[0][0].numpy())

    def pose(self, frame: Frame) -> np.ndarray:
        """Return 3,4 float64: where the neck takes the head, in FLAME's frame, mm."""
        world, transforms = self.rig(self.parameters.rows(self.row[frame]))
        return neck_normalised(world, transforms)[1][0].double().numpy()
