"""Depth and normal terms against NumPy."""

from __future__ import annotations

import dataclasses

import fixtures as fx
import numpy as np
import pytest
import torch

from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.losses.surface import DepthLoss, NormalLoss, depth_gate


def case() -> tuple[Prediction, HeadBatch]:
    """Depth that is off by up to 20 mm, with holes on both sides."""
    generator = torch.Generator().manual_seed(0)
    batch = fx.batch()
    measured = batch.view.depth
    error = torch.linspace(-20, 20, fx.SIZE[1]) + torch.randn(measured.shape, generator=generator)
    predicted = torch.where(measured > 0, measured + error, torch.tensor(0.0))
    predicted[..., 25:27, :] = 0
    measured[:, :, 12, ::3] = 0
    return Prediction(depth=predicted), batch


def bound(loss: DepthLoss | NormalLoss) -> DepthLoss | NormalLoss:
    loss.bind(fx.summary())
    return loss


def gate_of(predicted: np.ndarray, measured: np.ndarray, limit: float = 10) -> np.ndarray:
    return (predicted > 0) & (measured > 0) & (np.abs(predicted - measured) < limit)


def numpy_normals(depth: np.ndarray, K: np.ndarray) -> np.ndarray:
    """H-1,W-1,3 by a cross product at each pixel."""
    height, width = depth.shape
    inverse = np.linalg.inv(K)
    points = np.array([[depth[r, c] * (inverse @ [c, r, 1]) for c in range(width)] for r in range(height)])
    result = np.zeros((height - 1, width - 1, 3))
    for r in range(height - 1):
        for c in range(width - 1):
            normal = np.cross(points[r + 1, c] - points[r, c], points[r, c + 1] - points[r, c])
            result[r, c] = normal / np.linalg.norm(normal)
    return result


def test_the_gate_opens_where_both_are_known_and_near() -> None:
    predicted = torch.tensor([0.0, 500.0, 500.0, 500.0, 509.9, 510.1, 490.0]).reshape(1, 1, 1, 7)
    measured = torch.tensor([500.0, 0.0, 500.0, 505.0, 500.0, 500.0, 500.0]).reshape(1, 1, 1, 7)
    found = depth_gate(predicted, measured, 10.0).flatten().tolist()
    assert found == [False, False, True, True, True, False, False]  # the limit itself is outside


@pytest.mark.parametrize("gate", [10.0, 3.0])
def test_depth_is_the_mean_absolute_error_inside_the_gate_in_vertex_std(gate: float) -> None:
    prediction, batch = case()
    predicted, measured = prediction.depth.double().numpy()[:, 0], batch.view.depth.double().numpy()[:, 0]
    inside = gate_of(predicted, measured, gate)
    assert 0.02 < inside.mean() < 0.4
    std = fx.summary().vertex_std
    expected = [np.abs(predicted[i] - measured[i])[inside[i]].mean() / std for i in range(2)]
    np.testing.assert_allclose(bound(DepthLoss(gate_mm=gate))(prediction, batch), expected, rtol=1e-4)


def test_the_gradient_of_depth_is_the_sign_inside_the_gate() -> None:
    prediction, batch = case()
    prediction.depth.requires_grad_()
    bound(DepthLoss())(prediction, batch).sum().backward()
    predicted, measured = prediction.depth.detach(), batch.view.depth
    inside = depth_gate(predicted, measured, 10.0)
    count = inside.flatten(1).sum(1)[:, None, None, None]
    expected = torch.sign(predicted - measured) * inside / count / fx.summary().vertex_std
    torch.testing.assert_close(prediction.depth.grad, expected)


@pytest.mark.parametrize("squared", [True, False])
def test_normals_are_compared_where_pixel_right_and_below_pass_the_gate(squared: bool) -> None:
    prediction, batch = case()
    expected = []
    for i in range(2):
        predicted, measured = (d[i, 0].double().numpy() for d in (prediction.depth, batch.view.depth))
        K = batch.view.camera.K[i].double().numpy()
        inside = gate_of(predicted, measured)
        whole = inside[:-1, :-1] & inside[:-1, 1:] & inside[1:, :-1]
        assert whole.sum() > 30
        # off the gate any depth will do: it is not looked at
        filled = [np.where(inside, d, 500.0) for d in (predicted, measured)]
        difference = numpy_normals(filled[0], K) - numpy_normals(filled[1], K)
        mean = (difference[whole] ** 2).mean()
        expected.append(mean if squared else np.sqrt(mean))
    np.testing.assert_allclose(bound(NormalLoss(squared=squared))(prediction, batch), expected, rtol=2e-3)


def test_the_gradient_of_normals_agrees_with_finite_differences() -> None:
    prediction, batch = case()
    loss = bound(NormalLoss())
    camera = dataclasses.replace(batch.view.camera, K=batch.view.camera.K.double())
    batch.view = dataclasses.replace(batch.view, depth=batch.view.depth.double(), camera=camera)
    depth = prediction.depth.double().requires_grad_()
    loss(Prediction(depth=depth), batch).sum().backward()
    places = depth_gate(depth, batch.view.depth, 9.0).nonzero()
    for place in places[:: len(places) // 6].tolist():
        shift = torch.zeros_like(depth)
        shift[tuple(place)] = 0.3
        with torch.no_grad():
            up, down = (loss(Prediction(depth=depth + s), batch).double().sum() for s in (shift, -shift))
        # the reduction is in float32, so the step is large: a few parts in a hundred
        assert float(depth.grad[tuple(place)]) == pytest.approx(float(up - down) / 0.6, rel=0.08, abs=3e-6)


def test_a_perfect_prediction_costs_nothing() -> None:
    _, batch = case()
    prediction = Prediction(depth=batch.view.depth.clone())
    for loss in (bound(DepthLoss()), bound(NormalLoss())):
        torch.testing.assert_close(loss(prediction, batch), torch.zeros(2))


@pytest.mark.parametrize("loss", [DepthLoss(), NormalLoss()], ids=["depth", "normal"])
def test_images_without_depth_count_zero(loss: DepthLoss | NormalLoss) -> None:
    prediction, batch = case()
    prediction.depth.requires_grad_()
    whole = bound(loss)(prediction, batch)
    batch.view.depth[1] = 0  # this camera has none
    found = loss(prediction, batch)
    torch.testing.assert_close(found, torch.stack([whole[0], torch.tensor(0.0)]))
    batch.view.depth = None  # no camera has
    found = loss(prediction, batch)
    found.sum().backward()
    torch.testing.assert_close(found.detach(), torch.zeros(2))
    assert (prediction.depth.grad == 0).all()
