"""INSTA's layout: transforms.json with cameras per frame, RGBA pictures, posed meshes.

Read off ``scripts/transforms.py``, ``scripts/postprocess.py`` and ``instant-ngp/src/nerf_loader.cu`` of Zielon/INSTA:
transform_matrix is the inverse of an OpenCV world-to-camera matrix (not OpenGL), in FLAME's metres; intrinsics are in
corner form; colours are straight, alpha is beside them. Meshes are not FLAME's own vertices any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from avatarzoo.datamodules.base import Sample
from avatarzoo.datamodules.cache import atomic, digest, stamps
from avatarzoo.datamodules.formats import read_text
from avatarzoo.datamodules.layout import Frame
from avatarzoo.datamodules.tracked_videos.video import (
    AbsentFile,
    MeshTable,
    OnBad,
    Shot,
    Video,
    fixed_camera,
    frame_name,
    inside,
    matrix,
    need_frames,
    numbers,
    pose_seen,
    refuse,
    uv_topology,
)
from avatarzoo.datamodules.trackers.arrays import expressions, load_json
from avatarzoo.errors import DataError
from avatarzoo.rigs.flame import FlameParameters

SEGMENT, CAMERA = "video", "camera"
METRE = 1000.0


def is_insta(root: Path) -> bool:
    """Return whether a folder looks like this layout."""
    return any(root.glob("transforms*.json")) and (root / "meshes").is_dir()


def read_insta(root: Path, topology: str | None = None, test_fraction: float = 0.1, on_bad: OnBad = refuse) -> Video:
    """Read the layout; pictures and meshes are opened later.

    Args:
        root: folder with transforms_train.json and transforms_test.json, or transforms.json alone.
        topology: an .obj with UVs, where neither canonical.obj nor the meshes have any.
        test_fraction: share of the last frames that test, where there is no transforms_test.json.
        on_bad: told of frames that lack a file.

    Raises:
        DataError: a file or key is missing or wrong.
    """
    files = [root / f"transforms_{part}.json" for part in ("train", "test")]
    if not all(f.is_file() for f in files):
        files = [root / "transforms.json"]
    contents = [load_json(f) for f in files]
    for file, content in zip(files, contents, strict=True):
        if not isinstance(content, dict) or not isinstance(content.get("frames"), list) or not content["frames"]:
            raise DataError(f"{file}: expected an object with a list of frames.")
    fx, fy, cx, cy = numbers(contents[0], ("fl_x", "fl_y", "cx", "cy"), str(files[0]))
    camera = fixed_camera(CAMERA, np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]]))
    shots, poses, sources, meshes, codes = {}, {}, {}, {}, {}
    split: dict[str, list[Frame]] = {}
    for file, content in zip(files, contents, strict=True):
        part = "test" if file.stem.endswith("_test") else "train"
        split[part] = []
        for number, entry in enumerate(content["frames"]):
            where = f"{file}, frame {number}"
            if not isinstance(entry, dict):
                raise DataError(f"{where}: expected an object, got {type(entry).__name__}.")
            frame = (SEGMENT, frame_name(entry.get("file_path")))
            split[part].append(frame)
            try:
                picture = inside(root, entry.get("file_path"), where, ("", ".png"))
                meshes[frame] = inside(root, entry.get("mesh_path") or f"meshes/{frame[1]}.obj", where)
                code = inside(root, entry["exp_path"], where) if entry.get("exp_path") else None
            except AbsentFile as error:
                meshes.pop(frame, None)
                on_bad(frame, error)
                continue
            to_world = matrix(entry.get("transform_matrix"), (4, 4), f"{where}, transform_matrix")
            R = to_world[:3, :3].T
            poses[frame] = pose_seen(camera, R, -METRE * R @ to_world[:3, 3]).astype(np.float32)
            shots[Sample(*frame, CAMERA)] = Shot(picture, picture)
            sources[frame] = meshes[frame]
            if code is not None:
                codes[frame] = code
    frames = sorted(poses)
    need_frames(frames, root)
    if "test" not in split:
        listed = sorted(set(split["train"]))
        count = max(1, round(len(listed) * test_fraction))
        split = {"train": listed[:-count], "test": listed[-count:]}
    shared = Path(topology).expanduser() if topology else root / "canonical.obj"
    shared = shared if shared.is_file() else meshes[frames[0]]
    try:
        table = uv_topology(shared, None, "the meshes")
    except DataError as error:
        raise DataError(f"{error} Set data.topology=FILE.obj to the same triangles with UVs.") from error
    vertices = ObjFrames(meshes, int(table.triangles.max()) + 1)
    mesh = MeshTable(shared, table, poses, vertices)
    flame = _expressions(frames, codes) if len(codes) == len(frames) else None
    return Video("insta", root, {CAMERA: camera}, frames, shots, split, sources, mesh, flame=flame, tables=[*files, shared])


def _expressions(frames: list[Frame], codes: dict[Frame, Path]) -> FlameParameters:
    """Read flame/exp: INSTA exports neither jaw nor eyes, so they stay zero and cannot drive."""
    found = []
    for frame in frames:
        words = read_text(codes[frame]).split()
        try:
            found.append(np.array([float(w) for w in words]))
        except ValueError as error:
            raise DataError(f"{codes[frame]} holds no list of numbers ({error}).") from error
        if len(words) > 100 or not words:
            raise DataError(f"{codes[frame]} has {len(words)} numbers; expected up to 100 expression coefficients.")
    made = FlameParameters.neutral(len(frames), "2020")
    made.expression = expressions(found)
    return made


class ObjFrames:
    """Vertices of one .obj per frame, in metres on disk; parsed once into a file that all processes map."""

    def __init__(self, files: dict[Frame, Path], count: int) -> None:
        """Keep the files; each has ``count`` vertices."""
        self.files, self.count = files, count
        self.row = {frame: i for i, frame in enumerate(files)}
        self._stored: Path | None = None
        self._map: np.ndarray | None = None

    def __getstate__(self) -> dict:
        """Leave the mapping out, so that loader processes open their own."""
        return self.__dict__ | {"_map": None}

    def store(self, folder: Path, track: Callable[[Sequence, str], Iterable]) -> None:
        """Parse every file into the cache, unless an earlier run did; one that cannot be parsed is left out.

        Args:
            folder: of the capture's cache.
            track: progress bar.
        """
        path = folder / f"meshes-{digest(self.count, stamps(self.files.values()))[:16]}.npy"
        if not path.is_file():
            with atomic(path) as temporary:
                rows = np.lib.format.open_memmap(temporary, "w+", np.float32, (len(self.files), self.count, 3))
                for frame in track(list(self.files), "Reading meshes"):
                    try:
                        rows[self.row[frame]] = self.parse(frame)
                    except DataError:
                        rows[self.row[frame]] = np.nan
                rows.flush()
        self._stored, self._map = path, None

    def __call__(self, frame: Frame) -> np.ndarray:
        """Return V,3 float32 mm.

        Raises:
            DataError: as ``parse``.
        """
        if self._map is None and self._stored is not None and self._stored.is_file():
            self._map = np.load(self._stored, mmap_mode="r")
        if self._map is not None:
            found = np.array(self._map[self.row[frame]])
            if np.isfinite(found[0, 0]):
                return found
        return self.parse(frame)

    def parse(self, frame: Frame) -> np.ndarray:
        """Return V,3 float32 mm from the frame's file.

        Raises:
            DataError: another number of vertices, or numbers that are no head in metres.
        """
        path = self.files[frame]
        rows = [line.split()[1:4] for line in read_text(path).split("\n") if line.startswith("v ")]
        try:
            points = np.array(rows, dtype=np.float64)
        except ValueError as error:
            raise DataError(f"{path}: a vertex is not three numbers ({error}).") from error
        if points.shape != (self.count, 3):
            raise DataError(f"{path} has {len(points)} vertices; the capture's topology has {self.count}.")
        size = float(np.ptp(points, axis=0).max())
        if not 0.05 < size < 1.5:
            raise DataError(f"{path}: the head is {size:.4g} units large; INSTA's meshes are in metres (about 0.3).")
        return (METRE * points).astype(np.float32)
