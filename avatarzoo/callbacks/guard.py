"""End a run on Ctrl-C with the step in progress finished and saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, cast

import lightning as L

from avatarzoo.lightning import ZooModule

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Guard(L.Callback):
    """Turn the first Ctrl-C (or SIGTERM) into a request to stop, and leave the second to Python.

    Attributes:
        interrupted: whether the run was ended this way.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._module: ZooModule | None = None
        self._before: dict[int, Any] = {}

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any = None, batch_idx: int = 0
    ) -> None:
        """Listen from the first step on: before it there is nothing to save, and Ctrl-C simply ends the program."""
        if self._module is not None:
            return
        self._module = cast(ZooModule, pl_module)
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop listening once the last checkpoint is written (this callback comes after it)."""
        self._restore()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Stop listening."""
        self._restore()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            self._restore()
            raise KeyboardInterrupt
        self.interrupted = True
        if self._module is not None:
            self._module.stop_requested = True
            if self._module.global_rank == 0:
                print("\nStopping after this step and saving; press Ctrl-C again to abort without saving.", flush=True)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
