"""Deep Appearance Models end to end on the smallest head."""

from __future__ import annotations

import copy
from typing import Any

import fixtures as fx
import numpy as np
import pytest
import torch

from avatarzoo import config, registry
from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.build import build_model
from avatarzoo.errors import ConfigError
from avatarzoo.models.deep_appearance import DeepAppearance

CONFIG: dict[str, Any] = {
    "model": {"name": "deep_appearance", "latent_shape": [8], "hidden": 8, "texture_channels": [8, 8, 4, 4]},
    "driver": {"name": "deep_appearance_vae", "texture_channels": [4, 4, 8, 8, 8], "hidden": 8},
    "rasterizer": {"name": "warp"},
}


def build(driver: dict[str, Any] | None = None, **options: Any) -> DeepAppearance:
    torch.manual_seed(0)
    node = copy.deepcopy(CONFIG)
    node["model"] |= options
    node["driver"] = driver or node["driver"]
    return build_model(node, fx.summary())


def lively(**options: Any) -> DeepAppearance:
    """One whose texture differs from texel to texel and view to view."""
    model = build(**options)
    with torch.no_grad():
        for layer in model.decoder.texture[::2]:
            layer.bias.normal_(0, 0.3)
        model.decoder.view[0].parametrizations.weight[0].gain.mul_(10)
        model.driver.posterior.parametrizations.weight[0].gain.mul_(20)
    return model


@pytest.fixture
def batch() -> HeadBatch:
    return fx.batch()


def test_predict_gives_all_that_the_terms_read(batch: HeadBatch) -> None:
    prediction = lively().predict(batch, "fit", {})
    height, width = fx.SIZE
    vertices = len(fx.summary().vertex_mean)
    shapes = {
        "texture": (2, 3, 128, 128),
        "tracked_vertices": (2, vertices, 3),
        "raster": (2, height, width, 4),
        "uv": (2, height, width, 2),
        "mesh_triangles": tuple(fx.summary().topology.triangles.shape),
        "code_mean": (2, 8),
        "code_log_std": (2, 8),
    }
    assert {name: tuple(value.shape) for name, value in prediction.extras.items()} == shapes
    assert prediction.image.shape == (2, 3, height, width) and prediction.vertices.shape == (2, vertices, 3)


def test_a_pixel_shows_the_texture_at_its_surface_point(batch: HeadBatch) -> None:
    """Against a look-up texel by texel: barycentric uv, bilinear, texel centres at (i + 0.5) / T, row 0 at v = 0."""
    model = lively()
    prediction = model.eval().render(batch)
    summary, texture = fx.summary(), prediction.extras["texture"].double().numpy()
    uvs, corners = summary.topology.uvs.double().numpy(), summary.topology.uv_triangles.long()
    place = prediction.coverage[:, 0].nonzero()
    assert len(place) > 300
    for i, row, column in place[::53].tolist():
        u, v, _, triangle = prediction.extras["raster"][i, row, column].double().tolist()
        at = np.array([u, v, 1 - u - v]) @ uvs[corners[int(triangle) - 1]]
        x, y = at * 128 - 0.5
        c, r = int(np.floor(x)), int(np.floor(y))
        dx, dy = x - c, y - r
        t = texture[i]
        expected = (1 - dy) * ((1 - dx) * t[:, r, c] + dx * t[:, r, c + 1])
        expected += dy * ((1 - dx) * t[:, r + 1, c] + dx * t[:, r + 1, c + 1])
        np.testing.assert_allclose(prediction.image[i, :, row, column].numpy(), expected, atol=2e-4)
    assert (prediction.image.permute(0, 2, 3, 1)[~prediction.coverage[:, 0]] == 0).all()


def test_with_a_decoder_that_says_nothing_it_is_the_mean_face_in_the_mean_texture(batch: HeadBatch) -> None:
    model = build()
    with torch.no_grad():
        for layer in (model.decoder.mesh, model.decoder.texture[-1].conv):
            layer.parametrizations.weight[0].gain.zero_()
    prediction = model.eval().render(batch)
    torch.testing.assert_close(prediction.vertices, fx.summary().vertex_mean.expand(2, -1, -1))
    torch.testing.assert_close(prediction.extras["texture"], fx.summary().texture_mean.expand(2, -1, -1, -1))


