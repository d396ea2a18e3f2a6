"""Draw a grid of pictures every so many steps: what was to be seen, what the model renders, and where they differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import torch
from torch import Tensor

from avatarzoo import pictures
from avatarzoo.batch import HeadBatch, Prediction, collate
from avatarzoo.datamodules.base import Capture, Sample
from avatarzoo.geometry.cameras import face_to_camera, to_camera
from avatarzoo.lightning import ZooModule
from avatarzoo.models.base import Avatar

COLUMNS = ("target", "render", "mean |error|", "depth", "mesh")
BARS = {
    2: pictures.Bar(pictures.HEAT, "0", f"{255 / pictures.ERROR_GAIN:.0f} / 255, mean of R, G, B"),
    3: pictures.Bar(pictures.DEPTH, "near", "far"),
}
ROWS = 3


class Pictures(L.Callback):
    """Render a few fixed samples under evaluation mode and write them to the run and its loggers."""

    def __init__(self, run: Path, capture: Capture, every: int) -> None:
        """Set the callback up.

        Args:
            run: the run's folder.
            capture: prepared.
            every: steps between two grids; 0 draws none.
        """
        self.folder, self.capture, self.every = run / "pictures", capture, every
        self._batch: HeadBatch | None = None
        self._drawn_at = -1

    @property
    def last(self) -> Path | None:
        """The newest grid, or None."""
        return max(self.folder.glob("step_*.png"), default=None)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw what the run starts from."""
        self._draw(trainer, cast(ZooModule, pl_module))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any = None, batch: Any = None, batch_idx: int = 0
    ) -> None:
        """Draw when due; what the run ends with is drawn when its model is finished."""
        module = cast(ZooModule, pl_module)
        if self.every and module.iteration % self.every == 0 and not trainer.should_stop:
            self._draw(trainer, module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw what the run ended with."""
        self._draw(trainer, cast(ZooModule, pl_module))

    def _draw(self, trainer: L.Trainer, module: ZooModule) -> None:
        model = module.model
        if (
            not self.every
            or not trainer.is_global_zero
            or not isinstance(model, Avatar)
            or self._drawn_at == module.iteration
        ):
            return
        self._drawn_at = module.iteration
        if self._batch is None:
            samples = choose(self.capture, ROWS, _only_training_frames(model))
            self._batch = collate([self.capture.read(s) for s in samples])
        length = f" of {module.max_steps:,}" if module.max_steps else ""
        title = f"step {module.iteration:,}{length}, {module.progress:.0%} of the run"
        sheet = draw(model, self._batch.to(module.device), title)
        path = self.folder / f"step_{module.iteration:06d}.png"
        pictures.save(sheet, path)
        for logger in trainer.loggers:
            _send(logger, sheet, module.iteration)


def _only_training_frames(model: Avatar) -> bool:
    return any(getattr(module, "only_training_frames", False) for module in model.modules())


def choose(capture: Capture, count: int, only_training: bool = False) -> list[Sample]:
    """Choose samples to look at: the front view first, then other views, held-out frames before training frames.

    Args:
        capture: prepared.
        count: at most this many.
        only_training: for models that know no other frames.

    Returns:
        Distinct samples, always the same for a capture.
    """
    pool = capture.splits["train"] if only_training else capture.splits.get("val") or capture.splits["train"]
    front = capture.summary.cameras.views.get("Front")
    chosen = [s for s in pool if s.camera == front][-1:]
    for source in (pool, capture.splits["train"]):
        steps = max(1, len(source) // count)
        for sample in [*source[steps // 2 :: steps], *source]:
            if len(chosen) >= count:
                break
            if sample not in chosen and sample.camera not in {c.camera for c in chosen}:
                chosen.append(sample)
    return chosen or list(pool[:count])


def draw(model: Avatar, batch: HeadBatch, title: str = "") -> np.ndarray:
    """Render a batch and lay target, render, error, depth and mesh side by side, one row per image.

    Args:
        model: bound; its mode is put back afterwards.
        batch: on the model's device.
        title: above the grid.

    Returns:
        H,W,3 uint8.
    """
    training = model.training
    model.eval()
    rows, names = [], []
    with torch.no_grad():
        for index in range(batch.size):  # one at a time: a grid must not need more memory than a training step
            one = batch._map(lambda t, i=index: t[i : i + 1])
            rows.append(row(model.render(one), one))
            names.append(one.meta.describe(0))
    model.train(training)
    return pictures.grid(rows, COLUMNS, names, title=title, bars=BARS)


def row(prediction: Prediction, batch: HeadBatch) -> list[Tensor | None]:
    """Return the cells of one image; what is not known is None.

    Args:
        prediction: of one image.
        batch: of one image.
    """
    cells: list[Tensor | None] = [None] * len(COLUMNS)
    view = batch.view
    target = None if view is None or view.image is None else pictures.to_picture(view.image[0])
    cells[0] = target
    if prediction.image is not None:
        rendered = pictures.to_picture(prediction.image[0])
        cells[1] = rendered
        if target is not None:
            cells[2] = pictures.error_heat(rendered, target)
    if prediction.depth is not None:
        cells[3] = pictures.depth_colours(prediction.depth[0, 0].float())
    cells[4] = mesh_cell(prediction, batch)
    return cells


def mesh_cell(prediction: Prediction, batch: HeadBatch) -> Tensor | None:
    """Shade the geometry: from the raster's mesh where there is one, else from the depth picture.

    Args:
        prediction: of one image.
        batch: of one image.
    """
    if batch.view is None:
        return None
    raster, triangles = prediction.extras.get("raster"), prediction.extras.get("mesh_triangles")
    if raster is not None and triangles is not None and prediction.vertices is not None and batch.mesh is not None:
        R, t = face_to_camera(batch.view.camera, batch.mesh.head_pose)
        placed = to_camera(prediction.vertices.float(), R, t)[0]
        return pictures.shade(pictures.raster_normals(placed, triangles, raster[0].float()))
    if prediction.depth is not None:
        return pictures.shade(pictures.depth_normals(prediction.depth[0, 0].float(), batch.view.camera.K[0]))
    return None


def _send(logger: Any, sheet: np.ndarray, iteration: int) -> None:
    if hasattr(logger, "log_image"):  # Weights & Biases
        logger.log_image(key="pictures", images=[sheet], step=iteration)
    elif hasattr(logger.experiment, "add_image"):  # TensorBoard
        logger.experiment.add_image("pictures", sheet, iteration, dataformats="HWC")
