"""The capture of ``fixtures`` behind the Capture interface, and avatars whose pictures are known, to score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fixtures
import torch
from torch import Tensor

from avatarzoo import checkpoint
from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.build import build_model
from avatarzoo.capture import CaptureSummary
from avatarzoo.datamodules.base import Capture, Sample
from avatarzoo.models.base import Avatar
from avatarzoo.registry import register

CONFIG: dict[str, Any] = {
    "recipe": "static_texture",
    "scale": "small",
    "seed": 0,
    "model": {"name": "static_texture", "train": True},
    "rasterizer": {"name": "warp"},
    "data": {"name": "pillow"},
}


@register("data", "pillow")
class PillowCapture(Capture):
    """Three frames by two cameras; all of them are the test split."""

    provides = {"view.image", "view.camera", "mesh.vertices", "mesh.head_pose", "texture.average", "texture.coverage"}

    def __init__(self, *, pictures: bool = True) -> None:
        self.config = {"name": "pillow", "pictures": pictures}
        self.pictures, self.skipped = pictures, []
        samples = [Sample(fixtures.SEGMENT, f, c) for f in fixtures.FRAMES for c in fixtures.CAMERAS]
        self.splits = {"train": samples, "val": [], "test": samples}

    def prepare(self) -> None:
        self.summary = fixtures.summary()

    def read(self, sample: Sample, noise_key: int = 0) -> HeadBatch:
        place = fixtures.FRAMES.index(sample.frame), fixtures.CAMERAS.index(sample.camera)
        return fixtures.sample(*place, pictures=self.pictures)

    def manifest(self) -> dict[str, str]:
        return {"made in memory": "0" * 64}


class Stub(Avatar):
    """Answers with pictures that a test made."""

    requires = ("view.camera",)

    def __init__(self, image: Tensor | None = None, coverage: Tensor | None = None) -> None:
        super().__init__()
        self.image, self.coverage, self.done = image, coverage, 0

    def bind(self, summary: CaptureSummary) -> None:
        """Need nothing."""

    def parts(self) -> dict[str, torch.nn.Module]:
        return {}

    def predict(self, batch: HeadBatch, phase: str, carry: dict[str, Any]) -> Prediction:
        return self.render(batch)

    def render(self, batch: HeadBatch) -> Prediction:
        here = slice(self.done, self.done + batch.size)
        self.done += batch.size
        return Prediction(image=self.image[here], coverage=None if self.coverage is None else self.coverage[here])


def prepared(**options: Any) -> PillowCapture:
    """Return the capture, ready to read."""
    capture = PillowCapture(**options)
    capture.prepare()
    return capture


def truth(capture: Capture) -> Tensor:
    """Return the test pictures, N,3,H,W, rounded to 8 bits."""
    images = torch.cat([capture.read(s).view.image for s in capture.splits["test"]])
    return (images * 255).round() / 255


def write_checkpoint(path: Path, **changes: Any) -> Path:
    """Write a checkpoint of an untrained static texture and return its path."""
    config = {**CONFIG, **changes}
    summary = fixtures.summary()
    model = build_model(config, summary)
    record = {
        "config": checkpoint.to_yaml(config),
        "summary": summary.to_plain(),
        "iteration": 7,
        "version": "0",
        "plugins": [],
    }
    weights = {"model." + name: value for name, value in model.state_dict().items()}
    torch.save({"avatarzoo": record, "state_dict": weights}, path)
    return path
