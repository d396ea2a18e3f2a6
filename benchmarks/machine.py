"""How fast this machine multiplies and copies on one thread: the floors that benchmarks stand beside."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch


def best(work: Callable[[], Any]) -> float:
    """Return the shortest of some runs, CPU ms."""
    times = []
    for _ in range(7):
        start = time.process_time()
        work()
        times.append(1e3 * (time.process_time() - start))
    return min(times)


def rates() -> tuple[float, float]:
    """Return multiply-adds and bytes per millisecond of a large matrix product and a large copy, best of some."""
    a, b, c, d = torch.randn(1024, 1024), torch.randn(1024, 1024), torch.ones(1 << 24), torch.empty(1 << 24)
    return 1024**3 / best(lambda: a @ b), 2 * 4 * (1 << 24) / best(lambda: d.copy_(c))
