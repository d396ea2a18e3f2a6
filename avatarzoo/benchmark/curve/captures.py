"""The capture of every run, made ready once; runs of different captures are refused before anything is scored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avatarzoo.benchmark.record import describe_data
from avatarzoo.build import build_capture
from avatarzoo.config import data_of
from avatarzoo.datamodules.base import Capture
from avatarzoo.errors import DataError

SPLIT = "test"
APART = ("options", "skipped")  #: what records say of a capture that may differ between runs that are compared


@dataclass(frozen=True)
class Scene:
    """What a run is scored on.

    Attributes:
        capture: prepared.
        about: what records will say of it.
    """

    capture: Capture
    about: dict[str, Any]


def scenes_of(configs: Iterable[tuple[Path, dict[str, Any]]], overrides: Sequence[str] = ()) -> dict[Path, Scene]:
    """Prepare the captures of runs.

    Args:
        configs: resolved config by run.
        overrides: what differs from the capture of training, for all runs, such as "data.root=DIR".

    Returns:
        By run; runs of one capture share it.

    Raises:
        DataError: two runs would be scored on different pictures.
    """
    made: dict[str, Scene] = {}
    found: dict[Path, Scene] = {}
    for run, config in configs:
        node = data_of(config, overrides)
        key = json.dumps(node, sort_keys=True, default=str)
        if key not in made:
            capture = build_capture({"data": node})
            capture.prepare()
            about = json.loads(json.dumps(describe_data(capture, dict(capture.config), SPLIT), default=str))
            made[key] = Scene(capture, about)
        found[run] = made[key]
    _check_same(found)
    return found


def _check_same(scenes: dict[Path, Scene]) -> None:
    runs = list(scenes)
    for run in runs[1:]:
        here, there = scenes[runs[0]].about, scenes[run].about
        keys = [k for k in {**here, **there} if k not in APART and here.get(k) != there.get(k)]
        if keys:
            said = "; ".join(f"{key} {_short(here.get(key))} against {_short(there.get(key))}" for key in keys)
            raise DataError(
                f"{runs[0]} and {run} would be scored on different pictures: {said}. Their numbers cannot share axes; "
                "draw a curve of each capture's runs alone."
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
