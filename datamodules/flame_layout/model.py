"""The FLAME layout's numbers: joints, skinning weights, pose correctives, 300 shape and 100 expression columns.

Shape columns are smooth random fields; expression columns are the principal displacements of the procedural head over
random ARKit weights with its jaw turned back, so that jaw and eyes are FLAME's joints and all else is expression.
"""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls

from avatarzoo.capture import Topology
from avatarzoo.datamodules.cache import atomic, default_folder
from avatarzoo.datamodules.flame_layout.mesh import SKIN, LayoutMesh, build_mesh
from avatarzoo.datamodules.procedural.expressions import JAW_ANGLE, JAW_AXIS, Face, _gaze
from avatarzoo.datamodules.procedural.head import Head, build_head
from avatarzoo.datamodules.procedural.scene import source_digest
from avatarzoo.datamodules.procedural.shape import EYE_CENTRE
from avatarzoo.geometry.skinning import rotation_vector
from avatarzoo.rigs.arkit import ARKIT_NAMES
from avatarzoo.rigs.flame import FlameParameters, FlameRig
from avatarzoo.rigs.flame_file import COLUMNS, EYEBALLS, JOINTS, SHAPES, VERTICES, FlameArrays, write_flame_file

Array = NDArray[np.float64]

EDITION = "layout"  #: of the head that AvatarZoo builds; its codes mean nothing to a licensed model
SAMPLES = 300  #: random expressions the columns are made from
ROOT, NECK = np.array([0.0, -135.0, -30.0]), np.array([0.0, -95.0, -30.0])


class FlameLayout:
    """AvatarZoo's own model in FLAME's layout, and the procedural performance tracked with it.

    Attributes:
        mesh: the neutral mesh and its atlas.
        arrays: the model as a FLAME file holds it, in metres.
        rig: the model, ready to pose.
    """

    def __init__(self, mesh: LayoutMesh, arrays: FlameArrays, face: Face) -> None:
        """Keep what ``build`` made."""
        self.mesh, self.arrays, self._face = mesh, arrays, face
        self.rig = FlameRig(arrays)

    @classmethod
    def build(cls, head: Head | None = None, face: Face | None = None) -> FlameLayout:
        """Build the model: the same every time, a few seconds.

        Args:
            head, face: the procedural head, if it is at hand.
        """
        head = head or build_head()
        mesh = build_mesh(head)
        face = restrict(face or Face(head), mesh.points)
        arrays = _arrays(mesh, face)
        return cls(mesh, arrays, face)

    def topology(self) -> Topology:
        """Return triangles and atlas."""
        return self.mesh.topology()

    def track(self, arkit: Array) -> FlameParameters:
        """Fit parameters to the procedural head: jaw and eyes as they are, expression by least squares.

        Args:
            arkit: N,52 weights.

        Returns:
            N frames; head pose and shape are neutral.
        """
        arkit = np.asarray(arkit, dtype=np.float64)
        found = FlameParameters.neutral(len(arkit), EDITION)
        found.jaw = torch.from_numpy(_jaw(arkit)).float()
        found.eyes = torch.from_numpy(_eyes(arkit)).float()
        weight = self.arrays.weights[:SKIN, 2]
        columns = self.arrays.shapedirs[:SKIN, :, SHAPES:].reshape(SKIN * 3, -1) * 1000
        posedirs = self.arrays.posedirs[:SKIN] * 1000
        offsets = [
            _unposed(self._face.pose(w)[0], weight, jaw) - self.mesh.vertices[:SKIN] - posedirs @ _bend(jaw)
            for w, jaw in zip(arkit, _jaw(arkit), strict=True)
        ]
        solved = np.linalg.lstsq(columns, np.stack(offsets).reshape(len(arkit), -1).T, rcond=1e-6)[0]
        found.expression = torch.from_numpy(solved.T).float()
        return found

    def truth(self, arkit: Array) -> Array:
        """Return SKIN,3 mm: where the procedural head has the skin's vertices at 52 weights."""
        return self._face.pose(arkit)[0]


def restrict(face: Face, points: NDArray[np.int64]) -> Face:
    """Return a face that poses some points only.

    Args:
        face: of all points.
        points: ids.
    """
    part = copy.copy(face)
    part.neutral, part.jaw_weight, part.lips = (x[points] for x in (face.neutral, face.jaw_weight, face.lips))
    part.fields = face.fields[:, points]
    place = np.full(len(face.neutral), -1)
    place[points] = np.arange(len(points))
    part.lid_rows = []
    for near, upper, lower, gap in face.lid_rows:
        there = place[near] >= 0
        gap_near = gap[there] if np.ndim(gap) else gap
        part.lid_rows.append((place[near][there], upper[there], lower[there], gap_near))
    return part


