"""Rays through occupancy grids: kernels against the sorting twin and closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from avatarzoo.volume.march import distances, mark_near, occupied_length
from avatarzoo.volume.occupancy import OccupancyGrid, box_grid, pack, unpack
from avatarzoo.volume.rays import Rays
from avatarzoo.volume.sampling import stratified


def random_rays(count: int, images: int = 1) -> Rays:
    torch.manual_seed(0)
    origins = torch.randn(count, 3)
    origins = 300 * origins / origins.norm(dim=1, keepdim=True)
    directions = torch.nn.functional.normalize(40 * torch.randn(count, 3) - origins, dim=1)
    directions[0], origins[0] = torch.tensor([0.0, 0.0, -1.0]), torch.tensor([3.0, -5.0, 300.0])  # along an axis
    return Rays(origins, directions, torch.ones(count), torch.arange(count) % images)


def random_grid(images: int) -> OccupancyGrid:
    grid = box_grid(torch.tensor([-80.0, -60, -50]), torch.tensor([80.0, 60, 40]), 16, images)
    torch.manual_seed(1)
    return OccupancyGrid(torch.rand(grid.occupied.shape) < 0.3, grid.low, grid.cell)


@pytest.mark.parametrize("images", [1, 2])
def test_kernels_agree_with_the_twin(images: int) -> None:
    rays, grid = random_rays(400, images), random_grid(images)
    total = occupied_length(rays, grid, backend="torch")
    torch.testing.assert_close(occupied_length(rays, grid), total, rtol=0, atol=2e-3)
    assert (total > 0).sum() > 300 and (total == 0).any()
    hit = total > 1
    some, places = rays.pick(hit), stratified(total[hit], 9, torch.rand(int(hit.sum()), 9))
    fast, slow = distances(some, grid, places), distances(some, grid, places, "torch")
    # rounding may put a sample at a border on either side of a gap; random places lie at none
    torch.testing.assert_close(fast, slow, rtol=0, atol=5e-3)
    points = some.at(fast)
    inside = grid.contains(points.reshape(-1, 3), some.image.repeat_interleave(9) if images > 1 else None)
    assert inside.float().mean() > 0.999


def test_lengths_of_closed_form() -> None:
    grid = box_grid(torch.tensor([-10.0, -10, -10]), torch.tensor([10.0, 10, 10]), 8, occupied=True)
    directions = torch.nn.functional.normalize(torch.tensor([[0.0, 0, -1], [1, 0, -1], [0, 1, 0]]), dim=1)
    origins = torch.tensor([[1.0, 2, 50], [-20.0, 3, 20], [50.0, 0, 0]])
    rays = Rays(origins, directions, torch.ones(3), torch.zeros(3, dtype=torch.long))
    expected = torch.tensor([20.0, 20 * math.sqrt(2), 0.0])
    for backend in ("warp", "torch"):
        torch.testing.assert_close(occupied_length(rays, grid, backend=backend), expected, rtol=1e-5, atol=1e-4)
    ends = distances(rays.pick(torch.tensor([0])), grid, torch.tensor([[0.0, 5, 20]]))
    torch.testing.assert_close(ends, torch.tensor([[40.0, 45, 60]]))


def test_a_limit_ends_a_ray() -> None:
    grid = box_grid(torch.zeros(3), torch.full((3,), 10.0), 10, occupied=True)
    grid.occupied[:, :, :, 3:7] = False
    ray = Rays(torch.tensor([[5.5, 5.5, -5]]), torch.tensor([[0.0, 0, 1]]), torch.ones(1), torch.zeros(1, dtype=torch.long))
    for limit, length in ((2.0, 0.0), (6.5, 1.5), (10.0, 3.0), (13.0, 4.0), (torch.inf, 6.0)):
        for backend in ("warp", "torch"):
            found = occupied_length(ray, grid, torch.tensor([limit]), backend)
            torch.testing.assert_close(found, torch.tensor([length]))


def test_an_empty_gap_is_jumped_over() -> None:
    grid = box_grid(torch.zeros(3), torch.full((3,), 10.0), 10, occupied=True)
    grid.occupied[:, :, :, 3:7] = False
    ray = Rays(torch.tensor([[5.5, 5.5, -5]]), torch.tensor([[0.0, 0, 1]]), torch.ones(1), torch.zeros(1, dtype=torch.long))
    torch.testing.assert_close(occupied_length(ray, grid), torch.tensor([6.0]))
    places = torch.tensor([[0.0, 2.5, 3.5, 6.0]])
    for backend in ("warp", "torch"):
        torch.testing.assert_close(distances(ray, grid, places, backend), torch.tensor([[5.0, 7.5, 12.5, 15.0]]))


def test_marking_is_exactly_what_comes_near() -> None:
    grid = box_grid(torch.full((3,), -50.0), torch.full((3,), 50.0), 20, images=2)
    torch.manual_seed(2)
    points = 60 * torch.rand(2, 30, 3) - 30
    fast, slow = mark_near(grid, points, 9.0), mark_near(grid, points, 9.0, "torch")
    assert torch.equal(fast.occupied, slow.occupied)
    assert fast.contains(points[1], torch.ones(30, dtype=torch.long)).all()
    assert 0 < fast.occupied.float().mean() < 1


def test_grids_grow_pack_and_say_where_they_lie() -> None:
    grid = box_grid(torch.tensor([0.0, 0, 0]), torch.tensor([10.0, 20, 40]), 8)
    assert grid.shape == (2, 4, 8)
    torch.testing.assert_close(grid.high, torch.tensor([10.0, 20, 40]))
    grid.occupied[0, 1, 2, 4] = True
    assert grid.contains(torch.tensor([[7.5, 12.5, 22.5], [2.5, 12.5, 22.5], [7.5, 12.5, 99.0]])).tolist() == [
        True,
        False,
        False,
    ]
    assert grid.contains(grid.centres()).sum() == 1
    assert grid.dilated().occupied.sum() == 2 * 3 * 3
    assert torch.equal(unpack(pack(grid.occupied), grid.occupied.shape), grid.occupied)
