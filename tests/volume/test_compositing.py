"""Compositing, sampling and rays against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from avatarzoo.batch import Camera
from avatarzoo.geometry.cameras import face_to_camera, project, to_camera
from avatarzoo.volume.compositing import composite, ray_weights
from avatarzoo.volume.rays import pixel_grid, pixel_rays
from avatarzoo.volume.sampling import importance, midpoint_edges, stratified


def test_a_slab_of_constant_density() -> None:
    density, thickness, near = 0.03, 40.0, 100.0
    samples = stratified(torch.tensor([thickness]), 64)
    delta = midpoint_edges(samples, torch.tensor([thickness])).diff(dim=1)
    colour = torch.tensor([0.2, 0.5, 0.9]).expand(1, 64, 3)
    background = torch.tensor([1.0, 0.0, 0.5])
    seen = composite(torch.full((1, 64), density), colour, delta, near + samples, background)
    alpha = 1 - math.exp(-density * thickness)
    torch.testing.assert_close(seen.alpha, torch.tensor([alpha]), rtol=1e-5, atol=0)  # exact for piecewise constant
    expected = alpha * colour[0, 0] + (1 - alpha) * background
    torch.testing.assert_close(seen.colour[0], expected, rtol=1e-5, atol=1e-6)
    # mean depth of absorption: 1/d - L e^{-dL} / (1 - e^{-dL})
    mean = 1 / density - thickness * math.exp(-density * thickness) / alpha
    assert abs(float(seen.distance) - near - mean) < 0.01


def test_a_dense_sphere() -> None:
    radius, centre, step = 50.0, torch.tensor([0.0, 0, 400]), 0.05
    directions = torch.nn.functional.normalize(torch.tensor([[0.0, 0, 1], [0.05, 0.03, 1], [0.2, 0, 1]]), dim=1)
    distance = torch.arange(330, 470, step).expand(3, -1)
    points = distance[..., None] * directions[:, None]
    offset = points - centre
    inside = offset.norm(dim=-1) < radius
    seen = composite(50.0 * inside, points, torch.full_like(distance, step), distance, normals=offset)
    along = directions @ centre
    half = (radius**2 - (centre.square().sum() - along**2)).clamp_min(0).sqrt()
    assert seen.alpha[:2].min() > 0.999 and seen.alpha[2] == 0 and seen.distance[2] == 0
    torch.testing.assert_close(seen.distance[:2], (along - half)[:2], rtol=0, atol=0.1)
    normal = torch.nn.functional.normalize((along - half)[:2, None] * directions[:2] - centre, dim=1)
    torch.testing.assert_close(seen.normal[:2], normal, rtol=0, atol=5e-3)


def test_weights_are_what_a_loop_gives() -> None:
    torch.manual_seed(0)
    density, delta = torch.rand(5, 7, dtype=torch.float64), torch.rand(5, 7, dtype=torch.float64)
    weights, left = ray_weights(density, delta)
    for n in range(5):
        light = 1.0
        for s in range(7):
            share = 1 - math.exp(-float(density[n, s] * delta[n, s]))
            assert float(left[n, s]) == pytest.approx(light, rel=1e-12)
            assert float(weights[n, s]) == pytest.approx(light * share, rel=1e-12)
            light *= 1 - share
    density.requires_grad_()
    assert torch.autograd.gradcheck(lambda d: ray_weights(d, delta)[0], density)


def test_stratified_and_edges() -> None:
    total = torch.tensor([8.0, 4.0])
    torch.testing.assert_close(stratified(total, 4), torch.tensor([[1.0, 3, 5, 7], [0.5, 1.5, 2.5, 3.5]]))
    noise = torch.rand(2, 4)
    places = stratified(total, 4, noise)
    assert (places.diff(dim=1) > 0).all() and ((places / total[:, None] * 4).floor() == torch.arange(4)).all()
    edges = midpoint_edges(places, total)
    torch.testing.assert_close(edges.diff(dim=1).sum(1), total)
    assert (edges[:, 1:] >= places).all() and (edges[:, :-1] <= places).all()


def test_importance_follows_the_weights() -> None:
    edges = torch.tensor([[0.0, 1, 2, 4]])
    weights = torch.tensor([[1.0, 0, 3]])
    places = importance(edges, weights, 4000, floor=0.0)[0]
    counts = torch.histc(places, bins=4, min=0, max=4)
    torch.testing.assert_close(counts / 4000, torch.tensor([0.25, 0, 0.375, 0.375]), rtol=0, atol=2e-3)
    assert (places.diff() >= 0).all()
    even = importance(edges, torch.zeros(1, 3), 300)[0]  # nothing was found: a third of them in each interval
    torch.testing.assert_close(torch.histc(even, bins=4, min=0, max=4), torch.tensor([100.0, 100, 50, 50]))
    spread = importance(edges, weights, 4000, floor=0.3)[0]
    assert ((spread > 1) & (spread < 2)).sum() == pytest.approx(400, abs=3)


def test_rays_pass_through_their_pixels() -> None:
    K = torch.tensor([[[300.0, 2, 40.3], [0, 310, 30.7], [0, 0, 1]], [[200.0, 0, 20], [0, 200, 25], [0, 0, 1]]])
    turn = torch.linalg.qr(torch.randn(4, 3, 3, generator=torch.Generator().manual_seed(0)))[0]
    turn = turn * torch.linalg.det(turn)[:, None, None]
    camera = Camera(K, turn[:2], torch.tensor([[1.0, 2, 900], [-5, 9, 700]]), (60, 80))
    pose = torch.cat([turn[2:], torch.tensor([[[3.0], [4], [5]], [[0], [1], [-2]]])], dim=2)
    pixels = pixel_grid((60, 80))[::97].expand(2, -1, -1)
    rays = pixel_rays(camera, pose, pixels)
    count = pixels.shape[1]
    torch.testing.assert_close(rays.directions.norm(dim=1), torch.ones(2 * count))
    assert rays.image.tolist() == [0] * count + [1] * count
    distance = torch.full((2 * count, 1), 750.0)
    points = rays.at(distance)[:, 0].reshape(2, count, 3)
    in_camera = to_camera(points, *face_to_camera(camera, pose))
    torch.testing.assert_close(project(in_camera, K), pixels, rtol=0, atol=5e-3)
    torch.testing.assert_close(in_camera[..., 2].reshape(-1), 750 * rays.depth_scale, rtol=1e-4, atol=1e-2)
