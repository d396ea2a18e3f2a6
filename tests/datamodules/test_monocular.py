"""Tracked videos: one scene in every layout comes out at the same pixels; backgrounds; errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import fixtures as fx
import numpy as np
import pytest
import torch
import video_layouts as scene
from PIL import Image

from avatarzoo import registry
from avatarzoo.batch import lookup
from avatarzoo.datamodules.base import Capture
from avatarzoo.datamodules.flame_layout.model import flame_layout_files
from avatarzoo.datamodules.monocular import Monocular
from avatarzoo.datamodules.tracked_videos.shots import background_colour
from avatarzoo.errors import AvatarZooError, ConfigError, DataError

WRITERS = {"insta": scene.write_insta, "imavatar": scene.write_imavatar, "vhap": scene.write_vhap}
EXPECTED = {"insta": scene.insta_expected, "imavatar": scene.expected, "vhap": scene.expected}


def build(root: Path, **options) -> Monocular:
    flame = {} if options.get("layout") == "insta" else {"flame": "flame_layout"}
    node = {"name": "monocular", "root": str(root), "texture_size": 64, "val_fraction": 0, **flame, **options}
    node.setdefault("cache_dir", str(root.parent / "cache"))
    return registry.build("data", node)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("videos")
    return {name: write(base / name / "head") for name, write in WRITERS.items()}


@pytest.fixture(scope="module")
def prepared(written: dict[str, Path]) -> dict[str, Monocular]:
    found = {name: build(root) for name, root in written.items()}
    for capture in found.values():
        capture.prepare()
    return found


@pytest.fixture(params=list(WRITERS))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def every(capture: Capture) -> list:
    return [s for part in ("train", "val", "test") for s in capture.splits[part]]


def test_every_layout_puts_the_head_at_the_same_pixels(kind: str, prepared: dict[str, Monocular]) -> None:
    capture = prepared[kind]
    assert [len(capture.splits[part]) for part in ("train", "val", "test")] == [2, 0, 1]
    for index, sample in enumerate(sorted(every(capture), key=lambda s: s.frame)):
        batch = capture.read(sample)
        np.testing.assert_allclose(scene.seen_as(batch), EXPECTED[kind](index), atol=2e-3)
        assert torch.linalg.det(batch.mesh.head_pose[0, :, :3]) == pytest.approx(1, abs=1e-5)


def test_the_neck_s_motion_is_in_the_pose_and_not_in_the_mesh(kind: str, prepared: dict[str, Monocular]) -> None:
    capture = prepared[kind]
    batches = [capture.read(s) for s in sorted(every(capture), key=lambda s: s.frame)]
    skull = scene.rig().weights[:, 1] == 1  # no jaw, no eyeballs, not the neck's lower end
    still = skull & (scene.rig().shapedirs[..., 300:].abs().amax((1, 2)) < 1e-3)  # no expression moves these
    first = batches[0].mesh.vertices[0, still]
    assert still.sum() > 500
    for batch in batches[1:]:
        torch.testing.assert_close(batch.mesh.vertices[0, still], first, atol=0.02, rtol=0)
        assert (batch.mesh.head_pose - batches[0].mesh.head_pose).abs().max() > 0.05


def test_it_provides_what_it_says(kind: str, prepared: dict[str, Monocular]) -> None:
    capture = prepared[kind]
    batch = capture.read(capture.splits["train"][0])
    for path in capture.provides:
        assert lookup(batch, path) is not None, path
    driving = {"driving.flame.expression"} | ({"driving.flame.jaw", "driving.flame.eyes"} if kind != "insta" else set())
    assert driving == {p for p in capture.provides if p.startswith("driving.flame")}
    torch.testing.assert_close(batch.driving.flame["expression"][0], scene.parameters().expression[0], atol=1e-5, rtol=0)
    summary = capture.summary
    assert summary.flame_edition == {"insta": "2020", "imavatar": "layout", "vhap": "layout"}[kind]
    assert summary.train_cameras == capture.cameras_of("test") == capture.summary.cameras.names
    assert {name for name in summary.motion_per_unit if name != "arkit"} == {p.removeprefix("driving.") for p in driving}
    assert summary.train_frames.tolist() == [0, 1] and set(summary.neutral_flame) == set(batch.driving.flame)
    assert capture.manifest()


def test_pictures_lie_on_black_or_white_or_any_colour(kind: str, written: dict[str, Path]) -> None:
    colours, matte = scene.picture(0)
    share = torch.from_numpy(matte / 255.0).float()
    planes = torch.from_numpy(colours.transpose(2, 0, 1) / 255.0).float() * share
    for background in ("black", "white", "random"):
        capture = build(written[kind], background=background)
        capture.prepare()
        sample = capture.splits["train"][0]
        batch = capture.read(sample, 77)
        colour = batch.view.background[0]
        assert {"black": 0.0, "white": 1.0}.get(background, float(colour[0])) == float(colour[0])
        torch.testing.assert_close(batch.view.foreground[0, 0], share, atol=1e-3, rtol=0)
        expected = planes + (1 - share) * colour[:, None, None]
        torch.testing.assert_close(batch.view.image[0], expected, atol=0.006, rtol=0)
        if background == "random":
            assert torch.equal(capture.read(sample, 77).view.background[0], colour)
            assert not torch.equal(capture.read(sample, 78).view.background[0], colour)
            assert capture.read(capture.splits["test"][0], 77).view.background.abs().sum() == 0
        assert capture.picture_options("train")["background"] == background
        assert capture.picture_options("test")["background"] == background.replace("random", "black")


def test_random_backgrounds_fill_the_cube() -> None:
    found = torch.stack([background_colour("random", key, True) for key in range(500)])
    assert (found.mean(0) - 0.5).abs().max() < 0.06 and found.min() < 0.05 and found.max() > 0.95


def test_vhap_s_older_cy_is_an_option(tmp_path: Path) -> None:
    capture = build(scene.write_vhap(tmp_path / "old" / "head", cy_from_top=True), cy_origin="top")
    capture.prepare()
    np.testing.assert_allclose(scene.seen_as(capture.read(capture.splits["train"][0])), scene.expected(0), atol=2e-3)


def test_pointavatar_reads_half_a_pixel_apart(written: dict[str, Path]) -> None:
    capture = build(written["imavatar"], pixel_centres="pointavatar")
    capture.prepare()
    found = scene.seen_as(capture.read(capture.splits["train"][0]))
    np.testing.assert_allclose(found, scene.expected(0) - 0.5, atol=2e-3)


def test_videos_of_one_person_are_segments(tmp_path: Path) -> None:
    for name in ("talk", "turn"):
        scene.write_imavatar(tmp_path / "head" / name)
    capture = build(tmp_path / "head", test_segments=["turn"])
    assert [(s.segment, s.frame) for s in capture.splits["train"]] == [("talk", f"00000{i}") for i in (1, 2, 3)]
    assert {s.segment for s in capture.splits["test"]} == {"turn"}
    assert len(build(tmp_path / "head", test_fraction=0.34).splits["test"]) == 2
    with pytest.raises(ConfigError, match="'turn'"):
        build(tmp_path / "head", test_segments=["turm"])


def edit(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def crop(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


MUTATIONS = {
    "insta": [
        (lambda r: (r / "images/00001.png").unlink(), "00001.png is absent"),
        (lambda r: (r / "meshes/00001.obj").unlink(), "00001.obj is absent"),
        (lambda r: crop(r / "images/00001.png"), "00001.png cannot be decoded"),
        (lambda r: (r / "meshes/00000.obj").write_text("v 1 2 3\n"), "has 1 vertices; the capture's topology has 5023"),
        (lambda r: Image.new("RGB", (48, 48)).save(r / "images/00000.png"), "no alpha channel"),
        (lambda r: edit(r / "transforms_train.json", lambda c: c.pop("fl_x")), "number under 'fl_x', got None"),
        (
            lambda r: edit(r / "transforms_train.json", lambda c: c["frames"][0]["transform_matrix"][0].__setitem__(0, 7)),
            r"frame 0, transform_matrix: the 3x3 part is off by",
        ),
        (
            lambda r: edit(r / "transforms_train.json", lambda c: c["frames"][0].update(file_path="../../../x.png")),
            "leads out of the capture",
        ),
        (lambda r: (r / "transforms_train.json").write_text("{"), "cannot be read as JSON"),
        (
            lambda r: [p.write_text(_scaled(p.read_text(), 1000)) for p in (r / "meshes").glob("*.obj")],
            r"units large; INSTA's meshes are in metres",
        ),
        (
            lambda r: [
                edit(r / f, lambda c: [np_flip(e) for e in c["frames"]])
                for f in ("transforms_train.json", "transforms_test.json")
            ],
            r"camera 'camera' sees .* of the tracked mesh",
        ),
    ],
    "imavatar": [
        (lambda r: (r / "image/2.png").unlink(), r"2 is absent"),
        (
            lambda r: edit(r / "flame_params.json", lambda c: c["frames"][1]["pose"].pop()),
            "pose has 14 numbers.*expected 15",
        ),
        (lambda r: edit(r / "flame_params.json", lambda c: c["frames"][1].pop("expression")), "frame 1 lacks 'expression'"),
        (lambda r: edit(r / "flame_params.json", lambda c: c.pop("intrinsics")), "lacks 'intrinsics'"),
        (lambda r: (r / "mask/1.png").unlink(), "has no matte, though other pictures have one"),
        (lambda r: Image.new("L", (9, 9)).save(r / "mask/1.png"), "1.png is 9x9, but"),
    ],
    "vhap": [
        (lambda r: (r / "flame_param/00001.npz").unlink(), "00001.npz is absent"),
        (lambda r: (r / "flame_param/00001.npz").write_bytes(b"x"), "00001.npz cannot be read as .npz"),
        (lambda r: np.savez(r / "flame_param/00001.npz", expr=np.zeros((1, 100))), "lacks 'rotation'"),
        (
            lambda r: edit(r / "transforms_test.json", lambda c: c["frames"][0]["transform_matrix"][0].__setitem__(3, 9)),
            "camera '0' moves",
        ),
        (lambda r: edit(r / "transforms_train.json", lambda c: c["frames"][1].update(fl_x=90)), "changes its K"),
    ],
}


def _scaled(text: str, factor: float) -> str:
    rows = [line.split() for line in text.splitlines()]
    return "\n".join(" ".join([r[0], *(str(float(x) * factor) for x in r[1:])]) for r in rows)


def np_flip(entry: dict) -> None:
    """What reading the file as OpenGL would do: y and z mirrored."""
    entry["transform_matrix"] = (np.array(entry["transform_matrix"]) @ np.diag([1, -1, -1, 1])).tolist()


@pytest.mark.parametrize(("kind", "mutate", "message"), [(k, *case) for k, cases in MUTATIONS.items() for case in cases])
def test_damage_is_named(kind: str, mutate, message: str, written: dict[str, Path], tmp_path: Path) -> None:
    root = tmp_path / "head"
    shutil.copytree(written[kind], root)
    mutate(root)
    with pytest.raises(DataError, match=message):
        build(root).prepare()


def test_bad_frames_can_be_skipped(written: dict[str, Path], tmp_path: Path) -> None:
    root = tmp_path / "head"
    shutil.copytree(written["insta"], root)
    crop(root / "images/00001.png")
    capture = build(root, on_bad_frame="skip")
    capture.prepare()
    assert [s.frame for s in capture.splits["train"]] == ["00000"] and "00001" in capture.skipped[0]


ABSENT = {  # layout: files to remove or damage, one frame each
    "insta": ["images/00001.png", "meshes/00001.obj", "flame/exp/00001.txt"],
    "imavatar": ["image/1.png", "image/2.png"],
    "vhap": ["images/00001_00.png", "fg_masks/00001_00.png", "flame_param/00001.npz"],
}


@pytest.mark.parametrize(("kind", "file"), [(kind, file) for kind, files in ABSENT.items() for file in files])
def test_frames_whose_files_are_absent_can_be_skipped(
    kind: str, file: str, written: dict[str, Path], tmp_path: Path
) -> None:
    root = tmp_path / "head"
    shutil.copytree(written[kind], root)
    (root / file).unlink()
    with pytest.raises(DataError, match=f"{Path(file).stem}.* is absent"):
        build(root)
    capture = build(root, on_bad_frame="skip")
    capture.prepare()
    assert [len(capture.splits[part]) for part in ("train", "test")] == [1, 1] and len(capture.skipped) == 1
    sample, index = capture.splits["test"][0], 2
    np.testing.assert_allclose(scene.seen_as(capture.read(sample)), EXPECTED[kind](index), atol=2e-3)


@pytest.mark.parametrize(("kind", "file"), [("insta", "images/00000.png"), ("imavatar", "image/1.png")])
def test_a_first_picture_that_is_none_can_be_skipped(
    kind: str, file: str, written: dict[str, Path], tmp_path: Path
) -> None:
    root = tmp_path / "head"
    shutil.copytree(written[kind], root)
    (root / file).write_text("no picture")
    with pytest.raises(DataError, match="cannot be read as a picture"):
        build(root).prepare()
    capture = build(root, on_bad_frame="skip")
    capture.prepare()
    assert len(capture.splits["train"]) == 1 and capture.summary.cameras.size == (scene.HEIGHT, scene.WIDTH)


def test_frames_whose_parameters_are_damaged_can_be_skipped(written: dict[str, Path], tmp_path: Path) -> None:
    root = tmp_path / "head"
    shutil.copytree(written["vhap"], root)
    (root / "flame_param/00001.npz").write_bytes(b"x")
    capture = build(root, on_bad_frame="skip")
    assert [s.frame for s in capture.splits["train"]] == ["00000"] and "cannot be read as .npz" in capture.skipped[0]
    for file in (root / "flame_param").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="no frame has all its files"):
        build(root, on_bad_frame="skip")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"background": "grey"}, "'grey'"),
        ({"layout": "instaa"}, "'insta'"),
        ({"test_fraction": 1.5}, "between 0 and 1"),
        ({"image_height": 0}, "1 or more"),
        ({"image_height": 400}, "at most 48"),
        ({"root": "/nowhere/at/all"}, "no folder"),
    ],
)
def test_options_are_checked(options: dict, message: str, written: dict[str, Path]) -> None:
    with pytest.raises(AvatarZooError, match=message):
        build(
            Path(options.pop("root", written["insta"])), cache_dir=str(written["insta"].parent / "cache"), **options
        ).prepare()


def test_a_folder_of_another_kind_and_a_missing_model_say_what_to_do(
    written: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"no tracked video.*It holds: notes.txt"):
        build(tmp_path)
    monkeypatch.delenv("AVATARZOO_FLAME", raising=False)
    for kind in ("vhap", "imavatar"):
        with pytest.raises(DataError, match=r"https://flame\.is\.tue\.mpg\.de.*data.flame=FILE"):
            build(written[kind], flame=None)


def test_an_unlicensed_head_stands_in_for_a_licensed_file(written: dict[str, Path], tmp_path: Path) -> None:
    """With a file, nothing changes but the path: AvatarZoo's head under FLAME's file name, its UVs beside it."""
    shutil.copy(flame_layout_files()[0], tmp_path / "generic_model.pkl")
    with pytest.raises(DataError, match=r"has no UVs.*head_template\.obj"):
        build(written["imavatar"], flame=str(tmp_path))
    shutil.copy(written["insta"] / "canonical.obj", tmp_path / "head_template.obj")
    capture = build(written["imavatar"], flame=str(tmp_path))
    capture.prepare()
    assert capture.summary.flame_edition == "2020"
    np.testing.assert_allclose(scene.seen_as(capture.read(capture.splits["train"][0])), scene.expected(0), atol=2e-3)
    with pytest.raises(DataError, match="FLAME 2023, and the model is FLAME 2020"):
        build(written["vhap"], flame=str(tmp_path))


def test_multifaces_layout_with_several_cameras_asks_for_one() -> None:
    root = fx.captures("lps_multiview")
    with pytest.raises(ConfigError, match=r"has 14 cameras; choose one with data.camera"):
        build(root, cache_dir="/tmp/avatarzoo-test-cache")


def test_one_camera_is_read_as_the_multi_view_reader_reads_it(tmp_path: Path) -> None:
    root = fx.captures("lps_mono")
    options = {"image_height": 128, "max_frames": 2, "cache_dir": str(tmp_path), "val_fraction": 0.0}
    video = build(root, **options)
    many = registry.build("data", {"name": "multiface", "root": str(root), "texture_size": 64, **options})
    for capture in (video, many):
        capture.prepare()
    assert video.splits == many.splits and video.size == (128, 128)
    a, b = (c.read(c.splits["test"][0]) for c in (video, many))
    for path in ("view.image", "view.foreground", "view.camera.K", "mesh.vertices", "mesh.head_pose", "driving.arkit"):
        torch.testing.assert_close(lookup(a, path), lookup(b, path), rtol=0, atol=0)
    torch.testing.assert_close(a.texture.average, b.texture.average, rtol=0, atol=0)
    assert a.view.background.tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("option", ["flame", "flame_uv", "topology"])
def test_a_file_that_is_not_there_is_named_though_the_layout_does_not_read_it(
    written: dict[str, Path], tmp_path: Path, option: str
) -> None:
    with pytest.raises(ConfigError, match=rf"data\.{option}=.*nothing\.pkl does not exist"):
        build(written["insta"], **{option: str(tmp_path / "nothing.pkl")})
