"""Train a resolved config: from the capture on disk to a run's folder with its last checkpoint."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L

from avatarzoo import checkpoint, crash
from avatarzoo.build import build_capture, build_model
from avatarzoo.callbacks.checkpoints import Checkpoints
from avatarzoo.callbacks.finishing import Finishing
from avatarzoo.callbacks.guard import Guard
from avatarzoo.callbacks.metrics import Metrics
from avatarzoo.callbacks.pictures import Pictures
from avatarzoo.callbacks.progress import ProgressBar
from avatarzoo.callbacks.snapshots import Snapshots
from avatarzoo.capture import CaptureSummary
from avatarzoo.config import from_yaml
from avatarzoo.datamodules.base import Capture, ZooData
from avatarzoo.errors import AvatarZooError
from avatarzoo.lightning import ZooModule, build_terms
from avatarzoo.losses.base import LossTerm
from avatarzoo.memory import keep_freed_memory
from avatarzoo.models.base import Model
from avatarzoo.requirements import absent_inputs, absent_regions, check_model, check_terms
from avatarzoo.resuming import check_goes_on, check_resumable, check_resumed, check_same_capture, train_samples
from avatarzoo.run_folder import TERM, announce, check_folder, conclude, run_folder, stored, write_record
from avatarzoo.trainer import build_trainer, check_trainer


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
    check_trainer(config)
    resumed = checkpoint.find(config["resume"]) if config.get("resume") else None
    before: dict[str, Any] | None = None
    if resumed is not None:
        content = checkpoint.read(resumed)
        check_resumable(content, resumed)
        before = content["avatarzoo"]
        del content  # weights and the optimizers' state are read again where they go
        check_resumed(config, from_yaml(before["config"]), resumed)
        check_goes_on(config, int(before["iteration"]), resumed)
    check_folder(config, resumed)
    L.seed_everything(int(config.get("seed", 0)), verbose=False)
    capture = build_capture(config)
    model = build_model(config)
    if getattr(capture, "provides", None):  # what a plug-in's capture knows later is checked again below
        check_model(model, config["model"]["name"], capture, config["data"]["name"])
        check_terms(build_terms(config), capture, config["data"]["name"])
    capture.prepare()
    summary = None if resumed is None or before is None else check_same_capture(capture, before, resumed)
    module = prepare_module(config, model, capture, summary)
    loader = config.get("loader") or {}
    data = ZooData(
        capture,
        batch_size=int(loader.get("batch_size", 4)) * module.phases[0].accumulate,
        workers=int(loader.get("workers", 0)),
        seed=module.seed,
    )
    data._ready = True

    run = run_folder(config, resumed)
    crash.run = run
    every = {key: int((config.get(key) or {}).get("every") or 0) for key in ("pictures", "checkpoint")}
    checkpoints, guard, metrics = Checkpoints(run, every["checkpoint"]), Guard(), Metrics(run)
    pictures = Pictures(run, capture, every["pictures"])
    # In this order: rows are written before they are shown, the last pictures are of the finished model, and the guard lets
    # go after its last checkpoint.
    snapshots = Snapshots(run, (config.get("checkpoint") or {}).get("snapshot_minutes"))
    callbacks = [metrics, ProgressBar(metrics), Finishing(checkpoints, guard), checkpoints, snapshots, pictures, guard]
    trainer = build_trainer(config, module, run, callbacks)
    if trainer.is_global_zero:
        readers = _readers(config, module)
        absent = absent_inputs(capture, {who: one.requires for who, one in readers.items()})
        absent |= absent_regions(capture, readers)
        write_record(config, run, absent)
        announce(config, run, capture, module, trainer, resumed, absent)
    if trainer.strategy.root_device.type == "cpu":
        keep_freed_memory()
    options = {"weights_only": True} if resumed and "weights_only" in inspect.signature(trainer.fit).parameters else {}
    with _plain_errors():
        trainer.fit(module, datamodule=data, ckpt_path=resumed, **options)
    if trainer.is_global_zero:
        conclude(checkpoints, pictures, module)
    return checkpoints.run


def prepare_module(
    config: Mapping[str, Any], model: Model, capture: Capture, summary: CaptureSummary | None = None
) -> ZooModule:
    """Check that the capture gives what model and terms need, bind them to it and build the module.

    Args:
        config: resolved.
        model: not bound yet.
        capture: prepared.
        summary: to bind to; None takes the capture's.

    Raises:
        DataError: something they require is not in the capture.
    """
    data_name = config["data"]["name"]
    check_model(model, config["model"]["name"], capture, data_name)
    summary = summary or capture.summary
    model.bind(summary)
    record = {
        "config": stored(config),
        "plugins": [Path(p).name for p in config.get("plugins") or []],
        "train_samples": train_samples(capture),
    }
    module = ZooModule.from_config(config, model, summary, record)
    check_terms(module.terms, capture, data_name)
    return module


def _readers(config: Mapping[str, Any], module: ZooModule) -> dict[str, Model | LossTerm]:
    """Return model and loss terms by who they are."""
    readers: dict[str, Model | LossTerm] = {f"model {config['model']['name']}": module.model}
    for phase, terms in module.terms.items():
        place = f"{phase}/" if len(module.terms) > 1 else ""
        readers |= {f"{TERM}{place}{key}": term for key, term in terms.items()}
    return readers


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
