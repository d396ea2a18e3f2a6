"""Statistics over training frames: mean mesh, mean texture, colours of the skin, what driving numbers move."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

VERSION = 1  #: of what the formulas give; goes into the keys of cached summaries
BLOCK = 64  #: meshes held at once


def vertex_statistics(meshes: Callable[[], Iterable[np.ndarray]]) -> tuple[Tensor, float, int]:
    """Return the mean mesh, the root of the scalar variance around it, and which mesh is nearest to it.

    Args:
        meshes: called twice; gives V,3 float32 mm each.

    Returns:
        V,3 float32 mm; mm; index of the nearest mesh.
    """
    total, count = np.zeros(()), 0
    for mesh in meshes():
        total, count = total + mesh.astype(np.float64), count + 1
    mean = total / count
    squares = np.array([((mesh - mean) ** 2).mean() for mesh in meshes()])
    return torch.from_numpy(mean.astype(np.float32)), float(np.sqrt(squares.mean())), int(squares.argmin())


def motion_per_unit(signals: np.ndarray, meshes: Iterable[np.ndarray], ridge: float = 1e-3, noise: float = 0.01) -> Tensor:
    """Return how far each driving number moves the mesh: a ridge regression of the vertices on all numbers at once.

    Args:
        signals: N,D, one row per frame. For the regression each column is divided by its standard deviation, so that
            radians of a jaw and coefficients of an expression are penalised alike.
        meshes: N times V,3 mm, gone through once.
        ridge: penalty, as a share of a row's mean squared length.
        noise: the least to divide by, in the unit of the signals. A number that only trembles is shrunk towards 0: what
            went along with its trembling in a few frames says little of what it would do if it moved.

    Returns:
        D float32, mm per unit: root over the vertices of the mean squared displacement. 0 for a number that never changes.
    """
    spread = np.maximum(signals.std(axis=0, dtype=np.float64), noise)
    rows = (signals - signals.mean(axis=0, dtype=np.float64)) / spread
    rows[:, np.ptp(signals, axis=0) == 0] = 0  # exactly
    products: np.ndarray | float = 0.0
    start, rest = 0, iter(meshes)
    while some := list(islice(rest, BLOCK)):
        block = np.stack(some).reshape(len(some), -1).astype(np.float64)
        products = products + rows[start : start + len(some)].T @ block
        start += len(some)
    if start != len(rows):
        raise ValueError(f"{len(rows)} rows of signals, {start} meshes.")
    penalty = max(ridge * float((rows**2).sum(axis=1).mean()), 1e-9)  # above 0 where no number changes
    slopes = np.linalg.solve(rows.T @ rows + penalty * np.eye(rows.shape[1]), products) / spread[:, None]
    return torch.from_numpy(np.sqrt(3 * (slopes**2).mean(axis=1)).astype(np.float32))


def motion_by_signal(
    arkit: Tensor | None, flame: Mapping[str, Tensor] | None, meshes: Callable[[], Iterable[np.ndarray]]
) -> dict[str, Tensor]:
    """Return what the numbers of a capture's driving signals move.

    Args:
        arkit: N,52 weights of the frames, or None.
        flame: N,... parameters by name; those of FLAME are regressed together. None where there are none.
        meshes: called for ARKit and for FLAME; gives N times V,3 mm.

    Returns:
        By signal, "arkit" or "flame.NAME", as ``motion_per_unit``.
    """
    found = {} if arkit is None else {"arkit": motion_per_unit(arkit.numpy(), meshes())}
    if flame:
        columns = [value.flatten(1) for value in flame.values()]
        moved = motion_per_unit(torch.cat(columns, dim=1).numpy(), meshes()).split([c.shape[1] for c in columns])
        found |= {f"flame.{name}": values for name, values in zip(flame, moved, strict=True)}
    return found


def texture_statistics(textures: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, float, Tensor]:
    """Return the mean of average textures, the root of the scalar variance around it, and where any was seen.

    Args:
        textures: (3,T,T uint8, 1,T,T uint8 coverage) each; gone through once, in exact integers.

    Returns:
        3,T,T float32 in 0..1 with holes filled from the nearest seen texel; 0..1; T,T bool.
    """
    total = squares = count = None
    for average, coverage in textures:
        value = average.to(torch.int64) * coverage
        if total is None or squares is None or count is None:
            total, squares, count = torch.zeros_like(value), torch.zeros_like(value), torch.zeros_like(coverage).long()
        total += value
        squares += value * value
        count += coverage
    if total is None or squares is None or count is None or not bool(count.any()):
        raise ValueError("No texel of any average texture was seen.")
    seen = count[0] > 0
    mean = total.double() / count.clamp(min=1)
    variance = (squares.double() - count * mean * mean).sum() / (3 * count.sum())
    filled = fill_holes(mean.float() / 255, seen)
    return filled, float(variance.clamp(min=0).sqrt() / 255), seen


def fill_holes(texture: Tensor, seen: Tensor) -> Tensor:
    """Give unseen texels the colour of the nearest seen one.

    Args:
        texture: 3,T,T.
        seen: T,T bool.
    """
    rows, columns = ndimage.distance_transform_edt(~seen.numpy(), return_distances=False, return_indices=True)
    return texture[:, torch.from_numpy(rows).long(), torch.from_numpy(columns).long()]


def colour_statistics(texture: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of the seen colours and their principal axes.

    Args:
        texture: 3,T,T in 0..1.
        seen: T,T bool.

    Returns:
        3 float32; 3,3 float32 whose columns are the axes times their standard deviations, largest first,
        each with a positive sum.
    """
    colours = texture[:, seen].double()
    mean = colours.mean(dim=1)
    centred = colours - mean[:, None]
    values, vectors = torch.linalg.eigh(centred @ centred.T / colours.shape[1])
    axes = (vectors * values.clamp(min=0).sqrt()).flip(1)
    axes = axes * torch.where(axes.sum(dim=0) < 0, -1.0, 1.0)
    return mean.float(), axes.float()
