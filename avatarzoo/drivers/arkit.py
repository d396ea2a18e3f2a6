"""Drive by the 52 ARKit weights that a phone records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from avatarzoo.batch import HeadBatch
from avatarzoo.capture import CaptureSummary
from avatarzoo.drivers.base import Code, Driver
from avatarzoo.drivers.signal_to_code import SignalToCode, check_unit, motion_of
from avatarzoo.errors import ConfigError, did_you_mean
from avatarzoo.registry import register
from avatarzoo.rigs.arkit import ARKIT_NAMES


@register("driver", "arkit")
class ARKitDriver(Driver):
    """52 ARKit weights to a code: no picture and no mesh of the frame is seen at test."""

    requires = ("driving.arkit",)
    test_inputs = "parameters"

    def __init__(
        self,
        shape: tuple[int, int, int],
        rasterizer: Mapping[str, Any] | str = "warp",
        *,
        unit: str = "value",
        hidden: list[int] = [],  # noqa: B006 - a schema default, never changed
        gain: float = 1.0,
        exclude: list[str] = ["TongueOut"],  # noqa: B006
    ) -> None:
        """Make the map from weights to the code.

        Args:
            shape: of the code.
            rasterizer: unused.
            unit: what a weight counts. "value": its value. "motion": how far it moves the tracked mesh over the training
                frames, in vertex stds; weights of the eyes at least their value.
            hidden: widths of hidden layers; none makes the code linear in the weights.
            gain: factor on the code: how much faster than the driver's rate the map learns.
            exclude: weights by name that are left out; the tongue, because trackers and meshes seldom have one.

        Raises:
            ConfigError: a name ARKit does not have, or an unknown unit.
        """
        super().__init__()
        self.unit = check_unit(unit)
        for name in exclude:
            if name not in ARKIT_NAMES:
                raise ConfigError(
                    f"driver.exclude names {name!r}, which is no ARKit weight.{did_you_mean(name, ARKIT_NAMES)}"
                )
        keep = [i for i, name in enumerate(ARKIT_NAMES) if name not in exclude]
        self.register_buffer("keep", torch.tensor(keep), persistent=False)
        self.to_code = SignalToCode(len(keep), shape, hidden, gain)

    def bind(self, summary: CaptureSummary) -> None:
        """Measure each weight by what it moves (see ``Driver``)."""
        if self.unit == "value":
            return
        motion = motion_of(summary, "arkit", len(ARKIT_NAMES), "arkit")
        eyes = [i for i, name in enumerate(ARKIT_NAMES) if name.startswith("Eye")]  # gaze and lids may move no tracked mesh
        motion[eyes] = motion[eyes].clamp(min=1.0)
        self.to_code.factor = motion.to(self.to_code.factor)[self.keep]

    def forward(self, batch: HeadBatch) -> Code:
        """Map the frame's weights (see ``Driver``)."""
        weights = None if batch.driving is None else batch.driving.arkit
        if weights is None:
            raise ConfigError("driver 'arkit' needs driving.arkit: 52 weights per frame, as in arkit_weights.csv.")
        return Code(self.to_code(weights[:, self.keep]))
