"""The cotangent Laplacian of a mesh, as a sparse matrix."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor


def cotangent_laplacian(vertices: Tensor, triangles: Tensor, clamp: float = 10.0) -> Tensor:
    """Build the cotangent Laplacian, each row divided by the sum of its weights.

    (L x)_i = x_i - sum_j w_ij x_j / sum_j w_ij with w_ij = (cot a_ij + cot b_ij) / 2 over the angles opposite the edge: an
    umbrella weighted by shape, in the unit of x. Negative weights (obtuse pairs) are set to 0 and cotangents clamped, so
    that slivers do not dominate.

    Args:
        vertices: V,3 of the rest shape.
        triangles: F,3.
        clamp: largest absolute cotangent.

    Returns:
        V,V sparse CSR float32; the row of an isolated vertex is 0.

    Source: PiCA supplement B.2 (cotangent weights on the neutral mesh); row normalisation and clamping are ours.
    """
    from scipy.sparse import coo_matrix, diags

    points = vertices.detach().cpu().double().numpy()
    faces = triangles.cpu().numpy().astype(np.int64)
    rows, columns, weights = [], [], []
    for k in range(3):
        i, j, o = faces[:, k], faces[:, (k + 1) % 3], faces[:, (k + 2) % 3]
        p, q = points[i] - points[o], points[j] - points[o]
        area = np.linalg.norm(np.cross(p, q), axis=1)
        cot = np.clip((p * q).sum(1) / np.maximum(area, 1e-12), -clamp, clamp) / 2
        rows += [i, j]
        columns += [j, i]
        weights += [cot, cot]
    count = len(points)
    entries = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    adjacency = coo_matrix(entries, shape=(count, count)).tocsr()
    adjacency.data = np.maximum(adjacency.data, 0)
    degree = np.asarray(adjacency.sum(1)).reshape(-1)
    inverse = np.where(degree > 1e-12, 1 / np.maximum(degree, 1e-12), 0)
    matrix = (diags((degree > 1e-12).astype(float)) - diags(inverse) @ adjacency).tocsr()
    matrix.sort_indices()
    with warnings.catch_warnings():  # torch calls its CSR support beta, and asks for a choice on checks made above
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int64)),
            torch.from_numpy(matrix.indices.astype(np.int64)),
            torch.from_numpy(matrix.data.astype(np.float32)),
            size=(count, count),
            check_invariants=True,
        )


def apply_laplacian(matrix: Tensor, values: Tensor) -> Tensor:
    """Multiply a sparse matrix with a batch of vertex values.

    Args:
        matrix: V,V sparse.
        values: B,V,C.

    Returns:
        B,V,C float32.
    """
    batch, count, channels = values.shape
    columns = values.float().permute(1, 0, 2).reshape(count, batch * channels)
    return (matrix @ columns).reshape(count, batch, channels).permute(1, 0, 2)
