"""The reader on a real scan's capture: depth, pictures and tracked mesh agree about where everything is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from avatarzoo import registry
from avatarzoo.batch import HeadBatch
from avatarzoo.datamodules.multiface import Multiface
from avatarzoo.geometry.cameras import face_to_camera, to_camera, to_clip
from avatarzoo.rigs.arkit import ARKIT_NAMES

CAPTURES = Path(os.environ.get("AVATARZOO_CAPTURES", Path(__file__).parents[3] / "shared" / "captures"))
CAMERAS = ["400002", "400017", "400020", "400026", "400035"]  # the five views; 400017 and 400035 have no depth


def prepared(name: str, cache: Path, **options: object) -> Multiface:
    if not (CAPTURES / name / "KRT").is_file():
        pytest.skip(f"no capture {CAPTURES / name}; set AVATARZOO_CAPTURES to the folder that holds it")
    node = {
        "name": "multiface",
        "root": str(CAPTURES / name),
        "cache_dir": str(cache),
        "texture_size": 256,
        "max_frames": 2,
    }
    capture = registry.build("data", node | options)
    capture.prepare()
    return capture


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Multiface:
    return prepared("lps_multiview", tmp_path_factory.mktemp("cache"), cameras=CAMERAS, image_height=256)


@pytest.fixture(scope="module")
def warp():
    return registry.build("rasterizer", "warp")


def draw(capture: Multiface, warp, batch: HeadBatch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Depth (B,H,W mm) and coverage of the tracked mesh's skin, and the frame's own average texture on it (B,3,H,W)."""
    topology, camera = capture.summary.topology, batch.view.camera
    local = to_camera(batch.mesh.vertices, *face_to_camera(camera, batch.mesh.head_pose))
    raster = warp.rasterize(to_clip(local, camera.K, camera.size), topology.triangles, camera.size)
    depth = warp.interpolate(local[..., 2:].contiguous(), raster, topology.triangles)[..., 0]
    uv = warp.interpolate(topology.uvs[None], raster, topology.uv_triangles)
    colour = warp.texture(batch.texture.average.permute(0, 2, 3, 1), uv).permute(0, 3, 1, 2)
    seen = warp.texture(batch.texture.coverage.permute(0, 2, 3, 1), uv)[..., 0] > 0.999
    flat = capture.summary.region_at("mouth", uv) | capture.summary.region_at("eyes", uv)  # spanned by flat strips
    return depth, (raster[..., 3] > 0) & seen & ~flat, colour


def test_the_summary_is_that_of_the_capture(capture: Multiface) -> None:
    summary = capture.summary
    assert summary.topology.triangles.shape == (20_718, 3) and summary.topology.uvs.shape == (10_797, 2)
    assert summary.vertex_mean.shape == (10_390, 3) and 1.0 < summary.vertex_std < 5.0
    assert summary.cameras.size == (256, 167) and len(summary.cameras.names) == 14
    assert summary.cameras.views["Front"] == "400002" and set(summary.cameras.views.values()) == set(CAMERAS)
    red, green, blue = summary.colour_mean.tolist()
    assert red > green > blue > 0.3, "skin"
    nose = int(summary.vertex_mean[:, 2].argmax())
    assert abs(float(summary.vertex_mean[nose, 0])) < 10, "z points out of the face"
    assert summary.neutral_arkit.shape == (52,) and float(summary.neutral_arkit.amax()) <= 1
    motion = dict(zip(ARKIT_NAMES, summary.motion_per_unit["arkit"].tolist(), strict=True))
    assert motion["JawOpen"] > 0 and max(motion.values()) < 100, "mm; two frames a segment say little"


def test_regions_lie_on_the_mouth_and_the_eyes(capture: Multiface) -> None:
    """Of the wedges in a region, eyes stand above the mouth, on both sides of the middle."""
    topology, vertices = capture.summary.topology, capture.summary.vertex_mean
    where = {
        name: vertices[
            topology.triangles.long()[capture.summary.region_at(name, topology.uvs[topology.uv_triangles.long()])]
        ]
        for name in ("mouth", "eyes")
    }
    assert where["eyes"][:, 1].mean() - where["mouth"][:, 1].mean() > 40
    assert where["eyes"][:, 0].amin() < -25 and where["eyes"][:, 0].amax() > 25
    assert where["mouth"][:, 0].abs().max() < 45


def test_depth_agrees_with_the_tracked_mesh(capture: Multiface, warp) -> None:
    errors = []
    for sample in capture.splits["train"] + capture.splits["test"]:
        batch = capture.read(sample)
        known = batch.view.depth[0] > 0
        assert bool(known.any()) is (sample.camera not in ("400017", "400035"))
        depth, covered, _ = draw(capture, warp, batch)
        errors.append((depth - batch.view.depth[0])[known & covered])
    error = torch.cat(errors)
    assert abs(float(error.median())) < 0.1 and float(error.abs().median()) < 0.3
    assert len(error) > 100_000


@pytest.mark.parametrize("camera", CAMERAS)
def test_pictures_agree_with_the_textured_mesh_to_a_fraction_of_a_pixel(capture: Multiface, warp, camera: str) -> None:
    """The gradient of the picture explains what is left of the difference: its shift, by least squares, is small."""
    sample = next(s for s in capture.splits["test"] if s.camera == camera)
    batch = capture.read(sample)
    depth, covered, colour = draw(capture, warp, batch)
    inner = torch.nn.functional.max_pool2d((~covered).float()[None], 7, 1, 3)[0, 0] == 0
    steps = torch.nn.functional.max_pool2d(depth[None], 5, 1, 2) + torch.nn.functional.max_pool2d(-depth[None], 5, 1, 2)
    mask = (inner & (steps[0, 0] < 15))[1:-1, 1:-1]
    picture, drawn = batch.view.image[0], colour[0]
    right = (drawn[:, 1:-1, 2:] - drawn[:, 1:-1, :-2])[:, mask] / 2
    down = (drawn[:, 2:, 1:-1] - drawn[:, :-2, 1:-1])[:, mask] / 2
    difference = (picture - drawn)[:, 1:-1, 1:-1][:, mask]
    design = torch.stack([right.flatten(), down.flatten(), torch.ones(difference.numel())], dim=1).double()
    solution = torch.linalg.lstsq(design, difference.flatten().double()[:, None]).solution[:2, 0]
    assert mask.sum() > 4000
    assert float(solution.abs().max()) < 0.25, f"the picture is shifted by {solution.tolist()} pixels"
    assert -10 * torch.log10((difference**2).mean()) > 28


def test_a_tenth_of_the_charts_is_unseen(tmp_path: Path) -> None:
    capture = prepared("lps_multiview", tmp_path, image_height=64, max_frames=1)
    coverage = capture.summary.neutral_coverage.mean()
    assert 0.70 < float(coverage) < 0.80, "charts cover 83 % of the atlas"


def test_the_mono_capture_reads_with_mattes_and_without_depth(tmp_path: Path) -> None:
    capture = prepared("lps_mono", tmp_path)
    batch = capture.read(capture.splits["test"][0])
    assert batch.view.depth is None and batch.view.foreground.shape == batch.view.image[:, :1].shape
    lit = batch.view.image.amax(dim=1, keepdim=True) > 0.1
    assert (lit == (batch.view.foreground > 0.5)).float().mean() > 0.97
    assert capture.summary.cameras.size == (256, 256)
