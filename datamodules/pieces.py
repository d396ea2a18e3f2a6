"""Lazily read pieces of a Multiface-layout capture: pictures at the read size, and average textures."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatarzoo.batch import Camera
from avatarzoo.datamodules.average_texture import BackProjector
from avatarzoo.datamodules.base import Sample
from avatarzoo.datamodules.cache import atomic, digest, stamps
from avatarzoo.datamodules.layout import Frame, Layout
from avatarzoo.datamodules.pictures import overlap, read_png, resize_depth, resize_picture
from avatarzoo.errors import DataError

log = logging.getLogger(__name__)

DEPTH_UNIT = 0.1  # mm per step of a stored depth
ORDER = ("depth", "images", "mattes")  # in the file of decoded bytes; floats first, so that they stay aligned
FORMAT = 1  # raise it when cached files would come out differently

Size = tuple[int, int]
Track = Callable[[Sequence, str], Sequence]  #: wraps a sequence in a progress bar with a title


class PictureStore:
    """Pictures, depth and mattes at the read size, the first ones from a shared file of decoded bytes.

    The file is mapped, not loaded, so that loader processes share one copy; what lies beyond the limit is decoded from its
    PNG at each read and comes out the same.
    """

    def __init__(
        self, layout: Layout, folder: Path, stored: tuple[int, int], size: tuple[int, int], megabytes: int
    ) -> None:
        """Describe a store; ``fill`` makes its file.

        Args:
            layout: of the capture.
            folder: the capture's cache folder.
            stored: (height, width) of the files.
            size: (height, width) to read at.
            megabytes: limit of the decoded bytes.
        """
        self.layout, self.folder, self.stored, self.size, self.megabytes = layout, folder, stored, size, megabytes
        self.parts = [part for part in ("images", "depth", "mattes") if layout.listing(part)]
        self.bytes = {"images": 3, "depth": 4, "mattes": 1}
        self.rows: dict[Sample, int] = {}
        self._file: Path | None = None
        self._map: np.ndarray | None = None

    def __getstate__(self) -> dict:
        """Leave the mapping out, so that loader processes open their own."""
        return self.__dict__ | {"_map": None}

    def decode(self, part: str, sample: Sample) -> np.ndarray:
        """Read one file and bring it to the read size.

        Args:
            part: "images", "depth" or "mattes".
            sample: of the capture.

        Returns:
            3,H,W uint8, H,W float32 mm (all 0 where the camera has no depth), or H,W uint8.

        Raises:
            DataError: absent, damaged, or of another size than the capture's.
        """
        if part != "images" and not self.layout.has(part, sample):
            # a camera without depth or matte is normal: depth unknown, everything foreground
            return np.zeros(self.size, np.float32) if part == "depth" else np.full(self.size, 255, np.uint8)
        path = self.layout.picture(part, sample)
        pixels = read_png(path, {"images": "picture", "depth": "depth", "mattes": "matte"}[part])
        check_size(path, pixels.shape[:2], self.stored)
        if part == "images":
            return np.ascontiguousarray(resize_picture(pixels, self.size).transpose(2, 0, 1))
        if part == "depth":
            return resize_depth(pixels.astype(np.float32) * np.float32(DEPTH_UNIT), self.size)
        return resize_picture(pixels, self.size)

    def read(self, sample: Sample) -> dict[str, np.ndarray]:
        """Return a sample's arrays by part, as ``decode`` does, copied from the file where it is held there."""
        row = self.rows.get(sample)
        if row is None or self._file is None:
            return {part: self.decode(part, sample) for part in self.parts}
        if self._map is None:
            each = sum(self.bytes[part] for part in self.parts) * self.size[0] * self.size[1]
            self._map = np.memmap(self._file, np.uint8, "r").reshape(-1, each)
        return self._unpack(np.array(self._map[row]))

    def _unpack(self, data: np.ndarray) -> dict[str, np.ndarray]:
        found, place = {}, 0
        height, width = self.size
        for part in ORDER:
            if part not in self.parts:
                continue
            chunk = data[place : place + self.bytes[part] * height * width]
            place += len(chunk)
            if part == "images":
                found[part] = chunk.reshape(3, height, width)
            else:
                found[part] = (chunk.view(np.float32) if part == "depth" else chunk).reshape(height, width)
        return found

    def fill(self, samples: Sequence[Sample], track: Track, on_bad: Callable[[Sample, DataError], None]) -> None:
        """Decode as many samples as fit into the file, unless an earlier run did.

        Args:
            samples: in order of importance.
            track: progress bar.
            on_bad: told of samples that cannot be read; raises, or drops the sample.
        """
        each = sum(self.bytes[part] for part in self.parts) * self.size[0] * self.size[1]
        held = list(samples[: self.megabytes * 2**20 // each])
        log.info(
            "Pictures: %d of %d at %dx%d are held decoded (%.0f MB of at most %d).",
            len(held),
            len(samples),
            *self.size,
            len(held) * each / 2**20,
            self.megabytes,
        )
        names = [[s.segment, s.frame, s.camera] for s in held]
        files = [self.layout.picture(part, sample) for sample in held for part in self.parts]
        options = digest(FORMAT, self.size, self.parts, names)[:12]
        path = self.folder / f"pictures-{options}-{digest(stamps(files))[:12]}.bin"
        notes = path.with_suffix(".json")
        if held and not (path.is_file() and notes.is_file()):
            for old in self.folder.glob(f"pictures-{options}-*"):  # made from files that have changed since
                old.unlink(missing_ok=True)
            self._write(path, notes, held, track)
        self.rows = {sample: row for row, sample in enumerate(held)}
        self._file, self._map = path if held else None, None
        for row, message in (json.loads(notes.read_text()) if held else {}).items():
            del self.rows[held[int(row)]]
            on_bad(held[int(row)], DataError(message))

    def _write(self, path: Path, notes: Path, held: list[Sample], track: Track) -> None:
        bad = {}
        with atomic(path) as temporary, open(temporary, "wb") as file:
            for row, sample in enumerate(track(held, "Reading pictures")):
                try:
                    data = {part: self.decode(part, sample) for part in self.parts}
                except DataError as error:
                    bad[row] = str(error)
                    data = {part: np.zeros(self.bytes[part] * self.size[0] * self.size[1], np.uint8) for part in self.parts}
                for part in ORDER:
                    if part in data:
                        file.write(data[part].tobytes())
            with atomic(notes) as temporary_notes:
                temporary_notes.write_text(json.dumps(bad))


def check_size(path: Path, found: tuple[int, ...], expected: tuple[int, int]) -> None:
    """Refuse a picture of another size than the capture's.

    Args:
        path: the file.
        found, expected: (height, width).

    Raises:
        DataError: they differ.
    """
    if tuple(found) != tuple(expected):
        raise DataError(
            f"{path} is {found[1]}x{found[0]}, but the capture's pictures are {expected[1]}x{expected[0]} (as "
            "the first one). K is in pixels of that size: replace the file, leave the camera out with data.cameras, "
            "or use data.on_bad_frame=skip."
        )


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
        """Return a frame's average (3,T,T uint8) and coverage (1,T,T uint8, 0 or 1)."""
        data = torch.from_numpy(np.load(self.files[frame]))
        return data[:3], data[3:]

    def key_of(self, frame: Frame, pictures: Sequence[Sample], shared: str) -> Path:
        """Return the file of a frame, named after everything it is made from."""
        stored = self.layout.unwrapped(frame)
        files = (
            [stored]
            if stored.is_file()
            else [
                *(self.layout.picture("images", s) for s in pictures),
                self.layout.mesh(frame),
                self.layout.transform(frame),
            ]
        )
        return self.folder / frame[0] / f"{frame[1]}-{digest(shared, stamps(files))[:16]}.npy"

    def fill(
        self,
        frames: Sequence[Frame],
        pictures: Mapping[Frame, Sequence[Sample]],
        shared: str,
        compute: Callable[[Frame], np.ndarray],
        track: Track,
        on_bad: Callable[[Frame, DataError], None],
    ) -> None:
        """Compute what earlier runs did not.

        Args:
            frames: to have a texture for.
            pictures: those averaged, by frame.
            shared: what all depend on besides their files (cameras, topology).
            compute: returns 4,T,T uint8 of a frame.
            track: progress bar.
            on_bad: told of frames that cannot be computed; raises, or drops the frame.
        """
        self.files = {frame: self.key_of(frame, pictures[frame], shared) for frame in frames}
        missing = [frame for frame in frames if not self.files[frame].is_file()]
        log.info("Average textures: %d of %d are cached in %s.", len(frames) - len(missing), len(frames), self.folder)
        for frame in track(missing, "Average textures"):
            path = self.files[frame]
            try:
                data = compute(frame)
            except DataError as error:
                del self.files[frame]
                on_bad(frame, error)
                continue
            for old in path.parent.glob(f"{frame[1]}-*.npy"):
                old.unlink(missing_ok=True)
            with atomic(path) as temporary, open(temporary, "wb") as file:
                np.save(file, data)


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
    seen = pixels.any(axis=2)
    if side > size:
        weights = overlap(side, size)
        share = weights @ seen.astype(np.float32) @ weights.T
        colour = np.stack([weights @ pixels[..., c].astype(np.float32) @ weights.T for c in range(3)], axis=2)
        seen = share > 0.5 - 1e-6
        pixels = np.where(seen[..., None], colour / np.maximum(share, 1e-6)[..., None] + 0.5, 0).astype(np.uint8)
    return np.concatenate([pixels.transpose(2, 0, 1), seen[None].astype(np.uint8)])


def project_average(
    projector: BackProjector, vertices: np.ndarray, pose: np.ndarray, cameras: Camera, pictures: Sequence[np.ndarray]
) -> np.ndarray:
    """Back-project a frame's pictures; returns 4,T,T uint8: colour and coverage (0 or 1)."""
    average, covered = projector.average(
        torch.from_numpy(vertices), torch.from_numpy(pose).float(), cameras, [torch.from_numpy(p) for p in pictures]
    )
    return torch.cat([average, covered.to(torch.uint8)]).numpy()
