"""Train a resolved config: from the capture on disk to a run's folder with its last checkpoint."""

from __future__ import annotations

import inspect
import json
import logging
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch.nn.parallel import DistributedDataParallel

from avatarzoo import checkpoint, registry
from avatarzoo.build import build_capture, build_model
from avatarzoo.callbacks.checkpoints import Checkpoints
from avatarzoo.callbacks.guard import Guard
from avatarzoo.callbacks.metrics import Metrics
from avatarzoo.callbacks.pictures import Pictures
from avatarzoo.callbacks.progress import ProgressBar
from avatarzoo.datamodules.base import Capture, ZooData
from avatarzoo.errors import AvatarZooError, ConfigError, DataError, did_you_mean
from avatarzoo.lightning import ZooModule
from avatarzoo.models.base import Model, parameter_counts
from avatarzoo.versions import versions

PRECISIONS = ("32-true", "bf16-mixed")
LOGGERS = ("csv", "wandb", "tensorboard")
#: What a run may not change when it is resumed.
FIXED = ("model", "encoding", "driver", "warp", "scale", "seed", "loader")


def fit(config: Mapping[str, Any]) -> Path:
    """Train.

    Args:
        config: resolved, as plain containers (``avatarzoo.config.load(...).resolved``). ``resume`` names a run's folder or
            a checkpoint to continue from; the run goes on in the same folder unless ``out`` names another.

    Returns:
        The run's folder.

    Raises:
        ConfigError, DataError: before training starts.
        NonFiniteError: a loss or gradient stopped being finite; the last checkpoint is whole and from before.
    """
    _quiet()
    resumed = checkpoint.find(config["resume"]) if config.get("resume") else None
    if resumed is not None:
        _check_resumed(config, checkpoint.read_config(resumed), resumed)
    _check_trainer(config)
    L.seed_everything(int(config.get("seed", 0)), verbose=False)
    capture = build_capture(config)
    model = build_model(config)
    capture.prepare()
    module = prepare_module(config, model, capture)
    loader = config.get("loader") or {}
    data = ZooData(
        capture,
        batch_size=int(loader.get("batch_size", 4)) * module.phases[0].accumulate,
        workers=int(loader.get("workers", 0)),
        seed=module.seed,
    )
    data._ready = True

    run = run_folder(config, resumed)
    every = {key: int((config.get(key) or {}).get("every") or 0) for key in ("pictures", "checkpoint")}
    checkpoints, guard, metrics = Checkpoints(run, every["checkpoint"]), Guard(), Metrics(run)
    pictures = Pictures(run, capture, every["pictures"])
    # In this order: rows are written before they are shown, and the guard lets go after the last checkpoint is written.
    callbacks = [metrics, ProgressBar(metrics), checkpoints, pictures, guard]
    trainer = build_trainer(config, module, run, callbacks)
    if trainer.is_global_zero:
        _write_record(config, run)
        _announce(config, run, capture, module, trainer, resumed)
    options = {"weights_only": True} if resumed and "weights_only" in inspect.signature(trainer.fit).parameters else {}
    with _plain_errors():
        trainer.fit(module, datamodule=data, ckpt_path=resumed, **options)
    if trainer.is_global_zero:
        _conclude(checkpoints, pictures, guard, module)
    return checkpoints.run


def prepare_module(config: Mapping[str, Any], model: Model, capture: Capture) -> ZooModule:
    """Check that the capture gives what model and terms need, bind them to it and build the module.

    Args:
        config: resolved.
        model: not bound yet.
        capture: prepared.

    Raises:
        DataError: something they require is not in the capture.
    """
    data_name = config["data"]["name"]
    check_requirements(f"model {config['model']['name']!r}", model.requires, capture, data_name)
    model.bind(capture.summary)
    record = {"config": _stored(config), "plugins": [Path(p).name for p in config.get("plugins") or []]}
    module = ZooModule.from_config(config, model, capture.summary, record)
    for phase, terms in module.terms.items():
        for key, term in terms.items():
            check_requirements(f"loss term {key!r} of phase {phase!r}", term.requires, capture, data_name)
    return module


