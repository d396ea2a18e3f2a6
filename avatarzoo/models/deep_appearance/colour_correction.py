"""What is left of each camera's own colours: a gain and a bias per channel on the texture."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from avatarzoo.batch import Camera
from avatarzoo.capture import CameraTable
from avatarzoo.errors import ConfigError

UNSEEN = ("identity", "mean")


class ColourCorrection(nn.Module):
    """texture * gain[camera] + bias[camera], in normalised texture space; the first camera is held at (1, 0).

    A picture's camera is known by its pose, so that a camera path of a film is not taken for a camera of the capture.
    Cameras that were never trained on have no correction of their own; none is ever fitted at test time.

    Source: facebookresearch/multiface.
    """

    def __init__(self, unseen: str) -> None:
        """Choose what cameras that were not trained on get.

        Args:
            unseen: "identity", or "mean": the mean correction of the cameras that were trained on.
        """
        super().__init__()
        if unseen not in UNSEEN:
            raise ConfigError(f"model.unseen_camera is one of {', '.join(UNSEEN)}, not {unseen!r}.")
        self.unseen = unseen

    def bind(self, cameras: CameraTable) -> None:
        """Make a gain and a bias per camera.

        Args:
            cameras: of the capture.
        """
        count = len(cameras.names)
        self.anchor_gain = nn.Parameter(torch.ones(1, 3), requires_grad=False)
        self.anchor_bias = nn.Parameter(torch.zeros(1, 3), requires_grad=False)
        self.gain = nn.Parameter(torch.ones(count - 1, 3))
        self.bias = nn.Parameter(torch.zeros(count - 1, 3))
        self.register_buffer("seen", torch.zeros(count, dtype=torch.bool))
        self.register_buffer("poses", _pose(cameras.R, cameras.t), persistent=False)

    def index(self, camera: Camera) -> Tensor:
        """Return B int64: which camera of the capture each picture's is, -1 for none."""
        distance = (_pose(camera.R, camera.t)[:, None] - self.poses).abs().amax(-1)
        nearest, index = distance.min(1)
        return torch.where(nearest < 1e-3, index, -1)

    def factors(self, camera: Camera) -> tuple[Tensor, Tensor]:
        """Return the gains and the biases, B,3 each, of B cameras."""
        index = self.index(camera)
        gain, bias = torch.cat([self.anchor_gain, self.gain]), torch.cat([self.anchor_bias, self.bias])
        known = index >= 0
        rest_gain, rest_bias = torch.ones_like(gain[0]), torch.zeros_like(bias[0])
        if not self.training:
            known = known & self.seen[index]
            if self.unseen == "mean" and bool(self.seen.any()):
                rest_gain, rest_bias = gain[self.seen].mean(0), bias[self.seen].mean(0)
        known = known[:, None]
        return torch.where(known, gain[index], rest_gain), torch.where(known, bias[index], rest_bias)

    def forward(self, texture: Tensor, camera: Camera) -> Tensor:
        """Correct B,3,T,T textures for their B cameras."""
        gain, bias = self.factors(camera)
        return texture * gain[:, :, None, None] + bias[:, :, None, None]

    @torch.no_grad()
    def note(self, camera: Camera, average: Callable[[Tensor], Tensor]) -> None:
        """Remember that a step trained on these cameras.

        Args:
            camera: of the batch.
            average: means over processes.
        """
        index = self.index(camera)
        counts = torch.zeros(len(self.seen), device=index.device).index_add(0, index.clamp_min(0), (index >= 0).float())
        self.seen |= average(counts) > 0


def _pose(R: Tensor, t: Tensor) -> Tensor:
    """Return ...,12: rotations, and translations in metres."""
    return torch.cat([R.flatten(-2), t / 1000], dim=-1).float()
