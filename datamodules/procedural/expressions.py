"""52 ARKit weights to a face: linear fields around the features, lids that slide on the eyeballs, a jaw that turns.

Every field is a displacement in mm times a smooth bell around a place on the neutral head. "Left" is the subject's left,
x > 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatarzoo.datamodules.arkit import ARKIT_NAMES
from avatarzoo.datamodules.procedural.head import Head
from avatarzoo.datamodules.procedural.layout import EYE_ROW, mouth_coordinates
from avatarzoo.datamodules.procedural.shape import EYE_CENTRE

Array = NDArray[np.float64]

JAW_AXIS = np.array([0.0, 6.0, 0.0])  #: the hinge runs along x through this point
JAW_ANGLE, GAZE_ANGLE = 21.0, 30.0  #: degrees at weight 1
UPPER, LOWER = "upper", "lower"

# name -> (displacement, centre, radii, part of the lips it is limited to), for the subject's left; mirrored for the right.
_SIDED: dict[str, list[tuple]] = {
    "MouthSmile": [((8, 8, -6), (27, -46, 86), (19, 17, 22), None), ((2, 5, 2), (42, -8, 66), (20, 18, 20), None)],
    "MouthFrown": [((0, -8, -1), (27, -48, 85), (14, 16, 18), None)],
    "MouthDimple": [((6, 1, -5), (28, -46, 84), (13, 13, 16), None)],
    "MouthStretch": [((7, -5, -4), (28, -50, 82), (19, 20, 22), None)],
    "MouthPress": [
        ((0, -1.5, -1.6), (16, -41, 92), (13, 6, 14), UPPER),
        ((0, 1.5, -1.6), (16, -52, 90), (13, 6, 14), LOWER),
    ],
    "MouthLowerDown": [((1, -7, 1), (12, -51, 93), (12, 13, 14), LOWER)],
    "MouthUpperUp": [((1, 6.5, 0.5), (12, -42, 93), (12, 12, 14), UPPER)],
    "BrowDown": [((-2.5, -6, 1.5), (20, 41, 86), (18, 11, 22), None)],
    "BrowOuterUp": [((0, 7.5, -1.5), (42, 44, 72), (17, 14, 22), None), ((0, 2.5, 0), (38, 66, 76), (20, 16, 24), None)],
    "CheekSquint": [((0, 4, 2), (38, 4, 72), (18, 14, 20), None)],
    "NoseSneer": [((0.5, 3.5, 0), (12, -14, 98), (9, 10, 13), None), ((-1, 3, 1), (12, 12, 90), (9, 12, 14), None)],
    "EyeSquint": [((0, 2, 1), (34, 8, 76), (16, 9, 16), None)],
}
_MIDDLE: dict[str, list[tuple]] = {
    "MouthLeft": [((9, 0, -1.5), (0, -46, 90), (32, 24, 34), None)],
    "MouthRight": [((-9, 0, -1.5), (0, -46, 90), (32, 24, 34), None)],
    "MouthPucker": [((0, 0, 8), (0, -46, 94), (20, 16, 24), None)],
    "MouthFunnel": [
        ((0, 0, 6), (0, -46, 94), (20, 18, 24), None),
        ((0, 4.5, 1), (0, -41, 95), (14, 10, 20), UPPER),
        ((0, -6, 1), (0, -51, 95), (14, 11, 20), LOWER),
    ],
    "MouthRollLower": [((0, 3, -4), (0, -52, 93), (20, 8, 20), LOWER)],
    "MouthRollUpper": [((0, -2.5, -4), (0, -41, 93), (20, 7, 20), UPPER)],
    "MouthShrugLower": [((0, 4, 2), (0, -53, 93), (18, 9, 20), LOWER), ((0, 4, 1), (0, -74, 88), (18, 14, 20), None)],
    "MouthShrugUpper": [((0, 3.5, 1.5), (0, -41, 94), (18, 9, 20), UPPER)],
    "BrowInnerUp": [
        ((0, 8, 0), (13, 43, 88), (14, 14, 22), None),
        ((0, 8, 0), (-13, 43, 88), (14, 14, 22), None),
        ((0, 3, 0), (0, 64, 88), (24, 18, 24), None),
    ],
    "CheekPuff": [((8, 0, 5), (42, -36, 68), (18, 20, 24), None), ((-8, 0, 5), (-42, -36, 68), (18, 20, 24), None)],
}
_NARROWING = {"MouthPucker": 0.42, "MouthFunnel": 0.28}  # share of x taken from the lips


@dataclass(frozen=True)
class Pose:
    """What moves inside the skin.

    Attributes:
        jaw: 3,4 motion of jaw, lower teeth and tongue, face-centric mm.
        eyes: 2,3,3 rotations of the left and right eyeball.
        tongue: 0..1, how far it is out.
    """

    jaw: Array
    eyes: Array
    tongue: float


def rotation(axis: int, degrees: float) -> Array:
    """Return the 3,3 right-handed rotation about one of the axes."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    m = np.eye(3)
    m[i, i], m[i, j], m[j, i], m[j, j] = c, -s, s, c
    return m


