"""What each split of a capture reads, and what was left out of it."""

from __future__ import annotations

from collections.abc import Sequence

from avatarzoo.datamodules.base import Sample
from avatarzoo.datamodules.layout import Frame, pairs
from avatarzoo.errors import DataError


class Inventory:
    """Frames and samples by split; what cannot be read is an error, or is left out and listed."""

    def __init__(self, frames: dict[str, list[Frame]], cameras: dict[str, Sequence[str]], skip: bool) -> None:
        """Pair every frame of a split with every camera of it.

        Args:
            frames: by split.
            cameras: by split.
            skip: leave bad files out instead of stopping.
        """
        self.frames = frames
        self.splits = {split: pairs(frames[split], cameras[split]) for split in frames}
        self.skip = skip
        self.skipped: list[str] = []
        self._dropped: set[Sample | Frame | str] = set()

    def all_frames(self) -> list[Frame]:
        """Return the frames of every split, each once."""
        return list(dict.fromkeys(frame for frames in self.frames.values() for frame in frames))

    def all_samples(self) -> list[Sample]:
        """Return the samples of every split, each once, those of "train" first."""
        return list(dict.fromkeys(sample for samples in self.splits.values() for sample in samples))

    def is_dropped(self, what: Sample | Frame | str) -> bool:
        """Return whether a sample, a frame or a camera (by name) was left out."""
        return what in self._dropped

    def bad(self, what: Sample | Frame | str, error: DataError) -> None:
        """Raise the error, or mark what it is about to be left out by the next ``settle``.

        Args:
            what: a sample, a frame (segment, frame) or a camera's name.
            error: why.
        """
        if not self.skip:
            raise error
        if isinstance(what, Sample):
            name = f"{what.segment}/{what.frame}/{what.camera}"
        else:
            name = f"camera {what}" if isinstance(what, str) else "/".join(what)
        self._dropped.add(what)
        self.skipped.append(f"{name}: {error}")

    def settle(self) -> None:
        """Take what was marked out of every split.

        Raises:
            DataError: nothing is left to train on, or nothing to test on although there was.
        """
        for split, samples in self.splits.items():
            left = [s for s in samples if not self._dropped & {s, (s.segment, s.frame), s.camera}]
            if samples and not left and split != "val":
                listed = "\n  ".join(self.skipped[:10])
                raise DataError(
                    f"No picture of the {split} split is left after leaving out {len(self.skipped)}:\n  {listed}"
                )
            self.splits[split] = left
            kept = {(s.segment, s.frame) for s in left}
            self.frames[split] = [f for f in self.frames[split] if f in kept]
