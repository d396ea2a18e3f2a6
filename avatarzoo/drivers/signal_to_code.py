"""From a vector of driving parameters to a code: what the parameter drivers share."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from avatarzoo.errors import ConfigError


class SignalToCode(nn.Module):
    """A linear map, or a small network, from B,N signals to B,*shape codes.

    The first layer's weights start at 0, so a signal that never moves in training moves nothing at test either. What the
    layers give is multiplied by a gain, which under Adam is a rate so many times as high as that of the driver's part.
    """

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

    def forward(self, signal: Tensor) -> Tensor:
        """Map B,N to B,*shape."""
        return self.gain * self.layers(signal).reshape(-1, *self.shape)
