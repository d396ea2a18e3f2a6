"""Every registered encoding passes the same checks."""

from __future__ import annotations

from typing import Any

import fixtures as fx
import pytest
import torch

from avatarzoo import registry
from avatarzoo.encodings.base import Encoding
from avatarzoo.errors import ConfigError

GRID = {"levels": 3, "log2_table_size": 7, "coarsest": 3, "finest": 12, "init_scale": 1.0}
#: options that keep an encoding small, and those that change what it does; the defaults otherwise
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "learned_maps": {"": {"size": 8, "length": 20}},
    "learned_map_2d": {"": {"size": 8}},
    "learned_maps_1d": {"": {"length": 20}},
    "hash_grid": {"": GRID, "torch": {**GRID, "backend": "torch"}},
    "sinusoidal": {"": {"bands": 4}, "window": {"bands": 4, "identity": True, "window": 0.5, "base_frequency": 1.0}},
}
Case = tuple[str, str, int]


def build(name: str, variant: str, in_dim: int) -> Encoding:
    torch.manual_seed(0)
    options = VARIANTS.get(name, {"": {}})[variant]
    encoding = registry.build("encoding", {"name": name, **options}, in_dim)
    encoding.bind(fx.summary())
    encoding.set_progress(0.3)
    return encoding


def cases() -> list[Case]:
    """Names with the numbers of coordinates they take; one that takes neither 2 nor 3 is an error below."""
    found = []
    for name in fx.built_in("encoding"):
        for variant in VARIANTS.get(name, {"": {}}):
            for in_dim in (2, 3):
                try:
                    build(name, variant, in_dim)
                except ConfigError:
                    continue
                found.append((name, variant, in_dim))
    return found


CASES = cases()


