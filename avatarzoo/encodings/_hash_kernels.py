"""Warp kernels of the hash grid, made for a number of coordinates, a number of channels and a float type.

One source for CPU and CUDA. On the CPU a thread takes many points, because a kernel runs serially there.
"""

# no `from __future__ import annotations`: Warp has to see the types that the factory makes
import functools
from types import SimpleNamespace
from typing import Any

import warp as wp

from avatarzoo.encodings._hash_layout import PRIMES

PRIME_Y = wp.constant(wp.uint32(PRIMES[1]))
PRIME_Z = wp.constant(wp.uint32(PRIMES[2]))
NAMES = ("encode", "encode_backward", "encode_backward_points")


@functools.cache
def make(dims: int, channels: int, bits: int) -> SimpleNamespace:
    """Make the three kernels.

    Args:
        dims: number of coordinates, 2 or 3.
        channels: of an entry.
        bits: 32 or 64, of every float.

    Returns:
        ``encode``, ``encode_backward``, ``encode_backward_points``; ``module``, the Warp module that holds them; ``point``
        and ``entry``, the vector types of their arrays; ``entry_of`` and ``cell_of``, functions that other kernels call.
    """
    real = {32: wp.float32, 64: wp.float64}[bits]
    point_type: Any = wp.types.vector(length=dims, dtype=real)
    cell_type: Any = wp.types.vector(length=dims, dtype=wp.int32)
    entry_type: Any = wp.types.vector(length=channels, dtype=real)
    corners = 1 << dims
    module = wp.get_module(f"avatarzoo.hash_grid.{dims}d_{channels}_float{bits}")
    module.options |= {"enable_backward": False, "fuse_fp": False}

    @wp.func
    def entry_of(cell: cell_type, corner: int, level: wp.vec4i) -> int:
        """Return the entry of a cell's corner; level is (offset, size, resolution, hashed)."""
        x = wp.uint32(cell[0] + (corner & 1))
        y = wp.uint32(cell[1] + ((corner >> 1) & 1))
        z = wp.uint32(0)
        if wp.static(dims == 3):
            z = wp.uint32(cell[dims - 1] + ((corner >> 2) & 1))
        size = wp.uint32(level[1])
        index = x
        if level[3] != 0:
            index = (x ^ (y * PRIME_Y) ^ (z * PRIME_Z)) & (size - wp.uint32(1))  # a hashed level's size is a power of 2
        else:
            resolution = wp.uint32(level[2])
            index = x + resolution * (y + resolution * z)
            if index >= size:  # beyond the last vertex, where the grid wraps around
                index = index % size
        return int(index)

    @wp.func
    def weight_of(after: point_type, corner: int) -> real:
        """Return the product of the shares along the axes."""
        weight = real(1.0)
        for axis in range(dims):
            weight *= wp.where(((corner >> axis) & 1) == 1, after[axis], real(1.0) - after[axis])
        return weight

    @wp.func
    def cell_of(position: point_type) -> cell_type:
        """Return the cell that holds a position."""
        cell = cell_type()
        for axis in range(dims):
            cell[axis] = int(wp.floor(position[axis]))
        return cell

    @wp.func
    def start_of(ids: wp.array[wp.int64], n: int, tables: int, entries: int) -> int:
        """Return the first entry of a point's table, -1 where there is no such table."""
        start = 0
        if ids.shape[0] > 0:
            table = ids[n]
            start = wp.where(table < wp.int64(0) or table >= wp.int64(tables), -1, int(table) * entries)
        return start

    @wp.kernel(module=module)
    def encode(
        points: wp.array[point_type], ids: wp.array[wp.int64], values: wp.array[entry_type], scales: wp.array[real],
        levels: wp.array[wp.vec4i], entries: int, first_level: int, per_thread: int, features: wp.array[entry_type],
    ):  # fmt: skip
        """Interpolate the entries around each point, at one level per row of threads."""
        thread_level, block = wp.tid()
        number = first_level + thread_level
        level = levels[number]
        scale = scales[number]
        tables = values.shape[0] // entries
        for n in range(block * per_thread, wp.min((block + 1) * per_thread, points.shape[0])):
            start = start_of(ids, n, tables, entries)
            total = entry_type()
            if start < 0:
                for c in range(channels):
                    total[c] = real(wp.nan)
            else:
                position = scale * points[n]
                for axis in range(dims):
                    position[axis] = position[axis] + real(0.5)
                cell = cell_of(position)
                after = point_type()
                for axis in range(dims):
                    after[axis] = position[axis] - real(cell[axis])
                for corner in range(corners):
                    place = start + level[0] + entry_of(cell, corner, level)
                    total += weight_of(after, corner) * values[place]
            features[n * levels.shape[0] + number] = total

    @wp.kernel(module=module)
    def encode_backward(
        points: wp.array[point_type], ids: wp.array[wp.int64], grad_features: wp.array[entry_type], scales: wp.array[real],
        levels: wp.array[wp.vec4i], entries: int, first_level: int, per_thread: int, grad_values: wp.array[entry_type],
    ):  # fmt: skip
        """Add each point's gradient to the entries around it, at one level per row of threads."""
        thread_level, block = wp.tid()
        number = first_level + thread_level
        level = levels[number]
        scale = scales[number]
        tables = grad_values.shape[0] // entries
        for n in range(block * per_thread, wp.min((block + 1) * per_thread, points.shape[0])):
            start = start_of(ids, n, tables, entries)
            if start >= 0:
                grad = grad_features[n * levels.shape[0] + number]
                position = scale * points[n]
                for axis in range(dims):
                    position[axis] = position[axis] + real(0.5)
                cell = cell_of(position)
                after = point_type()
                for axis in range(dims):
                    after[axis] = position[axis] - real(cell[axis])
                for corner in range(corners):
                    place = start + level[0] + entry_of(cell, corner, level)
                    wp.atomic_add(grad_values, place, weight_of(after, corner) * grad)

    @wp.kernel(module=module)
    def encode_backward_points(
        points: wp.array[point_type], ids: wp.array[wp.int64], values: wp.array[entry_type],
        grad_features: wp.array[entry_type], scales: wp.array[real], levels: wp.array[wp.vec4i], entries: int,
        first_block: int, per_thread: int, grad_points: wp.array[point_type],
    ):  # fmt: skip
        """Add the features' gradient to the points' (0 at first), level after level, so that its entries stay cached."""
        block = first_block + wp.tid()
        tables = values.shape[0] // entries
        for number in range(levels.shape[0]):
            level = levels[number]
            scale = scales[number]
            for n in range(block * per_thread, wp.min((block + 1) * per_thread, points.shape[0])):
                start = start_of(ids, n, tables, entries)
                if start >= 0:
                    grad = scale * grad_features[n * levels.shape[0] + number]
                    position = scale * points[n]
                    for axis in range(dims):
                        position[axis] = position[axis] + real(0.5)
                    cell = cell_of(position)
                    after = point_type()
                    for axis in range(dims):
                        after[axis] = position[axis] - real(cell[axis])
                    total = grad_points[n]
                    for corner in range(corners):
                        along = wp.dot(values[start + level[0] + entry_of(cell, corner, level)], grad)
                        for axis in range(dims):
                            # the derivative of this axis's share is +1 or -1; the other shares stay
                            slope = wp.where(((corner >> axis) & 1) == 1, along, -along)
                            for other in range(dims):
                                if other != axis:
                                    slope *= wp.where(((corner >> other) & 1) == 1, after[other], real(1.0) - after[other])
                            total[axis] = total[axis] + slope
                    grad_points[n] = total

    return SimpleNamespace(
        encode=encode, encode_backward=encode_backward, encode_backward_points=encode_backward_points,
        module=module, point=point_type, entry=entry_type,
        entry_of=entry_of, cell_of=cell_of,
    )  # fmt: skip
