"""Ears: a patch of the head's side is lifted off it and folded into helix, antihelix, bowl, tragus and lobe."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CENTRE = (6.0, -14.0)  #: y and z of the patch's middle, mm
HALF_WIDTH, HALF_HEIGHT = 16.5, 31.0
LEAN = 12.0  #: degrees the top leans backwards


def _step(a: float, b: float, x: Array) -> Array:
    t = np.clip((x - a) / (b - a), 0, 1)
    return t * t * (3 - 2 * t)


def _bump(a: Array, b: Array, place: tuple[float, float], radii: tuple[float, float]) -> Array:
    return np.exp(-(((a - place[0]) / radii[0]) ** 2) - ((b - place[1]) / radii[1]) ** 2)


def ear_coordinates(points: Array) -> tuple[Array, Array, Array]:
    """Return forward and upward places on the ear (mm) and the distance from its middle, 1 on its outline.

    Args:
        points: N,3 mm on the head without ears.
    """
    forward, up = points[:, 2] - CENTRE[1], points[:, 1] - CENTRE[0]
    c, s = np.cos(np.radians(LEAN)), np.sin(np.radians(LEAN))
    a, b = c * forward + s * up, c * up - s * forward
    width = HALF_WIDTH * (1 + 0.16 * np.clip(b / HALF_HEIGHT, -1.2, 1.2) - 0.10 * np.clip(-b / HALF_HEIGHT - 0.4, 0, 1))
    r = np.sqrt((a / width) ** 2 + (b / HALF_HEIGHT) ** 2)
    return a, b, np.where(np.abs(points[:, 0]) > 40, r, 9.0)


def raise_ears(points: Array) -> Array:
    """Return the points with both ears lifted out of the head.

    Args:
        points: N,3 mm on the head without ears.
    """
    a, b, r = ear_coordinates(points)
    inside = 1 - _step(0.93, 1.13, r)
    back = _step(15, -15, a)
    lift = 4.5 + 14.5 * back + 1.5 * _step(5, 30, b)
    turn = np.degrees(np.arctan2(b / HALF_HEIGHT, a / HALF_WIDTH))  # 0 in front, 90 on top
    along_helix = _step(-5, 25, turn) * (b > -40) + (turn < -100) + (_step(-60, -110, turn) * (turn < 0))
    along_helix = np.clip(along_helix, 0, 1) * (1 - 0.7 * _step(-14, -24, b))
    rim = np.exp(-(((r - 0.90) / 0.10) ** 2)) * along_helix
    groove = np.exp(-(((r - 0.70) / 0.10) ** 2)) * along_helix
    fold = np.exp(-(((np.hypot((a - 3.0) / 0.62, b + 1.0) - 17.5) / 3.6) ** 2)) * _step(6, -4, a) * _step(-22, -12, b)
    bowl = _bump(a, b, (4.0, -5.0), (6.8, 10.5))
    relief = 2.6 * rim - 2.6 * groove + 2.2 * fold - 10.0 * bowl - 2.5 * _bump(a, b, (4, 14), (6, 6))
    relief += 5.0 * _bump(a, b, (13.5, -6.5), (3.6, 5.0)) + 1.6 * _bump(a, b, (4.5, -17.5), (4.0, 3.2))
    relief += 1.5 * _bump(a, b, (1, -26), (8, 6))
    height = inside * (lift + relief * _step(1.02, 0.92, r))
    moved = points.copy()
    moved[:, 0] += np.sign(points[:, 0]) * height * 0.90
    moved[:, 2] -= inside * lift * 0.40 * back
    return moved
