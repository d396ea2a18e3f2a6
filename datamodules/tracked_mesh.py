"""The tracked mesh of a Multiface-layout capture: topology, vertices and head poses of its frames."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from avatarzoo.capture import Topology
from avatarzoo.datamodules.formats import read_transform, read_vertices
from avatarzoo.datamodules.layout import Frame, Layout
from avatarzoo.datamodules.obj import read_obj
from avatarzoo.errors import DataError

log = logging.getLogger(__name__)

CLOSE = 1.0  # mm; a median distance below it means "the same vertices in the same frame of reference"


class TrackedMesh:
    """Vertices and poses by frame, face-centric whatever the files hold.

    Attributes:
        path: the .obj the topology was taken from.
        topology: triangles and UVs.
        vertex_count: V of every .bin.
        poses: 3,4 float32 by frame, known after ``check``.
    """

    def __init__(self, layout: Layout, frames: Sequence[Frame]) -> None:
        """Read the topology from the first .obj there is, and see how many vertices the .bin files have.

        Args:
            layout: of the capture.
            frames: that will be read.

        Raises:
            DataError: no .obj, no .bin, or an .obj of another topology.
        """
        self.layout = layout
        paths = layout.meshes_with_topology()
        if not paths:
            raise DataError(
                f"{layout.root / 'tracked_mesh'} has no SEG/FRAME.obj, so the triangles and UVs of the tracked mesh are "
                "unknown. Put one .obj of the topology (with UVs) beside any .bin."
            )
        self.path: Path = paths[0]
        mesh = read_obj(self.path)
        sizes = Counter(layout.mesh(f).stat().st_size for f in frames if layout.mesh(f).is_file())
        if not sizes:
            raise DataError(f"{layout.root / 'tracked_mesh'} has no SEG/FRAME.bin of any frame listed. Restore them.")
        common, listed = sizes.most_common(1)[0][0], len(mesh.vertices)
        self.vertex_count = common // 12
        if common % 12 or self.vertex_count < listed:
            raise DataError(
                f"{self.path} has {listed} vertices ({12 * listed} bytes of float32), but most .bin files have {common} "
                "bytes. They are of different topologies or cut short; restore the right ones."
            )
        if self.vertex_count > listed:
            log.warning(
                "%s has %d vertices, the .bin files %d; the rest is drawn nowhere.", self.path, listed, self.vertex_count
            )
        self.topology = Topology(
            torch.from_numpy(mesh.triangles),
            torch.from_numpy(mesh.uvs.astype(np.float32)).clamp(0, 1),
            torch.from_numpy(mesh.uv_triangles),
        )
        self.poses: dict[Frame, np.ndarray] = {}
        self.in_world = self._is_in_world(mesh.vertices)

    def _is_in_world(self, listed: np.ndarray) -> bool:
        """Return whether the .bin files hold world coordinates, judged by the .obj of the same frame."""
        frame = (self.path.parent.name, self.path.stem)
        if not (self.layout.mesh(frame).is_file() and self.layout.transform(frame).is_file()):
            return False
        try:
            stored = read_vertices(self.layout.mesh(frame), self.vertex_count)[: len(listed)].astype(np.float64)
            pose = read_transform(self.layout.transform(frame))
        except DataError:
            return False  # reported, if the frame is used, by ``check``
        held = frame_of_reference(listed, stored, pose)
        if held == "bin in world":
            log.warning(
                "%s: the .bin is the .obj moved by the head pose; .bin files are read as world coordinates.", self.path
            )
        elif held == "unknown":
            log.warning("%s matches its .bin in no frame of reference; .bin files are read as face-centric.", self.path)
        return held == "bin in world"

    def check(self, frames: Iterable[Frame], on_bad: Callable[[Frame, DataError], None]) -> None:
        """Read every frame's vertices and pose once.

        Args:
            frames: that will be read.
            on_bad: told of those that cannot be.
        """
        for frame in frames:
            try:
                for path in (self.layout.mesh(frame), self.layout.transform(frame)):
                    if not path.is_file():
                        raise DataError(
                            f"{path} is absent, though the frame is listed. Restore it, remove the frame from "
                            "frame_list.txt, or use data.on_bad_frame=skip."
                        )
                read_vertices(self.layout.mesh(frame), self.vertex_count)
                self.poses[frame] = read_transform(self.layout.transform(frame)).astype(np.float32)
            except DataError as error:
                on_bad(frame, error)

    def vertices(self, frame: Frame) -> np.ndarray:
        """Return a frame's vertices.

        Args:
            frame: segment and frame, checked before.

        Returns:
            V,3 float32 mm, face-centric.
        """
        vertices = read_vertices(self.layout.mesh(frame), self.vertex_count)
        if self.in_world:
            pose = self.poses[frame]
            vertices = (vertices - pose[:, 3]) @ pose[:, :3]
        return vertices


def frame_of_reference(listed: np.ndarray, stored: np.ndarray, pose: np.ndarray) -> str:
    """Decide by residual which frame of reference a .bin is in.

    Multiface's own reader moves .bin vertices by the head pose, while its users project .obj vertices without it, so an
    .obj may be face-centric or in the world; a .bin in the world is a converter's mistake that can be undone.

    Args:
        listed: V,3 vertices of the .obj.
        stored: V,3 vertices of the .bin of the same frame.
        pose: 3,4 head pose.

    Returns:
        "same", "obj in world", "bin in world" or "unknown".
    """

    def apart(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.median(np.linalg.norm(a - b, axis=1)))

    residuals = {
        "same": apart(listed, stored),
        "obj in world": apart(listed, stored @ pose[:, :3].T + pose[:, 3]),
        "bin in world": apart(stored, listed @ pose[:, :3].T + pose[:, 3]),
    }
    best = min(residuals, key=lambda name: residuals[name])
    return best if residuals[best] < CLOSE else "unknown"
