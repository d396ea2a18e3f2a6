"""Options that came after configs had been written, and what a config from before means without them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: (kind, component) -> options with the value that reproduces what the component did before it had them.
LATER: dict[tuple[str, str], dict[str, Any]] = {("driver", "flame"): {"unit": "value"}}


def complete(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored config with the options it was written before, set to what they did then.

    A default serves new runs: it may differ from what was the only way when a run was trained.

    Args:
        stored: a config as a run or a checkpoint holds it.
    """
    config = dict(stored)
    for (kind, name), options in LATER.items():
        node = config.get(kind)
        if isinstance(node, Mapping) and node.get("name") == name:
            config[kind] = options | dict(node)
    return config
