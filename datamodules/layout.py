"""Which files a Multiface-layout capture has: paths, frames, cameras, and what each split reads."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from avatarzoo.datamodules.base import Sample
from avatarzoo.datamodules.formats import CameraRecord, read_frame_list, read_krt, read_split, read_views
from avatarzoo.errors import ConfigError, DataError, did_you_mean, near_path

log = logging.getLogger(__name__)

Frame = tuple[str, str]  #: segment and frame


@dataclass
class Layout:
    """A capture's folder as found.

    Attributes:
        root: the folder.
        cameras: of the KRT file, by name.
        frames: (segment, frame) pairs in order.
    """

    root: Path
    cameras: dict[str, CameraRecord]
    frames: list[Frame]
    _listings: dict[Path, frozenset[str]] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, root: str | Path) -> Layout:
        """Look at a capture's folder.

        Args:
            root: the folder that holds KRT, images/ and tracked_mesh/.

        Raises:
            DataError: it is not there, or is no Multiface layout.
        """
        folder = Path(root).expanduser()
        if not folder.is_dir():
            raise DataError(f"There is no folder {folder}. Set data.root to a capture.{near_path(folder)}")
        for name, what in (
            ("KRT", "the cameras"),
            ("images", "images/SEG/CAM/FRAME.png"),
            ("tracked_mesh", "tracked_mesh/SEG/FRAME.bin"),
        ):
            if not (folder / name).exists():
                held = ", ".join(sorted(p.name for p in folder.iterdir())[:12]) or "nothing"
                raise DataError(
                    f"{folder} lacks {name} ({what}), so it is no Multiface layout. It holds: {held}. "
                    "Point data.root at the folder that has KRT in it."
                )
        layout = cls(folder, {c.name: c for c in read_krt(folder / "KRT")}, [])
        layout.frames = layout._find_frames()
        return layout

    def _find_frames(self) -> list[Frame]:
        path = self.root / "frame_list.txt"
        if path.is_file():
            return read_frame_list(path)
        frames = [
            (segment, name.removesuffix(".bin"))
            for segment in sorted(self.listing("tracked_mesh"))
            for name in sorted(self.listing("tracked_mesh", segment))
            if name.endswith(".bin")
        ]
        if not frames:
            raise DataError(
                f"{path} is absent and {self.root / 'tracked_mesh'} has no SEG/FRAME.bin, so there is no frame. "
                "Restore one of them."
            )
        log.warning("%s is absent; taking the %d frames of tracked_mesh/.", path, len(frames))
        return frames

    def __getstate__(self) -> dict:
        """Leave the listings out, so that loader processes start small."""
        return self.__dict__ | {"_listings": {}}

    def listing(self, *parts: str) -> frozenset[str]:
        """Return the names in a folder of the capture, empty if it is absent; read once.

        Args:
            parts: path below the root.
        """
        folder = self.root.joinpath(*parts)
        if folder not in self._listings:
            try:
                self._listings[folder] = frozenset(os.listdir(folder))
            except (FileNotFoundError, NotADirectoryError):
                self._listings[folder] = frozenset()
            except OSError as error:
                raise DataError(f"{folder} cannot be listed ({error.strerror or error}).") from error
        return self._listings[folder]

    def has(self, kind: str, sample: Sample) -> bool:
        """Return whether a sample's file is there.

        Args:
            kind: "images", "depth" or "mattes".
            sample: of the capture.
        """
        return sample.frame + ".png" in self.listing(kind, sample.segment, sample.camera)

    def picture(self, kind: str, sample: Sample) -> Path:
        """Return the path of a sample's picture, depth or matte (kind: "images", "depth" or "mattes")."""
        return self.root / kind / sample.segment / sample.camera / f"{sample.frame}.png"

    def mesh(self, frame: Frame) -> Path:
        """Return the path of a frame's vertices."""
        return self.root / "tracked_mesh" / frame[0] / f"{frame[1]}.bin"

    def transform(self, frame: Frame) -> Path:
        """Return the path of a frame's head pose."""
        return self.root / "tracked_mesh" / frame[0] / f"{frame[1]}_transform.txt"

    def unwrapped(self, frame: Frame) -> Path:
        """Return the path of a frame's stored average texture, which need not exist."""
        return self.root / "unwrapped_uv_1024" / frame[0] / "average" / f"{frame[1]}.png"

    def meshes_with_topology(self) -> list[Path]:
        """Return the .obj files, those of listed frames first."""
        frames = set(self.frames)
        found = [
            (((segment, name[:-4]) not in frames), segment, name)
            for segment in sorted(self.listing("tracked_mesh"))
            for name in sorted(self.listing("tracked_mesh", segment))
            if name.endswith(".obj")
        ]
        return [self.root / "tracked_mesh" / segment / name for _, segment, name in sorted(found)]

    def segments(self) -> list[str]:
        """Return the segments' names in order of their first frame."""
        return list(dict.fromkeys(segment for segment, _ in self.frames))

    def choose_cameras(self, names: Sequence[str] | None, option: str) -> list[str]:
        """Check a list of cameras.

        Args:
            names: given by the user, or None for every camera of KRT.
            option: its name, for the message.

        Raises:
            ConfigError: a name KRT does not have, or an empty list.
        """
        if names is None:
            return list(self.cameras)
        chosen = list(dict.fromkeys(str(n) for n in names))
        for name in chosen:
            if name not in self.cameras:
                raise ConfigError(
                    f"{option} names camera {name!r}, which {self.root / 'KRT'} lacks."
                    f"{did_you_mean(name, self.cameras, all_of='Cameras')}"
                )
        if not chosen:
            raise ConfigError(f"{option} is empty; leave it out to use every camera.")
        return chosen

    def choose_split(self, train: Sequence[str] | None, test: Sequence[str] | None) -> dict[str, list[str]]:
        """Decide which segments train and which test.

        Args:
            train, test: given by the user; one alone leaves the rest to the other; neither reads split.json.

        Raises:
            ConfigError: a segment that is not there or in both.
            DataError: the same in split.json, or it is absent and neither is given.
        """
        known = self.segments()
        path = self.root / "split.json"
        if train is None and test is None:
            if not path.is_file():
                raise DataError(
                    f"{path} is absent and neither data.train_segments nor data.test_segments is given. "
                    f"Name the segments to test on, e.g. 'data.test_segments=[{known[-1]}]'. "
                    f"Segments: {', '.join(known)}."
                )
            split, source = read_split(path), str(path)
        else:
            source = "data.train_segments or data.test_segments"
            given_train, given_test = ([str(name) for name in names or ()] for names in (train, test))
            chosen_train = given_train if train is not None else [s for s in known if s not in given_test]
            chosen_test = given_test if test is not None else [s for s in known if s not in given_train]
            split = {"train": list(dict.fromkeys(chosen_train)), "test": list(dict.fromkeys(chosen_test))}
        wrong = DataError if train is None and test is None else ConfigError
        for names in split.values():
            for name in names:
                if name not in known:
                    hint = did_you_mean(name, known, all_of="Segments")
                    raise wrong(f"{source} names segment {name!r}, which has no frame.{hint}")
        both = sorted(set(split["train"]) & set(split["test"]))
        if both:
            raise ConfigError(
                f"{source} puts segment {both[0]!r} in train and in test; scores would be of frames trained on."
            )
        if not split["train"]:
            raise wrong(f"{source} leaves no segment to train on. Segments: {', '.join(known)}.")
        unused = [s for s in known if s not in split["train"] and s not in split["test"]]
        if unused:
            log.warning("%s uses neither for training nor for testing: %s.", source, ", ".join(unused))
        return split

    def choose_frames(
        self, train: Sequence[str] | None, test: Sequence[str] | None, val_fraction: float, limit: int | None
    ) -> dict[str, list[Frame]]:
        """Return the frames of "train", "val" (carved from train) and "test".

        Args:
            train, test: segments given by the user, as in ``choose_split``.
            val_fraction: of the training frames.
            limit: frames per split, or None.
        """
        segments = self.choose_split(train, test)
        training = [f for f in self.frames if f[0] in set(segments["train"])]
        held = carve(training, val_fraction)
        return {
            "train": spread([f for f in training if f not in set(held)], limit),
            "val": spread(held, limit),
            "test": spread([f for f in self.frames if f[0] in set(segments["test"])], limit),
        }

    def choose_views(self, views: dict[str, str] | None) -> dict[str, str]:
        """Return named views: the user's, else views.json, else none.

        Args:
            views: camera by name of the view.

        Raises:
            ConfigError: a view's camera is not in KRT.
            DataError: the same, in views.json.
        """
        path = self.root / "views.json"
        source = "data.views" if views is not None else str(path)
        chosen = dict(views) if views is not None else (read_views(path) if path.is_file() else {})
        for view, camera in chosen.items():
            if str(camera) not in self.cameras:
                raise (DataError if views is None else ConfigError)(
                    f"{source} gives view {view!r} camera {camera!r}, which {self.root / 'KRT'} lacks."
                    f"{did_you_mean(str(camera), self.cameras, all_of='Cameras')}"
                )
        return {view: str(camera) for view, camera in chosen.items()}


def carve(frames: Sequence[Frame], fraction: float) -> list[Frame]:
    """Choose validation frames, spread evenly over the training frames.

    Args:
        frames: of the training segments, in order.
        fraction: of them to choose; at least one if it is above 0 and two frames exist.

    Raises:
        ConfigError: not in 0..0.5.
    """
    if not 0 <= fraction <= 0.5:
        raise ConfigError(f"data.val_fraction is {fraction}; expected 0..0.5.")
    count = max(1, round(fraction * len(frames))) if fraction > 0 and len(frames) > 1 else 0
    return spread(frames, count) if count else []


def pairs(frames: Iterable[Frame], cameras: Iterable[str]) -> list[Sample]:
    """Return every frame with every camera, frame by frame."""
    cameras = list(cameras)
    return [Sample(segment, frame, camera) for segment, frame in frames for camera in cameras]


def spread(frames: Sequence[Frame], count: int | None) -> list[Frame]:
    """Return at most ``count`` frames, evenly spread; None = all."""
    if count is None or len(frames) <= count:
        return list(frames)
    return [frames[int((i + 0.5) * len(frames) / count)] for i in range(count)]
