"""The trainer and the loggers of a run."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from avatarzoo.errors import ConfigError, did_you_mean
from avatarzoo.lightning import ZooModule

PRECISIONS = ("32-true", "bf16-mixed")
LOGGERS = ("csv", "wandb", "tensorboard")


def check_trainer(config: Mapping[str, Any]) -> None:
    """Check what can be checked before anything is built.

    Args:
        config: resolved.

    Raises:
        ConfigError: a precision that is not offered.
    """
    precision = (config.get("trainer") or {}).get("precision") or "32-true"
    if precision not in PRECISIONS:
        raise ConfigError(f"trainer.precision={precision!r}: {' or '.join(PRECISIONS)} (float16 would need loss scaling).")


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
        # Phases leave parameters without a gradient, and models that say so; looking for such costs time in each step.
        # Buffers are the same everywhere, because every statistic in them was averaged; they need no copying per step.
        known = inspect.signature(DistributedDataParallel).parameters
        copying: Any = {"forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False}
        strategy = DDPStrategy(find_unused_parameters=len(module.phases) > 1 or module.model.rests, **copying)
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

        mode: Any = wandb_mode()
        os.environ.setdefault("WANDB_SILENT", "true")
        identity = f"{run.parent.name}-{run.name}"
        return [WandbLogger(identity, save_dir=run, id=identity, project="avatarzoo", mode=mode, config=dict(config))]
    return []


def wandb_mode() -> str:
    """Return WANDB_MODE, or else "online" where a key is known and "offline" where none is."""
    mode = os.environ.get("WANDB_MODE") or ("online" if _wandb_key() else "offline")
    return {"dryrun": "offline", "run": "online"}.get(mode, mode)  # its former names


def _wandb_key() -> bool:
    import wandb

    return bool(wandb.api.api_key)
