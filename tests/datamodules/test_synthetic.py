import pickle
import threading
import time
from dataclasses import fields, is_dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial import cKDTree

from avatarzoo import registry
from avatarzoo.batch import lookup
from avatarzoo.datamodules.arkit import ARKIT_NAMES
from avatarzoo.datamodules.procedural.cameras import make_cameras
from avatarzoo.datamodules.procedural.expressions import rotation
from avatarzoo.datamodules.procedural.lock import exclusive
from avatarzoo.datamodules.procedural.scene import Scene
from avatarzoo.datamodules.procedural.shape import EYE_CENTRE, EYE_RADIUS
from avatarzoo.datamodules.synthetic import write_multiface
from avatarzoo.errors import ConfigError, DataError
from avatarzoo.geometry.cameras import camera_centre, face_to_camera, project, to_camera

TINY = {"image_height": 64, "texture_size": 48, "cameras": 5, "train_frames": 5, "test_frames": 1}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def capture(cache):
    capture = registry.build("data", {"name": "synthetic", "cache_dir": str(cache), **TINY})
    capture.prepare()
    return capture


@pytest.fixture(scope="module")
def scene():
    return Scene.build(0, skin_size=64)


def pose(scene, **weights):
    skin, moved = scene.face.pose(weights)
    return skin, moved


def gap(scene, skin, slit):
    edges = scene.inside.edges
    return np.linalg.norm(skin[edges[slit, True]] - skin[edges[slit, False]], axis=1).max()


# ---- the capture ----


def test_carries_what_it_promises(capture):
    batch = capture.read(capture.splits["train"][0], noise_key=7)
    for path in capture.provides:
        assert lookup(batch, path) is not None, path
    assert batch.view.image.shape == (1, 3, 64, 42)
    assert batch.view.depth.shape == batch.view.foreground.shape == (1, 1, 64, 42)
    assert batch.texture.average.shape == (1, 3, 48, 48)
    assert batch.driving.arkit.shape == (1, 52)
    assert int(batch.meta.noise_key) == 7
    assert batch.mesh.vertices.shape[1] == int(capture.summary.topology.triangles.max()) + 1


def test_splits_are_disjoint_and_the_test_segment_is_held_out(capture):
    train, val, test = (set(capture.splits[s]) for s in ("train", "val", "test"))
    assert train and val and test
    assert not train & val and not train & test and not val & test
    assert {s.segment for s in test} == {"E005_heldout"}
    assert not {s.segment for s in train | val} & {s.segment for s in test}


def test_pictures_mattes_and_depth_agree(capture):
    for split in capture.splits.values():
        for sample in split:
            view = capture.read(sample).view
            assert torch.isfinite(view.image).all() and torch.isfinite(view.depth).all()
            assert (view.foreground[view.depth > 0] > 0).all()
            assert (view.image[:, :, view.foreground[0, 0] == 0] == 0).all()
            assert (view.depth[view.foreground == 1] > 0).all()
            assert 0.15 < view.foreground.mean() < 0.8
            assert view.image.mean(dim=1, keepdim=True)[view.foreground == 1].mean() > 0.15


def test_projected_tracked_mesh_lands_in_the_matte(capture):
    for sample in capture.splits["test"]:
        batch = capture.read(sample)
        R, t = face_to_camera(batch.view.camera, batch.mesh.head_pose)
        pixel = project(to_camera(batch.mesh.vertices, R, t), batch.view.camera.K)[0].round().long()
        height, width = batch.view.camera.size
        inside = (pixel >= 1).all(1) & (pixel[:, 0] < width - 1) & (pixel[:, 1] < height - 1)
        grown = torch.nn.functional.max_pool2d(batch.view.foreground, 3, 1, 1)[0, 0]
        assert inside.sum() > 2000
        assert (grown[pixel[inside, 1], pixel[inside, 0]] > 0).all()


def test_named_views_stand_where_they_say(capture):
    table = capture.summary.cameras
    centre = {view: camera_centre(table.R, table.t)[table.names.index(name)] for view, name in table.views.items()}
    assert set(centre) == {"Front", "Up", "Down", "Left", "Right"}
    assert centre["Left"][0] < -400 < 400 < centre["Right"][0]  # the viewer's left is the subject's right
    assert centre["Down"][1] < -200 < 200 < centre["Up"][1]
    assert centre["Front"][2] > 900
    assert torch.allclose(table.R @ table.R.transpose(1, 2), torch.eye(3).expand(5, 3, 3), atol=1e-6)
    assert (torch.linalg.det(table.R) > 0.99).all()


