"""Structural similarity over masks (Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 2004)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from avatarzoo.metrics.error import check_pictures

WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03


def gaussian_window(size: int = WINDOW, sigma: float = SIGMA) -> Tensor:
    """Return the normalised 1-D Gaussian (``size`` float32) whose outer product weights a window."""
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    return (weights / weights.sum()).float()


def windows_inside(mask: Tensor, size: int = WINDOW) -> Tensor:
    """Return which windows lie wholly inside a mask.

    Args:
        mask: B,1,H,W bool.
        size: side of the window in pixels.

    Returns:
        B,1,H-size+1,W-size+1 bool; entry (r, c) speaks of the window whose first pixel is (r, c).
    """
    outside = (~mask).float()
    return F.max_pool2d(outside, size, stride=1) == 0


def ssim(image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute the mean structural similarity of each image over the windows wholly inside its mask.

    Gaussian 11x11 windows of sigma 1.5, K1 = 0.01, K2 = 0.03, range 1, no padding, population covariance; the mean is over
    windows and channels. A window that touches a pixel off the mask does not count: what a model puts there cannot matter.

    Args:
        image, target: B,C,H,W float in 0..1.
        mask: B,1,H,W; None means every pixel.

    Returns:
        B float32 in -1..1; NaN for an image without a window inside its mask.
    """
    mask = check_pictures(image, target, mask)
    batch, channels, height, width = image.shape
    if min(height, width) < WINDOW:
        return torch.full((batch,), torch.nan, device=image.device)
    # Values off the mask reach no window that counts; zero them so that a NaN there cannot either.
    x, y = (torch.where(mask, p.float(), 0.0) for p in (image, target))
    kernel = gaussian_window().to(image.device)
    stacked = torch.cat([x, y, x * x, y * y, x * y]).reshape(-1, 1, height, width)
    with torch.autocast(image.device.type, enabled=False):
        smooth = F.conv2d(F.conv2d(stacked, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    mean_x, mean_y, xx, yy, xy = smooth.reshape(5, batch, channels, *smooth.shape[-2:])
    variance_x, variance_y, covariance = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    c1, c2 = K1**2, K2**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))
    inside = windows_inside(mask)
    count = inside.sum(dim=(1, 2, 3)) * channels
    return (similarity * inside).sum(dim=(1, 2, 3)) / count
