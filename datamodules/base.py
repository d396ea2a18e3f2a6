"""Captures and the datamodule over them: which samples a step sees is a pure function of (seed, iteration)."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset

from avatarzoo import registry
from avatarzoo.batch import HeadBatch, collate
from avatarzoo.capture import CaptureSummary


@dataclass(frozen=True)
class Sample:
    """One picture of a capture.

    Attributes:
        segment, frame, camera: names.
    """

    segment: str
    frame: str
    camera: str


class Capture(ABC):
    """Read access to one head's capture.

    Options stand after ``*`` in the constructor (see ``registry``). The constructor only looks at the layout; ``prepare``
    computes what the capture lacks (average textures, statistics) into a cache outside it.

    Attributes:
        provides: dotted paths of HeadBatch that samples carry, checked against ``Model.requires``; known from the
            constructor on, so that what does not fit is said before ``prepare`` computes anything.
        splits: samples by split name, "train", "val" and "test".
        summary: known after ``prepare``.
        stand_ins: options that give an input the capture may lack, by its path: {"view.depth": "data.depth=tracked_mesh"}.
        skipped: frames left out with ``on_bad_frame=skip``, each "segment/frame[/camera]: why".
    """

    provides: set[str]
    splits: dict[str, list[Sample]]
    summary: CaptureSummary
    skipped: list[str]
    stand_ins: dict[str, str] = {}
    config: dict[str, Any]

    @abstractmethod
    def prepare(self) -> None:
        """Check every file that will be read, fill the cache and set ``summary``.

        Raises:
            DataError: names the file, what was expected and what to do.
        """

    @abstractmethod
    def read(self, sample: Sample, noise_key: int = 0) -> HeadBatch:
        """Read one picture as a batch of size 1.

        Args:
            sample: one of ``splits``.
            noise_key: goes into ``meta.noise_key``.
        """

    @abstractmethod
    def manifest(self) -> dict[str, str]:
        """Return a content hash per file read (or of the generator's settings), for records."""

    def picture_options(self, split: str) -> Mapping[str, Any]:
        """Return the options that change pictures or cameras of the same files at the same size, for records.

        Leaderboards compare only what was scored with the same ones.

        Args:
            split: of the capture.
        """
        return {}

    def cameras_of(self, split: str) -> list[str]:
        """Return the names of the cameras that a split has pictures of, sorted.

        Args:
            split: "train", "val" or "test".
        """
        return sorted({sample.camera for sample in self.splits[split]})


class SampleStream:
    """An endless stream of batches of (sample index, noise key), a pure function of (seed, iteration).

    Samples come in permutations of the split, one after another without a gap; process r of w takes its slice of each
    global batch, so w processes with b samples each see what one process sees with w * b.
    """

    def __init__(self, length: int, batch_size: int, seed: int, start: int = 0, rank: int = 0, world: int = 1) -> None:
        """Start the stream.

        Args:
            length: number of samples.
            batch_size: per process.
            seed: of the run.
            start: iteration to begin at.
            rank, world: this process and how many there are.
        """
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.start, self.rank, self.world = start, rank, world
        self._cached: tuple[int, torch.Tensor] | None = None

    def _permutation(self, turn: int) -> torch.Tensor:
        if self._cached is None or self._cached[0] != turn:
            generator = torch.Generator().manual_seed(_mix(self.seed, turn))
            self._cached = (turn, torch.randperm(self.length, generator=generator))
        return self._cached[1]

    def at(self, iteration: int) -> list[tuple[int, int]]:
        """Return this process's batch of an iteration: (sample index, noise key) pairs."""
        total = self.batch_size * self.world
        first = iteration * total + self.rank * self.batch_size
        batch = []
        for place in range(first, first + self.batch_size):
            turn, offset = divmod(place, self.length)
            batch.append((int(self._permutation(turn)[offset]), _mix(self.seed + 1, place)))
        return batch

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield batches for ever, from ``start``."""
        iteration = self.start
        while True:
            yield self.at(iteration)
            iteration += 1


def _mix(seed: int, index: int) -> int:
    """Hash two integers into 63 bits (splitmix64's finaliser)."""
    x = (seed * 0x9E3779B97F4A7C15 + index + 0x632BE59BD9B4E019) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (x ^ (x >> 31)) >> 1


class _Reader(Dataset):
    def __init__(self, capture: Capture, split: str) -> None:
        self.capture, self.samples = capture, capture.splits[split]

    def __getstate__(self) -> dict[str, Any]:
        # Loader processes start empty: the files of plug-ins stand before the capture, whose class may come from one.
        return {"_plugins": registry.PluginFiles(), **self.__dict__}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, item: tuple[int, int] | int) -> HeadBatch:
        index, key = item if isinstance(item, tuple) else (item, 0)
        return self.capture.read(self.samples[index], key)


def _leave_interrupts_to_the_trainer(worker: int) -> None:
    # A terminal sends Ctrl-C to workers too; they have to go on until the step in progress is finished and saved.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class ZooData(L.LightningDataModule):
    """Feed a capture to the trainer."""

    def __init__(self, capture: Capture, batch_size: int = 4, workers: int = 0, seed: int = 0) -> None:
        """Wrap a capture.

        Args:
            capture: prepared in ``setup``.
            batch_size: pictures per process and step.
            workers: loader processes; 0 reads in the main process.
            seed: of the sample order and the noise.
        """
        super().__init__()
        self.capture, self.batch_size, self.workers, self.seed = capture, batch_size, workers, seed
        self.start_iteration = 0  #: batches already consumed; set by ZooModule when it resumes
        self._ready = False

    def setup(self, stage: str | None = None) -> None:
        """Prepare the capture once."""
        if not self._ready:
            self.capture.prepare()
            self._ready = True

    def train_dataloader(self) -> DataLoader:
        """Return an endless loader that starts at ``start_iteration``."""
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)
        reader = _Reader(self.capture, "train")
        stream = SampleStream(len(reader), self.batch_size, self.seed, self.start_iteration, rank, world)
        return self._loader(reader, stream)

    def batches(self, split: str, batch_size: int | None = None) -> DataLoader:
        """Return a finite loader over a split in order.

        Args:
            split: "train", "val" or "test".
            batch_size: defaults to the training batch size.
        """
        reader = _Reader(self.capture, split)
        size = batch_size or self.batch_size
        places = [(i, 0) for i in range(len(reader))]
        return self._loader(reader, [places[i : i + size] for i in range(0, len(places), size)])

    def frames(self, split: str, at_most: int | None = None) -> DataLoader:
        """Return a finite loader over the frames of a split, in order: of several pictures of one, the first.

        Args:
            split: "train", "val" or "test".
            at_most: read no more than this many, evenly spread; None reads all.
        """
        reader = _Reader(self.capture, split)
        first: dict[tuple[str, str], int] = {}
        for place, sample in enumerate(reader.samples):
            first.setdefault((sample.segment, sample.frame), place)
        places = list(first.values())
        if at_most is not None and at_most < len(places):
            places = [places[(2 * i + 1) * len(places) // (2 * at_most)] for i in range(at_most)]
        return self._loader(reader, [[(place, 0)] for place in places])

    def _loader(self, reader: _Reader, batches: Any) -> DataLoader:
        return DataLoader(
            reader,
            batch_sampler=batches,
            num_workers=self.workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=False,
            multiprocessing_context="spawn" if self.workers else None,
            worker_init_fn=_leave_interrupts_to_the_trainer,
        )
