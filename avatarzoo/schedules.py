"""When things act in a run: a point in it, and plans of terms, optimizers and phases as functions of that point.

Starts and durations are ``int`` steps or ``float`` fractions of the run (below 1), as a recipe writes them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Moment:
    """A point in a run.

    Attributes:
        iteration: steps completed.
        progress: of the run in 0..1, the larger of its share of steps and of time.
    """

    iteration: int = 0
    progress: float = 0.0

    def on_scale_of(self, span: float) -> float:
        """Return this moment in the unit of a span: the progress for a fraction, else the iteration."""
        return self.progress if is_fraction(span) else float(self.iteration)


def is_fraction(value: float) -> bool:
    """Return whether a start or duration is a fraction of the run (a float strictly between 0 and 1)."""
    return isinstance(value, float) and 0.0 < value < 1.0


@dataclass(frozen=True)
class TermPlan:
    """One loss term of a phase.

    Attributes:
        key: its name in the recipe.
        component: the node ``registry.build("loss", ...)`` takes.
        weight: at the end of the ramp.
        start: when it switches on; steps or a fraction.
        ramp: how long its weight takes from 0 to ``weight``, in the same unit.
    """

    key: str
    component: dict[str, Any]
    weight: float = 1.0
    start: float = 0
    ramp: float = 0

    def weight_at(self, moment: Moment) -> float:
        """Return the weight at a moment; 0 before ``start``."""
        unit = self.start or self.ramp
        since = moment.on_scale_of(unit) - self.start
        if since < 0:
            return 0.0
        return self.weight if not self.ramp else self.weight * min(1.0, since / self.ramp)


@dataclass(frozen=True)
class OptimizerPlan:
    """An optimizer and its learning-rate schedule.

    Attributes:
        name: a key of ``OPTIMIZERS``.
        lr: learning rate, of parts that ``lr_by_part`` does not name.
        lr_by_part: learning rate by part.
        options: further arguments of the optimizer (betas, eps, weight_decay, momentum).
        decay: "none"; "cosine" or "exponential" over the whole run.
        final: share of the learning rate that a decay ends at.
        warmup: linear from 0, counted from the phase's start; steps or a fraction.
    """

    name: str = "adam"
    lr: float = 1e-3
    lr_by_part: dict[str, float] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    decay: str = "none"
    final: float = 0.05
    warmup: float = 0

    def factor_at(self, moment: Moment, start: float = 0) -> float:
        """Return what learning rates are multiplied by at a moment.

        Args:
            moment: the step about to be taken.
            start: of the phase.
        """
        factor = 1.0
        if self.decay == "cosine":
            factor = self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, moment.progress)))
        if self.decay == "exponential":
            factor = self.final ** min(1.0, moment.progress)
        if self.warmup:
            one = 0.0 if is_fraction(self.warmup) else 1.0  # the first of N warm-up steps takes 1/N, not 0
            since = moment.on_scale_of(self.warmup) - start + one
            factor *= min(1.0, max(0.0, since) / self.warmup)
        return factor


@dataclass(frozen=True)
class Phase:
    """One phase of a step.

    Attributes:
        name: its key in the recipe.
        trains: names of the parts it trains; None for all.
        terms: its objective.
        optimizer: its optimizer.
        every: it acts in steps whose number this divides.
        start: first step, or fraction of the run, it acts in.
        clip: greatest norm of its gradient, or None.
        accumulate: slices its batch is computed in, one after the other.
    """

    name: str
    trains: tuple[str, ...] | None
    terms: tuple[TermPlan, ...]
    optimizer: OptimizerPlan
    every: int = 1
    start: float = 0
    clip: float | None = None
    accumulate: int = 1

    def due(self, moment: Moment) -> bool:
        """Return whether the phase acts in the step that starts at a moment."""
        return moment.iteration % self.every == 0 and moment.on_scale_of(self.start) >= self.start
