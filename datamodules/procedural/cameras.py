"""Where the cameras stand: five named views first, then places that fill the frontal hemisphere."""

from __future__ import annotations

import numpy as np
import torch

from avatarzoo.capture import CameraTable

TARGET = np.array([0.0, -8.0, 6.0])  #: mm, what every camera looks at
#: (view, azimuth, elevation) in degrees; azimuth grows to the subject's left. "Left" is the viewer's left.
_PLACES = (
    ("Front", 0, 3),
    ("Up", 0, 32),
    ("Down", 0, -24),
    ("Left", -62, 4),
    ("Right", 62, 4),
    (None, -28, 6),
    (None, 28, 2),
    (None, -90, 2),
    (None, 90, 4),
    (None, -38, 30),
    (None, 38, -20),
    (None, 38, 30),
    (None, -38, -20),
    (None, -14, 14),
    (None, 14, -10),
    (None, 132, 8),
    (None, -132, 8),
)


def make_cameras(count: int, image_height: int, seed: int) -> CameraTable:
    """Place cameras about a metre from the head.

    Args:
        count: 1 or more; beyond the built-in places they follow a golden spiral over the front.
        image_height: pixels; the width is 0.65 of it.
        seed: moves principal points by a few pixels and distances by a few centimetres.
    """
    random = np.random.default_rng([seed, 11])
    width = round(0.65 * image_height)
    names, K, R, t, views = [], [], [], [], {}
    for index in range(count):
        if index < len(_PLACES):
            view, azimuth, elevation = _PLACES[index]
        else:
            view, azimuth = None, ((index * 0.618034) % 1 * 2 - 1) * 100
            elevation = ((index * 0.754878) % 1 * 2 - 1) * 30
        shift, distance = random.uniform(-1, 1, 2) * image_height * 0.012, 1000 + 90 * random.uniform()
        name = f"{400001 + 3 * index:06d}"
        names.append(name)
        if view:
            views[view] = name
        rotation, translation = _look_at(azimuth, elevation, distance)
        focal = image_height * 1000 / 330 * distance / 1045
        K.append([[focal, 0, (width - 1) / 2 + shift[0]], [0, focal, (image_height - 1) / 2 + shift[1]], [0, 0, 1]])
        R.append(rotation)
        t.append(translation)
    tensors = (torch.tensor(np.array(x), dtype=torch.float32) for x in (K, R, t))
    return CameraTable(names, *tensors, (image_height, width), views)


def _look_at(azimuth: float, elevation: float, distance: float) -> tuple[np.ndarray, np.ndarray]:
    a, e = np.radians(azimuth), np.radians(elevation)
    back = np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])
    right = np.array([np.cos(a), 0.0, -np.sin(a)])
    rotation = np.stack([right, np.cross(-back, right), -back])
    return rotation, -rotation @ (TARGET + distance * back)
