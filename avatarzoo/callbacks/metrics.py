"""Write what a run measures to ``metrics.csv`` and to the loggers, every few steps."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path
from typing import Any, cast

import lightning as L

from avatarzoo.lightning import ZooModule

LOG_EVERY = 10  #: steps; between two reads the device is never waited for


class Metrics(L.Callback):
    """Read the module's running means every ``LOG_EVERY`` steps.

    Attributes:
        latest: the last row: iteration, elapsed, progress, steps_per_s, then the module's columns.
    """

    def __init__(self, run: Path) -> None:
        """Set the callback up.

        Args:
            run: the run's folder.
        """
        self.path = run / "metrics.csv"
        self.latest: dict[str, float] = {}
        self._file: Any = None
        self._columns: list[str] = []
        self._mark = (0, 0.0)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the file; rows past the iteration that is resumed are dropped."""
        module = cast(ZooModule, pl_module)
        self._mark = (module.iteration, time.monotonic())
        if not trainer.is_global_zero:
            return
        self._columns = ["iteration", "elapsed", "progress", "steps_per_s", *module.columns]
        rows = self._kept(module.iteration)
        partial = self.path.with_suffix(".partial")
        with open(partial, "w", newline="") as file:
            writer = csv.DictWriter(file, self._columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(partial, self.path)
        self._file = open(self.path, "a", newline="")

    def _kept(self, iteration: int) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        with open(self.path, newline="") as file:
            whole = [row for row in csv.DictReader(file) if None not in row.values()]  # a kill may cut the last line short
        return [row for row in whole if int(row["iteration"]) <= iteration]

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any = None, batch: Any = None, batch_idx: int = 0
    ) -> None:
        """Log when due: the first step, then every ``LOG_EVERY``."""
        module = cast(ZooModule, pl_module)
        if module.iteration % LOG_EVERY == 0 or not self.latest or trainer.should_stop:
            self._log(trainer, module)

    def _log(self, trainer: L.Trainer, module: ZooModule) -> None:
        means = module.take_means()
        steps, now = module.iteration - self._mark[0], time.monotonic()
        rate = steps / max(now - self._mark[1], 1e-9)
        self._mark = (module.iteration, now)
        row = {"elapsed": round(module.elapsed, 3), "progress": module.progress, "steps_per_s": rate}
        row |= means | module.rates
        self.latest = {"iteration": module.iteration, **row}
        if self._file is not None:
            csv.DictWriter(self._file, self._columns, restval="", extrasaction="ignore").writerow(self.latest)
            self._file.flush()
        for logger in trainer.loggers:
            logger.log_metrics(row, step=module.iteration)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
