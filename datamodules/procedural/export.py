"""Write a capture with exact ground truth as a folder in Multiface's layout."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from avatarzoo.datamodules.arkit import ARKIT_NAMES
from avatarzoo.datamodules.progress import track
from avatarzoo.errors import DataError

if TYPE_CHECKING:
    from avatarzoo.datamodules.synthetic import Synthetic

DEPTH_UNIT = 0.1  # mm per step


def write_multiface(capture: Synthetic, folder: str | Path) -> Path:
    """Write a capture in Multiface's layout, with depth, mattes, regions, views, split and ARKit weights.

    Args:
        capture: it is prepared if need be.
        folder: new or empty.

    Returns:
        The folder.

    Raises:
        DataError: the folder holds something already.
    """
    root = Path(folder)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(f"{root} holds something already; give a new or empty folder to write the capture to.")
    capture.prepare()
    root.mkdir(parents=True, exist_ok=True)
    frames = capture.performance.frames
    _write_tables(capture, root)
    for index, (segment, frame) in enumerate(track(frames, "Writing the capture")):
        _write_mesh(capture, root / "tracked_mesh" / segment, frame, index, with_topology=frames[index - 1][0] != segment)
        for number, camera in enumerate(capture.table.names):
            place = Path(segment) / camera / f"{frame}.png"
            depth = np.rint(capture.array("depth")[index, number] / DEPTH_UNIT)
            for part, pixels in (
                ("images", np.ascontiguousarray(capture.array("images")[index, number].transpose(1, 2, 0))),
                ("mattes", np.array(capture.array("mattes")[index, number])),
                ("depth", depth.astype(np.uint16)),
            ):
                path = root / part / place
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path, compress_level=2)
    return root


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.9g}" for value in values)


def _write_tables(capture: Synthetic, root: Path) -> None:
    table, frames = capture.table, capture.performance.frames
    blocks = []
    for i, name in enumerate(table.names):
        extrinsic = np.concatenate([table.R[i].numpy(), table.t[i].numpy()[:, None]], 1)
        rows = [*map(_numbers, table.K[i].numpy()), "0 0 0 0 0", *map(_numbers, extrinsic)]
        blocks.append("\n".join([name, *rows]) + "\n\n")
    (root / "KRT").write_text("".join(blocks))
    (root / "frame_list.txt").write_text("".join(f"{segment} {frame}\n" for segment, frame in frames))
    split = capture.performance.split
    parts = {which: [s for s in split if split[s] == which] for which in ("train", "test")}
    (root / "split.json").write_text(json.dumps(parts, indent=1) + "\n")
    (root / "views.json").write_text(json.dumps(table.views, indent=1) + "\n")
    with open(root / "arkit_weights.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["segment", "frame", *ARKIT_NAMES])
        writer.writerows(
            [*f, *(f"{w:.9g}" for w in weights)] for f, weights in zip(frames, capture.arkit.numpy(), strict=True)
        )
    regions = capture.summary.regions
    picture = np.zeros((*regions["mouth"].shape, 3), np.uint8)
    picture[regions["mouth"].numpy()] = (255, 0, 0)
    picture[regions["eyes"].numpy()] = (0, 255, 0)
    Image.fromarray(picture[::-1]).save(root / "uv_regions.png")


def _write_mesh(capture: Synthetic, folder: Path, frame: str, index: int, with_topology: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    vertices = np.array(capture.array("vertices")[index])
    vertices.astype("<f4").tofile(folder / f"{frame}.bin")
    pose = "".join(_numbers(row) + "\n" for row in capture.head_pose[index].numpy())
    (folder / f"{frame}_transform.txt").write_text(pose)
    if with_topology:
        topology = capture.topology
        lines = [f"v {_numbers(v)}\n" for v in vertices]
        lines += [f"vt {_numbers(uv)}\n" for uv in topology.uvs.numpy()]
        for corners, wedges in zip(topology.triangles.tolist(), topology.uv_triangles.tolist(), strict=True):
            lines.append("f " + " ".join(f"{a + 1}/{b + 1}" for a, b in zip(corners, wedges, strict=True)) + "\n")
        (folder / f"{frame}.obj").write_text("".join(lines))
