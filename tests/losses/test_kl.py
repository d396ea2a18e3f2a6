"""Divergence from the standard normal."""

from __future__ import annotations

import fixtures as fx
import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from avatarzoo.batch import Prediction
from avatarzoo.losses.kl import KLLoss


def test_it_is_the_mean_divergence_per_entry() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, log_std = torch.randn(2, 2, 4, 8, 8, generator=generator).unbind()
    found = KLLoss()(Prediction(extras={"code_mean": mean, "code_log_std": log_std}), fx.batch())
    expected = kl_divergence(Normal(mean, log_std.exp()), Normal(0.0, 1.0)).flatten(1).mean(1)
    torch.testing.assert_close(found, expected)


def test_it_is_the_integral() -> None:
    mean, log_std = 0.7, -0.4
    x = np.linspace(-12, 12, 200_001)
    q = np.exp(-(((x - mean) / np.exp(log_std)) ** 2) / 2) / np.exp(log_std) / np.sqrt(2 * np.pi)
    p = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    expected = np.trapezoid(q * (np.log(q + 1e-300) - np.log(p)), x)
    extras = {"code_mean": torch.full((2, 4), mean), "code_log_std": torch.full((2, 4), log_std)}
    assert float(KLLoss()(Prediction(extras=extras), fx.batch())[0]) == pytest.approx(expected, rel=1e-4)


def test_the_prior_itself_costs_nothing() -> None:
    extras = {"code_mean": torch.zeros(2, 4, 8, 8), "code_log_std": torch.zeros(2, 4, 8, 8)}
    assert (KLLoss()(Prediction(extras=extras), fx.batch()) == 0).all()


def test_gradients_are_m_and_the_excess_variance() -> None:
    mean = torch.tensor([[0.5, -1.0]], requires_grad=True)
    log_std = torch.tensor([[0.2, -0.3]], requires_grad=True)
    KLLoss()(Prediction(extras={"code_mean": mean, "code_log_std": log_std}), fx.batch((0, 0))).sum().backward()
    torch.testing.assert_close(mean.grad, mean.detach() / 2)
    torch.testing.assert_close(log_std.grad, (torch.exp(2 * log_std.detach()) - 1) / 2)


def test_a_code_without_a_posterior_counts_zero() -> None:
    for extras in ({}, {"code_mean": None, "code_log_std": None}):
        torch.testing.assert_close(KLLoss()(Prediction(extras=extras), fx.batch()), torch.zeros(2))
