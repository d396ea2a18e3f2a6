"""What PiCA's losses reach: geometry through surface coordinates and not through positions; the moving mean."""

from __future__ import annotations

import fixtures as fx
import numpy as np
import pytest
import torch

from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.losses.image import ImageLoss
from avatarzoo.models.pica import PiCA


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


def test_the_image_reaches_geometry_through_uv_and_not_through_positions(batch: HeadBatch) -> None:
    model = fx.lively_pica()
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
    model = fx.lively_pica()
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
    model = fx.lively_pica().eval()
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
    model = fx.lively_pica(model__mean_mesh_rate=0.25)
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


@pytest.mark.parametrize("block", ["D+", "D", "A+", "A"])
def test_every_block_layout_trains(block: str, batch: HeadBatch) -> None:
    gradients = image_gradient(fx.lively_pica(model__block=block), batch)
    assert all(torch.isfinite(grad).all() for grad in gradients.values())


def test_a_few_steps_learn_the_picture() -> None:
    model, batch = fx.lively_pica(model__colour_gain=4.0, encoding__init_scale=0.1), fx.batch()
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
