"""Every registered model passes the same checks on one small head."""

from __future__ import annotations

import copy
import io
from typing import Any

import fixtures as fx
import pytest
import torch

from avatarzoo import registry
from avatarzoo.batch import HeadBatch, Prediction, lookup
from avatarzoo.build import build_model
from avatarzoo.capture import CaptureSummary
from avatarzoo.models.base import Avatar, Model, parameter_counts

#: the smallest config of each model that fits ``fixtures.summary()``
TINY: dict[str, dict[str, Any]] = {
    "deep_appearance": {
        "model": {"name": "deep_appearance", "latent_shape": [8], "hidden": 8, "texture_channels": [8, 8, 4, 4]},
        "driver": {"name": "deep_appearance_vae", "texture_channels": [4, 4, 8, 8, 8], "hidden": 8},
        "rasterizer": {"name": "warp"},
    },
    "hash_blendshapes": {
        "model": {
            "name": "hash_blendshapes",
            "uv_size": 16,
            "encoder": [4, 8],
            "decoder": [8, 8, 8],
            "clusters": 8,
            "rays": 300,
            "coarse": 8,
            "fine": 8,
            "reach_mm": 30.0,
            "surface_prior": 4.0,
            "step_mm": 3.0,
            "union_resolution": 24,
        },
        "encoding": {"name": "hash_grid", "levels": 2, "channels": 2, "log2_table_size": 6, "coarsest": 8, "finest": 16},
        "warp": {"name": "none"},
        "rasterizer": {"name": "warp"},
    },
    "pica": fx.PICA,
    "static_texture": {"model": {"name": "static_texture"}, "rasterizer": {"name": "warp"}},
}
MODELS = fx.built_in("model")
AVATARS = [name for name in MODELS if issubclass(registry.get("model", name), Avatar)]
SEEN = {"none", "tracked mesh", "pictures", "parameters"}


def build(name: str, summary: CaptureSummary | None = None, seed: int = 0) -> Model:
    torch.manual_seed(seed)
    return build_model(copy.deepcopy(TINY[name]), summary or fx.summary())


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=AVATARS)
def avatar(request: pytest.FixtureRequest) -> str:
    return request.param


def same(first: Prediction, second: Prediction, tolerance: float = 0.0) -> None:
    for field in ("image", "coverage", "depth", "vertices", "alpha"):
        a, b = getattr(first, field), getattr(second, field)
        assert (a is None) == (b is None), field
        if a is not None:
            torch.testing.assert_close(a.float(), b.float(), rtol=0, atol=tolerance, msg=f"{field} differs")


def test_each_has_a_small_config_here() -> None:
    assert set(TINY) == set(MODELS), "give the new model its smallest config above"


def test_what_it_uses_and_requires(name: str) -> None:
    model, batch = build(name), fx.batch()
    assert set(model.uses) == set(TINY[name]) - {"model"}
    for path in model.requires:
        assert path.endswith("?") or lookup(batch, path) is not None, path
    assert model.test_inputs in SEEN


def test_parts_hold_every_parameter_once(name: str) -> None:
    model = build(name)
    parts = model.parts()
    assert parts and all(isinstance(part, torch.nn.Module) for part in parts.values())
    listed = sorted(id(p) for part in parts.values() for p in part.parameters())
    assert listed == sorted(id(p) for p in model.parameters())
    assert parameter_counts(model) == {k: sum(p.numel() for p in part.parameters()) for k, part in parts.items()}
    assert sum(parameter_counts(model).values()) > 0


def test_predict_can_be_trained(name: str) -> None:
    model, batch = build(name).train(), fx.batch()
    carry: dict[str, Any] = {}
    prediction = model.predict(batch, "fit", carry)
    assert isinstance(prediction, Prediction)
    assert prediction.image.shape == batch.view.image.shape
    (prediction.image - batch.view.image).square().mean().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(g).all() for g in gradients)
    assert sum(float(g.abs().sum()) for g in gradients) > 0
    model.after_step(batch, prediction, lambda value: value)


def test_a_step_in_bf16_is_a_step_in_float32_up_to_rounding(avatar: str) -> None:
    """As the trainer runs ``precision=bf16-mixed``: forward under autocast, loss and gradient outside of it."""
    batch, found = fx.batch(), {}
    for mixed in (False, True):
        model = build(avatar).train()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            prediction = model.predict(batch, "fit", {})
        loss = (prediction.image.float() - batch.view.image).square().mean()
        loss.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert torch.isfinite(loss) and all(torch.isfinite(g).all() for g in gradients)
        torch.optim.SGD(model.parameters(), lr=1e-3).step()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            picture = model.eval().render(batch)
        found[mixed] = (prediction, picture, gradients)
    for exact, rounded in zip(found[False][:2], found[True][:2], strict=True):
        seen = drawn(exact), drawn(rounded)
        both = seen[0] & seen[1]
        assert both.sum() > 100 and both.sum() > 0.99 * (seen[0] | seen[1]).sum()
        assert (exact.image - rounded.image.float()).abs().mean(1, keepdim=True)[both].mean() < 0.002
        if exact.depth is not None:
            assert (exact.depth - rounded.depth)[both].abs().mean() < 0.3  # mm
    for exact, rounded in zip(found[False][2], found[True][2], strict=True):
        assert exact.dtype == rounded.dtype == torch.float32
    whole = [torch.cat([g.flatten() for g in found[mixed][2]]) for mixed in (False, True)]
    assert torch.cosine_similarity(*whole, dim=0) > 0.98


