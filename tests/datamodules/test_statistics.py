"""Statistics of meshes and textures against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avatarzoo.datamodules.statistics import (
    colour_statistics,
    fill_holes,
    motion_by_signal,
    motion_per_unit,
    texture_statistics,
    vertex_statistics,
)

RNG = np.random.default_rng(0)


def test_vertices() -> None:
    meshes = RNG.normal(size=(5, 7, 3)).astype(np.float32) + 50
    mean, std, nearest = vertex_statistics(lambda: iter(meshes))
    np.testing.assert_allclose(mean, meshes.mean(axis=0), rtol=1e-6)
    assert std == pytest.approx(meshes.astype(float).var(axis=0).mean() ** 0.5, rel=1e-6)
    assert nearest == int(((meshes - meshes.mean(axis=0)) ** 2).sum(axis=(1, 2)).argmin())


def test_motion_is_what_a_unit_of_each_number_moves() -> None:
    rng = np.random.default_rng(1)
    signals, basis = rng.normal(size=(200, 4)) * (1.0, 0.1, 3.0, 1.0), rng.normal(size=(4, 11, 3)) * 5
    signals[:, 2] += signals[:, 0]  # correlated numbers do not take each other's motion
    basis[3] = 0
    meshes = 100 + np.einsum("nd,dvx->nvx", signals, basis)
    found = motion_per_unit(signals, iter(meshes), ridge=1e-9)
    np.testing.assert_allclose(found, np.sqrt((basis**2).sum(axis=2).mean(axis=1)), rtol=1e-5, atol=1e-5)
    assert found.dtype == torch.float32


def test_motion_against_ridge_regression_in_its_dual_form() -> None:
    rng = np.random.default_rng(2)
    signals, meshes = rng.random((6, 9)), rng.normal(size=(6, 5, 3))  # fewer frames than numbers
    signals[:, 4] = 0.25
    scale = np.maximum(signals.std(axis=0), 0.3)  # some columns vary more, some less
    rows, centred = (signals - signals.mean(axis=0)) / scale, (meshes - meshes.mean(axis=0)).reshape(6, -1)
    penalty = 0.01 * np.mean([row @ row for row in rows])
    slopes = rows.T @ np.linalg.solve(rows @ rows.T + penalty * np.eye(6), centred) / scale[:, None]
    expected = np.sqrt((slopes.reshape(9, 5, 3) ** 2).sum(axis=2).mean(axis=1))
    assert expected[4] == 0
    found = motion_per_unit(signals, iter(meshes), ridge=0.01, noise=0.3)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


def test_units_of_the_numbers_do_not_matter() -> None:
    rng = np.random.default_rng(5)
    signals, meshes = rng.normal(size=(8, 20)), rng.normal(size=(8, 5, 3))
    units = 10.0 ** rng.uniform(-1, 1, size=20)
    found, other = (motion_per_unit(s, iter(meshes)) for s in (signals, signals * units))
    np.testing.assert_allclose(other * units, found, rtol=1e-5)


def test_a_number_that_only_trembles_is_not_credited_with_what_others_move() -> None:
    rng = np.random.default_rng(4)
    signals = np.stack([rng.random(40), 1e-5 * rng.random(40)], axis=1)
    meshes = signals[:, :1, None] * np.ones((40, 5, 3)) + rng.normal(size=(40, 5, 3)) * 0.1
    found = motion_per_unit(signals, iter(meshes))
    assert abs(float(found[0]) - 3**0.5) < 0.1 and found[1] < 100
    assert motion_per_unit(signals, iter(meshes), noise=1e-9)[1] > 5000
    still = np.full((40, 2), 0.1)
    assert float(motion_per_unit(still, iter(meshes)).abs().max()) == 0
    with pytest.raises(ValueError, match="40 rows of signals, 3 meshes"):
        motion_per_unit(signals, iter(meshes[:3]))


def test_motion_by_signal_splits_what_was_regressed_together() -> None:
    rng = np.random.default_rng(3)
    arkit = torch.rand(8, 52)
    flame = {"expression": torch.rand(8, 5), "jaw": torch.rand(8, 3)}
    meshes = rng.normal(size=(8, 4, 3))
    found = motion_by_signal(arkit, flame, lambda: iter(meshes))
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "arkit": (52,),
        "flame.expression": (5,),
        "flame.jaw": (3,),
    }
    together = motion_per_unit(torch.cat(list(flame.values()), dim=1).numpy(), iter(meshes))
    assert torch.equal(torch.cat([found["flame.expression"], found["flame.jaw"]]), together)
    assert motion_by_signal(None, None, lambda: iter(meshes)) == {}


def test_textures_count_only_what_was_seen() -> None:
    values = RNG.integers(0, 256, (6, 3, 8, 8), dtype=np.uint8)
    seen = RNG.random((6, 1, 8, 8)) < 0.6
    seen[:, :, 2, 3] = False
    values = values * seen
    pairs = [(torch.from_numpy(v), torch.from_numpy(s.astype(np.uint8))) for v, s in zip(values, seen, strict=True)]
    mean, std, any_seen = texture_statistics(pairs)
    masked = np.ma.array(values / 255.0, mask=~np.broadcast_to(seen, values.shape))
    there = any_seen.numpy()
    np.testing.assert_array_equal(there, seen.any(axis=(0, 1)))
    np.testing.assert_allclose(mean.numpy()[:, there], masked.mean(axis=0).filled(0)[:, there], atol=1e-6)
    assert std == pytest.approx(float(((masked - masked.mean(axis=0)) ** 2).mean() ** 0.5), rel=1e-6)
    assert not there[2, 3]
    neighbours = [mean[:, r, c] for r, c in ((1, 3), (3, 3), (2, 2), (2, 4)) if there[r, c]]
    assert any(torch.equal(mean[:, 2, 3], n) for n in neighbours)


def test_textures_of_which_nothing_was_seen() -> None:
    with pytest.raises(ValueError, match="No texel"):
        texture_statistics([(torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(1, 4, 4, dtype=torch.uint8))])


def test_holes_take_the_nearest_colour() -> None:
    texture, seen = torch.zeros(3, 1, 7), torch.zeros(1, 7, dtype=torch.bool)
    texture[:, 0, 1], texture[:, 0, 6] = 0.25, 0.75
    seen[0, 1] = seen[0, 6] = True
    filled = fill_holes(texture, seen)
    assert filled[0, 0].tolist() == [0.25, 0.25, 0.25, 0.25, 0.75, 0.75, 0.75]


def test_colour_axes_are_scaled_principal_components() -> None:
    mixing = np.array([[0.1, 0.02, 0.0], [0.08, -0.01, 0.01], [0.05, 0.0, -0.02]])
    colours = 0.5 + (RNG.normal(size=(64 * 64, 3)) @ mixing.T)
    texture = torch.from_numpy(colours.T.reshape(3, 64, 64)).float()
    seen = torch.ones(64, 64, dtype=torch.bool)
    seen[:10] = False
    mean, axes = colour_statistics(texture, seen)
    used = texture[:, seen].double().numpy()
    np.testing.assert_allclose(mean, used.mean(axis=1), atol=1e-6)
    u, s, _ = np.linalg.svd(used - used.mean(axis=1, keepdims=True), full_matrices=False)
    expected = u * s / np.sqrt(used.shape[1])
    expected *= np.where(expected.sum(axis=0) < 0, -1, 1)
    np.testing.assert_allclose(axes, expected, atol=1e-5)
    whitened = np.linalg.solve(axes.double().numpy(), used - mean.double().numpy()[:, None])
    np.testing.assert_allclose(whitened @ whitened.T / used.shape[1], np.eye(3), atol=1e-3)
