"""Terms on the decoded geometry against NumPy."""

from __future__ import annotations

import fixtures as fx
import numpy as np
import pytest
import torch

from avatarzoo.batch import Prediction
from avatarzoo.errors import ConfigError
from avatarzoo.losses.geometry import SmoothnessLoss, TrackedMeshLoss


def vertex_uvs() -> np.ndarray:
    """A UV of each tracked vertex."""
    topology = fx.summary().topology
    uv = np.zeros((len(fx.summary().vertex_mean), 2))
    for corners, places in zip(topology.triangles.tolist(), topology.uv_triangles.tolist(), strict=True):
        for corner, place in zip(corners, places, strict=True):
            uv[corner] = topology.uvs[place].numpy()
    return uv


def inside(name: str) -> np.ndarray:
    mask = fx.summary().regions[name].numpy()
    index = np.minimum((vertex_uvs() * 64).astype(int), 63)
    return mask[index[:, 1], index[:, 0]]


@pytest.mark.parametrize("exclude", [["mouth"], ["mouth", "eyes"], []])
@pytest.mark.parametrize("squared", [True, False])
def test_the_tracked_mesh_counts_away_from_the_mouth(exclude: list[str], squared: bool) -> None:
    batch, summary = fx.batch(), fx.summary()
    shift = torch.randn(batch.mesh.vertices.shape, generator=torch.Generator().manual_seed(0))
    loss = TrackedMeshLoss(exclude=exclude, squared=squared)
    loss.bind(summary)
    keep = np.ones(shift.shape[1], dtype=bool)
    for name in exclude:
        keep &= ~inside(name)
    assert not exclude or 0 < (~keep).sum() < 40
    expected = np.array([(shift[i].double().numpy()[keep] ** 2).mean() / summary.vertex_std**2 for i in range(2)])
    found = loss(Prediction(extras={"tracked_vertices": batch.mesh.vertices + shift}), batch)
    np.testing.assert_allclose(found, expected if squared else np.sqrt(expected), rtol=1e-4)


def test_regions_of_the_tracked_mesh_count_more() -> None:
    batch, summary = fx.batch(), fx.summary()
    shift = torch.randn(batch.mesh.vertices.shape, generator=torch.Generator().manual_seed(1))
    loss = TrackedMeshLoss(exclude=["mouth"], region_weights={"eyes": 5.0})
    loss.bind(summary)
    keep, eyes = ~inside("mouth"), inside("eyes")
    assert eyes.any() and not (eyes & ~keep).any()
    squares = (shift.double().numpy() ** 2) * np.where(eyes, 5.0, 1.0)[None, :, None]
    expected = squares[:, keep].mean(axis=(1, 2)) / summary.vertex_std**2
    found = loss(Prediction(extras={"tracked_vertices": batch.mesh.vertices + shift}), batch)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_an_unknown_region_of_the_tracked_mesh_is_named() -> None:
    with pytest.raises(ConfigError, match=r"region_weights names 'eye', which the capture lacks.*eyes"):
        TrackedMeshLoss(region_weights={"eye": 5.0}).bind(fx.summary())


def test_excluded_vertices_get_no_gradient() -> None:
    batch = fx.batch()
    loss = TrackedMeshLoss()
    loss.bind(fx.summary())
    vertices = (batch.mesh.vertices + 1).requires_grad_()
    loss(Prediction(extras={"tracked_vertices": vertices}), batch).sum().backward()
    mouth = torch.from_numpy(inside("mouth"))
    assert (vertices.grad[:, mouth] == 0).all()
    count, std = int((~mouth).sum()), fx.summary().vertex_std
    torch.testing.assert_close(vertices.grad[:, ~mouth], torch.full((2, count, 3), 2 / std**2 / (3 * count)))


def smooth_case() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    chart = torch.rand(7, 7, generator=generator) < 0.75
    return {
        "position_map": torch.randn(2, 3, 7, 7, generator=generator),
        "mean_map": torch.randn(3, 7, 7, generator=generator),
        "chart": chart,
        "laplacian": torch.randn(2, 11, 3, generator=generator),
        "smooth_region": torch.arange(11) % 3 == 0,
    }


def smooth_reference(extras: dict, of: str, weights: tuple[float, float, float, float], squared: bool) -> np.ndarray:
    """Texel by texel, vertex by vertex."""
    gradient, bend, high, low = weights
    std, chart = fx.summary().vertex_std, extras["chart"].numpy()
    values = []
    for i in range(2):
        values_map = extras["position_map"][i].double().numpy()
        if of == "position":
            values_map = values_map + extras["mean_map"].double().numpy()
        dx, dy = [], []
        for row in range(7):
            for column in range(7):
                here = values_map[:, row, column]
                if column < 6 and chart[row, column] and chart[row, column + 1]:
                    dx.append((values_map[:, row, column + 1] - here) ** 2)
                if row < 6 and chart[row, column] and chart[row + 1, column]:
                    dy.append((values_map[:, row + 1, column] - here) ** 2)
        lift = extras["laplacian"][i].double().numpy() / std
        lift = lift * np.where(extras["smooth_region"].numpy(), high, low)[:, None]
        root = (lambda x: x) if squared else np.sqrt
        values.append(gradient * (root(np.mean(dx)) + root(np.mean(dy))) + bend * root(np.mean(lift**2)))
    return np.array(values)


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("of", ["position", "offset"])
def test_smoothness_is_the_sum_of_its_parts(of: str, squared: bool) -> None:
    extras = smooth_case()
    loss = SmoothnessLoss(gradient=1.0, laplacian=0.1, high=1.25, low=0.25, of=of, squared=squared)
    loss.bind(fx.summary())
    expected = smooth_reference(extras, of, (1.0, 0.1, 1.25, 0.25), squared)
    np.testing.assert_allclose(loss(Prediction(extras=extras), fx.batch()), expected, rtol=1e-5)


