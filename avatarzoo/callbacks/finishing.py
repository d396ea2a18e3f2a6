"""Let the model do what is left to do once training ends, outside the time and the figures of training."""

from __future__ import annotations

from typing import Any, cast

import lightning as L

from avatarzoo.datamodules.progress import track
from avatarzoo.lightning import ZooModule
from avatarzoo.models.base import Model


class Finishing(L.Callback):
    """Call ``Model.finish`` after the last step; it has to run after the metrics and before the last checkpoint."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any = None, batch: Any = None, batch_idx: int = 0
    ) -> None:
        """Finish the model if the run is over; not after an interrupt, which waits for no more than the step."""
        module = cast(ZooModule, pl_module)
        model = module.model
        if not trainer.should_stop or module.progress < 1.0 or type(model).finish is Model.finish:
            return
        frames = cast(Any, trainer).datamodule.frames("train")
        if trainer.is_global_zero:
            print(f"making {model.finishing} of {len(frames)} frames ...", flush=True)
        with trainer.precision_plugin.train_step_context():  # in the precision of a step
            model.finish(track(frames, f"Making {model.finishing}"), len(frames))
