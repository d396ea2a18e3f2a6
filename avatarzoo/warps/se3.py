"""A rigid motion per point, regressed from its place and the frame's latent."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from avatarzoo.capture import CaptureSummary
from avatarzoo.encodings.sinusoidal import Sinusoidal
from avatarzoo.errors import ConfigError
from avatarzoo.registry import register
from avatarzoo.schedules import Moment
from avatarzoo.warps.base import Warp, face_box, frame_count, latents


def rotate(log_quaternion: Tensor, points: Tensor) -> Tensor:
    """Rotate points by the exponential of pure quaternions: about v, by twice its length.

    exp(v) = (cos |v|, sin |v| v / |v|); p' = p + 2 w (u x p) + 2 u x (u x p) with the quaternion (w, u).

    Args:
        log_quaternion: N,3.
        points: N,3.

    Returns:
        N,3.

    Source: supplement B ("pure log-quaternion"); Park et al. 2021 (Nerfies).
    """
    # sin|v| / |v| as a function of |v|^2, with a finite slope at 0
    square = log_quaternion.square().sum(-1, keepdim=True)
    small = square < 1e-8
    length = torch.where(small, torch.ones_like(square), square).sqrt()
    share = torch.where(small, 1 - square / 6, length.sin() / length)
    w = torch.where(small, 1 - square / 2, length.cos())
    u = share * log_quaternion
    across = torch.linalg.cross(u, points)
    return points + 2 * (w * across + torch.linalg.cross(u, across))


@register("warp", "se3")
class SE3(Warp):
    """Rigid motion per point and training frame: q' = R (q + c) - c + t, from an MLP over place and latent.

    Coordinates are face-centric, in half sides of the mean mesh's box; frequencies open coarse to fine. Where the paper is
    silent: the latent's length, the output layers' spread.

    Source: supplement B and C.3; Park et al. 2021 (Nerfies).
    """

    def __init__(
        self,
        *,
        latent: int = 8,
        width: int = 128,
        depth: int = 5,
        branch_hidden: int = 1,
        bands: int = 6,
        start: int | float = 0.0125,
        window: int | float = 0.2,
        init_scale: float = 1e-4,
        latent_scale: float = 0.05,
    ) -> None:
        """Make the network.

        Args:
            latent: length of a frame's code.
            width, depth: of the backbone's hidden layers.
            branch_hidden: hidden layers of each branch before its linear output ("2-layer MLP": one hidden, one output).
            bands: frequency bands, all open after ``window``.
            start: when the warp switches on; steps, or a fraction of the run (the default: the paper's 5,000 of 400,000).
            window: how long the bands take to open, from the first step, likewise (80,000); 0 opens them at once.
            init_scale: output weights start uniform in +-this, so that the warp starts as the identity.
            latent_scale: spread of the codes at the start.

        Raises:
            ConfigError: no layers.
        """
        super().__init__()
        if min(latent, width, depth) < 1 or min(branch_hidden, bands) < 0:
            raise ConfigError("warp 'se3' needs latent, width and depth of at least 1.")
        self.start, self.window, self.latent_size, self.latent_scale = start, window, latent, latent_scale
        self.encoding = Sinusoidal(3, bands=bands, identity=True, window=1.0 if window else 0.0)
        widths = [self.encoding.out_dim + latent, *[width] * depth]
        self.backbone = nn.Sequential(*_hidden(widths))
        self.branches = nn.ModuleList(
            nn.Sequential(*_hidden([width] * (branch_hidden + 1)), nn.Linear(width, 3)) for _ in range(3)
        )
        for branch in self.branches:
            last = branch[-1]
            nn.init.uniform_(last.weight, -init_scale, init_scale)
            nn.init.zeros_(last.bias)

    def bind(self, summary: CaptureSummary) -> None:
        """Make a code per frame and take the unit of length."""
        self.codes = latents(frame_count(summary), self.latent_size, self.latent_scale)
        centre, half = face_box(summary)
        self.register_buffer("centre", centre, persistent=False)
        self.half = half

    def is_on(self, model: object) -> bool:
        """Return whether the warp acts now, and open the window as far as it is open."""
        on = super().is_on(model)
        if on and self.window:
            moment: Moment = self.moment
            self.encoding.set_progress(moment.on_scale_of(self.window) / self.window)
        return on

    def forward(self, points: Tensor, frame: Tensor) -> Tensor:
        """Move points (see ``Warp``)."""
        place = (points - self.centre) / self.half
        hidden = self.backbone(torch.cat([self.encoding(place), self.codes(frame)], dim=-1))
        rotation, centre, shift = (branch(hidden) for branch in self.branches)
        moved = rotate(rotation, place + centre) - centre + shift
        # as an offset, so that float32 keeps the identity exact to a micrometre
        return points + (moved - place) * self.half

    def penalties(self, frame: Tensor) -> dict[str, Tensor]:
        """Return warp_latent B: mean square of each frame's code."""
        return {"warp_latent": self.codes(frame).square().mean(1)}


def _hidden(widths: list[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return layers
