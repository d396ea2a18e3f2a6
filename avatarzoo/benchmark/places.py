"""Which test pictures stand for a whole run: one expression, seen from the named views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST = 5  #: pictures


def places(record: Mapping[str, Any]) -> list[str]:
    """Return the pictures that a strip shows, as SEGMENT/CAMERA/FRAME: the middle expression in the named views.

    Args:
        record: of any run; the choice is the same for all records of one split.
    """
    metrics = record["metrics"]
    frames = sorted(metrics["frames"])
    if not frames:
        return []
    segment, _, frame = frames[len(frames) // 2].rpartition("/")
    named = {view: {k: v for k, v in values.items() if k != "regions"} for view, values in metrics["views"].items()}
    # A record names views and cameras apart; a view is the camera with the same numbers.
    cameras = [next((c for c, v in metrics["cameras"].items() if v == values), None) for values in named.values()]
    chosen = [c for c in dict.fromkeys(cameras) if c is not None] or sorted(metrics["cameras"])
    return [f"{segment}/{camera}/{frame}" for camera in chosen[:MOST]]