def test_regions_hold_the_openings(capture, scene):
    head, summary = scene.head, capture.summary
    assert torch.equal(summary.topology.triangles.long(), torch.from_numpy(head.tracked_triangles))
    for name, slits in (("mouth", ["mouth"]), ("eyes", ["eye_left", "eye_right"])):
        edge = np.concatenate([head.uv[head.grid.edge(head.grid.slit(s), upper)] for s in slits for upper in (True, False)])
        assert summary.region_at(name, torch.tensor(edge, dtype=torch.float32)).all()
        assert 0.005 < summary.regions[name].float().mean() < 0.06
    assert not summary.region_at("mouth", torch.tensor([[0.5, 0.9], [0.1, 0.4]])).any()


def test_same_seed_gives_the_same_bits(capture, tmp_path):
    again = registry.build("data", {"name": "synthetic", "cache_dir": str(tmp_path), **TINY})
    left_over = again.folder.with_name(f".{again.folder.name}.1.tmp")
    left_over.mkdir(parents=True)
    assert again.manifest() == capture.manifest()
    assert not left_over.exists()


def test_another_seed_gives_another_capture(cache):
    def made(seed):
        return registry.build("data", {"name": "synthetic", "seed": seed, "cache_dir": str(cache), **TINY})

    assert made(1).folder != made(0).folder
    assert not torch.equal(made(1).arkit, made(0).arkit)
    assert not torch.equal(made(1).head_pose, made(0).head_pose)


def test_cache_is_reused(capture, cache):
    stamp = (capture.folder / "images.npy").stat().st_mtime_ns
    again = registry.build("data", {"name": "synthetic", "cache_dir": str(cache), **TINY})
    again.prepare()
    assert (capture.folder / "images.npy").stat().st_mtime_ns == stamp


def test_loader_processes_open_their_own_mappings(capture):
    capture.read(capture.splits["test"][0])
    sent = pickle.dumps(capture)
    assert len(sent) < 3_000_000  # the pictures do not travel
    assert torch.equal(
        pickle.loads(sent).read(capture.splits["test"][0]).view.image, capture.read(capture.splits["test"][0]).view.image
    )


def test_lock_makes_the_second_wait(tmp_path):
    order = []

    def second():
        with exclusive(tmp_path / "x.lock"):
            order.append("second")

    with exclusive(tmp_path / "x.lock"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize(
    ("option", "value"), [("image_height", 8), ("cameras", 0), ("train_frames", 0), ("test_frames", 0), ("texture_size", 1)]
)
def test_refuses_options_out_of_range(option, value):
    with pytest.raises(ConfigError, match=f"data.{option}"):
        registry.build("data", {"name": "synthetic", option: value})


def test_refuses_a_capture_larger_than_the_limit():
    with pytest.raises(ConfigError, match=r"data\.memory_mb=100"):
        registry.build("data", {"name": "synthetic", "image_height": 2048, "memory_mb": 100})


# ---- written and read back ----


def equal(a, b, path="", tolerance=None):
    tolerance = tolerance or {}
    for f in fields(a):
        x, y, here = getattr(a, f.name), getattr(b, f.name), f"{path}.{f.name}"
        if is_dataclass(x):
            equal(x, y, here, tolerance)
        elif isinstance(x, torch.Tensor):
            assert x.shape == y.shape and x.dtype == y.dtype, here
            error = (x.double() - y.double()).abs().max()
            assert error <= tolerance.get(here, 0), f"{here}: {error}"
        elif isinstance(x, dict) and any(isinstance(v, torch.Tensor) for v in x.values()):
            assert x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x), here
        else:
            assert x == y, here


def test_multiface_layout_reads_back_as_the_same_batch(capture, tmp_path):
    root = write_multiface(capture, tmp_path / capture.summary.name)
    options = {"root": str(root), "texture_size": 48, "cache_dir": str(tmp_path / "cache")}
    back = registry.build("data", {"name": "multiface", **options})
    back.prepare()
    assert back.splits == capture.splits
    assert back.provides == capture.provides
    for sample in (capture.splits["train"][3], capture.splits["test"][-1]):
        equal(capture.read(sample, 5), back.read(sample, 5), tolerance={".view.depth": 0.0501})
    equal(capture.summary, back.summary)


def test_refuses_to_write_over_something(capture, tmp_path):
    Image.new("L", (1, 1)).save(tmp_path / "mine.png")
    with pytest.raises(DataError, match="holds something already"):
        write_multiface(capture, tmp_path)


# ---- the head ----


