"""PiCA end to end on the smallest head."""

from __future__ import annotations

import copy
from typing import Any

import fixtures as fx
import numpy as np
import pytest
import torch

from avatarzoo import registry
from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.build import build_model
from avatarzoo.errors import ConfigError
from avatarzoo.geometry.cameras import face_to_camera, project, to_camera
from avatarzoo.losses.image import ImageLoss
from avatarzoo.models.pica import PiCA


def made(**changes: Any) -> PiCA:
    torch.manual_seed(0)
    model = build_model(fx.pica_config(**changes), fx.summary())
    with torch.no_grad():  # untied biases start at 0; here every frame has a shape of its own
        for part in (model.geometry, model.expression):
            for parameter in part.parameters():
                if (parameter == 0).all():
                    parameter.normal_(0, 0.1)
        model.driver.mean.weight.mul_(5)
    return model


@pytest.fixture(scope="module")
def model() -> PiCA:
    return made()


@pytest.fixture
def batch() -> HeadBatch:
    return fx.batch()


def image_gradient(model: PiCA, batch: HeadBatch) -> dict[str, torch.Tensor]:
    """Gradients of the image term, by parameter."""
    loss = ImageLoss()
    loss.bind(fx.summary())
    model.zero_grad()
    loss(model.predict(batch, "fit", {}), batch).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


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
    prediction = made(model__mesh=mesh).eval().render(batch)
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
    from avatarzoo.geometry.uv import sample_map

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


def test_the_image_reaches_geometry_through_uv_and_not_through_positions(batch: HeadBatch) -> None:
    model = made()
    # with colours that depend on the position alone, uv has nothing to say: the gradient through xyz shows by itself
    with torch.no_grad():
        first = model.pixel_decoder.pixel.layers[0].weight
        first[:, :4], first[:, 8:] = 0, 0
    cut = image_gradient(model, batch)
    assert all(grad.abs().max() == 0 for name, grad in cut.items() if name.startswith("geometry"))
    model.xyz_gradient = True
    through = image_gradient(model, batch)
    assert sum(float(grad.abs().sum()) for name, grad in through.items() if name.startswith("geometry")) > 0
    # the pixel decoder itself learns the same either way
    for name in cut:
        if name.startswith("pixel_decoder"):
            torch.testing.assert_close(cut[name], through[name], atol=1e-5, rtol=1e-3)


def test_uv_carries_the_image_s_gradient_to_geometry(batch: HeadBatch) -> None:
    model = made()
    plain = image_gradient(model, batch)
    geometry = [name for name in plain if name.startswith("geometry")]
    assert sum(float(plain[name].abs().sum()) for name in geometry) > 0
    model.xyz_gradient = True
    both = image_gradient(model, batch)
    assert any(not torch.allclose(both[name], plain[name]) for name in geometry)
    model.xyz_gradient, model.uv_gradient = False, 0.25
    scaled = image_gradient(model, batch)
    for name in geometry:
        torch.testing.assert_close(scaled[name], plain[name] * 0.25, atol=1e-5, rtol=1e-2)
    model.uv_gradient = 0.0
    assert all(grad.abs().max() == 0 for name, grad in image_gradient(model, batch).items() if name in geometry)


def test_the_gradient_through_uv_points_downhill(batch: HeadBatch) -> None:
    """Move the decoded map along its gradient: the image term changes as the gradient says."""
    model = made().eval()
    loss = ImageLoss()
    loss.bind(fx.summary())
    bias = model.geometry.last.bias
    grad = image_gradient(model, batch)["geometry.last.bias"]
    step = 2e-3 / float(grad.norm())
    values = []
    with torch.no_grad():
        covered = model.render(batch).coverage
        for sign in (1, -1):
            bias += sign * step * grad
            prediction = model.render(batch)
            prediction.coverage = covered & prediction.coverage
            values.append(float(loss(prediction, batch).sum()))
            bias -= sign * step * grad
    assert values[0] > values[1]


def test_the_moving_mean_follows_the_batch_without_gradient(batch: HeadBatch) -> None:
    model = made(model__mean_mesh_rate=0.25)
    start = model.mesh.mean_mesh.clone()
    prediction = model.predict(batch, "fit", {})
    assert not model.mesh.mean_mesh.requires_grad
    passed: list[torch.Tensor] = []

    def average(value: torch.Tensor) -> torch.Tensor:
        passed.append(value)
        return value + 1  # as if other processes stood a millimetre further

    model.after_step(batch, prediction, average)
    mean = prediction.vertices.detach().mean(0)
    assert len(passed) == 1
    torch.testing.assert_close(passed[0], mean)
    torch.testing.assert_close(model.mesh.mean_mesh, start + 0.25 * (mean + 1 - start), atol=1e-3, rtol=0)
    assert model.mesh.mean_mesh.grad_fn is None


