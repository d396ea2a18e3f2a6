"""Squared error and PSNR: hand-computed cases and scikit-image."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from avatarzoo.metrics import PSNR_CEILING, mse255, psnr, squared_error


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(3, 3, 9, 7, generator=generator)
    return (target + 0.1 * torch.randn(3, 3, 9, 7, generator=generator)).clamp(0, 1), target


def test_by_hand() -> None:
    target = torch.zeros(1, 3, 2, 2)
    image = target.clone()
    image[0, :, 0, 0] = torch.tensor([1.0, 2.0, 3.0]) / 255
    image[0, :, 1, 1] = 10 / 255
    mask = torch.tensor([[[[True, True], [False, False]]]])
    total, count = squared_error(image, target, mask)
    assert total.item() == pytest.approx(1 + 4 + 9) and count.item() == 6
    assert mse255(image, target, mask).item() == pytest.approx(14 / 6)
    assert psnr(image, target, mask).item() == pytest.approx(10 * math.log10(255**2 / (14 / 6)))
    assert mse255(image, target).item() == pytest.approx((14 + 300) / 12)


def test_agrees_with_scikit_image_on_masked_pixels(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    image, target = pair
    mask = torch.rand(3, 1, 9, 7, generator=torch.Generator().manual_seed(1)) > 0.4
    for i, value in enumerate(psnr(image, target, mask)):
        inside = mask[i].expand(3, -1, -1).numpy()
        expected = peak_signal_noise_ratio(target[i].numpy()[inside], image[i].numpy()[inside], data_range=1)
        assert value.item() == pytest.approx(expected, abs=1e-4)


def test_what_lies_off_the_mask_does_not_count(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    image, target = pair
    mask = torch.zeros(3, 1, 9, 7, dtype=torch.bool)
    mask[:, :, 2:5, 2:5] = True
    spoiled = torch.where(mask, image, torch.nan)
    assert torch.equal(mse255(spoiled, target, mask), mse255(image, target, mask))


def test_empty_masks_give_nan_and_equal_pictures_the_ceiling(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    image, target = pair
    mask = torch.ones(3, 1, 9, 7)
    mask[1] = 0
    values = psnr(image, target, mask)
    assert values.isnan().tolist() == [False, True, False]
    assert psnr(image, image).tolist() == [PSNR_CEILING] * 3
    assert psnr(image, image, ceiling=math.inf).isinf().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_pictures_are_summed_in_double(dtype: torch.dtype) -> None:
    # 65,536 squares of 1 sum to more than float16 holds; the inputs themselves are exact in half precision.
    target, image = torch.zeros(1, 3, 256, 256, dtype=dtype), torch.ones(1, 3, 256, 256, dtype=dtype)
    assert mse255(image, target).item() == 255**2
    assert mse255(image, target).dtype == torch.float64


@pytest.mark.parametrize(
    ("image", "target", "mask"),
    [
        (torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 5), None),
        (torch.rand(3, 4, 4), torch.rand(3, 4, 4), None),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(1, 3, 4, 4, dtype=torch.uint8), None),
        (torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4), torch.ones(1, 4, 4)),
    ],
)
def test_wrong_shapes_and_types_are_refused(image, target, mask) -> None:
    with pytest.raises(ValueError, match="to be"):
        mse255(image, target, mask)


def test_values_do_not_depend_on_the_batch(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    image, target = pair
    together = mse255(image, target)
    alone = torch.cat([mse255(image[i : i + 1], target[i : i + 1]) for i in range(3)])
    assert np.allclose(together, alone, rtol=1e-12)
