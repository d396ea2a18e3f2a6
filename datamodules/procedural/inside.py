"""What only the true pictures show: eyeballs, lid margins, the inside of the lips, teeth, gums and tongue.

None of it is on the tracked mesh. Every part is a grid; its points ride on the skull, the jaw, an eyeball or the skin's
edges.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatarzoo.datamodules.procedural.expressions import Pose
from avatarzoo.datamodules.procedural.head import Head
from avatarzoo.datamodules.procedural.shape import EYE_CENTRE, EYE_RADIUS

Array = NDArray[np.float64]

GUM, IVORY, TONGUE, LINING, DARK, MARGIN = (
    np.array(c)
    for c in (
        (0.62, 0.27, 0.26),
        (1.0, 0.92, 0.78),
        (0.60, 0.25, 0.24),
        (0.55, 0.20, 0.19),
        (0.12, 0.03, 0.03),
        (0.72, 0.43, 0.38),
    )
)
TOOTH_WIDTHS = (8.4, 6.6, 7.6, 7.0, 6.8, 9.5, 9.0)  #: from the middle outwards


@dataclass
class Part:
    """A grid of points drawn with colours of its own.

    Attributes:
        name: of the part.
        rest: N,3 mm in its own frame, or neutral face-centric.
        triangles: F,3, counter-clockwise from outside.
        colour: N,3 linear.
        gloss: of its highlight.
    open_sky: N in 0..1, how much light reaches a point, or one number.
    """

    name: str
    rest: Array
    triangles: NDArray[np.int64]
    colour: Array
    gloss: float
    open_sky: Array | float = 0.55


def grid_triangles(rows: int, columns: int, flip: bool = False) -> NDArray[np.int64]:
    """Return the triangles of a rows x columns grid of points."""
    r, c = (x.ravel() for x in np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij"))
    a, b, d, e = r * columns + c, r * columns + c + 1, (r + 1) * columns + c, (r + 1) * columns + c + 1
    found = np.concatenate([np.stack([a, b, e], 1), np.stack([a, e, d], 1)])
    return found[:, ::-1].copy() if flip else found


class Inside:
    """Build the parts once and place them for each pose."""

    def __init__(self, head: Head) -> None:
        """Build the parts for a head.

        Args:
            head: whose slits the margins hang on.
        """
        self.head, grid = head, head.grid
        self.edges = {(slit.name, upper): grid.edge(slit, upper) for slit in grid.slits for upper in (True, False)}
        self.parts = [_eyeball("eyeball_left"), _eyeball("eyeball_right")]
        for name in ("eye_left", "eye_right"):
            for upper in (True, False):
                self.parts.append(self._margin(name, upper))
        self.parts += [self._lip(True), self._lip(False), self._throat()]
        self.parts += [_teeth(True), _teeth(False), _tongue()]
        self.triangles = np.concatenate(
            [p.triangles + o for p, o in zip(self.parts, np.cumsum([0] + [len(p.rest) for p in self.parts]), strict=False)]
        )

    def _margin(self, name: str, upper: bool) -> Part:
        count = len(self.edges[name, upper])
        colour = np.repeat([MARGIN * 0.9, MARGIN], count, axis=0)
        return Part(
            f"margin_{name}_{'upper' if upper else 'lower'}",
            np.zeros((2 * count, 3)),
            grid_triangles(2, count, flip=not upper),
            colour,
            0.5,
        )

    def _lip(self, upper: bool) -> Part:
        count = len(self.edges["mouth", upper])
        colour = np.repeat([LINING * 1.1, LINING, LINING * 0.6, DARK], count, axis=0)
        dim = np.repeat([0.45, 0.30, 0.12, 0.02], count)
        return Part(
            f"lip_{'upper' if upper else 'lower'}",
            np.zeros((4 * count, 3)),
            grid_triangles(4, count, flip=not upper),
            colour,
            0.5,
            dim,
        )

    def _throat(self) -> Part:
        count = len(self.edges["mouth", True])
        return Part(
            "throat", np.zeros((2 * count, 3)), grid_triangles(2, count), np.repeat(DARK[None], 2 * count, 0), 0.0, 0.02
        )

    def place(self, skin: Array, pose: Pose) -> Array:
        """Return every part's points (mm, face-centric), in the order of ``parts``.

        Args:
            skin: P,3 posed skin.
            pose: of the same weights.
        """
        jaw_turn, jaw_shift = pose.jaw[:, :3], pose.jaw[:, 3]
        placed = []
        ends: dict[bool, Array] = {}
        for part in self.parts:
            if part.name.startswith("eyeball"):
                left = part.name == "eyeball_left"
                placed.append(part.rest @ pose.eyes[0 if left else 1].T + EYE_CENTRE * (1 if left else -1, 1, 1))
            elif part.name.startswith("margin"):
                _, eye, side, half = part.name.split("_")
                edge = skin[self.edges[f"{eye}_{side}", half == "upper"]]
                centre = EYE_CENTRE * (1 if side == "left" else -1, 1, 1)
                away = edge - centre
                distance = np.linalg.norm(away, axis=1, keepdims=True)
                placed.append(np.concatenate([edge, centre + away / distance * (EYE_RADIUS - 0.6)]))
            elif part.name.startswith("lip"):
                upper = part.name == "lip_upper"
                placed.append(self._place_lip(skin, upper, jaw_turn, jaw_shift))
                ends[upper] = placed[-1][-len(self.edges["mouth", upper]) :]
            elif part.name == "throat":
                placed.append(np.concatenate([ends[False], ends[True]]))
            elif part.name == "teeth_upper":
                placed.append(part.rest)
            else:
                rest = part.rest
                if part.name == "tongue":
                    forward = np.clip((rest[:, 2] - 40) / 50, 0, 1)[:, None]
                    rest = rest + pose.tongue * forward * np.array([0, -4.0, 30.0])
                placed.append(rest @ jaw_turn.T + jaw_shift)
        return np.concatenate(placed)

    def _place_lip(self, skin: Array, upper: bool, jaw_turn: Array, jaw_shift: Array) -> Array:
        ids = self.edges["mouth", upper]
        edge, sign = skin[ids], 1.0 if upper else -1.0
        arch = np.sqrt(np.clip(1 - (np.linspace(-1, 1, len(ids))) ** 2, 0, 1))[:, None]
        deep = self.head.vertices[ids] * (0.85, 1, 1) + arch * np.array([0, sign * 13, 0]) - np.array([0, 0, 34])
        if not upper:
            deep = deep @ jaw_turn.T + jaw_shift
        near = edge + arch * np.array([0, sign * 0.8, 0]) - np.array([0, 0, 3.5])
        inner = edge + arch * np.array([0, sign * 5.0, 0]) - np.array([0, 0, 7.0])
        return np.concatenate([edge, near, inner, deep])


def _eyeball(name: str) -> Part:
    """Return a sphere around z, the direction of gaze, with the cornea's bulge."""
    polar = np.radians(np.concatenate([np.linspace(0, 34, 14), np.linspace(38, 150, 18)]))
    turn = np.linspace(0, 2 * np.pi, 41)
    a, b = np.meshgrid(polar, turn, indexing="ij")
    radius = EYE_RADIUS + 1.1 * np.clip(1 - (a / np.radians(33)) ** 2, 0, None)
    rest = np.stack([np.sin(a) * np.cos(b), np.sin(a) * np.sin(b), np.cos(a)], -1) * radius[..., None]
    return Part(name, rest.reshape(-1, 3), grid_triangles(*a.shape), np.ones((a.size, 3)), 1.0)


