"""The cotangent Laplacian against a dense construction and closed forms."""

from __future__ import annotations

import fixtures as fx
import numpy as np
import torch

from avatarzoo.geometry.laplacian import apply_laplacian, cotangent_laplacian


def grid(side: int, height: np.ndarray | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """A regular grid of side x side vertices, right triangles, all diagonals alike."""
    y, x = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    points = np.stack([x, y, np.zeros_like(x) if height is None else height], -1).reshape(-1, 3)
    index = np.arange(side * side).reshape(side, side)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    return torch.from_numpy(points).float(), torch.from_numpy(triangles).int()


def dense_laplacian(points: np.ndarray, triangles: np.ndarray, clamp: float = 10.0) -> np.ndarray:
    """Angle by angle, from arccos."""
    weights = np.zeros((len(points), len(points)))
    for triangle in triangles:
        for k in range(3):
            i, j, o = triangle[k], triangle[(k + 1) % 3], triangle[(k + 2) % 3]
            p, q = points[i] - points[o], points[j] - points[o]
            angle = np.arccos(np.clip(p @ q / np.linalg.norm(p) / np.linalg.norm(q), -1, 1))
            cotangent = np.clip(1 / np.tan(angle), -clamp, clamp)
            weights[i, j] += cotangent / 2
            weights[j, i] += cotangent / 2
    weights = np.maximum(weights, 0)
    result = np.zeros_like(weights)
    for i, row in enumerate(weights):
        if row.sum() > 0:
            result[i] = -row / row.sum()
            result[i, i] += 1
    return result


def test_it_is_the_dense_construction() -> None:
    points, topology = fx.pillow()
    points = points + 3 * torch.randn(points.shape, generator=torch.Generator().manual_seed(0))
    found = cotangent_laplacian(points, topology.triangles).to_dense().numpy()
    expected = dense_laplacian(points.double().numpy(), topology.triangles.numpy())
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_sliver_is_clamped() -> None:
    points = torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [0.5, 1e-3, 0], [0.5, -1, 0]])
    triangles = torch.tensor([[0, 1, 2], [1, 0, 3]]).int()
    found = cotangent_laplacian(points, triangles, clamp=10).to_dense().numpy()
    np.testing.assert_allclose(found, dense_laplacian(points.double().numpy(), triangles.numpy()), atol=1e-5)
    # the flat corner's cotangent is -500 and drops out; those beside it are 500, cut to 10
    np.testing.assert_allclose(found[0], [1, 0, -5 / (5 + 0.25), -0.25 / (5 + 0.25)], atol=1e-6)


def test_rows_sum_to_zero() -> None:
    points, topology = fx.pillow()
    rows = cotangent_laplacian(points, topology.triangles).to_dense().sum(1)
    torch.testing.assert_close(rows, torch.zeros_like(rows), atol=1e-6, rtol=0)


def test_a_regular_grid_has_the_five_point_stencil() -> None:
    points, triangles = grid(5)
    matrix = cotangent_laplacian(points, triangles).to_dense()
    row = matrix[12].reshape(5, 5)
    expected = torch.zeros(5, 5)
    expected[2, 2], expected[1, 2], expected[3, 2], expected[2, 1], expected[2, 3] = 1, -0.25, -0.25, -0.25, -0.25
    torch.testing.assert_close(row, expected, atol=1e-6, rtol=0)


def test_linear_functions_vanish_inside_and_squares_do_not() -> None:
    points, triangles = grid(6)
    matrix = cotangent_laplacian(points, triangles)
    x, y = points[:, 0], points[:, 1]
    inside = (x > 0) & (x < 5) & (y > 0) & (y < 5)
    values = torch.stack([2 * x - 3 * y + 1, x * x], dim=1)[None]
    found = apply_laplacian(matrix, values)[0]
    torch.testing.assert_close(found[inside, 0], torch.zeros(int(inside.sum())), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[inside, 1], torch.full((int(inside.sum()),), -0.5), atol=1e-5, rtol=0)  # -(1 + 1) / 4


def test_an_isolated_vertex_has_an_empty_row() -> None:
    points, triangles = grid(3)
    matrix = cotangent_laplacian(torch.cat([points, torch.ones(1, 3)]), triangles).to_dense()
    assert (matrix[9] == 0).all() and (matrix[:, 9] == 0).all()


def test_applying_is_a_batched_product_with_gradients() -> None:
    points, topology = fx.pillow()
    matrix = cotangent_laplacian(points, topology.triangles)
    values = torch.randn(2, len(points), 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    found = apply_laplacian(matrix, values)
    dense = matrix.to_dense()
    torch.testing.assert_close(found, torch.einsum("ij,bjc->bic", dense, values), atol=1e-5, rtol=1e-5)
    seed = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    found.backward(seed)
    torch.testing.assert_close(values.grad, torch.einsum("ij,bic->bjc", dense, seed), atol=1e-5, rtol=1e-5)
