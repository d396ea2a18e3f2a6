"""IMavatar's and PointAvatar's layout: flame_params.json beside image/ and mask/, one folder per video.

Read off ``code/datasets/real_dataset.py``, ``code/utils/rend_util.py`` and ``preprocess/DECA/optimize.py`` of
zhengyuf/IMavatar, and ``code/flame/FLAME.py`` of zhengyuf/PointAvatar: an OpenGL camera (y up, z back) in units of four
metres; intrinsics as shares of the picture, fx negative; pose 15 = root, neck, jaw, left eye, right eye, the head's
rotation in the neck; geometry four times as large as FLAME's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from avatarzoo.datamodules.base import Sample
from avatarzoo.datamodules.layout import Frame
from avatarzoo.datamodules.tracked_videos.flame_mesh import PosedFrames, load_model
from avatarzoo.datamodules.tracked_videos.shots import picture_size
from avatarzoo.datamodules.tracked_videos.video import (
    FLIP,
    AbsentFile,
    MeshTable,
    OnBad,
    Shot,
    Video,
    chain,
    fixed_camera,
    frame_name,
    inside,
    matrix,
    need_frames,
    pose_seen,
    refuse,
)
from avatarzoo.datamodules.trackers.arrays import expressions, load_json, person, rows, vector
from avatarzoo.errors import ConfigError, DataError, did_you_mean
from avatarzoo.rigs.flame import FlameParameters

CAMERA = "camera"
UNIT = 250.0  #: mm per unit of world_mat: everything is four times as large as FLAME's metres
HALF_PIXEL = {"imavatar": 0.0, "pointavatar": 0.5}  #: the two tools read the same numbers half a pixel apart
FILE = "flame_params.json"


def is_imavatar(root: Path) -> bool:
    """Return whether a folder looks like this layout: flame_params.json in it, or one folder below."""
    return (root / FILE).is_file() or any(root.glob(f"*/{FILE}"))


def read_imavatar(
    root: Path,
    flame: str | None = None,
    edition: str | None = None,
    uv: str | None = None,
    pixel_centres: str = "imavatar",
    test_fraction: float = 0.1,
    test_segments: Sequence[str] | None = None,
    on_bad: OnBad = refuse,
) -> Video:
    """Read the layout.

    Args:
        root: a video's folder, or the folder of several, which become segments.
        flame, edition, uv: the model, as in ``flame_mesh.load_model``.
        pixel_centres: "imavatar" (centres at integers) or "pointavatar" (at halves): whose reading of K the tracking meant.
        test_fraction: share of the last frames of each video that test, where no video is named to test.
        test_segments: videos that test; the others train.
        on_bad: told of frames that lack their picture.

    Raises:
        DataError: a file or key is missing or wrong.
    """
    folders = [root] if (root / FILE).is_file() else sorted(p.parent for p in root.glob(f"*/{FILE}"))
    names = [folder.name for folder in folders]
    for name in test_segments or ():
        if name not in names:
            raise ConfigError(f"data.test_segments names {name!r}.{did_you_mean(str(name), names)}")
    rig, topology, model = load_model(flame, edition, uv, f"{root / FILE}", "2020")
    shots, where_from, seen = {}, {}, {}
    codes: list[np.ndarray] = []
    frames: list[Frame] = []
    split: dict[str, list[Frame]] = {"train": [], "test": []}
    camera = shape = None
    poses_15: list[np.ndarray] = []
    for folder in folders:
        file = folder / FILE
        content = load_json(file)
        entries = content.get("frames") if isinstance(content, dict) else None
        if not isinstance(entries, list) or not entries:
            raise DataError(f"{file}: expected an object with a list of frames.")
        here: list[Frame] = []
        for number, entry in enumerate(entries):
            where = f"{file}, frame {number}"
            name = entry.get("file_path") if isinstance(entry, dict) else None
            frame = (folder.name, frame_name(name).zfill(6))
            here.append(frame)
            try:
                picture = inside(folder, name, where, (".png", "", ".jpg"))
            except AbsentFile as error:
                on_bad(frame, error)
                continue
            if camera is None:
                try:
                    size = picture_size(picture)
                except DataError as error:
                    on_bad(frame, error)
                    continue
                K = _intrinsics(content, size, str(file), HALF_PIXEL[pixel_centres])
                camera = fixed_camera(CAMERA, K)
                shape = vector(content, "shape_params", (100, 300), str(file))
            world = matrix(entry.get("world_mat"), (3, 4), f"{where}, world_mat")
            seen[frame] = (FLIP @ world[:, :3], UNIT * FLIP @ world[:, 3])
            codes.append(vector(entry, "expression", (50, 100), where))
            poses_15.append(vector(entry, "pose", (15,), where))
            mask = folder / "mask" / picture.name
            shots[Sample(*frame, CAMERA)] = Shot(picture, mask if mask.is_file() else None)
            where_from[frame] = file
            frames.append(frame)
        if test_segments is None:
            count = max(1, round(len(here) * test_fraction))
        else:
            count = len(here) if folder.name in test_segments else 0
        split["train"] += here[: len(here) - count]
        split["test"] += here[len(here) - count :]
    need_frames(frames, root)
    pose = np.stack(poses_15)
    parameters = FlameParameters.neutral(len(frames), rig.edition)
    parameters.expression, parameters.shape = expressions(codes), person(shape)  # type: ignore[arg-type]
    parts = (list(pose[:, a:b]) for a, b in ((0, 3), (3, 6), (6, 9), (9, 15)))
    parameters.rotation, parameters.neck, parameters.jaw, parameters.eyes = (rows(p) for p in parts)
    posed = PosedFrames(rig, parameters, frames)
    poses = {
        f: chain(pose_seen(camera, *seen[f]), posed.pose(f)).astype(np.float32)  # type: ignore[arg-type]
        for f in frames
    }
    mesh = MeshTable(model, topology, poses, posed)
    tables = list(dict.fromkeys([*where_from.values(), model]))
    cameras = {CAMERA: camera}
    return Video(
        "imavatar",
        root,
        cameras,
        frames,
        shots,
        split,
        where_from,
        mesh,
        flame=parameters,
        tables=tables,  # type: ignore
    )


def _intrinsics(content: dict, size: tuple[int, int], where: str, half: float) -> np.ndarray:
    fx, fy, cx, cy = vector(content, "intrinsics", (4,), f"{where}, intrinsics")
    height, width = size
    if abs(cy) > 1:  # an older form: pixels of a 512 picture
        fx, fy, cx, cy = (value / 512 for value in (fx, fy, cx, cy))
    return np.array([[abs(fx) * width, 0, cx * width - half], [0, fy * height, cy * height - half], [0, 0, 1]])
