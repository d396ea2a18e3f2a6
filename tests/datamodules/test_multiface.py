"""The Multiface reader on a tiny capture whose every value is known in closed form."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_capture as tiny
import torch
from PIL import Image

from avatarzoo import registry
from avatarzoo.batch import collate
from avatarzoo.capture import CaptureSummary
from avatarzoo.datamodules.arkit import ARKIT_NAMES
from avatarzoo.datamodules.base import Sample
from avatarzoo.datamodules.multiface import Multiface
from avatarzoo.errors import AvatarZooError, ConfigError, DataError
from avatarzoo.geometry.cameras import face_to_camera, project, to_camera


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_capture(tmp_path_factory.mktemp("capture") / "plate")


@pytest.fixture
def root(original: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(original, tmp_path / "plate"))


def build(root: Path, **options: object) -> Multiface:
    cache = str(root.parent / "cache")
    node = {"name": "multiface", "root": str(root), "texture_size": 32, "val_fraction": 0.0, "cache_dir": cache}
    return registry.build("data", node | options)


def prepared(root: Path, **options: object) -> Multiface:
    capture = build(root, **options)
    capture.prepare()
    return capture


@pytest.fixture(scope="module")
def capture(original: Path) -> Multiface:
    return prepared(original)


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


def test_val_is_carved_from_train_and_out_of_the_statistics(root: Path) -> None:
    capture = prepared(root, val_fraction=0.34)
    assert capture.inventory.frames["val"] == [("E001", "000011")]
    assert {(s.segment, s.frame) for s in capture.splits["train"]} == {("E001", "000010"), ("E002", "000020")}
    np.testing.assert_allclose(capture.summary.vertex_mean[:, 2], np.full(16, 0.1), atol=1e-6)


def test_choices_of_segments_cameras_and_frames(root: Path) -> None:
    capture = build(root, train_segments=["E003"], test_cameras=["400005"], cameras=["400002"], views={"Side": "400005"})
    assert {s.segment for s in capture.splits["train"]} == {"E003"}
    assert {(s.segment, s.camera) for s in capture.splits["test"]} == {("E001", "400005"), ("E002", "400005")}
    assert capture.views == {"Side": "400005"}
    capture.prepare()
    assert capture.summary.cameras.names == ["400002", "400005"] and capture.summary.train_cameras == ["400002"]
    assert len(build(root, max_frames=1).splits["train"]) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cameras": ["400003"]}, "data.cameras names camera '400003'.*Did you mean '40000.*Cameras: 400002, 400005"),
        (
            {"test_segments": ["E03"]},
            "names segment 'E03', which has no frame.*Did you mean 'E003'.*Segments: E001, E002, E003",
        ),
        ({"train_segments": ["E001"], "test_segments": ["E001"]}, "'E001' in train and in test"),
        ({"train_segments": []}, "leaves no segment to train on"),
        ({"views": {"Front": "400009"}}, "data.views gives view 'Front' camera '400009'"),
        ({"on_bad_frame": "ignore"}, "expected 'error' or 'skip'"),
        ({"val_fraction": 0.9}, "data.val_fraction is 0.9"),
        ({"image_height": 0}, "data.image_height is 0"),
        ({"memory_mb": -1}, "data.memory_mb is -1"),
        ({"cameras": []}, "data.cameras is empty"),
    ],
)
def test_options_that_name_what_is_not_there(root: Path, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(root, **options)


def test_enlarging_is_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match="image_height is 41, but the capture's pictures are 32x40"):
        prepared(root, image_height=41)


def test_a_missing_root_suggests_its_neighbour(root: Path) -> None:
    with pytest.raises(DataError, match=r"There is no folder .*plat.*Did you mean '/.*/plate'"):
        build(root.with_name("plat"))


def test_a_folder_of_something_else_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=r"lacks KRT .*It holds: photos"):
        build(tmp_path)


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
