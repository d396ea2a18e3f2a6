"""The synthetic capture with FLAME's layout: mesh, parameters and pictures of one head."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avatarzoo import registry
from avatarzoo.batch import lookup
from avatarzoo.datamodules.flame_layout.model import EDITION
from avatarzoo.datamodules.statistics import motion_per_unit
from avatarzoo.datamodules.synthetic import Synthetic
from avatarzoo.datamodules.tracked_videos.flame_mesh import load_model
from avatarzoo.errors import ConfigError
from avatarzoo.geometry.cameras import face_to_camera, to_camera, to_clip
from avatarzoo.rigs.flame import FlameParameters

TINY = {"image_height": 64, "texture_size": 48, "cameras": 2, "train_frames": 4, "test_frames": 1, "val_fraction": 0.25}


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    made = registry.build(
        "data", {"name": "synthetic", "rig": "flame_layout", "cache_dir": str(tmp_path_factory.mktemp("c")), **TINY}
    )
    made.prepare()
    return made


def test_parameters_give_the_mesh(capture: Synthetic) -> None:
    rig = load_model("flame_layout", None, None, "x", "")[0]
    for sample in capture.splits["train"] + capture.splits["test"]:
        batch = capture.read(sample)
        for path in capture.provides:
            assert lookup(batch, path) is not None, path
        p = FlameParameters.neutral()
        p.expression, p.jaw, p.eyes = (batch.driving.flame[k] for k in ("expression", "jaw", "eyes"))
        torch.testing.assert_close(rig(p)[0], batch.mesh.vertices, atol=5e-3, rtol=0)
    assert capture.summary.flame_edition == EDITION and set(capture.summary.neutral_flame) == {"expression", "jaw", "eyes"}
    assert capture.summary.topology.triangles.shape == (9976, 3)
    motion = capture.summary.motion_per_unit
    shapes = {"arkit": 52, "flame.expression": 100, "flame.jaw": 3, "flame.eyes": 6}
    assert {name: len(values) for name, values in motion.items()} == shapes
    neutral = capture.frames["train"][capture.summary.train_frames.tolist().index(capture.summary.neutral_frame)]
    assert neutral in capture.frames["train"]


def test_motion_is_of_the_training_frames_own_numbers_and_meshes(capture: Synthetic) -> None:
    samples = {(s.segment, s.frame): s for s in capture.splits["train"]}
    batches = [capture.read(samples[frame]) for frame in capture.frames["train"]]
    assert [int(b.driving.frame) for b in batches] != list(range(len(batches))), "not the first frames"
    meshes = [b.mesh.vertices[0].numpy() for b in batches]
    parameters = [torch.cat([b.driving.flame[k][0] for k in ("expression", "jaw", "eyes")]) for b in batches]
    found = capture.summary.motion_per_unit
    together = torch.cat([found[f"flame.{k}"] for k in ("expression", "jaw", "eyes")])
    torch.testing.assert_close(together, motion_per_unit(torch.stack(parameters).numpy(), meshes))
    weights = torch.cat([b.driving.arkit for b in batches])
    torch.testing.assert_close(found["arkit"], motion_per_unit(weights.numpy(), meshes))
    assert together.max() > 0.1


def test_the_mesh_lies_on_the_pictures(capture: Synthetic) -> None:
    rasterizer = registry.build("rasterizer", "warp")
    for sample in capture.splits["train"][:2]:
        batch = capture.read(sample)
        points = to_camera(batch.mesh.vertices, *face_to_camera(batch.view.camera, batch.mesh.head_pose))
        triangles = capture.summary.topology.triangles
        raster = rasterizer.rasterize(to_clip(points, batch.view.camera.K, capture.size), triangles, capture.size)
        depth = rasterizer.interpolate(points[..., 2:].contiguous(), raster, triangles)[0, ..., 0]
        both = (raster[0, ..., 3] > 0) & (batch.view.depth[0, 0] > 0)
        either = (raster[0, ..., 3] > 0) | (batch.view.depth[0, 0] > 0)
        assert both.sum() / either.sum() > 0.95
        apart = (depth - batch.view.depth[0, 0])[both].abs()
        assert apart.median() < 0.5 and np.percentile(apart.numpy(), 90) < 3  # mm


def test_without_the_option_nothing_changes() -> None:
    plain = registry.build("data", {"name": "synthetic", **TINY})
    assert not any(p.startswith("driving.flame") for p in plain.provides) and "rig" not in plain._options
    with pytest.raises(ConfigError, match="'flame_layout'"):
        registry.build("data", {"name": "synthetic", "rig": "flame"})
