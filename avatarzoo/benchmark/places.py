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
    chosen: list[str] = []
    for values in metrics["views"].values():
        numbers = {key: value for key, value in values.items() if key != "regions"}
        # A record names views and cameras apart; a view is the camera with the same numbers.
        chosen += [c for c, v in metrics["cameras"].items() if v == numbers and c not in chosen][:1]
    return [f"{segment}/{camera}/{frame}" for camera in (chosen or sorted(metrics["cameras"]))[:MOST]]
