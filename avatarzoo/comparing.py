"""Film a segment as one of the capture's cameras saw it: the truth, the avatar, and the error, side by side."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.progress import Progress

from avatarzoo import pictures
from avatarzoo.capture import CameraTable
from avatarzoo.datamodules.base import Capture
from avatarzoo.errors import ConfigError, DataError
from avatarzoo.film import check_count, open_film
from avatarzoo.film_inputs import camera_named, check_inputs, segment_samples
from avatarzoo.models.base import Avatar


def camera_of(path: str | None, table: CameraTable) -> str:
    """Return the camera to compare with: the one a path names, else the view "Front", else the first.

    Args:
        path: "camera:NAME" of a camera or a named view, or None.
        table: the capture's cameras.

    Raises:
        ConfigError: another path, or an unknown camera.
    """
    if path is None:
        return camera_named(None, table)
    kind, _, name = path.partition(":")
    if kind != "camera":
        raise ConfigError(f"what=compare path={path}: the truth stands where a camera stood; give path=camera:NAME.")
    return camera_named(name, table)


def film_comparison(
    model: Avatar,
    capture: Capture,
    segment: str,
    camera: str,
    out: Path,
    fps: int,
    device: str,
    quiet: bool = False,
    split: str | None = None,
) -> Path:
    """Film truth, avatar and error, four times the mean absolute difference of R, G and B as heat.

    Args:
        model: on the device.
        capture: prepared.
        segment: whose frames are shown, in order.
        camera: whose pictures are the truth.
        out: see ``rendering.render``.
        fps: pictures per second.
        device: where to compute.
        quiet: no progress bar.
        split: of which frames are shown; None shows the whole segment.

    Returns:
        What was written.

    Raises:
        ConfigError: the model needs more than the segment gives, or several pictures for one file.
        DataError: the capture has no such segment, or no pictures of it by this camera.
    """
    samples = segment_samples(capture, segment, split)
    chosen = sorted((s for s in samples if s.camera == camera), key=lambda s: s.frame)
    if not chosen:
        others = sorted({s.camera for s in samples})
        raise DataError(f"Camera {camera!r} has no pictures of segment {segment!r}; these have: {', '.join(others)}.")
    check_count(out, len(chosen))
    with Progress(disable=quiet) as bar, open_film(out, fps) as film:
        for sample in bar.track(chosen, description="rendering compare"):
            batch = capture.read(sample)
            check_inputs(model, batch, driven=True)
            batch = batch.to(device)
            truth = pictures.to_picture(batch.view.image[0])  # type: ignore[union-attr,index]
            drawn = pictures.to_picture(model.render(batch).image[0])  # type: ignore[index]
            row = torch.cat([truth, drawn, pictures.error_heat(drawn, truth)], dim=1)
            height, width = (side - side % 2 for side in row.shape[:2])  # video wants even sides
            film.add(pictures.to_uint8(row[:height, :width]))
    return out
