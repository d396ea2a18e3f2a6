"""Hundreds of random damages to a capture's files: each is a clear DataError, or the changed values are read faithfully.

What "faithfully" means is decided by readers of another make (NumPy, Pillow, csv, json, regular expressions) on the damaged
files themselves.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tiny_capture as tiny
import torch
from PIL import Image

from avatarzoo import registry
from avatarzoo.batch import HeadBatch
from avatarzoo.capture import CaptureSummary
from avatarzoo.datamodules.arkit import ARKIT_NAMES
from avatarzoo.datamodules.multiface import Multiface
from avatarzoo.errors import DataError

SEEDS, CASES = 20, 25
NUMBERS = (
    "nan",
    "inf",
    "-inf",
    "1e999",
    "0",
    "-0.0",
    "1e-30",
    "7",
    "0.5",
    "-3.25",
    "1e20",
    "abc",
    "0x10",
    "1_0",
    "٣",
    "--1",
    "",
)
KINDS = ("flip", "flip", "cut", "delete", "number", "number", "line", "drop line", "empty", "swap", "insert")


def damage(path: Path, rng: np.random.Generator) -> str:
    """Change a file at random; returns what was done."""
    kind = str(rng.choice(KINDS))
    data = path.read_bytes()
    if kind == "delete":
        path.unlink()
        return kind
    if kind == "flip":
        changed = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            changed[place] ^= 1 << rng.integers(0, 8)
    elif kind == "cut":
        changed = data[: rng.integers(0, len(data))]
    elif kind == "empty":
        changed = b""
    elif kind == "insert":
        place = rng.integers(0, len(data) + 1)
        changed = data[:place] + rng.bytes(rng.integers(1, 9)) + data[place:]
    elif path.suffix in (".png", ".bin"):
        if path.suffix == ".bin" and kind == "number":
            values = np.frombuffer(data, "<f4").copy()
            values[rng.integers(len(values))] = rng.choice([np.nan, np.inf, -np.inf, 1e30, 1e-30, 5.0, -1e5])
            changed = values.tobytes()
        else:  # swap two stretches of bytes
            a, b = np.sort(rng.integers(0, len(data) - 8, 2))
            changed = data[:a] + data[b : b + 8] + data[a + 8 :]
    else:
        changed = _damage_text(data.decode(), kind, rng).encode()
    path.write_bytes(bytes(changed))
    return kind


def _damage_text(text: str, kind: str, rng: np.random.Generator) -> str:
    lines = text.split("\n")
    if kind == "number":
        found = list(re.finditer(r"-?\d+\.?\d*", text))
        chosen = found[rng.integers(len(found))]
        return text[: chosen.start()] + str(rng.choice(NUMBERS)) + text[chosen.end() :]
    place = int(rng.integers(len(lines)))
    if kind == "line":
        lines.insert(place, str(rng.choice(["", "   ", "1 2 3", "hello", "0 0 0 0", lines[rng.integers(len(lines))]])))
    elif kind == "drop line":
        del lines[place]
    else:  # swap two lines
        other = int(rng.integers(len(lines)))
        lines[place], lines[other] = lines[other], lines[place]
    return "\n".join(lines)


# ---- readers of another make ----


def krt(path: Path) -> dict[str, np.ndarray]:
    lines = [line.strip() for line in path.read_text("utf-8-sig").split("\n") if line.strip()]
    return {
        lines[i]: np.concatenate([np.loadtxt(lines[i + 1 : i + 4]), np.loadtxt(lines[i + 5 : i + 8])], axis=1)
        for i in range(0, len(lines), 8)
    }


def frames(path: Path) -> list[tuple[str, str]]:
    if not path.exists():
        return tiny.FRAMES
    found = np.loadtxt(path, dtype=str, ndmin=2, comments=None)
    return list(dict.fromkeys((str(a), str(b)) for a, b in found))


def png(path: Path) -> np.ndarray:
    data = path.read_bytes()
    raw, place = b"", 8  # decoded by zlib alone, so that a wrong pixel cannot hide behind Pillow
    while data[place + 4 : place + 8] != b"IEND":
        length = int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] == b"IDAT":
            raw += data[place + 8 : place + 8 + length]
        place += 12 + length
    zlib.decompress(raw)
    return np.array(Image.open(io.BytesIO(data)))


def check_faithful(root: Path, capture: Multiface) -> None:
    summary, cameras, listed = capture.summary, krt(root / "KRT"), frames(root / "frame_list.txt")
    table = summary.cameras
    assert table.names == list(cameras)
    stored = torch.cat([table.K, table.R, table.t[..., None]], dim=-1).double().numpy()
    np.testing.assert_allclose(stored, np.stack(list(cameras.values())), rtol=1e-6, atol=1e-6)
    split_path, views_path = root / "split.json", root / "views.json"
    assert views_path.exists() is (table.views != {}) or json.loads(views_path.read_text()) == {}
    assert not table.views or table.views == json.loads(views_path.read_text())
    split = json.loads(split_path.read_text())
    for name in ("train", "test"):
        assert capture.inventory.frames[name] == [f for f in listed if f[0] in split[name]]
    check_obj(capture)
    regions = root / "uv_regions.png"
    assert regions.exists() is bool(summary.regions)
    if regions.exists():
        red = (png(regions)[::-1, :, 0] > 127) & (png(regions)[::-1, :, 1] < 128)
        np.testing.assert_array_equal(summary.regions["mouth"], red)
    check_finite(summary)
    rows = {}
    if (root / "arkit_weights.csv").exists():
        lines = [line for line in (root / "arkit_weights.csv").read_text().split("\n") if line.strip()]
        table = [[cell.strip() for cell in row] for row in csv.reader(lines)]
        named = [dict(zip([name.lower() for name in table[0]], row, strict=True)) for row in table[1:]]
        rows = {(row["segment"], row["frame"]): row for row in named}
    for samples in capture.splits.values():
        for sample in samples:
            check_sample(root, sample, capture.read(sample), rows, cameras)


def check_sample(root: Path, sample, batch: HeadBatch, rows: dict, cameras: dict) -> None:
    check_finite(batch)
    frame = (sample.segment, sample.frame)
    folder = root / "tracked_mesh" / sample.segment
    truth = np.frombuffer((folder / f"{sample.frame}.bin").read_bytes(), "<f4").reshape(-1, 3)
    np.testing.assert_array_equal(batch.mesh.vertices[0], truth)
    pose = np.loadtxt(folder / f"{sample.frame}_transform.txt")
    np.testing.assert_allclose(batch.mesh.head_pose[0], pose, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(batch.view.camera.K[0], cameras[sample.camera][:, :3], rtol=1e-6)
    picture = png(root / "images" / sample.segment / sample.camera / f"{sample.frame}.png")
    np.testing.assert_array_equal(batch.view.image[0].permute(1, 2, 0).mul(255).round(), picture)
    path = root / "depth" / sample.segment / sample.camera / f"{sample.frame}.png"
    truth = png(path) / 10 if path.exists() else np.zeros((tiny.HEIGHT, tiny.WIDTH))
    np.testing.assert_allclose(batch.view.depth[0, 0], truth, rtol=1e-6)
    if rows:
        weights = [float(rows[frame][name.lower()]) for name in ARKIT_NAMES]
        np.testing.assert_allclose(batch.driving.arkit[0], weights, atol=1e-6)
    else:
        assert batch.driving.arkit is None


def check_obj(capture: Multiface) -> None:
    lines = [line.split() for line in capture.mesh.path.read_text().split("\n") if line.strip()]
    uvs = np.array([[float(x) for x in words[1:3]] for words in lines if words[0] == "vt"])
    faces = [[[int(i) for i in corner.split("/")[:2]] for corner in words[1:]] for words in lines if words[0] == "f"]
    fans = np.array([[f[0], f[k], f[k + 1]] for f in faces for k in range(1, len(f) - 1)])
    topology = capture.summary.topology
    np.testing.assert_allclose(topology.uvs, uvs.clip(0, 1), atol=1e-6)
    count = sum(words[0] == "v" for words in lines)
    np.testing.assert_array_equal(topology.triangles, np.where(fans[..., 0] < 0, fans[..., 0] + count, fans[..., 0] - 1))
    wedge = np.where(fans[..., 1] < 0, fans[..., 1] + len(uvs), fans[..., 1] - 1)
    np.testing.assert_array_equal(topology.uv_triangles, wedge)


def check_finite(group: HeadBatch | CaptureSummary) -> None:
    def visit(tensor: torch.Tensor) -> torch.Tensor:
        assert not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
        return tensor

    group._map(visit)
    assert all(math.isfinite(getattr(group, name, 0.0)) for name in ("vertex_std", "texture_std"))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_capture(tmp_path_factory.mktemp("capture") / "plate")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_damaged_files_are_refused_or_read_as_they_are(original: Path, tmp_path: Path, seed: int) -> None:
    rng, outcomes = np.random.default_rng(seed), Counter()
    root = Path(shutil.copytree(original, tmp_path / "plate"))
    files = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    # tables are few and pictures many: pick the kind of file first
    groups = [[f for f in files if f.suffix == s] for s in (".png", ".bin", ".txt", ".json", ".csv", ".obj", "")]
    for case in range(CASES):
        group = groups[rng.integers(len(groups))]
        name = group[rng.integers(len(group))]
        kind = damage(root / name, rng)
        try:
            node = {"name": "multiface", "root": str(root), "texture_size": 8, "cache_dir": str(tmp_path / "cache")}
            capture = registry.build("data", node | {"val_fraction": 0.0, "memory_mb": int(rng.integers(0, 2))})
            capture.prepare()
            check_faithful(root, capture)
        except DataError as error:
            outcomes["refused"] += 1
            assert str(root) in str(error) or name.name in str(error), f"{name} ({kind}): {error} names no file"
            assert len(str(error)) > 40, str(error)
        except Exception as error:
            raise AssertionError(f"seed {seed}, case {case}: {name} ({kind}): {type(error).__name__}: {error}") from error
        else:
            outcomes["read"] += 1
        (root / name).unlink(missing_ok=True)
        shutil.copy2(original / name, root / name)
    assert min(outcomes["refused"], outcomes["read"]) > 0, "a reader that refuses or accepts everything would pass"