@pytest.fixture(params=CASES, ids=lambda case: "-".join(str(part) for part in case if part))
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def points_of(case: Case, count: int = 50, seed: int = 1, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return (0.02 + 0.96 * torch.rand(count, case[2], generator=torch.Generator().manual_seed(seed))).to(dtype)


def seed_of(encoding: Encoding, count: int = 50) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(count, encoding.out_dim, generator=generator, dtype=torch.float64)


def test_each_takes_surface_coordinates_or_points() -> None:
    assert {name for name, _, _ in CASES} == set(fx.built_in("encoding"))


def test_shape_and_dtype(case: Case) -> None:
    encoding = build(*case)
    assert (encoding.in_dim, isinstance(encoding.out_dim, int)) == (case[2], True)
    found = encoding(points_of(case))
    assert found.shape == (50, encoding.out_dim)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    torch.testing.assert_close(encoding(points_of(case)), found, rtol=0, atol=0)


def test_out_dim_is_known_before_anything_is_stored(case: Case) -> None:
    name, variant, in_dim = case
    with torch.device("meta"):
        described = registry.build("encoding", {"name": name, **VARIANTS.get(name, {"": {}})[variant]}, in_dim)
    assert described.out_dim == build(*case)(points_of(case)).shape[1]
    assert all(parameter.device.type == "meta" for parameter in described.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_is_that_of_the_parameters_or_else_of_the_points(case: Case, dtype: torch.dtype) -> None:
    encoding = build(*case)
    expected = encoding(points_of(case)).detach()
    encoding.to(dtype)
    has_parameters = any(True for _ in encoding.parameters())
    points = points_of(case, dtype=torch.float32 if has_parameters else dtype)
    found = encoding(points)
    assert found.dtype == dtype
    if not has_parameters:  # coordinates in half precision are other coordinates
        expected = build(*case)(points.float())
    eps = max(torch.finfo(dtype).eps, 1e-5)
    torch.testing.assert_close(found.float(), expected.float(), rtol=2 * eps, atol=2 * eps)
    if found.requires_grad:
        found.sum().backward()
        assert all(p.grad.dtype == dtype and p.grad.isfinite().all() for p in encoding.parameters())


def test_nothing_changes_under_autocast(case: Case) -> None:
    encoding = build(*case)
    expected = encoding(points_of(case))
    with torch.autocast("cpu", torch.bfloat16):
        found = encoding(points_of(case))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_no_points(case: Case) -> None:
    encoding = build(*case)
    found = encoding(torch.zeros(0, case[2], requires_grad=True))
    assert found.shape == (0, encoding.out_dim)
    if found.requires_grad:
        found.sum().backward()
        assert all(p.grad is None or not p.grad.any() for p in encoding.parameters())


def test_a_point_s_features_do_not_depend_on_the_others(case: Case) -> None:
    encoding, points = build(*case), points_of(case)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(encoding(points[order]), encoding(points)[order])
    torch.testing.assert_close(encoding(points[7:8]), encoding(points)[7:8])


def test_points_may_lie_apart_in_memory(case: Case) -> None:
    encoding, points = build(*case), points_of(case)
    torch.testing.assert_close(encoding(points.T.contiguous().T), encoding(points))
    torch.testing.assert_close(encoding(points[::3]), encoding(points)[::3])


def test_the_first_table_is_meant_where_there_is_one(case: Case) -> None:
    encoding, points = build(*case), points_of(case)
    table = torch.zeros(50, dtype=torch.int64)
    torch.testing.assert_close(encoding(points, table), encoding(points), rtol=0, atol=0)


def test_coordinates_outside_0_to_1_give_finite_features(case: Case) -> None:
    encoding = build(*case)
    generator = torch.Generator().manual_seed(0)
    edge = torch.cat([torch.zeros(1, case[2]), torch.ones(1, case[2]), torch.randn(60, case[2], generator=generator) * 3])
    points = edge.requires_grad_()
    found = encoding(points)
    assert torch.isfinite(found).all()
    if found.requires_grad:
        found.sum().backward()
        assert points.grad is None or torch.isfinite(points.grad).all()


def test_the_gradient_of_the_parameters(case: Case) -> None:
    """Against differences in float64: in float64 to eleven digits, in float32 to four."""
    encoding = build(*case)
    parameters = list(encoding.parameters())
    if not parameters:
        return
    seed = seed_of(encoding)
    (encoding(points_of(case)) * seed).sum().backward()
    single = [parameter.grad.double() for parameter in parameters]
    encoding.double().zero_grad()
    points = points_of(case, dtype=torch.float64)
    (encoding(points) * seed).sum().backward()
    generator = torch.Generator().manual_seed(3)
    for parameter, grad in zip(parameters, single, strict=True):
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        values = []
        with torch.no_grad():
            for step in (1e-2, -1e-2):
                parameter += step * direction
                values.append(float((encoding(points) * seed).sum()))
                parameter -= step * direction
        difference = (values[0] - values[1]) / 2e-2
        assert float((parameter.grad * direction).sum()) == pytest.approx(difference, rel=1e-10, abs=1e-10)
        assert float((grad * direction).sum()) == pytest.approx(difference, rel=1e-4, abs=1e-4)


def test_the_gradient_of_the_coordinates(case: Case) -> None:
    encoding = build(*case)
    if encoding.out_dim == 0:
        return
    seed = seed_of(encoding)
    points = points_of(case).requires_grad_()
    (single,) = torch.autograd.grad((encoding(points) * seed).sum(), points)
    encoding.double()
    points = points.detach().double().requires_grad_()
    (grad,) = torch.autograd.grad((encoding(points) * seed).sum(), points)
    step, differences = 1e-6, []
    for axis in range(case[2]):
        shift = torch.zeros(case[2], dtype=torch.float64)
        shift[axis] = step
        with torch.no_grad():
            up, down = (((encoding(points + s) * seed).sum(1)) for s in (shift, -shift))
        differences.append((up - down) / (2 * step))
    difference = torch.stack(differences, dim=1)
    # an encoding may be linear in pieces; no point here lies within a step of a kink
    torch.testing.assert_close(grad, difference, rtol=1e-7, atol=1e-6)
    torch.testing.assert_close(single.double(), difference, rtol=1e-3, atol=1e-3)


def test_the_state_returns(case: Case) -> None:
    first, again = build(*case), build(*case)
    again.set_progress(0.0)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(torch.rand_like(parameter))
    again.load_state_dict(first.state_dict())
    torch.testing.assert_close(again(points_of(case)), first(points_of(case)), rtol=0, atol=0)


def test_the_config_rebuilds_it(case: Case) -> None:
    encoding = build(*case)
    torch.manual_seed(0)
    again = registry.build("encoding", encoding.config, case[2])
    again.bind(fx.summary())
    again.set_progress(0.3)
    torch.testing.assert_close(again(points_of(case)), encoding(points_of(case)), rtol=0, atol=0)
