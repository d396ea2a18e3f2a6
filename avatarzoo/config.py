"""From a recipe and overrides to a resolved config, checked whole before anything is built.

A config is data: names of registered components, numbers and text. Nothing in it is executed, ``_target_`` is refused, and
plug-in files run only when the person at the terminal names them.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

import avatarzoo.recipes
from avatarzoo import registry
from avatarzoo.compose import at_path, compose, merge, one_line, parse_override, refuse_resolvers, split_list
from avatarzoo.errors import ConfigError, did_you_mean
from avatarzoo.later_options import complete
from avatarzoo.schema import COMPONENTS, MEANT, Top, check_config, keys_of

RECIPES = Path(avatarzoo.recipes.__file__).parent
SCALES = ("small", "paper")
#: What does not change what is learned, left out of the hash: where things lie, how fast they are read, what is shown.
NOT_HASHED = ("recipe", "out", "resume", "logger", "pictures", "checkpoint", "plugins")
NOT_HASHED_BELOW = {"data": ("root", "cache_dir", "memory_mb"), "loader": ("workers",)}


def _by_scale(small: Any, paper: Any, *, _root_: Any) -> Any:
    return small if _root_.get("scale", "paper") == "small" else paper


OmegaConf.register_new_resolver("by_scale", _by_scale, replace=True)


@dataclass(frozen=True)
class Config:
    """A checked config.

    Attributes:
        resolved: plain containers, every key present, every interpolation resolved.
    """

    resolved: dict[str, Any]

    def __getitem__(self, key: str) -> Any:
        """Return a top-level node."""
        return self.resolved[key]

    def to_yaml(self) -> str:
        """Return the config as YAML text; ``from_yaml`` reads it back."""
        return yaml.safe_dump(self.resolved, sort_keys=False, allow_unicode=True)

    def hash(self) -> str:
        """Return 12 hex digits that are equal for equal experiments, wherever they run and whatever they show."""
        said = {key: value for key, value in self.resolved.items() if key not in NOT_HASHED}
        for node, keys in NOT_HASHED_BELOW.items():
            said[node] = {key: value for key, value in said.get(node, {}).items() if key not in keys}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


def from_yaml(text: str) -> dict[str, Any]:
    """Read what ``Config.to_yaml`` wrote.

    Args:
        text: YAML.

    Returns:
        Plain containers; options that came later are as they were before there were any.

    Raises:
        ConfigError: the text is not YAML or not a mapping.
    """
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"The config is not YAML: {one_line(error)}") from error
    if not isinstance(config, dict):
        raise ConfigError("The config holds no keys.")
    return complete(config)


def load(recipe: str | Path | None = None, overrides: Sequence[str] = (), plugins: Sequence[str | Path] = ()) -> Config:
    """Resolve a recipe with overrides.

    Args:
        recipe: a shipped name or the path of a YAML file; may stand among the overrides as ``recipe=``.
        overrides: ``key=value``; ``encoding=hash_grid`` replaces a component, ``encoding.levels=12`` sets an option.
            ``resume=RUN`` starts from that run's config instead of a recipe.
        plugins: Python files that register components; also ``plugins=[...]`` among the overrides. A folder ``recipes``
            beside such a file holds further recipes.

    Returns:
        The checked config.

    Raises:
        ConfigError: anything that could not be built or does not exist, with the nearest names.
    """
    _check_words(overrides)
    said = [parse_override(text) for text in overrides]
    named = {key: value for key, value in said if key in ("recipe", "plugins", "resume")}
    said = [(key, value) for key, value in said if key not in named]
    recipe = recipe or named.get("recipe")
    files = [*map(str, plugins), *split_list(named.get("plugins"))]
    folders = load_plugins(files)

    if named.get("resume"):
        if any(key == "scale" for key, _ in said):
            raise ConfigError("A run cannot change its scale when it is resumed; leave scale= out.")
        # its folder is where the run lies now, whatever it was called when it began
        config = run_config(named["resume"]) | {"resume": str(named["resume"]), "out": None}
        if recipe and str(recipe) != config.get("recipe"):
            raise ConfigError(
                f"{named['resume']} was trained with recipe={config.get('recipe')} and cannot go on as recipe={recipe}; "
                "leave recipe= out, or start a new run without resume=."
            )
    elif recipe:
        config, folders, said = _compose_recipe(str(recipe), said, folders)
    else:
        raise ConfigError(f"Which recipe? recipe=NAME or recipe=PATH.yaml. Known: {', '.join(recipe_files(folders))}.")
    _ask_for_plugins(config, files)
    return _finish(config | {"plugins": files}, said, folders)


def _check_words(words: Sequence[str]) -> None:
    """Meet what people write instead of ``recipe=NAME``: the bare name, or an option with dashes."""
    for place, word in enumerate(words):
        key, equals, value = word.lstrip("-").partition("=")
        if word.startswith("--") and key in ("recipe", "resume"):
            value = value or next(iter(words[place + 1 : place + 2]), "NAME")
            raise ConfigError(f"{word!r} is not an option; options are written without dashes: {key}={value}.")
        if not equals and (near := difflib.get_close_matches(word, recipe_files(), n=1, cutoff=0.8)):
            raise ConfigError(f"{word!r} is not an option; options are written key=value. Did you mean recipe={near[0]}?")


def override(config: Mapping[str, Any], overrides: Sequence[str]) -> Config:
    """Lay overrides over a resolved config, such as a checkpoint's.

    Args:
        config: resolved.
        overrides: ``key=value``.

    Returns:
        The checked config.
    """
    return _finish(config, [parse_override(text) for text in overrides], load_plugins(()))


def data_of(config: Mapping[str, Any], overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return the capture's node of a resolved config, with overrides laid over it.

    Args:
        config: resolved, such as a checkpoint's.
        overrides: ``data.key=value``; none leaves the node unchecked, as it was trained with.
    """
    return dict((override(config, list(overrides)) if overrides else config)["data"])


