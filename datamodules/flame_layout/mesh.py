"""The mesh of the FLAME layout: 3,931 vertices of the procedural skin and two eyeballs of 546, 9,976 triangles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarzoo.capture import Topology
from avatarzoo.datamodules.flame_layout.decimate import Decimator
from avatarzoo.datamodules.procedural.head import Head
from avatarzoo.datamodules.procedural.layout import region_masks
from avatarzoo.datamodules.procedural.shape import EYE_CENTRE, EYE_RADIUS
from avatarzoo.geometry.meshes import boundary_loops
from avatarzoo.rigs.flame_file import EYEBALLS, TRIANGLES, VERTICES

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

SKIN = VERTICES - 2 * 546
RIM = 24  #: edges of the neck; with twice 20 around the eyes, Euler's formula gives 9,976 triangles
RINGS, SPOKES = 17, 32  #: of an eyeball: 17 * 32 + 2 = 546
CHART_TOP = 0.84  #: the skin's chart ends here; the eyeballs' discs lie above
DISC = {"left": (0.75, 0.92), "right": (0.25, 0.92)}
DISC_RADIUS = 0.072


@dataclass(frozen=True)
class LayoutMesh:
    """The neutral mesh.

    Attributes:
        vertices: 5023,3 mm, face-centric.
        triangles: 9976,3, counter-clockwise from outside.
        uvs, uv_triangles: the atlas.
        points: 3931 ids of the procedural head's points that the skin's vertices are.
    """

    vertices: Array
    triangles: Ints
    uvs: Array
    uv_triangles: Ints
    points: Ints

    def topology(self) -> Topology:
        """Return triangles and atlas."""
        return Topology(
            torch.tensor(self.triangles, dtype=torch.int32),
            torch.tensor(self.uvs, dtype=torch.float32),
            torch.tensor(self.uv_triangles, dtype=torch.int32),
        )


def build_mesh(head: Head) -> LayoutMesh:
    """Thin the tracked mesh of the procedural head to FLAME's count and add eyeballs.

    Args:
        head: from ``build_head``.
    """
    points, triangles, uv_triangles = _skin(head)
    uvs = head.tracked_uv * (1, CHART_TOP)
    used, where = np.unique(uv_triangles, return_inverse=True)
    uvs, uv_triangles = uvs[used], where.reshape(-1, 3)
    vertices = [head.vertices[points]]
    all_triangles, all_uvs, all_uv_triangles = [triangles], [uvs], [uv_triangles]
    for side in ("left", "right"):
        ball, faces, disc, disc_faces = _eyeball(side)
        all_triangles.append(faces + EYEBALLS[side].start)
        all_uv_triangles.append(disc_faces + sum(len(u) for u in all_uvs))
        all_uvs.append(disc)
        vertices.append(ball)
    triangles = np.concatenate(all_triangles)
    if len(triangles) != TRIANGLES or sum(map(len, vertices)) != VERTICES:
        raise ValueError(f"The layout came out with {len(triangles)} triangles; FLAME has {TRIANGLES}.")
    return LayoutMesh(
        np.concatenate(vertices), triangles, np.concatenate(all_uvs), np.concatenate(all_uv_triangles), points
    )


def _skin(head: Head) -> tuple[Ints, Ints, Ints]:
    """Return the head's points that stay, triangles into them, and uv_triangles into ``head.tracked_uv``."""
    strips_over_eyes = 2 * 18  # the last triangles of the tracked mesh
    triangles = head.tracked_triangles[:-strips_over_eyes]
    places = head.vertices[head.tracked]
    mesh = Decimator(places, triangles, head.tracked_uv, head.tracked_uv_triangles[:-strips_over_eyes])
    rims = [loop.tolist() for loop in boundary_loops(triangles)]
    neck = max(rims, key=len)
    keep = {neck[round(i * len(neck) / RIM)] for i in range(RIM)}
    seam = next(v for v in neck if len(mesh.uv_of(v)) > 1)
    if seam not in keep:  # the rim's corner on the seam has two UVs
        turn = neck.index(seam)
        keep = {neck[(turn + round(i * len(neck) / RIM)) % len(neck)] for i in range(RIM)}
    for i, vertex in enumerate(neck):
        if vertex not in keep:
            onto = next(w for w in (neck[(i + s) % len(neck)] for s in range(1, len(neck))) if w in mesh.around)
            if not mesh.collapse(vertex, onto, least=-1.0):
                raise ValueError("The neck's rim cannot be thinned.")
    slits = {int(p) for slit in head.grid.slits for upper in (True, False) for p in head.grid.edge(slit, upper)}
    where = {int(p): i for i, p in enumerate(head.tracked)}
    fixed = {v for v in mesh.around if len(mesh.uv_of(v)) > 1}
    fixed |= {where[p] for p in slits if p in where} | keep | {v for rim in rims for v in rim}
    mesh.thin(SKIN, fixed, _importance(places))
    left, triangles, uv_triangles = mesh.mesh()
    return head.tracked[left], triangles, uv_triangles


