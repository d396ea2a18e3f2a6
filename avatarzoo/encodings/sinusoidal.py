"""Sines and cosines of the coordinates at doubling frequencies, optionally opened band by band during training."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from avatarzoo.encodings.base import Encoding
from avatarzoo.errors import ConfigError
from avatarzoo.registry import register


def encode_bands(values: Tensor, bands: int) -> Tensor:
    """Return sines and cosines of pi 2^j x for j below ``bands``, in the order of ``Sinusoidal``: N,D -> N,2*D*bands.

    Doubling the angle, sin 2a = 2 sin a cos a and cos 2a = 1 - 2 sin^2 a, gives each band from the one before, which is
    cheaper than a sine each. An error grows fourfold per band at most: in float32 fewer than ten bands are safe.

    Args:
        values: N,D float32 or float64.
        bands: number of frequencies.

    Source: Mildenhall et al. 2020 (NeRF), equation 4.
    """
    if bands == 0:
        return values[:, :0]
    sine, cosine = torch.sin(math.pi * values), torch.cos(math.pi * values)
    found = [sine, cosine]
    for _ in range(bands - 1):
        sine, cosine = 2 * sine * cosine, 1 - 2 * sine.square()
        found += [sine, cosine]
    return torch.cat(found, dim=-1)


@register("encoding", "sinusoidal")
class Sinusoidal(Encoding):
    """Positional encoding: sin and cos of 2^k pi x for k = 0 .. bands - 1, without parameters.

    Features stand band by band, the sines of all coordinates before their cosines; with ``identity`` the coordinates
    themselves come first. Any coordinate is encoded as it is, outside 0..1 too; any number of coordinates is taken.

    With a window, band k is multiplied by w = (1 - cos(pi clip(alpha - k, 0, 1))) / 2, and alpha rises from 0 to ``bands``
    over the first part of a run: coarse bands first. Whoever owns the encoding calls ``set_progress`` before each step.
    The window's state is kept with the weights, so that a checkpoint encodes as it did when it was written.

    Source: Mildenhall et al. 2020 (NeRF), equation 4; the window: Park et al. 2021 (Nerfies), coarse to fine.
    """

    alpha: Tensor

    def __init__(
        self,
        in_dim: int = 2,
        *,
        bands: int = 10,
        identity: bool = False,
        window: float = 0.0,
        base_frequency: float = math.pi,
    ) -> None:
        """Choose the frequencies.

        Args:
            in_dim: number of coordinates.
            bands: number of frequencies.
            identity: put the coordinates themselves before their sines.
            window: the fraction of a run over which the bands open one after another; 0: all are open from the start.
            base_frequency: of band 0, in radians per unit; pi in NeRF, 1 in Nerfies.
        """
        super().__init__()
        if in_dim < 1 or bands < 0 or bands + identity < 1:
            raise ConfigError(f"encoding 'sinusoidal' needs a coordinate and a band, got in_dim={in_dim}, bands={bands}.")
        if not 0 <= window <= 1:
            raise ConfigError(f"encoding.window is a fraction of the run, 0..1, not {window}.")
        self.in_dim, self.out_dim = in_dim, in_dim * (2 * bands + identity)
        self.bands, self.identity, self.window, self.base_frequency = bands, identity, window, base_frequency
        self.register_buffer("alpha", torch.tensor(0.0 if window else float(bands)), persistent=window > 0)

    def set_progress(self, progress: float) -> None:
        """Open the window as far as it is open at a moment of the run; without a window nothing changes.

        Args:
            progress: of the run, 0..1.
        """
        if self.window:
            self.alpha.fill_(self.bands * min(1.0, progress / self.window))

    def weights(self) -> Tensor:
        """Return how far each band is open: bands float32 in 0..1."""
        band = torch.arange(self.bands, dtype=torch.float32, device=self.alpha.device)
        return (1 - torch.cos(math.pi * (self.alpha.float() - band).clamp(0, 1))) / 2

    def forward(self, points: Tensor, table: Tensor | None = None) -> Tensor:
        """Encode N,in_dim points into N,out_dim in their dtype (see ``Encoding``); computed in float32 at least."""
        with torch.autocast(points.device.type, enabled=False):
            exact = points if points.dtype == torch.float64 else points.float()
            frequencies = self.base_frequency * 2.0 ** torch.arange(self.bands, dtype=exact.dtype, device=exact.device)
            angles = exact[:, None] * frequencies[:, None]
            waves = torch.stack([angles.sin(), angles.cos()], dim=2)  # N, bands, 2, in_dim
            if self.window:
                waves = waves * self.weights().to(exact.dtype)[:, None, None]
            features = waves.flatten(1)
            return (torch.cat([exact, features], dim=1) if self.identity else features).to(points.dtype)
