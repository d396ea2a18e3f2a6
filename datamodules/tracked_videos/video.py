"""Video: a tracked video whatever its layout: pictures, mattes, cameras, meshes, head poses, parameters, splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from avatarzoo.capture import Topology
from avatarzoo.datamodules.base import Sample
from avatarzoo.datamodules.formats import CameraRecord, check_rotation
from avatarzoo.datamodules.layout import Frame
from avatarzoo.datamodules.obj import read_obj
from avatarzoo.errors import DataError
from avatarzoo.rigs.flame import FlameParameters

#: Told of a frame, or of one picture of it, that has to be left out, and why.
OnBad = Callable[[Frame | Sample, DataError], None]

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
FLIP = np.diag([1.0, -1.0, -1.0])  #: OpenGL's camera axes (y up, z back) to OpenCV's (y down, z forward)


class AbsentFile(DataError):
    """A file of a single frame that is listed and not there: the frame can be left out."""


def refuse(what: Frame | Sample, error: DataError) -> None:
    """Stop at the first frame that cannot be read."""
    raise error


@dataclass(frozen=True)
class Shot:
    """One picture on disk.

    Attributes:
        picture: 8-bit RGB, RGBA or JPEG.
        matte: 8-bit grey (of several channels the first counts), or None; may be the picture itself, for its alpha.
    """

    picture: Path
    matte: Path | None


class MeshTable:
    """Vertices and head poses by frame, as ``TrackedMesh`` gives them for Multiface's layout.

    Attributes:
        path: what the topology was taken from.
        topology: triangles and UVs.
        poses: 3,4 float32 by frame, face-centric -> world, mm.
    """

    in_world = False

    def __init__(
        self, path: Path, topology: Topology, poses: dict[Frame, np.ndarray], vertices: Callable[[Frame], np.ndarray]
    ) -> None:
        """Keep the parts; ``vertices`` gives a frame's V,3 float32 mm, face-centric."""
        self.path, self.topology, self.poses, self._vertices = path, topology, poses, vertices

    def store(self, folder: Path, track: Callable) -> None:
        """Keep what is slow to read in the capture's cache folder; ``track`` is a progress bar."""
        if hasattr(self._vertices, "store"):
            self._vertices.store(folder, track)

    def vertices(self, frame: Frame) -> np.ndarray:
        """Return a frame's vertices, V,3 float32 mm, face-centric."""
        return self._vertices(frame)


@dataclass
class Video:
    """A tracked video. It answers what the stores of Multiface's layout ask a layout (listing, has, picture, ...).

    Attributes:
        kind: the layout's name.
        root: its folder.
        cameras: by name; K in stored pixels, centres at integers; world -> camera, mm.
        frames: in order.
        shots: pictures by sample.
        split: frames of "train" and "test"; those that had to be left out are still named.
        sources: files by frame that its mesh and pose come from.
        surface: vertices and head poses.
        over: colour 0..1 the pictures lie on already, outside the matte; None where it still has to be cut out.
        flame: parameters, one row per frame, or None.
        tables: files that all frames share.
    """

    kind: str
    root: Path
    cameras: dict[str, CameraRecord]
    frames: list[Frame]
    shots: dict[Sample, Shot]
    split: dict[str, list[Frame]]
    sources: dict[Frame, Path]
    surface: MeshTable
    over: tuple[float, float, float] | None = None
    flame: FlameParameters | None = None
    tables: list[Path] = field(default_factory=list)

    def listing(self, *parts: str) -> frozenset[str]:
        """Return whether there are pictures or mattes, as a listing that is empty or not."""
        there = parts == ("images",) or (parts == ("mattes",) and any(s.matte is not None for s in self.shots.values()))
        return frozenset(["shots"]) if there else frozenset()

    def has(self, kind: str, sample: Sample) -> bool:
        """Return whether a sample has a picture ("images") or a matte ("mattes")."""
        shot = self.shots.get(sample)
        return shot is not None and (kind == "images" or (kind == "mattes" and shot.matte is not None))

    def picture(self, kind: str, sample: Sample) -> Path:
        """Return the file of a sample's picture or matte."""
        shot = self.shots[sample]
        return shot.matte if kind == "mattes" and shot.matte is not None else shot.picture

    def mesh(self, frame: Frame) -> Path:
        """Return the file a frame's mesh comes from."""
        return self.sources[frame]

    def transform(self, frame: Frame) -> Path:
        """Return the file a frame's head pose comes from."""
        return self.sources[frame]

    def unwrapped(self, frame: Frame) -> Path:
        """Return where Multiface's layout would have an average texture; these layouts have none."""
        return self.root / "unwrapped" / "none"