def run_config(run: str | Path) -> dict[str, Any]:
    """Read the config of a run.

    Args:
        run: the run's folder, or a checkpoint.

    Raises:
        ConfigError: the folder holds no config.yaml.
    """
    if Path(run).is_file():
        from avatarzoo.checkpoint import read_config  # here, because it brings PyTorch along

        return read_config(run)
    file = Path(run) / "config.yaml"
    if not file.is_file():
        raise ConfigError(f"{run} is not a run: it holds no config.yaml. Give a folder such as runs/pica_full/DATE-TIME.")
    return from_yaml(file.read_text(encoding="utf-8"))


def recipe_files(folders: Sequence[Path] | None = None) -> dict[str, Path]:
    """Return the recipes there are by name: the shipped ones and those of plug-ins.

    Args:
        folders: where to look; None means the shipped ones and those of installed plug-ins.
    """
    folders = load_plugins(()) if folders is None else folders
    files = [file for folder in reversed(folders) for file in sorted(folder.glob("*.yaml"))]
    return {file.stem: file for file in files if file.stem != "base"}


def load_plugins(files: Sequence[str | Path]) -> list[Path]:
    """Import plug-ins.

    Args:
        files: Python files; installed plug-ins are imported as well.

    Returns:
        The folders in which recipes are found, the shipped ones first, then ``recipes`` beside each plug-in.

    Raises:
        ConfigError: a file is missing or fails.
    """
    registry.load_entry_points()
    homes = []
    for point in importlib.metadata.entry_points(group="avatarzoo.plugins"):
        file = getattr(sys.modules.get(point.module), "__file__", None)
        homes += [Path(file).parent] if file else []
    if files:
        for kind in registry.KINDS:
            registry.names(kind)  # the built-in ones first, so that a name taken twice is the plug-in's mistake
    for file in files:
        registry.load_plugin_file(file)
        homes.append(Path(file).resolve().parent)
    return [RECIPES, *(home / "recipes" for home in homes if (home / "recipes").is_dir())]


