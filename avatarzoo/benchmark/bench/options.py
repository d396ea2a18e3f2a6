"""The options of ``avatarzoo bench`` as they are typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from avatarzoo.benchmark.bench.run import OUT, bench
from avatarzoo.benchmark.bench.suite import Budget, Suite, make_suite, read_suite, suite_files
from avatarzoo.compose import parse_override, split_list
from avatarzoo.errors import ConfigError, did_you_mean

KEYS = (
    *("suite", "recipes", "only", "seeds", "minutes", "steps"),
    *("out", "protocol", "launcher", "slurm", "plugins", "partial"),
)
ELSEWHERE = {
    "seed": "a bench takes several: seeds=[0,1]",
    "recipe": "a bench takes several: recipes=[pica_full,static_texture], or suite=NAME",
    "resume": "the same command again goes on where it stopped",
    "ckpt": "a bench trains by itself; `avatarzoo test ckpt=RUN` scores one run",
}


def bench_words(words: Sequence[str]) -> None:
    """Run ``avatarzoo bench``.

    Args:
        words: ``key=value``; what is no option of the verb goes to every recipe.

    Raises:
        ConfigError: an option that cannot be used, or rows that cannot run, before anything runs.
        SystemExit: with status 1, after the table: a row failed.
    """
    said, rest = _take(words)
    plugins = split_list(said.get("plugins"))
    suite = _suite(said, plugins)
    budget = Budget(said.get("minutes"), said.get("steps"))
    results = bench(
        suite,
        rest,
        seeds=_seeds(said.get("seeds", [0])),
        budget=budget,
        out=Path(str(said.get("out") or OUT)),
        plugins=plugins,
        launcher=str(said.get("launcher", "local")),
        slurm=_mapping(said.get("slurm")),
        partial=_flag(said.get("partial", False)),
    )
    if any(job.status == "failed" for _, job in results):
        raise SystemExit(1)


def _take(words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    said: dict[str, Any] = {}
    rest = []
    for word in words:
        key, value = parse_override(word)
        if key in ELSEWHERE:
            raise ConfigError(f"{key}= is no option of bench: {ELSEWHERE[key]}.")
        if key.split(".")[0] == "slurm" and "." in key:
            said.setdefault("slurm", {})[key.split(".", 1)[1]] = value
        elif key in KEYS:
            said[key] = value
        else:
            rest.append(word)
    return said, rest


def _suite(said: dict[str, Any], plugins: Sequence[str]) -> Suite:
    if bool(said.get("suite")) == bool(said.get("recipes")):
        known = ", ".join(suite_files(plugins))
        raise ConfigError(f"Which recipes? suite=NAME (known: {known}), suite=PATH.yaml, or recipes=[NAME,NAME].")
    if said.get("suite"):
        suite = read_suite(str(said["suite"]), plugins)
    else:
        suite = make_suite("recipes", split_list(said["recipes"]))
    if said.get("protocol"):
        suite = make_suite_like(suite, split_list(said["protocol"]))
    chosen = split_list(said.get("only"))
    names = [row.name for row in suite.rows]
    for name in chosen:
        if name not in names:
            raise ConfigError(f"Suite {suite.name!r} has no row {name!r}.{did_you_mean(name, names)}")
    return replace(suite, rows=tuple(r for r in suite.rows if not chosen or r.name in chosen))


def make_suite_like(suite: Suite, protocols: Sequence[str]) -> Suite:
    """Return a suite with other protocols.

    Args:
        suite: to change.
        protocols: ids.
    """
    from avatarzoo import registry

    for protocol in protocols:
        registry.get("protocol", protocol)
    return replace(suite, protocols=tuple(dict.fromkeys(protocols)))


def _seeds(value: Any) -> list[int]:
    seeds = value if isinstance(value, list) else [value]
    if not seeds or not all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in seeds):
        raise ConfigError(f"seeds={value}: expected whole numbers, e.g. seeds=[0,1].")
    return list(dict.fromkeys(seeds))


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"partial={value}: expected true or false.")
    return value


def _mapping(value: Any) -> dict[str, Any] | None:
    if value is None or isinstance(value, dict):
        return value
    raise ConfigError(
        f"slurm={value}: expected settings of submitit, e.g. slurm.slurm_partition=gpu or slurm={{slurm_partition: gpu}}."
    )
