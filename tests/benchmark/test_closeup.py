"""closeup-v1 counts what is seen more finely than in training, and nothing else."""

import dataclasses
from pathlib import Path

import fixtures
import numpy as np
import pillow_capture as pillow
import pytest
import torch

from avatarzoo import registry
from avatarzoo.benchmark.closeup_v1 import MARGIN
from avatarzoo.benchmark.regions import draw_footprint, draw_tracked, finest_footprint
from avatarzoo.benchmark.score import score
from avatarzoo.capture import CaptureSummary
from avatarzoo.errors import DataError


def trained_from(factor: float) -> CaptureSummary:
    """The pillow's summary with focal lengths scaled: training saw the face that much more finely."""
    summary = fixtures.summary()
    K = summary.cameras.K.clone()
    K[:, :2, :2] *= factor
    return dataclasses.replace(summary, cameras=dataclasses.replace(summary.cameras, K=K))


def test_a_pixels_footprint_is_depth_over_focal_length() -> None:
    capture = pillow.prepared()
    for sample in capture.splits["test"][:2]:
        batch = capture.read(sample)
        found = draw_footprint(batch, capture.summary, registry.build("rasterizer", "torch"))
        K = batch.view.camera.K[0].numpy()
        depth, seen = batch.view.depth.numpy(), batch.view.foreground.numpy() > 0
        np.testing.assert_allclose(found.numpy()[seen], depth[seen] / np.sqrt(K[0, 0] * K[1, 1]), rtol=1e-4)
        assert np.isinf(found.numpy()[~seen]).all()


def test_the_finest_footprint_is_that_of_the_nearest_vertex_of_the_nearest_camera() -> None:
    summary, best = fixtures.summary(), np.inf
    pose, table = summary.head_pose.numpy(), summary.cameras
    for K, R, t in zip(table.K.numpy(), table.R.numpy(), table.t.numpy(), strict=True):
        for vertex in summary.neutral_vertices.numpy():
            z = (R @ (pose[:, :3] @ vertex + pose[:, 3]) + t)[2]
            best = min(best, z / np.sqrt(K[0, 0] * K[1, 1]))
    assert finest_footprint(summary) == pytest.approx(best, rel=1e-5)
    assert finest_footprint(trained_from(0.5)) == pytest.approx(2 * best, rel=1e-5)


def test_only_cameras_that_trained_count() -> None:
    summary = fixtures.summary()
    table = summary.cameras
    K = table.K.clone()
    K[1, :2, :2] *= 4  # the second camera only tests, from much nearer
    summary = dataclasses.replace(summary, cameras=dataclasses.replace(table, K=K))
    everyone = finest_footprint(summary)
    trained = finest_footprint(dataclasses.replace(summary, train_cameras=table.names[:1]))
    alone = dataclasses.replace(table, K=K[:1], R=table.R[:1], t=table.t[:1], names=table.names[:1])
    assert trained == finest_footprint(dataclasses.replace(summary, cameras=alone)) > 2 * everyone
    with pytest.raises(DataError, match="damaged"):
        finest_footprint(dataclasses.replace(summary, train_cameras=["nobody"]))


def test_the_record_says_how_fine_training_was(tmp_path: Path) -> None:
    rule = registry.build("protocol", "closeup-v1")
    assert "finest" not in rule.describe()
    summary = fixtures.summary()
    rule.prepare(summary)
    assert (
        rule.describe()["finest"].startswith(f"{finest_footprint(summary):.4g} mm")
        and "all cameras" in rule.describe()["finest"]
    )
    rule.prepare(dataclasses.replace(summary, train_cameras=["front"]))
    assert rule.describe()["finest"].endswith("of training cameras")


def test_only_pixels_finer_than_training_count() -> None:
    capture, rule = pillow.prepared(), registry.build("protocol", "closeup-v1")
    batch = capture.read(capture.splits["test"][0])
    rasterizer = registry.build("rasterizer", "warp")
    tracked = draw_tracked(batch, capture.summary, rasterizer)[0]
    footprint = draw_footprint(batch, capture.summary, rasterizer)
    with pytest.raises(DataError, match="prepare"):
        rule.choose(tracked, tracked, lambda: footprint)
    counts = []
    for factor in (1.0, 0.75, 0.7, 0.1):
        rule.prepare(trained_from(factor))
        chosen = rule.choose(tracked, torch.zeros_like(tracked), lambda: footprint)
        expected = tracked & (footprint < MARGIN * finest_footprint(trained_from(factor)))
        assert torch.equal(chosen, expected)
        counts.append(int(chosen.sum()))
    assert counts[0] == 0 and 0 < counts[2] < counts[3] == int(tracked.sum())


def test_nothing_to_count_is_said_and_gives_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = pillow.write_checkpoint(tmp_path / "model.ckpt")
    records = score(path, protocols=["closeup-v1", "tracked-v1"], out=tmp_path / "test", device="cpu", quiet=True)
    overall = records[0]["metrics"]["overall"]
    assert overall["images"] == 0 and overall["psnr"] is None and overall["mse"] is None
    assert "more finely than training" in records[0]["missing"]["psnr"] and "psnr" not in records[1]["missing"]
    for kind, name in ((kind, name) for kind in ("truth", "counted") for name in ("closeup-v1", "tracked-v1")):
        assert len(list((tmp_path / "test" / kind / name).rglob("*.png"))) == 2  # the middle expression in both views
