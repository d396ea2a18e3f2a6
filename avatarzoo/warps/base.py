"""The contract of a warp: it moves face-centric points of a training frame, to absorb what tracking got wrong."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from avatarzoo.capture import CaptureSummary
from avatarzoo.schedules import Moment


class Warp(nn.Module, ABC):
    """Move points, frame by frame.

    A warp is fitted to training frames, starts as the identity and is never used at test time: models call it only in
    ``predict``, and only where ``is_on`` says so.
    """

    #: when it switches on: steps, or a fraction of the run
    start: float = 0

    def bind(self, summary: CaptureSummary) -> None:
        """Make what depends on the capture (a latent per frame, the unit of length); called once."""

    def is_on(self, model: object) -> bool:
        """Return whether a model's samples are to be warped now.

        Args:
            model: its ``training`` flag, ``iteration`` and ``progress`` are read.
        """
        self.moment = Moment(getattr(model, "iteration", 0), getattr(model, "progress", 0.0))
        return bool(getattr(model, "training", False)) and self.moment.on_scale_of(self.start) >= self.start

    @abstractmethod
    def forward(self, points: Tensor, frame: Tensor) -> Tensor:
        """Move points.

        Args:
            points: N,3 float32 mm, face-centric.
            frame: N int64, index of each point's frame in the capture's list.

        Returns:
            N,3 mm.
        """

    def of_vertices(self, vertices: Tensor, frame: Tensor) -> Tensor:
        """Move the vertices of meshes.

        Args:
            vertices: B,V,3 mm, face-centric.
            frame: B int64.

        Returns:
            B,V,3 mm.
        """
        each = frame.repeat_interleave(vertices.shape[1])
        return self(vertices.reshape(-1, 3).float(), each).reshape(vertices.shape)

    def penalties(self, frame: Tensor) -> dict[str, Tensor]:
        """Return what regularisers read, by name, one value per image.

        Args:
            frame: B int64.
        """
        return {}


def face_box(summary: CaptureSummary) -> tuple[Tensor, float]:
    """Return the centre (3 mm) of the mean mesh and half its longest side (mm): points get coordinates around -1..1."""
    low, high = summary.vertex_mean.amin(0).float(), summary.vertex_mean.amax(0).float()
    return (low + high) / 2, float((high - low).max()) / 2


def frame_count(summary: CaptureSummary) -> int:
    """Return how many frames the capture lists."""
    return len(summary.tables["frame"])


def latents(count: int, channels: int, scale: float) -> nn.Embedding:
    """Return a learnable code per frame, normal around 0."""
    table = nn.Embedding(count, channels)
    with torch.no_grad():
        table.weight.normal_(0, scale)
    return table
