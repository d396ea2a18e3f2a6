"""The variational encoder: what goes in, what comes out, what it draws from."""

from __future__ import annotations

import dataclasses
from typing import Any

import fixtures as fx
import pytest
import torch
import torch.nn.functional as F

from avatarzoo.build import build_model
from avatarzoo.drivers.capture_vae import CaptureVAE
from avatarzoo.errors import ConfigError, DataError
from avatarzoo.noise import seeded_normal, seeded_uniform

SHAPE = (4, 8, 8)


def driver(**options: Any) -> CaptureVAE:
    torch.manual_seed(0)
    settings = {key: value for key, value in fx.PICA["driver"].items() if key != "name"}
    made = CaptureVAE(SHAPE, "warp", **(settings | options))
    made.bind(fx.summary())
    for head in (made.mean, made.log_std):  # biases away from 0, so that the heads show
        torch.nn.init.normal_(head.bias)
    return made


def test_a_code_has_the_shape_that_was_asked_for() -> None:
    code = driver()(fx.batch())
    for value in (code.value, code.mean, code.log_std):
        assert value.shape == (2, *SHAPE) and value.dtype == torch.float32


def test_it_draws_while_training_and_means_at_test() -> None:
    made, batch = driver(), fx.batch()
    code = made(batch)
    noise = seeded_normal(SHAPE, batch.meta.noise_key)
    torch.testing.assert_close(code.value, code.mean + code.log_std.exp() * noise)
    torch.testing.assert_close(made(batch).value, code.value, rtol=0, atol=0)  # the same keys, the same draw
    batch.meta.noise_key = batch.meta.noise_key + 1
    assert not torch.allclose(made(batch).value, code.value)
    made.eval()
    torch.testing.assert_close(made(batch).value, code.mean)


def test_a_sample_s_code_does_not_depend_on_its_batch() -> None:
    made = driver()
    whole, alone = made(fx.batch((0, 0), (2, 1))), made(fx.batch((2, 1)))
    torch.testing.assert_close(whole.value[1:], alone.value, atol=1e-5, rtol=1e-5)


def test_the_layers_are_the_papers() -> None:
    made, batch, summary = driver(mean_scale=0.5, log_std_scale=0.25, log_std_start=-1.5), fx.batch(), fx.summary()
    weights = made.state_dict()

    def layer(x: torch.Tensor, name: str, stride: int = 1, padding: int = 0) -> torch.Tensor:
        return F.conv2d(x, weights[name + ".weight"], weights[name + ".bias"], stride, padding)

    texture = (batch.texture.average - summary.texture_mean) / summary.texture_std * batch.texture.coverage
    for name in ("texture_head.0", "texture_head.2"):
        texture = F.leaky_relu(layer(texture, name, 2, 1), 0.2)
    position = F.leaky_relu(layer(made.position_map(batch.mesh.vertices), "position_head.0"), 0.2)
    x = torch.cat([texture, position], dim=1)
    assert x.shape[1:] == (8, 32, 32)
    for name in ("joint.0", "joint.2"):
        x = F.leaky_relu(layer(x, name, 2, 1), 0.2)
    code = made(batch)
    torch.testing.assert_close(code.mean, layer(x, "mean") * 0.5)
    torch.testing.assert_close(code.log_std, layer(x, "log_std") * 0.25 - 1.5)


def test_positions_enter_as_offsets_in_vertex_std() -> None:
    made, summary = driver(), fx.summary()
    assert (made.position_map(summary.vertex_mean[None]) == 0).all()
    shift = torch.tensor([1.0, -2.0, 3.0])
    found = made.position_map(summary.vertex_mean[None] + shift)[0]
    inside = found[0] != 0
    assert 0.7 * 0.792 < inside.float().mean() < 1.2 * 0.792  # the charts' share of the atlas
    expected = (shift / summary.vertex_std)[:, None].expand(3, int(inside.sum()))
    torch.testing.assert_close(found[:, inside], expected, atol=1e-3, rtol=1e-3)
    assert (found[:, ~inside] == 0).all()


