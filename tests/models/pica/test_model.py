"""PiCA end to end on the smallest head."""

from __future__ import annotations

import copy

import fixtures as fx
import numpy as np
import pytest
import torch

from avatarzoo import registry
from avatarzoo.batch import HeadBatch
from avatarzoo.build import build_model
from avatarzoo.errors import ConfigError
from avatarzoo.geometry.cameras import face_to_camera, project, to_camera
from avatarzoo.geometry.uv import sample_map
from avatarzoo.models.pica import PiCA


@pytest.fixture(scope="module")
def model() -> PiCA:
    return fx.lively_pica()


@pytest.fixture
def batch() -> HeadBatch:
    return fx.batch()


def test_predict_gives_all_that_the_terms_read(model: PiCA, batch: HeadBatch) -> None:
    prediction = model.predict(batch, "fit", {})
    height, width = fx.SIZE
    vertices, tracked = len(model.mesh.mean), len(fx.summary().vertex_mean)
    assert prediction.image.shape == (2, 3, height, width)
    assert prediction.coverage.shape == prediction.depth.shape == (2, 1, height, width)
    assert prediction.vertices.shape == (2, vertices, 3)
    shapes = {
        "position_map": (2, 3, 32, 32),
        "raster": (2, height, width, 4),
        "uv": (2, height, width, 2),
        "mesh_triangles": tuple(model.mesh.triangles.shape),
        "code_mean": (2, 4, 8, 8),
        "code_log_std": (2, 4, 8, 8),
        "tracked_vertices": (2, tracked, 3),
        "laplacian": (2, vertices, 3),
        "smooth_region": (vertices,),
        "chart": (32, 32),
        "mean_map": (3, 32, 32),
    }
    assert {name: tuple(value.shape) for name, value in prediction.extras.items()} == shapes
    for value in (prediction.image, prediction.depth, prediction.vertices):
        assert torch.isfinite(value).all()


@pytest.mark.parametrize("mesh", ["dense", "tracked"])
def test_depth_and_coverage_are_those_of_the_mesh(mesh: str, batch: HeadBatch) -> None:
    prediction = fx.lively_pica(model__mesh=mesh).eval().render(batch)
    covered = prediction.coverage[:, 0]
    assert 0.3 < covered.float().mean() < 0.6
    assert torch.equal(covered, prediction.depth[:, 0] > 0)
    assert (prediction.image.permute(0, 2, 3, 1)[~covered] == 0).all()
    # a vertex lands on a covered pixel or beside one, at the raster's depth or behind it (but for some on the thin rim)
    R, t = face_to_camera(batch.view.camera, batch.mesh.head_pose)
    points = to_camera(prediction.vertices, R, t)
    pixels = project(points, batch.view.camera.K)
    height, width = fx.SIZE
    near = torch.nn.functional.max_pool2d(covered[:, None].float(), 3, 1, 1)[:, 0] > 0
    for i in range(2):
        columns, rows = pixels[i].round().long().unbind(-1)
        on = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        assert on.float().mean() > 0.9
        assert near[i, rows[on], columns[on]].float().mean() > 0.98
        shown = prediction.depth[i, 0, rows[on], columns[on]]
        assert (points[i, on, 2] > shown - 12)[shown > 0].float().mean() > 0.97


def test_at_the_start_it_is_the_mean_face_in_the_mean_colour(batch: HeadBatch) -> None:
    torch.manual_seed(0)
    model = build_model(fx.pica_config(), fx.summary()).eval()
    with torch.no_grad():
        model.driver.mean.weight.zero_()
        model.driver.mean.bias.zero_()
        model.pixel_decoder.pixel.layers[-1].weight.zero_()
        model.pixel_decoder.pixel.layers[-1].bias.zero_()
    prediction = model.render(batch)
    torch.testing.assert_close(prediction.vertices, model.mesh.mean.expand(2, -1, -1))
    colours = prediction.image.permute(0, 2, 3, 1)[prediction.coverage[:, 0]]
    torch.testing.assert_close(colours, fx.summary().colour_mean.expand(len(colours), 3))


