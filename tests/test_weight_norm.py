"""Layers with one norm over the whole weight, against NumPy loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from avatarzoo.weight_norm import GlobalNorm, UntiedDeconv2d, global_norm

LAYERS = {
    "linear": lambda: nn.Linear(24, 40),
    "conv": lambda: nn.Conv2d(6, 10, 4, 2, 1),
    "deconv": lambda: nn.ConvTranspose2d(6, 10, 4, 2, 1),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_the_weight_is_scaled_by_one_norm_and_a_gain_per_output(kind: str) -> None:
    torch.manual_seed(0)
    layer = global_norm(LAYERS[kind]())
    norm = layer.parametrizations.weight
    with torch.no_grad():
        norm.original.normal_()
        norm[0].gain.uniform_(0.5, 2)
    raw, gain = norm.original.detach().double().numpy(), norm[0].gain.detach().double().numpy()
    axis = 1 if kind == "deconv" else 0
    expected = np.stack([np.take(raw, i, axis) * gain[i] for i in range(len(gain))], axis) / math.sqrt((raw**2).sum())
    np.testing.assert_allclose(layer.weight.detach().numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", LAYERS)
def test_it_starts_as_the_plain_glorot_layer(kind: str) -> None:
    torch.manual_seed(0)
    layer = global_norm(LAYERS[kind]())
    raw = layer.parametrizations.weight.original
    torch.testing.assert_close(layer.weight, raw, rtol=1e-6, atol=0)
    assert (layer.bias == 0).all()
    taps = {"linear": 1, "conv": 16, "deconv": 16 / 4}[kind]
    inside, outside = {"linear": (24, 40)}.get(kind, (6, 10))
    bound = math.sqrt(3) * math.sqrt(2 / 1.04) * math.sqrt(2 / ((inside + outside) * taps))
    assert 0.95 * bound < raw.abs().max() <= bound
    assert float(raw.std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_an_output_layer_has_gain_1() -> None:
    torch.manual_seed(0)
    layer = global_norm(nn.Linear(30, 50), slope=None)
    assert 0.95 < float(layer.weight.abs().max()) / math.sqrt(6 / 80) <= 1


def test_the_phases_of_a_deconvolution_start_equal() -> None:
    """So a constant map becomes a constant map, away from the border: no checkerboard."""
    torch.manual_seed(0)
    layer = UntiedDeconv2d(3, 5, 16)
    grown = layer(torch.ones(1, 3, 8, 8))[0, :, 1:-1, 1:-1]
    torch.testing.assert_close(grown, grown[:, :1, :1].expand_as(grown))


def test_a_deconvolution_scatters_its_kernel_and_adds_both_biases() -> None:
    torch.manual_seed(0)
    layer = UntiedDeconv2d(2, 3, 6)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(1, 2, 3, 3)
    weight = layer.conv.weight.detach().double().numpy()  # in, out, 4, 4
    expected = np.zeros((3, 8, 8))
    for i in range(2):
        for row in range(3):
            for column in range(3):
                for o in range(3):
                    expected[o, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4] += (
                        float(x[0, i, row, column]) * weight[i, o]
                    )
    expected = expected[:, 1:-1, 1:-1] + layer.conv.bias.detach().numpy()[:, None, None] + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(x)[0].detach().numpy(), expected, atol=1e-5)


def test_tied_biases_are_per_channel() -> None:
    assert UntiedDeconv2d(2, 3, 6).bias.shape == (3, 6, 6)
    assert UntiedDeconv2d(2, 3, 6, untied=False).bias.shape == (3, 1, 1)


def test_gradients_are_those_of_the_formula() -> None:
    torch.manual_seed(0)
    norm = GlobalNorm(torch.randn(3, 4, dtype=torch.float64)).double()
    weight = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, (weight,))


def test_the_norm_is_computed_once_inside_cached() -> None:
    layer = global_norm(nn.Linear(3, 4))
    with parametrize.cached():
        assert layer.weight is layer.weight
    assert layer.weight is not layer.weight
