"""Pictures, depth and mattes at the read size, decoded once into a file that all processes share."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from avatarzoo.datamodules.base import Sample
from avatarzoo.datamodules.cache import atomic, digest, drop, keep, stamps
from avatarzoo.datamodules.layout import Layout
from avatarzoo.datamodules.pictures import check_size, read_png, resize_depth, resize_picture
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
        if part == "depth" and not self.layout.has(part, sample):
            return np.zeros(self.size, np.float32)  # depth is known from some cameras and frames only
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
        if self._map is None and self._file is not None:
            each = sum(self.bytes[part] for part in self.parts) * self.size[0] * self.size[1]
            try:
                self._map = np.memmap(self._file, np.uint8, "r").reshape(-1, each)
            except FileNotFoundError:  # someone emptied the cache while we run
                self._file = None
        if row is None or self._map is None:
            return {part: self.decode(part, sample) for part in self.parts}
        return self._unpack(np.array(self._map[row]))

    def _unpack(self, data: np.ndarray) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        place = 0
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
            drop(old for old in self.folder.glob(f"pictures-{options}-*") if old.stem != path.stem)
            self._write(path, notes, held, track)
        keep([path, notes])
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
