"""From a vector of driving parameters to a code, and what a parameter counts: what the parameter drivers share."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from avatarzoo.capture import CaptureSummary
from avatarzoo.errors import ConfigError, did_you_mean

UNITS = ("motion", "value")


class SignalToCode(nn.Module):
    """A linear map, or a small network, from B,N signals to B,*shape codes.

    The first layer's weights start at 0, so a signal that never moves in training moves nothing at test either. What the
    layers give is multiplied by a gain, which under Adam is a rate so many times as high as that of the driver's part.

    Each number is multiplied by a factor first. It matters more than it seems: gradient descent learns along the numbers
    that vary most, so fifty expression coefficients of unit variance, most of which move nothing, hide the few that open
    the mouth from frames that were not seen.

    Attributes:
        factor: N, what each number is multiplied by; ones until the driver sets it.
    """

    factor: Tensor

    def __init__(self, width: int, shape: tuple[int, ...], hidden: list[int], gain: float = 1.0) -> None:
        """Make the map.

        Args:
            width: N, numbers of the signal.
            shape: of the code.
            hidden: widths between signal and code, each followed by LeakyReLU(0.2); empty makes the map linear: the
                code is a neutral one plus one direction per parameter, as blendshapes are.
            gain: factor on what the layers give.

        Raises:
            ConfigError: a width below 1, or a gain that is not above 0.
        """
        super().__init__()
        if width < 1 or any(h < 1 for h in hidden):
            raise ConfigError(f"A driver maps {width} parameters over hidden layers of {hidden}; every width is 1 or more.")
        if not gain > 0:
            raise ConfigError(f"driver.gain={gain}: give a factor above 0.")
        self.shape, self.gain = tuple(shape), gain
        layers: list[nn.Module] = []
        for a, b in pairwise([width, *hidden, math.prod(shape)]):
            layers += [nn.Linear(a, b), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers[:-1])
        nn.init.zeros_(self.layers[0].weight)  # type: ignore[arg-type]
        self.register_buffer("factor", torch.ones(width), persistent=False)

    def forward(self, signal: Tensor) -> Tensor:
        """Map B,N to B,*shape."""
        return self.gain * self.layers(signal * self.factor).reshape(-1, *self.shape)


def check_unit(unit: str) -> str:
    """Return a driver's ``unit``, or refuse it."""
    if unit not in UNITS:
        raise ConfigError(f"driver.unit is one of {', '.join(UNITS)}, not {unit!r}.{did_you_mean(unit, UNITS)}")
    return unit


def motion_of(summary: CaptureSummary, signal: str, width: int, driver: str) -> Tensor:
    """Return what each number of a signal moves, in vertex stds per unit.

    Args:
        summary: of the capture.
        signal: key of ``motion_per_unit``.
        width: how many of its leading numbers drive.
        driver: asks for it, for the message.

    Raises:
        ConfigError: the summary does not say, or of fewer numbers.
        DataError: the training frames' meshes are all alike.
    """
    found = (summary.motion_per_unit or {}).get(signal)
    if found is None:
        raise ConfigError(
            f"driver {driver!r} measures {signal} by how far it moves the tracked mesh, which the capture "
            f"{summary.name!r} does not say: its data module sets no summary.motion_per_unit of it. Say driver.unit=value."
        )
    if len(found) < width:
        raise ConfigError(
            f"driver {driver!r} needs {width} numbers of {signal}, and the capture {summary.name!r} has {len(found)}."
        )
    return found[:width] / summary.spread("vertex_std", f"driver {driver!r}")
