"""Whether a row is its recipe as it stands or changes it: published numbers and timings belong to the recipe alone."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from avatarzoo.benchmark.leaderboard.rows import Row
from avatarzoo.config import load
from avatarzoo.errors import AvatarZooError
from avatarzoo.learned import FREE, KERNELS, without
from avatarzoo.schema import COMPONENTS

#: Nodes of a config that define a model and how it learns.
DEFINING = (*(node for node in COMPONENTS if node != "data"), "phases")
#: Nodes beside them that hold options of a step.
BESIDE = ("loader", "trainer")
#: What is the runner's choice, beside what changes no step.
RUNNERS = ("data", "seed", "trainer.precision")


def own_recipe(row: Row, timed: bool = False) -> str | None:
    """Return the name of a row's recipe where the row changed nothing of what is learned, else None.

    Args:
        row: of a leaderboard. A record that keeps no model in its config is taken at its word.
        timed: its kernels have to be the recipe's too: they learn the same, in another time.
    """
    config = row.first["config"]
    if "model" not in config:
        return row.recipe
    own = recipe_config(row.recipe, str(row.first["scale"]))
    if own is None:
        return None
    nodes = [*DEFINING, *(node for node in BESIDE if node in config)]
    free = [key for key in (*FREE, *RUNNERS) if not (timed and key in KERNELS)]
    said, as_is = (without({n: c[n] for n in nodes if c.get(n) is not None}, free) for c in (config, own))
    return None if changed(said, as_is) else row.recipe


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
