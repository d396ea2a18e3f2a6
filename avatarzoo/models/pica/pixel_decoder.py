"""The pixel decoder: colour of each covered pixel from its expression code, position and encoded surface coordinates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avatarzoo.capture import CaptureSummary
from avatarzoo.errors import ConfigError
from avatarzoo.geometry.uv import sample_map
from avatarzoo.layers import Siren

COLOUR_SPACES = ("scalar", "decorrelated")
COLOUR_BASES = ("mean_colour", "mean_texture")


class PixelDecoder(nn.Module):
    """Two SIRENs: xyz 3->4->4 with sines throughout, and p = [z, x, u] -> 8 -> 8 -> 8 -> 3 with a linear end.

    Its three outputs become colour as base + spread * output. "scalar" spread is the capture's texture standard deviation;
    "decorrelated" spreads along the principal axes of the capture's colours, so that hue is not ten times smaller than
    brightness for the optimiser. The base is the mean colour or, in "mean_texture", the mean texture at the pixel, as
    Deep Appearance's decoder normalises its textures.

    Source: PiCA equation 1, section 4, supplement B.1; output scaling is open in the text.
    """

    def __init__(
        self, code_dim: int, encoded_dim: int, omega: float, hidden: int, space: str, base: str, gain: float = 1.0
    ) -> None:
        """Make the SIRENs.

        Args:
            code_dim: channels of the expression map.
            encoded_dim: of the surface encoding.
            omega: frequency of the sines.
            hidden: width of the pixel SIREN (8 in the paper).
            space: one of ``COLOUR_SPACES``.
            base: one of ``COLOUR_BASES``.
            gain: factor on the spread.
        """
        super().__init__()
        if space not in COLOUR_SPACES:
            raise ConfigError(f"model.colour_space is one of {', '.join(COLOUR_SPACES)}, not {space!r}.")
        if base not in COLOUR_BASES:
            raise ConfigError(f"model.colour_base is one of {', '.join(COLOUR_BASES)}, not {base!r}.")
        self.space, self.base, self.gain = space, base, gain
        self.xyz = Siren([3, 4, 4], omega, last_linear=False)
        self.pixel = Siren([code_dim + 4 + encoded_dim, hidden, hidden, hidden, 3], omega)

    def bind(self, summary: CaptureSummary) -> None:
        """Keep the units of positions and colours."""
        low, high = summary.vertex_mean.amin(0), summary.vertex_mean.amax(0)
        self.register_buffer("centre", (low + high) / 2, persistent=False)
        self.register_buffer("extent", (high - low).max() / 2, persistent=False)
        spread = summary.colour_axes if self.space == "decorrelated" else torch.eye(3) * summary.texture_std
        self.register_buffer("spread", spread * self.gain, persistent=False)
        self.register_buffer("mean_colour", summary.colour_mean.clone(), persistent=False)
        if self.base == "mean_texture":
            self.register_buffer("mean_texture", summary.texture_mean[None].clone(), persistent=False)

    def forward(self, code: Tensor, points: Tensor, encoded: Tensor, uv: Tensor) -> Tensor:
        """Shade pixels.

        Args:
            code: N,code_dim expression codes.
            points: N,3 mm face-centric.
            encoded: N,encoded_dim.
            uv: N,2, for the mean texture.

        Returns:
            N,3 sRGB around 0..1, not clamped.
        """
        with torch.autocast(uv.device.type, enabled=False):  # sin(30 x) of a bfloat16 x is off by a tenth
            position = self.xyz((points.float() - self.centre) / self.extent)
            raw = self.pixel(torch.cat([code.float(), position, encoded.float()], dim=1))
            base = sample_map(self.mean_texture, uv)[0] if self.base == "mean_texture" else self.mean_colour
            return base + raw @ self.spread.T
