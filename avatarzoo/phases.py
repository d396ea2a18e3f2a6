"""Phases of a training step, read from a recipe: what they train, their terms, their optimizer.

Pure: nothing here knows a trainer. When a phase and its terms act is in ``schedules``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from avatarzoo.errors import ConfigError, did_you_mean
from avatarzoo.schedules import Moment, OptimizerPlan, Phase, TermPlan, is_fraction

OPTIMIZERS: dict[str, Any] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
DECAYS = ("none", "cosine", "exponential")


def read_phases(nodes: Mapping[str, Mapping[str, Any]]) -> list[Phase]:
    """Read and check the ``phases`` of a recipe.

    Args:
        nodes: by name, in the order they act within a step.

    Returns:
        The phases.

    Raises:
        ConfigError: unknown or contradictory keys and values.
    """
    if not nodes:
        raise ConfigError("The recipe has no phases; give at least one, e.g. phases: {fit: {loss: {image: {weight: 1}}}}.")
    phases = [_read_phase(name, node) for name, node in nodes.items()]
    slices = {p.accumulate for p in phases}
    if len(slices) > 1:
        raise ConfigError(f"All phases of a step share its slices: phases.*.accumulate differ ({sorted(slices)}).")
    return phases


def _span(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise ConfigError(f"{where}={value!r}: give a number of steps (e.g. 2000) or a fraction of the run (e.g. 0.01).")
    if not is_fraction(value) and value != int(value):
        raise ConfigError(f"{where}={value!r}: above 1 it counts steps and has to be whole.")
    return value if is_fraction(value) else int(value)


def _same_unit(first: float, second: float, where: str) -> None:
    if first and second and is_fraction(first) != is_fraction(second):
        raise ConfigError(f"{where} mixes steps and fractions of the run ({first!r}, {second!r}); use one unit for both.")


def _unknown_keys(node: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in node:
        if key not in known:
            raise ConfigError(f"{where} has no key {key!r}.{did_you_mean(str(key), known)}")


def _read_phase(name: str, node: Mapping[str, Any]) -> Phase:
    where = f"phases.{name}"
    _unknown_keys(node, ("trains", "loss", "optimizer", "every", "start", "clip", "accumulate"), where)
    terms = tuple(_read_term(key, term, f"{where}.loss.{key}") for key, term in (node.get("loss") or {}).items())
    if not terms:
        raise ConfigError(f"{where}.loss is empty; name at least one term.")
    every, accumulate, clip = node.get("every", 1), node.get("accumulate", 1), node.get("clip")
    for key, value in (("every", every), ("accumulate", accumulate)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{where}.{key}={value!r}: give a whole number of at least 1.")
    if clip is not None and not clip > 0:
        raise ConfigError(f"{where}.clip={clip!r}: give the greatest gradient norm, above 0, or null.")
    start = _span(node.get("start", 0), f"{where}.start")
    optimizer = _read_optimizer(node.get("optimizer") or {}, f"{where}.optimizer")
    _same_unit(start, optimizer.warmup, f"{where}.start with optimizer.warmup")
    trains = node.get("trains")
    return Phase(name, None if trains is None else tuple(trains), terms, optimizer, every, start, clip, accumulate)


def _read_term(key: str, node: Any, where: str) -> TermPlan:
    node = {} if node is None else {"weight": node} if isinstance(node, (int, float)) else dict(node)
    weight = node.pop("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, (int, float)):
        raise ConfigError(f"{where}.weight={weight!r}: give a number.")
    start, ramp = (_span(node.pop(k, 0), f"{where}.{k}") for k in ("start", "ramp"))
    _same_unit(start, ramp, f"{where}: start with ramp")
    component = {"name": node.pop("term", node.pop("name", key)), **node}
    return TermPlan(key, component, float(weight), start, ramp)


def _read_optimizer(node: Mapping[str, Any], where: str) -> OptimizerPlan:
    node = dict(node)
    name, decay = node.pop("name", "adam"), node.pop("decay", "none") or "none"
    if name not in OPTIMIZERS:
        raise ConfigError(f"{where}.name={name!r} is not known.{did_you_mean(str(name), OPTIMIZERS)}")
    if decay not in DECAYS:
        raise ConfigError(f"{where}.decay={decay!r} is not known.{did_you_mean(str(decay), DECAYS)}")
    lr, rates, final = node.pop("lr", 1e-3), dict(node.pop("lr_by_part", None) or {}), node.pop("final", 0.05)
    warmup = _span(node.pop("warmup", 0), f"{where}.warmup")
    allowed = {"adam": ("betas", "eps", "weight_decay", "amsgrad"), "sgd": ("momentum", "weight_decay", "nesterov")}
    _unknown_keys(node, allowed["sgd" if name == "sgd" else "adam"], where)
    if "betas" in node:
        node["betas"] = tuple(node["betas"])
    return OptimizerPlan(name, float(lr), rates, node, decay, float(final), warmup)


def trained_parts(phase: Phase, parts: Mapping[str, nn.Module]) -> dict[str, list[nn.Parameter]]:
    """Return the parameters a phase trains, by part; one that two parts share belongs to the first, frozen ones to none.

    Args:
        phase: the phase.
        parts: ``Model.parts()``.

    Raises:
        ConfigError: a part is not there, or nothing is left to train.
    """
    where = f"phases.{phase.name}"
    for name in phase.trains or ():
        if name not in parts:
            raise ConfigError(f"{where}.trains names {name!r}, which the model lacks.{did_you_mean(name, parts)}")
    chosen = list(parts) if phase.trains is None else list(phase.trains)
    for name in phase.optimizer.lr_by_part:
        if name not in chosen:
            raise ConfigError(f"{where}.optimizer.lr_by_part names {name!r}, not trained here.{did_you_mean(name, chosen)}")
    seen: set[int] = set()
    groups: dict[str, list[nn.Parameter]] = {}
    for name in chosen:
        own = [p for p in parts[name].parameters() if p.requires_grad and id(p) not in seen]
        seen.update(id(p) for p in own)
        if own:
            groups[name] = own
    if not groups:
        raise ConfigError(f"{where}.trains leaves nothing to train: {', '.join(chosen) or 'no part'} holds no parameters.")
    return groups


def build_optimizer(phase: Phase, groups: Mapping[str, list[nn.Parameter]]) -> torch.optim.Optimizer:
    """Build a phase's optimizer with one parameter group per part; each keeps its rate as "base_lr" and its "part".

    Args:
        phase: the phase.
        groups: from ``trained_parts``.
    """
    plan = phase.optimizer
    rates = {part: float(plan.lr_by_part.get(part, plan.lr)) for part in groups}
    nodes = [{"params": p, "lr": rates[part], "base_lr": rates[part], "part": part} for part, p in groups.items()]
    # One kernel for all parameters: on a CPU a quarter of the time of a loop over them, 3 % of a small avatar's step.
    fused = all(p.device.type in ("cpu", "cuda") for group in groups.values() for p in group)
    return OPTIMIZERS[plan.name](nodes, lr=plan.lr, fused=fused, **plan.options)


def set_learning_rates(phase: Phase, optimizer: torch.optim.Optimizer, moment: Moment) -> dict[str, float]:
    """Set the rates of a phase's optimizer for a step and return them by part."""
    factor = phase.optimizer.factor_at(moment, phase.start)
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    return {group["part"]: group["lr"] for group in optimizer.param_groups}


def seconds(value: float | str | None) -> float | None:
    """Read a duration: seconds, "HH:MM:SS" or "DD:HH:MM:SS"; None stays None.

    Args:
        value: as a recipe writes it.

    Raises:
        ConfigError: it is none of these.
    """
    if value is None:
        return None
    try:
        fields = [float(f) for f in _fields(value)]
    except ValueError:
        fields = []
    if len(fields) not in (1, 3, 4) or any(f < 0 for f in fields) or not sum(fields) > 0:
        raise ConfigError(f"trainer.max_time={value!r}: give seconds, HH:MM:SS or DD:HH:MM:SS.")
    units = {1: (1,), 3: (3600, 60, 1), 4: (86400, 3600, 60, 1)}[len(fields)]
    return float(sum(f * u for f, u in zip(fields, units, strict=True)))


def _fields(value: float | str) -> Iterator[str]:
    if isinstance(value, bool):
        raise ValueError
    yield from str(value).split(":")
