"""The field: what the network reads, against loops; sizes; activations."""

from __future__ import annotations

import math

import pytest
import torch

from avatarzoo.encodings.hash_grid import HashGrid
from avatarzoo.encodings.sinusoidal import encode_bands
from avatarzoo.errors import ConfigError
from avatarzoo.models.hash_blendshapes.field import Field, Scene
from avatarzoo.models.hash_blendshapes.gather import gather


def scene(tables: bool = True) -> tuple[Scene, HashGrid]:
    torch.manual_seed(0)
    axes = torch.linalg.qr(torch.randn(2, 5, 3, 3))[0]
    grid = HashGrid(3, levels=2, channels=4, log2_table_size=4, coarsest=4, finest=8, tables=10, init_scale=1.0)
    return Scene(20 * torch.randn(2, 5, 3), axes, grid.values if tables else None, torch.randn(10, 24)), grid


@pytest.mark.parametrize(("identity", "count"), [(False, 11_140), (True, 11_524)])
def test_the_network_is_as_large_as_published(identity: bool, count: int) -> None:
    assert sum(p.numel() for p in Field(8, 24, identity=identity).parameters()) == count


def test_inputs_are_what_a_loop_gives() -> None:
    own, grid = scene()
    field = Field(8, 24, box=15.0)
    points = 10 * torch.randn(20, 3)
    index = torch.stack([torch.randperm(5)[:3] for _ in range(20)]) + 5 * (torch.arange(20) % 2)[:, None]
    distance = (points[:, None] - own.positions.reshape(-1, 3)[index]).norm(dim=-1)
    found, nearest = field.inputs(own, points, index, grid.look_up)
    for n in range(20):
        total, weights = torch.zeros(8), 1 / distance[n]
        for j, anchor in enumerate(index[n].tolist()):
            local = own.axes.reshape(-1, 3, 3)[anchor] @ (points[n] - own.positions.reshape(-1, 3)[anchor])
            feature = grid((local / 30 + 0.5)[None], torch.tensor([anchor]))[0]
            total += weights[j] / weights.sum() * feature
            if j == 0:
                torch.testing.assert_close(nearest[n], local, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found[n, :8], total, rtol=1e-4, atol=1e-5)
        assert torch.equal(found[n, 8:32], own.features[index[n, 0]])
        torch.testing.assert_close(found[n, 32:], encode_bands(nearest[n : n + 1] / 15, 8)[0], rtol=1e-4, atol=1e-3)


def test_gradients_reach_points_tables_and_features() -> None:
    own, grid = scene()
    field = Field(8, 24, box=15.0)
    own.features.requires_grad_()
    points = (10 * torch.randn(20, 3)).requires_grad_()
    index = torch.arange(3).expand(20, 3)
    features, nearest = field.inputs(own, points, index, grid.look_up)
    density, colour = field.decode(features, nearest, torch.ones(20), field.view_term(torch.randn(20, 3)))
    (density.sum() + colour.sum()).backward()
    for tensor in (points.grad, grid.values.grad, own.features.grad, *(p.grad for p in field.parameters())):
        assert torch.isfinite(tensor).all() and tensor.abs().sum() > 0


@pytest.mark.parametrize("blend", ["inverse_distance", "gaussian", "sum", "nearest"])
def test_points_have_the_gradient_of_their_inputs_that_of_the_blend_included(blend: str) -> None:
    """In float64 against finite differences."""
    own, grid = scene()
    own, field = own.to(torch.float64), Field(8, 24, box=25.0, point_bands=3, blend=blend).double()
    points = (10 * torch.randn(20, 3, dtype=torch.float64)).requires_grad_()
    index = torch.stack([torch.randperm(5)[:3] for _ in range(20)]) + 5 * (torch.arange(20) % 2)[:, None]
    assert torch.autograd.gradcheck(lambda p: field.inputs(own, p, index, grid.double().look_up), points)


@pytest.mark.parametrize("blend", ["inverse_distance", "gaussian"])
def test_the_fused_kernel_is_the_field_s_inputs_with_their_gradients(blend: str) -> None:
    own, grid = scene()
    field = Field(8, 24, box=15.0, blend=blend)
    points = 12 * torch.randn(300, 3)  # some outside their boxes, where look-ups are clamped
    index = torch.stack([torch.randperm(5)[:3] for _ in range(300)]) + 5 * (torch.arange(300) % 2)[:, None]
    positions, axes = own.positions.flatten(0, 1), own.axes.flatten(0, 1)
    found = []
    for fused in (False, True):
        leaves = [t.detach().clone().requires_grad_() for t in (points, grid.values, own.features)]
        own.tables, own.features = leaves[1], leaves[2]
        if fused:
            weights = field.blend_weights((leaves[0][:, None] - positions[index]).norm(dim=-1))
            out = gather(leaves[0], index, weights, positions, axes, leaves[1], leaves[2], grid.layout, 15.0, 8)
        else:
            out = field.inputs(own, leaves[0], index, grid.look_up)
        generator = torch.Generator().manual_seed(7)
        (sum((o * torch.randn(o.shape, generator=generator)).sum() for o in out)).backward()
        found.append((*out, *(leaf.grad for leaf in leaves)))
    for slow, fast, tolerance in zip(*found, (5e-4, 1e-4, 5e-2, 1e-4, 1e-4), strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-3, atol=tolerance)
    assert ((found[0][1].abs() > 15).any(1)).float().mean() > 0.1


def test_blends() -> None:
    distance = torch.tensor([[1.0, 2.0, 4.0]])
    expected = {
        "inverse_distance": [4 / 7, 2 / 7, 1 / 7],
        "sum": [1.0, 1.0, 1.0],
        "nearest": [1.0, 0.0, 0.0],
        "gaussian": [math.exp(-2 * s**2) for s in (0.25, 0.5, 1.0)],
    }
    expected["gaussian"] = [w / sum(expected["gaussian"]) for w in expected["gaussian"]]
    for blend, weights in expected.items():
        torch.testing.assert_close(Field(8, 24, blend=blend).blend_weights(distance)[0], torch.tensor(weights))
    with pytest.raises(ConfigError, match="inverse_distance"):
        Field(8, 24, blend="median")


def test_density() -> None:
    field = Field(8, 24, reach=10.0, density_scale=0.5, density_bias=-1.0)
    near, height = torch.tensor([1.0, 11.0]), torch.zeros(2, 3)
    found = field.density(torch.tensor([2.0, 2.0]), height, near)
    torch.testing.assert_close(found, torch.tensor([0.5 * math.log1p(math.e), 0.0]))
    prior = Field(8, 24, reach=10.0, surface_prior=3.0, surface_width=8.0)
    height = torch.tensor([[0.0, 0, 0], [5, 5, -8], [0, 0, 40]])
    raw = prior.density(torch.zeros(3), height, torch.ones(3))
    expected = 0.1 * torch.nn.functional.softplus(torch.tensor([2.0, -1.0, -4.0]))
    torch.testing.assert_close(raw, expected)


def test_density_need_not_read_the_view() -> None:
    torch.manual_seed(0)
    features, height, near = torch.randn(4, 80), torch.zeros(4, 3), torch.ones(4)
    for reads in (True, False):
        field = Field(8, 24, view_density=reads)
        first, second = (field.decode(features, height, near, field.view_term(torch.randn(4, 3))) for _ in range(2))
        assert torch.allclose(first[0], second[0]) is not reads
        assert not torch.allclose(first[1], second[1])
