"""Codes for frames not trained on, fitted to their own pictures: test-time fitting, asked for and recorded."""

from __future__ import annotations

import torch
from rich.progress import Progress

from avatarzoo.batch import HeadBatch, collate
from avatarzoo.datamodules.base import Capture
from avatarzoo.drivers.frame_code import FrameCode
from avatarzoo.errors import ConfigError
from avatarzoo.models.base import Avatar


def frame_codes(model: Avatar) -> list[FrameCode]:
    """Return the model's drivers that look codes up by frame."""
    return [module for module in model.modules() if isinstance(module, FrameCode)]


def check_frames(model: Avatar, capture: Capture, split: str, steps: int) -> None:
    """Check, before anything is rendered, that every frame of a split has a code or that fitting was asked for.

    Args:
        model: bound.
        capture: prepared.
        split: of the capture.
        steps: of fitting; 0 = not asked for.

    Raises:
        ConfigError: a frame has no code and none is to be fitted, or fitting was asked of a model without such codes.
    """
    drivers = frame_codes(model)
    if steps and not drivers:
        raise ConfigError(
            f"fit_codes={steps} fits codes of driver=frame_code, which this model does not have; leave it out."
        )
    if drivers and not steps:
        batch = capture.read(capture.splits[split][0])
        device = next(model.parameters()).device
        for driver in drivers:
            driver(batch.to(device))


def fit_codes(
    model: Avatar,
    capture: Capture,
    split: str,
    steps: int,
    *,
    phase: str = "fit",
    batch_size: int = 4,
    lr: float = 2e-2,
    seed: int = 0,
    quiet: bool = False,
) -> None:
    """Fit codes of a split's frames by Adam on the mean absolute error of covered pixels; all else is frozen.

    Args:
        model: bound, with weights; its codes of these frames are set, and ``test_inputs`` and ``test_time_fitting`` say
            so for records.
        capture: prepared.
        split: whose frames.
        steps: of Adam, over batches drawn from the split.
        phase: of the recipe that ``Model.predict`` is asked for.
        batch_size: pictures per step.
        lr: of Adam.
        seed: of the order of pictures.
        quiet: no progress bar.
    """
    samples = capture.splits[split]
    device = next(model.parameters()).device
    frames = torch.cat([capture.read(s).driving.frame for s in samples]).to(device)  # type: ignore[union-attr]
    drivers = frame_codes(model)
    asking = {parameter: parameter.requires_grad for parameter in model.parameters()}
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for driver in drivers:
        new = driver.unknown(frames)
        with torch.no_grad():
            driver.codes[new] = driver.codes[driver.known].mean(0)
        driver.known[new] = True
        driver.codes.requires_grad_(True)
    optimizer = torch.optim.Adam([driver.codes for driver in drivers], lr=lr)
    generator = torch.Generator().manual_seed(seed)
    model.eval()
    with Progress(disable=quiet) as bar:
        for _ in bar.track(range(steps), description="fitting codes"):
            chosen = torch.randint(len(samples), (batch_size,), generator=generator).tolist()
            batch: HeadBatch = collate([capture.read(samples[i]) for i in chosen]).to(device)
            prediction = model.predict(batch, phase, {})
            covered = prediction.coverage.float()  # type: ignore[union-attr]
            error = (prediction.image - batch.view.image).abs() * covered  # type: ignore[union-attr, operator]
            optimizer.zero_grad(set_to_none=True)
            (error.sum() / (3 * covered.sum()).clamp_min(1)).backward()
            optimizer.step()
    for parameter, asked in asking.items():
        parameter.requires_grad_(asked)
    model.test_inputs = "pictures"
    model.test_time_fitting = f"frame codes: {steps} steps of Adam on the {split} split's own pictures"
