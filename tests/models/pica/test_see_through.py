"""A trained small PiCA has no crack on the widest expressions of its capture, from any camera."""

import torch

from avatarzoo import checkpoint, config, registry
from avatarzoo.batch import collate
from avatarzoo.build import build_capture
from avatarzoo.fit import fit
from avatarzoo.geometry.cameras import face_to_camera, to_camera, to_clip
from avatarzoo.geometry.holes import see_through


def test_no_pixel_is_seen_through_after_training(tmp_path):
    said = ["scale=small", "trainer.max_steps=40", "trainer.accelerator=cpu", "pictures.every=0", "loader.batch_size=2"]
    said += ["data.image_height=128", "data.cameras=5", "data.train_frames=6", "data.test_frames=2"]
    run = fit(config.load("pica_full", [*said, f"data.cache_dir={tmp_path}", f"out={tmp_path / 'run'}"]).resolved)
    loaded = checkpoint.load(run)
    capture = build_capture(loaded.config)
    capture.prepare()
    summary, rasterizer = capture.summary, registry.build("rasterizer", "warp")
    samples = [s for split in ("train", "val", "test") for s in capture.splits[split]]
    frames: dict[tuple[str, str], list] = {}
    for sample in samples:
        frames.setdefault((sample.segment, sample.frame), []).append(capture.read(sample))
    spread = {key: (b[0].mesh.vertices - summary.vertex_mean).square().mean() for key, b in frames.items()}
    widest = sorted(frames, key=lambda key: float(spread[key]))[-4:]
    triangles = summary.topology.triangles.int()
    for key in widest:
        batch = collate(frames[key])
        with torch.inference_mode():
            prediction = loaded.model.render(batch)
            points = to_camera(batch.mesh.vertices, *face_to_camera(batch.view.camera, batch.mesh.head_pose))
            clip = to_clip(points, batch.view.camera.K, batch.view.camera.size)
            raster = rasterizer.rasterize(clip, triangles, batch.view.camera.size)
            reference = rasterizer.interpolate(points[..., 2:], raster, triangles).permute(0, 3, 1, 2)
        found = see_through(prediction.coverage, prediction.depth, reference)
        assert int(prediction.coverage.sum()) > 1000
        assert not found.any(), (
            f"{key}: {int(found.sum())} pixels in {found.flatten(1).any(1).nonzero().flatten().tolist()}"
        )
