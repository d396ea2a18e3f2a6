"""PiCA's encoding maps: three lookups side by side."""

from __future__ import annotations

import fixtures as fx
import numpy as np
import pytest
import torch

from avatarzoo.encodings.learned_maps import LearnedMaps
from avatarzoo.errors import ConfigError


def along(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Look C,L up linearly at N coordinates in 0..1, entry i at (i + 0.5) / L, clamped."""
    length = values.shape[1]
    return np.stack([np.interp(x, (np.arange(length) + 0.5) / length, row) for row in values], axis=1)


def plane(values: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Look C,P,P up as interpolation along rows, then along columns."""
    rows = np.stack([along(channel, uv[:, 0]) for channel in values], axis=1)  # N,C,P: u inside each row
    centres = (np.arange(values.shape[1]) + 0.5) / values.shape[1]
    return np.array([[np.interp(uv[n, 1], centres, row) for row in rows[n]] for n in range(len(uv))])


@pytest.fixture
def maps() -> LearnedMaps:
    torch.manual_seed(0)
    return LearnedMaps(2, size=6, channels=4, length=10, line_channels=2)


def arrays(maps: LearnedMaps) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    parameters = (maps.map_uv[0], maps.map_u[0, :, 0], maps.map_v[0, :, 0])
    return tuple(p.detach().double().numpy() for p in parameters)


def test_the_code_is_the_three_lookups_in_order(maps: LearnedMaps) -> None:
    uv = np.random.default_rng(0).uniform(0, 1, (60, 2))
    both, u, v = arrays(maps)
    expected = np.concatenate([plane(both, uv), along(u, uv[:, 0]), along(v, uv[:, 1])], axis=1)
    np.testing.assert_allclose(maps(torch.from_numpy(uv).float()).detach().numpy(), expected, atol=1e-5)
    assert maps.out_dim == expected.shape[1] == 8


def test_entries_are_met_at_their_centres_of_10000() -> None:
    maps = LearnedMaps(2, size=2, length=10000)
    index = torch.tensor([0, 1, 4999, 9998, 9999])
    centres = (index + 0.5) / 10000
    found = maps(torch.stack([centres, centres.flip(0)], dim=1))
    # a coordinate in float32 is good to 6e-8 of 1, that is 6e-4 of an entry's width
    torch.testing.assert_close(found[:, 4:6], maps.map_u[0, :, 0, index].T, atol=5e-3, rtol=0)
    torch.testing.assert_close(found[:, 6:8], maps.map_v[0, :, 0, index.flip(0)].T, atol=5e-3, rtol=0)


def test_coordinates_outside_are_clamped(maps: LearnedMaps) -> None:
    outside = torch.tensor([[-0.5, 0.3], [1.5, 0.3], [0.3, -2.0], [0.3, 7.0]])
    torch.testing.assert_close(maps(outside), maps(outside.clamp(0, 1)))
    # both lie inside the first half entry of all maps
    torch.testing.assert_close(maps(torch.tensor([[0.0, 0.0]])), maps(torch.tensor([[0.04, 0.04]])))


def test_gradients_reach_the_texels_that_were_read(maps: LearnedMaps) -> None:
    maps(torch.tensor([[0.25, 0.75]])).sum().backward()  # texel centres of map_uv: x = 1, y = 4; of the lines: 2 and 7
    expected = torch.zeros(1, 4, 6, 6)
    expected[:, :, 4, 1] = 1
    torch.testing.assert_close(maps.map_uv.grad, expected, atol=1e-5, rtol=0)
    for grad, entry in ((maps.map_u.grad, 2), (maps.map_v.grad, 7)):
        line = torch.zeros(1, 2, 1, 10)
        line[..., entry] = 1
        torch.testing.assert_close(grad, line, atol=1e-5, rtol=0)


def test_gradients_to_the_coordinates_are_slopes(maps: LearnedMaps) -> None:
    both, u, v = arrays(maps)
    point = torch.tensor([[0.42, 0.63]], requires_grad=True)  # between texels 2, 3 and 3, 4
    maps(point)[:, 4:].sum().backward()
    slopes = [(u[:, 4] - u[:, 3]).sum() * 10, (v[:, 6] - v[:, 5]).sum() * 10]
    np.testing.assert_allclose(point.grad[0].numpy(), slopes, rtol=1e-4)
    point = torch.tensor([[0.42, 0.63]], requires_grad=True)
    maps(point)[:, :4].sum().backward()
    a, b = 0.42 * 6 - 0.5 - 2, 0.63 * 6 - 0.5 - 3
    total = both.sum(0)
    along_u = (1 - b) * (total[3, 3] - total[3, 2]) + b * (total[4, 3] - total[4, 2])
    along_v = (1 - a) * (total[4, 2] - total[3, 2]) + a * (total[4, 3] - total[3, 3])
    np.testing.assert_allclose(point.grad[0].numpy(), [6 * along_u, 6 * along_v], rtol=1e-3)


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_entries_start_uniform(scale: float) -> None:
    torch.manual_seed(0)
    maps = LearnedMaps(2, size=64, length=4000, init_scale=scale)
    for parameter in maps.parameters():
        assert -scale <= parameter.min() < -0.99 * scale
        assert 0.99 * scale < parameter.max() <= scale
        assert float(parameter.detach().std()) == pytest.approx(scale / 3**0.5, rel=0.03)


def test_the_published_count() -> None:
    maps = LearnedMaps()
    assert [p.numel() for p in maps.parameters()] == [4_194_304, 20_000, 20_000]
    assert (maps.in_dim, maps.out_dim) == (2, 8)


def test_m_uv_can_start_at_the_mean_texture() -> None:
    summary = fx.summary()
    maps = LearnedMaps(2, size=64, length=10, init="mean_texture")
    before = {name: p.detach().clone() for name, p in maps.named_parameters()}
    maps.bind(summary)
    # twice the codes, along the axes, is the texture again: each code texel is the mean of 2 x 2 of the picture's
    axes, mean = summary.colour_axes.double().numpy(), summary.colour_mean.double().numpy()
    texture = summary.texture_mean.double().numpy().reshape(3, 64, 2, 64, 2)
    codes = np.linalg.solve(axes, texture.reshape(3, -1) - mean[:, None])
    codes = codes.clip(-4, 4).reshape(texture.shape).mean((2, 4)) / 2
    np.testing.assert_allclose(maps.map_uv[0, :3].detach().numpy(), codes, atol=1e-3)
    torch.testing.assert_close(maps.map_uv[:, 3:].detach(), before["map_uv"][:, 3:])
    torch.testing.assert_close(maps.map_u.detach(), before["map_u"])
    LearnedMaps(2, size=8, length=4, channels=2, init="mean_texture").bind(summary)  # fewer channels than colours
    uniform = LearnedMaps(2, size=8, length=4)
    kept = uniform.map_uv.detach().clone()
    uniform.bind(summary)
    torch.testing.assert_close(uniform.map_uv.detach(), kept)


def test_what_it_cannot_do_is_said() -> None:
    with pytest.raises(ConfigError, match=r"surface coordinates \(2\), not 3"):
        LearnedMaps(3)
    with pytest.raises(ConfigError, match="'uniform' or 'mean_texture', not 'zeros'"):
        LearnedMaps(2, init="zeros")