def test_the_default_weights_are_the_papers() -> None:
    extras = smooth_case()
    loss = SmoothnessLoss()
    loss.bind(fx.summary())
    expected = smooth_reference(extras, "position", (1.0, 0.1, 1.25, 0.25), True)
    np.testing.assert_allclose(loss(Prediction(extras=extras), fx.batch()), expected, rtol=1e-5)


@pytest.mark.parametrize("part", [0, 1])
def test_each_part_has_its_weight(part: int) -> None:
    extras = smooth_case()
    weights = [0.0, 0.0, 2.0, 0.5]
    weights[part] = 3.0
    loss = SmoothnessLoss(gradient=weights[0], laplacian=weights[1], high=2.0, low=0.5)
    loss.bind(fx.summary())
    found = loss(Prediction(extras=extras), fx.batch())
    np.testing.assert_allclose(found, smooth_reference(extras, "position", tuple(weights), True), rtol=1e-5)


def test_differences_across_a_chart_s_border_do_not_count() -> None:
    extras = smooth_case()
    extras["chart"] = torch.zeros(7, 7, dtype=torch.bool)
    extras["chart"][:, :3], extras["chart"][:, 4:] = True, True  # two charts with a gap
    extras["position_map"] = torch.zeros(2, 3, 7, 7)
    extras["position_map"][..., 4:] = 100.0
    loss = SmoothnessLoss(of="offset", laplacian=0.0)
    loss.bind(fx.summary())
    torch.testing.assert_close(loss(Prediction(extras=extras), fx.batch()), torch.zeros(2))


def test_the_gradient_of_smoothness_agrees_with_differences() -> None:
    extras = smooth_case()
    loss = SmoothnessLoss()
    loss.bind(fx.summary())
    for name, place in (("position_map", (0, 1, 3, 3)), ("position_map", (1, 2, 0, 5)), ("laplacian", (1, 3, 2))):
        values = extras[name].clone().requires_grad_()
        loss(Prediction(extras=extras | {name: values}), fx.batch()).sum().backward()
        shift = torch.zeros_like(values)
        shift[place] = 0.5  # quadratic: central differences are exact at any step
        up, down = (loss(Prediction(extras=extras | {name: extras[name] + s}), fx.batch()).sum() for s in (shift, -shift))
        assert float(values.grad[place]) == pytest.approx(float(up - down), rel=1e-2, abs=1e-5)


def test_touching_charts_do_not_smooth_each_other() -> None:
    """Two charts side by side, 10 apart: each is flat, so the gradient is 0; one chart of them all is not."""
    extras = smooth_case()
    extras["mean_map"] = torch.zeros(3, 7, 7)
    extras["position_map"] = torch.zeros(2, 3, 7, 7)
    extras["position_map"][..., 3:] = 10.0
    extras["chart"] = torch.ones(7, 7, dtype=torch.int64)
    loss = SmoothnessLoss(laplacian=0.0)
    loss.bind(fx.summary())
    one_of_six = torch.full((2,), 100 / 6)
    torch.testing.assert_close(loss(Prediction(extras=extras), fx.batch()), one_of_six)
    extras["chart"][:, 3:] = 2
    assert (loss(Prediction(extras=extras), fx.batch()) == 0).all()
    extras["chart"][:] = 0
    assert (loss(Prediction(extras=extras), fx.batch()) == 0).all()


def test_tracked_vertices_of_no_triangle_do_not_count() -> None:
    batch, summary = fx.batch(), fx.summary()
    loose = torch.full((1, 3), 50.0)
    summary.vertex_mean = torch.cat([summary.vertex_mean, loose])
    loss, clean = TrackedMeshLoss(), TrackedMeshLoss()
    loss.bind(summary)
    clean.bind(fx.summary())
    shift = torch.randn(batch.mesh.vertices.shape, generator=torch.Generator().manual_seed(0))
    expected = clean(Prediction(extras={"tracked_vertices": batch.mesh.vertices + shift}), batch)
    wide = Prediction(extras={"tracked_vertices": torch.cat([batch.mesh.vertices + shift, torch.zeros(2, 1, 3)], 1)})
    batch.mesh.vertices = torch.cat([batch.mesh.vertices, loose.expand(2, 1, 3)], 1)
    torch.testing.assert_close(loss(wide, batch), expected)


def test_what_tracked_mesh_keeps_moves_once() -> None:
    loss = TrackedMeshLoss()
    loss.bind(fx.summary())
    loss.move_to(torch.device("meta"))
    assert loss.mask.device.type == loss.factor.device.type == "meta"
