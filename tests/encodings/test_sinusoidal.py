"""Positional encoding: against a loop, and its window against the closed form."""

from __future__ import annotations

import math

import pytest
import torch

from avatarzoo.encodings.sinusoidal import Sinusoidal, encode_bands
from avatarzoo.errors import ConfigError


def loop(point: list[float], bands: int, identity: bool, frequency: float, alpha: float = math.inf) -> list[float]:
    found = list(point) if identity else []
    for k in range(bands):
        weight = (1 - math.cos(math.pi * min(1.0, max(0.0, alpha - k)))) / 2
        found += [weight * math.sin(2**k * frequency * x) for x in point]
        found += [weight * math.cos(2**k * frequency * x) for x in point]
    return found


@pytest.mark.parametrize("identity", [False, True])
@pytest.mark.parametrize(("in_dim", "bands", "frequency"), [(2, 10, math.pi), (3, 6, 1.0), (1, 3, 2.0)])
def test_features_are_those_of_the_loop(in_dim: int, bands: int, frequency: float, identity: bool) -> None:
    encoding = Sinusoidal(in_dim, bands=bands, identity=identity, base_frequency=frequency)
    points = 3 * torch.rand(20, in_dim, dtype=torch.float64) - 1  # outside 0..1 too
    expected = [loop(point.tolist(), bands, identity, frequency) for point in points]
    found = encoding(points)
    assert found.shape == (20, encoding.out_dim) and encoding.out_dim == in_dim * (2 * bands + identity)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=1e-10)


def test_nerf_pe_has_40_features_and_no_parameters() -> None:
    encoding = Sinusoidal(2)
    assert encoding.out_dim == 40
    assert not list(encoding.parameters()) and not encoding.state_dict()


@pytest.mark.parametrize(("progress", "alpha"), [(0.0, 0.0), (0.05, 1.5), (0.1, 3.0), (0.2, 6.0), (1.0, 6.0)])
def test_the_window_opens_band_by_band(progress: float, alpha: float) -> None:
    encoding = Sinusoidal(3, bands=6, identity=True, window=0.2)
    encoding.set_progress(progress)
    points = torch.rand(5, 3)
    expected = torch.tensor([loop(point.tolist(), 6, True, math.pi, alpha) for point in points])
    torch.testing.assert_close(encoding(points), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(encoding(points)[:, :3], points)
    weights = encoding.weights()
    assert (weights[:-1] >= weights[1:]).all()


def test_a_window_starts_closed_and_returns_with_the_state() -> None:
    encoding = Sinusoidal(2, bands=4, window=0.5)
    assert not encoding(torch.rand(3, 2)).any()
    encoding.set_progress(0.3)
    again = Sinusoidal(2, bands=4, window=0.5)
    again.load_state_dict(encoding.state_dict())
    points = torch.rand(3, 2)
    torch.testing.assert_close(again(points), encoding(points), rtol=0, atol=0)


def test_without_a_window_progress_changes_nothing() -> None:
    encoding, points = Sinusoidal(2, bands=4), torch.rand(3, 2)
    before = encoding(points)
    encoding.set_progress(0.0)
    torch.testing.assert_close(encoding(points), before, rtol=0, atol=0)
    assert (encoding.weights() == 1).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_coordinates_are_encoded_in_float32(dtype: torch.dtype) -> None:
    points = torch.rand(50, 2).to(dtype)
    expected = Sinusoidal(2)(points.float())
    found = Sinusoidal(2)(points)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=2 * torch.finfo(dtype).eps)


def test_what_it_cannot_do_is_said() -> None:
    with pytest.raises(ConfigError, match="needs a coordinate and a band"):
        Sinusoidal(2, bands=0)
    assert Sinusoidal(2, bands=0, identity=True)(torch.rand(4, 2)).shape == (4, 2)
    with pytest.raises(ConfigError, match="fraction of the run"):
        Sinusoidal(2, window=80_000)


def test_doubled_angles_give_the_same_bands() -> None:
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for bands in (0, 1, 8):
        found = encode_bands(points, bands)
        assert found.shape == (200, 6 * bands)
        if bands:
            torch.testing.assert_close(found, Sinusoidal(3, bands=bands)(points), rtol=0, atol=2e-4)
            exact = Sinusoidal(3, bands=bands)(points.double())
            torch.testing.assert_close(encode_bands(points.double(), bands), exact, rtol=0, atol=1e-11)
