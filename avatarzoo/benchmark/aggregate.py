"""From numbers of single pictures to numbers of views, cameras, segments, frames and regions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from avatarzoo.benchmark.scoring import ImageScore, RegionScore
from avatarzoo.metrics import SpreadSums, psnr_from_mse
from avatarzoo.metrics.lpips import NETS

#: Regions whose colours are checked by the spread of red minus blue.
SPREAD_REGIONS = ("eyes", "mouth")


def known(value: float) -> float | None:
    """Return a number, or None where it is not finite: records hold no NaN."""
    return float(value) if math.isfinite(value) else None


def mean(values: Iterable[float]) -> float | None:
    """Return the mean of the finite values, or None without any."""
    finite = [v for v in values if math.isfinite(v)]
    return sum(finite) / len(finite) if finite else None


def decibel(mse: float) -> float:
    """Return the PSNR of a mean squared error on the 0..255 scale."""
    return float(psnr_from_mse(torch.tensor(mse, dtype=torch.float64)))


def summarise(scores: Sequence[ImageScore]) -> dict[str, Any]:
    """Average pictures.

    Args:
        scores: pictures of one group.

    Returns:
        images, pixels, coverage (share of the pixels the model covers), mse and psnr (means over images), mse_pooled and
        psnr_pooled (all pixels alike), ssim, and one entry per perceptual metric, None where it could not be computed.
    """
    seen = [s for s in scores if s.pixels]
    pixels = sum(s.pixels for s in seen)
    pooled = sum(s.squared for s in seen) / (3 * pixels) if pixels else math.nan
    values: dict[str, Any] = {
        "images": len(seen),
        "pixels": pixels,
        "coverage": sum(s.covered for s in seen) / pixels if pixels else None,
        "mse": mean(s.mse for s in seen),
        "psnr": mean(decibel(s.mse) for s in seen),
        "mse_pooled": known(pooled),
        "psnr_pooled": known(decibel(pooled)),
        "ssim": mean(s.ssim for s in seen),
    }
    return values | {name: mean(s.lpips.get(name, math.nan) for s in seen) for name in NETS}


def summarise_region(name: str, scores: Sequence[RegionScore], total_pixels: int) -> dict[str, Any]:
    """Average one region over pictures; a picture that shows none of it is left out.

    Args:
        name: of the region.
        scores: one per picture.
        total_pixels: that count in these pictures, for the region's share.

    Returns:
        As ``summarise`` without coverage and similarity, and "spread" of red minus blue for eyes and mouth.
    """
    seen = [s for s in scores if s.pixels]
    pixels = sum(s.pixels for s in seen)
    each = [s.squared / (3 * s.pixels) for s in seen]
    pooled = sum(s.squared for s in seen) / (3 * pixels) if pixels else math.nan
    values: dict[str, Any] = {
        "images": len(seen),
        "pixels": pixels,
        "share": pixels / total_pixels if total_pixels else None,
        "mse": mean(each),
        "psnr": mean(decibel(m) for m in each),
        "mse_pooled": known(pooled),
        "psnr_pooled": known(decibel(pooled)),
    }
    if name in SPREAD_REGIONS:
        values["spread"] = _spread(seen)
    return values


def _spread(scores: Sequence[RegionScore]) -> dict[str, float | None]:
    stds = []
    for which in ("predicted", "truth"):
        columns = [sum(column) for column in zip(*(getattr(s, which) for s in scores), strict=True)] or [0.0] * 3
        stds.append(float(SpreadSums(*(torch.tensor(c, dtype=torch.float64) for c in columns)).std()))
    predicted, truth = stds
    ratio = predicted / truth if truth > 0 else math.nan
    return {"predicted": known(predicted), "truth": known(truth), "ratio": known(ratio)}


def _regions(scores: Sequence[ImageScore]) -> dict[str, Any]:
    total = sum(s.pixels for s in scores)
    names = list(dict.fromkeys(name for s in scores for name in s.regions))
    return {n: summarise_region(n, [s.regions[n] for s in scores if n in s.regions], total) for n in names}


def _group(scores: Sequence[ImageScore], key: Callable[[ImageScore], str]) -> dict[str, list[ImageScore]]:
    groups: dict[str, list[ImageScore]] = {}
    for score in scores:
        groups.setdefault(key(score), []).append(score)
    return dict(sorted(groups.items()))


def aggregate(scores: Sequence[ImageScore], views: Mapping[str, str]) -> dict[str, Any]:
    """Average pictures in every grouping a record holds.

    Args:
        scores: one per picture.
        views: camera by named view; views whose camera was not scored are left out.

    Returns:
        "overall", "regions", and by name "views" (with their regions), "cameras", "segments" and "frames".
    """
    cameras = _group(scores, lambda s: s.sample.camera)
    named = {view: cameras[camera] for view, camera in views.items() if camera in cameras}
    segments = _group(scores, lambda s: s.sample.segment)
    frames = _group(scores, lambda s: f"{s.sample.segment}/{s.sample.frame}")
    return {
        "overall": summarise(scores),
        "regions": _regions(scores),
        "views": {view: summarise(group) | {"regions": _regions(group)} for view, group in named.items()},
        "cameras": {name: summarise(group) for name, group in cameras.items()},
        "segments": {name: summarise(group) for name, group in segments.items()},
        "frames": {name: summarise(group) for name, group in frames.items()},
    }