def test_the_state_returns_after_a_fresh_bind(batch: HeadBatch) -> None:
    model = made(model__mean_mesh_fraction=0.1)
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


@pytest.mark.parametrize("block", ["D+", "D", "A+", "A"])
def test_every_block_layout_trains(block: str, batch: HeadBatch) -> None:
    gradients = image_gradient(made(model__block=block), batch)
    assert all(torch.isfinite(grad).all() for grad in gradients.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"model__colour_space": "decorrelated", "model__colour_base": "mean_texture", "model__colour_gain": 2.0},
        {"model__upsample": "nearest", "model__weight_norm": True},
        {"model__code_dim": 6, "model__hidden": 12},
        {"model__latent_channels": 8},
        {"model__geometry_residual": "none"},
        {"model__mesh": "tracked"},
        {"model__antialias": 2},
    ],
    ids=lambda changes: ",".join(changes),
)
def test_options_build_predict_and_learn(changes: dict[str, Any], batch: HeadBatch) -> None:
    model = made(**changes)
    prediction = model.predict(batch, "fit", {})
    assert torch.isfinite(prediction.image).all()
    if model.mesh.residual == "mean":  # else the first mesh is a point, as said in the docs
        assert prediction.coverage.any()
    total = prediction.image.sum() + prediction.vertices.sum()
    total.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_channels_last_changes_the_order_in_memory_only(batch: HeadBatch) -> None:
    plain, ordered = made().eval(), made(model__channels_last=True).eval()
    ordered.load_state_dict(plain.state_dict())
    torch.testing.assert_close(ordered.render(batch).image, plain.render(batch).image, atol=1e-4, rtol=0)
    assert ordered.geometry.last.conv.weight.is_contiguous(memory_format=torch.channels_last)


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


def test_antialiasing_weighs_pixels_by_their_covered_share(batch: HeadBatch) -> None:
    plain, smooth = made().eval(), made(model__antialias=3).eval()
    smooth.load_state_dict(plain.state_dict())
    hard, soft = plain.render(batch), smooth.render(batch)
    assert hard.alpha is None and soft.alpha.shape == soft.coverage.shape
    assert torch.equal(soft.coverage, soft.alpha > 0)
    assert (hard.coverage <= soft.coverage).all() and (soft.coverage != hard.coverage).any()
    both = hard.coverage.expand(-1, 3, -1, -1)
    torch.testing.assert_close(soft.image[both], (hard.image * soft.alpha)[both], atol=1e-5, rtol=1e-4)
    assert (soft.image * ~soft.coverage == 0).all()
    assert ((soft.depth > 0) == soft.coverage).all()
    with pytest.raises(ConfigError, match="1 or more, not 0"):
        made(model__antialias=0)


def test_other_rasterizers_draw_the_same_picture(model: PiCA, batch: HeadBatch) -> None:
    other = made(rasterizer__name="torch").eval()
    other.load_state_dict(model.state_dict())
    model.eval()
    mine, theirs = model.render(batch), other.render(batch)
    model.train()
    assert torch.equal(mine.coverage, theirs.coverage)
    torch.testing.assert_close(mine.image, theirs.image, atol=1e-3, rtol=0)


def test_sizes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ConfigError, match=r"position_size=64 needs log2\(64/8\) - 1 entries .* got 1 and 1"):
        build_model(fx.pica_config(model__position_size=64))
    with pytest.raises(ConfigError, match=r"got 1 and 2"):
        build_model(fx.pica_config(model__expression_channels=[8, 8]))
    with pytest.raises(ConfigError, match=r"side 128, but the capture gives 256"):
        build_model(fx.pica_config(), fx.summary(texture_size=256))
    with pytest.raises(ConfigError, match=r"geometry_residual is 'mean' or 'none', not 'neutral'"):
        build_model(fx.pica_config(model__geometry_residual="neutral"))


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


def test_a_few_steps_learn_the_picture() -> None:
    model, batch = made(model__colour_gain=4.0, encoding__init_scale=0.1), fx.batch()
    loss = ImageLoss(unit="colour_std")
    loss.bind(fx.summary())
    slow = [p for name, p in model.named_parameters() if not name.startswith("encoding")]
    optimiser = torch.optim.Adam([{"params": slow, "lr": 3e-3}, {"params": model.encoding.parameters(), "lr": 5e-2}])
    values = []
    for _ in range(40):
        prediction: Prediction = model.predict(batch, "fit", {})
        value = loss(prediction, batch).mean()
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        values.append(float(value))
    assert np.mean(values[-5:]) < 0.65 * np.mean(values[:2])