class Face:
    """Pose a head by ARKit weights."""

    def __init__(self, head: Head) -> None:
        """Place the fields on a neutral head.

        Args:
            head: from ``build_head``.
        """
        self.head, grid = head, head.grid
        self.neutral = head.vertices
        across, rise = mouth_coordinates(grid, np.stack([grid.u[grid.column], grid.v[grid.row]], -1))
        across = np.abs(across)
        self.upper = (rise > 0) | ((rise == 0) & (grid.side > 0))
        between = np.clip(1 - across**2, 0, 1)
        self._limits = {
            None: np.ones_like(rise),
            UPPER: np.where(self.upper, np.sqrt(between), 0),
            LOWER: np.where(self.upper, 0, np.sqrt(between)),
        }
        self.jaw_weight = self._jaw_weights(rise, across)
        self.lips = np.exp(-((across / 1.1) ** 6) - (rise / 13) ** 2)
        self.lids = self._lid_mask()
        self.fields = self._fields()
        self.lid_rows = [self._lid_table(name) for name in ("eye_left", "eye_right")]

    def _jaw_weights(self, rise: Array, across: Array) -> Array:
        edge = 0.5 * np.minimum(across, 1) ** 2.5
        reach = 15 + 24 * np.clip(across - 1, 0, None)
        bell = edge * np.exp(-((rise / reach) ** 2))
        weight = np.where(self.upper, bell, 1 - bell)
        v = self.head.surface[:, 1]
        weight = weight * _smoothstep(0.09, 0.235, v)
        azimuth = np.degrees(np.abs(np.arctan2(self.neutral[:, 0], self.neutral[:, 2])))
        return weight * (1 - _smoothstep(55, 100, azimuth))

    def _lid_mask(self) -> Array:
        p = self.neutral
        x = (np.abs(p[:, 0]) - EYE_CENTRE[0]) / 17
        y = np.where(p[:, 1] > EYE_CENTRE[1], (p[:, 1] - EYE_CENTRE[1]) / 10, (EYE_CENTRE[1] - p[:, 1]) / 8)
        return np.where(p[:, 2] > 50, np.exp(-(x**6) - y**6), 0)

    def _fields(self) -> Array:
        fields = np.zeros((len(ARKIT_NAMES), len(self.neutral), 3))
        for name, parts in _MIDDLE.items():
            fields[ARKIT_NAMES.index(name)] = sum(self._bell(*part, mirror=1) for part in parts)
        for name, parts in _SIDED.items():
            for side, mirror in (("Left", 1), ("Right", -1)):
                fields[ARKIT_NAMES.index(name + side)] = sum(self._bell(*part, mirror=mirror) for part in parts)
        for name, share in _NARROWING.items():
            bell = np.exp(-(((self.neutral - (0, -46, 90)) / (34, 19, 34)) ** 2).sum(1))
            fields[ARKIT_NAMES.index(name), :, 0] -= share * self.neutral[:, 0] * bell
        for name, step in (("JawForward", (0, -0.5, 5)), ("JawLeft", (6, 0, 0)), ("JawRight", (-6, 0, 0))):
            fields[ARKIT_NAMES.index(name)] = self.jaw_weight[:, None] * np.array(step)
        return fields * (1 - self.lids)[None, :, None]

    def _bell(self, step: tuple, centre: tuple, radii: tuple, limit: str | None, mirror: int) -> Array:
        flip = np.array([mirror, 1, 1])
        bell = np.exp(-((((self.neutral - flip * centre) / radii) ** 2).sum(1)))
        return (bell * self._limits[limit])[:, None] * (flip * step)

    def _lid_table(self, name: str) -> tuple[NDArray[np.int64], Array, Array, Array]:
        """Return the points a lid carries, their share of its motion (upper, lower) and the angle it has to close."""
        grid, slit = self.head.grid, self.head.grid.slit(name)
        centre = EYE_CENTRE * ((1, 1, 1) if name == "eye_left" else (-1, 1, 1))
        near = np.flatnonzero(
            (grid.column > slit.columns[0])
            & (grid.column < slit.columns[1])
            & (np.abs(grid.row - slit.row) <= (72 - EYE_ROW) * grid.refine)
        )
        angle = _elevation(self.neutral, centre)
        top, bottom = np.zeros(len(grid.u)), np.zeros(len(grid.u))
        span = slice(slit.columns[0], slit.columns[1] + 1)
        top[span], bottom[span] = angle[grid.edge(slit, True)], angle[grid.edge(slit, False)]
        column = grid.column[near]
        above = (grid.row[near] > slit.row) | ((grid.row[near] == slit.row) & (grid.side[near] > 0))
        upper = np.where(above, 1 - _smoothstep(0, 19, angle[near] - top[column]), 0)
        lower = np.where(above, 0, 1 - _smoothstep(0, 20, bottom[column] - angle[near]))
        return near, upper, lower, top[column] - bottom[column]

    def pose(self, weights: Mapping[str, float] | Array) -> tuple[Array, Pose]:
        """Pose the skin.

        Args:
            weights: 52 in 0..1 in the order of ``ARKIT_NAMES``, or some of them by name.

        Returns:
            P,3 vertices (mm, face-centric) and what moves inside.
        """
        if isinstance(weights, Mapping):
            named = dict(weights)
            weights = np.array([named.pop(name, 0.0) for name in ARKIT_NAMES])
            if named:
                raise KeyError(f"Unknown ARKit weights: {', '.join(named)}.")
        w = dict(zip(ARKIT_NAMES, np.asarray(weights, dtype=np.float64), strict=True))
        vertices = self.neutral + np.tensordot(np.asarray(weights, dtype=np.float64), self.fields, 1)
        for which, side in enumerate(("Left", "Right")):
            self._close(vertices, which, w, side)
        share = self.jaw_weight + w["MouthClose"] * self.lips * (0.5 - self.jaw_weight)
        angle = np.radians(JAW_ANGLE * w["JawOpen"])
        vertices = _hinge(vertices, share * angle) + np.outer(share, _slide(w["JawOpen"]))
        shift = _slide(w["JawOpen"]) + np.array([6 * (w["JawLeft"] - w["JawRight"]), 0, 5 * w["JawForward"]])
        turn = rotation(0, JAW_ANGLE * w["JawOpen"])
        jaw = np.concatenate([turn, (JAW_AXIS - turn @ JAW_AXIS + shift)[:, None]], 1)
        eyes = np.stack([_gaze(w, side) for side in ("Left", "Right")])
        return vertices, Pose(jaw, eyes, w["TongueOut"])

    def _close(self, vertices: Array, which: int, w: dict[str, float], side: str) -> None:
        near, upper, lower, gap = self.lid_rows[which]
        look = 0.42 * w["EyeLookDown" + side] - 0.22 * w["EyeLookUp" + side]
        squint = 0.30 * w["EyeSquint" + side] + 0.12 * w["CheekSquint" + side]
        shut = w["EyeBlink" + side] + (1 - w["EyeBlink" + side]) * (look + 0.5 * squint - 0.28 * w["EyeWide" + side])
        raise_lower = 0.12 * w["EyeBlink" + side] + squint * 0.6 - 0.10 * w["EyeLookDown" + side]
        raise_lower = min(raise_lower, max(0.0, 1 - shut) + 0.12)
        shut = min(shut, 1.0)
        down = -gap * upper * shut * (1 - max(raise_lower, 0.0) * shut)
        centre = EYE_CENTRE * (1 if which == 0 else -1, 1, 1)
        turned = _hinge(vertices[near], np.radians(-(down + gap * lower * raise_lower)), centre)
        vertices[near] = turned


