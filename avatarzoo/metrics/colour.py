"""Spread of a colour difference over a region: tells grey eyes from blue ones where PSNR does not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from avatarzoo.metrics.error import check_pictures


@dataclass(frozen=True)
class SpreadSums:
    """Sums from which a standard deviation is made; they add over images and processes.

    Attributes:
        count: number of pixels.
        total: sum of the difference, in units of 255.
        squares: sum of its square.
    """

    count: Tensor
    total: Tensor
    squares: Tensor

    def std(self) -> Tensor:
        """Return the population standard deviation in units of 255; NaN without pixels."""
        mean = self.total / self.count
        return (self.squares / self.count - mean**2).clamp(min=0).sqrt()


def spread_sums(image: Tensor, mask: Tensor | None = None, channels: tuple[int, int] = (0, 2)) -> SpreadSums:
    """Sum the difference of two channels over a region.

    Args:
        image: B,3,H,W float in 0..1.
        mask: B,1,H,W; None means every pixel.
        channels: the difference is channel [0] minus channel [1]; red minus blue by default.

    Returns:
        Sums, each B float64.
    """
    mask = check_pictures(image, image, mask)[:, 0]
    difference = torch.where(mask, 255 * (image[:, channels[0]].double() - image[:, channels[1]].double()), 0.0)
    return SpreadSums(
        mask.sum(dim=(1, 2), dtype=torch.float64), difference.sum(dim=(1, 2)), difference.square().sum(dim=(1, 2))
    )


def channel_spread(image: Tensor, mask: Tensor | None = None, channels: tuple[int, int] = (0, 2)) -> Tensor:
    """Return the standard deviation of a channel difference over a region of each image.

    Args:
        image: B,3,H,W float in 0..1.
        mask: B,1,H,W; None means every pixel.
        channels: red minus blue by default.

    Returns:
        B float64 in units of 255; NaN where the mask is empty.
    """
    return spread_sums(image, mask, channels).std()


def spread_ratio(image: Tensor, target: Tensor, mask: Tensor | None = None, channels: tuple[int, int] = (0, 2)) -> Tensor:
    """Return predicted over true spread of a channel difference, per image.

    Args:
        image, target: B,3,H,W float in 0..1.
        mask: B,1,H,W; None means every pixel.
        channels: red minus blue by default.

    Returns:
        B float64: 1 is right, 0 is a grey region; NaN where the mask is empty or the truth has no spread.
    """
    truth = channel_spread(target, mask, channels)
    return torch.where(truth > 0, channel_spread(image, mask, channels) / truth, torch.nan)
