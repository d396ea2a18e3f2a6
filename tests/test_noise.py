"""Noise depends on the sample's key and on nothing else."""

from __future__ import annotations

import math

import torch

from avatarzoo.noise import seeded_normal, seeded_uniform


def test_a_sample_s_noise_does_not_depend_on_its_batch() -> None:
    keys = torch.tensor([5, 2**62, 0, 17])
    whole = seeded_normal((4, 3, 3), keys)
    assert whole.shape == (4, 4, 3, 3) and whole.dtype == torch.float32
    for i, key in enumerate(keys):
        torch.testing.assert_close(seeded_normal((4, 3, 3), key[None])[0], whole[i], rtol=0, atol=0)
    torch.testing.assert_close(seeded_normal((4, 3, 3), keys.flip(0)), whole.flip(0), rtol=0, atol=0)


def test_it_neither_reads_nor_moves_the_global_generator() -> None:
    keys = torch.tensor([3])
    torch.manual_seed(0)
    first, after = seeded_normal((5,), keys), torch.rand(1)
    torch.manual_seed(1)
    torch.rand(10)
    torch.testing.assert_close(seeded_normal((5,), keys), first, rtol=0, atol=0)
    torch.manual_seed(0)
    torch.testing.assert_close(torch.rand(1), after, rtol=0, atol=0)


def test_keys_give_different_noise() -> None:
    rows = seeded_normal((8,), torch.arange(50))
    assert len(torch.unique(rows, dim=0)) == 50
    assert torch.corrcoef(seeded_normal((4000,), torch.tensor([1, 2])))[0, 1].abs() < 0.06


def test_it_is_standard_normal() -> None:
    draws = seeded_normal((1000,), torch.arange(40)).flatten().double()
    assert abs(float(draws.mean())) < 5 / math.sqrt(len(draws))
    assert abs(float(draws.var()) - 1) < 5 * math.sqrt(2 / len(draws))
    within = float((draws.abs() < 1).double().mean())
    assert abs(within - math.erf(1 / math.sqrt(2))) < 0.012


def test_noise_goes_where_it_is_asked_to_and_keys_stay():
    keys = torch.arange(3)
    assert seeded_normal((2,), keys, torch.device("meta")).device.type == "meta"
    torch.testing.assert_close(seeded_normal((2,), keys, torch.device("cpu")), seeded_normal((2,), keys), rtol=0, atol=0)


def test_uniform_draws_fill_0_to_1_and_follow_their_keys() -> None:
    keys = torch.arange(2000)
    drawn = seeded_uniform(keys)
    assert drawn.shape == (2000,) and drawn.min() >= 0 and drawn.max() < 1
    # a uniform variable's moments, within four standard errors of 2,000 draws
    assert abs(drawn.mean() - 0.5) < 4 / (12 * 2000) ** 0.5
    assert abs(drawn.var() - 1 / 12) < 4 * (1 / 180 / 2000) ** 0.5
    torch.testing.assert_close(seeded_uniform(keys.flip(0)), drawn.flip(0), rtol=0, atol=0)


def test_uniform_draws_are_independent_of_normal_ones() -> None:
    keys = torch.arange(2000)
    pair = torch.stack([seeded_uniform(keys), seeded_normal((1,), keys)[:, 0]])
    assert abs(torch.corrcoef(pair)[0, 1]) < 4 / 2000**0.5
