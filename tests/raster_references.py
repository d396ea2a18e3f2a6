"""Slow rasterization in NumPy, by other formulas than the backends use."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def weights_by_solving(corners: np.ndarray, row: np.ndarray, column: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the weights (N,3) whose mix of corners (N,3,4) projects onto pixels: solutions of linear systems."""
    height, width = size
    target = np.stack([(2 * column + 1) / width - 1, (2 * row + 1) / height - 1, np.ones(len(row))], -1)
    solution = np.linalg.solve(corners[..., [0, 1, 3]].transpose(0, 2, 1), target[..., None])[..., 0]
    return solution / solution.sum(-1, keepdims=True)


def by_integers(clip: np.ndarray, triangles: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw triangles that need no clipping, one by one over the whole picture, with integer edge functions.

    Returns:
        Ids (-1: empty), and where two different depths are too close to call in float64.
    """
    height, width = size
    clip = clip.astype(np.float64)
    ndc = clip[:, :3] / clip[:, 3:]
    # From the picture's corner, in 1/16 pixel; np.rint and the backends round halves to even from the centre.
    snapped = (np.rint(ndc[:, :2] * 8 * np.array([width, height])) + 8 * np.array([width, height])).astype(np.int64)
    py, px = np.mgrid[:height, :width] * 16 + 8
    ids = np.full(size, -1)
    depth = np.full(size, np.inf)
    contested = np.zeros(size, dtype=bool)
    for number, corners in enumerate(triangles):
        a, b, c = snapped[corners]
        (ux, uy), (vx, vy) = b - a, c - a
        turn = np.sign(ux * vy - uy * vx)
        if turn == 0:
            continue
        inside = np.ones(size, dtype=bool)
        for p, q in ((a, b), (b, c), (c, a)):
            dx, dy = (q - p) * turn
            side = dx * (py - p[1]) - dy * (px - p[0])
            # Which centres on an edge count: left edges (the inside to their right) and top ones (the inside below).
            left_or_top = dy < 0 or (dy == 0 and dx > 0)
            inside &= (side > 0) | ((side == 0) & left_or_top)
        # The plane through the three snapped corners.
        matrix = np.column_stack([snapped[corners].astype(np.float64), np.ones(3)])
        gx, gy, g0 = np.linalg.solve(matrix, ndc[corners, 2])
        z = gx * px + gy * py + g0
        same = np.abs(z - depth) < 1e-9  # a step of the depth buffer is 5e-10
        nearer = inside & ~same & (z < depth)
        contested = np.where(nearer, False, contested | (inside & same & ~_equal(ndc[corners, 2], z, depth)))
        ids[nearer], depth[nearer] = number, z[nearer]
    return ids, contested


def _equal(corner_depths: np.ndarray, z: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Where a tie is a true one: a triangle at one constant depth against that same depth."""
    flat = np.ptp(corner_depths) < 1e-12
    return np.full(z.shape, flat) & (np.abs(z - depth) < 1e-10)


def by_elimination(clip: np.ndarray, triangles: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the id of the nearest triangle a pixel's ray meets inside the frustum, w > 0 included; -1 where none."""
    height, width = size
    row, column = np.mgrid[:height, :width]
    return np.array(
        [_hit(clip, triangles, size, r, c) for r, c in zip(row.ravel(), column.ravel(), strict=True)]
    ).reshape(size)  # fmt: skip


def _hit(clip: np.ndarray, triangles: np.ndarray, size: tuple[int, int], row: float, column: float) -> int:
    height, width = size
    target = np.array([(2 * column + 1) / width - 1, (2 * row + 1) / height - 1, 1.0])
    corners = clip[triangles]  # F,3,4
    matrix = corners[:, :, [0, 1, 3]].transpose(0, 2, 1)
    usable = np.isfinite(corners).all((1, 2))
    usable[usable] = np.abs(np.linalg.det(matrix[usable])) > 1e-30
    weights = np.full((len(triangles), 3), -1.0)
    if usable.any():
        weights[usable] = np.linalg.solve(matrix[usable], np.broadcast_to(target[:, None], (usable.sum(), 3, 1)))[..., 0]
    # The system gives the point at w = 1 on the ray, so weights are positive exactly where w is.
    hit = (weights >= 0).all(-1)
    z = np.where(hit, (np.where(hit[:, None], weights, 0) * np.nan_to_num(corners[..., 2])).sum(-1), np.inf)
    hit &= np.abs(z) <= 1
    return int(np.where(hit, z, np.inf).argmin()) if hit.any() else -1


def on_nudged_picture(clip: Tensor, triangles: Tensor, size: tuple[int, int], row: int, column: int) -> set[int]:
    """Return the ids a ray meets within about 1/16 pixel of a pixel's centre."""
    clip, triangles = clip.double().numpy(), triangles.numpy()
    steps = (-0.07, -0.035, 0.0, 0.035, 0.07)
    return {_hit(clip, triangles, size, row + dy, column + dx) for dy in steps for dx in steps}


def interpolate_loops(
    attributes: Tensor, raster: Tensor, triangles: Tensor, weight: Tensor
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the picture, and the gradients of sum(picture * weight) to attributes and raster, pixel by pixel."""
    a, r, w = (t.detach().double().numpy() for t in (attributes, raster, weight))
    picture, to_a, to_r = np.zeros(w.shape), np.zeros(a.shape), np.zeros(r.shape)
    for image, row, column in np.ndindex(*r.shape[:3]):
        u, v, _, number = r[image, row, column]
        if number > 0:
            own = image if a.shape[0] > 1 else 0
            corners = triangles[int(number) - 1].tolist()
            g = w[image, row, column]
            for share, corner in zip((u, v, 1 - u - v), corners, strict=True):
                picture[image, row, column] += share * a[own, corner]
                to_a[own, corner] += share * g
            to_r[image, row, column, 0] = g @ (a[own, corners[0]] - a[own, corners[2]])
            to_r[image, row, column, 1] = g @ (a[own, corners[1]] - a[own, corners[2]])
    return picture, to_a, to_r


def texture_loops(texture: Tensor, uv: Tensor) -> np.ndarray:
    """Look a map up bilinearly, pixel by pixel: texel i has its centre at (i + 0.5) / size, the border is repeated."""
    t, places = texture.detach().double().numpy(), uv.detach().double().numpy()
    height, width = t.shape[1:3]
    picked = np.zeros((*places.shape[:3], t.shape[3]))
    for image, row, column in np.ndindex(*places.shape[:3]):
        x = places[image, row, column, 0] * width - 0.5
        y = places[image, row, column, 1] * height - 0.5
        for j in (int(np.floor(y)), int(np.floor(y)) + 1):
            for i in (int(np.floor(x)), int(np.floor(x)) + 1):
                share = (1 - abs(x - i)) * (1 - abs(y - j))
                picked[image, row, column] += share * t[image, np.clip(j, 0, height - 1), np.clip(i, 0, width - 1)]
    return picked
