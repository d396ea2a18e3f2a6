"""A gain and a bias per camera; none for cameras that were not trained on."""

from __future__ import annotations

import fixtures as fx
import pytest
import torch

from avatarzoo.batch import Camera
from avatarzoo.capture import CameraTable
from avatarzoo.errors import ConfigError
from avatarzoo.models.deep_appearance.colour_correction import ColourCorrection


def table() -> CameraTable:
    two = fx.camera_table()
    third = two.t[1] + torch.tensor([30.0, 0, 0])
    return CameraTable(
        ["a", "b", "c"], two.K[[0, 1, 1]], two.R[[0, 1, 1]], torch.stack([*two.t, third]), two.size, {}
    )  # fmt: skip


def cameras(*ids: int) -> Camera:
    found = table()
    return Camera(found.K[list(ids)], found.R[list(ids)], found.t[list(ids)], found.size)


def correction(unseen: str = "identity", seen: tuple[int, ...] = (0, 1)) -> ColourCorrection:
    made = ColourCorrection(unseen)
    made.bind(table())
    torch.manual_seed(0)
    torch.nn.init.normal_(made.gain)
    torch.nn.init.normal_(made.bias)
    if seen:
        made.note(cameras(*seen), lambda value: value)
    return made


def test_each_camera_has_its_own() -> None:
    made, texture = correction(), torch.rand(3, 3, 4, 4)
    found = made.train()(texture, cameras(2, 0, 1))
    gain = torch.cat([torch.ones(1, 3), made.gain])[[2, 0, 1]]
    bias = torch.cat([torch.zeros(1, 3), made.bias])[[2, 0, 1]]
    torch.testing.assert_close(found, texture * gain[..., None, None] + bias[..., None, None])
    torch.testing.assert_close(found[1], texture[1], rtol=0, atol=0)  # the first camera is the anchor


def test_the_anchor_is_not_trained_and_the_rest_learns_from_its_own_pictures() -> None:
    made = correction()
    assert sum(p.numel() for p in made.parameters()) == 6 * 3
    assert sum(p.numel() for p in made.parameters() if p.requires_grad) == 6 * 2
    made.train()(torch.rand(2, 3, 4, 4), cameras(0, 1)).sum().backward()
    assert (made.gain.grad[0] != 0).all() and (made.bias.grad[0] == 16).all()
    assert (made.gain.grad[1] == 0).all() and (made.bias.grad[1] == 0).all()


def test_a_camera_of_a_film_is_none_of_the_capture_s() -> None:
    made = correction(seen=(0, 1, 2))
    film = cameras(1, 1)
    film.t[1] += torch.tensor([0.0, 5.0, 0.0])
    assert made.index(film).tolist() == [1, -1]
    texture = torch.rand(2, 3, 4, 4)
    found = made.eval()(texture, film)
    assert not torch.allclose(found[0], texture[0])
    torch.testing.assert_close(found[1], texture[1], rtol=0, atol=0)


def test_a_camera_that_was_not_trained_on_gets_nothing_at_test() -> None:
    made, texture = correction(seen=(0, 1)), torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(made.eval()(texture, cameras(2)), texture, rtol=0, atol=0)


def test_or_the_mean_of_those_that_were() -> None:
    made, texture = correction("mean", seen=(0, 1)), torch.rand(1, 3, 4, 4)
    gain, bias = (1 + made.gain[0]) / 2, made.bias[0] / 2
    expected = texture * gain[:, None, None] + bias[:, None, None]
    torch.testing.assert_close(made.eval()(texture, cameras(2)), expected)
    fresh = correction("mean", seen=())
    torch.testing.assert_close(fresh.eval()(texture, cameras(2)), texture, rtol=0, atol=0)


def test_what_was_seen_is_agreed_on_and_is_state() -> None:
    made = correction(seen=())
    other = torch.tensor([0.0, 0.0, 1.0])  # another process trained on the third
    made.note(cameras(0), lambda value: (value + other) / 2)
    assert made.seen.tolist() == [True, False, True]
    assert "seen" in made.state_dict() and "poses" not in made.state_dict()


def test_an_unknown_choice_is_named() -> None:
    with pytest.raises(ConfigError, match="identity, mean, not 'none'"):
        ColourCorrection("none")