def _jaw(arkit: Array) -> Array:
    """Return N,3 rotation vectors of the jaw."""
    turn = np.zeros((len(arkit), 3))
    turn[:, 0] = np.radians(JAW_ANGLE) * arkit[:, ARKIT_NAMES.index("JawOpen")]
    return turn


def _eyes(arkit: Array) -> Array:
    """Return N,6 rotation vectors, left then right."""
    named = [dict(zip(ARKIT_NAMES, w, strict=True)) for w in arkit]
    turns = np.array([[_gaze(w, side) for side in ("Left", "Right")] for w in named])
    return rotation_vector(torch.from_numpy(turns)).numpy().reshape(len(arkit), 6)


def _rotation(jaw: Array) -> Array:
    c, s = np.cos(jaw[0]), np.sin(jaw[0])
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _bend(jaw: Array) -> Array:
    """Return the 36 pose features (R - I of neck, jaw, eyes) of a jaw alone."""
    features = np.zeros(36)
    features[9:18] = (_rotation(jaw) - np.eye(3)).ravel()
    return features


def _unposed(points: Array, weight: Array, jaw: Array) -> Array:
    """Take the jaw's skinning off: SKIN,3 posed mm to rest."""
    R = _rotation(jaw)
    shift = JAW_AXIS - R @ JAW_AXIS
    mixed = np.eye(3) + weight[:, None, None] * (R - np.eye(3))
    return np.linalg.solve(mixed, (points - weight[:, None] * shift)[..., None])[..., 0]


def _arrays(mesh: LayoutMesh, face: Face) -> FlameArrays:
    weights = _weights(mesh, face)
    jaw_weight = weights[:SKIN, 2]
    neutral = mesh.vertices[:SKIN]

    # What hinge and slide do beyond linear skinning is a function of the jaw's angle: its pose corrective.
    opening = np.linspace(0, 1, 9)[1:]
    turns = np.zeros((len(opening), 3))
    turns[:, 0] = np.radians(JAW_ANGLE) * opening
    left = [
        _unposed(face.pose({"JawOpen": float(o)})[0], jaw_weight, t) - neutral for o, t in zip(opening, turns, strict=True)
    ]
    features = np.stack([_bend(t) for t in turns])
    posedirs = np.zeros((VERTICES, 3, 36))
    solved = np.linalg.pinv(features, rcond=1e-6) @ np.stack(left).reshape(len(opening), -1)
    posedirs[:SKIN] = np.moveaxis(solved.reshape(36, SKIN, 3), 0, -1)

    shapedirs = np.zeros((VERTICES, 3, COLUMNS))
    shapedirs[..., :SHAPES] = _shape_columns(mesh)
    shapedirs[:SKIN, :, SHAPES:] = _expression_columns(face, neutral, jaw_weight, posedirs[:SKIN])
    still = np.abs(shapedirs[..., SHAPES:]).max((1, 2)) < 1e-3
    return FlameArrays(
        template=mesh.vertices / 1000,
        triangles=mesh.triangles,
        shapedirs=shapedirs / 1000,
        posedirs=posedirs / 1000,
        joint_regressor=_regressor(mesh, still),
        weights=weights,
        edition=EDITION,
    )


def _weights(mesh: LayoutMesh, face: Face) -> Array:
    weights = np.zeros((VERTICES, JOINTS))
    low = np.clip((-90 - mesh.vertices[:SKIN, 1]) / 60, 0, 1)
    root = low * low * (3 - 2 * low)
    weights[:SKIN, 2] = face.jaw_weight * (1 - root)
    weights[:SKIN, 0] = root
    weights[:SKIN, 1] = 1 - root - weights[:SKIN, 2]
    weights[EYEBALLS["left"], 3] = 1
    weights[EYEBALLS["right"], 4] = 1
    return weights


