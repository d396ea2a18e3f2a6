"""Write ``last.ckpt`` every so many steps and at the end, so that a kill at any moment leaves a whole file behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import lightning as L

from avatarzoo.lightning import ZooModule


class Checkpoints(L.Callback):
    """Keep the last checkpoint of a run."""

    def __init__(self, run: Path, every: int) -> None:
        """Set the callback up.

        Args:
            run: the run's folder; that of the first process counts.
            every: steps between two checkpoints; 0 writes one at the end only.
        """
        self.run, self.every = run, every
        self._saved = (-1, False)

    @property
    def path(self) -> Path:
        """Where the last checkpoint lies."""
        return self.run / "checkpoints" / "last.ckpt"

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Agree on one run folder over all processes."""
        self.run = Path(trainer.strategy.broadcast(str(self.run)))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any = None, batch: Any = None, batch_idx: int = 0
    ) -> None:
        """Save when due."""
        module = cast(ZooModule, pl_module)
        if self.every and module.iteration % self.every == 0:
            self.save(trainer, module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what the run ended with."""
        self.save(trainer, cast(ZooModule, pl_module))

    def save(self, trainer: L.Trainer, module: ZooModule) -> None:
        """Write the last checkpoint.

        Args:
            trainer: the trainer.
            module: the module; nothing is written twice for one iteration, except before and after its model is finished.
        """
        if (module.iteration, module.complete) == self._saved:
            return
        self._saved = (module.iteration, module.complete)
        save_whole(trainer, self.path)


def save_whole(trainer: L.Trainer, path: Path, weights_only: bool = False) -> None:
    """Write a checkpoint beside its place, then move it there in one act; every process has to call it.

    Args:
        trainer: the trainer.
        path: of the file.
        weights_only: leave out what resuming needs.
    """
    partial = path.with_suffix(".partial")
    if trainer.is_global_zero:
        path.parent.mkdir(parents=True, exist_ok=True)
    trainer.save_checkpoint(partial, weights_only=weights_only)
    if trainer.is_global_zero:
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