def drawn(prediction: Prediction) -> torch.Tensor:
    """Return where something is seen: covered, and of a volume's rays those that meet half of what there is to meet."""
    covered = prediction.coverage.bool()
    return covered if prediction.alpha is None else covered & (prediction.alpha >= 0.5)


def test_predict_is_a_function_of_its_batch(name: str) -> None:
    model, batch = build(name).train(), fx.batch()
    first = model.predict(batch, "fit", {})
    torch.rand(5)  # the global generator has no say
    same(model.predict(batch, "fit", {}), first)


def test_render_gives_pictures_and_coverage(avatar: str) -> None:
    model, batch = build(avatar).eval(), fx.batch()
    prediction = model.render(batch)
    height, width = fx.SIZE
    assert prediction.image.shape == (2, 3, height, width) and prediction.image.dtype == torch.float32
    assert torch.isfinite(prediction.image).all()
    assert prediction.coverage.shape == (2, 1, height, width)
    covered = prediction.coverage.float()
    assert set(covered.unique().tolist()) <= {0.0, 1.0} or (covered.min() >= 0 and covered.max() <= 1)
    assert 0.2 < covered.mean() < 0.8
    assert (prediction.image * (covered == 0)).abs().max() == 0
    if prediction.depth is not None:
        assert prediction.depth.shape == (2, 1, height, width)
        assert torch.equal(prediction.depth > 0, covered > 0)
        # the mean face, or the frame's own: within a few millimetres of the truth
        truth = batch.view.depth
        both = (truth > 0) & (prediction.depth > 0)
        assert (prediction.depth - truth)[both].abs().median() < 12


def test_render_says_what_was_drawn(avatar: str) -> None:
    prediction = build(avatar).eval().render(fx.batch())
    height, width = fx.SIZE
    if prediction.vertices is not None:
        triangles = prediction.extras["mesh_triangles"]
        assert prediction.vertices.ndim == 3 and prediction.vertices.shape[::2] == (2, 3)
        assert triangles.dtype == torch.int32 and triangles.shape[1] == 3
        assert 0 <= triangles.min() and triangles.max() < prediction.vertices.shape[1]
    if "raster" in prediction.extras:
        raster, uv = prediction.extras["raster"], prediction.extras["uv"]
        assert raster.shape == (2, height, width, 4) and uv.shape == (2, height, width, 2)
        assert torch.equal(raster[..., 3] > 0, prediction.coverage[:, 0] > 0)
        assert raster[..., 3].max() <= len(prediction.extras["mesh_triangles"])
        assert uv.min() >= 0 and uv.max() <= 1


def test_render_is_deterministic_and_reads_no_picture_of_its_view(avatar: str) -> None:
    model = build(avatar).eval()
    first = model.render(fx.batch())
    same(model.render(fx.batch()), first)
    if "view.image" not in model.requires:
        same(model.render(fx.batch(pictures=False)), first)


def test_images_of_a_batch_do_not_mix(avatar: str) -> None:
    model = build(avatar).eval()
    both = model.render(fx.batch((0, 0), (2, 1)))
    for i, place in enumerate([(0, 0), (2, 1)]):
        alone = model.render(fx.batch(place))
        torch.testing.assert_close(alone.image[0], both.image[i], atol=1e-3, rtol=0)
        assert torch.equal(alone.coverage[0], both.coverage[i])


def test_state_returns_through_a_file_and_a_fresh_bind(name: str) -> None:
    """What loading a checkpoint does: the summary and the weights, both read with weights_only, make the model again."""
    model, batch = build(name), fx.batch()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    model.after_step(batch, model.predict(batch, "fit", {}), lambda value: value)
    file = io.BytesIO()
    torch.save({"summary": fx.summary().to_plain(), "state": model.state_dict()}, file)
    file.seek(0)
    read = torch.load(file, weights_only=True)
    fresh = build(name, CaptureSummary.from_plain(read["summary"]), seed=1)
    fresh.load_state_dict(read["state"], strict=True)
    model.eval(), fresh.eval()
    run = "render" if isinstance(model, Avatar) else "track"
    first, second = getattr(model, run)(batch), getattr(fresh, run)(batch)
    if isinstance(first, Prediction):
        same(second, first)
    else:
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_the_summary_is_not_changed(name: str) -> None:
    summary = fx.summary()
    kept = copy.deepcopy(summary.to_plain())
    model = build(name, summary)
    batch = fx.batch()
    model.after_step(batch, model.predict(batch, "fit", {}), lambda value: value)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)

    def check(one: Any, other: Any, path: str) -> None:
        if isinstance(one, dict):
            for key in one:
                check(one[key], other[key], f"{path}.{key}")
        elif isinstance(one, torch.Tensor):
            assert torch.equal(one, other), path
        else:
            assert one == other, path

    check(kept, summary.to_plain(), "summary")


def test_the_batch_is_not_changed(name: str) -> None:
    model, batch = build(name), fx.batch()
    kept: HeadBatch = copy.deepcopy(batch)
    model.predict(batch, "fit", {})
    for path in ("view.image", "view.camera.K", "view.camera.t", "mesh.vertices", "mesh.head_pose", "texture.average"):
        assert torch.equal(lookup(batch, path), lookup(kept, path)), path
