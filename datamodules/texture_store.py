"""Average textures by frame, computed once and kept on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatarzoo import registry
from avatarzoo.batch import Camera
from avatarzoo.capture import CameraTable
from avatarzoo.datamodules.average_texture import BackProjector
from avatarzoo.datamodules.base import Sample
from avatarzoo.datamodules.cache import atomic, digest, drop, keep, stamps
from avatarzoo.datamodules.layout import Frame, Layout
from avatarzoo.datamodules.picture_store import FORMAT, Track
from avatarzoo.datamodules.pictures import check_size, overlap, read_png
from avatarzoo.datamodules.tracked_mesh import TrackedMesh
from avatarzoo.errors import DataError

log = logging.getLogger(__name__)


class TextureStore:
    """One file per frame: its average texture and coverage, 4,T,T uint8, row 0 at v = 0."""

    def __init__(self, layout: Layout, folder: Path, size: int, cameras: Sequence[str]) -> None:
        """Describe a store.

        Args:
            layout: of the capture.
            folder: the capture's cache folder.
            size: T.
            cameras: whose pictures are averaged.
        """
        self.layout, self.size, self.cameras = layout, size, list(cameras)
        self.folder = folder / f"textures-{size}-{digest(FORMAT, self.cameras)[:12]}"
        self.files: dict[Frame, Path] = {}

    def read(self, frame: Frame) -> tuple[Tensor, Tensor]:
        """Return a frame's average (3,T,T uint8) and coverage (1,T,T uint8, 0 or 1).

        Args:
            frame: one that was filled.

        Raises:
            DataError: the cache was emptied meanwhile.
        """
        try:
            data = torch.from_numpy(np.load(self.files[frame]))
        except (OSError, ValueError) as error:
            raise DataError(f"{self.files[frame]} was removed from the cache while it was in use; start again.") from error
        return data[:3], data[3:]

    def key_of(self, frame: Frame, pictures: Sequence[Sample], shared: str) -> Path:
        """Return the file of a frame, named after everything it is made from."""
        files = [self.layout.unwrapped(frame)]
        if not files[0].is_file():
            files = [self.layout.picture("images", s) for s in pictures]
            files += [self.layout.mesh(frame), self.layout.transform(frame)]
        return self.folder / frame[0] / f"{frame[1]}-{digest(shared, stamps(files))[:16]}.npy"

    def fill(
        self,
        pictures: Mapping[Frame, Sequence[Sample]],
        maker: TextureMaker,
        track: Track,
        on_bad: Callable[[Frame, DataError], None],
    ) -> None:
        """Compute what earlier runs did not.

        Args:
            pictures: to average, by frame.
            maker: computes a frame's texture.
            track: progress bar.
            on_bad: told of frames that cannot be computed; raises, or marks the frame.
        """
        shared = maker.key()
        self.files = {frame: self.key_of(frame, pictures[frame], shared) for frame in pictures}
        missing = [frame for frame in pictures if not self.files[frame].is_file()]
        keep(file for file in self.files.values() if file.is_file())
        log.info("Average textures: %d of %d are cached in %s.", len(pictures) - len(missing), len(pictures), self.folder)
        for frame in track(missing, "Average textures"):
            path = self.files[frame]
            try:
                data = maker.make(self.layout, frame, pictures[frame])
            except DataError as error:
                del self.files[frame]
                on_bad(frame, error)
                continue
            drop(old for old in path.parent.glob(f"{frame[1]}-*.npy") if old != path)
            with atomic(path) as temporary, open(temporary, "wb") as file:
                np.save(file, data)


class TextureMaker:
    """Compute a frame's average texture: the capture's own if it has one, else by back-projection."""

    def __init__(
        self, mesh: TrackedMesh, cameras: CameraTable, size: int, on_bad: Callable[[Sample, DataError], None]
    ) -> None:
        """Describe the computation.

        Args:
            mesh: the tracked mesh.
            cameras: at the stored size.
            size: T.
            on_bad: told of pictures that cannot be read; raises, or leaves them out of the average.
        """
        self.mesh, self.cameras, self.size, self.on_bad = mesh, cameras, size, on_bad
        self._projector: BackProjector | None = None

    def key(self) -> str:
        """Return what every texture depends on besides its own files."""
        table = self.cameras
        values = [table.names, *(getattr(table, name).tolist() for name in ("K", "R", "t"))]
        return digest(FORMAT, stamps([self.mesh.path]), self.mesh.in_world, values)

    def read_picture(self, layout: Layout, sample: Sample) -> np.ndarray:
        """Return one picture, H,W,3 uint8, as stored."""
        return read_png(layout.picture("images", sample), "picture")

    def make(self, layout: Layout, frame: Frame, pictures: Sequence[Sample]) -> np.ndarray:
        """Compute one frame's texture.

        Args:
            layout: of the capture.
            frame: whose.
            pictures: to average.

        Returns:
            4,T,T uint8: colour (0 where unseen) and coverage (0 or 1), row 0 at v = 0.

        Raises:
            DataError: the capture's own texture cannot be read, or no picture shows the mesh.
        """
        if layout.unwrapped(frame).is_file():
            return stored_average(layout.unwrapped(frame), self.size)
        if self._projector is None:
            self._projector = BackProjector(self.mesh.topology, self.size, registry.build("rasterizer", "warp"))
        ids, seen_by = [], []
        for sample in pictures:
            try:
                pixels = self.read_picture(layout, sample)
                check_size(layout.picture("images", sample), pixels.shape[:2], self.cameras.size)
            except DataError as error:
                self.on_bad(sample, error)
                continue
            seen_by.append(torch.from_numpy(pixels))
            ids.append(self.cameras.names.index(sample.camera))
        cameras = Camera(self.cameras.K[ids], self.cameras.R[ids], self.cameras.t[ids], self.cameras.size)
        vertices, pose = torch.from_numpy(self.mesh.vertices(frame)), torch.from_numpy(self.mesh.poses[frame])
        average, covered = self._projector.average(vertices, pose, cameras, seen_by)
        if not bool(covered.any()):
            raise DataError(
                f"None of the {len(seen_by)} pictures of frame {frame[0]}/{frame[1]} taken by data.texture_cameras shows "
                f"its tracked mesh, so it has no average texture. Check {layout.mesh(frame)} and "
                f"{layout.transform(frame)}, or use data.on_bad_frame=skip."
            )
        return torch.cat([average, covered.to(torch.uint8)]).numpy()


def stored_average(path: Path, size: int) -> np.ndarray:
    """Read a capture's own average texture.

    Args:
        path: a PNG, row 0 at v = 1, 0 where unseen.
        size: T to shrink it to; unseen texels do not darken the mean.

    Returns:
        4,T,T uint8: colour and coverage (0 or 1), row 0 at v = 0.

    Raises:
        DataError: damaged, not square, or smaller than T.
    """
    pixels = np.ascontiguousarray(read_png(path, "picture")[::-1])
    side = pixels.shape[0]
    if pixels.shape[1] != side or side < size:
        raise DataError(
            f"{path} is {pixels.shape[1]}x{side}; expected a square of {size} or more; lower data.texture_size."
        )
    seen = (pixels != 0).max(axis=2)  # Multiface tests per channel; a texel with any colour counts as seen here
    if side > size:
        weights = overlap(side, size)
        share = weights @ seen.astype(np.float32) @ weights.T
        colour = np.stack([weights @ pixels[..., c].astype(np.float32) @ weights.T for c in range(3)], axis=2)
        seen = share > 0.5 - 1e-6
        pixels = np.where(seen[..., None], colour / np.maximum(share, 1e-6)[..., None] + 0.5, 0).astype(np.uint8)
    return np.concatenate([pixels.transpose(2, 0, 1), seen[None].astype(np.uint8)])