def test_depth_is_where_rays_meet_the_true_mesh(capture, scene):
    sample = capture.splits["test"][0]
    batch, index = capture.read(sample), len(capture.performance.frames) - 1
    skin, moved = scene.face.pose(capture.performance.arkit[index])
    vertices = scene.renderer.vertices(skin, moved)
    R, t = face_to_camera(batch.view.camera, batch.mesh.head_pose)
    corners = to_camera(vertices[None], R, t)[0].double().numpy()[scene.renderer.triangles.numpy()]
    depth = batch.view.depth[0, 0].numpy()
    K = batch.view.camera.K[0].double().numpy()
    rows, columns = np.nonzero(depth)
    chosen = np.random.default_rng(0).choice(len(rows), 25, replace=False)
    errors = []
    for row, column in zip(rows[chosen], columns[chosen], strict=True):
        ray = np.linalg.solve(K, [column, row, 1.0])  # z = 1
        a, e1, e2 = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        h = np.cross(ray, e2)
        with np.errstate(all="ignore"):  # triangles seen from the side
            f = 1 / (e1 * h).sum(1)
            u = -f * (a * h).sum(1)
            q = np.cross(-a, e1)
            v, z = f * (q @ ray), f * (e2 * q).sum(1)
            hit = (u >= -1e-4) & (v >= -1e-4) & (u + v <= 1 + 1e-4) & (z > 0)
        errors.append(abs(z[hit].min() - depth[row, column]))
    # A pixel is 5 mm wide here, and a rasterizer snaps corners to 1/16 of it.
    assert np.median(errors) < 0.02 and np.quantile(errors, 0.9) < 0.5 and max(errors) < 5


def test_tracked_mesh_follows_the_true_surface(capture, scene):
    index = len(capture.performance.frames) - 1
    skin, _ = scene.face.pose(capture.performance.arkit[index])
    tracked = capture.array("vertices")[index]
    np.testing.assert_allclose(tracked, skin[scene.head.tracked], atol=1e-4)
    strips = 2 * 16 - 2 + 2 * (2 * 10 - 2)
    middles = tracked[scene.head.tracked_triangles[:-strips]].mean(1)
    distance, _ = cKDTree(skin).query(middles)
    assert np.median(distance) < 1.5
    assert distance.max() < 6.5  # half a cell at the back of the head


def test_head_has_human_proportions(scene):
    neutral, inside = scene.head.vertices, scene.renderer.vertices(*scene.face.pose({}))
    assert 140 < np.ptp(neutral[np.abs(neutral[:, 1] - 60) < 20][:, 0]) < 165  # breadth above the ears
    assert 185 < np.ptp(neutral[np.abs(neutral[:, 0]) < 3][:, 2]) < 235
    start = len(neutral)
    sizes = [len(p.rest) for p in scene.inside.parts[:2]]
    left, right = (x.mean(0) for x in inside[start : start + sum(sizes)].split(sizes))
    assert 55 < left[0] - right[0] < 70
    nose = neutral[neutral[:, 2].argmax()]
    assert abs(nose[0]) < 1 and nose[1] < left[1]


def test_head_is_watertight_but_for_neck_and_openings(scene):
    triangles = scene.head.tracked_triangles
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    assert count.max() == 2
    rim = scene.head.vertices[scene.head.tracked][unique[count == 1]]
    assert len(rim) == 2 * 38 and rim[..., 1].max() < -120
    a, b, c = (scene.head.vertices[scene.head.tracked][triangles[:, i]] for i in range(3))
    outward = (np.cross(b - a, c - a) * ((a + b + c) / 3 - [0, 0, 0])).sum(1)
    assert (outward > 0).mean() > 0.9  # ears, nostrils and the neck turn away from the middle


def test_chart_fills_the_atlas_without_folds(scene):
    corners = scene.head.tracked_uv[scene.head.tracked_uv_triangles]
    (ax, ay), (bx, by) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
    area = (ax * by - ay * bx) / 2
    assert (area > 0).all()
    assert area.sum() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", ARKIT_NAMES)
def test_every_weight_moves_something(scene, name):
    base = {"JawOpen": 0.5} if name == "MouthClose" else {}
    rest = scene.renderer.vertices(*pose(scene, **base))
    moved = scene.renderer.vertices(*pose(scene, **base, **{name: 1.0}))
    shift = (moved - rest).norm(dim=1)
    assert 1.0 < shift.max() < 60
    if name.endswith(("Left", "Right")) and not name.startswith(("Jaw", "MouthLeft", "MouthRight")):
        side = rest[:, 0] > 0 if name.endswith("Left") else rest[:, 0] < 0
        assert shift[side].sum() > 5 * shift[~side].sum()