def fixed_camera(name: str, K: np.ndarray) -> CameraRecord:
    """Return a camera that stands still at the world's origin and looks along -z with y up.

    Args:
        name: of the camera.
        K: 3,3 pixels.
    """
    return CameraRecord(name, K, FLIP.copy(), np.zeros(3), (0.0,) * 5)


def pose_seen(camera: CameraRecord, R: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return the head pose under which a camera that stands still sees what a moving one did.

    Args:
        camera: stands still.
        R, t: head -> camera of the frame, mm.

    Returns:
        3,4 head -> world: camera.R pose + camera.t = [R t].
    """
    return np.concatenate([camera.R.T @ R, (camera.R.T @ (t - camera.t))[:, None]], axis=1)


def chain(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the 3,4 motion that does ``second`` and then ``first``."""
    return np.concatenate([first[:, :3] @ second[:, :3], first[:, :3] @ second[:, 3:] + first[:, 3:]], axis=1)


def matrix(value: object, shape: tuple[int, int], where: str) -> np.ndarray:
    """Read a rigid 3x4 or 4x4 matrix of a JSON file.

    Args:
        value: nested lists.
        shape: expected.
        where: file and key, for the message.

    Raises:
        DataError: another shape, numbers that are not finite, or no rotation.
    """
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} holds no matrix of numbers.") from error
    if found.shape != shape or not np.isfinite(found).all():
        raise DataError(f"{where} has shape {found.shape}; expected {shape[0]}x{shape[1]} finite numbers.")
    check_rotation(found[:3, :3], where)
    return found


def numbers(source: dict, keys: Sequence[str], where: str) -> list[float]:
    """Return finite numbers of a JSON object.

    Args:
        source: the object.
        keys: that must be there.
        where: the file, for the message.
    """
    found = []
    for key in keys:
        value = source.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
            raise DataError(f"{where}: expected a number under {key!r}, got {value!r}.")
        found.append(float(value))
    return found


def inside(root: Path, name: object, where: str, suffixes: Sequence[str] = ("",)) -> Path:
    """Return a file that a JSON file names, relative to a folder.

    Args:
        root: the folder.
        name: as written.
        where: the JSON file, for the message.
        suffixes: tried in turn behind the name.

    Raises:
        AbsentFile: no such file.
        DataError: no name, or a name that leads out of the capture.
    """
    if not isinstance(name, str) or not name:
        raise DataError(f"{where}: expected a path, got {name!r}.")
    base = root / name
    if Path(name).is_absolute() or not base.resolve().is_relative_to(root.resolve().parent):
        raise DataError(f"{where}: {name!r} leads out of the capture; paths are relative to {root}.")
    for suffix in suffixes:
        found = base.with_name(base.name + suffix)
        if found.is_file():
            return found
    raise AbsentFile(f"{base} is absent, though {where} names it. Restore it, or use data.on_bad_frame=skip.")


def frame_name(path: object) -> str:
    """Return a frame's name: that of its picture, as a JSON file writes it, without folders and a picture's suffix.

    Args:
        path: as written.
    """
    name = str(path).rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[0] if name.lower().endswith(PICTURES) else name


def need_frames(frames: Sequence[Frame], root: Path) -> None:
    """Check that leaving frames out left some.

    Args:
        frames: that can be read.
        root: of the capture, for the message.

    Raises:
        DataError: there is none.
    """
    if not frames:
        raise DataError(f"{root}: no frame has all its files; data.on_bad_frame=error names the first that is absent.")


def uv_topology(path: Path, triangles: np.ndarray | None, what: str) -> Topology:
    """Read triangles and UVs from an .obj; positions in it are not used.

    Args:
        path: the .obj.
        triangles: F,3 that it must have, or None.
        what: whose triangles they are, for the message.
    """
    import torch

    mesh = read_obj(path)
    if triangles is not None and (
        mesh.triangles.shape != triangles.shape or not (np.sort(mesh.triangles, 1) == np.sort(triangles, 1)).all()
    ):
        raise DataError(
            f"{path} has {len(mesh.triangles)} triangles that are not those of {what} ({len(triangles)}); give the .obj "
            "of that very topology."
        )
    return Topology(
        torch.from_numpy(mesh.triangles).int(),
        torch.from_numpy(mesh.uvs).float(),
        torch.from_numpy(mesh.uv_triangles).int(),
    )
