"""Compose a recipe from its defaults list, and read overrides: what Hydra does for AvatarZoo.

Hydra's defaults lists, config groups and override grammar are used as they are. The merge is ours, because a node that
names another component has to take the place of the node before it, not to inherit its options.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

# Hydra's composition without its process-wide state: composing inside somebody else's Hydra application just works.
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository
from hydra._internal.defaults_list import create_defaults_list
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import GrammarParseError, OmegaConfBaseException
from omegaconf.grammar_parser import OmegaConfGrammarParser, parse
from yaml import YAMLError

from avatarzoo.errors import ConfigError, did_you_mean
from avatarzoo.schema import COMPONENTS

RESOLVERS = ("by_scale",)  #: the functions a recipe may call


def compose(folders: Iterable[Path], name: str, groups: Mapping[str, str]) -> dict[str, Any]:
    """Compose one YAML file with everything its defaults list names.

    Args:
        folders: searched in this order.
        name: of the file in one of the folders, without ``.yaml``; may stand in a group, as "data/multiface".
        groups: choices of groups that replace those of the defaults list, e.g. {"trainer": "bf16"}.

    Returns:
        Plain containers, interpolations not resolved.

    Raises:
        ConfigError: a file is missing, is not YAML or its defaults list cannot be followed.
    """
    first, *rest = (str(folder) for folder in folders)
    path = create_config_search_path(first)
    for folder in reversed(rest):
        path.append("avatarzoo", "file://" + folder, anchor=SearchPathQuery(provider="main"))
    try:
        _check_mapping(first, *rest, name=name)
        repository = CachingConfigRepository(_Repository(name, path))
        choices = [_parser().parse_override(f"{key}={value}") for key, value in groups.items()]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a defaults list without _self_ means what one expects: the file itself wins
            found = create_defaults_list(repository, name, choices, prepend_hydra=False, skip_missing=False)
        config: dict[str, Any] = {}
        for entry in found.defaults:
            loaded = repository.load_config(entry.config_path) if entry.config_path else None
            if loaded is None:
                raise ConfigError(f"Recipe {name!r}: there is no file {entry.config_path}.yaml.")
            body: Any = OmegaConf.to_container(loaded.config, resolve=False)
            for key in reversed((entry.package or "").split(".")):
                body = {key: body} if key and not name.startswith(f"{key}/") else body
            config = merge(config, body or {})
    except MissingConfigException as error:
        known = [file.stem for folder in (first, *rest) for file in Path(folder).glob("*.yaml")]
        missing = str(error.missing_cfg_file or name)
        raise ConfigError(f"Recipe {name!r}: there is no file {missing}.yaml.{did_you_mean(missing, known)}") from error
    except (HydraException, OmegaConfBaseException, YAMLError, OSError, ValueError) as error:
        raise ConfigError(f"Recipe {name!r} cannot be read: {one_line(error)}") from error
    return config


class _Repository(ConfigRepository):
    """Hydra's, except that a file is refused before the resolvers it names can run: defaults lists are resolved at once."""

    def __init__(self, recipe: str, path: Any) -> None:
        super().__init__(config_search_path=path)
        self.recipe = recipe

    def load_config(self, config_path: str) -> Any:
        """Load one file (see ``ConfigRepository``)."""
        found = super().load_config(config_path)
        if found is not None:
            refuse_resolvers(OmegaConf.to_container(found.config, resolve=False), self.recipe)
            for default in found.defaults_list or []:
                refuse_resolvers(dict(vars(default)), self.recipe, "defaults")
        return found


