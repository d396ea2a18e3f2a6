"""The shape of a resolved config: which keys there are, of which type, and what they are when nothing is said.

Fixed nodes are the dataclasses below; a component's node is read off its class (``registry.options``). All are checked the
same way (``typed.check``), before anything is built.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any, Literal

from avatarzoo import registry
from avatarzoo.errors import ConfigError, did_you_mean
from avatarzoo.registry import Option
from avatarzoo.typed import check

#: Top-level keys that hold one component each, written ``{name: X, ...options}`` or just ``X``.
COMPONENTS = ("model", "encoding", "driver", "warp", "rasterizer", "data")

NEAR = 0.6  #: how alike two names have to be for one to stand for the other
SNAPSHOT_MINUTES = 0.01  #: what the names of two snapshots differ by at least


@dataclass
class Loader:
    """How batches are read: ``batch_size`` pictures per process and step, by ``workers`` processes."""

    batch_size: int = 4
    workers: int = 2


@dataclass
class Trainer:
    """When a run ends and where it runs.

    ``max_time`` is "HH:MM:SS", "DD:HH:MM:SS" or seconds; the run ends at whichever limit comes first; null is no limit.
    """

    max_steps: int | None = 400_000
    max_time: str | int | float | None = None
    precision: str = "32-true"
    accelerator: str = "auto"
    devices: int | str | list[int] = "auto"


@dataclass
class Optimizer:
    """One phase's optimiser; ``lr_by_part`` gives parts a learning rate of their own, ``decay`` ends at ``final`` * lr."""

    name: str = "adam"
    lr: float = 1e-3
    lr_by_part: dict[str, float] = field(default_factory=dict)
    decay: Literal["none", "cosine", "exponential"] = "none"
    final: float = 0.05
    warmup: int | float = 0
    weight_decay: float = 0.0


@dataclass
class Adam(Optimizer):
    """Adam's own keys; also AdamW's."""

    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    eps: float = 1e-8


@dataclass
class SGD(Optimizer):
    """Stochastic gradient descent's own keys."""

    momentum: float = 0.0
    nesterov: bool = False


OPTIMIZERS: dict[str, type[Optimizer]] = {"adam": Adam, "adamw": Adam, "sgd": SGD}


@dataclass(kw_only=True)
class Phase:
    """One optimisation of a step: which parts it trains (null = all), by which terms, how often."""

    trains: list[str] | None = None
    loss: dict[str, Any]
    optimizer: dict[str, Any] = field(default_factory=dict)
    every: int = 1
    start: int | float = 0
    clip: float | None = None
    accumulate: int = 1


@dataclass
class Term:
    """What every loss term has beside its own options; ``term`` is its registered name where the key is another."""

    weight: float = 1.0
    start: int | float = 0
    ramp: int | float = 0
    term: str | None = None


@dataclass
class Every:
    """Something that happens every so many steps; 0 = never."""

    every: int = 0


@dataclass
class Checkpoint:
    """When weights are written: the last checkpoint every so many steps (0 = at the end), snapshots every so many minutes.

    Snapshots (null = none) hold weights alone; ``avatarzoo curve`` scores them.
    """

    every: int = 0
    snapshot_minutes: float | None = None


@dataclass(kw_only=True)
class Top:
    """The top level; components and the nodes above are checked on their own."""

    recipe: str = ""
    scale: Literal["small", "paper"] = "paper"
    seed: int = 0
    model: dict[str, Any]
    encoding: dict[str, Any] | None = None
    driver: dict[str, Any] | None = None
    warp: dict[str, Any] | None = None
    rasterizer: dict[str, Any] | None = None
    data: dict[str, Any]
    loader: dict[str, Any] = field(default_factory=dict)
    phases: dict[str, Any]
    trainer: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, Any] = field(default_factory=lambda: {"every": 500})
    checkpoint: dict[str, Any] = field(default_factory=lambda: {"every": 1000})
    logger: Literal["csv", "wandb", "tensorboard"] = "csv"
    out: str | None = None
    plugins: list[str] = field(default_factory=list)
    resume: str | None = None


_TIME = "Use trainer.max_time=HH:MM:SS (or seconds), e.g. trainer.max_time=00:10:00."
_STEPS = "Use trainer.max_steps=N."
#: What people try, by node: what to write instead.
MEANT: dict[str, dict[str, str]] = {
    "trainer": {
        **dict.fromkeys(("time", "seconds", "minutes", "hours", "max_minutes", "max_hours", "duration"), _TIME),
        **dict.fromkeys(("steps", "iterations", "max_iterations", "iters"), _STEPS),
        **dict.fromkeys(("epochs", "max_epochs"), f"A run counts steps, not epochs. {_STEPS} {_TIME}"),
        "batch_size": "Use loader.batch_size=N.",
    }
}


def keys_of(node: type) -> dict[str, Option]:
    """Read the keys of a fixed node off its dataclass."""
    hints = typing.get_type_hints(node)
    found = {}
    for f in dataclasses.fields(node):
        default = f.default_factory() if f.default_factory is not MISSING else f.default
        found[f.name] = Option(f.name, hints[f.name], default)
    return found


def keys_of_component(kind: str, name: str) -> dict[str, Option]:
    """Read the keys of a component off its class.

    Args:
        kind: of the registry.
        name: a registered name.
    """
    return registry.options(registry.get(kind, name))


