"""Filming a take: parameters alone drive the avatar."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import driven_capture as driven
import numpy as np
import pytest
from PIL import Image

from avatarzoo import checkpoint, cli
from avatarzoo.batch import View
from avatarzoo.datamodules.take import read_take
from avatarzoo.errors import ConfigError, DataError
from avatarzoo.rendering import _take_for, neutral_batch, path_start, render
from avatarzoo.rigs.arkit import ARKIT_NAMES

TIMES = ("00:00:01:00.0", "00:00:01:30.0", "00:00:02:00.0")  # 0, 0.5 and 1 second


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return driven.write_checkpoint(tmp_path_factory.mktemp("run") / "model.ckpt", "arkit")


@pytest.fixture
def take(tmp_path: Path) -> Path:
    lines = [",".join(["Timecode", *ARKIT_NAMES])]
    for i, time in enumerate(TIMES):
        lines.append(",".join([time, *(f"{w:.8f}" for w in driven.signals(i).arkit[0].tolist())]))
    (tmp_path / "take.csv").write_text("\n".join(lines))
    return tmp_path / "take.csv"


def frames(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(p)) for p in sorted(folder.iterdir())])


def expected(ckpt: Path, frame: int) -> np.ndarray:
    loaded = checkpoint.load(ckpt)
    batch = neutral_batch(loaded.summary)
    batch.driving = driven.signals(frame)
    batch.view = View(path_start("camera:front", loaded.summary.cameras, None))
    image = loaded.model.render(batch).image[0].clamp(0, 1)
    return (image * 255).round().byte().permute(1, 2, 0).numpy()


def test_a_take_plays_in_its_own_time(ckpt: Path, take: Path, tmp_path: Path) -> None:
    render(ckpt, source=take, path="camera:front", out=tmp_path / "film", fps=4, quiet=True, device="cpu")
    found = frames(tmp_path / "film")
    assert len(found) == 5
    for picture, frame in ((0, 0), (2, 1), (4, 2)):
        assert np.abs(found[picture].astype(int) - expected(ckpt, frame)).max() <= 1
    assert (found[1] != found[0]).any() and (found[1] != found[2]).any()


def test_from_the_command_line(ckpt: Path, take: Path, tmp_path: Path) -> None:
    words = [f"ckpt={ckpt}", f"driver.source={take}", "path=camera:front", f"out={tmp_path / 'film'}", "frames=3"]
    assert cli.main(["render", *words, "device=cpu"]) == 0
    found = frames(tmp_path / "film")
    assert len(found) == 3 and np.abs(found[1].astype(int) - expected(ckpt, 1)).max() <= 1


def test_what_cannot_drive_the_model_is_named(ckpt: Path, take: Path, tmp_path: Path) -> None:
    options = {"out": tmp_path / "film", "quiet": True, "device": "cpu"}
    with pytest.raises(ConfigError, match="both drive the avatar"):
        render(ckpt, source=take, segment="S1", **options)
    flame = driven.write_checkpoint(tmp_path / "flame.ckpt", "flame")
    with pytest.raises(ConfigError, match=r"gives driving\.arkit; this model is driven by driving\.flame\.expression"):
        render(flame, source=take, **options)
    codes = driven.write_checkpoint(tmp_path / "codes.ckpt", "frame_code")
    with pytest.raises(ConfigError, match=r"driven by driving\.frame.* \(driver=frame_code\); train with driver=arkit to"):
        render(codes, source=take, **options)
    vae = SimpleNamespace(
        requires=("texture.average", "mesh.vertices"),
        test_inputs="pictures",
        driver=SimpleNamespace(registered_name="capture_vae"),
    )
    with pytest.raises(ConfigError, match=r"driven by pictures \(driver=capture_vae\); train with driver=arkit to drive"):
        _take_for(vae, read_take(take), None)
    volume = SimpleNamespace(requires=("mesh.vertices",), test_inputs="tracked mesh")
    with pytest.raises(
        ConfigError, match=r"recipe=pica_full driver=arkit to .* drive this one: segment=NAME data.root=DIR\.$"
    ):
        _take_for(volume, read_take(take), None)


def test_a_tracker_s_parameters_drive_a_model_of_their_edition(tmp_path: Path) -> None:
    flame = driven.write_checkpoint(tmp_path / "flame.ckpt", "flame")
    each = [driven.signals(i).flame for i in range(3)]
    stacked = {key: np.concatenate([f[key].numpy() for f in each]) for key in each[0]}
    smirk = tmp_path / "take.npz"
    np.savez(smirk, expression_params=stacked["expression"], jaw_params=stacked["jaw"])
    options = {"path": "camera:front", "quiet": True, "device": "cpu"}
    render(flame, source=smirk, out=tmp_path / "film", **options)
    assert len(frames(tmp_path / "film")) == 3, "without a clock a row is a picture"
    vhap = {"expr": stacked["expression"], "jaw_pose": stacked["jaw"], "eyes_pose": stacked["eyes"], "shape": np.zeros(300)}
    zeros = {key: np.zeros((3, 3)) for key in ("rotation", "neck_pose", "translation")}
    np.savez(tmp_path / "vhap.npz", **vhap, **zeros)
    with pytest.raises(DataError, match=r"FLAME 2023, and the model is FLAME 2020.*say driver.edition=2020"):
        render(flame, source=tmp_path / "vhap.npz", out=tmp_path / "other", **options)
    words = [f"ckpt={flame}", f"driver.source={tmp_path / 'vhap.npz'}", "path=camera:front", "device=cpu"]
    assert cli.main(["render", *words, "driver.edition='2020'", f"out={tmp_path / 'other'}"]) == 0
    assert len(frames(tmp_path / "other")) == 3
    assert cli.main(["render", f"ckpt={flame}", "driver.edition='2020'"]) == 2, "of no take"
    assert cli.main(["render", *words, "driver.edition=2020", f"out={tmp_path / 'number'}"]) == 0, "typed as a number"
    np.savez(smirk, expression_params=stacked["expression"], jaw_params=40 * stacked["jaw"])
    with pytest.raises(DataError, match="Are these degrees"):
        render(flame, source=smirk, out=tmp_path / "degrees", **options)
    with pytest.raises(ConfigError, match="Did you mean 'example'"):
        render(flame, source="exmaple", out=tmp_path / "none", **options)


@pytest.mark.parametrize("driver", ["arkit", "flame"])
def test_the_example_take_drives_a_model_without_a_file(driver: str, tmp_path: Path) -> None:
    ckpt = driven.write_checkpoint(tmp_path / "model.ckpt", driver)
    render(ckpt, source="example", path="camera:front", out=tmp_path / "film", frames=8, quiet=True, device="cpu")
    found = frames(tmp_path / "film")
    assert len(found) == 8 and np.array_equal(found[0], found[-1]) and len({f.tobytes() for f in found}) > 4
