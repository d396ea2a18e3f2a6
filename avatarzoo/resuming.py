"""What a run may change when it is resumed: nothing that would change a step, because resuming is exact."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from avatarzoo import checkpoint
from avatarzoo.capture import CaptureSummary
from avatarzoo.datamodules.base import Capture
from avatarzoo.errors import ConfigError, DataError
from avatarzoo.learned import is_free
from avatarzoo.schema import check_config

TOLERANCE = 1e-4  #: mean difference of a statistic in units of its mean size; another machine rounds its sums differently
SHOWN = 4  #: differences a message lists
ESTIMATED = {"motion_per_unit"}  #: of a summary: follows from the rest, and a version may estimate it differently


def check_resumable(content: Mapping[str, Any], path: Path) -> None:
    """Check that a checkpoint holds more than weights: a run goes on with its optimizers as they were.

    Args:
        content: of the checkpoint.
        path: of the checkpoint, for the message.

    Raises:
        ConfigError: it is a snapshot, or something else without the optimizers' state.
    """
    if "optimizer_states" in content:
        return
    last = path.with_name("last.ckpt")
    advice = f"Resume {last}" if last != path and last.is_file() else "Start a new run without resume="
    raise ConfigError(
        f"{path} holds weights alone, as snapshots do, and no optimizer state to go on with. {advice}; avatarzoo test and "
        "render read it as it is."
    )


def check_resumed(config: Mapping[str, Any], before: Mapping[str, Any], path: Path) -> None:
    """Compare the config of a run that is resumed with the one it was started with, but for what changes no step.

    The number of processes is compared itself (``ZooModule.on_load_checkpoint``), not by the key that asks for it.

    Args:
        config: of the sitting that begins.
        before: from the checkpoint; options it lacks, because an older version wrote it, count as their defaults.
        path: of the checkpoint, for the message.

    Raises:
        ConfigError: an option differs that changes what is learned; each is named with both values.
    """
    now, then = (check_config(checkpoint.plain(c)) for c in (config, before))
    new, old = (dict(_leaves(c)) for c in (now, then))
    keys = [key for key in dict.fromkeys([*old, *new]) if not is_free(key)]
    values = [(key, *(repr(side[key]) if key in side else "not set" for side in (old, new))) for key in keys]
    said = [f"{key} was {was} and is now {now_is}" for key, was, now_is in values if was != now_is]
    if list(now["phases"]) != list(then["phases"]):
        said.insert(0, f"phases were {', '.join(then['phases'])} and are now {', '.join(now['phases'])}")
    if said:
        more = f"; and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
        raise ConfigError(
            f"A resumed run continues exactly, but not all is as {path} was trained: {'; '.join(said[:SHOWN])}{more}. "
            f"Leave {'it' if len(said) == 1 else 'them'} as before, or start a new run without resume=."
        )


def check_goes_on(config: Mapping[str, Any], reached: int, path: Path) -> None:
    """Check that a run which is resumed does not end before where it stands.

    Args:
        config: of the sitting that begins.
        reached: steps the checkpoint has done.
        path: of the checkpoint, for the message.

    Raises:
        ConfigError: trainer.max_steps is less.
    """
    end = (config.get("trainer") or {}).get("max_steps")
    if end is not None and end < reached:
        raise ConfigError(
            f"{path} has done {reached:,} steps, and trainer.max_steps={end} ends before that; give more, or leave it out."
        )


def check_same_capture(capture: Capture, record: Mapping[str, Any], path: Path) -> CaptureSummary:
    """Compare a prepared capture with the one a checkpoint was trained on.

    Args:
        capture: prepared.
        record: the checkpoint's entry "avatarzoo".
        path: of the checkpoint, for the message.

    Returns:
        The checkpoint's summary, to bind to: the same statistics to the last bit.

    Raises:
        DataError: the capture has other statistics, cameras or topology, or other training pictures.
    """
    stored = CaptureSummary.from_plain(record["summary"])
    advice = "Point data.root at the capture it was trained on, or start a new run without resume=."
    samples = record.get("train_samples")
    if samples is not None and samples != train_samples(capture):
        counts = f"{samples['count']} then, {len(capture.splits['train'])} now"
        raise DataError(
            f"{path} was trained on other pictures than data={capture.summary.name} gives ({counts}, in order): "
            f"a resumed run sees the same ones. {advice}"
        )
    known = {f.name for f in fields(CaptureSummary)} - ESTIMATED
    kept = {key: value for key, value in record["summary"].items() if key in known}  # versions add and drop statistics
    now_plain = {key: value for key, value in capture.summary.to_plain().items() if key in kept}
    for key, then, now in _differences("", kept, now_plain):
        raise DataError(
            f"{path} was trained on another capture than data={capture.summary.name}: {key} was {_short(then)} and is now "
            f"{_short(now)}. {advice}"
        )
    return stored


def train_samples(capture: Capture) -> dict[str, Any]:
    """Return count and SHA-256 of the training samples in order: what a step sees follows from them, seed and iteration.

    Args:
        capture: prepared.
    """
    names = "\n".join(f"{s.segment}/{s.frame}/{s.camera}" for s in capture.splits["train"])
    return {"count": len(capture.splits["train"]), "sha256": hashlib.sha256(names.encode()).hexdigest()}


def _leaves(node: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{where}{key}.")
        else:
            yield f"{where}{key}", value


def _differences(where: str, then: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield what differs, by dotted path; the capture's own name may change with its folder's."""
    if where in ("name", "tables.subject"):
        return
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*then, *now]):
            yield from _differences(f"{where}.{key}" if where else key, then.get(key), now.get(key))
    elif not _equal(then, now):
        yield where, then, now


def _equal(then: Any, now: Any) -> bool:
    if not isinstance(then, Tensor) or not isinstance(now, Tensor):
        if isinstance(then, float) and isinstance(now, float):
            return abs(then - now) <= TOLERANCE * abs(then)
        return type(then) is type(now) and then == now
    if then.shape != now.shape or then.dtype != now.dtype:
        return False
    if not then.is_floating_point():
        return bool((then == now).all())
    return float((then - now).abs().mean()) <= TOLERANCE * float(then.abs().mean()) if then.numel() else True


def _short(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of mean {float(value.double().mean()):.6g}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
