"""The encoder of Deep Appearance Models: what goes in, what comes out, what it draws from."""

from __future__ import annotations

import dataclasses
from typing import Any

import fixtures as fx
import pytest
import torch
import torch.nn.functional as F

from avatarzoo.drivers.deep_appearance_vae import DeepAppearanceVAE
from avatarzoo.errors import ConfigError
from avatarzoo.noise import seeded_normal, seeded_uniform

SHAPE = (6,)


def driver(shape: tuple[int, ...] = SHAPE, **options: Any) -> DeepAppearanceVAE:
    torch.manual_seed(0)
    made = DeepAppearanceVAE(shape, "warp", **({"texture_channels": [4, 4, 6, 6, 8], "hidden": 10} | options))
    made.bind(fx.summary())
    torch.nn.init.normal_(made.posterior.bias)
    return made


@pytest.mark.parametrize("shape", [(6,), (2, 3, 4)])
def test_a_code_has_the_shape_that_was_asked_for(shape: tuple[int, ...]) -> None:
    code = driver(shape)(fx.batch())
    for value in (code.value, code.mean, code.log_std):
        assert value.shape == (2, *shape) and value.dtype == torch.float32


def test_it_draws_while_training_and_means_at_test() -> None:
    made, batch = driver(), fx.batch()
    code = made(batch)
    torch.testing.assert_close(code.value, code.mean + code.log_std.exp() * seeded_normal(SHAPE, batch.meta.noise_key))
    batch.meta.noise_key = batch.meta.noise_key + 1
    assert not torch.allclose(made(batch).value, code.value)
    made.eval()
    torch.testing.assert_close(made(batch).value, code.mean)


def test_the_layers_are_the_released_ones() -> None:
    made, batch, summary = driver(mean_scale=0.5, log_std_scale=0.25, log_std_start=-1.5), fx.batch(), fx.summary()
    x = (batch.texture.average - summary.texture_mean) / summary.texture_std * batch.texture.coverage
    for i in range(0, 10, 2):
        layer = made.texture[i]
        x = F.leaky_relu(F.conv2d(x, layer.weight, layer.bias, 2, 1), 0.2)
    assert x.shape == (2, 8, 4, 4)
    x = F.leaky_relu(x.flatten(1) @ made.texture[11].weight.T + made.texture[11].bias, 0.2)
    y = ((batch.mesh.vertices - summary.vertex_mean) / summary.vertex_std).flatten(1)
    y = F.leaky_relu(y @ made.vertices[1].weight.T + made.vertices[1].bias, 0.2)
    out = torch.cat([x, y], 1) @ made.posterior.weight.T + made.posterior.bias
    code = made(batch)
    torch.testing.assert_close(code.mean, out[:, :6] * 0.5, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(code.log_std, out[:, 6:] * 0.25 - 1.5, atol=1e-4, rtol=1e-4)


def test_what_no_camera_saw_does_not_enter() -> None:
    made, batch = driver(), fx.batch()
    first = made(batch).mean
    batch.texture.average = batch.texture.average + 5 * (1 - batch.texture.coverage)
    torch.testing.assert_close(made(batch).mean, first)
    batch.texture.average = batch.texture.average + 5 * batch.texture.coverage
    assert not torch.allclose(made(batch).mean, first)


def test_the_unit_of_the_texture_is_an_option() -> None:
    summary = fx.summary()
    spread = float(summary.colour_axes.square().sum() / 3) ** 0.5
    assert driver().texture_std == summary.texture_std
    assert driver(texture_unit="colour_std").texture_std == pytest.approx(spread)
    with pytest.raises(ConfigError, match="'texture_std' or 'colour_std', not 'std'"):
        driver(texture_unit="std")


def test_a_share_of_the_textures_is_hidden_in_training() -> None:
    made, batch = driver(texture_dropout=0.5), fx.batch()
    shown = seeded_uniform(batch.meta.noise_key, torch.device("cpu")) >= 0.5
    while shown.tolist() != [True, False]:
        batch.meta.noise_key = batch.meta.noise_key + 1
        shown = seeded_uniform(batch.meta.noise_key, torch.device("cpu")) >= 0.5
    first = made(batch).mean
    batch.texture.average = batch.texture.average + 0.3
    second = made(batch).mean
    assert not torch.allclose(second[0], first[0])
    torch.testing.assert_close(second[1], first[1])
    assert not torch.allclose(made.eval()(batch).mean[1], first[1])
    with pytest.raises(ConfigError, match=r"a share of samples in 0..1, below 1, not 1"):
        driver(texture_dropout=1.0)


def test_gradients_reach_every_parameter() -> None:
    made = driver()
    made(fx.batch()).value.square().sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_sizes_that_do_not_fit_are_named() -> None:
    made = DeepAppearanceVAE(SHAPE, texture_channels=[4, 4, 4])
    with pytest.raises(ConfigError, match=r"with 3 texture_channels reads .* 32, but .* 128; set data.texture_size=32"):
        made.bind(fx.summary())


def test_a_batch_without_a_texture_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"needs texture.average and mesh.vertices"):
        driver()(dataclasses.replace(fx.batch(), texture=None))
