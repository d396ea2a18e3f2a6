"""Damaged captures: every fault is named before training, or its frame is skipped."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_capture as tiny
import torch
from PIL import Image
from tiny_capture import prepared

from avatarzoo.datamodules.base import Sample
from avatarzoo.errors import AvatarZooError, DataError


def _truncate(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def _nan_vertex(path: Path) -> None:
    data = np.fromfile(path, "<f4")
    data[7] = np.nan
    data.tofile(path)


def _grey(path: Path) -> None:
    Image.new("L", (tiny.WIDTH, tiny.HEIGHT)).save(path)


DAMAGE = {
    "short bin": ("tracked_mesh/E001/000011.bin", lambda p: _truncate(p, 100), "has 100 bytes, expected 192", True),
    "NaN vertex": ("tracked_mesh/E001/000011.bin", _nan_vertex, "vertex 2 is .*nan", True),
    "no mesh": ("tracked_mesh/E001/000011.bin", Path.unlink, "000011.bin is absent", True),
    "no pose": ("tracked_mesh/E001/000011_transform.txt", Path.unlink, "000011_transform.txt is absent", True),
    "NaN pose": (
        "tracked_mesh/E001/000011_transform.txt",
        lambda p: p.write_text(p.read_text().replace("2.00000000", "nan", 1)),
        "'nan' is not a finite number",
        True,
    ),
    "sheared pose": (
        "tracked_mesh/E001/000011_transform.txt",
        lambda p: p.write_text("1 0.2 0 0\n0 1 0 0\n0 0 1 0\n"),
        "off by 0.2 from a rotation",
        True,
    ),
    "mirrored pose": (
        "tracked_mesh/E001/000011_transform.txt",
        lambda p: p.write_text("-1 0 0 0\n0 1 0 0\n0 0 1 0\n"),
        "a reflection",
        True,
    ),
    "cut picture": ("images/E001/400005/000011.png", lambda p: _truncate(p, 90), "cut short", True),
    "empty picture": ("images/E001/400005/000011.png", lambda p: p.write_bytes(b""), "does not start as a PNG", True),
    "no picture": ("images/E001/400005/000011.png", Path.unlink, "000011.png is absent", True),
    "picture of another size": (
        "images/E001/400005/000011.png",
        lambda p: Image.new("RGB", (8, 9)).save(p),
        "is 8x9, but the capture's pictures are 32x40",
        True,
    ),
    "grey picture": (
        "images/E001/400005/000011.png",
        lambda p: Image.new("L", (32, 40)).save(p),
        "8-bit grey.*8-bit RGB",
        True,
    ),
    "8-bit depth": (
        "depth/E001/400002/000011.png",
        lambda p: Image.new("L", (32, 40)).save(p),
        "a depth is 16-bit grey",
        True,
    ),
    "no row of weights": (
        "arkit_weights.csv",
        lambda p: p.write_text("\n".join(line for line in p.read_text().split("\n") if "000011" not in line)),
        "no row for frame E001/000011",
        True,
    ),
    "camera without pictures": (
        "images/*/400005",
        shutil.rmtree,
        r"no pictures.*data.cameras=\[400002\]",
        True,
    ),
    "no obj": ("tracked_mesh/E001/000010.obj", Path.unlink, "no SEG/FRAME.obj", False),
    "short KRT": ("KRT", lambda p: _truncate(p, 300), "KRT, line", False),
    "unknown segment": (
        "split.json",
        lambda p: p.write_text('{"train": ["E001"], "test": ["E03"]}'),
        "split.json names segment 'E03'.*Did you mean 'E003'",
        False,
    ),
    "no split": ("split.json", Path.unlink, r"split.json is absent .*data.test_segments=\[E003\]", False),
    "region mask cut": ("uv_regions.png", lambda p: _truncate(p, 60), "uv_regions.png", False),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_before_training_or_skipped(root: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    pattern, damage, message, can_skip = DAMAGE[name]
    for path in sorted(root.glob(pattern)):
        damage(path)
    with pytest.raises(AvatarZooError, match=message):
        prepared(root)
    if not can_skip:
        with pytest.raises(AvatarZooError, match=message):
            prepared(root, on_bad_frame="skip")
        return
    with caplog.at_level(logging.WARNING):
        capture = prepared(root, on_bad_frame="skip")
    assert capture.skipped and capture.skipped[0] in caplog.text
    left = {s for samples in capture.splits.values() for s in samples}
    everything = {Sample(*f, c) for f in tiny.FRAMES for c in tiny.CAMERAS}
    gone = everything - left
    if name == "camera without pictures":
        assert gone == {s for s in everything if s.camera == "400005"}
    elif pattern.startswith(("tracked_mesh", "arkit")):
        assert gone == {Sample("E001", "000011", c) for c in tiny.CAMERAS}
    else:
        assert gone == {Sample("E001", "000011", "400002" if "depth" in pattern else "400005")}
    for sample in left:
        assert bool(torch.isfinite(capture.read(sample).texture.average).all())


def test_metres_are_noticed(root: Path) -> None:
    """A KRT in metres puts the head inside the cameras."""
    for path in root.glob("tracked_mesh/*/*_transform.txt"):
        pose = np.loadtxt(path)
        pose[:, 3] = [0, 0, 900]
        np.savetxt(path, pose)
    with pytest.raises(DataError, match=r"sees no vertex of the tracked mesh .* mm in the camera's frame"):
        prepared(root)
