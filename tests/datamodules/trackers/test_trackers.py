"""Trackers' outputs, written as their public readers and writers have them, come out as one group of parameters."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from avatarzoo.datamodules.take import read_take
from avatarzoo.datamodules.trackers.metrical_tracker import read_frame_camera
from avatarzoo.datamodules.trackers.read import read_track
from avatarzoo.errors import ConfigError, DataError

N = 3
RANDOM = np.random.default_rng(0)
EXPRESSION, SHAPE = RANDOM.normal(size=(N, 100)), RANDOM.normal(size=300)
JAW, EYES, LIDS = 0.2 * RANDOM.normal(size=(N, 3)), 0.3 * RANDOM.normal(size=(N, 6)), RANDOM.uniform(size=(N, 2))
ROTATION, NECK = RANDOM.normal(size=(N, 3)), 0.3 * RANDOM.normal(size=(N, 3))


def six(vector: np.ndarray) -> np.ndarray:
    """The matrix's first two rows, as metrical-tracker stores rotations."""
    return Rotation.from_rotvec(vector).as_matrix()[:2].ravel()


def write_frames(folder: Path) -> Path:
    (folder / "checkpoint").mkdir(parents=True)
    for i in range(N):
        content = {
            "flame": {
                "exp": EXPRESSION[i : i + 1].astype(np.float32),
                "shape": SHAPE[None].astype(np.float32),
                "tex": np.zeros((1, 140), np.float32),
                "sh": np.zeros((1, 9, 3), np.float32),
                "eyes": np.concatenate([six(EYES[i, :3]), six(EYES[i, 3:])])[None].astype(np.float32),
                "eyelids": LIDS[i : i + 1].astype(np.float32),
                "jaw": six(JAW[i])[None].astype(np.float32),
            },
            "camera": {"R": np.zeros((1, 6), np.float32), "fl": np.ones((1, 1), np.float32)},
            "opencv": {
                "R": np.diag([1.0, -1, -1])[None],
                "t": np.array([[0.01, 0.02, 1.0]]),
                "K": np.array([[[2500.0, 0, 256], [0, 2500, 250], [0, 0, 1]]]),
            },
            "img_size": np.array([500, 512]),
            "frame_id": f"{i:05d}",
            "global_step": i,
        }
        torch.save(content, folder / "checkpoint" / f"{i:05d}.frame")
    return folder


def vhap_frame(i: int) -> dict[str, np.ndarray]:
    return {
        "translation": np.array([[0.1, 0.2, 0.01 * i]]),
        "rotation": ROTATION[i : i + 1],
        "neck_pose": NECK[i : i + 1],
        "jaw_pose": JAW[i : i + 1],
        "eyes_pose": EYES[i : i + 1],
        "shape": SHAPE,
        "expr": EXPRESSION[i : i + 1],
    }


def write_vhap(folder: Path) -> Path:
    (folder / "flame_param").mkdir(parents=True)
    for i in range(N):
        np.savez(folder / "flame_param" / f"{i:05d}.npz", **vhap_frame(i), static_offset=np.zeros((1, 5143, 3)))
    return folder


def write_vhap_track(folder: Path) -> Path:
    folder.mkdir(parents=True)
    frames = [vhap_frame(i) for i in range(N)]
    stacked = {key: np.concatenate([f[key] for f in frames]) for key in frames[0] if key != "shape"}
    path = folder / "tracked_flame_params_30.npz"
    np.savez(path, **stacked, shape=SHAPE, timestep_id=np.arange(N))
    return path


def write_emoca(folder: Path) -> Path:
    for i in range(N):
        place = folder / f"{i:06d}_00"
        place.mkdir(parents=True)
        np.save(place / "exp.npy", EXPRESSION[i, :50])
        np.save(place / "shape.npy", SHAPE[:100])
        np.save(place / "pose.npy", np.concatenate([ROTATION[i], JAW[i]]))
    return folder


def write_deca(folder: Path) -> Path:
    folder.mkdir(parents=True)
    codes = {
        str(i + 1): {
            "exp": EXPRESSION[i : i + 1, :50].tolist(),
            "shape": SHAPE[None, :100].tolist(),
            "pose": [[*ROTATION[i].tolist(), *JAW[i].tolist()]],
        }
        for i in range(N)
    }
    (folder / "code.json").write_text(json.dumps(dict(reversed(codes.items()))))
    return folder / "code.json"


def write_smirk(folder: Path) -> Path:
    folder.mkdir(parents=True)
    np.savez(
        folder / "smirk.npz",
        expression_params=EXPRESSION[:, :50],
        pose_params=ROTATION,
        jaw_params=JAW,
        eyelid_params=LIDS,
        shape_params=np.tile(SHAPE, (N, 1)),
        cam=np.zeros((N, 3)),
    )
    return folder / "smirk.npz"


#: writer, edition, and which of expression, shape, rotation, neck, eyes, eyelids it has
CASES = {
    "metrical": (write_frames, "2020", 100, 300, {"eyes", "eyelids"}),
    "vhap": (write_vhap, "2023", 100, 300, {"rotation", "neck", "eyes", "translation"}),
    "vhap_track": (write_vhap_track, "2023", 100, 300, {"rotation", "neck", "eyes", "translation"}),
    "emoca": (write_emoca, "2020", 50, 100, {"rotation"}),
    "deca": (write_deca, "2020", 50, 100, {"rotation"}),
    "smirk": (write_smirk, "2020", 50, 300, {"rotation", "eyelids"}),
}


