"""VHAP's parameters: one .npz per timestep of an export, or all of them in tracked_flame_params_*.npz.

Read off its public readers: ``vhap/export_as_nerf_dataset.py``, ``vhap/model/tracker.py`` and ``vhap/model/flame.py`` of
ShenhanQian/VHAP; ``flame_model/flame.py`` of ShenhanQian/GaussianAvatars. All rotations are axis-angle, the rotation is
about the root joint, the translation (metres) is added after skinning. FLAME 2023 with jaw rotation is its default.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from avatarzoo.datamodules.trackers.arrays import expressions, load_npz, person, rows, vector
from avatarzoo.errors import DataError
from avatarzoo.rigs.flame import FlameParameters

log = logging.getLogger(__name__)

EDITION = "2023"
PER_FRAME = {"expr": (100,), "rotation": (3,), "neck_pose": (3,), "jaw_pose": (3,), "eyes_pose": (6,), "translation": (3,)}


def read_vhap_files(paths: Sequence[Path]) -> FlameParameters:
    """Read the timesteps of an export.

    Args:
        paths: flame_param/TTTTT.npz, in order.

    Returns:
        N frames. Offsets of vertices (static_offset, dynamic_offset) are left out: FLAME's own mesh is posed.
    """
    if not paths:
        raise DataError("A VHAP export has no flame_param/*.npz.")
    return as_parameters(paths, [read_vhap_file(path) for path in paths])


def read_vhap_file(path: Path) -> dict[str, np.ndarray]:
    """Read one timestep and check what each frame has.

    Args:
        path: flame_param/TTTTT.npz.

    Returns:
        Arrays by name.

    Raises:
        DataError: unreadable, or an array is missing or has another length.
    """
    content = load_npz(path)
    for key, lengths in PER_FRAME.items():
        vector(content, key, lengths, str(path))
    return content


def as_parameters(paths: Sequence[Path], contents: Sequence[dict[str, np.ndarray]]) -> FlameParameters:
    """Stack timesteps.

    Args:
        paths: they were read from, for messages.
        contents: from ``read_vhap_file``, in order, at least one.

    Returns:
        N frames; the shape is that of the first.
    """
    if any(np.any(c.get(key, 0)) for c in contents for key in ("static_offset", "dynamic_offset")):
        log.warning("%s: offsets of vertices are not used; FLAME's own mesh is posed.", paths[0].parent)
    frames = {
        key: [vector(c, key, lengths, str(path)) for c, path in zip(contents, paths, strict=True)]
        for key, lengths in PER_FRAME.items()
    }
    shape = vector(contents[0], "shape", tuple(range(1, 301)), str(paths[0]))
    return _parameters(frames, shape)


def read_vhap_track(path: Path) -> FlameParameters:
    """Read a whole track.

    Args:
        path: tracked_flame_params_*.npz: the same names, stacked over timesteps.
    """
    content = load_npz(path)
    counts = {key: len(content[key]) for key in PER_FRAME if key in content and content[key].ndim > 1}
    if len(set(counts.values())) != 1 or len(counts) != len(PER_FRAME):
        raise DataError(f"{path}: expected {', '.join(PER_FRAME)} with one row per timestep, got rows {counts}.")
    frames = {
        key: [vector({key: row}, key, lengths, str(path)) for row in content[key]] for key, lengths in PER_FRAME.items()
    }
    return _parameters(frames, vector(content, "shape", tuple(range(1, 301)), str(path)))


def _parameters(frames: dict[str, list[np.ndarray]], shape: np.ndarray) -> FlameParameters:
    return FlameParameters(
        expression=expressions(frames["expr"]),
        shape=person(shape),
        rotation=rows(frames["rotation"]),
        neck=rows(frames["neck_pose"]),
        jaw=rows(frames["jaw_pose"]),
        eyes=rows(frames["eyes_pose"]),
        translation=torch.from_numpy(np.stack(frames["translation"]) * 1000).float(),
        edition=EDITION,
    )
