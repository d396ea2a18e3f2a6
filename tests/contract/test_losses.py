"""Every registered loss term passes the same checks, on what a model really predicts."""

from __future__ import annotations

import copy
import dataclasses
from functools import lru_cache

import fixtures as fx
import pytest
import torch

from avatarzoo import registry
from avatarzoo.batch import HeadBatch, Prediction, collate, lookup
from avatarzoo.build import build_model
from avatarzoo.losses.base import LossTerm

#: extras that belong to the capture and have no axis of images
SHARED = {"smooth_region", "chart", "mean_map", "mesh_triangles"}


def build(name: str) -> LossTerm:
    term = registry.build("loss", name)
    term.bind(fx.summary())
    return term


@lru_cache
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    found = build_model(fx.pica_config(), fx.summary())
    torch.nn.init.normal_(found.geometry.last.bias, std=0.3)
    return found


def predict(batch: HeadBatch) -> Prediction:
    prediction = model().predict(batch, "fit", {})
    prediction.extras["texture"] = 0.5 + prediction.extras["position_map"]  # PiCA has none; any map will do
    prediction.extras["blend_weights"] = prediction.extras["position_map"]
    prediction.alpha = torch.sigmoid(prediction.image.mean(1, keepdim=True))  # as a volume's would be
    return prediction


def perfect(batch: HeadBatch) -> Prediction:
    """The truth itself, a code that is the prior, and a surface without creases."""
    prediction = predict(batch)
    extras = dict(prediction.extras)
    for name in ("code_mean", "code_log_std", "laplacian", "position_map", "mean_map", "blend_weights"):
        extras[name] = torch.zeros_like(extras[name])
    extras["tracked_vertices"] = batch.mesh.vertices
    extras["texture"] = unwrapped(batch, extras["texture"])
    covered = batch.view.depth > 0
    return Prediction(batch.view.image, covered, batch.view.depth, batch.mesh.vertices, batch.view.foreground, extras)


def unwrapped(batch: HeadBatch, texture: torch.Tensor) -> torch.Tensor:
    """Fill a texture with what the pictures show of each texel."""
    term = build("texture")
    place, points = term._chart(texture)
    colours, _ = term.target(batch, points, torch.arange(len(place)).expand(len(texture), -1))
    return texture.detach().flatten(2).index_copy(2, place, colours.transpose(1, 2)).view_as(texture)


def one(group: HeadBatch | Prediction, index: int, count: int = 2) -> HeadBatch | Prediction:
    """Cut one image out."""
    taken = group._map(lambda t: t[index : index + 1] if t.ndim and t.shape[0] == count else t)
    if isinstance(group, Prediction):
        for name in SHARED & set(group.extras):
            taken.extras[name] = group.extras[name]
    return taken


@pytest.fixture(params=fx.built_in("loss"))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_it_gives_one_finite_value_per_image(name: str) -> None:
    batch = fx.batch()
    found = build(name)(predict(batch), batch)
    assert found.shape == (2,) and found.dtype == torch.float32
    assert torch.isfinite(found).all() and (found >= 0).all()
    assert found.abs().sum() > 0


def test_it_can_be_followed_back(name: str) -> None:
    batch = fx.batch()
    model().zero_grad()
    build(name)(predict(batch), batch).mean().backward()
    gradients = [p.grad for p in model().parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in gradients)
    assert sum(float(g.abs().sum()) for g in gradients) > 0


def test_each_image_has_its_own_value(name: str) -> None:
    batch = fx.batch()
    with torch.no_grad():
        prediction = predict(batch)
        both = build(name)(prediction, batch)
        alone = [build(name)(one(prediction, i), one(batch, i)) for i in range(2)]
    torch.testing.assert_close(torch.cat(alone), both, atol=1e-6, rtol=1e-4)


def test_the_truth_costs_nothing(name: str) -> None:
    batch = fx.batch()
    torch.testing.assert_close(build(name)(perfect(batch), batch), torch.zeros(2))


def test_it_neither_changes_the_prediction_nor_the_batch(name: str) -> None:
    batch = fx.batch()
    with torch.no_grad():
        prediction = predict(batch)
        kept, kept_batch = copy.deepcopy(prediction), copy.deepcopy(batch)
        build(name)(prediction, batch)
    for field in ("image", "coverage", "depth", "vertices"):
        assert torch.equal(getattr(prediction, field), getattr(kept, field))
    assert set(prediction.extras) == set(kept.extras)
    assert all(torch.equal(prediction.extras[key], kept.extras[key]) for key in kept.extras)
    assert torch.equal(batch.view.image, kept_batch.view.image) and torch.equal(batch.view.depth, kept_batch.view.depth)


def test_what_it_requires_exists_and_what_may_be_absent_may(name: str) -> None:
    term, batch = build(name), fx.batch()
    for path in term.requires:
        assert lookup(batch, path) is not None, f"{path} is no field of a batch that has everything"
    if "view.depth?" in term.requires:
        with torch.no_grad():
            prediction = predict(batch)
            without = dataclasses.replace(batch, view=dataclasses.replace(batch.view, depth=None))
            torch.testing.assert_close(term(prediction, without), torch.zeros(2))


def test_half_a_batch_each_is_the_whole(name: str) -> None:
    """The mean over images of two halves is that of all: what makes processes add up."""
    batch = collate([fx.sample(0, 0), fx.sample(1, 1), fx.sample(2, 0), fx.sample(1, 0)])
    with torch.no_grad():
        prediction = predict(batch)
        whole = build(name)(prediction, batch).mean()

        def half(group: HeadBatch | Prediction, where: slice) -> HeadBatch | Prediction:
            taken = group._map(lambda t: t[where] if t.ndim and t.shape[0] == 4 else t)
            if isinstance(group, Prediction):
                for key in SHARED & set(group.extras):
                    taken.extras[key] = group.extras[key]
            return taken

        parts = [build(name)(half(prediction, w), half(batch, w)).mean() for w in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(torch.stack(parts).mean(), whole, atol=1e-6, rtol=1e-4)
