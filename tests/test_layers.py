"""Sine layers, untied convolutions and initialisation, against NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from avatarzoo.layers import Siren, UntiedConv2d, glorot_


def convolve(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Cross-correlate B,I,S,S with O,I,3,3 under one pixel of zeros."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    result = np.zeros((x.shape[0], weight.shape[0], *x.shape[2:]))
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            result[:, :, row, column] = np.tensordot(
                padded[:, :, row : row + 3, column : column + 3], weight, ([1, 2, 3],) * 2
            )
    return result


@pytest.mark.parametrize("slope", [None, 0.2])
@pytest.mark.parametrize("layer", [lambda: nn.Conv2d(24, 40, 3), lambda: nn.Linear(300, 200)])
def test_glorot_is_uniform_within_its_bound(layer, slope: float | None) -> None:
    torch.manual_seed(0)
    module = layer()
    glorot_(module, slope)
    area = 9 if isinstance(module, nn.Conv2d) else 1
    fans = (24 + 40) * area if area == 9 else 500
    bound = (1 if slope is None else math.sqrt(2 / 1.04)) * math.sqrt(6 / fans)
    weight = module.weight.detach()
    assert 0.98 * bound < weight.abs().max() <= bound
    assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert (module.bias == 0).all()


def test_glorot_takes_layers_without_a_bias() -> None:
    glorot_(nn.Conv2d(2, 3, 1, bias=False))


def test_an_untied_convolution_adds_a_bias_per_pixel() -> None:
    torch.manual_seed(0)
    layer = UntiedConv2d(3, 5, 6, 0.2)
    assert (layer.bias == 0).all()
    assert sum(p.numel() for p in layer.parameters()) == 5 * 3 * 9 + 5 * 6 * 6
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, 6, 6)
    expected = convolve(x.numpy(), layer.conv.weight.detach().numpy()) + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, atol=1e-5)


def test_weight_norm_scales_by_one_norm_and_a_gain_per_channel() -> None:
    torch.manual_seed(0)
    plain = UntiedConv2d(3, 4, 5, 0.2)
    normed = UntiedConv2d(3, 4, 5, 0.2, weight_norm=True)
    normed.conv.load_state_dict(plain.conv.state_dict())
    with torch.no_grad():
        normed.gain.fill_(float(plain.conv.weight.norm()))
    x = torch.randn(1, 3, 5, 5)
    torch.testing.assert_close(normed(x), plain(x))
    assert sum(p.numel() for p in normed.parameters()) - sum(p.numel() for p in plain.parameters()) == 4
    with torch.no_grad():
        normed.gain.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
        normed.conv.weight.mul_(7)  # the weight's length no longer matters
    weight = plain.conv.weight.detach().numpy()
    weight = weight / np.sqrt((weight**2).sum()) * np.array([1, 2, 3, 4])[:, None, None, None]
    np.testing.assert_allclose(normed(x).detach().numpy(), convolve(x.numpy(), weight), atol=1e-5)


def test_weight_norm_starts_where_the_plain_layer_does() -> None:
    torch.manual_seed(0)
    layer = UntiedConv2d(3, 4, 5, 0.2, weight_norm=True)
    x = torch.randn(1, 3, 5, 5)
    np.testing.assert_allclose(
        layer(x).detach().numpy(), convolve(x.numpy(), layer.conv.weight.detach().numpy()), atol=1e-5
    )


@pytest.mark.parametrize("omega", [10.0, 30.0])
def test_sine_layers_start_in_their_ranges(omega: float) -> None:
    torch.manual_seed(0)
    siren = Siren([16, 64, 64, 64, 3], omega)
    first, *later = (layer.weight.detach() for layer in siren.layers)
    assert 0.98 / 16 < first.abs().max() <= 1 / 16
    for weight in later:
        bound = math.sqrt(6 / 64) / omega
        assert 0.95 * bound < weight.abs().max() <= bound
        assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.12)
    for layer in siren.layers:  # PyTorch's own bias range
        assert 0 < layer.bias.abs().max() <= 1 / math.sqrt(layer.in_features)


@pytest.mark.parametrize("last_linear", [True, False])
def test_a_siren_is_the_chain_of_sines(last_linear: bool) -> None:
    torch.manual_seed(0)
    siren = Siren([3, 8, 5], 12.5, last_linear)
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    values = x.astype(np.float64)
    for i, layer in enumerate(siren.layers):
        values = values @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()
        if i == 0 or not last_linear:
            values = np.sin(12.5 * values)
    np.testing.assert_allclose(siren(torch.from_numpy(x)).detach().numpy(), values, atol=1e-5)


def test_the_gradient_of_a_siren_agrees_with_finite_differences() -> None:
    siren = Siren([3, 4, 2], 3.0).double()
    points = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(siren, points)


def test_the_published_counts() -> None:
    assert sum(p.numel() for p in Siren([16, 8, 8, 8, 3]).parameters()) == 307
    assert sum(p.numel() for p in Siren([3, 4, 4], last_linear=False).parameters()) == 36
    for inputs, count in ((8, 243), (10, 259), (48, 563), (12, 275), (40, 499)):  # the paper's ablations, and a hash grid
        assert sum(p.numel() for p in Siren([inputs, 8, 8, 8, 3]).parameters()) == count
