"""From a resolved config to objects: the model with its parts, and the capture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from avatarzoo import registry
from avatarzoo.capture import CaptureSummary
from avatarzoo.errors import ConfigError
from avatarzoo.models.base import Model

if TYPE_CHECKING:
    from avatarzoo.datamodules.base import Capture


def build_model(config: Mapping[str, Any], summary: CaptureSummary | None = None) -> Model:
    """Build the model a config names, handing it the nodes of the parts it uses.

    Args:
        config: resolved, as plain containers.
        summary: when given, the model is bound to it, so that its parameters exist.

    Returns:
        The model, in training mode, on the CPU.

    Raises:
        ConfigError: a part the model uses is not configured.
    """
    cls = registry.get("model", config["model"]["name"])
    missing = [kind for kind in cls.uses if not config.get(kind)]
    if missing:
        name = config["model"]["name"]
        raise ConfigError(f"model {name!r} needs {', '.join(missing)}; name one, e.g. {missing[0]}=NAME.")
    parts = {kind: config[kind] for kind in (*cls.uses, *getattr(cls, "may_use", ())) if config.get(kind)}
    model = registry.build("model", config["model"], parts)
    if summary is not None:
        model.bind(summary)
    return model


def build_capture(config: Mapping[str, Any]) -> Capture:
    """Build the capture a config names; call its ``prepare`` before reading.

    Args:
        config: resolved, as plain containers.
    """
    return registry.build("data", config["data"])
