"""One scene in each layout of tracked videos: AvatarZoo's FLAME-layout head before one camera, projected points known.

Three frames of 48 x 40 pixels. The head turns by its neck; what a reader has to give is the pixel of every vertex.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from avatarzoo.datamodules.flame_layout.model import flame_layout_files
from avatarzoo.datamodules.tracked_videos.flame_mesh import load_model
from avatarzoo.rigs.flame import FlameParameters, FlameRig

HEIGHT = WIDTH = 48
FRAMES = 3
K = np.array([[180.0, 0, 24.2], [0, 180.0, 21.7], [0, 0, 1]])  # centres at integers
R = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
T = np.array([6.0, -25.0, 900.0])  # mm
OUT = 200  # grey of the natural background


@lru_cache
def rig() -> FlameRig:
    return load_model("flame_layout", None, None, "the scene", "")[0]


@lru_cache
def parameters() -> FlameParameters:
    generator = torch.Generator().manual_seed(0)
    made = FlameParameters.neutral(FRAMES, "layout")
    return dataclasses.replace(
        made,
        expression=torch.cat([0.5 * torch.randn(FRAMES, 50, generator=generator), torch.zeros(FRAMES, 50)], 1),
        shape=torch.cat([torch.randn(100, generator=generator), torch.zeros(200)]),
        neck=0.2 * torch.randn(FRAMES, 3, generator=generator),
        jaw=torch.tensor([[0.0, 0, 0], [0.2, 0, 0], [0.1, 0.02, 0]]),
        eyes=0.1 * torch.randn(FRAMES, 6, generator=generator),
    )


def projected(vertices: np.ndarray) -> np.ndarray:
    """Pixels (column, row) of V,3 mm in the world of R and T."""
    local = vertices @ R.T + T
    pixels = local @ K.T
    return pixels[:, :2] / pixels[:, 2:]


@lru_cache
def world(frame: int) -> np.ndarray:
    """Vertices in FLAME's frame, mm, neck included."""
    return rig()(parameters().rows(frame))[0][0].double().numpy()


def expected(frame: int) -> np.ndarray:
    return projected(world(frame))


def seen_as(batch) -> np.ndarray:
    """Pixels of a batch's vertices through its head pose and camera."""
    pose, camera = batch.mesh.head_pose[0].double().numpy(), batch.view.camera
    in_world = batch.mesh.vertices[0].double().numpy() @ pose[:, :3].T + pose[:, 3]
    local = in_world @ camera.R[0].double().numpy().T + camera.t[0].double().numpy()
    pixels = local @ camera.K[0].double().numpy().T
    return pixels[:, :2] / pixels[:, 2:]


