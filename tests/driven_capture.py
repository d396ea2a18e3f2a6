"""The small capture with driving signals, and checkpoints of the smallest PiCA under any driver."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import fixtures
import pillow_capture as pillow
import torch

from avatarzoo import checkpoint
from avatarzoo.batch import Driving, HeadBatch
from avatarzoo.build import build_model
from avatarzoo.capture import CaptureSummary
from avatarzoo.datamodules.base import Sample

PHASES = {"fit": {"loss": {"image": {"weight": 1}}, "optimizer": {"name": "adam", "lr": 1e-3}}}


def signals(frame: int) -> Driving:
    """Return what drives a frame, as a batch of one."""
    generator = torch.Generator().manual_seed(frame)
    flame = {"expression": torch.randn(1, 100, generator=generator)}
    flame |= {name: 0.2 * torch.randn(1, n, generator=generator) for name, n in (("jaw", 3), ("eyes", 6))}
    return Driving(torch.tensor([frame]), torch.rand(1, 52, generator=generator), flame)


def summary() -> CaptureSummary:
    """Frames 0 and 2 train; frame 1 is the neutral one."""
    made, neutral = fixtures.summary(), signals(1)
    made.train_frames, made.neutral_frame = torch.tensor([0, 2]), 0
    made.neutral_arkit = neutral.arkit[0]
    made.motion_per_unit = {"arkit": 0.5 + torch.arange(52) / 52, "flame.expression": torch.linspace(2, 0.1, 100)}
    made.motion_per_unit |= {"flame.jaw": torch.tensor([20.0, 3.0, 6.0]), "flame.eyes": torch.zeros(6)}
    made.neutral_flame, made.flame_edition = {k: v[0] for k, v in neutral.flame.items()}, "2020"
    return made


class DrivenCapture(pillow.PillowCapture):
    """Frames 0 and 2 train, frame 1 tests; every frame has every signal."""

    provides = pillow.PillowCapture.provides | {"driving.frame", "driving.arkit"}

    def __init__(self) -> None:
        super().__init__()
        self.config = {"name": "pillow"}
        pairs = [Sample(fixtures.SEGMENT, f, c) for f in fixtures.FRAMES for c in fixtures.CAMERAS]
        self.splits = {"train": pairs[:2] + pairs[4:], "val": [], "test": pairs[2:4]}
        self.summary = summary()

    def read(self, sample: Sample, noise_key: int = 0) -> HeadBatch:
        batch = super().read(sample, noise_key)
        batch.driving = signals(fixtures.FRAMES.index(sample.frame))
        return batch


def write_checkpoint(path: Path, driver: dict[str, Any] | str) -> Path:
    """Write a checkpoint of the smallest PiCA whose parameters all differ from their start."""
    node = {"name": driver} if isinstance(driver, str) else driver
    config = copy.deepcopy({**pillow.CONFIG, **fixtures.PICA, "driver": node, "recipe": "pica_full", "phases": PHASES})
    bound = summary()
    torch.manual_seed(0)
    model = build_model(config, bound)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    record = {
        "config": checkpoint.to_yaml(config),
        "summary": bound.to_plain(),
        "iteration": 7,
        "version": "0",
        "plugins": [],
    }
    weights = {"model." + name: value for name, value in model.state_dict().items()}
    torch.save({"avatarzoo": record, "state_dict": weights}, path)
    return path
