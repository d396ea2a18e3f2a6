"""Filming a checkpoint."""

from pathlib import Path

import driven_capture
import numpy as np
import pillow_capture as pillow
import pytest
import torch
from PIL import Image

from avatarzoo import checkpoint
from avatarzoo.batch import View
from avatarzoo.build import build_capture
from avatarzoo.errors import ConfigError, DataError
from avatarzoo.rendering import draw, neutral_batch, path_start, render

fixtures = pillow.fixtures


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pillow.write_checkpoint(tmp_path_factory.mktemp("run") / "model.ckpt")


def film(ckpt: Path, out: Path, **options) -> np.ndarray:
    """Render into a folder of PNGs and return N,H,W,3."""
    render(ckpt, out=out, quiet=True, device="cpu", **options)
    return np.stack([np.asarray(Image.open(p)) for p in sorted(out.iterdir())])


def test_a_camera_of_the_capture_shows_the_neutral_frame(ckpt: Path, tmp_path: Path) -> None:
    found = film(ckpt, tmp_path / "a", path="camera:front")
    model = checkpoint.load(ckpt).model
    expected = model.render(fixtures.batch((1, 0))).image[0]  # frame 1 is the neutral one
    assert found.shape == (1, *fixtures.SIZE, 3)
    assert np.array_equal(found[0], (expected * 255).round().byte().permute(1, 2, 0).numpy())
    assert np.array_equal(found, film(ckpt, tmp_path / "b", path="camera:Front")), "views are names of cameras"


@pytest.mark.parametrize("what", ["image", "normal", "depth", "mesh"])
def test_everything_there_is_to_see(ckpt: Path, tmp_path: Path, what: str) -> None:
    found = film(ckpt, tmp_path / what, what=what, frames=4, size=41, framing="camera")
    assert found.shape == (4, 42, 34, 3), "even sizes for video"
    covered = found.max(-1) > 0
    assert 0.1 < covered.mean() < 0.9
    assert len({f.tobytes() for f in found}) > 2, "the camera moves"


@pytest.mark.parametrize("options", [{}, {"yaw": 80, "pitch": 30}, {"path": "dolly", "frames": 1}])
def test_the_whole_head_is_in_the_picture(ckpt: Path, tmp_path: Path, options: dict) -> None:
    found = film(ckpt, tmp_path / "head", **({"frames": 6, "size": 48, "what": "mesh"} | options))
    assert found.shape[1:] == (48, 48, 3)
    covered = found.max(-1) > 0
    assert not covered[:, [0, -1]].any() and not covered[:, :, [0, -1]].any(), "nothing is cut off"
    rows, columns = covered.any(2), covered.any(1)
    assert max(rows.sum(1).max(), columns.sum(1).max()) >= 0.8 * 48, "and it fills the picture"


def test_normals_and_depth_have_the_documented_colours(ckpt: Path) -> None:
    loaded = checkpoint.load(ckpt)
    batch = neutral_batch(loaded.summary)
    batch.view = View(path_start("camera:front", loaded.summary.cameras, None))
    prediction = loaded.model.render(batch)
    normal = draw(prediction, batch, "normal", loaded.summary)
    row, column = 20, 16  # the middle of the front faces the camera
    assert normal[row, column, 2] > 0.9
    left, right = normal[row, 9], normal[row, 24]
    assert 0 < left[0] < 0.4 and right[0] > 0.6, "x runs to the right of the picture"
    depth = draw(prediction, batch, "depth", loaded.summary).mean(-1)
    assert depth[row, column] > depth[row, 9] > 0, "near is light"


def test_a_segment_drives_it_frame_by_frame(ckpt: Path, tmp_path: Path) -> None:
    found = film(ckpt, tmp_path / "film", path="camera:side", segment="S1", frames=6)
    model = checkpoint.load(ckpt).model
    for i, frame in enumerate([0, 0, 1, 1, 2, 2]):
        expected = model.render(fixtures.batch((frame, 1))).image[0]
        assert np.array_equal(found[i], (expected * 255).round().byte().permute(1, 2, 0).numpy())


def test_resizing_keeps_the_view(ckpt: Path) -> None:
    table = fixtures.summary().cameras
    large = path_start("camera:front", table, 80)
    assert large.size == (80, 64)
    # A pixel's corner at (0, 0), which is -0.5, stays the corner.
    assert torch.allclose((large.K[0, :2, 2] + 0.5) / 2, table.K[0, :2, 2] + 0.5)
    assert torch.allclose(large.K[0, 0, 0] / 2, table.K[0, 0, 0])