@pytest.mark.parametrize("name", CASES)
def test_one_group_of_parameters(name: str, tmp_path: Path) -> None:
    write, edition, expressions, shapes, has = CASES[name]
    found = read_track(write(tmp_path / "out"))
    assert found.count == N and found.edition == edition
    zeros = {"rotation": np.zeros((N, 3)), "neck": np.zeros((N, 3)), "eyes": np.zeros((N, 6))}
    values = {"rotation": ROTATION, "neck": NECK, "eyes": EYES}
    expected = {key: values[key] if key in has else zeros[key] for key in values} | {"jaw": JAW}
    expected["expression"] = np.where(np.arange(100) < expressions, EXPRESSION, 0)
    expected["shape"] = np.where(np.arange(300) < shapes, SHAPE, 0)
    metres = np.array([[0.1, 0.2, 0.01 * i] for i in range(N)])
    expected["translation"] = 1000 * metres if "translation" in has else np.zeros((N, 3))
    for key, value in expected.items():
        np.testing.assert_allclose(getattr(found, key).numpy(), value, atol=2e-6, err_msg=key)
    if "eyelids" in has:
        np.testing.assert_allclose(found.eyelids.numpy(), LIDS, atol=1e-6)
    else:
        assert found.eyelids is None
    if name != "metrical":  # a folder of checkpoints is a take too, but has no suffix to try
        take = read_take(tmp_path / "out" if name in ("vhap", "emoca") else _last(tmp_path / "out"))
        assert take.edition == edition and torch.equal(take.flame["jaw"], found.jaw)


def _last(folder: Path) -> Path:
    return next(p for p in folder.iterdir())


def test_a_frame_s_camera_is_opencv_in_mm_with_pixel_centres_at_integers(tmp_path: Path) -> None:
    camera = read_frame_camera(write_frames(tmp_path / "out") / "checkpoint" / "00000.frame")
    assert camera.size == (500, 512)
    np.testing.assert_allclose(camera.t, [10, 20, 1000])
    point = camera.R @ [0, 100, 0] + camera.t  # 100 mm above FLAME's origin
    pixel = camera.K @ point / point[2]
    assert pixel[1] == pytest.approx(250 - 0.5 + 2500 * (20 - 100) / 1000), "it lands above the middle of the picture"
    assert camera.K[0, 2] == 255.5


class Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


def test_no_file_runs_code(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    folder = tmp_path / "a" / "checkpoint"
    folder.mkdir(parents=True)
    torch.save({"flame": Hostile(mark)}, folder / "00000.frame")
    with pytest.raises(DataError, match=r"cannot be read as a \.frame of numbers"):
        read_track(tmp_path / "a")
    for save, name in ((np.savez, "b.npz"), (None, "c/1/exp.npy")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        objects = np.array([Hostile(mark)], dtype=object)
        if save:
            save(path, expr=objects)
        else:
            np.save(path, objects, allow_pickle=True)
            for other in ("shape", "pose"):
                np.save(path.with_name(f"{other}.npy"), np.zeros(6))
        with pytest.raises(DataError, match="numbers"):
            read_track(path if save else tmp_path / "c")
    assert not mark.exists()
    assert pickle.dumps(Hostile(mark))  # the payload is a real one


def test_lengths_that_mean_another_encoding_are_refused(tmp_path: Path) -> None:
    path = write_smirk(tmp_path / "s")
    content = dict(np.load(path))
    np.savez(path, **content | {"jaw_params": np.zeros((N, 6))})
    with pytest.raises(DataError, match=r"jaw_params has 6 numbers.*expected 3"):
        read_track(path)
    np.savez(path, **content | {"jaw_params": np.full((N, 3), np.nan)})
    with pytest.raises(DataError, match="not finite"):
        read_track(path)
    np.savez(path, **content | {"jaw_params": np.zeros((N + 1, 3))})
    with pytest.raises(DataError, match="one row per frame"):
        read_track(path)
    folder = write_vhap(tmp_path / "v")
    np.savez(folder / "flame_param" / "00001.npz", **vhap_frame(1) | {"eyes_pose": np.zeros((1, 12))})
    with pytest.raises(DataError, match=r"00001.npz: eyes_pose has 12"):
        read_track(folder)


def test_repeated_codes_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "code.json"
    code = {"exp": [0.1] * 50, "shape": [0.0] * 100, "pose": [0.0] * 6}
    path.write_text(json.dumps({str(i): code for i in range(1, 12)}))
    with caplog.at_level(logging.WARNING):
        read_track(path)
    assert "11 frames in a row have the same expression code" in caplog.text


def test_what_comes_from_no_tracker_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no known tracker; read are metrical-tracker"):
        read_track(tmp_path)
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with pytest.raises(DataError, match="has a; read are"):
        read_track(tmp_path / "x.npz")
    with pytest.raises(ConfigError, match="does not exist"):
        read_take(tmp_path / "y.npz")
