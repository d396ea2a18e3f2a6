"""Squared error and PSNR over masks.

All metrics take pictures as B,3,H,W in 0..1 of any float dtype, compute in float32 or better, and return one value per
image: NaN for an image whose mask is empty, so that the caller leaves it out of a mean knowingly.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: PSNR of identical pictures, in dB; keeps means finite and lies above what one wrong value in 50,000 pixels gives.
PSNR_CEILING = 100.0


def check_pictures(image: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """Check the shapes of a metric's inputs and return the mask as bool.

    Args:
        image: B,C,H,W float.
        target: B,C,H,W float.
        mask: B,1,H,W bool or 0/1 numbers; None means every pixel.

    Returns:
        B,1,H,W bool.

    Raises:
        ValueError: shapes differ, or the pictures are not float.
    """
    if image.ndim != 4 or image.shape != target.shape:
        raise ValueError(
            f"Pictures have to be B,C,H,W and of one shape, got {tuple(image.shape)} and {tuple(target.shape)}."
        )
    if not (image.is_floating_point() and target.is_floating_point()):
        raise ValueError(f"Pictures have to be float in 0..1, got {image.dtype} and {target.dtype}; divide uint8 by 255.")
    expected = (image.shape[0], 1, *image.shape[2:])
    if mask is None:
        return torch.ones(expected, dtype=torch.bool, device=image.device)
    if mask.shape != expected:
        raise ValueError(f"The mask has to be {expected}, got {tuple(mask.shape)}.")
    return mask if mask.dtype == torch.bool else mask > 0.5


def squared_error(image: Tensor, target: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Sum squared differences over masked pixels.

    Args:
        image, target: B,C,H,W float in 0..1.
        mask: B,1,H,W; None means every pixel.

    Returns:
        Sum of squares (B float64, in units of 255) and the number of values summed, C times the pixels (B float64).
    """
    mask = check_pictures(image, target, mask)
    # An empty region of the prediction may hold anything, NaN included: select, never multiply.
    difference = torch.where(mask, 255 * (image.double() - target.double()), 0.0)
    count = mask.sum(dim=(1, 2, 3), dtype=torch.float64) * image.shape[1]
    return difference.square().sum(dim=(1, 2, 3)), count


def mse255(image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute the mean squared error on the 0..255 scale over masked pixels.

    Args:
        image, target: B,C,H,W float in 0..1.
        mask: B,1,H,W; None means every pixel.

    Returns:
        B float64; NaN where the mask is empty.
    """
    total, count = squared_error(image, target, mask)
    return total / count


def psnr_from_mse(mse: Tensor, ceiling: float = PSNR_CEILING) -> Tensor:
    """Return 10 log10(255^2 / mse) in dB, at most ``ceiling``; NaN stays NaN.

    Args:
        mse: any shape, on the 0..255 scale.
        ceiling: dB given to identical pictures; ``math.inf`` for none.
    """
    return (10 * torch.log10(255.0**2 / mse.double())).clamp(max=ceiling)


def psnr(image: Tensor, target: Tensor, mask: Tensor | None = None, ceiling: float = PSNR_CEILING) -> Tensor:
    """Compute the peak signal-to-noise ratio of each image over masked pixels.

    Args:
        image, target: B,C,H,W float in 0..1.
        mask: B,1,H,W; None means every pixel.
        ceiling: dB given to identical pictures.

    Returns:
        B float64 dB; NaN where the mask is empty.
    """
    return psnr_from_mse(mse255(image, target, mask), ceiling)
