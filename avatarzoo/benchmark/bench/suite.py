"""Suites: YAML files that list the recipes to be compared, and what each row changes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from avatarzoo import registry
from avatarzoo.compose import one_line, parse_override
from avatarzoo.config import RECIPES, Config, load, load_plugins
from avatarzoo.errors import AvatarZooError, ConfigError, did_you_mean
from avatarzoo.schema import COMPONENTS

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
DEFAULT_PROTOCOLS = ("tracked-v1", "rasterised-v1")


@dataclass(frozen=True)
class Row:
    """One line of the table to be made.

    Attributes:
        recipe: a shipped name or the path of a YAML file.
        name: of the row and of its folder.
        overrides: ``key=value``; what is said on the command line wins over them.
        steps: length of the training whatever the others get (0 scores the model untrained), or None.
        seeds: instead of the bench's, or None.
    """

    recipe: str
    name: str
    overrides: tuple[str, ...] = ()
    steps: int | None = None
    seeds: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Suite:
    """A list of rows.

    Attributes:
        name: of the suite.
        rows: in the order they run.
        protocols: ids that each row is scored under.
    """

    name: str
    rows: tuple[Row, ...]
    protocols: tuple[str, ...] = DEFAULT_PROTOCOLS


@dataclass(frozen=True)
class Budget:
    """How long each recipe trains: so many minutes, so many steps, or (neither) as long as it says itself."""

    minutes: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.minutes is not None and self.steps is not None:
            raise ConfigError("minutes= and steps= exclude each other: equal time or equal steps.")
        for name, value in (("minutes", self.minutes), ("steps", self.steps)):
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if value is not None and (not number or value < 0 or (name == "minutes" and value == 0)):
                raise ConfigError(f"{name}={value}: expected a positive number, e.g. minutes=6 or steps=2000.")
        if self.steps is not None and int(self.steps) != self.steps:
            raise ConfigError(f"steps={self.steps}: expected a whole number.")

    def words(self) -> list[str]:
        """Return the overrides that make a run this long; timed runs draw pictures at their start and end only."""
        if self.minutes is not None:
            return [f"trainer.max_time={60 * self.minutes:g}", "trainer.max_steps=null", "pictures.every=100000000"]
        return [] if self.steps is None else [f"trainer.max_steps={int(self.steps)}", "trainer.max_time=null"]

    def __str__(self) -> str:
        """Return the budget for people."""
        if self.minutes is not None:
            return f"{self.minutes:g} minutes each"
        return f"{int(self.steps):,} steps each" if self.steps is not None else "each as long as its recipe says"


@dataclass(frozen=True)
class Planned:
    """One run that a bench is to make, or the reason why it cannot be made.

    Attributes:
        row: it belongs to.
        seed: of the run.
        words: ``key=value`` for ``avatarzoo fit``.
        key: 8 hex digits, equal for equal experiments on the same capture, whatever the seed.
        why_not: what is wrong with the row's config, or None.
    """

    row: Row
    seed: int
    words: tuple[str, ...] = field(repr=False)
    key: str = ""
    why_not: str | None = None

    @property
    def folder(self) -> str:
        """The run's folder below the bench's, e.g. "pica_full/1a2b3c4d-seed0"."""
        return f"{self.row.name}/{self.key}-seed{self.seed}"


def suite_files(plugins: Sequence[str | Path] = ()) -> dict[str, Path]:
    """Return the suites there are by name: the shipped ones and those of plug-ins.

    Args:
        plugins: Python files; a folder ``recipes/suites`` beside one holds further suites.
    """
    folders = [*reversed(load_plugins(plugins)[1:]), RECIPES]
    return {file.stem: file for folder in reversed(folders) for file in sorted((folder / "suites").glob("*.yaml"))}


def read_suite(suite: str, plugins: Sequence[str | Path] = ()) -> Suite:
    """Read a suite.

    Args:
        suite: a name, or the path of a YAML file.
        plugins: Python files.

    Raises:
        ConfigError: there is none, or its content cannot be used.
    """
    known = suite_files(plugins)
    file = known.get(suite)
    if file is None and (suite.endswith((".yaml", ".yml")) or "/" in suite):
        file = Path(suite).expanduser()
        if not file.is_file():
            raise ConfigError(f"There is no suite file {suite}.")
    if file is None:
        raise ConfigError(f"There is no suite called {suite!r}.{did_you_mean(suite, known)}")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"Suite {file} is not YAML: {one_line(error)}") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"Suite {file} has to hold `rows:`, a list of recipes.")
    for key in content:
        if key not in ("rows", "protocols"):
            raise ConfigError(f"Suite {file} has no key {key!r}.{did_you_mean(str(key), ('rows', 'protocols'))}")
    return make_suite(file.stem, content.get("rows"), content.get("protocols"))


def make_suite(name: str, rows: Any, protocols: Any = None) -> Suite:
    """Make a suite of what a file or the command line lists.

    Args:
        name: of the suite.
        rows: recipes as text, or mappings with ``recipe`` and, optionally, name, overrides, steps, seeds.
        protocols: ids; None means the default ones.

    Raises:
        ConfigError: no rows, an unknown key, a value of the wrong type, a name taken twice.
    """
    if not isinstance(rows, (list, tuple)) or not rows:
        raise ConfigError(f"Suite {name!r} lists no rows; expected a list of recipes, got {rows!r}.")
    made = tuple(_row(name, row) for row in rows)
    twice = sorted({r.name for r in made if sum(r.name == other.name for other in made) > 1})
    if twice:
        raise ConfigError(
            f"Suite {name!r} has two rows called {', '.join(twice)}; give them different names: {{name: ...}}."
        )
    ids = tuple(DEFAULT_PROTOCOLS if protocols is None else protocols)
    for protocol in ids:
        registry.get("protocol", protocol)
    return Suite(name, made, ids)


def _row(suite: str, node: Any) -> Row:
    node = {"recipe": node} if isinstance(node, str) else node
    if not isinstance(node, Mapping) or not isinstance(node.get("recipe"), str):
        raise ConfigError(f"Suite {suite!r}: a row is a recipe's name or {{recipe: NAME, ...}}, got {node!r}.")
    types = {"recipe": str, "name": str, "overrides": list, "steps": int, "seeds": list}
    for key, value in node.items():
        if key not in types:
            raise ConfigError(f"Suite {suite!r}: a row has no key {key!r}.{did_you_mean(str(key), types)}")
        if not isinstance(value, types[key]):
            kind = types[key].__name__
            raise ConfigError(f"Suite {suite!r}: {key} of row {node['recipe']!r} has to be a {kind}, got {value!r}.")
    name = node.get("name") or Path(node["recipe"]).stem
    if not NAME.fullmatch(name):
        raise ConfigError(f"Suite {suite!r}: {name!r} cannot name a row and its folder; use letters, digits, _ . + and -.")
    seeds = tuple(node["seeds"]) if node.get("seeds") is not None else None
    return Row(node["recipe"], name, tuple(node.get("overrides") or ()), node.get("steps"), seeds)


def plan(suite: Suite, seeds: Sequence[int], budget: Budget, words: Sequence[str] = ()) -> list[Planned]:
    """Resolve every row with every seed, before anything is run.

    Args:
        suite: its rows.
        seeds: one run each.
        budget: the same for all rows that do not set their own.
        words: ``key=value`` for all rows, after the rows' own.

    Returns:
        Runs in the order of seeds, then rows: a table over all rows stands as soon as the first seed is through. A row
        whose config cannot be resolved carries the reason.

    Raises:
        ConfigError: no row can be resolved.
    """
    planned = []
    for seed in dict.fromkeys([*seeds, *(s for row in suite.rows for s in row.seeds or ())]):
        planned += [_planned(row, seed, budget, words) for row in suite.rows if seed in (row.seeds or seeds)]
    broken = [p for p in planned if p.why_not]
    if planned and len(broken) == len(planned):
        raise ConfigError(broken[0].why_not or "")
    return planned


def _planned(row: Row, seed: int, budget: Budget, words: Sequence[str]) -> Planned:
    length = budget if row.steps is None else Budget(steps=row.steps)
    said = [f"recipe={row.recipe}", *length.words(), *row.overrides, *words, f"seed={seed}"]
    try:
        config = load(overrides=said)
    except AvatarZooError as error:
        return Planned(row, seed, tuple(said), why_not=_why_not(row, said, words, error))
    return Planned(row, seed, tuple(said), key_of(config))


def _why_not(row: Row, said: Sequence[str], words: Sequence[str], error: AvatarZooError) -> str:
    """Say which words, typed for all rows, go to a component that this row has not; else what went wrong as it was told."""
    heads = {word: parse_override(word)[0].split(".")[0] for word in words}
    typed = {word: head for word, head in heads.items() if head in COMPONENTS and head != "data"}
    try:
        config = load(overrides=[word for word in said if word not in typed]).resolved
    except AvatarZooError:
        return str(error)
    for head in dict.fromkeys(typed.values()):
        if config.get(head) is None:
            theirs = " and ".join(word for word in typed if typed[word] == head)
            return (
                f"row {row.name} (model {config['model']['name']}) has no {head}, so {theirs} cannot apply; put it into "
                f"the overrides of the rows it is meant for, in a suite file."
            )
    return f"{error} It was typed for all rows; overrides of single rows stand in a suite file." if typed else str(error)


def refuse_half(planned: Sequence[Planned]) -> None:
    """Refuse a plan of which half of the rows or more cannot run: it is not the comparison that was asked for.

    Args:
        planned: from ``plan``.

    Raises:
        ConfigError: names each of these rows, why, and how to go on.
    """
    rows = list(dict.fromkeys(p.row.name for p in planned))
    broken = {p.row.name: p.why_not for p in planned if p.why_not}
    if not broken or 2 * len(broken) < len(rows):
        return
    told = "".join(f"\n  {name}: {why}" for name, why in broken.items())
    raise ConfigError(
        f"{len(broken)} of {len(rows)} rows cannot run, so nothing was started:{told}\nMend them, leave them out with "
        f"only=[{','.join(name for name in rows if name not in broken)}], or run the others with partial=true."
    )


def key_of(config: Config) -> str:
    """Return 8 hex digits that are equal for equal experiments on one capture, whatever the seed.

    Args:
        config: of one run.
    """
    root = (config["data"] or {}).get("root")
    where = str(Path(root).expanduser().resolve()) if root else ""
    same = Config({**config.resolved, "seed": 0}).hash()
    return hashlib.sha256(f"{same} {where}".encode()).hexdigest()[:8]