def test_outputs_are_in_units_of_the_capture_s_spread(batch: HeadBatch) -> None:
    for unit in ("texture_std", "colour_std"):
        model, summary = lively(texture_unit=unit).eval(), fx.summary()
        spread = float(summary.colour_axes.square().sum() / 3) ** 0.5 if unit == "colour_std" else summary.texture_std
        code, towards = torch.randn(1, 8), torch.tensor([[0.0, 0, 1]])
        mesh, texture = model.decoder(code, towards)
        found = model.decode_object(code, towards)
        torch.testing.assert_close(found[0], summary.vertex_mean + summary.vertex_std * mesh)
        torch.testing.assert_close(found[1], summary.texture_mean + spread * texture)


def test_the_view_is_the_unit_vector_from_the_head_to_the_camera(batch: HeadBatch) -> None:
    model, seen = lively().eval(), []
    hook = model.decoder.register_forward_pre_hook(lambda _, x: seen.append(x[1]))
    model.render(batch)
    hook.remove()
    pose = fx.head_pose().double().numpy()
    for i, camera in enumerate((0, 1)):
        R, t = fx.camera_table().R[camera].double().numpy(), fx.camera_table().t[camera].double().numpy()
        direction = pose[:, :3].T @ (-R.T @ t - pose[:, 3])
        np.testing.assert_allclose(seen[0][i].numpy(), direction / np.linalg.norm(direction), atol=1e-5)


def test_two_views_share_the_mesh_and_not_the_texture() -> None:
    prediction = lively().eval().render(fx.batch((0, 0), (0, 1)))
    torch.testing.assert_close(prediction.vertices[0], prediction.vertices[1], rtol=0, atol=1e-4)
    assert not torch.allclose(prediction.extras["texture"][0], prediction.extras["texture"][1])


def test_the_camera_s_colours_are_corrected(batch: HeadBatch) -> None:
    model = lively().eval()
    model.after_step(batch, model.predict(batch, "fit", {}), lambda value: value)
    before = model.render(batch).extras["texture"]
    torch.nn.init.constant_(model.colour_correction.bias, 2.0)
    after = model.render(batch).extras["texture"]
    torch.testing.assert_close(after[0], before[0], rtol=0, atol=0)
    torch.testing.assert_close(after[1], before[1] + 2 * fx.summary().texture_std)
    assert "colour_correction" not in lively(colour_correction=False).parts()


def test_correction_unit_and_mean_in_two_passes_are_the_formula_term_by_term(batch: HeadBatch) -> None:
    model, summary = lively(), fx.summary()
    correction = model.colour_correction
    torch.nn.init.normal_(correction.gain, 1, 0.3)
    torch.nn.init.normal_(correction.bias, 0, 0.3)
    code, towards, camera = torch.randn(2, 8), torch.eye(3)[:2], batch.view.camera
    found = {}
    for way in ("formula", "model"):
        raw = model.decoder(code, towards)[1]
        texture = summary.texture_mean + summary.texture_std * correction(raw, camera)
        if way == "model":
            texture = model.decode_object(code, towards, camera)[1]
        model.zero_grad()
        texture.square().mean().backward()
        found[way] = (texture, *(p.grad.clone() for p in model.parameters() if p.grad is not None))
    assert len(found["model"]) > 20
    for exact, fast in zip(found["formula"], found["model"], strict=True):
        torch.testing.assert_close(fast, exact, rtol=1e-5, atol=1e-6 * float(exact.detach().abs().max()))