def _importance(p: Array) -> Array:
    """Return how much each vertex matters: the face, and most of all eyes, nose and mouth."""
    face = np.clip((p[:, 2] - 20) / 40, 0, 1) * (p[:, 1] > -100) * (p[:, 1] < 75)
    features = np.exp(-(((p - (0, -46, 92)) / (34, 22, 30)) ** 2).sum(1))
    features += np.exp(-(((p - (0, -8, 100)) / (22, 18, 25)) ** 2).sum(1))
    for side in (-1, 1):
        features += np.exp(-(((p - EYE_CENTRE * (side, 1, 1)) / (22, 18, 25)) ** 2).sum(1))
    return 1 + 3 * face + 12 * features


def _eyeball(side: str) -> tuple[Array, Ints, Array, Ints]:
    """Return an eyeball's vertices (546,3 mm), triangles, and its disc in the atlas, the pupil in the middle."""
    polar = np.pi * np.arange(1, RINGS + 1) / (RINGS + 1)
    turn = 2 * np.pi * np.arange(SPOKES) / SPOKES
    a, b = (x.ravel() for x in np.meshgrid(polar, turn, indexing="ij"))
    unit = np.stack([np.sin(a) * np.cos(b), np.sin(a) * np.sin(b), np.cos(a)], -1)
    unit = np.concatenate([unit, [[0, 0, 1]], [[0, 0, -1]]])  # the poles come last: pupil, back
    centre = EYE_CENTRE * (1 if side == "left" else -1, 1, 1)
    index = np.arange(RINGS * SPOKES).reshape(RINGS, SPOKES)
    after = np.roll(index, -1, axis=1)
    pupil, back = RINGS * SPOKES, RINGS * SPOKES + 1
    faces = [np.stack([index[:-1], index[1:], after[1:]], -1).reshape(-1, 3)]
    faces.append(np.stack([index[:-1], after[1:], after[:-1]], -1).reshape(-1, 3))
    faces.append(np.stack([np.full(SPOKES, pupil), index[0], after[0]], -1))
    last = np.stack([index[-1], np.full(SPOKES, back), after[-1]], -1)
    flat = np.stack([np.cos(b), np.sin(b)], -1) * (a / np.pi)[:, None]
    edge = np.stack([np.cos(turn + np.pi / SPOKES), np.sin(turn + np.pi / SPOKES)], -1)  # the back has a UV per triangle
    disc = np.array(DISC[side]) + DISC_RADIUS * np.concatenate([flat, [[0, 0]], edge])
    last_uv = np.stack([index[-1], pupil + 1 + np.arange(SPOKES), after[-1]], -1)
    return centre + EYE_RADIUS * unit, np.concatenate([*faces, last]), disc, np.concatenate([*faces, last_uv])


def layout_regions(size: int = 512) -> dict[str, Tensor]:
    """Return masks of "mouth" and "eyes" (lids, and the eyeballs' discs): size,size bool, row 0 at v = 0."""
    v, u = np.meshgrid((np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size, indexing="ij")
    row, column = (v / CHART_TOP * size).astype(int), (u * size).astype(int)
    masks = {}
    for name, mask in region_masks(size).items():
        inside = mask.numpy()[np.minimum(row, size - 1), column] & (v < CHART_TOP)
        if name == "eyes":
            for x, y in DISC.values():
                inside |= (u - x) ** 2 + (v - y) ** 2 <= DISC_RADIUS**2
        masks[name] = torch.from_numpy(inside)
    return masks
