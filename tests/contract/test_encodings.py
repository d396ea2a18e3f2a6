"""Every registered encoding passes the same checks."""

from __future__ import annotations

from typing import Any

import fixtures as fx
import pytest
import torch

from avatarzoo import registry
from avatarzoo.encodings.base import Encoding
from avatarzoo.errors import ConfigError

#: options that keep an encoding small; the defaults otherwise
SMALL: dict[str, dict[str, Any]] = {
    "learned_maps": {"size": 8, "length": 20},
    "hash_grid": {"levels": 3, "log2_table_size": 7, "coarsest": 3, "finest": 12, "init_scale": 1.0},
}


def build(name: str, in_dim: int) -> Encoding:
    torch.manual_seed(0)
    encoding = registry.build("encoding", {"name": name, **SMALL.get(name, {})}, in_dim)
    encoding.bind(fx.summary())
    return encoding


def cases() -> list[tuple[str, int]]:
    """Names with the numbers of coordinates they take; one that takes neither 2 nor 3 is an error below."""
    found = []
    for name in fx.built_in("encoding"):
        for in_dim in (2, 3):
            try:
                build(name, in_dim)
            except ConfigError:
                continue
            found.append((name, in_dim))
    return found


CASES = cases()


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}d")
def case(request: pytest.FixtureRequest) -> tuple[str, int]:
    return request.param


def points_of(in_dim: int, count: int = 50, seed: int = 1) -> torch.Tensor:
    return 0.02 + 0.96 * torch.rand(count, in_dim, generator=torch.Generator().manual_seed(seed))


def test_each_takes_surface_coordinates_or_points() -> None:
    assert {name for name, _ in CASES} == set(fx.built_in("encoding"))


def test_shape_and_dtype(case: tuple[str, int]) -> None:
    encoding = build(*case)
    assert (encoding.in_dim, isinstance(encoding.out_dim, int)) == (case[1], True)
    found = encoding(points_of(case[1]))
    assert found.shape == (50, encoding.out_dim)
    expected = next((p.dtype for p in encoding.parameters()), torch.float32)
    assert found.dtype == expected
    assert torch.isfinite(found).all()
    torch.testing.assert_close(encoding(points_of(case[1])), found, rtol=0, atol=0)


def test_no_points(case: tuple[str, int]) -> None:
    encoding = build(*case)
    found = encoding(torch.zeros(0, case[1], requires_grad=True))
    assert found.shape == (0, encoding.out_dim)
    if found.requires_grad:
        found.sum().backward()


def test_a_point_s_features_do_not_depend_on_the_others(case: tuple[str, int]) -> None:
    encoding, points = build(*case), points_of(case[1])
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(encoding(points[order]), encoding(points)[order])
    torch.testing.assert_close(encoding(points[7:8]), encoding(points)[7:8])


def test_coordinates_outside_0_to_1_give_finite_features(case: tuple[str, int]) -> None:
    encoding = build(*case)
    generator = torch.Generator().manual_seed(0)
    edge = torch.cat([torch.zeros(1, case[1]), torch.ones(1, case[1]), torch.randn(60, case[1], generator=generator) * 3])
    points = edge.requires_grad_()
    found = encoding(points)
    assert torch.isfinite(found).all()
    if found.requires_grad:
        found.sum().backward()
        assert points.grad is None or torch.isfinite(points.grad).all()


def test_the_gradient_of_the_parameters(case: tuple[str, int]) -> None:
    encoding, points = build(*case), points_of(case[1])
    parameters = list(encoding.parameters())
    if not parameters:
        return
    generator = torch.Generator().manual_seed(2)
    seed = torch.randn(50, encoding.out_dim, generator=generator)
    (encoding(points) * seed).sum().backward()
    for parameter in parameters:
        direction = torch.randn(parameter.shape, generator=generator)
        expected = float((parameter.grad.double() * direction).sum())
        values = []
        with torch.no_grad():
            for step in (0.1, -0.1):
                parameter += step * direction
                values.append(float((encoding(points).double() * seed).sum()))
                parameter -= step * direction
        assert (values[0] - values[1]) / 0.2 == pytest.approx(expected, rel=2e-3, abs=2e-3)


def test_the_gradient_of_the_coordinates(case: tuple[str, int]) -> None:
    encoding, points = build(*case), points_of(case[1]).requires_grad_()
    seed = torch.randn(50, encoding.out_dim, generator=torch.Generator().manual_seed(2))
    total = (encoding(points) * seed).sum()
    if encoding.out_dim == 0:
        return
    (grad,) = torch.autograd.grad(total, points)
    step, right = 2e-4, []
    for axis in range(case[1]):
        shift = torch.zeros(case[1])
        shift[axis] = step
        with torch.no_grad():
            up, down = (((encoding(points + s) * seed).double().sum(1)) for s in (shift, -shift))
        difference = (up - down) / (2 * step)
        right.append((difference - grad[:, axis]).abs() <= 0.02 * difference.abs() + 0.02)
    # an encoding may be linear in pieces: a point or two lie on a kink
    assert torch.stack(right).float().mean() > 0.95


def test_the_state_returns(case: tuple[str, int]) -> None:
    first, again = build(*case), build(*case)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(torch.rand_like(parameter))
    again.load_state_dict(first.state_dict())
    torch.testing.assert_close(again(points_of(case[1])), first(points_of(case[1])), rtol=0, atol=0)


def test_the_config_rebuilds_it(case: tuple[str, int]) -> None:
    encoding = build(*case)
    torch.manual_seed(0)
    again = registry.build("encoding", encoding.config, case[1])
    again.bind(fx.summary())
    torch.testing.assert_close(again(points_of(case[1])), encoding(points_of(case[1])), rtol=0, atol=0)
