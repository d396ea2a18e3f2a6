"""A run's folder: which one it is, what is written into it, and what the person at the terminal is told about it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from avatarzoo import checkpoint
from avatarzoo.callbacks.checkpoints import Checkpoints
from avatarzoo.callbacks.pictures import Pictures
from avatarzoo.datamodules.base import Capture
from avatarzoo.errors import ConfigError
from avatarzoo.lightning import ZooModule
from avatarzoo.models.base import Model, parameter_counts
from avatarzoo.requirements import REGIONS
from avatarzoo.versions import versions

TERM = "loss term "  #: what readers of ``absent_inputs`` that are loss terms are called


def run_folder(config: Mapping[str, Any], resumed: Path | None = None) -> Path:
    """Return the run's folder, made by the first process.

    Args:
        config: ``out`` names it; else a resumed run keeps its own, and a new one gets runs/<recipe>/<date-time>.
        resumed: the checkpoint that is resumed.

    Raises:
        ConfigError: ``out`` holds another run.
    """
    check_folder(config, resumed)
    if config.get("out"):
        run = Path(config["out"])
    elif resumed is not None and resumed.parent.name == "checkpoints":
        run = resumed.parent.parent
    else:
        base = Path("runs") / Path(str(config.get("recipe") or "run")).stem / time.strftime("%Y%m%d-%H%M%S")
        run, attempt = base, 1
        while run.exists():
            attempt += 1
            run = base.with_name(f"{base.name}-{attempt}")
    if _first_process():
        run.mkdir(parents=True, exist_ok=True)
    return run


def check_folder(config: Mapping[str, Any], resumed: Path | None = None) -> None:
    """Check that ``out`` is free, or is the folder of the run that is resumed.

    Args:
        config: resolved.
        resumed: the checkpoint that is resumed.

    Raises:
        ConfigError: ``out`` holds another run, or is a file.
    """
    if not config.get("out"):
        return
    run = Path(config["out"])
    same = resumed is not None and resumed.parent.parent.resolve() == run.resolve()
    if run.is_file():
        raise ConfigError(f"out={run} is a file; give a folder that is new, or empty.")
    if (run / "config.yaml").exists() and not same and _first_process():
        raise ConfigError(f"out={run} holds a run already; continue it with resume={run}, or choose another folder.")


def _first_process() -> bool:
    return getattr(rank_zero_only, "rank", 0) == 0


def stored(config: Mapping[str, Any]) -> str:
    """Return a config as it is kept, in YAML: whether the run was resumed is not part of it."""
    return checkpoint.to_yaml({**config, "resume": None})


def write_record(config: Mapping[str, Any], run: Path, absent: Mapping[str, list[str]]) -> None:
    """Write config.yaml and versions.json.

    Args:
        config: resolved.
        run: the folder.
        absent: optional inputs the capture lacks, with who would read them, and options that therefore do nothing.
    """
    made_with = {**versions(), "absent_inputs": dict(absent)}
    (run / "config.yaml").write_text(stored(config), encoding="utf-8")
    (run / "versions.json").write_text(json.dumps(made_with, indent=2) + "\n", encoding="utf-8")


def announce(
    config: Mapping[str, Any],
    run: Path,
    capture: Capture,
    module: ZooModule,
    trainer: L.Trainer,
    resumed: Path | None,
    absent: Mapping[str, list[str]],
) -> None:
    """Print what is about to run, and on what.

    Args:
        config: resolved.
        run: the folder.
        capture: prepared.
        module: to be trained.
        trainer: that will train it.
        resumed: the checkpoint that is resumed, if one is.
        absent: optional inputs the capture lacks, with who would read them.
    """
    counts = parameter_counts(module.model)
    device = trainer.strategy.root_device
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    where = f"{trainer.world_size} x {where}" if trainer.world_size > 1 else where
    end = [f"{module.max_steps:,} steps"] if module.max_steps is not None else []
    end += [f"{module.max_time:.0f} s"] if module.max_time else []
    lines = [
        f"recipe      {config.get('recipe')} (scale {config.get('scale')}), seed {module.seed}",
        f"data        {config['data']['name']}: {capture.summary.name}, "
        + ", ".join(f"{len(s)} {split}" for split, s in capture.splits.items())
        + " pictures",
        f"model       {config['model']['name']}, {sum(counts.values()):,} parameters: "
        + ", ".join(f"{name} {count:,}" for name, count in counts.items()),
        f"runs on     {where}, precision {trainer.precision}, {backends(config)}",
        f"until       {' or '.join(end)}",
        f"run         {run}",
    ]
    if resumed is not None:
        lines.append(f"resumes     {resumed}")
    lines += _without(capture, absent)
    if capture.skipped:
        lines.append(f"skipped     {len(capture.skipped)} bad frames, first {capture.skipped[0]}")
    print("\n".join(lines), flush=True)


def _without(capture: Capture, absent: Mapping[str, list[str]]) -> list[str]:
    """Return a line on each thing that the capture lacks, with what follows from it."""
    lines = []
    for path, readers in absent.items():
        if path == REGIONS:
            idle = f"{', '.join(readers)} {'have' if len(readers) > 1 else 'has'} no effect"
            lines.append(f"without     {path} of the surface, of which the capture names none: {idle}")
            continue
        stand_in = f"; {capture.stand_ins[path]} renders a stand-in" if path in capture.stand_ins else ""
        terms = [who.removeprefix(TERM) for who in readers if who.startswith(TERM)]
        off = f"loss term{'s' if len(terms) > 1 else ''} {', '.join(terms)} stay{'s' if len(terms) == 1 else ''} 0"
        lines.append(f"without     {path}, which the capture lacks: {off if terms else 'the model does without'}{stand_in}")
    return lines


def backends(config: Mapping[str, Any]) -> str:
    """Return what draws, and on what the parts that have several backends run.

    Args:
        config: resolved.
    """
    found = ["rasterizer " + (config.get("rasterizer") or {}).get("name", "none")]
    nodes = [node for node in config.values() if isinstance(node, Mapping) and "backend" in node]
    return ", ".join(found + [f"{node['name']} on {node['backend']}" for node in nodes])


def conclude(checkpoints: Checkpoints, pictures: Pictures, module: ZooModule) -> None:
    """Print where checkpoint and pictures are and what to try next.

    Args:
        checkpoints, pictures: callbacks of the run.
        module: that was trained.
    """
    lines = ["", f"run         {checkpoints.run}", f"checkpoint  {checkpoints.path} ({module.iteration:,} steps)"]
    if pictures.last is not None:
        lines.append(f"pictures    {pictures.last}")
    if type(module.model).finish is not Model.finish and not module.complete:
        lines.append(
            "left out    what the model makes when a run ends; test and render go without it, slower where it saves "
            "time and with slightly other pictures"
        )
        if module.progress >= 1.0:
            lines.append(f"to make it  avatarzoo fit resume={checkpoints.run}")
    if module.progress < 1.0:
        lines.append(f"to resume   avatarzoo fit resume={checkpoints.run}")
    else:
        lines.append(f"next        avatarzoo test ckpt={checkpoints.run} protocol=tracked-v1")
        lines.append(f"            avatarzoo render ckpt={checkpoints.run} path=orbit out=orbit.mp4")
    print("\n".join(lines), flush=True)