@pytest.mark.parametrize(
    ("driver", "shape"),
    [
        ({"name": "capture_vae", **{k: v for k, v in fx.PICA["driver"].items() if k != "name"}}, [4, 8, 8]),
        ({"name": "deep_appearance_vae", "texture_channels": [4, 4, 4, 4, 4], "hidden": 4}, [2, 3]),
    ],
)
def test_it_is_driven_by_name(driver: dict[str, Any], shape: list[int], batch: HeadBatch) -> None:
    model = build(driver, latent_shape=shape)
    prediction = model.predict(batch, "fit", {})
    assert prediction.extras["code_mean"].shape == (2, *shape)
    prediction.image.square().sum().backward()
    assert all(p.grad is not None for p in model.driver.parameters())


def test_how_much_of_the_image_gradient_reaches_the_mesh(batch: HeadBatch) -> None:
    sizes = {}
    for share in (0.0, 0.2, 1.0):
        model = lively(uv_gradient=share)
        (model.predict(batch, "fit", {}).image - batch.view.image).square().sum().backward()
        sizes[share] = float(model.decoder.mesh.bias.grad.norm()) if model.decoder.mesh.bias.grad is not None else 0.0
    assert sizes[0.0] == 0 and sizes[1.0] > 0
    assert sizes[0.2] == pytest.approx(0.2 * sizes[1.0], rel=1e-3)


def test_antialiasing_weights_the_silhouette_by_its_covered_share(batch: HeadBatch) -> None:
    plain, fine = build().eval().render(batch), build(antialias=2).eval().render(batch)
    assert plain.alpha is None
    assert (fine.coverage >= plain.coverage).all() and fine.coverage.sum() > plain.coverage.sum()
    inside = (fine.alpha == 1) & plain.coverage
    torch.testing.assert_close(fine.image * inside, plain.image * inside)
    edge = plain.coverage & (fine.alpha < 1)
    torch.testing.assert_close((fine.image * edge), (plain.image * fine.alpha * edge))


def test_cameras_and_lookups_stay_in_float32_under_autocast(batch: HeadBatch) -> None:
    model = lively().eval()
    exact = model.render(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model.render(batch)
    assert rough.image.dtype == rough.vertices.dtype == rough.extras["texture"].dtype == torch.float32
    assert (rough.coverage != exact.coverage).float().mean() < 0.02


def test_the_vertex_term_counts_all_vertices_alike() -> None:
    """Multiface's: mean of squares over all vertices and coordinates in normalised space, the mouth included."""
    node = config.load("dam", ["scale=paper"]).resolved["phases"]["fit"]["loss"]["vertex"]
    term = registry.build("loss", {"name": node["term"], "exclude": node["exclude"], "squared": node["squared"]})
    summary, batch = fx.summary(), fx.batch()
    term.bind(summary)
    torch.manual_seed(0)
    vertices = batch.mesh.vertices + torch.randn_like(batch.mesh.vertices)
    found = term(Prediction(extras={"tracked_vertices": vertices}), batch)
    error = (vertices.double() - batch.mesh.vertices.double()).numpy() / summary.vertex_std
    np.testing.assert_allclose(found.numpy(), (error**2).mean((1, 2)), rtol=1e-5)


def test_it_learns_one_picture() -> None:
    """The texture term falls below 1 % of its start on one frame and camera; untied biases alone could do it."""
    batch, model = fx.batch((0, 0)), build(texture_unit="colour_std")
    term = registry.build("loss", {"name": "texture", "unit": "colour_std"})
    term.bind(fx.summary())
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=2e-2)
    values = []
    for _ in range(150):
        loss = term(model.predict(batch, "fit", {}), batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.01 * values[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"texture_unit": "std"}, "texture_std, colour_std, not 'std'"),
        ({"antialias": 0}, "1 or more, not 0"),
        ({"unseen_camera": "none"}, "identity, mean, not 'none'"),
        ({"texture_channels": [8, 8]}, "decodes textures of side 32, .* of side 128; set data.texture_size=32"),
    ],
)
def test_options_that_do_not_fit_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**options)


def test_a_batch_without_camera_is_refused(batch: HeadBatch) -> None:
    batch.view = None
    with pytest.raises(ConfigError, match=r"view.camera at mesh.head_pose"):
        build().decode(batch, torch.zeros(2, 8))