def picture(frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Colours (H,W,3) and a matte (H,W) whose left column is half transparent."""
    row, column = np.mgrid[:HEIGHT, :WIDTH]
    colours = np.stack([4 * row, 4 * column, np.full_like(row, 40 * frame + 20)], -1).astype(np.uint8)
    points = expected(frame)
    low, high = points.min(0), points.max(0)
    matte = ((column >= low[0]) & (column <= high[0]) & (row >= low[1]) & (row <= high[1])) * 255
    matte[:, WIDTH // 2] //= 2
    return colours, matte.astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def lay(colours: np.ndarray, matte: np.ndarray, over: int) -> np.ndarray:
    share = matte[..., None] / 255
    return (colours * share + over * (1 - share) + 0.5).astype(np.uint8)


def write_insta(root: Path) -> Path:
    """OpenCV camera-to-world in metres, corner form, RGBA, posed meshes without head rotation."""
    root.mkdir(parents=True)
    frames = []
    for i in range(FRAMES):
        colours, matte = picture(i)
        save(root / f"images/{i:05d}.png", np.dstack([colours, matte]))
        p = parameters().rows(i)
        still = rig()(dataclasses.replace(p, neck=0 * p.neck))[0][0].double().numpy()
        mesh = "".join(f"v {x:.9f} {y:.9f} {z:.9f}\n" for x, y, z in still / 1000)
        (root / "meshes").mkdir(exist_ok=True)
        (root / f"meshes/{i:05d}.obj").write_text(mesh)
        # the camera carries a motion of its own
        turn = _turn(0.1 * i)
        to_camera, shift = R @ turn, R @ [5.0 * i, 0, 0] + T
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = to_camera.T, -to_camera.T @ shift / 1000
        (root / "flame/exp").mkdir(parents=True, exist_ok=True)
        (root / f"flame/exp/{i:05d}.txt").write_text("\n".join(f"{x:.8f}" for x in p.expression[0].tolist()))
        frames.append(
            {
                "transform_matrix": pose.tolist(),
                "file_path": f"images/{i:05d}.png",
                "mesh_path": f"meshes/{i:05d}.obj",
                "exp_path": f"flame/exp/{i:05d}.txt",
            }
        )
    top = {"w": WIDTH, "h": HEIGHT, "fl_x": 180.0, "fl_y": 180.0, "cx": 24.7, "cy": 22.2}
    for part, chosen in (("train", frames[:2]), ("test", frames[2:])):
        (root / f"transforms_{part}.json").write_text(json.dumps({**top, "frames": chosen}))
    shutil.copy(flame_layout_files()[1], root / "canonical.obj")
    return root


def insta_expected(frame: int) -> np.ndarray:
    p = parameters().rows(frame)
    still = rig()(dataclasses.replace(p, neck=0 * p.neck))[0][0].double().numpy()
    return projected(still @ _turn(0.1 * frame).T + [5.0 * frame, 0, 0])


def _turn(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])


def write_imavatar(root: Path) -> Path:
    """OpenGL camera in units of 4 m, K as shares with fx negative, head rotation in the neck slot."""
    flip, p = np.diag([1.0, -1, -1]), parameters()
    world_mat = np.concatenate([flip @ R, (flip @ T / 250)[:, None]], 1)
    frames = []
    for i in range(FRAMES):
        colours, matte = picture(i)
        save(root / f"image/{i + 1}.png", lay(colours, matte, OUT) if i else colours)
        save(root / f"mask/{i + 1}.png", matte)
        pose = torch.cat([torch.zeros(3), p.neck[i], p.jaw[i], p.eyes[i]]).tolist()
        frames.append(
            {
                "file_path": f"./image/{i + 1}",
                "world_mat": world_mat.tolist(),
                "expression": p.expression[i, :50].tolist(),
                "pose": pose,
            }
        )
    intrinsics = [-180 / WIDTH, 180 / HEIGHT, 24.2 / WIDTH, 21.7 / HEIGHT]
    content = {"frames": frames, "intrinsics": intrinsics, "shape_params": p.shape[:100].tolist()}
    (root / "flame_params.json").write_text(json.dumps(content))
    return root


def write_vhap(root: Path, cy_from_top: bool = False) -> Path:
    """OpenGL camera-to-world in metres, cy from the bottom, pictures on white, parameters per timestep."""
    p = parameters()
    to_world = np.eye(4)
    to_world[:3, :3] = R.T @ np.diag([1.0, -1, -1])
    to_world[:3, 3] = -R.T @ (T + R @ [0, 0, 30.0]) / 1000  # the world is shifted by 30 mm ...
    frames = []
    for i in range(FRAMES):
        colours, matte = picture(i)
        save(root / f"images/{i:05d}_00.png", lay(colours, matte, 255))
        save(root / f"fg_masks/{i:05d}_00.png", matte)
        (root / "flame_param").mkdir(exist_ok=True)
        # ... and the head with it; its rotation about the root joint is split off the neck's
        np.savez(
            root / f"flame_param/{i:05d}.npz",
            translation=np.array([[0, 0, -0.03]]),
            rotation=np.zeros((1, 3)),
            neck_pose=p.neck[i : i + 1].numpy(),
            jaw_pose=p.jaw[i : i + 1].numpy(),
            eyes_pose=p.eyes[i : i + 1].numpy(),
            shape=p.shape.numpy(),
            expr=p.expression[i : i + 1].numpy(),
        )
        cy = 21.7 + 0.5
        frames.append(
            {
                "timestep_index": i,
                "camera_index": 0,
                "camera_id": "0",
                **{"fl_x": 180.0, "fl_y": 180.0, "cx": 24.7, "cy": cy if cy_from_top else HEIGHT - cy},
                **{"h": HEIGHT, "w": WIDTH},
                "transform_matrix": to_world.tolist(),
                "file_path": f"images/{i:05d}_00.png",
                "fg_mask_path": f"fg_masks/{i:05d}_00.png",
                "flame_param_path": f"flame_param/{i:05d}.npz",
            }
        )
    for part, chosen in (("train", frames[:2]), ("test", frames[2:])):
        (root / f"transforms_{part}.json").write_text(json.dumps({"frames": chosen}))
    return root
