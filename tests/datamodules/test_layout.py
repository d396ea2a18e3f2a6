"""Choosing frames of a split."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import tiny_capture as tiny

from avatarzoo.datamodules.base import Sample
from avatarzoo.datamodules.inventory import Inventory
from avatarzoo.datamodules.layout import Layout, carve, spread
from avatarzoo.errors import DataError

FRAMES = [("a", str(i)) for i in range(48)]


def test_frames_are_spread_evenly() -> None:
    assert [int(f[1]) for f in spread(FRAMES, 4)] == [6, 18, 30, 42]
    assert spread(FRAMES, None) == FRAMES == spread(FRAMES, 100)


def test_validation_takes_a_share_and_never_all() -> None:
    assert len(carve(FRAMES, 0.04)) == 2 and len(carve(FRAMES, 0.25)) == 12 and carve(FRAMES, 0) == []
    assert len(carve(FRAMES[:3], 0.01)) == 1, "asked for, so at least one"
    assert carve(FRAMES[:1], 0.5) == [], "the only frame stays in training"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tiny.write_capture(tmp_path / "plate")


def test_a_segment_without_a_split_is_mentioned(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "split.json").write_text('{"train": ["E001", "E001"], "test": ["E003"]}')
    with caplog.at_level(logging.WARNING):
        split = Layout.open(root).choose_split(None, None)
    assert split == {"train": ["E001"], "test": ["E003"]}
    assert "uses neither for training nor for testing: E002" in caplog.text and "named twice" in caplog.text


def test_frames_come_from_the_meshes_without_a_list(root: Path) -> None:
    (root / "frame_list.txt").unlink()
    assert Layout.open(root).frames == tiny.FRAMES
    for path in root.glob("tracked_mesh/*/*.bin"):
        path.unlink()
    with pytest.raises(DataError, match="there is no frame"):
        Layout.open(root)


def test_an_inventory_leaves_out_samples_frames_and_cameras() -> None:
    frames = {"train": FRAMES[:3], "val": FRAMES[3:4], "test": FRAMES[4:5]}
    cameras = {"train": ["x", "y"], "val": ["x", "y"], "test": ["y"]}
    with pytest.raises(DataError, match="broken"):
        Inventory(frames, cameras, skip=False).bad("x", DataError("broken"))
    inventory = Inventory(dict(frames), cameras, skip=True)
    inventory.bad(Sample("a", "0", "x"), DataError("one"))
    inventory.bad(("a", "1"), DataError("two"))
    inventory.settle()
    assert [(s.frame, s.camera) for s in inventory.splits["train"]] == [("0", "y"), ("2", "x"), ("2", "y")]
    inventory.bad("x", DataError("three"))
    inventory.settle()
    assert inventory.all_samples() == [Sample("a", f, "y") for f in ("0", "2", "3", "4")]
    assert inventory.all_frames() == [("a", f) for f in ("0", "2", "3", "4")]
    assert inventory.skipped == ["a/0/x: one", "a/1: two", "camera x: three"]
    inventory.bad("y", DataError("four"))
    with pytest.raises(DataError, match=r"No picture of the train split is left after leaving out 4:\n  a/0/x: one"):
        inventory.settle()
