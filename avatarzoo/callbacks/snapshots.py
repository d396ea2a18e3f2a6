"""Keep the weights every so many minutes of training, so that a run can be scored as it was on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import lightning as L

from avatarzoo import checkpoint
from avatarzoo.callbacks.checkpoints import save_whole
from avatarzoo.lightning import ZooModule


class Snapshots(L.Callback):
    """Write ``checkpoints/snapshot_MMMMM.MM.ckpt`` (minutes of training): weights and record, nothing to resume from.

    Scoring happens later, from the files, so that it costs the run no time and its numbers no honesty.
    """

    def __init__(self, run: Path, minutes: float | None) -> None:
        """Set the callback up.

        Args:
            run: the run's folder; that of the first process counts.
            minutes: of training between two snapshots; None keeps none.
        """
        self.run, self.minutes = run, minutes
        self._taken = 0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Agree on one run folder over all processes."""
        self.run = Path(trainer.strategy.broadcast(str(self.run)))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Go on where a resumed run stood; a snapshot from after its checkpoint is of steps that are taken anew."""
        module = cast(ZooModule, pl_module)
        if not self.minutes:
            return
        self._taken = int(module.elapsed / (60 * self.minutes))
        if trainer.is_global_zero and module.iteration:
            for path, minutes in checkpoint.snapshots(self.run / "checkpoints").items():
                if minutes * 60 > module.elapsed:
                    path.unlink()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any = None, batch: Any = None, batch_idx: int = 0
    ) -> None:
        """Save when due."""
        module = cast(ZooModule, pl_module)
        if not self.minutes or module.elapsed < (self._taken + 1) * 60 * self.minutes:
            return
        self._taken = int(module.elapsed / (60 * self.minutes))
        if not trainer.should_stop:  # what the run ended with is its last checkpoint
            path = checkpoint.snapshot_path(self.run / "checkpoints", module.elapsed / 60)
            save_whole(trainer, path, weights_only=True)
