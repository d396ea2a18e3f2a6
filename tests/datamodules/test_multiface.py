"""The Multiface reader on a tiny capture whose every value is known in closed form: samples, textures, summary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_capture as tiny
import torch
from PIL import Image
from tiny_capture import prepared

from avatarzoo.batch import collate
from avatarzoo.capture import CaptureSummary
from avatarzoo.datamodules.arkit import ARKIT_NAMES
from avatarzoo.datamodules.base import Sample
from avatarzoo.datamodules.multiface import Multiface
from avatarzoo.errors import DataError
from avatarzoo.geometry.cameras import face_to_camera, project, to_camera


def test_a_sample_holds_what_the_files_hold(capture: Multiface) -> None:
    batch = capture.read(Sample("E002", "000020", "400002"), noise_key=7)
    pixels, depth = tiny.draw(*tiny.camera(0.0), tiny.pose(2))
    assert torch.equal(batch.view.image[0], torch.from_numpy(pixels).permute(2, 0, 1).float() / 255)
    np.testing.assert_allclose(batch.view.depth[0, 0], depth, atol=0.051)
    K, R, t = tiny.camera(0.0)
    np.testing.assert_allclose(batch.view.camera.K[0], K, rtol=1e-6)
    np.testing.assert_allclose(batch.view.camera.R[0], R, atol=1e-6)
    np.testing.assert_allclose(batch.view.camera.t[0], t, atol=1e-5)
    assert batch.view.camera.size == (tiny.HEIGHT, tiny.WIDTH)
    np.testing.assert_allclose(batch.mesh.vertices[0], tiny.grid()[0] + [0, 0, 0.2], atol=1e-5)
    np.testing.assert_allclose(batch.mesh.head_pose[0], tiny.pose(2), atol=1e-6)
    np.testing.assert_allclose(batch.driving.arkit[0], [(k + 2) % 52 / 52 for k in range(52)], atol=1e-6)
    assert batch.driving.frame.tolist() == [2] and batch.meta.noise_key.tolist() == [7]
    assert batch.meta.describe(0) == "E002/000020/400002"
    assert batch.view.foreground is None


def test_cameras_without_depth_collate_with_those_that_have_it(capture: Multiface) -> None:
    batch = collate([capture.read(sample) for sample in capture.splits["train"]])
    assert batch.size == 6
    assert bool((batch.view.depth[1::2] == 0).all()) and bool((batch.view.depth[::2] > 0).any())


def test_provided_fields_are_exactly_those_that_samples_carry(capture: Multiface) -> None:
    batch = capture.read(capture.splits["test"][0])
    for path in capture.provides:
        value = batch
        for part in path.split("."):
            value = getattr(value, part)
        assert value is not None, path
    assert "view.depth" in capture.provides and "view.foreground" not in capture.provides


@pytest.mark.parametrize("camera", list(tiny.CAMERAS))
def test_projecting_vertices_meets_the_picture(capture: Multiface, camera: str) -> None:
    """K [R_c R_f | R_c t_f + t_c] applied to .bin vertices lands where the plane was drawn."""
    batch = capture.read(Sample("E003", "000030", camera))
    R, t = face_to_camera(batch.view.camera, batch.mesh.head_pose)
    inner = batch.mesh.vertices[:, [5, 6, 9, 10]] - torch.tensor([0, 0, 0.3])
    pixel = project(to_camera(inner, R, t), batch.view.camera.K)[0]
    world = inner[0].double().numpy() @ tiny.pose(3)[:, :3].T + tiny.pose(3)[:, 3]
    K, Rc, tc = tiny.camera(tiny.CAMERAS[camera])
    local = (world @ Rc.T + tc) @ K.T
    np.testing.assert_allclose(pixel, local[:, :2] / local[:, 2:], atol=1e-3)
    row, column = pixel.round().long().T.flip(0)
    seen = batch.view.image[0, :, row, column].T * 255
    np.testing.assert_allclose(seen, tiny.colour(*inner[0, :, :2].numpy().T), atol=6)  # half a pixel is 4 levels


def test_average_textures_recover_the_colour_of_every_point(capture: Multiface) -> None:
    centres = (np.arange(32) + 0.5) / 32 * 2 * tiny.HALF - tiny.HALF
    x, y = np.meshgrid(centres, centres)  # row 0 at v = 0, the lower edge
    truth = torch.from_numpy(tiny.colour(x, y)).permute(2, 0, 1) / 255
    for frame in capture.inventory.all_frames():
        batch = capture.read(Sample(*frame, "400002"))
        seen = batch.texture.coverage[0, 0] > 0
        assert seen[3:29, 3:29].all() and seen.float().mean() > 0.7
        error = (batch.texture.average[0] - truth).abs()[:, seen]
        assert error.max() < 2.5 / 255
        assert bool((batch.texture.average[0][:, ~seen] == 0).all())


def test_summary_statistics_match_numpy(capture: Multiface) -> None:
    summary = capture.summary
    meshes = np.stack([tiny.grid()[0] + [0, 0, 0.1 * k] for k in range(3)])
    np.testing.assert_allclose(summary.vertex_mean, meshes.mean(axis=0), atol=1e-5)
    assert summary.vertex_std == pytest.approx(np.sqrt(((meshes - meshes.mean(axis=0)) ** 2).mean()), rel=1e-4)
    np.testing.assert_allclose(summary.neutral_vertices, meshes[1], atol=1e-5)
    np.testing.assert_allclose(summary.head_pose, tiny.pose(1), atol=1e-6)
    np.testing.assert_allclose(summary.neutral_arkit, [(k + 1) % 52 / 52 for k in range(52)], atol=1e-6)
    assert set(summary.motion_per_unit) == {"arkit"} and summary.motion_per_unit["arkit"].shape == (52,)
    textures = [capture.read(Sample(*frame, "400002")).texture for frame in tiny.FRAMES[:3]]
    values = torch.stack([t.average[0] for t in textures]).double().numpy()
    seen = np.broadcast_to(torch.stack([t.coverage[0] for t in textures]).numpy() > 0, values.shape)
    mean = np.ma.array(values, mask=~seen).mean(axis=0)
    any_seen = seen.any(axis=0)
    np.testing.assert_allclose(summary.texture_mean.numpy()[any_seen], mean.filled(0)[any_seen], atol=1e-6)
    assert summary.texture_std == pytest.approx(np.sqrt(((values - mean.filled(0)) ** 2)[seen].mean()), rel=1e-5)
    colours = summary.texture_mean.numpy()[:, any_seen[0]].astype(float)
    np.testing.assert_allclose(summary.colour_mean, colours.mean(axis=1), atol=1e-5)
    axes = summary.colour_axes.double().numpy()
    np.testing.assert_allclose(axes @ axes.T, np.cov(colours, bias=True), atol=1e-6)


def test_regions_are_stored_with_row_0_at_v_0(capture: Multiface) -> None:
    regions = capture.summary.regions
    assert regions["mouth"].nonzero()[:, 0].unique().tolist() == [15]
    assert regions["eyes"].nonzero().tolist() == [[7, 3]]
    at = capture.summary.region_at("mouth", torch.tensor([[0.5, 0.99], [0.5, 0.01]]))
    assert at.tolist() == [True, False]


def test_summary_travels_as_plain_values(capture: Multiface, tmp_path: Path) -> None:
    torch.save(capture.summary.to_plain(), tmp_path / "summary.pt")
    again = CaptureSummary.from_plain(torch.load(tmp_path / "summary.pt", weights_only=True))
    assert torch.equal(again.texture_mean, capture.summary.texture_mean)
    assert again.cameras.views == {"Front": "400002"} and again.cameras.names == list(tiny.CAMERAS)


def test_half_size_reads_halve_the_intrinsics_around_pixel_centres(root: Path) -> None:
    small = prepared(root, image_height=20)
    batch = small.read(Sample("E001", "000010", "400002"))
    pixels, _ = tiny.draw(*tiny.camera(0.0), tiny.pose(0))
    blocks = pixels.reshape(20, 2, 16, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(batch.view.image[0].permute(1, 2, 0) * 255, blocks, atol=0.51)
    np.testing.assert_allclose(batch.view.camera.K[0], [[90, 0, 7.35], [0, 90, 9.6], [0, 0, 1]], rtol=1e-6)
    assert batch.view.camera.size == (20, 16) == small.summary.cameras.size


def test_a_mono_capture_without_extras_reads(tmp_path: Path) -> None:
    root = tiny.write_capture(tmp_path / "plain", depth=False, arkit=False)
    for name in ("frame_list.txt", "views.json", "uv_regions.png"):
        (root / name).unlink()
    (root / "split.json").unlink()
    capture = prepared(root, test_segments=["E003"])
    batch = capture.read(capture.splits["train"][0])
    assert batch.view.depth is None and batch.driving.arkit is None and capture.summary.regions == {}
    assert capture.summary.cameras.views == {} and capture.summary.neutral_arkit is None
    assert [*capture.tables["frame"]] == [frame for _, frame in tiny.FRAMES]


def test_mattes_become_foreground(root: Path) -> None:
    for path in root.glob("images/*/*/*.png"):
        matte = root / "mattes" / path.relative_to(root / "images")
        matte.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((np.asarray(Image.open(path)).max(axis=2) > 0).astype(np.uint8) * 255).save(matte)
    capture = prepared(root)
    view = capture.read(capture.splits["train"][0]).view
    assert torch.equal(view.foreground > 0.5, view.image.amax(dim=1, keepdim=True) > 0)
    matte.unlink()
    with pytest.raises(DataError, match=r"mattes.* is absent"):
        prepared(root)


def test_weights_are_matched_by_name(root: Path, capture: Multiface) -> None:
    lines = [line.split(",") for line in (root / "arkit_weights.csv").read_text().strip().split("\n")]
    order = np.random.default_rng(0).permutation(len(lines[0]))
    (root / "arkit_weights.csv").write_text("\n".join(",".join(np.array(line)[order]) for line in lines))
    assert lines[0][2:] == list(ARKIT_NAMES)
    shuffled = prepared(root)
    for sample in shuffled.splits["train"]:
        assert torch.equal(shuffled.read(sample).driving.arkit, capture.read(sample).driving.arkit)
