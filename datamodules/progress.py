"""A progress bar for whatever takes over two seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PATIENCE = 2.0  # seconds without a bar


def track(items: Sequence[Any], title: str) -> Iterator[Any]:
    """Go through a sequence; after two seconds show how far it is and how long it will take.

    Args:
        items: gone through once, in order.
        title: shown beside the bar.

    Yields:
        The items.
    """
    started, bar, task = time.monotonic(), None, None
    silent = os.environ.get("LOCAL_RANK", "0") != "0"  # one bar for all processes of a run
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        for index, item in enumerate(items):
            if bar is None and not silent and time.monotonic() - started > PATIENCE:
                bar = Progress(*columns)
                bar.start()
                task = bar.add_task(title, total=len(items), completed=index)
            yield item
            if bar is not None and task is not None:
                bar.update(task, completed=index + 1)
    finally:
        if bar is not None:
            bar.stop()
