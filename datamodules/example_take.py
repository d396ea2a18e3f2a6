"""A take that nobody has to record: blinks, an opening jaw, a smile, brows and a glance, written down as key poses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from avatarzoo.datamodules.take import EXAMPLE, Take
from avatarzoo.rigs.arkit import ARKIT_NAMES

FPS = 25

#: ARKit weights that move: seconds at which they peak, how long they take to rise and to fall, and the peak.
ARKIT_KEYS: tuple[tuple[Sequence[str], float, float, float], ...] = (
    (("EyeBlinkLeft", "EyeBlinkRight"), 0.6, 0.15, 1.0),
    (("JawOpen",), 1.4, 0.5, 0.8),
    (("MouthSmileLeft", "MouthSmileRight"), 2.6, 0.6, 0.9),
    (("CheekSquintLeft", "CheekSquintRight"), 2.6, 0.6, 0.5),
    (("BrowInnerUp", "BrowOuterUpLeft", "BrowOuterUpRight"), 3.8, 0.5, 0.9),
    (("EyeLookOutLeft", "EyeLookInRight"), 4.8, 0.3, 0.8),
    (("EyeBlinkLeft", "EyeBlinkRight"), 5.5, 0.15, 1.0),
    (("MouthPucker", "MouthFunnel"), 6.3, 0.4, 0.8),
)
#: FLAME: name, column, seconds of the peak, seconds to rise and to fall, peak (radians; units of the expression's columns).
FLAME_KEYS: tuple[tuple[str, int, float, float, float], ...] = (
    ("jaw", 0, 1.0, 0.5, 0.3),
    *(("expression", column, 2.0 + 0.8 * column, 0.6, 2.0) for column in range(5)),
    ("eyes", 1, 6.4, 0.3, 0.25),
    ("eyes", 4, 6.4, 0.3, 0.25),
)
SECONDS = 7.0


def example_take(arkit: Tensor | None, flame: Mapping[str, Tensor] | None, edition: str = "") -> Take:
    """Make the take, over a neutral face.

    Args:
        arkit: 52 weights of the neutral face, or None.
        flame: its FLAME parameters by name, or None.
        edition: of FLAME that they belong to.

    Returns:
        25 frames per second: every signal there is starts and ends at the neutral face.
    """
    times = torch.arange(0, SECONDS + 1e-6, 1 / FPS, dtype=torch.float64)

    def bump(peak: float, width: float) -> Tensor:
        return (1 - (times - peak).abs() / width).clamp_min(0).float()

    weights = None
    if arkit is not None:
        weights = arkit.expand(len(times), -1).clone()
        for names, peak, width, height in ARKIT_KEYS:
            for name in names:
                column = weights[:, ARKIT_NAMES.index(name)]
                column += bump(peak, width) * (height - column)
    parameters = None
    if flame is not None:
        parameters = {name: value.expand(len(times), -1).clone() for name, value in flame.items()}
        for name, column, peak, width, height in FLAME_KEYS:
            if name in parameters:
                parameters[name][:, column] += bump(peak, width) * height
    return Take(EXAMPLE, np.asarray(times), weights, parameters, edition)