def check_requirements(who: str, requires: Iterable[str], capture: Capture, data_name: str) -> None:
    """Check dotted paths of HeadBatch against what a capture provides.

    Args:
        who: needs them, for the message.
        requires: paths; those with a trailing "?" may be absent.
        capture: prepared.
        data_name: of the capture in the recipe.

    Raises:
        DataError: a path is missing.
    """
    missing = [p for p in requires if not p.endswith("?") and not _provided(p, capture.provides)]
    if not missing:
        return
    others = []
    for name in registry.names("data"):
        provides = getattr(registry.get("data", name), "provides", ())
        if name != data_name and all(_provided(p, provides) for p in missing):
            others.append(f"data={name}")
    hint = f" {' or '.join(others)} provide{'s' if len(others) == 1 else ''} it." if others else ""
    raise DataError(
        f"{who} needs {', '.join(missing)}, which data={data_name} ({capture.summary.name}) does not provide; "
        f"it provides {', '.join(sorted(capture.provides))}.{hint}"
    )


def _provided(path: str, provides: Iterable[str]) -> bool:
    return any(given == path or given.startswith(path + ".") for given in provides)


def run_folder(config: Mapping[str, Any], resumed: Path | None = None) -> Path:
    """Return the run's folder, made by the first process.

    Args:
        config: ``out`` names it; else a resumed run keeps its own, and a new one gets runs/<recipe>/<date-time>.
        resumed: the checkpoint that is resumed.

    Raises:
        ConfigError: ``out`` holds another run.
    """
    if config.get("out"):
        run = Path(config["out"])
        same = resumed is not None and resumed.parent.parent.resolve() == run.resolve()
        if (run / "config.yaml").exists() and not same and rank_zero_only.rank == 0:
            raise ConfigError(f"out={run} holds a run already; continue it with resume={run}, or choose another folder.")
    elif resumed is not None and resumed.parent.name == "checkpoints":
        run = resumed.parent.parent
    else:
        base = Path("runs") / Path(str(config.get("recipe") or "run")).stem / time.strftime("%Y%m%d-%H%M%S")
        run, attempt = base, 1
        while run.exists():
            attempt += 1
            run = base.with_name(f"{base.name}-{attempt}")
    if rank_zero_only.rank == 0:
        run.mkdir(parents=True, exist_ok=True)
    return run


def build_trainer(config: Mapping[str, Any], module: ZooModule, run: Path, callbacks: list[L.Callback]) -> L.Trainer:
    """Build a trainer that leaves steps, clipping, accumulation, stopping and checkpoints to AvatarZoo.

    Args:
        config: resolved.
        module: to be trained.
        run: the run's folder.
        callbacks: of the run.
    """
    node = config.get("trainer") or {}
    accelerator, devices = node.get("accelerator") or "auto", node.get("devices") or "auto"
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    devices = 1 if devices == "auto" else devices  # more devices are more pictures per step: only when asked for
    several = devices not in (1, "1") and not (isinstance(devices, list) and len(devices) == 1)
    strategy: Any = "auto"
    if several or int(os.environ.get("WORLD_SIZE", 1)) > 1:
        # Only phases leave parameters without a gradient; looking for such costs time in each step.
        # Buffers are the same everywhere, because every statistic in them was averaged; they need no copying per step.
        known = inspect.signature(DistributedDataParallel).parameters
        copying = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        strategy = DDPStrategy(find_unused_parameters=len(module.phases) > 1, **{copying: False})
    return L.Trainer(
        accelerator=accelerator,
        devices=devices,
        num_nodes=int(node.get("num_nodes", 1)),
        strategy=strategy,
        precision=node.get("precision") or "32-true",
        max_steps=-1,
        max_epochs=-1,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=build_loggers(config, run) or False,
        callbacks=callbacks,
        default_root_dir=run,
    )


def build_loggers(config: Mapping[str, Any], run: Path) -> list[Any]:
    """Build the loggers beside metrics.csv.

    Args:
        config: ``logger``: csv, wandb or tensorboard.
        run: the run's folder.

    Raises:
        ConfigError: an unknown logger, or one that is not installed.
    """
    name = config.get("logger") or "csv"
    if name not in LOGGERS:
        raise ConfigError(f"logger={name!r} is not known.{did_you_mean(str(name), LOGGERS)}")
    if name == "tensorboard":
        try:
            import tensorboard  # noqa: F401
        except ModuleNotFoundError as error:
            raise ConfigError("logger=tensorboard needs: pip install 'avatarzoo[tensorboard]'.") from error
        from lightning.pytorch.loggers import TensorBoardLogger

        return [TensorBoardLogger(save_dir=run, name="tensorboard", version="")]
    if name == "wandb":
        from lightning.pytorch.loggers import WandbLogger

        mode = os.environ.get("WANDB_MODE") or ("online" if _wandb_key() else "offline")
        mode = {"dryrun": "offline", "run": "online"}.get(mode, mode)  # its former names
        os.environ.setdefault("WANDB_SILENT", "true")
        identity = f"{run.parent.name}-{run.name}"
        return [WandbLogger(identity, save_dir=run, id=identity, project="avatarzoo", mode=mode, config=dict(config))]
    return []