def refuse_resolvers(node: Any, recipe: str, where: str = "") -> None:
    """Refuse every interpolation that is no plain reference ``${a.b}`` and no ``${by_scale:small,paper}``.

    A resolver is a function; OmegaConf's own read the environment (``oc.env``), and a recipe may come from a stranger.

    Args:
        node: plain containers, interpolations not resolved.
        recipe: its name, for the message.
        where: dotted path of the node.

    Raises:
        ConfigError: names recipe, key and resolver.
    """
    if isinstance(node, Mapping):
        for key, value in node.items():
            refuse_resolvers(key, recipe, f"{where}.{key}" if where else str(key))
            refuse_resolvers(value, recipe, f"{where}.{key}" if where else str(key))
    elif isinstance(node, (list, tuple)):
        for item in node:
            refuse_resolvers(item, recipe, where)
    elif isinstance(node, str) and "${" in node:
        for resolver in _resolvers(node):
            if resolver not in RESOLVERS:
                raise ConfigError(
                    f"Recipe {recipe!r}: {where} asks for the resolver {resolver!r}, and recipes run no code. Only "
                    f"references to other keys, ${{a.b}}, and ${{by_scale:small,paper}} are allowed; write the value "
                    f"itself, or give it on the command line."
                )


def _resolvers(text: str) -> list[str]:
    """Return the names of the resolvers a text calls, at any depth."""
    try:
        nodes = [parse(text)]
    except GrammarParseError:
        return []  # resolving will say what is wrong with it
    names = []
    while nodes:
        node = nodes.pop()
        if isinstance(node, OmegaConfGrammarParser.InterpolationResolverContext):
            names.append(node.resolverName().getText())
        nodes += list(node.getChildren()) if hasattr(node, "getChildren") else []
    return names


def _check_mapping(*folders: str, name: str) -> None:
    for file in (Path(folder, name + ".yaml") for folder in folders):
        if file.is_file():
            if not OmegaConf.is_dict(OmegaConf.load(file)):
                raise ConfigError(f"{file} holds a list; a recipe holds keys, such as `model:` and `phases:`.")
            return


def merge(base: Mapping[str, Any], over: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """Lay one config over another.

    Mappings merge key by key and anything else replaces. A component that names another class replaces the whole node.

    Args:
        base: the earlier config.
        over: the later one; it wins.
        depth: how far below the top level both stand.
    """
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if depth == 0 and key in COMPONENTS:
            old, value = _named(old), _named(value)
            if isinstance(old, Mapping) and isinstance(value, Mapping) and value.get("name", old["name"]) != old["name"]:
                old = None
        merged[key] = merge(old, value, depth + 1) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _named(node: Any) -> Any:
    return {"name": node} if isinstance(node, str) else node


def at_path(path: str, value: Any) -> dict[str, Any]:
    """Return nested mappings with a value at a dotted path."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``key=value`` and read the value with Hydra's grammar.

    Numbers, true, false, null, [lists], {mappings}, quoted text and ${interpolations} mean what they mean in Hydra;
    whatever the grammar cannot read as one value (a path with commas, "=" or brackets) is text, to the letter.

    Args:
        text: such as "encoding.levels=12" or "data.root=/captures/my head, take 2".

    Raises:
        ConfigError: there is no key or no "=".
    """
    key, equals, raw = text.partition("=")
    key = key.strip().lstrip("+")
    if not equals or not key or any(not part for part in key.split(".")):
        raise ConfigError(f"{text!r} is not an option; options are written key=value, e.g. trainer.max_steps=20000.")
    if raw.startswith("~/"):
        return key, os.path.expanduser(raw)
    try:
        override = _parser().parse_override("value=" + raw)
        if override.is_sweep_override():
            return key, raw
        value = override.value()
    except HydraException:
        return key, raw
    return key, _plain(value)


def split_list(value: Any) -> list[str]:
    """Return the names in a list or in a text with commas.

    Args:
        value: ``[a, b]``, ``"a,b"``, one name or None.
    """
    if value is None:
        return []
    items = value.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
    return [str(item).strip() for item in items if str(item).strip()]


def one_line(error: BaseException) -> str:
    """Return an error's text on one line."""
    return " ".join(str(error).split())


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return getattr(value, "text", value)  # QuotedString
