"""The Multiface reader's cache: what is kept, what is made anew, and that the capture is never touched."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import tiny_capture as tiny
import torch
from PIL import Image
from tiny_capture import build, prepared

from avatarzoo.datamodules.base import Sample
from avatarzoo.datamodules.multiface import Multiface
from avatarzoo.errors import ConfigError, DataError


@pytest.mark.parametrize("memory_mb", [0, 2048])
def test_held_and_decoded_pictures_are_the_same(root: Path, capture: Multiface, memory_mb: int) -> None:
    other = prepared(root, memory_mb=memory_mb)
    assert len(other.pictures.rows) == (8 if memory_mb else 0)
    for sample in other.splits["train"]:
        a, b = other.read(sample).view, capture.read(sample).view
        assert torch.equal(a.image, b.image) and torch.equal(a.depth, b.depth)


def test_an_emptied_cache_does_not_stop_a_run(root: Path) -> None:
    capture = prepared(root)
    for path in capture.folder.glob("pictures-*"):
        path.unlink()
    again = pickle.loads(pickle.dumps(capture))
    sample = capture.splits["train"][0]
    pixels, _ = tiny.draw(*tiny.camera(0.0), tiny.pose(0))
    assert torch.equal(again.read(sample).view.image[0] * 255, torch.from_numpy(pixels).permute(2, 0, 1).float())


def test_a_loader_process_reads_the_same(root: Path) -> None:
    capture = prepared(root)
    again = pickle.loads(pickle.dumps(capture))
    sample = capture.splits["test"][1]
    assert torch.equal(again.read(sample).view.image, capture.read(sample).view.image)
    assert torch.equal(again.read(sample).texture.average, capture.read(sample).texture.average)


def test_the_second_preparation_computes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepared(root)

    def refuse(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("avatarzoo.datamodules.picture_store.PictureStore._write", refuse)
    monkeypatch.setattr("avatarzoo.datamodules.texture_store.TextureMaker.make", refuse)
    monkeypatch.setattr("avatarzoo.datamodules.multiface.summarise", refuse)
    second = prepared(root)
    assert torch.equal(first.summary.texture_mean, second.summary.texture_mean)


def test_a_changed_picture_is_read_anew(root: Path) -> None:
    before = prepared(root)
    path = root / "images" / "E001" / "400002" / "000010.png"
    Image.fromarray(np.full((tiny.HEIGHT, tiny.WIDTH, 3), 99, np.uint8)).save(path)
    after = prepared(root)
    sample = Sample("E001", "000010", "400002")
    assert bool((after.read(sample).view.image == 99 / 255).all())
    assert not torch.equal(after.read(sample).texture.average, before.summary.neutral_average)
    assert not torch.equal(after.summary.texture_mean, before.summary.texture_mean)
    assert not bool((before.read(sample).view.image == 99 / 255).all())  # a run that has begun keeps what it began with
    for file in after.folder.rglob("*.*"):
        os.utime(file, (0, 0))
    path.write_bytes(path.read_bytes())
    prepared(root)
    assert len(list(after.folder.glob("pictures-*.bin"))) == 1  # what was left for long is dropped


def test_nothing_is_written_into_the_capture(root: Path) -> None:
    before = sorted(p for p in root.rglob("*"))
    prepared(root).manifest()
    assert sorted(p for p in root.rglob("*")) == before
    with pytest.raises(ConfigError, match="lies inside the capture"):
        build(root, cache_dir=str(root / "cache"))


def test_stored_average_textures_are_used_and_flipped(root: Path) -> None:
    """A red row on top of the PNG lands at v near 1, and 0 is unseen."""
    for segment, frame in tiny.FRAMES:
        pixels = np.zeros((64, 64, 3), np.uint8)
        pixels[:, :32] = (10, 200, 30)
        pixels[:2] = (255, 0, 0)
        path = root / "unwrapped_uv_1024" / segment / "average" / f"{frame}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    texture = prepared(root).read(Sample("E001", "000010", "400002")).texture
    assert texture.average[0, :, 31].T.mul(255).round().unique(dim=0).tolist() == [[255, 0, 0]]
    assert texture.average[0, :, 0, 0].mul(255).round().tolist() == [10, 200, 30]
    assert texture.coverage[0, 0, :31, 16:].max() == 0 and texture.coverage[0, 0, :, :16].min() == 1
    assert bool((texture.average[0, :, :31, 16:] == 0).all())


def test_the_manifest_names_every_file_and_notices_a_change(root: Path) -> None:
    import hashlib

    capture = prepared(root)
    manifest = capture.manifest()
    expected = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
    assert set(manifest) == expected
    path = root / "tracked_mesh" / "E001" / "000011.bin"
    assert manifest["tracked_mesh/E001/000011.bin"] == hashlib.sha256(path.read_bytes()).hexdigest()
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    changed = capture.manifest()
    assert [k for k in manifest if manifest[k] != changed[k]] == ["tracked_mesh/E001/000011.bin"]


def test_two_readers_may_prepare_at_the_same_time(root: Path) -> None:
    """Neither sees the other's half-written files, and both end up with the same."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        captures = list(pool.map(lambda _: prepared(root), range(4)))
    first = captures[0]
    assert not [p for p in first.folder.rglob("*") if p.name.endswith(".tmp")]
    for other in captures[1:]:
        for sample in first.splits["train"]:
            a, b = first.read(sample), other.read(sample)
            assert torch.equal(a.view.image, b.view.image) and torch.equal(a.texture.average, b.texture.average)
        assert torch.equal(first.summary.texture_mean, other.summary.texture_mean)


def test_a_texture_that_vanishes_is_explained(root: Path) -> None:
    capture = prepared(root)
    for path in capture.folder.glob("textures-*/*/*.npy"):
        path.unlink()
    with pytest.raises(DataError, match="was removed from the cache while it was in use"):
        capture.read(capture.splits["train"][0])
