"""FLAME's mesh from its parameters, against smplx and closed forms, on AvatarZoo's own model of the same layout."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

from avatarzoo.datamodules.flame_layout.mesh import SKIN, layout_regions
from avatarzoo.datamodules.flame_layout.model import FlameLayout
from avatarzoo.datamodules.procedural.performance import perform
from avatarzoo.errors import DataError
from avatarzoo.geometry.meshes import boundary_loops
from avatarzoo.geometry.skinning import rotation_matrix
from avatarzoo.rigs.flame import (
    FlameParameters,
    FlameRig,
    check_editions,
    find_flame_file,
    load_flame,
    neck_normalised,
)
from avatarzoo.rigs.flame_file import EYEBALLS, write_flame_file


@lru_cache
def layout() -> FlameLayout:
    return FlameLayout.build()


def parameters(frames: int = 3) -> FlameParameters:
    torch.manual_seed(0)
    made = FlameParameters.neutral(frames, "layout")
    return dataclasses.replace(
        made,
        expression=torch.randn(frames, 100),
        shape=torch.randn(300),
        rotation=0.3 * torch.randn(frames, 3),
        neck=0.3 * torch.randn(frames, 3),
        jaw=0.2 * torch.randn(frames, 3),
        eyes=0.3 * torch.randn(frames, 6),
        translation=50 * torch.randn(frames, 3),
    )


def test_skinning_is_that_of_smplx() -> None:
    smplx = pytest.importorskip("smplx.lbs", reason="needs the extra avatarzoo[flame]")
    arrays, p = layout().arrays, parameters().to(torch.float64)
    rig = FlameRig(arrays, torch.float64)
    found, transforms = rig(p)
    betas = torch.cat([p.shape.expand(3, -1), p.expression], dim=1)
    pose = torch.cat([p.rotation, p.neck, p.jaw, p.eyes], dim=1)
    posedirs = torch.from_numpy(arrays.posedirs).reshape(-1, 36).T
    expected, joints = smplx.lbs(
        betas,
        pose,
        torch.from_numpy(arrays.template)[None],
        torch.from_numpy(arrays.shapedirs),
        posedirs,
        torch.from_numpy(arrays.joint_regressor),
        torch.tensor([-1, 0, 1, 1, 1]),
        torch.from_numpy(arrays.weights),
    )
    torch.testing.assert_close(found, 1000 * expected + p.translation[:, None], atol=1e-6, rtol=0)
    # where the joints go: each joint's motion of its own place at rest
    shaped = rig.person(p.shape)[0] + torch.einsum("vkc,nc->nvk", rig.shapedirs[..., 300:], p.expression)
    rest = torch.einsum("jv,nvk->njk", rig.regressor, shaped)
    moved = (transforms[..., :3] @ rest[..., None])[..., 0] + transforms[..., 3]
    torch.testing.assert_close(moved, 1000 * joints + p.translation[:, None], atol=1e-6, rtol=0)


def test_single_precision_is_enough() -> None:
    p = parameters()
    exact = FlameRig(layout().arrays, torch.float64)(p)[0]
    assert (FlameRig(layout().arrays)(p)[0] - exact).abs().max() < 2e-3  # mm


def test_the_layout_is_flames() -> None:
    made = layout()
    mesh, arrays = made.mesh, made.arrays
    assert mesh.vertices.shape == (5023, 3) and mesh.triangles.shape == (9976, 3)
    assert arrays.shapedirs.shape == (5023, 3, 400) and np.linalg.matrix_rank(arrays.shapedirs.reshape(-1, 400)) == 400
    np.testing.assert_allclose(arrays.weights.sum(1), 1, atol=1e-12)
    assert (arrays.weights[EYEBALLS["left"]].argmax(1) == 3).all() and mesh.vertices[EYEBALLS["left"], 0].min() > 0
    assert (arrays.weights[EYEBALLS["right"]].argmax(1) == 4).all() and mesh.vertices[EYEBALLS["right"], 0].max() < 0
    eyes = arrays.joint_regressor[3:] @ mesh.vertices
    assert 55 < np.linalg.norm(eyes[0] - eyes[1]) < 70, "mm between the eyeballs"
    assert sorted(map(len, boundary_loops(mesh.triangles))) == [20, 20, 24]
    sizes = [int(m.sum()) for m in layout_regions().values()]
    assert all(size > 1000 for size in sizes)


def test_the_mesh_is_a_manifold_facing_outwards_with_unmirrored_charts() -> None:
    mesh = layout().mesh
    edges = np.concatenate([mesh.triangles[:, [i, (i + 1) % 3]] for i in range(3)])
    assert len(np.unique(edges, axis=0)) == len(edges), "no edge runs twice the same way"
    corners = mesh.vertices[mesh.triangles]
    for side, ball in EYEBALLS.items():
        inside = ((mesh.triangles >= ball.start) & (mesh.triangles < ball.stop)).all(1)
        q = corners[inside] - mesh.vertices[ball].mean(0)
        volume = np.einsum("ij,ij->i", q[:, 0], np.cross(q[:, 1], q[:, 2])).sum() / 6
        assert inside.sum() == 1088 and volume == pytest.approx(7606, rel=0.03), side
    a, b, c = np.moveaxis(mesh.uvs[mesh.uv_triangles], 1, 0)
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert (area > 0).mean() > 0.999
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    nose = corners.mean(1)[:, 2].argmax()
    assert normal[nose, 2] > 0


def test_tracking_the_procedural_head() -> None:
    made, arkit = layout(), perform(8, 2, 5).arkit
    found = made.track(arkit)
    vertices, _ = made.rig(found)
    truth = np.stack([made.truth(w) for w in arkit])
    assert np.linalg.norm(vertices[:, :SKIN].numpy() - truth, axis=-1).max() < 0.05  # mm
    still = made.rig(FlameParameters.neutral())[0][0, :SKIN].numpy()
    assert np.linalg.norm(truth - still, axis=-1).max() > 5, "the head does move"
    assert found.expression[:, :50].std() > 0.1 and found.jaw[:, 0].max() > 0.1


def test_the_neck_s_motion_moves_from_the_mesh_to_the_pose_and_projections_stay() -> None:
    p = parameters()
    rig = FlameRig(layout().arrays, torch.float64)
    world, transforms = rig(p)
    local, pose = neck_normalised(world, transforms)
    back = (pose[:, None, :, :3] @ local[..., None])[..., 0] + pose[:, None, :, 3]
    torch.testing.assert_close(back, world, atol=1e-9, rtol=0)
    upright = rig(dataclasses.replace(p, rotation=0 * p.rotation, neck=0 * p.neck, translation=0 * p.translation))[0]
    head = rig.weights[:, 0] == 0  # all but the neck's lower end, which stays behind; pose correctives of the neck are 0
    torch.testing.assert_close(local[:, head], upright[:, head], atol=1e-9, rtol=0)
    expected = rotation_matrix(p.rotation.double()) @ rotation_matrix(p.neck.double())
    torch.testing.assert_close(pose[..., :3], expected)


def test_left_eye_and_jaw_move_what_they_should() -> None:
    rig, rest = layout().rig, FlameParameters.neutral()
    still = rig(rest)[0][0]
    turned = rig(dataclasses.replace(rest, eyes=torch.tensor([[0, 0.4, 0, 0, 0, 0]])))[0][0]
    moved = (turned - still).norm(dim=-1) > 1e-3
    assert moved[EYEBALLS["left"]].float().mean() > 0.9 and not moved[EYEBALLS["right"]].any() and not moved[:SKIN].any()
    pupil = EYEBALLS["left"].start + 544
    assert turned[pupil, 0] > still[pupil, 0] + 3, "a positive turn about y looks to the subject's left"
    opened = rig(dataclasses.replace(rest, jaw=torch.tensor([[0.3, 0, 0]])))[0][0]
    assert (opened - still)[:, 1].min() < -15, "a positive turn about x opens the mouth"


def test_the_file_returns_the_model(tmp_path: Path) -> None:
    path = write_flame_file(layout().arrays, tmp_path / "generic_model.pkl")
    rig = load_flame(str(path))
    assert rig.edition == "2020"
    p = parameters()
    torch.testing.assert_close(rig(p)[0], layout().rig(p)[0])
    assert find_flame_file(str(tmp_path)) == path


def test_where_the_model_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AVATARZOO_FLAME", raising=False)
    with pytest.raises(DataError, match=r"neither data.flame nor AVATARZOO_FLAME.*https://flame\.is\.tue\.mpg\.de"):
        find_flame_file(None)
    with pytest.raises(DataError, match=r"holds 0 FLAME models"):
        find_flame_file(str(tmp_path))
    with pytest.raises(DataError, match=r"no FLAME model at .*data.flame=FILE"):
        find_flame_file(str(tmp_path / "x.pkl"))
    for name in ("flame2023.pkl", "generic_model.pkl"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"2 FLAME models \(flame2023.pkl, generic_model.pkl\)"):
        find_flame_file(str(tmp_path))
    monkeypatch.setenv("AVATARZOO_FLAME", str(tmp_path / "flame2023.pkl"))
    assert find_flame_file(None).name == "flame2023.pkl"


def test_editions_do_not_mix() -> None:
    check_editions("2023", "2023_no_jaw", "x")
    check_editions("2020", "", "x")
    with pytest.raises(DataError, match=r"codes.npz was tracked with FLAME 2020, and the model is FLAME 2023"):
        check_editions("2023", "2020", "codes.npz")
