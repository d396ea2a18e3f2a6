"""Spread of red minus blue, by hand and against numpy."""

import numpy as np
import pytest
import torch

from avatarzoo.metrics import channel_spread, spread_ratio, spread_sums


def test_by_hand() -> None:
    image = torch.zeros(1, 3, 1, 4)
    image[0, 0, 0] = torch.tensor([10.0, 20.0, 30.0, 200.0]) / 255
    image[0, 2, 0] = torch.tensor([0.0, 0.0, 0.0, 7.0]) / 255
    mask = torch.tensor([[[[1, 1, 1, 0]]]])
    assert channel_spread(image, mask).item() == pytest.approx(np.std([10, 20, 30]))
    sums = spread_sums(image, mask)
    assert (sums.count.item(), sums.total.item()) == pytest.approx((3, 60))
    assert sums.squares.item() == pytest.approx(100 + 400 + 900)


def test_agrees_with_numpy_and_adds_over_images() -> None:
    image = torch.rand(4, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.rand(4, 1, 6, 5, generator=torch.Generator().manual_seed(1)) > 0.3
    difference = 255 * (image[:, 0] - image[:, 2]).double().numpy()
    each = [difference[i][mask[i, 0].numpy()].std() for i in range(4)]
    assert channel_spread(image, mask).tolist() == pytest.approx(each)
    sums = spread_sums(image, mask)
    pooled = type(sums)(sums.count.sum(), sums.total.sum(), sums.squares.sum()).std()
    assert pooled.item() == pytest.approx(difference[mask[:, 0].numpy()].std())


def test_a_grey_region_has_no_spread_and_a_faded_one_half() -> None:
    target = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    grey = target.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    faded = 0.5 * target + 0.5 * grey
    assert spread_ratio(target, target).item() == pytest.approx(1)
    assert spread_ratio(grey, target).item() == pytest.approx(0, abs=1e-4)
    assert spread_ratio(faded, target).item() == pytest.approx(0.5, abs=1e-6)
    brighter = target + 0.1  # a shift of all channels or of one changes no spread
    assert spread_ratio(brighter, target).item() == pytest.approx(1, abs=1e-6)


def test_what_cannot_be_said_is_nan() -> None:
    target = torch.rand(2, 3, 4, 4)
    target[1] = 0.5
    mask = torch.ones(2, 1, 4, 4)
    mask[0] = 0
    assert spread_ratio(target, target, mask).isnan().all()


def test_half_precision() -> None:
    image = torch.rand(1, 3, 200, 200).half()
    assert channel_spread(image).item() == pytest.approx(channel_spread(image.float()).item(), rel=1e-9)
