"""Colour per pixel, against NumPy."""

from __future__ import annotations

import fixtures as fx
import numpy as np
import pytest
import torch

from avatarzoo.errors import ConfigError
from avatarzoo.models.pica.pixel_decoder import PixelDecoder


def chain(siren: torch.nn.Module, x: np.ndarray, omega: float, last_linear: bool) -> np.ndarray:
    for i, layer in enumerate(siren.layers):
        x = x @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()
        if i + 1 < len(siren.layers) or not last_linear:
            x = np.sin(omega * x)
    return x


@pytest.mark.parametrize("space", ["scalar", "decorrelated"])
@pytest.mark.parametrize("base", ["mean_colour", "mean_texture"])
@pytest.mark.parametrize("gain", [1.0, 3.0])
def test_colour_is_base_plus_spread_times_the_siren(space: str, base: str, gain: float) -> None:
    torch.manual_seed(0)
    summary = fx.summary()
    decoder = PixelDecoder(4, 8, 10.0, 8, space, base, gain)
    decoder.bind(summary)
    generator = torch.Generator().manual_seed(1)
    code, encoded = torch.randn(9, 4, generator=generator), torch.randn(9, 8, generator=generator)
    points = summary.vertex_mean[::19][:9]
    texel = torch.randint(0, 128, (9, 2), generator=generator)
    found = decoder(code, points, encoded, (texel + 0.5) / 128).detach().numpy()

    low, high = summary.vertex_mean.double().numpy().min(0), summary.vertex_mean.double().numpy().max(0)
    inside = (points.double().numpy() - (low + high) / 2) / ((high - low).max() / 2)
    assert np.abs(inside).max() <= 1 + 1e-6
    x = chain(decoder.xyz, inside, 10.0, last_linear=False)
    raw = chain(decoder.pixel, np.concatenate([code.double(), x, encoded.double()], axis=1), 10.0, last_linear=True)
    spread = summary.colour_axes.double().numpy() if space == "decorrelated" else np.eye(3) * summary.texture_std
    start = summary.colour_mean if base == "mean_colour" else summary.texture_mean[:, texel[:, 1], texel[:, 0]].T
    np.testing.assert_allclose(found, start.double().numpy() + gain * raw @ spread.T, atol=2e-4)


def test_the_published_counts() -> None:
    decoder = PixelDecoder(4, 8, 30.0, 8, "scalar", "mean_colour")
    assert sum(p.numel() for p in decoder.pixel.parameters()) == 307
    assert sum(p.numel() for p in decoder.xyz.parameters()) == 36
    assert sum(p.numel() for p in decoder.parameters()) == 343
    without = PixelDecoder(4, 0, 30.0, 8, "scalar", "mean_colour")  # no surface encoding at all
    assert sum(p.numel() for p in without.pixel.parameters()) == 243


def test_only_weights_are_state() -> None:
    decoder = PixelDecoder(4, 8, 30.0, 8, "decorrelated", "mean_texture")
    decoder.bind(fx.summary())
    assert set(decoder.state_dict()) == {name for name, _ in decoder.named_parameters()}


def test_no_pixels_are_no_colours() -> None:
    decoder = PixelDecoder(4, 8, 30.0, 8, "scalar", "mean_texture")
    decoder.bind(fx.summary())
    assert decoder(torch.zeros(0, 4), torch.zeros(0, 3), torch.zeros(0, 8), torch.zeros(0, 2)).shape == (0, 3)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="colour_space is one of scalar, decorrelated, not 'lab'"):
        PixelDecoder(4, 8, 30.0, 8, "lab", "mean_colour")
    with pytest.raises(ConfigError, match="colour_base is one of mean_colour, mean_texture, not 'black'"):
        PixelDecoder(4, 8, 30.0, 8, "scalar", "black")