def test_the_mean_face_seen_everywhere_enters_as_zero() -> None:
    made, summary, batch = driver(), fx.summary(), fx.batch((0, 0))
    batch.texture.average = summary.texture_mean[None].clone()
    batch.mesh.vertices = summary.vertex_mean[None].clone()
    made.eval()
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, torch.nn.Conv2d) and module not in (made.mean, made.log_std):
                module.bias.zero_()
    expected = (made.mean.bias * made.mean_scale)[None, :, None, None].expand(1, *SHAPE)
    torch.testing.assert_close(made(batch).value, expected)


def test_what_no_camera_saw_does_not_enter() -> None:
    made, batch = driver(), fx.batch()
    first = made(batch).mean
    hidden = 1 - batch.texture.coverage
    assert hidden.sum() > 0
    batch.texture.average = batch.texture.average + 5 * hidden
    torch.testing.assert_close(made(batch).mean, first)
    batch.texture.average = batch.texture.average + 5 * batch.texture.coverage
    assert not torch.allclose(made(batch).mean, first)


def test_gradients_reach_every_parameter() -> None:
    made = driver()
    made(fx.batch()).value.square().sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_only_weights_are_state() -> None:
    made = driver()
    assert set(made.state_dict()) == {name for name, _ in made.named_parameters()}
    again = driver()
    for parameter in again.parameters():
        torch.nn.init.normal_(parameter)
    again.load_state_dict(made.state_dict())
    torch.testing.assert_close(again(fx.batch()).value, made(fx.batch()).value, rtol=0, atol=0)


def test_sizes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ConfigError, match=r"has 3 convolutions, which take a 32 map to 4, but the code's side is 8"):
        CaptureVAE(SHAPE, position_size=32, joint_channels=[8, 8, 8])
    small = CaptureVAE(SHAPE, position_size=32, texture_channels=[4, 4], position_channels=4, joint_channels=[8, 8])
    with pytest.raises(ConfigError, match=r"textures of side 128, but the capture gives 64; set data.texture_size=128"):
        small.bind(fx.summary(texture_size=64))


def test_a_batch_without_a_texture_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"needs texture.average and mesh.vertices"):
        driver()(dataclasses.replace(fx.batch(), texture=None))


def test_textures_enter_in_the_unit_that_was_asked_for() -> None:
    summary, batch = fx.summary(), fx.batch()
    seen: dict[str, torch.Tensor] = {}
    for unit in ("texture_std", "colour_std"):
        made = driver(texture_unit=unit)
        made.texture_head.register_forward_pre_hook(lambda _, inputs, unit=unit: seen.update({unit: inputs[0]}))
        made(batch)
    axes = summary.colour_axes.double().numpy()
    colour_std = float((axes @ axes.T).trace() / 3) ** 0.5  # mean variance of the three channels
    expected = (batch.texture.average - summary.texture_mean) / colour_std * batch.texture.coverage
    torch.testing.assert_close(seen["colour_std"], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(seen["texture_std"] * summary.texture_std, expected * colour_std, atol=1e-5, rtol=1e-4)
    with pytest.raises(ConfigError, match="'texture_std' or 'colour_std', not 'pixels'"):
        driver(texture_unit="pixels")


@pytest.mark.parametrize("which", ["texture_std", "vertex_std"])
def test_a_capture_without_any_spread_is_refused_at_once(which: str) -> None:
    summary = fx.summary()
    setattr(summary, which, 0.0)
    with pytest.raises(DataError, match=rf"driver 'capture_vae' divides by the {which}.*several frames"):
        build_model(fx.pica_config(), summary)


def test_hidden_textures_are_replaced_by_the_mean_while_training() -> None:
    batch, made = fx.batch(), driver(texture_dropout=0.5)
    seen: list[torch.Tensor] = []
    made.texture_head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batch.meta.noise_key = next(  # one sample hidden, one shown
        keys for keys in torch.arange(100).reshape(50, 2) if (seeded_uniform(keys) < 0.5).tolist() == [True, False]
    )
    made(batch)
    made.eval()
    made(batch)
    hidden, whole = seen
    assert (whole[0] != 0).any() and (hidden[0] == 0).all()
    torch.testing.assert_close(hidden[1], whole[1], rtol=0, atol=0)


@pytest.mark.parametrize("share", [1.0, -0.1])
def test_a_share_of_hidden_textures_is_checked(share: float) -> None:
    with pytest.raises(ConfigError, match="texture_dropout is a share"):
        driver(texture_dropout=share)
