"""Structural similarity against scikit-image and torchmetrics."""

import pytest
import torch
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from avatarzoo.metrics import ssim
from avatarzoo.metrics.ssim import windows_inside


def pictures(height: int = 40, width: int = 33) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, height, width, generator=generator)
    target = torch.nn.functional.avg_pool2d(target, 3, 1, 1)
    return (target + 0.05 * torch.randn(target.shape, generator=generator)).clamp(0, 1), target


def scikit(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the full map (H,W,3) of one picture; its outer 5 pixels depend on padding."""
    x, y = (p.permute(1, 2, 0).double().numpy() for p in (image, target))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    return torch.from_numpy(structural_similarity(x, y, channel_axis=2, full=True, **options)[1])


def test_without_a_mask_it_is_scikit_images_number() -> None:
    image, target = pictures()
    expected = [scikit(x, y)[5:-5, 5:-5].mean().item() for x, y in zip(image, target, strict=True)]
    assert ssim(image, target).tolist() == pytest.approx(expected, abs=1e-5)


def test_without_a_mask_it_is_torchmetrics_number() -> None:
    image, target = pictures()
    options = {"data_range": 1.0, "sigma": 1.5, "kernel_size": 11, "reduction": "none", "return_full_image": True}
    full = structural_similarity_index_measure(image, target, **options)[1]
    expected = full[..., 5:-5, 5:-5].mean((1, 2, 3))  # its outer windows reach into reflected padding
    assert ssim(image, target).tolist() == pytest.approx(expected.tolist(), abs=1e-4)


def test_with_a_mask_it_is_the_mean_of_the_map_over_windows_inside() -> None:
    image, target = pictures()
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(33), indexing="ij")
    mask = ((rows - 19) ** 2 + (columns - 16) ** 2 < 15**2).expand(2, 1, 40, 33)
    for i, value in enumerate(ssim(image, target, mask)):
        full = scikit(image[i], target[i])
        centres = [
            (r, c) for r in range(5, 35) for c in range(5, 28) if bool(mask[i, 0, r - 5 : r + 6, c - 5 : c + 6].all())
        ]
        expected = torch.stack([full[r, c].mean() for r, c in centres]).mean().item()
        assert value.item() == pytest.approx(expected, abs=1e-5)


def test_what_lies_off_the_mask_does_not_count() -> None:
    image, target = pictures()
    mask = torch.zeros(2, 1, 40, 33, dtype=torch.bool)
    mask[:, :, 4:30, 6:28] = True
    spoiled = torch.where(mask, image, torch.nan)
    assert torch.equal(ssim(spoiled, target, mask), ssim(image, target, mask))


def test_windows_inside_a_mask() -> None:
    mask = torch.ones(1, 1, 12, 13, dtype=torch.bool)
    mask[..., 0, 0] = False
    expected = torch.ones(2, 3, dtype=torch.bool)
    expected[0, 0] = False
    assert torch.equal(windows_inside(mask)[0, 0], expected)


def test_no_window_gives_nan_and_equal_pictures_one() -> None:
    image, target = pictures()
    mask = torch.zeros(2, 1, 40, 33, dtype=torch.bool)
    mask[0, :, 5:16, 5:16] = True  # exactly one window
    mask[1, :, 5:15, 5:16] = True  # one row short
    values = ssim(image, target, mask)
    assert values.isnan().tolist() == [False, True]
    assert ssim(target, target).tolist() == pytest.approx([1.0, 1.0], abs=1e-6)
    assert ssim(image[..., :10], target[..., :10]).isnan().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype: torch.dtype) -> None:
    image, target = (p.to(dtype) for p in pictures())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = ssim(image, target)
    assert values.tolist() == pytest.approx(ssim(image.float(), target.float()).tolist(), abs=1e-6)
