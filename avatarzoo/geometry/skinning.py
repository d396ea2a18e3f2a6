"""Rotations and linear blend skinning: joints turn, vertices follow by weight.

Rotation vectors are axis-angle: direction the axis, length the angle in radians.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def skew(vector: Tensor) -> Tensor:
    """Return ...,3,3 cross-product matrices of ...,3 vectors: skew(a) b = a x b."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*vector.shape, 3)


def rotation_matrix(vector: Tensor) -> Tensor:
    """Turn rotation vectors into matrices by Rodrigues' formula; smooth through 0.

    Args:
        vector: ...,3 radians.

    Returns:
        ...,3,3, with R = I + sin(a)/a K + (1 - cos(a))/a^2 K^2, K = skew(vector), a its length.
    """
    squared = vector.square().sum(-1)[..., None, None]
    small = squared < 1e-8
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    first = torch.where(small, 1 - squared / 6, torch.sin(angle) / angle)
    second = torch.where(small, 0.5 - squared / 24, (1 - torch.cos(angle)) / safe)
    K = skew(vector)
    return torch.eye(3, dtype=vector.dtype, device=vector.device) + first * K + second * (K @ K)


def rotation_vector(matrix: Tensor) -> Tensor:
    """Turn rotation matrices into rotation vectors of length 0..pi.

    Args:
        matrix: ...,3,3 rotations.

    Returns:
        ...,3 radians. By way of the quaternion's largest component, so that half turns are exact too.
    """
    flat = matrix.reshape(-1, 3, 3)
    m = [[flat[:, i, j] for j in range(3)] for i in range(3)]
    # 4 q q^T from the matrix: any of its rows is the quaternion (w, x, y, z) times a factor; the largest is the safest.
    rows = torch.stack(
        [
            torch.stack([1 + m[0][0] + m[1][1] + m[2][2], m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]], -1),
            torch.stack([m[2][1] - m[1][2], 1 + m[0][0] - m[1][1] - m[2][2], m[1][0] + m[0][1], m[0][2] + m[2][0]], -1),
            torch.stack([m[0][2] - m[2][0], m[1][0] + m[0][1], 1 - m[0][0] + m[1][1] - m[2][2], m[2][1] + m[1][2]], -1),
            torch.stack([m[1][0] - m[0][1], m[0][2] + m[2][0], m[2][1] + m[1][2], 1 - m[0][0] - m[1][1] + m[2][2]], -1),
        ],
        dim=1,
    )
    best = rows.diagonal(dim1=1, dim2=2).argmax(1)
    quaternion = F.normalize(rows[torch.arange(len(rows), device=rows.device), best], dim=-1)
    quaternion = torch.where(quaternion[:, :1] < 0, -quaternion, quaternion)
    w, axis = quaternion[:, :1], quaternion[:, 1:]
    sine = axis.norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, w)
    scale = torch.where(sine < 1e-7, torch.full_like(sine, 2.0), angle / sine.clamp_min(1e-12))
    return (axis * scale).reshape(matrix.shape[:-1])


def rotation_from_6d(values: Tensor) -> Tensor:
    """Turn the 6D representation into matrices: two rows made orthonormal, the third their cross product.

    Args:
        values: ...,6, the matrix's first two rows.

    Returns:
        ...,3,3.

    Source: Zhou et al. 2019; rows, as metrical-tracker stores them.
    """
    first = F.normalize(values[..., :3], dim=-1)
    second = values[..., 3:] - (first * values[..., 3:]).sum(-1, keepdim=True) * first
    second = F.normalize(second, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-2)


def joint_transforms(rotations: Tensor, joints: Tensor, parents: Sequence[int]) -> Tensor:
    """Chain joints' rotations, each about the joint, from the root on.

    Args:
        rotations: B,J,3,3 of each joint relative to its parent.
        joints: B,J,3 places at rest.
        parents: J ids, -1 for the root, each smaller than its child's.

    Returns:
        B,J,3,4: where each joint takes a point that is fixed to it at rest.
    """
    turned: list[Tensor] = []
    moved: list[Tensor] = []
    for j, parent in enumerate(parents):
        R, place = rotations[:, j], joints[:, j, :, None]
        # about the joint: x -> R (x - place) + place, then whatever the parent does
        shift = place - R @ place
        if parent >= 0:
            shift = turned[parent] @ shift + moved[parent]
            R = turned[parent] @ R
        turned.append(R)
        moved.append(shift)
    return torch.cat([torch.stack(turned, 1), torch.stack(moved, 1)], dim=-1)


def skin(points: Tensor, weights: Tensor, transforms: Tensor) -> Tensor:
    """Move each point by the weighted mean of the joints' transforms.

    Args:
        points: B,V,3 at rest.
        weights: V,J, rows sum to 1.
        transforms: B,J,3,4.

    Returns:
        B,V,3.
    """
    mixed = torch.einsum("vj,bjkl->bvkl", weights, transforms)
    return (mixed[..., :3] @ points[..., None])[..., 0] + mixed[..., 3]