def _regressor(mesh: LayoutMesh, still: NDArray[np.bool_]) -> Array:
    """Return 5,5023: each joint a convex mix of vertices that no expression moves; the eyes' are their balls' means."""
    rows = np.zeros((JOINTS, VERTICES))
    ids = np.flatnonzero(still[:SKIN])
    for joint, place in enumerate((ROOT, NECK, JAW_AXIS)):
        system = np.concatenate([mesh.vertices[ids].T / 100, np.ones((1, len(ids)))])
        mix, error = nnls(system, np.append(place / 100, 1.0))
        if error > 1e-6:
            raise ValueError(f"Joint {joint} lies outside the vertices that no expression moves.")
        rows[joint, ids] = mix
    rows[3, EYEBALLS["left"]] = rows[4, EYEBALLS["right"]] = 1 / 546
    return rows


def _shape_columns(mesh: LayoutMesh) -> Array:
    """Return 5023,3,300 mm: orthogonal smooth fields, from broad and strong to fine and weak; eyeballs move as one."""
    random = np.random.default_rng(0)
    places = mesh.vertices.copy()
    for side, sign in (("left", 1), ("right", -1)):
        places[EYEBALLS[side]] = EYE_CENTRE * (sign, 1, 1)
    reach = 0.6 + 2.4 * np.arange(SHAPES) / SHAPES  # waves across the head
    waves = random.normal(size=(SHAPES, 3)) * (reach[:, None] / 100)
    phase, direction = random.uniform(0, 2 * np.pi, SHAPES), random.normal(size=(SHAPES, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    fields = np.cos(places @ waves.T + phase)[:, None, :] * direction.T[None]
    columns, _ = np.linalg.qr(fields.reshape(-1, SHAPES))
    strength = 2.0 / (1 + np.arange(SHAPES) / 8) * np.sqrt(VERTICES)  # root mean square over vertices, mm
    return (columns * strength).reshape(VERTICES, 3, SHAPES)


def _expression_columns(face: Face, neutral: Array, jaw_weight: Array, posedirs: Array) -> Array:
    """Return SKIN,3,100 mm, each as long as one standard deviation over random expressions."""
    random = np.random.default_rng(1)
    arkit = random.uniform(0, 1, (SAMPLES, len(ARKIT_NAMES))) * (random.uniform(size=(SAMPLES, len(ARKIT_NAMES))) < 0.2)
    single = np.eye(len(ARKIT_NAMES))[[i for i, name in enumerate(ARKIT_NAMES) if name not in ("TongueOut", "JawOpen")]]
    arkit = np.concatenate([arkit, single, 0.5 * single])
    offsets = [
        (_unposed(face.pose(w)[0], jaw_weight, t) - neutral - posedirs @ _bend(t)).ravel()
        for w, t in zip(arkit, _jaw(arkit), strict=True)
    ]
    stacked = np.stack(offsets)
    values, vectors = np.linalg.eigh(stacked @ stacked.T)
    order = np.argsort(values)[::-1][: COLUMNS - SHAPES]
    columns = stacked.T @ vectors[:, order] / np.sqrt(len(arkit))
    columns *= np.sign(columns[np.abs(columns).argmax(0), np.arange(columns.shape[1])])
    return columns.reshape(SKIN, 3, -1)


def layout_digest() -> str:
    """Return a hash of the source of this folder and of the procedural head."""
    total = hashlib.sha256(source_digest().encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()[:16]


def flame_layout_files(folder: Path | None = None) -> tuple[Path, Path]:
    """Return the model as a file in FLAME's format and its UVs as an .obj, made once and kept in the cache.

    Args:
        folder: of the cache; None = $AVATARZOO_CACHE or ~/.cache/avatarzoo.
    """
    base = (folder or default_folder()) / "flame_layout" / layout_digest()
    model, uvs = base.with_suffix(".pkl"), base.with_suffix(".obj")
    if not (model.is_file() and uvs.is_file()):
        built = FlameLayout.build()
        with atomic(uvs) as temporary:
            temporary.write_text(_obj(built.mesh))
        with atomic(model) as temporary:
            write_flame_file(built.arrays, temporary)
    return model, uvs


def _obj(mesh: LayoutMesh) -> str:
    """Return the mesh as an .obj, mm."""
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in mesh.vertices]
    lines += [f"vt {u:.8f} {v:.8f}" for u, v in mesh.uvs]
    for corners, uvs in zip((mesh.triangles + 1).tolist(), (mesh.uv_triangles + 1).tolist(), strict=True):
        lines.append("f " + " ".join(f"{a}/{b}" for a, b in zip(corners, uvs, strict=True)))
    return "\n".join(lines) + "\n"
