"""Pure metric functions with masks, and thin torchmetrics classes over them."""

from avatarzoo.metrics.colour import SpreadSums, channel_spread, spread_ratio, spread_sums
from avatarzoo.metrics.error import PSNR_CEILING, mse255, psnr, psnr_from_mse, squared_error
from avatarzoo.metrics.lpips import lpips_distance, why_unavailable
from avatarzoo.metrics.ssim import ssim

__all__ = [
    "PSNR_CEILING",
    "SpreadSums",
    "channel_spread",
    "lpips_distance",
    "mse255",
    "psnr",
    "psnr_from_mse",
    "spread_ratio",
    "spread_sums",
    "squared_error",
    "ssim",
    "why_unavailable",
]
