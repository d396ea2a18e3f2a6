"""What films are made from: a camera by its name, the samples of a segment, and whether a model can read them."""

from __future__ import annotations

from avatarzoo.batch import HeadBatch, lookup
from avatarzoo.capture import CameraTable
from avatarzoo.datamodules.base import Capture, Sample
from avatarzoo.errors import ConfigError, DataError, did_you_mean
from avatarzoo.models.base import Avatar


def camera_named(name: str | None, table: CameraTable) -> str:
    """Return the camera that a name means.

    Args:
        name: of a camera or a view; None for the view "Front", or else the first camera.
        table: the capture's cameras.

    Raises:
        ConfigError: there is none.
    """
    name = table.views.get("Front", table.names[0]) if name is None else table.views.get(name, name)
    if name not in table.names:
        known = [*table.names, *table.views]
        raise ConfigError(f"There is no camera {name!r}.{did_you_mean(name, known, all_of='Cameras and views')}")
    return name


def segment_samples(capture: Capture, segment: str, split: str | None = None) -> list[Sample]:
    """Return the samples of a segment.

    Args:
        capture: prepared.
        segment: its name.
        split: "train", "val" or "test"; None for all, as a video is one segment of which a part is held out.

    Raises:
        ConfigError: there is no such split.
        DataError: the capture has none.
    """
    if split is not None and split not in capture.splits:
        raise ConfigError(f"split={split} is not known.{did_you_mean(split, capture.splits)}")
    samples = [s for name, some in capture.splits.items() if split in (None, name) for s in some]
    found = [s for s in samples if s.segment == segment]
    if not found:
        where = "capture" if split is None else f"capture's split {split!r}"
        raise DataError(f"The {where} has no segment {segment!r}.{did_you_mean(segment, {s.segment for s in samples})}")
    return found


def check_inputs(model: Avatar, batch: HeadBatch, driven: bool) -> None:
    """Check that a batch holds what a model reads.

    Args:
        model: to render it.
        batch: one sample.
        driven: by a segment; else the checkpoint alone gave it.

    Raises:
        ConfigError: something is missing.
    """
    missing = [p for p in model.requires if not p.endswith("?") and lookup(batch, p) is None]
    if missing:
        raise ConfigError(
            f"This model needs {', '.join(missing)}, which the {'segment' if driven else 'checkpoint alone'} does not give"
            f"{'.' if driven else '; say segment=NAME to be driven by a capture.'}"
        )
