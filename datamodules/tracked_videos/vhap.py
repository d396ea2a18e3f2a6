"""VHAP's export (as GaussianAvatars reads it): transforms_*.json, images, fg_masks, FLAME parameters per timestep.

Read off ``vhap/export_as_nerf_dataset.py``, ``vhap/data/nerf_dataset.py`` and ``vhap/util/camera.py`` of ShenhanQian/VHAP:
transform_matrix is an OpenGL camera-to-world matrix in metres; pixels are in corner form; pictures lie on white already. In
exports made since November 2024 cy counts from the bottom edge, in older ones from the top.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avatarzoo.datamodules.base import Sample
from avatarzoo.datamodules.formats import CameraRecord
from avatarzoo.datamodules.layout import Frame
from avatarzoo.datamodules.tracked_videos.flame_mesh import PosedFrames, load_model
from avatarzoo.datamodules.tracked_videos.video import (
    FLIP,
    AbsentFile,
    MeshTable,
    OnBad,
    Shot,
    Video,
    inside,
    matrix,
    need_frames,
    numbers,
    refuse,
)
from avatarzoo.datamodules.trackers.arrays import load_json
from avatarzoo.datamodules.trackers.vhap import EDITION, as_parameters, read_vhap_file
from avatarzoo.errors import DataError

METRE = 1000.0
SEGMENT = "sequence"
SAME = 1e-4  # of a rotation, and of a translation in metres: a camera that stands still
COLOURS = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0)}


def is_vhap(root: Path) -> bool:
    """Return whether a folder looks like this layout."""
    return any(root.glob("transforms*.json")) and (root / "flame_param").is_dir()


def read_vhap(
    root: Path,
    flame: str | None = None,
    edition: str | None = None,
    uv: str | None = None,
    cy_origin: str = "bottom",
    over: str = "white",
    test_fraction: float = 0.1,
    on_bad: OnBad = refuse,
) -> Video:
    """Read the layout.

    Args:
        root: folder with transforms_train.json and transforms_test.json, or transforms.json alone.
        flame, edition, uv: the model, as in ``flame_mesh.load_model``.
        cy_origin: "bottom", or "top" for exports from before November 2024.
        over: colour the pictures were composited on, "white" or "black".
        test_fraction: share of the last timesteps that test, where there is no transforms_test.json.
        on_bad: told of pictures that are absent, and of frames whose parameters cannot be read.

    Raises:
        DataError: a file or key is missing or wrong, or a camera moves.
    """
    files = [root / f"transforms_{part}.json" for part in ("train", "test")]
    if not all(f.is_file() for f in files):
        files = [root / "transforms.json"]
    cameras: dict[str, CameraRecord] = {}
    shots: dict[Sample, Shot] = {}
    parameter_files: dict[Frame, Path] = {}
    split: dict[str, list[Frame]] = {}
    for file in files:
        content = load_json(file)
        entries = content.get("frames") if isinstance(content, dict) else None
        if not isinstance(entries, list) or not entries:
            raise DataError(f"{file}: expected an object with a list of frames.")
        part = "test" if file.stem.endswith("_test") else "train"
        chosen: dict[Frame, None] = {}
        for number, entry in enumerate(entries):
            where = f"{file}, frame {number}"
            if not isinstance(entry, dict):
                raise DataError(f"{where}: expected an object, got {type(entry).__name__}.")
            frame = (SEGMENT, f"{int(numbers(entry, ('timestep_index',), where)[0]):05d}")
            record = _camera(entry, where, cy_origin)
            known = cameras.setdefault(record.name, record)
            if np.abs(known.R - record.R).max() > SAME or np.abs(known.t - record.t).max() > METRE * SAME:
                raise DataError(f"{where}: camera {record.name!r} moves; VHAP's cameras stand still and the head moves.")
            if np.abs(known.K - record.K).max() > 1e-3:
                raise DataError(f"{where}: camera {record.name!r} changes its K; one camera has one K.")
            sample = Sample(*frame, record.name)
            chosen[frame] = None
            try:
                picture = inside(root, entry.get("file_path"), where)
                matte = inside(root, entry["fg_mask_path"], where) if entry.get("fg_mask_path") else None
                parameter_files[frame] = inside(root, entry.get("flame_param_path"), where)
            except AbsentFile as error:
                on_bad(sample, error)
                continue
            shots[sample] = Shot(picture, matte)
        split[part] = list(chosen)
    listed = sorted({f for frames in split.values() for f in frames})
    # A timestep whose held-out camera tests must not count as a test frame too: it was trained on.
    split["train"] = [f for f in listed if f in set(split["train"])]
    if "test" in split:
        split["test"] = [f for f in split["test"] if f not in set(split["train"])]
    else:
        count = max(1, round(len(listed) * test_fraction))
        split = {"train": listed[:-count], "test": listed[-count:]}
    rig, topology, model = load_model(flame, edition, uv, str(root), "" if edition or flame == "flame_layout" else EDITION)
    read = {}
    for frame in sorted(parameter_files):
        try:
            read[frame] = read_vhap_file(parameter_files[frame])
        except DataError as error:
            on_bad(frame, error)
    frames = list(read)
    need_frames(frames, root)
    parameters = as_parameters([parameter_files[f] for f in frames], list(read.values()))
    parameters.edition = rig.edition
    posed = PosedFrames(rig, parameters, frames)
    poses = {frame: posed.pose(frame).astype(np.float32) for frame in frames}
    mesh = MeshTable(model, topology, poses, posed)
    tables = [*files, model]
    return Video("vhap", root, cameras, frames, shots, split, parameter_files, mesh, COLOURS[over], parameters, tables)


def _camera(entry: dict, where: str, cy_origin: str) -> CameraRecord:
    fx, fy, cx, cy, height = numbers(entry, ("fl_x", "fl_y", "cx", "cy", "h"), where)
    to_world = matrix(entry.get("transform_matrix"), (4, 4), f"{where}, transform_matrix")
    R = FLIP @ to_world[:3, :3].T
    t = -METRE * R @ to_world[:3, 3]
    row = (height - cy if cy_origin == "bottom" else cy) - 0.5
    name = str(entry.get("camera_id") or f"{int(entry.get('camera_index') or 0):02d}")
    return CameraRecord(name, np.array([[fx, 0, cx - 0.5], [0, fy, row], [0, 0, 1]]), R, t, (0.0,) * 5)
