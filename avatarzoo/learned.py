"""Which options of a config change what is learned: one list, for runs that are resumed and rows that are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: What computes the same steps, equal up to rounding.
KERNELS = ("rasterizer", "encoding.backend")

#: Keys that change no step: how long a run lasts, what it shows and keeps, where it computes and where files lie.
FREE = (
    *("trainer.max_steps", "trainer.max_time", "trainer.accelerator", "trainer.devices", *KERNELS),
    *("pictures", "checkpoint", "logger", "out", "resume", "recipe", "plugins"),
    *("loader.workers", "data.root", "data.cache_dir", "data.memory_mb"),
)


def is_free(key: str, free: Iterable[str] = FREE) -> bool:
    """Whether a key is one of those that are free, or below one.

    Args:
        key: dotted.
        free: keys of options or of whole nodes.
    """
    return any(key == one or key.startswith(one + ".") for one in free)


def without(config: Mapping[str, Any], free: Iterable[str] = FREE, above: str = "") -> dict[str, Any]:
    """Return a config without the keys that are free.

    Args:
        config: resolved.
        free: see ``is_free``.
        above: dotted name of the node.
    """
    free, left = tuple(free), {}
    for key, value in config.items():
        name = f"{above}{key}"
        if not is_free(name, free):
            left[key] = without(value, free, f"{name}.") if isinstance(value, Mapping) else value
    return left
