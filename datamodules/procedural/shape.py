"""The head as a signed distance field: ellipsoids and round cones, blended smoothly into skull, face, neck and shoulders.

Face-centric millimetres: x to the subject's left, y up, z out of the face. Proportions follow average adult head
measurements (breadth 152, length 197, eye to chin 117, pupil to pupil 63).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EYE_CENTRE = np.array([31.5, 25.0, 66.5])  #: of the subject's left eyeball; the right one mirrors it
EYE_RADIUS = 12.2
LID_RADIUS = 13.5
STOMION = np.array([0.0, -46.0, 96.0])  #: where the closed lips meet


def ellipsoid(p: Array, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Array:
    """Return approximate signed distances to an ellipsoid, negative inside.

    Args:
        p: N,3 points.
        centre, radii: of the ellipsoid.
    """
    q = (p - np.asarray(centre)) / np.asarray(radii)
    near = np.linalg.norm(q, axis=1)
    slope = np.linalg.norm(q / np.asarray(radii), axis=1)
    return near * (near - 1) / np.maximum(slope, 1e-9)


def cone(p: Array, a: tuple[float, ...], b: tuple[float, ...], radius_a: float, radius_b: float) -> Array:
    """Return signed distances to a segment from ``a`` to ``b`` whose radius runs from one value to the other."""
    start, along = np.asarray(a), np.asarray(b) - np.asarray(a)
    t = np.clip((p - start) @ along / (along @ along), 0, 1)
    return np.linalg.norm(p - start - t[:, None] * along, axis=1) - (radius_a + (radius_b - radius_a) * t)


def union(a: Array, b: Array, k: float) -> Array:
    """Return the smooth union of two fields, blended where they differ by less than ``k``."""
    h = np.maximum(k - np.abs(a - b), 0) / k
    return np.minimum(a, b) - h * h * k / 4


def carve(a: Array, b: Array, k: float) -> Array:
    """Return ``a`` with ``b`` taken out, smoothly."""
    return -union(-a, b, k)


def head(points: Array) -> Array:
    """Return signed distances to the skin, lids shut over the eyes, without lips and ears.

    Args:
        points: N,3 mm.
    """
    p = points.copy()
    p[:, 0] = np.abs(p[:, 0])
    d = _skull(p)
    d = _face(p, d)
    d = _nose(p, d)
    d = _mouth(p, d)
    return union(d, _neck(p), 14)


def _skull(p: Array) -> Array:
    d = ellipsoid(p, (0, 56, -10), (73, 84, 93))
    d = union(d, ellipsoid(p, (0, 38, -48), (66, 62, 54)), 30)  # occiput
    d = union(d, ellipsoid(p, (0, 62, 38), (56, 52, 50)), 30)  # forehead
    return carve(d, ellipsoid(p, (98, 42, 56), (26, 34, 30)), 24)  # temple


def _face(p: Array, d: Array) -> Array:
    d = union(d, ellipsoid(p, (0, -2, 34), (58, 74, 50)), 24)
    d = union(d, ellipsoid(p, (0, -38, 46), (43, 50, 43)), 20)
    d = union(d, cone(p, (43, -42, 12), (12, -78, 68), 15, 14), 30)  # jaw from its angle to the chin
    d = union(d, cone(p, (43, -42, 12), (56, 10, 0), 15, 12), 30)  # ramus
    d = union(d, ellipsoid(p, (0, -79, 75), (20, 14, 16)), 16)  # chin
    d = union(d, cone(p, (42, 2, 62), (57, 9, 22), 14, 10), 28)  # cheekbone and arch
    d = union(d, ellipsoid(p, (33, -16, 66), (22, 22, 19)), 24)  # front of the cheek
    d = union(d, cone(p, (8, 40, 84), (34, 46, 76), 8, 7), 14)  # brow ridge
    d = union(d, cone(p, (34, 46, 76), (55, 34, 55), 7, 6), 14)
    d = carve(d, ellipsoid(p, (32, 24, 93), (19, 13, 17)), 11)  # eye socket
    d = carve(d, ellipsoid(p, (18.5, 24, 92), (7, 11, 14)), 8)  # inner corner
    lids = np.linalg.norm(p - EYE_CENTRE, axis=1) - LID_RADIUS
    return union(d, lids, 5)


def _nose(p: Array, d: Array) -> Array:
    d = union(d, cone(p, (0, 36, 82), (0, 12, 93), 7.5, 6.5), 10)
    d = union(d, cone(p, (0, 12, 93), (0, -9, 106), 6.5, 7.5), 8)
    d = union(d, ellipsoid(p, (0, -11, 107), (9.0, 8.5, 9)), 7)  # tip
    d = union(d, ellipsoid(p, (9.5, -15.5, 92), (7.6, 8.0, 14)), 7)  # wing
    d = union(d, cone(p, (0, -17, 106), (0, -24, 94), 4.0, 5), 6)  # columella
    return carve(d, ellipsoid(p, (6.4, -24.5, 101), (2.8, 3.6, 5.0)), 3.0)  # nostril


def _mouth(p: Array, d: Array) -> Array:
    d = union(d, ellipsoid(p, (0, -43, 66), (31, 28, 25)), 20)  # muzzle over the teeth
    d = carve(d, cone(p, (0, -27, 100), (0, -36, 100), 2.6, 3.4), 5)  # philtrum
    return carve(d, cone(p, (0, -63.5, 98), (14, -62.5, 92), 3.5, 2.5), 10)  # fold above the chin


def _neck(p: Array) -> Array:
    d = cone(p, (0, -40, -22), (0, -175, -34), 50, 53)
    d = union(d, cone(p, (52, -10, -14), (16, -172, 10), 13, 12), 16)  # sternomastoid
    d = union(d, ellipsoid(p, (0, -122, 22), (11, 17, 11)), 14)  # larynx
    d = union(d, cone(p, (0, -120, -50), (0, -170, -55), 38, 46), 30)
    return union(d, ellipsoid(p, (0, -232, -30), (150, 72, 74)), 60)  # shoulders
