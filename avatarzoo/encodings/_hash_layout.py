"""Where the entries of a hash grid lie: levels, their resolutions and sizes, as tiny-cuda-nn lays them out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: One per coordinate. The first is 1, so that neighbours along x stay neighbours in memory.
PRIMES = (1, 2654435761, 805459861)
ALIGNMENT = 8


@dataclass(frozen=True)
class Level:
    """One resolution of the grid.

    Attributes:
        scale: a coordinate x in 0..1 lies at x * scale + 0.5, in cells.
        resolution: vertices per axis that a dense level counts with.
        offset: of the first entry in a table.
        size: number of entries.
        hashed: whether vertices share entries through the hash; else vertex (x, y, z) has entry
            x + resolution * (y + resolution * z), modulo the size.
    """

    scale: float
    resolution: int
    offset: int
    size: int
    hashed: bool


@dataclass(frozen=True)
class Layout:
    """All levels of one table.

    Attributes:
        dims: number of coordinates, 2 or 3.
        levels: coarsest first.
        entries: of all levels together.
    """

    dims: int
    levels: tuple[Level, ...]
    entries: int


def make_layout(dims: int, levels: int, log2_table_size: int, coarsest: int, growth: float) -> Layout:
    """Lay out the levels.

    Level l has scale coarsest * growth^l - 1 and resolution ceil(scale) + 1. It holds resolution^dims entries, rounded up
    to a multiple of 8, and at most 2^log2_table_size; where not every vertex has its own entry, the level is hashed.

    Args:
        dims: number of coordinates.
        levels: how many.
        log2_table_size: of the most entries of a level.
        coarsest: resolution of the first level.
        growth: from one level to the next.

    Returns:
        The layout.

    Source: Müller et al. 2022 (Instant NGP), equations 2 to 4; tiny-cuda-nn, which computes scales in float32.
    """
    found, offset = [], 0
    # rounded where tiny-cuda-nn rounds: a scale of 35.000004 instead of 35 has one vertex more
    exponent = np.float32(np.log2(np.float64(np.float32(growth))))
    for level in range(levels):
        power = np.float32(np.exp2(np.float64(np.float32(level) * exponent)))
        scale = power * np.float32(coarsest) - np.float32(1)
        resolution = int(np.ceil(scale)) + 1
        vertices = resolution**dims
        size = min(-(-vertices // ALIGNMENT) * ALIGNMENT, 2**log2_table_size)
        found.append(Level(float(scale), resolution, offset, size, hashed=vertices > size))
        offset += size
    return Layout(dims, tuple(found), offset)
