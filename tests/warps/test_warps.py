"""Warps: identity at the start, rotations against SciPy, windows, schedules, sizes."""

from __future__ import annotations

import fixtures as fx
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from avatarzoo import registry
from avatarzoo.config import load
from avatarzoo.models.base import Model
from avatarzoo.schedules import is_fraction
from avatarzoo.warps.base import Warp
from avatarzoo.warps.se3 import SE3, rotate


class Owner:
    """What a warp reads of a model."""

    def __init__(self, iteration: int = 0, progress: float = 0.0, training: bool = True) -> None:
        self.iteration, self.progress, self.training = iteration, progress, training


def build(name: str, **options: object) -> Warp:
    torch.manual_seed(0)
    warp = registry.build("warp", {"name": name, **options})
    warp.bind(fx.summary())
    return warp


@pytest.fixture(params=fx.built_in("warp"))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_each_starts_as_the_identity(name: str) -> None:
    warp = build(name)
    points, frame = 80 * torch.randn(50, 3), torch.arange(50) % 3
    assert (warp(points, frame) - points).norm(dim=1).max() < 0.5  # mm
    vertices = points.reshape(2, 25, 3)
    moved = warp.of_vertices(vertices, torch.tensor([0, 2]))
    torch.testing.assert_close(moved[1], warp(vertices[1], torch.full((25,), 2)))


def test_each_is_off_at_test_time_and_before_its_start(name: str) -> None:
    assert not build(name).is_on(Owner(10**6, 1.0, training=False))
    if name != "none":
        for start, before, after in ((100, Owner(99, 0.9), Owner(100, 0.0)), (0.25, Owner(99, 0.2), Owner(1, 0.3))):
            warp = build(name, start=start)
            assert not warp.is_on(before) and warp.is_on(after)
    assert Model.iteration == 0  # what warps count by is there from the start


@pytest.mark.parametrize("name", sorted(set(fx.built_in("warp")) - {"none"}))
def test_every_frame_moves_by_itself_and_learns(name: str) -> None:
    coarse = {"window": 10**6} if name == "se3" else {}  # the first band only: these motions are smooth
    warp = build(name, start=0, **coarse)
    optimizer = torch.optim.Adam(warp.parameters(), lr=1e-2)
    points = 60 * torch.randn(200, 3)
    target = points + torch.tensor([[4.0, 0, 0], [-3.0, 2, 0], [0.0, 0, 0]]).repeat_interleave(200, 0).view(3, 200, 3)
    for step in range(150):
        assert warp.is_on(Owner(step, step / 150))
        loss = sum((warp(points, torch.full((200,), f)) - target[f]).square().mean() for f in range(3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.5
    assert set(warp.penalties(torch.tensor([0, 2]))) == {"warp_latent"}
    assert warp.penalties(torch.tensor([0, 2]))["warp_latent"].shape == (2,)


def test_rotations_are_scipys_by_twice_the_length() -> None:
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(30, 3, generator=generator, dtype=torch.float64)
    v[0], v[1] = 0.0, 1e-7
    points = torch.randn(30, 3, generator=generator, dtype=torch.float64)
    expected = Rotation.from_rotvec(2 * v.numpy()).apply(points.numpy())
    np.testing.assert_allclose(rotate(v, points).numpy(), expected, atol=1e-12)


def test_rotations_have_gradients_at_zero_and_elsewhere() -> None:
    v = torch.tensor([[0.0, 0, 0], [0.3, -0.2, 0.5]], dtype=torch.float64, requires_grad=True)
    points = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rotate, (v, points))
    (gradient,) = torch.autograd.grad(rotate(v.float(), points.detach().float())[0, 1], v)
    assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0


def test_the_network_is_as_large_as_published() -> None:
    warp = SE3(latent=8)
    backbone = sum(p.numel() for p in warp.backbone.parameters())
    branches = sum(p.numel() for p in warp.branches.parameters())
    assert (backbone, branches) == (72_192, 50_697)
    assert sum(p.numel() for p in SE3(latent=8, branch_hidden=2).branches.parameters()) + backbone == 172_425


def test_bands_open_coarse_to_fine() -> None:
    warp = build("se3", start=0, window=80)
    weights = []
    for step in (0, 20, 40, 80, 200):
        assert warp.is_on(Owner(step))
        weights.append(warp.encoding.weights())
    assert weights[0].abs().max() == 0 and torch.equal(weights[3], torch.ones(6)) and torch.equal(weights[4], torch.ones(6))
    torch.testing.assert_close(weights[1], torch.tensor([1.0, 0.5, 0, 0, 0, 0]))  # alpha = 1.5
    assert (weights[2][1:] <= weights[2][:-1]).all()
    small = build("se3", start=0.1, window=0.5)
    assert small.is_on(Owner(3, 0.25))
    torch.testing.assert_close(small.encoding.alpha, torch.tensor(3.0))


def test_pica_draws_warped_vertices_in_training_only() -> None:
    from avatarzoo.batch import Driving
    from avatarzoo.build import build_model

    torch.manual_seed(0)
    model = build_model(fx.pica_config() | {"warp": {"name": "translation"}}, fx.summary())
    batch = fx.batch()
    batch.driving = Driving(frame=torch.tensor([0, 2]))
    with torch.no_grad():
        still, picture = model.train().predict(batch, "fit", {}), model.eval().render(batch)
        model.warp.shifts.weight[:, 0] = 3.0  # of 10 mm
        moved = model.train().predict(batch, "fit", {})
    assert (moved.coverage != still.coverage).any() and torch.equal(moved.vertices, still.vertices)
    assert torch.equal(model.eval().render(batch).image, picture.image)
    assert "warp" in model.parts() and "driving.frame" in model.requires


@pytest.mark.parametrize(
    ("recipe", "scale", "steps"),
    [
        ("hash_blendshapes", "paper", (5000, 80_000)),
        ("hash_blendshapes_no_warp", "paper", (5000, 80_000)),
        ("pica_full", "paper", (5000, 80_000)),
        ("hash_blendshapes", "small", (800, 4000)),
        ("pica_full", "small", (100, 1600)),
    ],
)
def test_schedules_are_the_papers_at_paper_scale_and_parts_of_the_run_in_small(
    recipe: str, scale: str, steps: tuple[int, int]
) -> None:
    config = load(recipe, ["warp=se3", f"scale={scale}"]).resolved
    warp, total = registry.build("warp", config["warp"]), config["trainer"]["max_steps"]
    found = [span * total if is_fraction(span) else span for span in (warp.start, warp.window)]
    assert found == pytest.approx(steps)
    if recipe == "hash_blendshapes" and scale == "paper":
        assert (config["warp"]["start"], config["warp"]["window"]) == (5000, 80_000)  # absolute, as published