def check_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Check a whole config and fill in every default.

    Args:
        config: plain containers, interpolations resolved.

    Returns:
        A new config with every key there is; components that are not used are absent.

    Raises:
        ConfigError: an unknown name or key with the nearest ones, a missing value, a value of the wrong type.
    """
    given = {key: {"name": node} if key in COMPONENTS and isinstance(node, str) else node for key, node in config.items()}
    checked = check("", {key: node for key, node in given.items() if node is not None}, keys_of(Top))
    from avatarzoo.phases import read_phases, seconds  # here, because it brings PyTorch along

    for kind in COMPONENTS:
        if checked[kind] is None:
            del checked[kind]
        else:
            checked[kind] = component(kind, checked[kind])
    _check_parts(checked)
    fixed = {"loader": Loader, "trainer": Trainer, "pictures": Every, "checkpoint": Checkpoint}
    for key, node in fixed.items():
        stray = next((said for said in checked[key] if said in MEANT.get(key, {})), "")
        hint = f" {MEANT[key][stray]}" if stray else ""
        checked[key] = check(key, checked[key], keys_of(node), hint)
    minutes = checked["checkpoint"]["snapshot_minutes"]
    if minutes is not None and not minutes >= SNAPSHOT_MINUTES:
        raise ConfigError(
            f"checkpoint.snapshot_minutes={minutes}: give {SNAPSHOT_MINUTES} minutes or more, or null for no snapshots."
        )
    checked["phases"] = {
        name: _check_phase(f"phases.{name}", phase) for name, phase in checked["phases"].items() if phase is not None
    }
    read_phases(checked["phases"])  # what types cannot say: durations, signs
    if seconds(checked["trainer"]["max_time"]) is None and checked["trainer"]["max_steps"] is None:
        raise ConfigError("The run has no end: set trainer.max_steps=N or trainer.max_time=HH:MM:SS.")
    return checked


def _check_parts(config: Mapping[str, Any]) -> None:
    name = config["model"]["name"]
    model = registry.get("model", name)
    uses, may_use = model.uses, getattr(model, "may_use", ())  # a plug-in need not derive from Model
    for kind in set(COMPONENTS) - {"model", "data"}:
        if kind in uses and kind not in config:
            raise ConfigError(f"model {name!r} needs {kind}=NAME. Known: {', '.join(registry.names(kind))}.")
        if kind in config and kind not in (*uses, *may_use):
            parts = ", ".join((*uses, *may_use)) or "no parts"
            raise ConfigError(f"model {name!r} has no {kind} (it is built with {parts}); leave it out: {kind}=null.")


def _check_phase(where: str, node: Any) -> dict[str, Any]:
    phase = check(where, node, keys_of(Phase))
    optimizer = phase["optimizer"].get("name", "adam")
    if optimizer not in OPTIMIZERS:
        raise ConfigError(f"There is no {where}.optimizer called {optimizer!r}.{did_you_mean(str(optimizer), OPTIMIZERS)}")
    phase["optimizer"] = check(f"{where}.optimizer", phase["optimizer"], keys_of(OPTIMIZERS[optimizer]))
    common = keys_of(Term)
    terms = {}
    for name, term in phase["loss"].items():
        if term is None:
            continue  # taken out with loss.NAME=null
        place = f"{where}.loss.{name}"
        if isinstance(term, (int, float)):
            term = {"weight": term}
        if not isinstance(term, Mapping):
            raise ConfigError(f"{place} holds keys ({', '.join(common)} and the term's options), got {term!r}.")
        own = keys_of_component("loss", term.get("term") or name)
        checked = check(place, term, common | own)
        terms[name] = {key: value for key, value in checked.items() if key != "term" or value is not None}
    return phase | {"loss": terms}


def component(kind: str, node: Any, where: str | None = None) -> dict[str, Any]:
    """Check a component's node against the signature of the class it names.

    Args:
        kind: of the registry.
        node: a mapping with ``name`` and options, or just the name.
        where: dotted path, when it is not the kind itself.

    Returns:
        ``name`` and every option.
    """
    where = where or kind
    if isinstance(node, str):
        node = {"name": node}
    if not isinstance(node, Mapping) or not isinstance(node.get("name"), str):
        raise ConfigError(f"{where} needs a name, got {node!r}. Known: {', '.join(registry.names(kind))}.")
    known = keys_of_component(kind, node["name"])
    given = {key: value for key, value in node.items() if key != "name"}
    stray = next((key for key in given if key not in known), None)
    hint = "" if stray is None else _elsewhere(kind, stray, known)
    return {"name": node["name"]} | check(where, given, known, hint)


def _elsewhere(kind: str, key: str, known: Mapping[str, Option]) -> str:
    """Say whose option a key is, or may be, that a component does not have; nothing where it has a near one itself."""
    if owners := _owners(kind, key):
        return f" It is an option of {owners}."
    if difflib.get_close_matches(key, known, n=1, cutoff=NEAR):
        return ""
    others = {option for name in registry.names(kind) for option in keys_of_component(kind, name)}
    near = difflib.get_close_matches(key, sorted(others), n=1, cutoff=NEAR)
    return f" Did you mean {f'{kind}.{near[0]}'!r}, an option of {_owners(kind, near[0])}?" if near else ""


def _owners(kind: str, key: str) -> str:
    owners = [name for name in registry.names(kind) if key in keys_of_component(kind, name)]
    return " and ".join(f"{kind}={name}" for name in owners)
