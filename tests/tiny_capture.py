"""A capture of a coloured plate in Multiface's layout, whose pictures are computed by intersecting rays with a plane."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from avatarzoo import registry
from avatarzoo.datamodules.arkit import ARKIT_NAMES
from avatarzoo.datamodules.multiface import Multiface

HALF = 60.0  # mm; the plate spans -60..60 in x and y at z = 0 of the face-centric frame
HEIGHT, WIDTH = 40, 32
CAMERAS = {"400002": 0.0, "400005": 25.0}  # yaw in degrees around the head
FRAMES = [("E001", "000010"), ("E001", "000011"), ("E002", "000020"), ("E003", "000030")]


def rotation(yaw: float) -> np.ndarray:
    a = np.radians(yaw)
    return np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])


def camera(yaw: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """K, R, t of a camera 800 mm away that looks at the origin, world -> camera."""
    K = np.array([[180.0, 0, 15.2], [0, 180.0, 19.7], [0, 0, 1]])
    return K, np.diag([1.0, -1, -1]) @ rotation(yaw), np.array([3.0, -2.0, 800.0])


def pose(index: int) -> np.ndarray:
    """Head pose of the n-th frame: turned and moved a little, differently in each."""
    return np.concatenate([rotation(6.0 * index - 9), [[2.0 * index], [1.0], [3.0]]], axis=1)


def colour(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Colour of the plate in 0..255 at face-centric x, y in mm."""
    return np.stack([40 + 1.5 * (x + HALF), 60 + 1.2 * (y + HALF), 150 + 0.5 * (x - y)], axis=-1)


def grid() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (16,3), uvs (16,2) and triangles (18,3) of the plate; counter-clockwise seen from +z."""
    s = np.linspace(0, 1, 4)
    v, u = np.meshgrid(s, s, indexing="ij")
    uvs = np.stack([u.ravel(), v.ravel()], axis=1)
    vertices = np.concatenate([(2 * uvs - 1) * HALF, np.zeros((16, 1))], axis=1)
    quads = [(4 * r + c, 4 * r + c + 1, 4 * r + c + 5, 4 * r + c + 4) for r in range(3) for c in range(3)]
    return vertices, uvs, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])


def draw(K: np.ndarray, R: np.ndarray, t: np.ndarray, head: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Picture (H,W,3 uint8) and depth (H,W mm, 0 off the plate) of the infinite plane cut to the plate."""
    row, column = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    rays = np.stack([column, row, np.ones_like(row)], axis=-1) @ np.linalg.inv(K).T
    to_face, shift = R @ head[:, :3], R @ head[:, 3] + t  # face -> camera
    normal, point = to_face[:, 2], shift
    depth = (normal @ point) / (rays @ normal)
    face = (rays * depth[..., None] - shift) @ to_face
    inside = (abs(face[..., 0]) <= HALF) & (abs(face[..., 1]) <= HALF)
    pixels = np.where(inside[..., None], colour(face[..., 0], face[..., 1]), 0).round().astype(np.uint8)
    return pixels, np.where(inside, depth, 0)


def write_obj(path: Path, vertices: np.ndarray, uvs: np.ndarray, triangles: np.ndarray) -> None:
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices] + [f"vt {u:.6f} {v:.6f}" for u, v in uvs]
    lines += ["f " + " ".join(f"{i + 1}/{i + 1}" for i in triangle) for triangle in triangles]
    path.write_text("\n".join(lines) + "\n")


def write_capture(root: Path, *, depth: bool = True, arkit: bool = True) -> Path:
    """Write the whole capture and return its root."""
    blocks = []
    for name, yaw in CAMERAS.items():
        K, R, t = camera(yaw)
        rows = [" ".join(f"{x:.8f}" for x in row) for row in K]
        rows += ["0 0 0 0 0"] + [" ".join(f"{x:.8f}" for x in row) for row in np.concatenate([R, t[:, None]], axis=1)]
        blocks.append("\n".join([name, *rows]) + "\n")
    root.mkdir(parents=True, exist_ok=True)
    (root / "KRT").write_text("\n".join(blocks))
    (root / "frame_list.txt").write_text("".join(f"{s} {f}\n" for s, f in FRAMES))
    (root / "split.json").write_text(json.dumps({"train": ["E001", "E002"], "test": ["E003"]}))
    (root / "views.json").write_text(json.dumps({"Front": "400002"}))
    vertices, uvs, triangles = grid()
    for index, (segment, frame) in enumerate(FRAMES):
        folder = root / "tracked_mesh" / segment
        folder.mkdir(parents=True, exist_ok=True)
        moved = vertices + 0.1 * index * np.array([0, 0, 1.0])
        moved.astype("<f4").tofile(folder / f"{frame}.bin")
        np.savetxt(folder / f"{frame}_transform.txt", pose(index), fmt="%.8f")
        if index == 0:
            write_obj(folder / f"{frame}.obj", vertices, uvs, triangles)
        for name, yaw in CAMERAS.items():
            pixels, z = draw(*camera(yaw), pose(index))
            for kind, data in (("images", pixels), ("depth", np.round(10 * z).astype(np.uint16))):
                if kind == "images" or (depth and name == "400002"):
                    path = root / kind / segment / name / f"{frame}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(data).save(path)
    if arkit:
        table = [",".join(["segment", "frame", *ARKIT_NAMES])]
        for index, frame in enumerate(FRAMES):
            table.append(",".join([*frame, *(f"{(k + index) % 52 / 52:.6f}" for k in range(52))]))
        (root / "arkit_weights.csv").write_text("\n".join(table) + "\n")
    regions = np.zeros((16, 16, 3), np.uint8)
    regions[0] = (255, 0, 0)  # top row of the picture: v near 1
    regions[8, 3] = (0, 255, 0)
    Image.fromarray(regions).save(root / "uv_regions.png")
    return root


def build(root: Path, **options: object) -> Multiface:
    """Return the reader of a capture with its cache beside it."""
    cache = str(root.parent / "cache")
    node = {"name": "multiface", "root": str(root), "texture_size": 32, "val_fraction": 0.0, "cache_dir": cache}
    return registry.build("data", node | options)


def prepared(root: Path, **options: object) -> Multiface:
    """Return the reader of a capture, prepared."""
    capture = build(root, **options)
    capture.prepare()
    return capture
