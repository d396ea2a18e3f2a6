"""torchmetrics classes over the pure functions: states are sums, so processes add up to the same number as one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from avatarzoo.metrics.colour import spread_sums
from avatarzoo.metrics.error import mse255, psnr, psnr_from_mse, squared_error
from avatarzoo.metrics.lpips import lpips_distance
from avatarzoo.metrics.ssim import ssim


class _Sums(Metric):
    """Keep named sums in float64."""

    is_differentiable = False
    full_state_update = False

    def __init__(self, *names: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in names:
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")


class _ImageMean(_Sums):
    """Mean over images of a per-image value; images whose value is NaN (an empty mask) are left out."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("total", "images", **kwargs)

    def values(self, image: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        raise NotImplementedError

    def update(self, image: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            image, target: B,3,H,W float in 0..1.
            mask: B,1,H,W; None means every pixel.
        """
        values = self.values(image, target, mask).double()
        known = ~values.isnan()
        self.total += values[known].sum()
        self.images += known.sum()

    def compute(self) -> Tensor:
        """Return the mean over images, a float64 scalar; NaN before any image."""
        return self.total / self.images


class MaskedMSE(_ImageMean):
    """Mean over images of the squared error on the 0..255 scale."""

    higher_is_better = False

    def values(self, image: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """Return one value per image."""
        return mse255(image, target, mask)


class MaskedPSNR(_ImageMean):
    """Mean over images of the PSNR in dB."""

    higher_is_better = True

    def values(self, image: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """Return one value per image."""
        return psnr(image, target, mask)


class MaskedSSIM(_ImageMean):
    """Mean over images of the structural similarity inside masks."""

    higher_is_better = True

    def values(self, image: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """Return one value per image."""
        return ssim(image, target, mask)


class MaskedLPIPS(_ImageMean):
    """Mean over images of the perceptual distance; building it fails when the weights are not on disk."""

    higher_is_better = False

    def __init__(self, net: str = "alex", network: torch.nn.Module | None = None, **kwargs: Any) -> None:
        """Load the network.

        Args:
            net: "alex" or "vgg".
            network: see ``lpips_distance``.
            kwargs: of ``torchmetrics.Metric``.

        Raises:
            BackendError: the weights are absent or damaged.
        """
        super().__init__(**kwargs)
        from avatarzoo.metrics.lpips import load_net

        self.net = net
        self.network = load_net(net) if network is None else network

    def values(self, image: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """Return one value per image."""
        return lpips_distance(image, target, mask, self.net, self.network.to(image.device))


class PooledPSNR(_Sums):
    """PSNR in dB of the squared error pooled over all masked pixels of all images."""

    higher_is_better = True

    def __init__(self, **kwargs: Any) -> None:
        """Start empty.

        Args:
            kwargs: of ``torchmetrics.Metric``.
        """
        super().__init__("total", "count", **kwargs)

    def update(self, image: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
        """Add a batch; arguments as in ``mse255``."""
        total, count = squared_error(image, target, mask)
        self.total += total.sum()
        self.count += count.sum()

    def compute(self) -> Tensor:
        """Return dB, a float64 scalar; NaN before any pixel."""
        return psnr_from_mse(self.total / self.count)


class SpreadRatio(_Sums):
    """Predicted over true standard deviation of red minus blue, over all masked pixels of all images."""

    higher_is_better = None

    def __init__(self, **kwargs: Any) -> None:
        """Start empty.

        Args:
            kwargs: of ``torchmetrics.Metric``.
        """
        super().__init__("count", "total", "squares", "true_total", "true_squares", **kwargs)

    def update(self, image: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
        """Add a batch; arguments as in ``spread_ratio``."""
        predicted, truth = spread_sums(image, mask), spread_sums(target, mask)
        self.count += predicted.count.sum()
        self.total += predicted.total.sum()
        self.squares += predicted.squares.sum()
        self.true_total += truth.total.sum()
        self.true_squares += truth.squares.sum()

    def compute(self) -> Tensor:
        """Return the ratio, a float64 scalar; NaN when the truth has no spread."""
        predicted = (self.squares / self.count - (self.total / self.count) ** 2).clamp(min=0).sqrt()
        truth = (self.true_squares / self.count - (self.true_total / self.count) ** 2).clamp(min=0).sqrt()
        return predicted / truth if truth > 0 else torch.full_like(truth, torch.nan)