def _wandb_key() -> bool:
    import wandb

    return bool(wandb.api.api_key)


def _check_trainer(config: Mapping[str, Any]) -> None:
    precision = (config.get("trainer") or {}).get("precision") or "32-true"
    if precision not in PRECISIONS:
        raise ConfigError(f"trainer.precision={precision!r}: {' or '.join(PRECISIONS)} (float16 would need loss scaling).")


def _check_resumed(config: Mapping[str, Any], before: Mapping[str, Any], path: Path) -> None:
    plain = {key: checkpoint._plain(config.get(key)) for key in FIXED}
    changed = [key for key in FIXED if plain[key] != before.get(key)]
    if list(config["phases"]) != list(before["phases"]):
        changed.append("phases")
    if changed:
        raise ConfigError(
            f"{path} was trained with another {', '.join(changed)}; a resumed run continues exactly, so leave "
            f"{'it' if len(changed) == 1 else 'them'} as before, or start a new run without resume."
        )


def _stored(config: Mapping[str, Any]) -> str:
    return checkpoint.to_yaml({**config, "resume": None})


def _write_record(config: Mapping[str, Any], run: Path) -> None:
    (run / "config.yaml").write_text(_stored(config), encoding="utf-8")
    (run / "versions.json").write_text(json.dumps(versions(), indent=2) + "\n", encoding="utf-8")


def _announce(
    config: Mapping[str, Any], run: Path, capture: Capture, module: ZooModule, trainer: L.Trainer, resumed: Path | None
) -> None:
    counts = parameter_counts(module.model)
    device = trainer.strategy.root_device
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    where = f"{trainer.world_size} x {where}" if trainer.world_size > 1 else where
    rasterizer = (config.get("rasterizer") or {}).get("name", "none")
    end = [f"{module.max_steps:,} steps"] if module.max_steps else []
    end += [f"{module.max_time:.0f} s"] if module.max_time else []
    lines = [
        f"recipe      {config.get('recipe')} (scale {config.get('scale')}), seed {module.seed}",
        f"data        {config['data']['name']}: {capture.summary.name}, "
        + ", ".join(f"{len(s)} {split}" for split, s in capture.splits.items())
        + " pictures",
        f"model       {config['model']['name']}, {sum(counts.values()):,} parameters: "
        + ", ".join(f"{name} {count:,}" for name, count in counts.items()),
        f"runs on     {where}, precision {trainer.precision}, rasterizer {rasterizer}",
        f"until       {' or '.join(end)}",
        f"run         {run}",
    ]
    if resumed is not None:
        lines.append(f"resumes     {resumed}")
    if capture.skipped:
        lines.append(f"skipped     {len(capture.skipped)} bad frames, first {capture.skipped[0]}")
    print("\n".join(lines), flush=True)


def _conclude(checkpoints: Checkpoints, pictures: Pictures, guard: Guard, module: ZooModule) -> None:
    lines = [f"checkpoint  {checkpoints.path} ({module.iteration:,} steps)"]
    if pictures.last is not None:
        lines.append(f"pictures    {pictures.last}")
    if guard.interrupted:
        lines.append(f"to resume   avatarzoo fit resume={checkpoints.run}")
    else:
        lines.append(f"next        avatarzoo test ckpt={checkpoints.run}")
        lines.append(f"            avatarzoo render ckpt={checkpoints.run} path=orbit out=orbit.mp4")
    print("\n".join(lines), flush=True)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Raise what went wrong itself, not what wrapped it on its way out of a loader's worker or the trainer's clean-up."""
    try:
        yield
    except AvatarZooError as error:
        wrapped, mark = str(error), f"{type(error).__name__}: "
        if wrapped.startswith("Caught ") and mark in wrapped:
            raise type(error)(wrapped.rsplit(mark, 1)[1].strip()) from None
        raise
    except RuntimeError as error:
        if "iter(combined_loader)" in str(error) and error.__context__ is not None:
            raise error.__context__ from None
        raise


def _quiet() -> None:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # True of every run here, and meant: the loader is endless and starts at any step by itself.
    for message in (
        ".*does not have many workers.*",
        ".*dataloader is not resumable.*",
        ".*resuming from a checkpoint that ended.*",
        ".*`max_epochs` was not set.*",
        ".*GPU available but not used.*",
        ".*overridden `transfer_batch_to_device`.*",
        ".*treespec, LeafSpec.*",
    ):
        warnings.filterwarnings("ignore", message=message)
