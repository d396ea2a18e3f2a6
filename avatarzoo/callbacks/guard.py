"""End a run on Ctrl-C with the step in progress finished and saved; once training is over, leave out what follows it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, cast

import lightning as L

from avatarzoo.lightning import ZooModule

SIGNALS = (signal.SIGINT, signal.SIGTERM)
STEP = "Stopping after this step and saving; press Ctrl-C again to abort without saving."
OVER = "Training is over and its end is being saved; press Ctrl-C again to abort."


class Guard(L.Callback):
    """Turn the first Ctrl-C (or SIGTERM) into a request to stop, and leave the second to Python.

    Attributes:
        interrupted: whether there was such a request.
    """

    def __init__(self) -> None:
        self.interrupted = self._abortable = False
        self._module: ZooModule | None = None
        self._before: dict[int, Any] = {}

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any = None, batch_idx: int = 0
    ) -> None:
        """Listen from the first step on: before it there is nothing to save, and Ctrl-C simply ends the program."""
        self._listen(cast(ZooModule, pl_module))

    def _listen(self, module: ZooModule) -> None:
        if self._module is not None:
            return
        self._module = module
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}

    def abortable(self, module: ZooModule, work: Callable[[], None]) -> bool:
        """Do what a run that is over and saved can do without; Ctrl-C ends it at once, and it alone.

        Args:
            module: that was trained.
            work: to do.

        Returns:
            Whether it was done.
        """
        self._listen(module)
        self._abortable = True
        try:
            work()
        except KeyboardInterrupt:
            return False
        finally:
            self._abortable = False
        return True

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop listening once the last checkpoint is written (this callback comes after it)."""
        self._restore()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Stop listening."""
        self._restore()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._abortable:
            raise KeyboardInterrupt
        if self.interrupted:
            self._restore()
            raise KeyboardInterrupt
        self.interrupted = True
        if self._module is not None:
            self._module.stop_requested = True
            if self._module.global_rank == 0:
                print(f"\n{OVER if self._module.trainer.should_stop else STEP}", flush=True)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
