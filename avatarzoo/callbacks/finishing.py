"""Let the model do what is left to do once training ends, outside the time and the figures of training."""

from __future__ import annotations

from typing import Any, cast

import lightning as L

from avatarzoo.callbacks.checkpoints import Checkpoints
from avatarzoo.callbacks.guard import Guard
from avatarzoo.datamodules.progress import track
from avatarzoo.lightning import ZooModule


class Finishing(L.Callback):
    """Call ``Model.finish`` when a run is over, between two writings of the last checkpoint.

    The first of them keeps the last steps, whatever becomes of the rest; Ctrl-C leaves the rest out. A run that begins at
    its end, as one of no steps or one that is resumed, is finished too, unless it was already.
    """

    def __init__(self, checkpoints: Checkpoints, guard: Guard) -> None:
        """Set the callback up.

        Args:
            checkpoints: the callback that writes the last checkpoint; it has to run after this one.
            guard: the callback that listens to Ctrl-C; it has to run after this one.
        """
        self.checkpoints, self.guard = checkpoints, guard

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Finish the model if the run is over; not after an interrupt, which waits for no more than the step."""
        module = cast(ZooModule, pl_module)
        if module.progress < 1.0 or module.complete:
            return
        self.checkpoints.save(trainer, module)
        together = trainer.strategy.reduce_boolean_decision  # or one process would wait for others that left
        if not together(not self.guard.interrupted):
            return
        model = module.model
        frames = cast(Any, trainer).datamodule.frames("train", model.finishing_frames)
        if trainer.is_global_zero:
            print(f"making {model.finishing} of {len(frames)} frames ... (Ctrl-C leaves it out)", flush=True)

        def work() -> None:
            with trainer.precision_plugin.train_step_context():  # in the precision of a step
                model.finish(track(frames, f"Making {model.finishing}"), len(frames))

        module.model_finished = together(self.guard.abortable(module, work))
        self.checkpoints.save(trainer, module)