def _smoothstep(a: float, b: float, x: Array) -> Array:
    t = np.clip((x - a) / (b - a), 0, 1)
    return t * t * (3 - 2 * t)


def _elevation(points: Array, centre: Array) -> Array:
    """Return degrees around the x axis through ``centre``, 0 in front and growing upwards."""
    local = points - centre
    return np.degrees(np.arctan2(local[:, 1], local[:, 2]))


def _hinge(points: Array, angle: Array, centre: Array = JAW_AXIS) -> Array:
    """Turn each point about the x axis through ``centre``; a positive angle (radians) takes the front down."""
    local = points - centre
    c, s = np.cos(angle), np.sin(angle)
    y = local[:, 1] * c - local[:, 2] * s
    z = local[:, 1] * s + local[:, 2] * c
    return np.stack([points[:, 0], y + centre[1], z + centre[2]], -1)


def _slide(jaw_open: float) -> Array:
    return jaw_open * np.array([0.0, -1.0, 2.5])


def _gaze(w: dict[str, float], side: str) -> Array:
    """Return an eyeball's rotation; yaw is positive towards the subject's left, pitch positive downwards."""
    outward = w["EyeLookOut" + side] - w["EyeLookIn" + side]
    yaw = GAZE_ANGLE * (outward if side == "Left" else -outward)
    pitch = GAZE_ANGLE * (w["EyeLookDown" + side] - w["EyeLookUp" + side])
    return rotation(1, yaw) @ rotation(0, pitch)