def test_video(ckpt: Path, tmp_path: Path) -> None:
    out = render(ckpt, out=tmp_path / "x.mp4", frames=3, quiet=True, device="cpu")
    assert out == tmp_path / "x.mp4" and out.stat().st_size > 500


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"what": "normals"}, "'normal'"),
        ({"framing": "face"}, "Known: camera, head"),
        ({"yaw": 400}, r"yaw in 0\.\.180"),
        ({"path": "spiral"}, "orbit, dolly or camera:NAME"),
        ({"path": "camera:"}, "front, side, Front, Left"),
        ({"path": "camera:frnt"}, "'front'"),
        ({"out": "x.mp5"}, "folder of PNGs"),
        ({"overrides": ["data.pictures=false"]}, "segment=NAME"),
        ({"frames": 0}, "positive"),
    ],
)
def test_mistakes_are_named(ckpt: Path, tmp_path: Path, options: dict, message: str) -> None:
    options = {"out": "x.mp4", **options}
    with pytest.raises(ConfigError, match=message):
        render(ckpt, **(options | {"out": tmp_path / options["out"]}), device="cpu", quiet=True)


def test_an_unknown_segment_is_named(ckpt: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'S1'"):
        render(ckpt, segment="S2", out=tmp_path / "x", device="cpu", quiet=True)


def test_a_model_that_needs_pictures_cannot_be_filmed_alone(ckpt: Path, tmp_path: Path, monkeypatch) -> None:
    from avatarzoo.models.static_texture import StaticTexture

    monkeypatch.setattr(StaticTexture, "requires", ("view.image",))
    with pytest.raises(ConfigError, match=r"view\.image.*segment=NAME"):
        render(ckpt, out=tmp_path / "x", frames=1, device="cpu", quiet=True)


def test_what_a_model_does_not_give_is_named() -> None:
    batch, summary = fixtures.batch((0, 0)), fixtures.summary()
    from avatarzoo.batch import Prediction

    for what in ("depth", "mesh", "normal"):
        with pytest.raises(ConfigError, match=f"what={what}"):
            draw(Prediction(image=batch.view.image), batch, what, summary)


def test_a_comparison_shows_truth_avatar_and_error_of_a_held_out_segment(ckpt: Path, tmp_path: Path) -> None:
    loaded = checkpoint.load(ckpt)
    capture = build_capture({"data": loaded.config["data"]})
    capture.prepare()
    sample = capture.splits["test"][0]
    own = sorted(
        (s for split in capture.splits.values() for s in split if (s.segment, s.camera) == (sample.segment, sample.camera)),
        key=lambda s: s.frame,
    )
    found = film(ckpt, tmp_path / "c", what="compare", segment=sample.segment, path=f"camera:{sample.camera}")
    assert len(found) == len(own)
    frames = {s.frame for s in capture.splits["test"] if (s.segment, s.camera) == (sample.segment, sample.camera)}
    some = film(ckpt, tmp_path / "s", what="compare", segment=sample.segment, path=f"camera:{sample.camera}", split="test")
    assert len(some) == len(frames)
    batch = capture.read(own[0])
    truth, drawn = batch.view.image[0], loaded.model.render(batch).image[0].clamp(0, 1)
    width = truth.shape[2]
    left, middle, right = (found[0][:, k * width : (k + 1) * width] for k in range(3))
    rows = len(left)
    assert np.abs(left / 255 - truth.permute(1, 2, 0).numpy()[:rows]).max() < 0.51 / 255
    assert np.abs(middle / 255 - drawn.permute(1, 2, 0).numpy()[:rows]).max() < 0.51 / 255
    apart = (truth - drawn).abs().mean(0).numpy()[:rows, : right.shape[1]]
    assert right[apart == 0].max(initial=0) == 0 and right.sum(-1)[apart > 0.2].min(initial=765) > 300


def test_one_file_for_several_pictures_is_refused_before_any_is_rendered(ckpt: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds one picture, and there are 5"):
        render(ckpt, out=tmp_path / "x.png", frames=5, quiet=True, device="cpu")
    assert not (tmp_path / "x.png").exists()


def test_a_comparison_needs_what_the_avatar_reads(tmp_path: Path) -> None:
    driven = driven_capture.write_checkpoint(tmp_path / "arkit.ckpt", "arkit")
    with pytest.raises(ConfigError, match=r"needs driving.arkit, which the segment does not give"):
        render(driven, "compare", out=tmp_path / "x", quiet=True, segment=fixtures.SEGMENT)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "say segment=NAME"),
        ({"segment": "S", "size": 64}, "leave out size"),
        ({"segment": "S", "path": "orbit"}, "path=camera:NAME"),
        ({"segment": "S", "path": "camera:nowhere"}, "no camera 'nowhere'"),
        ({"segment": "S"}, "no segment 'S'"),
        ({"segment": fixtures.SEGMENT, "split": "tset"}, "Did you mean 'test'"),
        ({"segment": fixtures.SEGMENT}, "holds one picture, and there are"),
    ],
)
def test_a_comparison_that_cannot_be_made_is_refused(ckpt: Path, tmp_path: Path, options: dict, told: str) -> None:
    with pytest.raises((ConfigError, DataError), match=told):
        render(ckpt, "compare", out=tmp_path / "x.png", quiet=True, **options)
