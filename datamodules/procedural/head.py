"""The neutral head: rays through the grid onto the signed distance field, ears, and the coarse tracked mesh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from avatarzoo.datamodules.procedural import shape
from avatarzoo.datamodules.procedural.ears import raise_ears
from avatarzoo.datamodules.procedural.layout import (
    Grid,
    chart_coordinates,
    eye_opening,
    lip_heights,
    make_grid,
    mouth_coordinates,
    point_ids,
    surface_coordinates,
    triangles,
)

Array = NDArray[np.float64]

# Rays by v: height and depth of their origin (mm), elevation in front and at the back, tilt of the pole (degrees).
_RAYS = np.array(
    [
        (0.000, -150, -25, -38, -4, 0),
        (0.110, -72, -18, -57, -24, 0),
        (0.200, 22, -4, -72, -44, 0),
        (0.255, 30, 0, -58, -40, 0),
        (0.300, 30, 0, -49.5, -35, 0),
        (0.365, 30, 0, -38.0, -27, 0),
        (0.445, 30, 0, -27.0, -18, 0),
        (0.495, 30, 0, -18.5, -12, 0),
        (0.605, 30, 0, -3.2, -3.2, 0),
        (0.740, 30, 0, 18, 18, 7),
        (0.880, 30, 0, 48, 48, 18),
        (1.000, 30, 0, 90, 90, 30),
    ]
)
_AZIMUTH = np.array([(0, 0), (0.108, 11.5), (0.206, 22.0), (0.30, 32.5), (0.464, 54), (0.616, 79), (0.83, 117), (1, 180)])


@dataclass(frozen=True)
class Head:
    """The neutral head.

    Attributes:
        grid: of the skin.
        uv: P,2 chart coordinates of the skin's points (the seam column's are those at u = 0).
        surface: P,2 coordinates on the smooth surface.
        vertices: P,3 mm, neutral.
        triangles: F,3 of the skin.
        wedge_uv: F,3,2 chart coordinates corner by corner.
        tracked: Q ids of the points that are vertices of the tracked mesh.
        tracked_triangles: G,3 ids into ``tracked``, strips over mouth and eyes included.
        tracked_uv, tracked_uv_triangles: its wedge UVs.
    """

    grid: Grid
    uv: Array
    surface: Array
    vertices: Array
    triangles: NDArray[np.int64]
    wedge_uv: Array
    tracked: NDArray[np.int64]
    tracked_triangles: NDArray[np.int64]
    tracked_uv: Array
    tracked_uv_triangles: NDArray[np.int64]


def rays(st: Array) -> tuple[Array, Array]:
    """Return origins and unit directions (N,3 each) of the rays that carry surface coordinates (N,2) to the skin."""
    u, v = st[:, 0], np.clip(st[:, 1], 0, 1)
    table = PchipInterpolator(_RAYS[:, 0], _RAYS[:, 1:])(v)
    t = 2 * u - 1
    azimuth = np.sign(t) * np.radians(PchipInterpolator(*_AZIMUTH.T)(np.abs(t)))
    back = (1 - np.cos(azimuth)) / 2
    elevation = np.radians(table[:, 2] * (1 - back) + table[:, 3] * back)
    tilt = np.radians(table[:, 4])
    x = np.sin(azimuth) * np.cos(elevation)
    y, z = np.sin(elevation), np.cos(azimuth) * np.cos(elevation)
    direction = np.stack([x, y * np.cos(tilt) + z * np.sin(tilt), z * np.cos(tilt) - y * np.sin(tilt)], -1)
    origin = np.stack([np.zeros_like(u), table[:, 0], table[:, 1]], -1)
    return origin, direction


def cast(st: Array) -> Array:
    """Return N,3 points where rays leave the head, from surface coordinates N,2."""
    # The head is symmetric: cast each mirrored pair once.
    folded = np.stack([0.5 + np.abs(st[:, 0] - 0.5), st[:, 1]], -1).round(9)
    unique, back = np.unique(folded, axis=0, return_inverse=True)
    origin, direction = rays(unique)
    distance = np.full(len(unique), 240.0)
    moving = np.arange(len(unique))
    for _ in range(80):
        step = 0.8 * shape.head(origin[moving] + distance[moving, None] * direction[moving])
        distance[moving] = np.maximum(distance[moving] - step, 0)
        moving = moving[np.abs(step) > 2e-3]
        if not len(moving):
            break
    points = (origin + distance[:, None] * direction)[back.ravel()]
    points[:, 0] *= np.where(st[:, 0] < 0.5, -1, 1)
    return points


def build_head(refine: int = 3) -> Head:
    """Build the neutral head.

    Args:
        refine: fine steps per step of the tracked mesh.
    """
    grid = make_grid(refine)
    u, v = grid.u[grid.column], grid.v[grid.row]
    place = relax(grid, lambda st: raise_ears(cast(st)))
    spread = place[grid.row, grid.column]
    surface = surface_coordinates(grid, spread[:, 0], spread[:, 1], grid.side)
    vertices = crease_lids(raise_ears(cast(surface)), surface, grid)
    vertices = shape_lips(vertices, *mouth_coordinates(grid, np.stack([u, v], -1)), grid.side)
    corners = triangles(grid)
    wedge_uv = _wedge_uv(grid, corners)
    coarse, strips = triangles(grid, refine), _strips(grid)
    corners_of_tracked = np.concatenate([coarse, strips])
    ids = point_ids(grid, corners_of_tracked)
    tracked, where = np.unique(ids, return_inverse=True)
    uv = _wedge_uv(grid, corners_of_tracked).reshape(-1, 2)
    tracked_uv, uv_where = np.unique(uv.round(7), axis=0, return_inverse=True)
    return Head(
        grid=grid,
        uv=chart_coordinates(grid, u, v, grid.side),
        surface=surface,
        vertices=vertices,
        triangles=point_ids(grid, corners),
        wedge_uv=wedge_uv,
        tracked=tracked,
        tracked_triangles=where.reshape(-1, 3),
        tracked_uv=tracked_uv,
        tracked_uv_triangles=uv_where.reshape(-1, 3),
    )


def relax(grid: Grid, place: Callable[[Array], Array]) -> Array:
    """Move nodes so that steep places (nose, ears, under the chin) get their share of rows and columns.

    Args:
        grid: the grid.
        place: from surface coordinates N,2 to points N,3.

    Returns:
        R,C,2 surface coordinates of the nodes, before slits are opened.
    """
    middle, n = (len(grid.u) - 1) // 2, grid.refine
    nodes = np.stack(np.meshgrid(grid.u, grid.v), -1)
    points = place(nodes.reshape(-1, 2)).reshape(*nodes.shape[:2], 3)
    ears = ((18, 37), (32, 74))
    windows = [(0, (0, 30), (0, 2 * middle // n), 0.75), (1, (37, 57), (middle // n - 9, middle // n + 9), 0.75)]
    windows += [
        (1, ears[1], (middle // n + s * ears[0][k], middle // n + s * ears[0][1 - k]), 0.6) for s, k in ((1, 0), (-1, 1))
    ]
    moved = nodes.copy()
    for axis, rows, columns, share in windows:
        r, c = slice(rows[0] * n, rows[1] * n + 1), slice(columns[0] * n, columns[1] * n + 1)
        old = nodes[r, c, 1 - axis]
        length = np.linalg.norm(np.diff(points[r, c], axis=axis), axis=2)
        length = gaussian_filter1d(length, 1.5 * n, axis=1 - axis)
        step = np.abs(np.diff(old, axis=axis))
        blend = share * length / length.sum(axis, keepdims=True) + (1 - share) * step / step.sum(axis, keepdims=True)
        new = _resample(old if axis else old.T, blend if axis else blend.T)
        new = new if axis else new.T
        across = np.linspace(-1, 1, new.shape[1 - axis])
        fade = np.ones_like(across) if axis == 0 else np.clip((1 - np.abs(across)) * 3, 0, 1)
        fade = fade * fade * (3 - 2 * fade)
        moved[r, c, 1 - axis] += (new - old) * (fade[:, None] if axis else fade[None])
    return moved


def _resample(old: Array, share: Array) -> Array:
    """Return rows of positions whose steps take equal parts of ``share``, given at the steps of ``old``; ends stay."""
    total = np.concatenate([np.zeros_like(share[:, :1]), np.cumsum(share, 1)], 1)
    want = (old - old[:, :1]) / (old[:, -1:] - old[:, :1])
    return np.stack([np.interp(w, t / t[-1], o) for w, t, o in zip(want, total, old, strict=True)])


def crease_lids(points: Array, surface: Array, grid: Grid) -> Array:
    """Return the points with the fold above each upper lid and the faint one below the lower lid.

    Args:
        points: N,3 mm.
        surface: N,2 surface coordinates.
        grid: the grid.
    """
    slit = grid.slit("eye_left")
    inner, outer = (grid.u[c] for c in slit.columns)
    half = (outer - inner) / 2
    a = (0.5 + np.abs(surface[:, 0] - 0.5) - (inner + outer) / 2) / half
    upper, lower, tilt = eye_opening(a)
    rise = (surface[:, 1] - grid.v[slit.row]) / (half * 1.12) - tilt
    fade = np.exp(-((np.abs(a) / 1.12) ** 8)) * (points[:, 2] > 50)
    fold = 1.5 * np.exp(-(((rise - upper - 0.20) / 0.075) ** 2)) - 0.7 * np.exp(-(((rise - upper - 0.38) / 0.12) ** 2))
    bag = 0.5 * np.exp(-(((rise + lower + 0.42) / 0.10) ** 2)) - 0.4 * np.exp(-(((rise + lower + 0.22) / 0.10) ** 2))
    moved = points.copy()
    moved[:, 2] -= (fold + bag) * fade
    return moved


def shape_lips(points: Array, across: Array, rise: Array, side: NDArray[np.int64]) -> Array:
    """Return the points with lips: two rolls that tuck in where they meet.

    Args:
        points: N,3 mm.
        across, rise: N, from ``mouth_coordinates``.
        side: N, as ``Grid.side``.
    """
    a = np.clip(np.abs(across), 0, 1)
    upper, lower = lip_heights(across)
    above = (rise > 0) | ((rise == 0) & (side >= 0))
    t = np.abs(rise) / np.maximum(np.where(above, upper, lower), 1.2)
    roll = (
        np.where(above, 3.1, 3.1 + 1.1 * np.minimum(t / 0.4, 1)) * np.sin(np.pi * np.clip((t + 0.18) / 1.30, 0, 1)) ** 1.2
    )
    skirt = 1.2 * np.exp(-(((t - 1.15) / 0.35) ** 2)) * above  # the crisp border of the upper lip
    tuck = -2.6 * np.exp(-((rise / 1.3) ** 2))
    inside = (np.abs(across) < 1.25) & (points[:, 2] > 55)
    fade = np.where(inside, np.clip(1 - a**3, 0, None), 0)
    corner = -1.6 * np.exp(-(((np.abs(across) - 1.02) / 0.13) ** 2) - (rise / 3.5) ** 2) * (points[:, 2] > 55)
    moved = points.copy()
    moved[:, 2] += (roll + skirt + tuck) * fade + corner
    moved[:, 1] += np.where(above, 0.2, -0.2) * roll * fade * np.minimum(t / 0.2, 1)  # the edges themselves touch
    return moved


def _wedge_uv(grid: Grid, corners: NDArray[np.int64]) -> Array:
    flat = corners.reshape(-1, 3)
    on_slit = np.zeros(grid.index_above.shape, dtype=bool)
    for slit in grid.slits:
        on_slit[slit.row, slit.columns[0] + 1 : slit.columns[1]] = True
    side = np.where(on_slit[flat[:, 0], flat[:, 1]], np.where(flat[:, 2] == 1, 1, -1), 0)
    u, v = grid.u[flat[:, 1]], grid.v[flat[:, 0]]
    # The pole has one uv per triangle that meets there: the middle of the triangle's base.
    uv = chart_coordinates(grid, u, v, side).reshape(*corners.shape[:2], 2)
    at_pole = corners[:, :, 0] == len(grid.v) - 1
    base = np.stack([corners[:, 0, 1], corners[:, 1, 1]], 1)
    uv[..., 0] = np.where(at_pole, grid.u[base].mean(1)[:, None], uv[..., 0])
    return uv


def _strips(grid: Grid) -> NDArray[np.int64]:
    """Return triangles (as ``triangles`` gives them) that span the slits between coarse points of their edges."""
    found = []
    for slit in grid.slits:
        columns = np.arange(slit.columns[0], slit.columns[1], grid.refine)
        for left in columns:
            right = left + grid.refine
            lower = [(slit.row, left, 0), (slit.row, right, 0)]
            upper = [(slit.row, left, 1), (slit.row, right, 1)]
            if left == columns[0]:
                found.append([lower[0], lower[1], upper[1]])
            elif left == columns[-1]:
                found.append([lower[0], lower[1], upper[0]])
            else:
                found += [[lower[0], lower[1], upper[1]], [lower[0], upper[1], upper[0]]]
    return np.array(found)