def test_mirrored_weights_mirror_the_face(scene):
    left, right = pose(scene, MouthSmileLeft=1, EyeBlinkLeft=1)[0], pose(scene, MouthSmileRight=1, EyeBlinkRight=1)[0]
    distance, _ = cKDTree(left * (-1, 1, 1)).query(right)
    assert distance.max() < 1e-3


def test_blink_shuts_one_eye_in_front_of_the_eyeball(scene):
    open_gap = gap(scene, pose(scene)[0], "eye_left")
    skin, _ = pose(scene, EyeBlinkLeft=1)
    assert 8 < open_gap < 14
    upper, lower = (skin[scene.inside.edges["eye_left", side]] for side in (True, False))
    assert (upper[:, 1] - lower[:, 1]).max() < 0.2  # the upper lid overlaps the lower one
    assert gap(scene, skin, "eye_left") < 1.6
    assert gap(scene, skin, "eye_right") == pytest.approx(open_gap, abs=0.05)
    lid = skin[scene.inside.edges["eye_left", True]]
    assert np.linalg.norm(lid - EYE_CENTRE, axis=1).min() > EYE_RADIUS


def test_gaze_turns_the_eyeballs_the_right_way(scene):
    left = pose(scene, EyeLookOutLeft=1, EyeLookInRight=1)[1].eyes[:, :, 2]  # where z, the gaze, goes
    assert (left[:, 0] > 0.4).all()
    right = pose(scene, EyeLookInLeft=1, EyeLookOutRight=1)[1].eyes[:, :, 2]
    assert (right[:, 0] < -0.4).all()
    up = pose(scene, EyeLookUpLeft=1, EyeLookUpRight=1)[1].eyes[:, :, 2]
    assert (up[:, 1] > 0.4).all() and np.allclose(up[:, 0], 0)
    down = pose(scene, EyeLookDownLeft=1, EyeLookDownRight=1)[1].eyes[:, :, 2]
    assert (down[:, 1] < -0.4).all()


def test_jaw_opens_the_mouth_and_takes_chin_and_lower_teeth_along(scene):
    rest, skin = pose(scene)[0], pose(scene, JawOpen=1)[0]
    assert gap(scene, rest, "mouth") < 0.1
    assert 22 < gap(scene, skin, "mouth") < 50
    chin = np.linalg.norm(rest - (0, -80, 90), axis=1).argmin()
    assert skin[chin, 1] < rest[chin, 1] - 20
    brow = np.linalg.norm(rest - (20, 45, 85), axis=1).argmin()
    assert np.linalg.norm(skin[brow] - rest[brow]) < 0.1
    places, start = {}, 0
    for part in scene.inside.parts:
        places[part.name] = slice(start, start := start + len(part.rest))
    shut, wide = (scene.inside.place(*pose(scene, JawOpen=w)) for w in (0, 1))
    assert np.allclose(shut[places["teeth_upper"]], wide[places["teeth_upper"]])
    assert (wide[places["teeth_lower"]][:, 1] < shut[places["teeth_lower"]][:, 1] - 8).all()
    aside = pose(scene, JawLeft=1)[0]
    assert aside[chin, 0] > rest[chin, 0] + 3


def test_smile_widens_and_pucker_narrows_the_mouth(scene):
    corners = scene.inside.edges["mouth", True][[0, -1]]

    def width(**weights):
        skin = pose(scene, **weights)[0]
        return skin[corners[1], 0] - skin[corners[0], 0], skin[corners, 1].mean()

    rest, smile, pucker = width(), width(MouthSmileLeft=1, MouthSmileRight=1), width(MouthPucker=1)
    assert smile[0] > rest[0] + 10 and smile[1] > rest[1] + 4
    assert pucker[0] < rest[0] - 10


def test_unknown_weight_is_refused(scene):
    with pytest.raises(KeyError, match="EyeBlinkLift"):
        scene.face.pose({"EyeBlinkLift": 1.0})


def test_light_comes_from_the_world_not_from_the_head(scene):
    front = make_cameras(1, 64, 0)
    vertices = scene.renderer.vertices(*pose(scene))
    straight = torch.tensor(np.concatenate([np.eye(3), np.zeros((3, 1))], 1), dtype=torch.float32)
    turned = torch.tensor(np.concatenate([rotation(1, 25), np.zeros((3, 1))], 1), dtype=torch.float32)
    a, b = (scene.renderer.draw(vertices, p, front).image[0].float() for p in (straight, turned))
    bright = [im[:, :20].sum() / im[:, -20:].sum() for im in (a, b)]
    assert bright[0] > 1.05  # the first lamp stands on the viewer's left
    assert (a - b).abs().mean() > 2
