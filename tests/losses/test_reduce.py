"""Means over what counts, per image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avatarzoo.losses.reduce import masked_mean, power


def test_masked_mean_is_the_mean_of_the_selected_values() -> None:
    rng = np.random.default_rng(0)
    values, mask = rng.normal(size=(3, 2, 4, 5)), rng.random((3, 1, 4, 5)) < 0.4
    expected = [values[i][:, mask[i, 0]].mean() for i in range(3)]
    found = masked_mean(torch.from_numpy(values).float(), torch.from_numpy(mask))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_an_empty_mask_gives_zero_and_no_gradient() -> None:
    values = torch.ones(2, 3, 4, requires_grad=True)
    mask = torch.zeros(2, 1, 4, dtype=torch.bool)
    mask[1, 0, 2] = True
    found = masked_mean(values, mask)
    found.sum().backward()
    torch.testing.assert_close(found, torch.tensor([0.0, 1.0]))
    assert (values.grad[0] == 0).all()
    torch.testing.assert_close(values.grad[1, :, 2], torch.full((3,), 1 / 3))


def test_half_precision_is_summed_in_float32() -> None:
    values = torch.ones(1, 1, 300, 300, dtype=torch.bfloat16)  # 90,000 ones: bfloat16 cannot count them
    assert masked_mean(values, torch.ones(1, 1, 300, 300)).dtype == torch.float32
    assert float(masked_mean(values, torch.ones(1, 1, 300, 300))) == pytest.approx(1)


def test_power() -> None:
    squares = torch.tensor([4.0, 9.0, 0.0], requires_grad=True)
    assert power(squares, True) is squares
    roots = power(squares, False)
    torch.testing.assert_close(roots, torch.tensor([2.0, 3.0, 0.0]), atol=1e-5, rtol=0)
    roots.sum().backward()
    assert torch.isfinite(squares.grad).all()
    torch.testing.assert_close(squares.grad[:2], torch.tensor([1 / 4, 1 / 6]))
