"""Predictions on disk: every test picture of a model as PNG files, which scores are then made from."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import Progress
from torch import Tensor

from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.datamodules.base import Sample, ZooData
from avatarzoo.errors import DataError, NonFiniteError
from avatarzoo.models.base import Avatar

PICTURES, MASKS = "predictions", "coverage"


@dataclass
class Timing:
    """How long rendering took, files not counted.

    Attributes:
        seconds: of each batch, in order; the first holds compilations.
        images: of each batch.
    """

    seconds: list[float] = field(default_factory=list)
    images: list[int] = field(default_factory=list)

    def ms_per_image(self) -> float:
        """Return the median over batches, without the first when there are others."""
        each = [1000 * s / n for s, n in zip(self.seconds, self.images, strict=True)]
        return float(np.median(each[1:] or each))


def coverage_of(prediction: Prediction) -> Tensor:
    """Return where a model put something: its coverage, else alpha of at least one half, else everywhere.

    Args:
        prediction: from ``Avatar.render``.

    Returns:
        B,1,H,W bool.
    """
    for given in (prediction.coverage, prediction.alpha):
        if given is not None:
            return given if given.dtype == torch.bool else given >= 0.5
    image = prediction.image
    return torch.ones_like(image[:, :1], dtype=torch.bool)  # type: ignore[index]


def paths(out: Path, sample: Sample) -> tuple[Path, Path]:
    """Return the files of one sample: its picture and its coverage mask."""
    tail = Path(sample.segment) / sample.camera / f"{sample.frame}.png"
    return out / PICTURES / tail, out / MASKS / tail


def write_predictions(
    model: Avatar, data: ZooData, out: Path, split: str = "test", device: str | torch.device = "cpu", quiet: bool = False
) -> Timing:
    """Render every sample of a split and write pictures and coverage masks.

    Args:
        model: in evaluation mode, on ``device``.
        data: over a prepared capture; its batch size and workers are used.
        out: folder; gets predictions/SEGMENT/CAMERA/FRAME.png and coverage/ alike.
        split: of the capture.
        device: where to render.
        quiet: no progress bar.

    Returns:
        Seconds per batch.

    Raises:
        NonFiniteError: a covered pixel is not a finite number.
        DataError: the split is empty.
    """
    samples, timing, done = data.capture.splits[split], Timing(), 0
    if not samples:
        raise DataError(f"The capture's {split} split is empty; name segments with data.{split}_segments=[...].")
    with Progress(disable=quiet) as bar:
        task = bar.add_task("rendering", total=len(samples))
        for batch in data.batches(split):
            prediction = _timed(model, batch.to(device), timing)
            here = samples[done : done + batch.size]
            _write(prediction, here, out)
            done += batch.size
            bar.advance(task, batch.size)
    return timing


def _timed(model: Avatar, batch: HeadBatch, timing: Timing) -> Prediction:
    on_gpu = batch.meta.frame.is_cuda
    if on_gpu:
        torch.cuda.synchronize()
    start = time.perf_counter()
    with torch.no_grad():
        prediction = model.render(batch)
    if on_gpu:
        torch.cuda.synchronize()
    timing.seconds.append(time.perf_counter() - start)
    timing.images.append(batch.size)
    return prediction


def _write(prediction: Prediction, samples: list[Sample], out: Path) -> None:
    covered = coverage_of(prediction)
    image = torch.where(covered, prediction.image.float(), 0.0)  # type: ignore[union-attr]
    for index, sample in enumerate(samples):
        if not torch.isfinite(image[index]).all():
            where = f"{sample.segment}/{sample.frame}/{sample.camera}"
            raise NonFiniteError(f"The model's picture of {where} holds values that are not finite; nothing was scored.")
    pictures = (image.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    masks = (covered[:, 0].byte() * 255).cpu().numpy()
    for picture, mask, sample in zip(pictures, masks, samples, strict=True):
        for array, path in zip((picture, mask), paths(out, sample), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path, compress_level=1)


def read_prediction(out: Path, sample: Sample, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Read one stored prediction.

    Args:
        out: folder that ``write_predictions`` filled.
        sample: which.
        size: (height, width) it has to have.

    Returns:
        The picture (1,3,H,W float32 in 0..1) and the coverage (1,1,H,W bool).

    Raises:
        DataError: a file is missing, unreadable or of another size.
    """
    found = []
    for path, mode in zip(paths(out, sample), ("RGB", "L"), strict=True):
        if not path.is_file():
            raise DataError(f"{path} is missing; score writes it when it renders, so render again.")
        try:
            array = np.array(Image.open(path).convert(mode))
        except (OSError, SyntaxError) as error:
            raise DataError(f"{path} cannot be read as PNG ({error}); render again.") from error
        if array.shape[:2] != tuple(size):
            raise DataError(f"{path} is {array.shape[:2]} pixels, the capture's picture is {tuple(size)}; use one size.")
        found.append(torch.from_numpy(array))
    picture = found[0].permute(2, 0, 1)[None].float() / 255
    return picture, found[1][None, None] > 127


def checksums(out: Path, samples: list[Sample]) -> str:
    """Write checksums.sha256 over the stored files, as ``sha256sum -c`` reads it, and return its own sha256.

    Args:
        out: folder that ``write_predictions`` filled.
        samples: those that were rendered; other files in the folder are left out.
    """
    files = sorted(path for sample in samples for path in paths(out, sample))
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(out).as_posix()}\n" for p in files]
    text = "".join(lines)
    (out / "checksums.sha256").write_text(text, encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()