def test_only_covered_pixels_are_shaded(model: PiCA, batch: HeadBatch) -> None:
    rows: dict[str, list[int]] = {"pixel": [], "xyz": [], "encoding": []}
    modules = {"pixel": model.pixel_decoder.pixel, "xyz": model.pixel_decoder.xyz, "encoding": model.encoding}
    hooks = [m.register_forward_hook(lambda _, x, __, n=n: rows[n].append(len(x[0]))) for n, m in modules.items()]
    prediction = model.render(batch)
    for hook in hooks:
        hook.remove()
    count = int(prediction.coverage.sum())
    assert 0 < count < 0.6 * prediction.coverage.numel()
    assert rows == {"pixel": [count], "xyz": [count], "encoding": [count]}


def test_each_pixel_reads_its_own_image_s_code(model: PiCA) -> None:
    model.eval()
    both = model.render(fx.batch((0, 0), (2, 1)))
    for i, place in enumerate([(0, 0), (2, 1)]):
        alone = model.render(fx.batch(place))
        torch.testing.assert_close(both.image[i : i + 1], alone.image, atol=2e-4, rtol=0)
        torch.testing.assert_close(both.vertices[i : i + 1], alone.vertices, atol=1e-3, rtol=0)
    model.train()


def test_shading_reads_code_position_and_encoding_at_the_pixel(model: PiCA, batch: HeadBatch) -> None:
    seen: list[tuple[torch.Tensor, ...]] = []
    hook = model.pixel_decoder.register_forward_pre_hook(lambda _, x: seen.append(x))
    maps = []
    other = model.expression.register_forward_hook(lambda _, __, y: maps.append(y))
    prediction = model.eval().render(batch)
    hook.remove()
    other.remove()
    model.train()
    code, xyz, encoded, uv = seen[0]
    place = prediction.coverage[:, 0].nonzero()
    raster, triangles = prediction.extras["raster"], model.mesh.triangles.long()
    for n in range(0, len(place), 97):
        i, row, column = place[n].tolist()
        u, v, _, triangle = raster[i, row, column].tolist()
        weights = torch.tensor([u, v, 1 - u - v])[:, None]
        corners = int(triangle) - 1
        torch.testing.assert_close(xyz[n], (weights * prediction.vertices[i, triangles[corners]]).sum(0), atol=1e-3, rtol=0)
        at = (weights * model.mesh.uvs[model.mesh.uv_triangles.long()[corners]]).sum(0)
        torch.testing.assert_close(uv[n], at, atol=1e-5, rtol=0)
        torch.testing.assert_close(code[n], sample_map(maps[0][i : i + 1], at[None])[0, 0], atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(encoded[n], model.encoding(at[None])[0], atol=1e-3, rtol=1e-3)


def test_the_view_enters_the_expression_and_not_the_geometry(model: PiCA) -> None:
    model.eval()
    front, side = model.render(fx.batch((0, 0))), model.render(fx.batch((0, 1)))
    torch.testing.assert_close(front.vertices, side.vertices, rtol=0, atol=0)
    maps = []
    hook = model.expression.register_forward_hook(lambda _, x, y: maps.append((x[0], y)))
    model.render(fx.batch((0, 0), (0, 1)))
    hook.remove()
    model.train()
    ((inputs, outputs),) = maps
    assert inputs.shape == (2, 7, 8, 8)
    assert not torch.allclose(outputs[0], outputs[1])
    # channels 4..6 hold the unit vector from the head towards the camera, face-centric
    pose, cameras = fx.head_pose().double().numpy(), fx.camera_table()
    for i in range(2):
        centre = -cameras.R[i].double().numpy().T @ cameras.t[i].double().numpy()
        direction = pose[:, :3].T @ (centre - pose[:, 3])
        direction /= np.linalg.norm(direction)
        expected = torch.from_numpy(direction).float()[:, None, None].expand(3, 8, 8)
        torch.testing.assert_close(inputs[i, 4:], expected, atol=1e-5, rtol=0)


def test_evaluation_is_deterministic_and_rendering_is_predicting(model: PiCA, batch: HeadBatch) -> None:
    model.eval()
    first, again = model.render(batch), model.predict(batch, "fit", {})
    batch.meta.noise_key = batch.meta.noise_key + 7
    third = model.render(batch)
    for other in (again, third):
        for name in ("image", "coverage", "depth", "vertices"):
            torch.testing.assert_close(getattr(other, name), getattr(first, name), rtol=0, atol=0)
    model.train()
    torch.testing.assert_close(model.render(batch).image, first.image, rtol=0, atol=0)  # pictures of a run in progress
    drawn = model.predict(batch, "fit", {})
    assert not torch.allclose(drawn.vertices, first.vertices)  # training draws from the posterior


def test_the_state_returns_after_a_fresh_bind(batch: HeadBatch) -> None:
    model = fx.lively_pica(model__mean_mesh_fraction=0.1)
    model.progress = 0.03
    model.after_step(batch, model.predict(batch, "fit", {}), lambda x: x)
    state = copy.deepcopy(model.state_dict())
    torch.manual_seed(99)
    fresh = build_model(fx.pica_config(model__mean_mesh_fraction=0.1), fx.summary())
    assert set(fresh.state_dict()) == set(state)
    fresh.load_state_dict(state)
    torch.testing.assert_close(fresh.eval().render(batch).image, model.eval().render(batch).image, rtol=0, atol=0)
    torch.testing.assert_close(fresh.mesh.mean_mesh, model.mesh.mean_mesh, rtol=0, atol=0)
    assert float(fresh.mesh.last_progress) == 0.03


def test_parts_hold_every_parameter_once(model: PiCA) -> None:
    parts = model.parts()
    assert set(parts) == {"driver", "geometry", "expression", "encoding", "pixel_decoder"}
    listed = [id(p) for part in parts.values() for p in part.parameters()]
    assert sorted(listed) == sorted(id(p) for p in model.parameters())


def test_cameras_and_lookups_stay_in_float32_under_autocast(model: PiCA, batch: HeadBatch) -> None:
    model.eval()
    inputs: list[torch.Tensor] = []
    hook = model.expression.register_forward_hook(lambda _, x, __: inputs.append(x[0]))
    exact = model.render(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model.render(batch)
    hook.remove()
    model.train()
    torch.testing.assert_close(inputs[1][:, 4:].float(), inputs[0][:, 4:], atol=1e-6, rtol=0)
    # the same decoded map gives the same mesh and the same raster
    assert rough.vertices.dtype == rough.image.dtype == torch.float32
    torch.testing.assert_close(rough.vertices, model.mesh.vertices(rough.extras["position_map"]), rtol=0, atol=0)
    assert (rough.coverage != exact.coverage).float().mean() < 0.02


def test_a_camera_that_sees_nothing_renders_black(model: PiCA) -> None:
    batch = fx.batch()
    batch.view.camera.t[1] = torch.tensor([0.0, 0.0, -3000.0])  # the head is behind it
    prediction = model.predict(batch, "fit", {})
    assert prediction.coverage[0].any() and not prediction.coverage[1].any()
    assert (prediction.image[1] == 0).all()
    (prediction.image.sum() + prediction.depth.sum()).backward()
    batch.view.camera.t[0] = torch.tensor([0.0, 0.0, -3000.0])
    prediction = model.predict(batch, "fit", {})
    assert not prediction.coverage.any()
    prediction.image.sum().backward()
    model.zero_grad()


def test_a_batch_without_camera_or_pose_is_refused(model: PiCA) -> None:
    batch = fx.batch()
    batch.view = None
    with pytest.raises(ConfigError, match=r"view.camera at mesh.head_pose"):
        model.decode(batch, torch.zeros(2, 4, 8, 8))


def test_the_model_says_what_it_needs_and_sees(model: PiCA) -> None:
    assert {"texture.average", "mesh.vertices", "mesh.head_pose", "view.camera"} <= set(model.requires)
    assert model.test_inputs == "pictures"
    assert model.config["name"] == "pica" and model.config["block"] == "D+"
    assert registry.get("model", "pica") is PiCA
