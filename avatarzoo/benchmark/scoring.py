"""Numbers of single pictures: stored predictions against the capture's pictures, under one protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor

from avatarzoo.batch import HeadBatch
from avatarzoo.benchmark.predictions import read_prediction
from avatarzoo.benchmark.protocol import Protocol
from avatarzoo.benchmark.regions import draw_footprint, draw_tracked, fixed_rasterizer, split_regions
from avatarzoo.capture import CaptureSummary
from avatarzoo.datamodules.base import Capture, Sample
from avatarzoo.errors import DataError
from avatarzoo.metrics import lpips_distance, spread_sums, squared_error, ssim, why_unavailable
from avatarzoo.metrics.lpips import NETS


@dataclass
class RegionScore:
    """Sums over one region of one picture.

    Attributes:
        pixels: number of pixels.
        squared: sum of squared errors over pixels and channels, 0..255 scale.
        predicted, truth: count, sum and sum of squares of red minus blue, in units of 255.
    """

    pixels: int
    squared: float
    predicted: tuple[float, float, float]
    truth: tuple[float, float, float]


@dataclass
class ImageScore:
    """Numbers of one picture under one protocol.

    Attributes:
        sample: which picture.
        pixels: that count.
        covered: of these, how many the model covers.
        squared: sum of squared errors over pixels and channels, 0..255 scale.
        ssim: or NaN where no window fits.
        lpips: by metric id; ids whose weights are missing are absent.
        regions: by name; they divide the pixels.
    """

    sample: Sample
    pixels: int
    covered: int
    squared: float
    ssim: float
    lpips: dict[str, float] = field(default_factory=dict)
    regions: dict[str, RegionScore] = field(default_factory=dict)

    @property
    def mse(self) -> float:
        """Mean squared error on the 0..255 scale; NaN without pixels."""
        return self.squared / (3 * self.pixels) if self.pixels else float("nan")


def perceptual_nets() -> tuple[list[str], dict[str, str]]:
    """Return the ids of the perceptual metrics that can be computed here, and why the others cannot, by id."""
    reasons = {name: why_unavailable(net) for name, net in NETS.items()}
    return [n for n, why in reasons.items() if why is None], {n: why for n, why in reasons.items() if why}


def score_image(
    predicted: Tensor,
    covered: Tensor,
    batch: HeadBatch,
    tracked: tuple[Tensor, Tensor],
    protocol: Protocol,
    summary: CaptureSummary,
    sample: Sample,
    nets: Sequence[str] = (),
) -> ImageScore:
    """Compare one stored prediction with the capture's picture.

    Args:
        predicted: 1,3,H,W float32 in 0..1.
        covered: 1,1,H,W bool.
        batch: of size 1, with view.image.
        tracked: from ``draw_tracked``.
        protocol: says which pixels count.
        summary: of the capture scored on.
        sample: which picture it is.
        nets: perceptual metrics to compute, from ``perceptual_nets``.
    """
    truth, scored = what_counts(batch, covered, tracked, protocol, summary)
    predicted = torch.where(covered, predicted, 0.0)
    parts = split_regions(scored, *tracked, summary)
    regions = {name: _region(predicted, truth, mask) for name, mask in parts.items()}
    return ImageScore(
        sample=sample,
        pixels=int(scored.sum()),
        covered=int((scored & covered).sum()),
        squared=float(squared_error(predicted, truth, scored)[0]),
        ssim=float(ssim(predicted, truth, scored)),
        lpips={name: float(lpips_distance(predicted, truth, scored, NETS[name])) for name in nets},
        regions=regions,
    )


def what_counts(
    batch: HeadBatch, covered: Tensor, tracked: tuple[Tensor, Tensor], protocol: Protocol, summary: CaptureSummary
) -> tuple[Tensor, Tensor]:
    """Return the picture a protocol compares with, and the pixels that count.

    Args:
        batch, covered, tracked, protocol, summary: see ``score_image``.

    Returns:
        1,3,H,W float32 in 0..1, in steps of 1/255 as predictions are, and 1,1,H,W bool.
    """
    truth = (protocol.truth(batch.view).clamp(0, 1) * 255).round() / 255  # type: ignore[arg-type]
    counted = protocol.select(
        batch.view,  # type: ignore[arg-type]
        tracked[0],
        covered,
        lambda: draw_footprint(batch, summary, fixed_rasterizer()),
    )
    return truth, counted


def _region(predicted: Tensor, truth: Tensor, mask: Tensor) -> RegionScore:
    sums = [spread_sums(picture, mask) for picture in (predicted, truth)]
    plain = [(float(s.count), float(s.total), float(s.squares)) for s in sums]
    return RegionScore(int(mask.sum()), float(squared_error(predicted, truth, mask)[0]), *plain)


def score_files(
    capture: Capture,
    out: Path,
    protocols: Sequence[Protocol],
    split: str = "test",
    nets: Sequence[str] = (),
    device: str | torch.device = "cpu",
    quiet: bool = False,
) -> dict[str, list[ImageScore]]:
    """Score the predictions of a folder.

    Args:
        capture: prepared; its pictures are the truth.
        out: folder that ``write_predictions`` filled.
        protocols: each gives its own numbers from the same files.
        split: of the capture.
        nets: perceptual metrics to compute.
        device: where to compute.
        quiet: no progress bar.

    Returns:
        One entry per picture, by protocol id.

    Raises:
        DataError: a prediction is missing or of another size, or the capture has no pictures.
    """
    found: dict[str, list[ImageScore]] = {p.registered_name: [] for p in protocols}
    rasterizer = fixed_rasterizer()
    for sample, batch in _read(capture, capture.splits[split], quiet):
        batch = batch.to(device)
        if batch.view is None or batch.view.image is None:
            raise DataError(f"{capture.summary.name!r} gives no pictures, so there is nothing to score against.")
        predicted, covered = read_prediction(out, sample, batch.view.image.shape[2:])  # type: ignore[arg-type]
        tracked = draw_tracked(batch, capture.summary, rasterizer)
        for protocol in protocols:
            found[protocol.registered_name].append(
                score_image(
                    predicted.to(device), covered.to(device), batch, tracked, protocol, capture.summary, sample, nets
                )
            )
    return found


def _read(capture: Capture, samples: Sequence[Sample], quiet: bool) -> Iterator[tuple[Sample, HeadBatch]]:
    with Progress(disable=quiet) as bar:
        for sample in bar.track(samples, description="scoring"):
            yield sample, capture.read(sample)
