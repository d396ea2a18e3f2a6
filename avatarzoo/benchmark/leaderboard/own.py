"""Whether a row is its recipe as it stands or changes it: published numbers and timings belong to the recipe alone."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from avatarzoo.benchmark.leaderboard.rows import Row
from avatarzoo.config import load
from avatarzoo.errors import AvatarZooError
from avatarzoo.schema import COMPONENTS

#: Nodes of a config that define a model and how it learns; data, seed, budget and machine are the runner's choice.
DEFINING = (*(node for node in COMPONENTS if node != "data"), "phases")


def own_recipe(row: Row) -> str | None:
    """Return the name of a row's recipe where the row changed nothing that defines the model, else None.

    Args:
        row: of a leaderboard. A record that keeps no model in its config is taken at its word.
    """
    config = row.first["config"]
    if "model" not in config:
        return row.recipe
    own = recipe_config(row.recipe, str(row.first["scale"]))
    if own is None:
        return None
    said = {node: config[node] for node in DEFINING if config.get(node) is not None}
    return None if changed(said, {node: own[node] for node in DEFINING if own.get(node) is not None}) else row.recipe


@functools.cache
def recipe_config(name: str, scale: str) -> Mapping[str, Any] | None:
    """Return a shipped recipe as it stands; None where there is none of that name, as for a file of somebody's own.

    Args:
        name: from a record.
        scale: "small" or "paper".
    """
    if "/" in name or name.endswith((".yaml", ".yml")):
        return None
    try:
        return load(name, [f"scale={scale}"]).resolved
    except AvatarZooError:
        return None


def changed(said: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    """Whether a config departs from a recipe.

    Args:
        said: nodes of a record's config, resolved.
        own: the same nodes of the recipe. An option that only these have is newer than the record; a component, phase or
            loss term that only these have was taken out.
    """
    for key, value in said.items():
        if key not in own:
            if value is not None:
                return True
        elif isinstance(value, Mapping) and isinstance(own[key], Mapping):
            if changed(value, own[key]):
                return True
        elif value != own[key]:
            return True
    return any(isinstance(value, Mapping) and key not in said for key, value in own.items())