def _ask_for_plugins(config: Mapping[str, Any], files: Sequence[str]) -> None:
    given = {Path(file).name for file in files}
    missing = [name for name in split_list(config.get("plugins")) if Path(name).name not in given]
    if missing:
        wanted = ",".join(missing)
        raise ConfigError(f"The plug-in {wanted} is needed and runs code: add plugins=[{wanted}] if you trust it.")


Override = tuple[str, Any]


def _compose_recipe(
    recipe: str, said: list[Override], folders: list[Path]
) -> tuple[dict[str, Any], list[Path], list[Override]]:
    """Compose a recipe with the groups that were chosen; return it, the folders searched and the overrides left."""
    if recipe.endswith((".yaml", ".yml")) or "/" in recipe:
        file = Path(recipe).expanduser().resolve()
        if not file.is_file() or file.suffix != ".yaml":
            raise ConfigError(f"There is no recipe file {recipe}; give a .yaml file, or a name of `avatarzoo list`.")
        folders, name = [file.parent, *folders], file.stem
    else:
        known = recipe_files(folders)
        if recipe not in known:
            raise ConfigError(f"There is no recipe called {recipe!r}.{did_you_mean(recipe, known)}")
        name = recipe
    groups = {key: value for key, value in said if key not in COMPONENTS and value in _choices(key, folders)}
    left = [(key, value) for key, value in said if key not in groups or value != groups[key]]
    return compose(folders, name, groups) | {"recipe": recipe}, folders, left


def _choices(key: str, folders: Sequence[Path]) -> list[str]:
    """Return the files of a group, such as trainer/."""
    return sorted({file.stem for folder in folders for file in (folder / key).glob("*.yaml")}) if "." not in key else []


def _finish(config: Mapping[str, Any], said: list[Override], folders: Sequence[Path]) -> Config:
    """Lay overrides over a composed or stored config, resolve and check it."""
    top = keys_of(Top)
    for key, value in sorted(said, key=lambda pair: pair[0].count(".")):  # whole nodes first, then options in them
        head = key.split(".")[0]
        if head not in top:
            raise ConfigError(f"There is no option {key}.{_hint(key, config, list(top))}")
        choices = _choices(key, folders) if isinstance(value, str) else []
        if choices and key not in COMPONENTS:
            if value in choices:
                raise ConfigError(f"{key}={value} is chosen when a run starts; here set its options, e.g. {key}.KEY=VALUE.")
            raise ConfigError(f"There is no {key} called {value!r}.{did_you_mean(value, choices)}")
        config = merge(config, at_path(key, compose(folders, f"{key}/{value}", {}) if value in choices else value))
    _refuse_targets(config)
    refuse_resolvers(config, str(config.get("recipe") or "the command line"))
    if config.get("scale", "paper") not in SCALES:
        raise ConfigError(f"There is no scale {config['scale']!r}. Known: {', '.join(SCALES)}.")
    try:
        resolved: Any = OmegaConf.to_container(OmegaConf.create(dict(config)), resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or 'The config'} cannot be resolved: {str(error).splitlines()[0]}") from error
    return Config(check_config(resolved))


def _hint(key: str, config: Mapping[str, Any], top: list[str]) -> str:
    """Name what an option with an unknown first part may mean: the same key of a node, or a node of a similar name."""
    head, _, rest = key.partition(".")
    below = [f"{node}.{head}" for node, value in config.items() if isinstance(value, Mapping) and head in value]
    if below and not rest:
        return " Did you mean " + " or ".join(map(repr, below[:3])) + "?"
    if not rest and key in MEANT["trainer"]:
        return f" {MEANT['trainer'][key]}"
    return did_you_mean(head, top, "{}." + rest if rest else "{}")


def _refuse_targets(node: Any, where: str = "") -> None:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "_target_":
                raise ConfigError(
                    f"{where or 'The config'} holds _target_; only registered names are built, as `name: NAME`."
                )
            _refuse_targets(value, f"{where}.{key}" if where else str(key))
    elif isinstance(node, list):
        for item in node:
            _refuse_targets(item, where)
