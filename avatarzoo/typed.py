"""Typed values: check a node key by key, and convert values strictly, with messages for the person at the terminal."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, field
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from avatarzoo.errors import ConfigError, did_you_mean
from avatarzoo.registry import Option


def check(where: str, node: Any, known: Mapping[str, Option], hint: str = "") -> dict[str, Any]:
    """Check a node against its keys and fill in the defaults.

    Args:
        where: dotted path of the node, for messages; "" is the top level.
        node: plain containers.
        known: the keys there are.
        hint: appended to the message about an unknown key.

    Returns:
        Every key with its value, converted to its type, in the order of ``known``.

    Raises:
        ConfigError: unknown key, missing key, or a value of the wrong type.
    """
    if not isinstance(node, Mapping):
        raise ConfigError(f"{where or 'A recipe'} holds keys ({', '.join(known)}), got {node!r}.")
    prefix = where + "." if where else ""
    for key in node:
        if key not in known:
            raise ConfigError(f"There is no option {prefix}{key}.{hint or did_you_mean(str(key), known, prefix + '{}')}")
    filled = {}
    for key, option in known.items():
        if key in node:
            filled[key] = convert(prefix + key, option.type, node[key])
        elif option.default is MISSING:
            raise ConfigError(f"{prefix}{key} needs a value: {prefix}{key}={type_name(option.type).upper()}.")
        else:
            filled[key] = plain(option.default)
    return filled


def convert(where: str, kind: Any, value: Any) -> Any:
    """Convert a value to a type, strictly: 1 is a float and "12" an int, 1.5 is no int and true no number.

    Args:
        where: dotted path, for messages.
        kind: the annotation.
        value: plain.

    Raises:
        ConfigError: the value is not of the type.
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(where, kind, value)
    if origin is Literal:
        if value not in args:
            raise ConfigError(f"{where} is {value!r}.{did_you_mean(str(value), [str(a) for a in args])}")
        return value
    try:
        typed = OmegaConf.structured(dataclasses.make_dataclass("Typed", [("value", kind, field(default=MISSING))]))
    except (OmegaConfBaseException, TypeError):
        return plain(value)  # a type OmegaConf cannot hold: the component checks it
    if value == "???":
        raise ConfigError(f"{where} needs a value: {where}={type_name(kind).upper()}.")
    try:
        typed.value = value
        return plain(OmegaConf.to_container(typed, enum_to_str=True)["value"])  # type: ignore[index, call-overload]
    except OmegaConfBaseException as error:
        raise ConfigError(f"{where} takes {type_name(kind)}, got {value!r}.") from error


def _convert_union(where: str, kind: Any, value: Any) -> Any:
    choices = [choice for choice in typing.get_args(kind) if choice is not types.NoneType]
    if value is None and len(choices) < len(typing.get_args(kind)):
        return None
    close = None
    for choice in choices:
        try:
            converted = convert(where, choice, value)
        except ConfigError:
            continue
        if type(converted) is type(value):
            return converted
        close = (converted,) if close is None else close
    if close is None:
        if len(choices) == 1:
            return convert(where, choices[0], value)
        raise ConfigError(f"{where} takes {type_name(kind)}, got {value!r}.")
    return close[0]


def arguments(function: Callable[..., Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Convert what was typed for a function to what its parameters are annotated with.

    Args:
        function: to be called.
        said: values by parameter, plain.

    Raises:
        ConfigError: a value is not of its parameter's type.
    """
    hints = typing.get_type_hints(function)
    return {key: convert(key, hints[key], value) if key in hints else value for key, value in said.items()}


def type_name(kind: Any) -> str:
    """Return how a type is called in messages, e.g. "int", "list[str] or None"."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(type_name(choice) for choice in typing.get_args(kind))
    if typing.get_origin(kind) is Literal:
        return " or ".join(map(str, typing.get_args(kind)))
    if kind is types.NoneType:
        return "null"
    return str(kind).replace("typing.", "") if typing.get_args(kind) else getattr(kind, "__name__", str(kind))


def plain(value: Any) -> Any:
    """Return a value as plain containers: paths as text, tuples as lists."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return value