def _arch(x: Array) -> Array:
    return 87.5 - 26 * (np.abs(x) / 24) ** 2.3


def _teeth(upper: bool) -> Part:
    """Return one row of teeth with its gum: a profile swept along the dental arch, notched between teeth."""
    scale = 1.0 if upper else 0.86
    bounds = np.concatenate([[0], np.cumsum(TOOTH_WIDTHS)]) * scale
    steps = np.concatenate([-bounds[:0:-1], bounds])
    along = np.unique(np.concatenate([np.linspace(a, b, 9) for a, b in itertools.pairwise(steps)]).round(6))
    which = np.clip(np.searchsorted(bounds, np.abs(along), side="right") - 1, 0, len(TOOTH_WIDTHS) - 1)
    place = 2 * (np.abs(along) - bounds[which]) / (bounds[which + 1] - bounds[which]) - 1
    # Distance along the arch to x: integrate its slope.
    x_table = np.linspace(0, 40, 600)
    z_table = _arch(x_table)
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x_table), np.diff(z_table)))])
    x = np.sign(along) * np.interp(np.abs(along), length, x_table)
    z = _arch(x) - (0 if upper else 2.2)
    normal = np.stack([np.gradient(x), np.gradient(z)], -1)
    normal = np.stack([-normal[:, 1], normal[:, 0]], -1) / np.linalg.norm(normal, axis=1, keepdims=True)
    tall = np.interp(np.abs(along) / scale, [0, 8, 12, 19, 30, 50], [10.4, 9.2, 9.8, 8.6, 7.6, 7.0]) * scale
    # Profile: height above the biting edge as a share of the tooth, offset outwards (mm), how tooth-like it is.
    profile = [
        (1.75, -2.0, 0),
        (1.35, 0.6, 0),
        (1.08, 0.7, 0),
        (0.97, 0.0, 1),
        (0.75, 0.6, 1),
        (0.4, 0.5, 1),
        (0.12, 0.0, 1),
        (0.0, -0.8, 1),
        (0.05, -2.0, 1),
        (0.5, -4.5, 1),
        (1.4, -6.0, 0),
    ]
    groove = np.abs(place) ** 8
    rows, colours = [], []
    for share, out, tooth in profile:
        height = share * tall
        if share < 0.3:
            height = height + 0.9 * groove  # rounded corners of the biting edge
        elif 0.9 < share < 1.1:
            height = height + 0.6 * (1 - place**2)  # scalloped gums
        offset = out - tooth * 0.9 * groove
        y = (-47.6 + height) if upper else (-46.8 - height)
        rows.append(np.stack([x + normal[:, 0] * offset, y, z + normal[:, 1] * offset], -1))
        stain = (IVORY * (1 - 0.10 * share * tooth))[None] * (1 - 0.55 * groove[:, None])
        colours.append(np.where(tooth > 0, stain, GUM[None] * (1 - 0.15 * groove[:, None])))
    rest = np.concatenate(rows)
    back = np.clip((rest[:, 2] - 52) / 34, 0.25, 1)[:, None]
    return Part(
        f"teeth_{'upper' if upper else 'lower'}",
        rest,
        grid_triangles(len(profile), len(x), flip=upper),
        np.concatenate(colours) * back,
        0.8,
        np.repeat([0.75 if tooth else 0.4 for _, _, tooth in profile], len(x)) * back[:, 0],
    )


def _tongue() -> Part:
    polar, turn = np.meshgrid(np.linspace(0, np.pi, 17), np.linspace(0, 2 * np.pi, 25), indexing="ij")
    x, y, z = np.sin(polar) * np.cos(turn) * 19, np.sin(polar) * np.sin(turn) * 8, np.cos(polar) * 27
    y = y - 1.6 * np.exp(-((x / 3) ** 2)) * (y > 0) * np.sin(polar)
    rest = np.stack([x * (1 - 0.15 * np.clip(z / 27, 0, 1)), y - 57 + 3 * np.cos(polar), z + 55], -1).reshape(-1, 3)
    shade = np.clip((rest[:, 2:] - 30) / 45, 0.3, 1)
    return Part("tongue", rest, grid_triangles(17, 25), TONGUE * shade, 0.6)
