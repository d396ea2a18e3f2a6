"""One learned code per training frame: what an auto-decoder knows, and nothing of any other frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from avatarzoo.batch import HeadBatch
from avatarzoo.capture import CaptureSummary
from avatarzoo.drivers.base import Code, Driver
from avatarzoo.errors import ConfigError
from avatarzoo.registry import register


@register("driver", "frame_code")
class FrameCode(Driver):
    """A latent code per frame, learned with the model; a frame that was not trained on has none.

    Codes of other frames can be fitted to their pictures with everything else frozen (``avatarzoo.fitting``): the record
    then says so, and counts the model among those that see pictures.
    """

    requires = ("driving.frame",)
    test_inputs = "parameters"
    only_training_frames = True

    def __init__(
        self, shape: tuple[int, int, int], rasterizer: Mapping[str, Any] | str = "warp", *, init_std: float = 0.1
    ) -> None:
        """Remember the options; the table is made in ``bind``.

        Args:
            shape: of the code.
            rasterizer: unused.
            init_std: standard deviation of the codes at the start.
        """
        super().__init__()
        self.shape, self.init_std = tuple(shape), init_std

    def bind(self, summary: CaptureSummary) -> None:
        """Make a row for every frame of the capture; those trained on are known."""
        self.names = list(summary.tables["frame"])
        self.codes = nn.Parameter(torch.randn(len(self.names), *self.shape) * self.init_std)
        known = torch.zeros(len(self.names), dtype=torch.bool)
        known[summary.train_frames if summary.train_frames is not None else slice(None)] = True
        self.register_buffer("known", known, persistent=False)  # in the checkpoint's summary already

    def unknown(self, frames: Tensor) -> Tensor:
        """Return those of some frames (N int64) that have no code, each once."""
        frames = torch.unique(frames)
        inside = (frames >= 0) & (frames < len(self.codes))
        return frames[~inside | ~self.known[frames.clamp(0, len(self.codes) - 1)]]

    def forward(self, batch: HeadBatch) -> Code:
        """Look the frames' codes up (see ``Driver``).

        Raises:
            ConfigError: a frame that was not trained on and has not been fitted.
        """
        if batch.driving is None or batch.driving.frame is None:
            raise ConfigError("driver 'frame_code' needs driving.frame, the index of the frame.")
        frames = batch.driving.frame
        unknown = self.unknown(frames)
        if len(unknown):
            index = int(unknown[0])
            name = self.names[index] if 0 <= index < len(self.names) else str(index)
            raise ConfigError(
                f"driver 'frame_code' has no code for frame {name!r}: it was not trained on. Ask for codes fitted to the "
                "frames' own pictures with `avatarzoo test ... fit_codes=STEPS` (the record says so), or train with a "
                "driver that reads a signal, such as driver=arkit."
            )
        return Code(self.codes[frames])
