"""Published values beside ours: what a paper prints for a recipe, averaged over its subjects, and relative to its best."""

from __future__ import annotations

import functools
import statistics
from dataclasses import dataclass
from pathlib import Path

import yaml

from avatarzoo.benchmark.leaderboard.own import own_recipe
from avatarzoo.benchmark.leaderboard.rows import Group, Row

FILE = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True)
class Published:
    """One table of a paper.

    Attributes:
        source: paper and table.
        suite: that remakes it.
        protocol: id of the protocol nearest to the paper's.
        reference: recipe that the others are compared with.
        views: names of the columns.
        rows: MSE by recipe, subject and view.
    """

    source: str
    suite: str
    protocol: str
    reference: str
    views: tuple[str, ...]
    rows: dict[str, dict[str, list[float]]]

    def mse(self, recipe: str) -> float:
        """Return a recipe's MSE, the mean over subjects and views.

        Args:
            recipe: one of ``rows``.
        """
        return statistics.fmean(value for values in self.rows[recipe].values() for value in values)

    def relative(self, recipe: str) -> float:
        """Return a recipe's MSE over the reference's, minus 1.

        Args:
            recipe: one of ``rows``.
        """
        return self.mse(recipe) / self.mse(self.reference) - 1


@functools.cache
def tables() -> tuple[Published, ...]:
    """Return the published tables there are."""
    found = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return tuple(Published(**{**node, "views": tuple(node["views"])}) for node in found)


def published_for(group: Group) -> Published | None:
    """Return the published table that has most of a group's recipes (unchanged) under its protocol and views, or None.

    Args:
        group: of rows.
    """
    recipes = {own_recipe(row) for row in group.rows}
    fitting = [t for t in tables() if t.protocol == group.protocol and set(t.views) <= set(group.views)]
    known = [(len(recipes & set(t.rows)), t) for t in fitting if recipes & set(t.rows)]
    return max(known, key=lambda pair: pair[0])[1] if known else None


def mean_over_views(row: Row, views: tuple[str, ...]) -> float | None:
    """Return a row's MSE as papers average it: over the named views, each a mean over its pictures.

    Args:
        row: over its seeds.
        views: all of them have to be there.
    """
    values = [row.value("metrics", "views", view, "mse") for view in views]
    return None if any(v is None for v in values) else statistics.fmean(v.mean for v in values if v is not None)
