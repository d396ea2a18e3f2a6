"""The grid the head is cut from: rows around the head, columns down it, slits for eyes and mouth, and the UV chart.

A point of the chart is (u, v): u runs once around the head (0.5 in front, growing to the subject's left, the seam at the
back), v from the neck's rim (0) to the crown (1). The chart fills the whole atlas. Eyes and mouth are slits in the grid
that open into holes of the chart, so that the strips which span them on the tracked mesh own texels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from torch import Tensor

Array = NDArray[np.float64]

HALF_COLUMNS, ROWS = 38, 96  #: of the coarse grid; the fine grid has ``refine`` times as many
MOUTH_ROW, EYE_ROW = 32, 58
MOUTH_COLUMNS, EYE_COLUMNS = 8, (5, 15)  #: half width; inner and outer corner
_COLUMN_U = [(0, 0.0), (5, 0.054), (8, 0.082), (15, 0.150), (20, 0.232), (24, 0.308), (33, 0.415), (38, 0.5)]
_ROW_V = [(0, 0.0), (10, 0.11), (22, 0.255), (32, 0.365), (45, 0.495), (58, 0.605), (72, 0.74), (85, 0.88), (96, 1.0)]


@dataclass(frozen=True)
class Slit:
    """One opening of the grid.

    Attributes:
        name: "mouth", "eye_left" or "eye_right" (the subject's).
        row: row of the fine grid it lies on.
        columns: first and last column, its corners.
    """

    name: str
    row: int
    columns: tuple[int, int]


@dataclass(frozen=True)
class Grid:
    """The fine grid and how its points are numbered.

    Attributes:
        refine: fine steps per coarse step.
        u, v: node positions along columns and rows before slits are opened.
        slits: the openings.
        index_above, index_below: R,C point ids as seen by the cells above and below a row; they differ on slits only.
        row, column: P grid place of every point.
        side: P, +1 on the upper edge of a slit, -1 on its lower edge, 0 elsewhere.
    """

    refine: int
    u: Array
    v: Array
    slits: tuple[Slit, ...]
    index_above: NDArray[np.int64]
    index_below: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    side: NDArray[np.int64]

    def slit(self, name: str) -> Slit:
        """Return the slit of that name."""
        return next(s for s in self.slits if s.name == name)

    def edge(self, slit: Slit, upper: bool) -> NDArray[np.int64]:
        """Return the point ids of one edge of a slit from corner to corner, in order of columns."""
        index = self.index_above if upper else self.index_below
        return index[slit.row, slit.columns[0] : slit.columns[1] + 1]


def make_grid(refine: int) -> Grid:
    """Build the grid.

    The last column repeats the first (the seam), so it has no points of its own; the top row is one point.

    Args:
        refine: fine steps per coarse step, at least 1.
    """
    half = PchipInterpolator(*np.array(_COLUMN_U).T)(np.linspace(0, HALF_COLUMNS, HALF_COLUMNS * refine + 1))
    u = np.concatenate([0.5 - half[::-1], 0.5 + half[1:]])
    v = PchipInterpolator(*np.array(_ROW_V).T)(np.linspace(0, ROWS, ROWS * refine + 1))
    middle = HALF_COLUMNS * refine
    inner, outer = (middle + c * refine for c in EYE_COLUMNS)
    slits = (
        Slit("mouth", MOUTH_ROW * refine, (middle - MOUTH_COLUMNS * refine, middle + MOUTH_COLUMNS * refine)),
        Slit("eye_left", EYE_ROW * refine, (inner, outer)),
        Slit("eye_right", EYE_ROW * refine, (2 * middle - outer, 2 * middle - inner)),
    )
    rows, columns = len(v), len(u)
    index = np.arange((rows - 1) * (columns - 1)).reshape(rows - 1, columns - 1)
    pole = index.size
    index = np.concatenate([np.concatenate([index, index[:, :1]], axis=1), np.full((1, columns), pole)])
    row = np.concatenate([np.repeat(np.arange(rows - 1), columns - 1), [rows - 1]])
    column = np.concatenate([np.tile(np.arange(columns - 1), rows - 1), [0]])
    side, below = np.zeros(len(row), dtype=np.int64), index.copy()
    for slit in slits:
        inside = np.arange(slit.columns[0] + 1, slit.columns[1])
        side[index[slit.row, inside]] = 1
        below[slit.row, inside] = len(row) + np.arange(len(inside))
        row = np.concatenate([row, np.full(len(inside), slit.row)])
        column = np.concatenate([column, inside])
        side = np.concatenate([side, np.full(len(inside), -1)])
    return Grid(refine, u, v, slits, index, below, row, column, side)


def triangles(grid: Grid, step: int = 1) -> NDArray[np.int64]:
    """Return corners of the grid's triangles as flat (row * columns + column, is_above) places.

    Args:
        grid: the fine grid.
        step: 1 for the fine mesh, ``grid.refine`` for the coarse one.

    Returns:
        F,3,3: row, column and whether the cell lies above the row (1) or below (0), counter-clockwise seen from outside.
    """
    rows, columns = np.arange(0, len(grid.v) - 1, step), np.arange(0, len(grid.u) - 1, step)
    r, c = (x.ravel() for x in np.meshgrid(rows, columns, indexing="ij"))
    one = np.ones_like(r)
    a, b = np.stack([r, c, one], -1), np.stack([r, c + step, one], -1)
    d, e = np.stack([r + step, c, 0 * one], -1), np.stack([r + step, c + step, 0 * one], -1)
    first, second = np.stack([a, b, e], 1), np.stack([a, e, d], 1)
    flip = (c < (len(grid.u) - 1) // 2)[:, None, None]  # diagonals mirror about the middle
    first, second = np.where(flip, np.stack([a, b, d], 1), first), np.where(flip, np.stack([b, e, d], 1), second)
    top = r + step == len(grid.v) - 1
    first[top] = np.stack([a, b, e], 1)[top]
    return np.concatenate([first, second[~top]])


def point_ids(grid: Grid, corners: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the F,3 point ids of corners from ``triangles``."""
    row, column, above = corners[..., 0], corners[..., 1], corners[..., 2]
    return np.where(above == 1, grid.index_above[row, column], grid.index_below[row, column])


def eye_opening(a: Array) -> tuple[Array, Array, Array]:
    """Return the heights of the lid edges and of the line between the corners, as fractions of the half width.

    Args:
        a: place along the eye, -1 at the inner corner, +1 at the outer.
    """
    arch = np.clip(1 - np.abs(a) ** 2.2, 0, None)
    upper = 0.47 * arch**0.85 * (1 - 0.18 * np.clip(a, -1, 1))
    lower = 0.31 * arch * (1 + 0.20 * np.clip(a, -1, 1))
    return upper, lower, 0.10 * np.clip(a, -1.6, 1.6)


def _open(v: Array, line: Array, upper: Array, lower: Array, reach: float, side: Array, slope: float = 1.0) -> Array:
    """Move rows so that a slit on ``line`` opens by ``upper`` and ``lower``; nothing moves farther than ``reach`` away."""
    away = v - line
    above = (away > 0) | ((away == 0) & (side >= 0))
    lift = np.where(above, upper, -lower)
    fall = np.clip(1 - np.abs(away) / reach, 0, 1)
    return v + lift * fall * fall * (3 - 2 * fall) * slope


def surface_coordinates(grid: Grid, u: Array, v: Array, side: Array) -> Array:
    """Return where a node of the grid lies on the smooth surface in the neutral pose: eyes open, lips closed.

    Args:
        grid: the grid.
        u, v: N node positions.
        side: N, as ``Grid.side``.
    """
    line = grid.v[grid.slit("eye_left").row]
    inner, outer = (grid.u[c] for c in grid.slit("eye_left").columns)
    centre, half = (inner + outer) / 2, (outer - inner) / 2
    mirrored = 0.5 + np.abs(u - 0.5)
    a = (mirrored - centre) / half
    upper, lower, tilt = eye_opening(a)
    to_v = half * 1.12  # the chart's aspect: millimetres per v over millimetres per u at the eyes
    near = np.exp(-(np.clip(np.abs(a) - 1.1, 0, None) ** 2) * 3)
    opened = _open(v, np.full_like(v, line), upper * to_v, lower * to_v, 0.055, side)
    fall = np.clip(1 - np.abs(v - line) / 0.09, 0, 1)
    return np.stack([u, opened + tilt * to_v * near * fall * fall * (3 - 2 * fall)], -1)


def chart_coordinates(grid: Grid, u: Array, v: Array, side: Array) -> Array:
    """Return the UVs of nodes: as ``surface_coordinates``, with the mouth opened too.

    Args:
        grid: the grid.
        u, v: N node positions.
        side: N, as ``Grid.side``.
    """
    uv = surface_coordinates(grid, u, v, side)
    slit = grid.slit("mouth")
    half = (grid.u[slit.columns[1]] - grid.u[slit.columns[0]]) / 2
    arch = np.clip(1 - ((u - 0.5) / half) ** 2, 0, None)
    line = np.full_like(v, grid.v[slit.row])
    opened = _open(v, line, 0.022 * arch, 0.030 * arch, 0.075, side)
    return np.stack([uv[:, 0], uv[:, 1] + opened - v], -1)


def mouth_coordinates(grid: Grid, uv: Array) -> tuple[Array, Array]:
    """Return the place across the mouth (-1..1 from corner to corner) and mm along the skin above the line of the lips.

    Args:
        grid: the grid.
        uv: N,2 grid positions, before slits are opened.
    """
    slit = grid.slit("mouth")
    half = (grid.u[slit.columns[1]] - grid.u[slit.columns[0]]) / 2
    return (uv[:, 0] - 0.5) / half, (uv[:, 1] - grid.v[slit.row]) * 290.0


def lip_heights(across: Array) -> tuple[Array, Array]:
    """Return how far the red of the upper and the lower lip reaches from the line between them, mm.

    Args:
        across: N, -1..1 from corner to corner.
    """
    a = np.clip(np.abs(across), 0, 1)
    bow = 6.4 - 1.3 * np.exp(-((a / 0.10) ** 2)) + 0.7 * np.exp(-(((a - 0.22) / 0.14) ** 2))
    return bow * (1 - a**2.2), 8.0 * (1 - a**2.6)


def region_masks(size: int = 512) -> dict[str, Tensor]:
    """Return the chart's masks of "mouth" and "eyes", lips and lids included: size,size bool, row 0 at v = 0."""
    grid = make_grid(1)
    place = (np.arange(size) + 0.5) / size
    u, v = np.meshgrid(place, place)

    def inside(slit: Slit, half_height: float, shift: float) -> NDArray[np.bool_]:
        first, last = grid.u[list(slit.columns)]
        across = (u - (first + last) / 2) / ((last - first) / 2 * 1.22)
        return across**2 + ((v - grid.v[slit.row] - shift) / half_height) ** 2 <= 1

    eyes = inside(grid.slit("eye_left"), 0.040, 0.004) | inside(grid.slit("eye_right"), 0.040, 0.004)
    return {"mouth": torch.from_numpy(inside(grid.slit("mouth"), 0.075, -0.004)), "eyes": torch.from_numpy(eyes)}
