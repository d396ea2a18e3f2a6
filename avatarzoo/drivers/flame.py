"""Drive by FLAME's expression, jaw and eyes."""

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

#: parts of a frame's parameters: how many numbers, and what brings them to the size of an expression coefficient. In the
#: unit "motion" rotations and lids count at least as much: not every tracked mesh has eyeballs, or lids that close.
PARTS: dict[str, tuple[int, float]] = {"expression": (100, 1.0), "jaw": (3, 5.0), "eyes": (6, 3.0), "eyelids": (2, 1.0)}


@register("driver", "flame")
class FlameDriver(Driver):
    """FLAME expression, jaw and eye rotations to a code: no picture and no mesh of the frame is seen at test."""

    requires = ("driving.flame",)
    test_inputs = "parameters"

    def __init__(
        self,
        shape: tuple[int, int, int],
        rasterizer: Mapping[str, Any] | str = "warp",
        *,
        parts: list[str] = ["expression", "jaw", "eyes"],  # noqa: B006 - a schema default, never changed
        expressions: int = 50,
        unit: str = "motion",
        hidden: list[int] = [],  # noqa: B006
        gain: float = 1.0,
    ) -> None:
        """Make the map from parameters to the code.

        Args:
            shape: of the code.
            rasterizer: unused.
            parts: which parameters drive: expression coefficients, jaw and eyes (axis-angle, radians; left eye first) and,
                from trackers that have them, eyelids (left, right in 0..1).
            expressions: how many leading expression coefficients; the rest count little and are noise of the tracker.
            unit: what a number counts. "motion": how far it moves the tracked mesh over the training frames, in vertex
                stds; rotations and lids at least as with "value". "value": its value, the jaw times 5, eyes times 3.
            hidden: widths of hidden layers; none makes the code linear in the parameters.
            gain: factor on the code: how much faster than the driver's rate the map learns.

        Raises:
            ConfigError: an unknown part or unit, or a number of expressions out of 1..100.
        """
        super().__init__()
        self.unit = check_unit(unit)
        for part in parts:
            if part not in PARTS:
                raise ConfigError(f"driver.parts names {part!r}.{did_you_mean(part, PARTS)}")
        if not 1 <= expressions <= PARTS["expression"][0]:
            raise ConfigError(f"driver.expressions is {expressions}; FLAME has 1 to {PARTS['expression'][0]}.")
        self.widths = {part: expressions if part == "expression" else PARTS[part][0] for part in parts}
        self.requires = tuple(f"driving.flame.{part}" for part in self.widths)
        self.to_code = SignalToCode(sum(self.widths.values()), shape, hidden, gain)
        self.to_code.factor = torch.cat([torch.full((width,), PARTS[part][1]) for part, width in self.widths.items()])

    def bind(self, summary: CaptureSummary) -> None:
        """Measure each number by what it moves (see ``Driver``)."""
        if self.unit == "value":
            return
        factors = []
        for part, width in self.widths.items():
            motion = motion_of(summary, f"flame.{part}", width, "flame")
            factors.append(motion if part == "expression" else motion.clamp(min=PARTS[part][1]))
        self.to_code.factor = torch.cat(factors).to(self.to_code.factor)

    def forward(self, batch: HeadBatch) -> Code:
        """Map the frame's parameters (see ``Driver``)."""
        flame = None if batch.driving is None else batch.driving.flame
        columns = []
        for part, width in self.widths.items():
            values = None if flame is None else flame.get(part)
            if values is None or values.shape[1] < width:
                found = "the batch has none" if values is None else f"the batch has {values.shape[1]}"
                raise ConfigError(
                    f"driver 'flame' needs {width} numbers of driving.flame[{part!r}], and {found}; "
                    f"{'lower driver.expressions' if part == 'expression' else 'leave it out of driver.parts'}."
                )
            columns.append(values[:, :width])
        return Code(self.to_code(torch.cat(columns, dim=1)))
